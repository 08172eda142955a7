# Primitives.
calls_mxc <- function() {
  account <- mxc_account_new()
  mxc_account_generate_one_time_keys(account, 5)
  curve <- mxc_account_identity_keys(account)$curve25519
  otk <- mxc_account_one_time_keys(account)[[1]]
  other <- mxc_account_new()
  olm <- mxc_olm_create_outbound(other, curve, otk)
  prekey <- mxc_olm_encrypt(olm, "x")$body
  again <- mxc_account_unpickle(
    mxc_account_pickle(account, pickle_key),
    pickle_key
  )
  from <- mxc_account_identity_keys(other)$curve25519
  inbound_olm <- mxc_olm_create_inbound(again, from, prekey)
  outbound <- mxc_megolm_outbound_new()
  inbound <- mxc_megolm_inbound_new(mxc_megolm_session_key(outbound))
  signing <- mxc_account_identity_keys(account)$ed25519
  signed <- mxc_json_sign("{}", account, "@a:b", "ed25519:D")
  device_keys <- mxc_device_keys(account, "@a:b", "D")
  one_time_key <- mxc_one_time_key(account, otk, "@a:b", "D")
  code <- mxc_qr_encode("user", "$a", signing, signing)
  # No file, for which the package png would be needed.
  light <- !quiet_zone(mxc_qr_symbol(code))
  image <- kronecker(light + 0, matrix(1, 8, 8))
  blob <- mxc_account_pickle(account, pickle_key)
  olm_blob <- mxc_olm_session_pickle(olm, pickle_key)
  out_blob <- mxc_megolm_outbound_pickle(outbound, pickle_key)
  in_blob <- mxc_megolm_inbound_pickle(inbound, pickle_key)
  sealed <- mxc_attachment_encrypt("x")
  list(
    mxc_attachment_encrypt = list(plaintext = "x"),
    mxc_attachment_decrypt = list(
      ciphertext = sealed$ciphertext,
      file = sealed$file
    ),
    mxc_account_fallback_key = list(account = account),
    mxc_account_forget_fallback_key = list(account = account),
    mxc_account_generate_one_time_keys = list(account = account, n = 1),
    mxc_account_identity_keys = list(account = account),
    mxc_account_mark_published = list(account = account),
    mxc_account_new = list(),
    mxc_account_one_time_keys = list(account = account),
    mxc_account_pickle = list(account = account, key = pickle_key),
    mxc_account_sign = list(account = account, canonical_json = "{}"),
    mxc_account_unpickle = list(blob = blob, key = pickle_key),
    mxc_canonical_json = list(json = "{}"),
    mxc_device_keys = list(
      account = account,
      user_id = "@a:b",
      device_id = "D"
    ),
    mxc_ed25519_verify = list(
      public_key = signing,
      message = charToRaw("x"),
      signature = mxc_account_sign(account, "x")
    ),
    mxc_json = list(x = 1),
    mxc_json_sign = list(
      json = "{}",
      account = account,
      entity = "@a:b",
      key_id = "ed25519:D"
    ),
    mxc_json_verify = list(
      json = signed,
      entity = "@a:b",
      key_id = "ed25519:D",
      public_key = signing
    ),
    mxc_megolm_decrypt = list(
      igs = inbound,
      ciphertext_b64 = mxc_megolm_encrypt(outbound, "x")
    ),
    mxc_megolm_encrypt = list(gs = outbound, plaintext = "x"),
    mxc_megolm_inbound_info = list(igs = inbound),
    mxc_megolm_inbound_new = list(
      session_key = mxc_megolm_session_key(outbound)
    ),
    mxc_megolm_inbound_pickle = list(igs = inbound, key = pickle_key),
    mxc_megolm_inbound_unpickle = list(blob = in_blob, key = pickle_key),
    mxc_megolm_message_index = list(gs = outbound),
    mxc_megolm_outbound_info = list(gs = outbound),
    mxc_megolm_outbound_new = list(),
    mxc_megolm_outbound_pickle = list(gs = outbound, key = pickle_key),
    mxc_megolm_outbound_unpickle = list(blob = out_blob, key = pickle_key),
    mxc_megolm_session_id = list(gs = outbound),
    mxc_megolm_session_key = list(gs = outbound),
    mxc_olm_create_inbound = list(
      account = account,
      peer_curve25519 = from,
      prekey_b64 = prekey
    ),
    mxc_olm_create_outbound = list(
      account = account,
      peer_curve25519 = curve,
      peer_otk = otk
    ),
    mxc_olm_decrypt = list(
      session = inbound_olm$session,
      type = 0,
      body = mxc_olm_encrypt(olm, "y")$body
    ),
    mxc_key_export_decrypt = list(
      file = mxc_key_export_encrypt("[]", "x", 10),
      passphrase = "x"
    ),
    mxc_key_export_encrypt = list(
      sessions = "[]",
      passphrase = "x",
      rounds = 10
    ),
    mxc_olm_encrypt = list(session = olm, plaintext = "x"),
    mxc_olm_session_id = list(session = olm),
    mxc_olm_session_pickle = list(session = olm, key = pickle_key),
    mxc_olm_session_unpickle = list(blob = olm_blob, key = pickle_key),
    mxc_one_time_key = list(
      account = account,
      key = otk,
      user_id = "@a:b",
      device_id = "D",
      fallback = FALSE
    ),
    mxc_qr_decode = list(bytes = code),
    mxc_qr_encode = list(
      mode = "user",
      flow_id = "$a",
      first_key = signing,
      second_key = signing,
      secret = NULL
    ),
    mxc_qr_png = list(
      symbol = mxc_qr_symbol(code),
      path = tempfile(),
      scale = 3
    ),
    mxc_qr_scan = list(image = image),
    mxc_qr_symbol = list(bytes = code),
    mxc_verify_device_keys = list(
      device_keys = device_keys,
      expected_user_id = "@a:b",
      expected_device_id = "D",
      required_algorithms = NULL
    ),
    mxc_verify_one_time_key = list(
      algorithm_key_id = "signed_curve25519:AAAAAQ",
      key_object = one_time_key,
      signing_ed25519 = signing,
      expected_user_id = "@a:b",
      expected_device_id = "D"
    )
  )
}

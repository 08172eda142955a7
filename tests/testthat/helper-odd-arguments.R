# Each exported function, as a call that works, by its name.
good_calls <- function() {
  pair <- demo_pair(verified = FALSE)
  alice <- pair$alice
  room <- pair$room
  recovery_key <- mx_crypto_setup(alice)$recovery_key
  key_text <- format(recovery_key, reveal = TRUE)
  bobs <- mx_crypto_setup(pair$bob)
  carol <- mx_demo_client(pair$homeserver, "carol", verified = FALSE)
  mx_crypto_setup(carol, passphrase = "the eagle lands")
  mx_sync(alice)
  event <- mx_send_text(alice, room, "hello")
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
  stored <- seed(alice)
  own <- mxc_account_identity_keys(stored$account)$curve25519
  devices <- mx_crypto_known_devices(alice, pair$bob$user_id)
  bobs_device <- mx_devices(alice, "@bob:demo")
  second <- mx_demo_client(pair$homeserver, "alice", verified = FALSE)
  second_keys <- mxc_account_identity_keys(mx_crypto_account(second$store_dir))
  batch <- mx_sync_update(alice)$sync
  message <- list(msgtype = "m.text", body = "x")
  file <- tempfile()
  writeLines("x", file)
  signing <- mxc_account_identity_keys(account)$ed25519
  signed <- mxc_json_sign("{}", account, "@a:b", "ed25519:D")
  device_keys <- mxc_device_keys(account, "@a:b", "D")
  one_time_key <- mxc_one_time_key(account, otk, "@a:b", "D")
  blob <- mxc_account_pickle(account, pickle_key)
  olm_blob <- mxc_olm_session_pickle(olm, pickle_key)
  out_blob <- mxc_megolm_outbound_pickle(outbound, pickle_key)
  in_blob <- mxc_megolm_inbound_pickle(inbound, pickle_key)
  list(
    mx_client_config_path = list(app = "a"),
    mx_client_configure = list(
      server = pair$homeserver,
      user = "alice",
      password = "demo",
      room = room,
      app = "a",
      path = alice$path,
      device_id = alice$device_id,
      access_token = NULL,
      store_dir = alice$store_dir,
      device_name = "x"
    ),
    mx_client_load = list(app = "a", path = alice$path),
    mx_client_relogin = list(client = alice, password = "demo"),
    mx_client_session = list(client = alice),
    mx_crypto_account = list(store_dir = alice$store_dir),
    mx_crypto_claim_otks = list(
      client = alice,
      devices = devices,
      strict = FALSE
    ),
    mx_crypto_known_devices = list(
      client = alice,
      user_ids = "@bob:demo",
      strict = FALSE
    ),
    mx_crypto_process_sync = list(
      account = stored$account,
      sessions = stored$sessions,
      sync_resp = batch,
      self_curve25519 = own,
      self_id = alice$user_id
    ),
    mx_crypto_publish_keys = list(
      client = alice,
      account = stored$account,
      store = alice$store_dir,
      n_otks = 50
    ),
    mx_cross_signing_reset = list(
      client = mx_demo_client(pair$homeserver, "erna", verified = FALSE),
      passphrase = NULL,
      password = "demo"
    ),
    mx_crypto_setup = list(
      client = alice,
      recovery_key = NULL,
      passphrase = NULL,
      reset = FALSE,
      password = NULL
    ),
    mx_crypto_status = list(client = alice),
    mx_cross_signing_ready = list(client = alice),
    mx_cross_signing_status = list(client = alice),
    mx_crypto_sessions_load = list(store = alice$store_dir),
    mx_crypto_sessions_save = list(
      sessions = stored$sessions,
      store = alice$store_dir
    ),
    mx_crypto_store_dir = list(app = "a", path = NULL),
    mx_demo_client = list(
      homeserver = pair$homeserver,
      user = "dora",
      device_id = NULL,
      verified = TRUE
    ),
    mx_demo_homeserver = list(users = "x"),
    mx_demo_seen = list(homeserver = pair$homeserver),
    mx_device_block = list(
      client = alice,
      user_id = "@bob:demo",
      device_id = pair$bob$device_id,
      blocked = FALSE
    ),
    mx_device_verify = list(
      client = alice,
      user_id = "@bob:demo",
      device_id = pair$bob$device_id,
      fingerprint = bobs_device$ed25519
    ),
    mx_device_delete = list(
      client = alice,
      device_ids = mx_demo_client(
        pair$homeserver,
        "alice",
        verified = FALSE
      )$device_id,
      password = "demo"
    ),
    mx_device_rename = list(
      client = alice,
      device_id = alice$device_id,
      display_name = "x"
    ),
    mx_device_sign = list(
      client = alice,
      device_id = second$device_id,
      fingerprint = second_keys$ed25519
    ),
    mx_identity_pin = list(client = alice, user_id = "@bob:demo"),
    mx_user_sign = list(
      client = alice,
      user_id = "@bob:demo",
      master_key = bobs$master_key
    ),
    mx_user_trust = list(client = alice, user_ids = "@bob:demo"),
    mx_verification_withdraw = list(client = alice, user_id = "@bob:demo"),
    mx_devices = list(client = alice, user_ids = "@bob:demo"),
    mx_edit = list(
      client = alice,
      room = room,
      event_id = event,
      text = "x",
      markdown = TRUE,
      mentions = "@bob:demo",
      notify = "@bob:demo",
      msgtype = "m.text",
      transaction_id = NULL
    ),
    mx_extract_text_events = list(
      sync_resp = batch,
      self_id = alice$user_id,
      msgtypes = "m.text"
    ),
    mx_isolation_mode = list(client = alice, mode = "all"),
    mx_listen = list(
      client = alice,
      handler = function(event, client) NULL,
      types = NULL,
      own = FALSE,
      seconds = 0,
      timeout = 0,
      consumer = "x",
      unsigned = FALSE
    ),
    mx_logout = list(
      client = mx_demo_client(pair$homeserver, "gone"),
      ask = FALSE
    ),
    mx_messages = list(
      client = alice,
      room = room,
      limit = 5,
      from = NULL,
      unsigned = FALSE,
      edits = TRUE
    ),
    mx_react = list(client = alice, room = room, event_id = event, key = "!"),
    mx_recovery_key_change = list(
      client = carol,
      recovery_key = NULL,
      passphrase = "the eagle lands",
      new_passphrase = "the eagle lands"
    ),
    mx_recovery_key_saved = list(key = recovery_key),
    mx_recovery_key_write = list(
      key = bobs$recovery_key,
      path = tempfile()
    ),
    mx_redact = list(
      client = alice,
      room = room,
      event_id = event,
      reason = NULL
    ),
    mx_room_create = list(
      client = alice,
      name = "x",
      topic = "x",
      invite = "@bob:demo",
      encrypted = TRUE,
      alias = NULL,
      public = FALSE,
      direct = FALSE
    ),
    mx_room_encrypt = list(
      client = alice,
      room = room,
      rotation_period_msgs = 100,
      rotation_period_ms = 1e9
    ),
    mx_room_invite = list(
      client = alice,
      room = room,
      user_id = "@carol:demo",
      reason = "x"
    ),
    mx_room_join = list(client = alice, room = room),
    mx_room_key_rotate = list(client = alice, room = room),
    mx_undecrypted = list(client = alice),
    mx_room_leave = list(client = pair$bob, room = room),
    mx_room_members = list(client = alice, room = room),
    mx_rooms = list(client = alice),
    mx_secret_fetch = list(
      client = alice,
      name = "m.cross_signing.master",
      recovery_key = key_text,
      passphrase = NULL
    ),
    mx_secret_storage_keys = list(client = alice),
    mx_secret_store = list(
      client = alice,
      name = "org.example.token",
      value = "x",
      recovery_key = key_text,
      passphrase = NULL
    ),
    mx_send = list(
      client = alice,
      room = room,
      content = message,
      type = "m.room.message",
      transaction_id = NULL
    ),
    mx_send_encrypted = list(
      client = alice,
      account = stored$account,
      sessions = stored$sessions,
      room_id = room,
      content = message,
      store_dir = alice$store_dir,
      recipients = NULL,
      member_ids = NULL
    ),
    mx_send_media = list(
      client = alice,
      room = room,
      path = file,
      body = "x",
      content_type = "text/plain"
    ),
    mx_send_table = list(
      client = alice,
      room = room,
      x = data.frame(a = 1),
      title = "x",
      max_rows = 5,
      row_names = FALSE,
      transaction_id = NULL
    ),
    mx_send_text = list(
      client = alice,
      room = room,
      text = "x",
      markdown = TRUE,
      mentions = "@bob:demo",
      reply_to = event,
      thread = event,
      msgtype = "m.text",
      transaction_id = NULL
    ),
    mx_set_state = list(
      session = alice,
      room_id = room,
      event_type = "m.room.topic",
      content = list(topic = "x"),
      state_key = ""
    ),
    mx_sync = list(client = alice, timeout = 0, limit = 5, unsigned = FALSE),
    mx_sync_update = list(client = alice, timeout = 0),
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

# What a caller may give by mistake.
odd_arguments <- function() {
  marked <- function(text, encoding) {
    Encoding(text) <- encoding
    text
  }
  list(
    "NULL" = NULL,
    "NA" = NA,
    "NA_character_" = NA_character_,
    "NaN" = NaN,
    "-1" = -1,
    "1.5" = 1.5,
    "1e300" = 1e300,
    "nothing" = character(),
    "an empty list" = list(),
    "an empty string" = "",
    "a format" = "%s%n%d {x} {{.x}} %%",
    "a control character" = "a\u0001\nb\r",
    "text in latin1" = marked("\xe9", "latin1"),
    "bytes" = marked("\xff", "bytes"),
    "text that is none" = marked("\xff\xfe", "UTF-8"),
    "a long text" = strrep("x", 1e5),
    "two texts" = c("a", NA),
    "a path out" = "../../x",
    "bytes with a NUL" = as.raw(c(0, 255)),
    "a list" = list(1, "a", NULL),
    "a list of lists" = list(list(list())),
    "a named list" = list(a = 1, a = 2),
    "a function" = identity,
    "an environment" = new.env(),
    "a symbol" = quote(x),
    "a call" = quote(f(x)),
    "a factor" = factor("a"),
    "a date" = Sys.Date(),
    "a data frame" = data.frame(a = 1),
    "a matrix" = matrix(1:4, 2),
    "a complex number" = 1i,
    "a pointer" = methods::new("externalptr"),
    "a connection" = stdin()
  )
}

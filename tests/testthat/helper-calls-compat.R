# The call forms of mx.crypto.
calls_compat <- function(scene) {
  alice <- scene$alice
  stored <- compat(alice)
  own <- mxc_account_identity_keys(stored$account)$curve25519
  devices <- mx_crypto_known_devices(alice, "@bob:demo")
  batch <- mx_sync_update(alice)$sync
  list(
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
    mx_crypto_sessions_load = list(store = alice$store_dir),
    mx_crypto_sessions_save = list(
      sessions = stored$sessions,
      store = alice$store_dir
    ),
    mx_extract_text_events = list(
      sync_resp = batch,
      self_id = alice$user_id,
      msgtypes = "m.text"
    ),
    mx_send_encrypted = list(
      client = alice,
      account = stored$account,
      sessions = stored$sessions,
      room_id = scene$room,
      content = list(msgtype = "m.text", body = "x"),
      store_dir = alice$store_dir,
      recipients = NULL,
      member_ids = NULL
    ),
    mx_sync_update = list(client = alice, timeout = 0)
  )
}

# Devices and identities of users.
calls_trust <- function(scene) {
  alice <- scene$alice
  bobs_device <- mx_devices(alice, "@bob:demo")
  second <- mx_demo_client(scene$homeserver, "alice", verified = FALSE)
  second_keys <- mxc_account_identity_keys(mx_crypto_account(second$store_dir))
  list(
    mx_devices = list(client = alice, user_ids = "@bob:demo"),
    mx_device_block = list(
      client = alice,
      user_id = "@bob:demo",
      device_id = scene$bob$device_id,
      blocked = FALSE
    ),
    mx_device_delete = list(
      client = alice,
      device_ids = mx_demo_client(
        scene$homeserver,
        "alice",
        verified = FALSE
      )$device_id,
      password = "demo",
      ask = FALSE
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
    mx_device_verify = list(
      client = alice,
      user_id = "@bob:demo",
      device_id = scene$bob$device_id,
      fingerprint = bobs_device$ed25519
    ),
    mx_user_pin = list(client = alice, user_id = "@bob:demo"),
    mx_isolation_mode = list(client = alice, mode = "all"),
    mx_user_sign = list(
      client = alice,
      user_id = "@bob:demo",
      master_key = scene$bobs$master_key
    ),
    mx_user_trust = list(client = alice, user_ids = "@bob:demo"),
    mx_user_withdraw = list(client = alice, user_id = "@bob:demo")
  )
}

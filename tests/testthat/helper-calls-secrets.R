# The identity, secret storage and recovery keys.
calls_secrets <- function(scene) {
  alice <- scene$alice
  key_text <- format(scene$recovery_key, reveal = TRUE)
  carol <- mx_demo_client(scene$homeserver, "carol", verified = FALSE)
  mx_crypto_setup(carol, passphrase = "the eagle lands")
  list(
    mx_dehydrated_device_create = list(
      client = alice,
      recovery_key = key_text,
      passphrase = NULL
    ),
    mx_dehydrated_device_rehydrate = list(
      client = alice,
      recovery_key = key_text,
      passphrase = NULL,
      replace = TRUE
    ),
    mx_dehydrated_device_delete = list(client = alice),
    mx_crypto_setup = list(
      client = alice,
      recovery_key = NULL,
      passphrase = NULL,
      reset = FALSE,
      password = NULL,
      sign_out_lost = FALSE
    ),
    mx_crypto_status = list(client = alice),
    mx_cross_signing_ready = list(client = alice),
    mx_cross_signing_reset = list(
      client = mx_demo_client(scene$homeserver, "erna", verified = FALSE),
      passphrase = NULL,
      password = "demo"
    ),
    mx_cross_signing_status = list(client = alice),
    mx_recovery_key_change = list(
      client = carol,
      recovery_key = NULL,
      passphrase = "the eagle lands",
      new_passphrase = "the eagle lands"
    ),
    mx_recovery_key_forget = list(key = scene$recovery_key),
    mx_recovery_key_write = list(
      key = scene$bobs$recovery_key,
      path = tempfile()
    ),
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
    )
  )
}

# The key backup, and key storage as a whole.
calls_backup <- function(scene) {
  frida <- with_recovery_key(scene$homeserver, "frida")
  list(
    mx_backup_status = list(client = scene$alice),
    mx_backup_upload = list(client = scene$alice),
    mx_backup_restore = list(
      client = scene$alice,
      room = scene$room,
      session_id = NULL,
      recovery_key = NULL,
      passphrase = NULL
    ),
    mx_backup_enable = list(
      client = frida$client,
      recovery_key = frida$key,
      passphrase = NULL,
      replace = FALSE
    ),
    mx_crypto_repair = list(
      client = frida$client,
      recovery_key = frida$key,
      passphrase = NULL,
      password = NULL,
      ask = FALSE
    ),
    mx_backup_disable = list(client = frida$client),
    mx_backup_delete = list(client = frida$client)
  )
}

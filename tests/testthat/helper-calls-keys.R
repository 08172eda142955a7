# Keys of rooms, out and in.
calls_keys <- function(scene) {
  file <- tempfile()
  writeLines(mxc_key_export_encrypt("[]", "x", 10), file)
  server <- unclass(scene$homeserver)[["address"]]
  archive <- small_archive(1, 1)
  store <- old_store(old_device(server, "alice", "demo"))
  list(
    mx_keys_export = list(
      client = scene$alice,
      path = tempfile(),
      passphrase = "x",
      rooms = NULL,
      overwrite = TRUE
    ),
    mx_keys_import = list(
      client = scene$alice,
      path = file,
      passphrase = "x"
    ),
    mx_keys_for = list(
      events = archive$events,
      from = file,
      passphrase = "x"
    ),
    mx_decrypt = list(
      events = archive$events,
      keys = archive$keys,
      flat = FALSE,
      threads = 1
    ),
    mx_store_import = list(
      from = store$from,
      config = store$config,
      app = "new",
      path = tempfile(),
      store_dir = tempfile()
    )
  )
}

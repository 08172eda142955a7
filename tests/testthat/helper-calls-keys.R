# Keys of rooms, out and in.
calls_keys <- function(scene) {
  file <- tempfile()
  writeLines(mxc_key_export_encrypt("[]", "x", 10), file)
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
    )
  )
}

# The store as a whole. What is moved, or copied and restored, is not Alice's.
calls_store <- function(scene) {
  moves <- mx_demo_client(scene$homeserver, "moves")
  copy <- tempfile("copy-")
  mx_store_backup(scene$alice, copy, key = TRUE)
  list(
    mx_store_check = list(client = scene$alice),
    mx_store_vacuum = list(client = scene$alice),
    mx_store_backup = list(
      client = scene$alice,
      path = tempfile("copy-"),
      key = FALSE
    ),
    mx_store_restore = list(
      path = copy,
      store_dir = tempfile("store-"),
      original_is_gone = TRUE,
      key = NULL
    ),
    mx_store_key_write = list(path = tempfile("key-"), client = scene$alice),
    mx_store_move = list(from = moves, to = tempfile("store-"))
  )
}

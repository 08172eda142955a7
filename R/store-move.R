#' Move a store
#'
#' Moves a store to another place, for instance another disk, with the files beside it and
#' with its key, if that is in a file; or to a database, and back.
#'
#' @param from A client, whose configuration names the new place afterwards; or the directory
#'   of a store.
#' @param to The new directory, which must be new or empty; or the address of a store in a
#'   database, which must not be there yet: see [mxcrypt_postgresql]. The store key must then be
#'   named from outside: [mx_store_key_write()] saves that of a client.
#' @details
#' Never can both be used. First the store at `from` refuses every call, of other processes as
#' well; then everything is copied, at once or not at all; and only when the old store is
#' closed for ever can the new one be used. If R is killed meanwhile, both refuse, until
#' `mx_store_move()` is called again with the same arguments (or with another `to`, if the first
#' place is gone). If it fails with an error before the old store is closed, that is used on.
#'
#' The key stays the same: a store that comes from a database has it from outside, as it had
#' there.
#'
#' Programs that have the old place in their configuration get an error of class
#' `mx_error_store_moved`, which names the new one. What is left at `from` can be deleted: its
#' rows are still there, sealed.
#' @return The client with its new store, or the new directory; invisibly.
#' @section Errors:
#' `mx_error_store_moved` (it was moved elsewhere, or another process moves it now),
#' `mx_error_store_copy`, `mx_error_store` (there is another store at `to`),
#' `mx_error_argument` (`to` is another name of `from`): see [mxcrypt_conditions].
#' @family the store
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' alice <- mx_store_move(alice, tempfile("store-"))
#' mx_sync(alice)
#' @export
mx_store_move <- function(from, to) {
  dir <- existing_store(from)
  to <- check_store_dir(to)
  is_client <- !is_string(from)
  if (is_client) {
    # Before anything is moved: a configuration that cannot be read cannot be changed.
    read_config(from[["path"]])
  }
  key <- store_key(dir, caller_env())
  to_key <- if (is_address(to)) find_secret("store_key", to) else key
  release_store(dir)
  core(store_move(
    dir,
    key,
    beside_store(dir),
    to,
    to_key,
    beside_store(to)
  ))
  to <- store_place(to)
  cli::cli_alert_success("Moved the store to {.path {to}}.")
  if (!is_client) {
    return(invisible(to))
  }
  # Read again: a token may have been renewed meanwhile.
  config <- read_config(from[["path"]])
  config[["store_dir"]] <- to
  write_config(config, from[["path"]])
  invisible(client_at(from[["path"]]))
}

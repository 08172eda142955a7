#' Copy a store, and restore it
#'
#' `mx_store_backup()` copies a store to a new directory, while others use it. If the
#' original is gone, `mx_store_restore()` makes a store of the copy: the device stays
#' verified, and reads all that it could read when the copy was made.
#'
#' A copy cannot be used as it is: every call with it is an error of class
#' `mx_error_store_copy`. A device that goes back in time would encrypt with keys that it
#' has used since, and two stores of one device would use the same ones; then neither is
#' secure. So call `mx_store_restore()` only if the original is gone for good: deleted, or
#' on a disk that died; and every process that used it has ended. **If it is ever used
#' again, both are in danger, and no server or
#' client can tell them apart.**
#'
#' Messages, room keys and identity are also safe without copies of the store, with the key
#' backup and the recovery key ([mx_crypto_setup()]). A copy of a store brings back the same
#' device, what waited to be sent, and the archive.
#'
#' @inheritParams mx_store_check
#' @param path For `mx_store_backup()` the directory of the copy, which must be new or empty;
#'   for `mx_store_restore()` that of a copy.
#' @param key For `mx_store_backup()`: `TRUE` puts the store key into the copy, in the file
#'   `pickle.key`. Anybody who gets both can read everything, and act as you. Without its key
#'   the copy protects itself, and is worth nothing if the key is lost: keep the key
#'   elsewhere. For `mx_store_restore()`: the file that holds the key, if that is neither in
#'   the copy nor where [mxcrypt_secrets] says; a `pickle.key`, or a file from
#'   [mx_store_key_write()].
#' @param store_dir The directory of the new store, which must be new or empty. If it is that
#'   of the original, the configuration of the client stays as it is. From there,
#'   [mx_store_move()] takes it to a database.
#' @param original_is_gone `TRUE`: the original is gone, and is never used again.
#' @details
#' The copy is consistent: it has all that was saved when it was made, and the files that its
#' messages need. It has its name only when it is complete, and is readable by its owner alone.
#' A store in PostgreSQL is copied with the tools of PostgreSQL. Such a copy does not protect
#' itself: see [mxcrypt_postgresql].
#'
#' After a restore nothing that encrypted before encrypts again. The next message in each room
#' creates a new room key, which is shared over new Olm sessions, and new one-time keys are
#' published. What the original received after the copy was made comes once more with the next
#' sync, except for what the server has deleted since: room keys that were sent to the
#' original are missing, and are taken from the key backup or requested from other devices.
#' Messages that waited in the copy are sent under their old transaction ids: a server that the
#' original sent them to recognises them, for some hours or days.
#' @return The directory of the copy, or of the store, invisibly. Load the client afterwards
#'   with [mx_client_load()].
#' @section Errors:
#' `mx_error_store_copy` (`original_is_gone` is not `TRUE`), `mx_error_argument` (`path` is not
#' a copy, or the new directory is that of the store or the copy itself),
#' `mx_error_store_key_missing`, `mx_error_store_key_wrong`, `mx_error_store` (there is something
#' in the new directory, or the store is in a database): see [mxcrypt_conditions]. Warnings:
#' `mx_warning_store` (files that messages need were not there).
#' @family the store
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' copy <- tempfile("copy-")
#' mx_store_backup(alice, copy, key = TRUE)
#'
#' # The disk dies.
#' unlink(alice$store_dir, recursive = TRUE)
#' mx_store_restore(copy, alice$store_dir, original_is_gone = TRUE)
#' mx_sync(alice)
#' @export
mx_store_backup <- function(client, path, key = FALSE) {
  dir <- existing_store(client)
  path <- check_path(path)
  check_flag(key)
  source <- store_key(dir, caller_env())
  place <- secret_source("store_key") %||% file.path(dir, "pickle.key")
  made_at <- format(Sys.time(), "%Y-%m-%d %H:%M UTC", tz = "UTC")
  copied <- core(store_back_up(
    dir,
    source,
    beside_store(dir),
    path,
    made_at,
    key
  ))
  cli::cli_alert_success("Copied the store to {.path {path}}.")
  if (key) {
    cli::cli_alert_warning(
      "Its key is beside it: whoever gets both reads everything."
    )
  } else {
    cli::cli_alert_info(
      "Its key is not in the copy: keep {place} safe, elsewhere."
    )
  }
  warn_of_missing(copied)
  invisible(path)
}

#' @rdname mx_store_backup
#' @export
mx_store_restore <- function(
  path,
  store_dir,
  original_is_gone = FALSE,
  key = NULL
) {
  dir <- existing_store(check_path(path))
  store_dir <- check_store_dir(store_dir)
  if (is_address(store_dir)) {
    wanted <- "a directory: mx_store_move() takes the restored store to a database"
    argument_abort("store_dir", wanted, caller_env())
  }
  key <- check_path(key, null = TRUE)
  if (!check_flag(original_is_gone)) {
    mx_abort(
      c(
        "Nothing was restored: is the original of this copy gone for good?",
        i = paste(
          "Two stores of one device would encrypt with the same keys,",
          "and neither would be secure."
        ),
        i = "If it is gone, and is never used again, say so with original_is_gone = TRUE."
      ),
      c("mx_error_store_copy", "mx_error_store")
    )
  }
  is_beside <- file.exists(file.path(dir, "pickle.key"))
  source <- if (is.null(key)) {
    store_key(dir, caller_env())
  } else {
    read_key_file(key)
  }
  if (is.null(source) && !is_beside) {
    mx_abort(
      c(
        paste0("There is no key in the copy ", printable(dir), "."),
        i = "Give the file that holds it as `key`, or name it: see ?mxcrypt_secrets."
      ),
      c("mx_error_store_key_missing", "mx_error_store")
    )
  }
  in_file <- !is.null(key) || is_beside
  release_store(store_dir)
  copied <- core(store_restore(
    dir,
    source,
    dir,
    store_dir,
    in_file
  ))
  cli::cli_alert_success("Restored the store in {.path {store_dir}}.")
  warn_of_missing(copied)
  invisible(store_dir)
}

read_key_file <- function(path, call = caller_env()) {
  read <- read_secret_file(path, is_key = TRUE)
  if (is.null(read[["value"]])) {
    mx_abort(
      paste0("The key file ", shown_path(path), " ", read[["failure"]], "."),
      c("mx_error_store_key_missing", "mx_error_store"),
      call = call
    )
  }
  read[["value"]]
}

# Where a store goes, files may be missing that its messages need.
warn_of_missing <- function(copied) {
  missing <- copied[["missing"]]
  if (length(missing) > 0L) {
    names(missing) <- rep("x", length(missing))
    mx_warn(
      c("Files that messages need were not beside the store.", missing),
      "mx_warning_store"
    )
  }
}

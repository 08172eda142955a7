#' Export and import room keys
#'
#' `mx_keys_export()` writes the keys of this device's rooms to a file that is
#' encrypted with a passphrase: the same kind of file that Element and other
#' clients write and read. `mx_keys_import()` imports the keys of such a file, so
#' that [mx_messages()] can read messages from before this device was signed in.
#' Events that waited for one of the keys come with the next [mx_sync()].
#'
#' Anybody with the file and the passphrase can read all those rooms.
#'
#' @inheritParams mx_client_session
#' @param path The file.
#' @param passphrase The passphrase of the file. If it is left out, you are asked for it
#'   in an interactive session.
#' @param rooms The rooms whose keys are exported: ids, aliases or exact names.
#'   `NULL` is all.
#' @param overwrite Whether to replace an existing file.
#' @details
#' The file's information about a session, such as the device that created it, cannot be
#' checked: the trust of what it decrypts is `not_guaranteed` at most, and messages of
#' devices that were deleted are returned with `unsigned = TRUE`. An import never makes a
#' session that is here decrypt less, and never changes its known source.
#'
#' An exported file gets its name when it is complete, and only you can open it (mode
#' 0600). If an import was interrupted, call again.
#'
#' @return `mx_keys_export()`: the path, invisibly. `mx_keys_import()`: a data
#'   frame with a row for each session of the file: `room_id`, `session_id`,
#'   `sender_key` (of the device that created it, as the file states),
#'   `first_known_index` (the first message that it decrypts), `status`
#'   (`imported`; `known`, if the session here decrypts as much; `refused`)
#'   and `reason` (why it was refused, otherwise `NA`).
#' @section Errors:
#' `mx_error_key_export` (the file cannot be written; or it is no key export, was
#' altered or cut off, or the passphrase is wrong), `mx_error_passphrase` (there is
#' none), `mx_error_room` (there is no such room).
#' @references Client-server API, "Key exports":
#'   <https://spec.matrix.org/v1.19/client-server-api/#key-exports>
#' @family key backup
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' mx_send_text(alice, room, "hello")
#' file <- mx_keys_export(alice, tempfile(), "correct horse")
#'
#' # Another device, which is signed in later:
#' late <- mx_demo_client(homeserver, "alice")
#' mx_keys_import(late, file, "correct horse")[c("status", "reason")]
#' mx_messages(late, room)[c("type", "body", "trust")]
#' @export
mx_keys_export <- function(
  client,
  path,
  passphrase = NULL,
  rooms = NULL,
  overwrite = FALSE
) {
  machine <- machine_of(check_client(client))
  path <- check_path(path)
  check_flag(overwrite)
  if (!overwrite && file.exists(path)) {
    wanted <- "a file that is not there yet, unless `overwrite = TRUE`"
    argument_abort("path", wanted, caller_env(), path)
  }
  if (!is.null(rooms)) {
    check_strings(rooms)
    rooms <- resolve_rooms(client, rooms)
  }
  passphrase <- check_string(passphrase, null = TRUE) %||% new_passphrase()
  export <- export_parts(machine, path, passphrase, rooms, overwrite)
  written <- do_parts(export, "Exporting keys")
  cli::cli_alert_success("Exported {written} key{?s}.")
  invisible(path)
}

#' @rdname mx_keys_export
#' @export
mx_keys_import <- function(client, path, passphrase = NULL) {
  machine <- machine_of(check_client(client))
  path <- check_path(path)
  check_export_file(path)
  passphrase <- check_string(passphrase, null = TRUE) %||% old_passphrase()
  import <- import_parts(machine, path, passphrase)
  sessions <- do_parts(import, "Importing keys")
  taken <- sum(sessions[["status"]] == "imported")
  cli::cli_alert_success("Imported {taken} of {nrow(sessions)} key{?s}.")
  sessions
}

# Before anybody is asked for its passphrase.
check_export_file <- function(path, call = caller_env()) {
  if (!file.exists(path) || !is_file(path)) {
    what <- if (file.exists(path)) "is no file" else "is not there"
    mx_abort(
      paste0("The key export ", printable(path), " ", what, "."),
      "mx_error_key_export",
      call = call
    )
  }
}

# The file gets its name at the end. The result is how many keys are in it.
export_parts <- function(
  machine,
  path,
  passphrase,
  rooms,
  overwrite,
  call = caller_env()
) {
  force(call)
  export <- machine_begin_export(machine, path, passphrase, rooms)
  export <- core(export, call = call)
  written <- 0
  more <- TRUE
  new_parts(
    function() {
      if (!more) {
        core(key_export_end(export, overwrite), call = call)
        return(NULL)
      }
      page <- core(machine_export_keys(machine, export), call = call)
      written <<- page[["written"]]
      more <<- page[["more"]]
      100 * written / max(page[["total"]], 1)
    },
    function() as.integer(written),
    function() key_export_end(export, NULL)
  )
}

# The result has a row for each session of the file.
import_parts <- function(machine, path, passphrase, call = caller_env()) {
  force(call)
  import <- core(key_import_open(path, passphrase), call = call)
  pages <- list()
  new_parts(
    function() {
      page <- core(machine_import_keys(machine, import), call = call)
      if (is.null(page)) {
        return(NULL)
      }
      pages <<- c(pages, list(page[["rows"]]))
      100 * page[["progress"]]
    },
    function() {
      sessions <- data.frame(bind_columns(pages))
      first <- sessions[["first_known_index"]]
      sessions[["first_known_index"]] <- as.integer(first)
      sessions
    }
  )
}

old_passphrase <- function(call = caller_env()) {
  given <- ask_secret("Passphrase of the key export: ")
  if (is.null(given) || !nzchar(given)) {
    message <- "A passphrase is needed: the argument `passphrase`."
    mx_abort(message, "mx_error_passphrase", call = call)
  }
  given
}

# Asked for twice: a key export whose passphrase was mistyped is lost.
new_passphrase <- function(call = caller_env()) {
  given <- old_passphrase(call)
  if (!identical(ask_secret("The same passphrase again: "), given)) {
    message <- "The two passphrases differ. Nothing was exported."
    mx_abort(message, "mx_error_passphrase", call = call)
  }
  given
}

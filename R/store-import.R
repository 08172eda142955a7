#' Import a device from mx.client
#'
#' Takes over the device of a program that used the package mx.client, so that
#' other users see the same device, and what it could read stays readable: the
#' account, its Olm sessions, and its Megolm sessions go into a new store. The files
#' of mx.client are only read.
#'
#' From then on the device belongs to the new store. **A program that still uses the old
#' store would be a second device under the same id**: both would use the same keys, and
#' neither would be secure. End it before, and do not start it again.
#'
#' @inheritParams mx_client_configure
#' @param from The directory of mx.client's store, with `pickle.key` and
#'   `account.pickle`.
#' @param config The configuration of mx.client, `matrix.json`: its server, access
#'   token and device are used.
#' @param app The name of your program here; it must have no configuration yet.
#' @details
#' mx.client saved a session after it had sent what that encrypted. So none of its
#' sessions encrypts here again: they only decrypt, and new sessions are created for
#' the next message. If mx.client had not checked the sender of a session, the server's
#' report decides; the trust of what imported sessions decrypt is `not_guaranteed` at most.
#'
#' Either everything is imported, or nothing. Sessions that are damaged, or stored
#' under another session's id, are left out, and named in a warning. If the import
#' succeeded but the server could not be reached afterwards, [mx_client_configure()] with
#' `access_token` and `store_dir` completes it.
#'
#' @return The client, as from [mx_client_configure()].
#' @section Errors:
#' `mx_error_store_foreign` (no store of mx.client, of an unknown version, damaged,
#' or in use), `mx_error_own_keys` (the server returns other keys of the device),
#' `mx_error_store_binding` (the new store has a device already, or the token belongs to
#' another one), `mx_error_config`. Warnings: `mx_warning_import`.
#' @family compatibility with mx.client
#' @examples
#' \dontrun{
#' client <- mx_store_import(
#'   from = "~/.local/share/R/myapp/crypto",
#'   config = "~/.config/R/myapp/matrix.json",
#'   app = "myapp-2"
#' )
#' mx_sync(client)
#' }
#' @export
mx_store_import <- function(
  from,
  config,
  app = "mxcrypt",
  path = NULL,
  store_dir = NULL
) {
  from <- check_path(from)
  theirs <- read_config(check_path(config))
  check_app(app)
  path <- check_path(path, null = TRUE) %||% mx_client_config_path(app)
  store_dir <- check_store_dir(store_dir, null = TRUE)
  if (file.exists(path)) {
    wanted <- "given, or `app`: there is a configuration of that name already"
    argument_abort("path", wanted, caller_env(), path)
  }
  session <- list(
    server = sub("/+$", "", check_string(theirs[["server"]], "server")),
    token = check_token(theirs[["token"]])
  )
  store <- core(mx_client_store_read(from))
  who <- http_json(session, "GET", api_path("account", "whoami"))
  ids <- c("user_id", "device_id")
  if (!identical(who[ids], theirs[ids])) {
    mx_abort(
      "The token is not of the device that the configuration names.",
      c("mx_error_store_binding", "mx_error_store")
    )
  }
  user_id <- who[["user_id"]]
  device_id <- who[["device_id"]]
  shown <- ask_for_device(session, user_id, caller_env())
  core(mx_client_store_check(store, shown, user_id, device_id))
  found <- core(mx_client_store_describe(store))
  machine <- open_store(store_dir %||% mx_crypto_store_dir(app))
  core(machine_import_store(machine, store, user_id, device_id))
  config <- list(
    server = session[["server"]],
    app = app,
    store_dir = store_dir,
    room_id = theirs[["room_id"]]
  )
  login <- list(access_token = session[["token"]], method = "access_token")
  client <- adopt_login(config, login, path)
  cli::cli_alert_success(
    "Imported {found[['inbound']]} room key{?s} of {user_id}, {device_id}."
  )
  cli::cli_alert_warning("mx.client must not use {.path {from}} any more.")
  warn_of_refused(found)
  client
}

warn_of_refused <- function(found) {
  refused <- found[["refused"]]
  if (length(refused) > 0L) {
    why <- paste0(refused, ": ", found[["reason"]])
    names(why) <- rep("x", length(why))
    mx_warn(c("Some sessions could not be imported.", why), "mx_warning_import")
  }
}

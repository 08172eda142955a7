#' Sign in again, or out
#'
#' `mx_client_relogin()` signs in again as the same device, for when the server
#' has ended the login. `mx_logout()` ends the login: the server forgets the
#' device and its keys, and nothing can be sent or received with this store any
#' more. Its history stays readable as long as the store is kept.
#'
#' A login that expires is renewed without asking where that is possible: by its
#' refresh token, or by a password from the environment or the keyring.
#'
#' @inheritParams mx_client_session
#' @param password As for [mx_client_configure()].
#' @return `mx_client_relogin()` the client, `mx_logout()` `NULL`, invisibly.
#' @section Errors:
#' `mx_error_password`, `mx_error_M_FORBIDDEN`; `mx_error_store_binding` if the
#' server does not keep the device.
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' mx_client_relogin(alice, password = "demo")
#' mx_logout(alice)
#' @export
mx_client_relogin <- function(client, password = NULL) {
  check_client(client)
  password <- check_string(password, null = TRUE) %||%
    find_password(client[["user_id"]])
  relogin(client, password)
  invisible(client)
}

relogin <- function(client, password, call = caller_env()) {
  bare <- list(server = client[["server"]])
  device_id <- client[["device_id"]]
  user <- client[["user_id"]]
  login <- log_in(bare, user, password, device_id, NULL, call = call)
  # The server decides which device this is; the store belongs to one only.
  ids <- c("user_id", "device_id")
  if (!identical(login[ids], unclass(client)[ids])) {
    mx_abort(
      "The server did not keep the device: the store belongs to another.",
      c("mx_error_store_binding", "mx_error_store")
    )
  }
  keep_login(client[["path"]], read_config(client[["path"]]), login)
  # If the server had forgotten the device, it knows its keys again with this.
  core(machine_publish_anew(machine_of(client)))
}

#' @rdname mx_client_relogin
#' @param ask Whether to explain what becomes of the keys, and ask first; an answer
#'   other than yes is an error of class `mx_error_declined`. Without it, keys that
#'   are lost are a warning of class `mx_warning_keys_lost`: those of messages that
#'   are in this store alone, and your identity, where no other device has it and
#'   recovery is not set up.
#' @export
mx_logout <- function(client, ask = rlang::is_interactive()) {
  check_client(client)
  check_flag(ask)
  agree_to_sign_out(
    client,
    client[["device_id"]],
    ask,
    if (ask) logout_effect(client)
  )
  http_json(client, "POST", api_path("logout"), "{}")
  config <- read_config(client[["path"]])
  config[c("token", "refresh_token")] <- NULL
  write_config(config, client[["path"]])
  forget_tokens(client[["path"]])
  invisible()
}

# What a person should know before the device is signed out.
logout_effect <- function(client) {
  machine <- machine_of(client)
  waiting <- core(machine_waiting_to_send(machine))
  identity <- core(machine_identity_status(machine))
  c(
    paste0(
      "Sign out ",
      client[["device_id"]],
      " of ",
      client[["user_id"]],
      "?"
    ),
    i = paste0("Its keys stay in ", client[["store_dir"]], "."),
    "!" = "What is said meanwhile it cannot read later: nobody gives it keys.",
    "!" = if (waiting > 0) paste(waiting, "messages are not sent yet."),
    "!" = if (identity[["recovery_key"]]) "Your recovery key is not saved yet."
  )
}

confirm <- function(text) {
  message(rlang::format_error_bullets(text))
  answer <- readline("Type yes to go on: ")
  tolower(trimws(answer)) == "yes"
}

log_in <- function(
  bare,
  user,
  password,
  device_id,
  device_name,
  call = caller_env()
) {
  body <- list(
    type = "m.login.password",
    identifier = list(type = "m.id.user", user = user),
    password = password,
    refresh_token = TRUE
  )
  body[["device_id"]] <- device_id
  body[["initial_device_display_name"]] <- device_name %||% "mxcrypt (R)"
  path <- api_path("login")
  # With a device id, a second login is the first one again.
  login <- http_json(
    bare,
    "POST",
    path,
    body,
    idempotent = !is.null(device_id),
    call = call
  )
  if (!is_token(login[["access_token"]])) {
    mx_abort(
      "The server's answer to the login has no token.",
      "mx_error_answer"
    )
  }
  login
}

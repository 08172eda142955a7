#' Sign in again, or sign out
#'
#' `mx_client_relogin()` signs in again as the same device, for when the server
#' has ended the login. `mx_logout()` ends the login: the server forgets the
#' device and its keys, and until `mx_client_relogin()` every call that needs the
#' server is an error of class `mx_error_signed_out`. The store keeps its keys.
#'
#' If a person must approve in a browser, `mx_client_relogin()` works as
#' [mx_client_configure()] does: it shows the address and waits, or raises
#' `mx_error_approval`, and the next call completes the sign-in.
#'
#' A login that expires is renewed without asking where that is possible: by its
#' refresh token, or by a password from [mxcrypt_secrets]. Processes
#' that share a login renew it one at a time, and read what another has saved. A call
#' whose login could not be renewed is an error of class `mx_error_renewal`, with the
#' reason in `cause`. What it was to send stays in the outbox.
#'
#' A server may have deleted the device together with its login. Then signing in
#' again publishes the keys of the device again, signs them again where this device
#' has the self-signing key, and says so in a message. Where it has not, a warning of
#' class `mx_warning_unsigned_device` says how to have the device signed.
#'
#' @inheritParams mx_client_session
#' @param password,method,login_token As for [mx_client_configure()].
#' @return `mx_client_relogin()` the client, `mx_logout()` `NULL`, invisibly.
#' @section Errors:
#' `mx_error_password`, `mx_error_M_FORBIDDEN`, `mx_error_approval`, `mx_error_oauth`,
#' `mx_error_sign_in`; `mx_error_store_binding` if the server does not keep the device.
#' @family sign-in
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' mx_client_relogin(alice, password = "demo")
#' mx_logout(alice)
#' @export
mx_client_relogin <- function(
  client,
  password = NULL,
  method = NULL,
  login_token = NULL
) {
  check_client(client)
  given <- check_sign_in(method, password, login_token)
  relogin(client, given)
  restore_device(client)
  invisible(client)
}

relogin <- function(client, given, call = caller_env()) {
  local_ca_file(client[["ca_file"]])
  account <- list(
    server = client[["server"]],
    user = client[["user_id"]],
    path = client[["path"]],
    device_id = client[["device_id"]]
  )
  config <- read_config(client[["path"]])
  login <- if (identical(config[["method"]], as_method)) {
    service_login(account, service_token(client, call), call)
  } else {
    sign_in(account, given, call)
  }
  session <- list(
    server = client[["server"]],
    token = login[["access_token"]]
  )
  if (login[["method"]] == "oauth") {
    who <- tryCatch(
      http_json(session, "GET", api_path("account", "whoami"), call = call),
      mx_error = function(condition) {
        # Tokens that are no good would be taken up by each later call.
        if (!is_passing(condition)) {
          forget_grant(account)
        }
        raise(condition)
      }
    )
    login[c("user_id", "device_id")] <- who[c("user_id", "device_id")]
  }
  # The server decides which device this is; the store belongs to one only.
  ids <- c("user_id", "device_id")
  if (!identical(login[ids], unclass(client)[ids])) {
    try(end_login(session, login), silent = TRUE)
    forget_grant(account)
    mx_abort(
      "The server did not keep the device: the store belongs to another.",
      c("mx_error_store_binding", "mx_error_store")
    )
  }
  # Nothing of the login before: its refresh token is for another server, or client.
  config[login_fields] <- NULL
  keep_login(client[["path"]], config, login)
  forget_grant(account)
}

# A server that ended a login may have deleted the device: its keys, and with them
# the signature of the owner's identity, without which others give it no room keys.
# Publishes the keys again, signs them again where the self-signing key is here, and
# tells the user what was lost.
restore_device <- function(client, call = caller_env()) {
  machine <- machine_of(client, call = call)
  shown <- ask_for_device(client, client[["user_id"]], call)
  had_keys <- core(
    judge_known_device(shown, client[["user_id"]], client[["device_id"]]),
    call = call
  )
  # Keys that it still has, it takes again; one-time keys are filled up.
  core(machine_publish_anew(machine), call = call)
  status <- own_identity(client, machine, call)
  if (!had_keys) {
    cli::cli_alert_success(
      "The server had lost the keys of this device. They are published again."
    )
  }
  if (is.null(status[["master_key"]]) || status[["device_signed"]]) {
    return(invisible())
  }
  if ("self_signing" %in% status[["held"]]) {
    sign_device(client, machine, call)
    cli::cli_alert_success(
      "The server had lost the signature of this device. It is signed again."
    )
  } else {
    mx_warn(
      c(
        "This device is not signed by your identity: others may give it no keys.",
        i = "Run mx_crypto_setup() with your recovery key, which signs it."
      ),
      "mx_warning_unsigned_device"
    )
  }
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
  local_ca_file(client[["ca_file"]])
  agree_to_sign_out(
    client,
    client[["device_id"]],
    ask,
    if (ask) logout_effect(client)
  )
  config <- read_config(client[["path"]])
  # A code that a person enters later must not sign this device in again.
  forget_grant(client)
  end_login(client, config)
  # Of an application service it stays known: it has no other way to sign in.
  forgotten <- if (identical(config[["method"]], as_method)) "method"
  config[setdiff(login_fields, forgotten)] <- NULL
  config[["signed_out_at"]] <- format(Sys.time(), "%Y-%m-%d %H:%M %Z")
  write_config(config, client[["path"]])
  forget_tokens(client[["path"]])
  invisible()
}

# Ends a login by the API that made it.
end_login <- function(session, login, call = caller_env()) {
  if (identical(login[["method"]], as_method)) {
    return(delete_service_device(session, login[["device_id"]], call))
  }
  if (!identical(login[["method"]], "oauth")) {
    return(sign_out(session, call))
  }
  config <- login[c("issuer", "client_id")]
  config[["server"]] <- session[["server"]]
  tokens <- list(
    access_token = login[["access_token"]] %||% login[["token"]],
    refresh_token = login[["refresh_token"]]
  )
  oauth_revoke(config, tokens, call)
}

# A token that the server no longer knows counts as signed out: the response to an
# earlier try may have been lost.
sign_out <- function(session, call = caller_env()) {
  path <- api_path("logout")
  answer <- http_perform(
    session,
    "POST",
    path,
    "{}",
    renews = FALSE,
    call = call
  )
  if (is_expired(answer)) {
    return(invisible())
  }
  if (answer[["status"]] >= 400L) {
    http_abort(answer, call = call)
  }
  if (!is_json_object(answer)) {
    answer_abort("The response", answer, call)
  }
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
    "!" = if (waiting > 0) {
      plural(waiting, "message is", "messages are", "not sent yet.")
    },
    "!" = if (identity[["recovery_key"]]) "Your recovery key is not saved yet."
  )
}

# What a device is called that nobody gave a name.
default_device_name <- "mxcrypt (R)"

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
  body[["initial_device_display_name"]] <- device_name %||% default_device_name
  # With a device id, a second login is the first one again.
  post_login(bare, body, idempotent = !is.null(device_id), call = call)
}

post_login <- function(bare, body, idempotent, call = caller_env()) {
  path <- api_path("login")
  answer <- http_perform(
    bare,
    "POST",
    path,
    as_json_text(body),
    idempotent = idempotent,
    call = call
  )
  if (answer[["status"]] >= 400L) {
    http_abort(answer, call = call)
  }
  login <- json_body(answer)
  if (!is_token(login[["access_token"]])) {
    tokens_abort("The response to the login", answer, call)
  }
  told_login(login)
}

# Devices of an application service: created without a login, for bots on your own
# server. The token is good for every user of the service, so each request names the
# user and device that it acts as. Specification: application service API, "Identity
# assertion" and "Server admin style permissions".

as_method <- "application_service"

# Creates the device of `account`, registers the user if needed, and returns the login.
service_login <- function(account, as_token, call = caller_env()) {
  session <- list(server = account[["server"]], token = as_token)
  user_id <- service_user(session, account[["user"]], call)
  register_user(session, user_id, call)
  device_id <- account[["device_id"]] %||% core(random_device_id(), call)
  session[["acts_as"]] <- list(user_id = user_id)
  name <- account[["device_name"]] %||% default_device_name
  path <- api_path("devices", device_id)
  about <- as_json_text(list(display_name = name))
  answer <- http_perform(session, "PUT", path, about, call = call)
  if (answer[["status"]] >= 400L) {
    no_service_abort(answer, call)
  }
  list(
    access_token = as_token,
    method = as_method,
    user_id = user_id,
    device_id = device_id,
    # If the sign-in fails later, only a device that is new is deleted again.
    is_new = answer[["status"]] == 201L
  )
}

no_service_abort <- function(answer, call) {
  code <- errcode_of(json_body(answer))
  if (!isTRUE(code %in% c("M_NOT_FOUND", "M_UNRECOGNIZED"))) {
    http_abort(answer, call = call)
  }
  abort_with_answer(
    c(
      "The server lets this application service make no devices.",
      x = paste("It responds with", code),
      i = "It needs Matrix v1.17. Synapse wants `io.element.msc4190: true` in the",
      " " = "registration file of the service."
    ),
    "mx_error_sign_in",
    answer,
    call
  )
}

# The full user id; `user` may be its local part only.
service_user <- function(session, user, call) {
  who <- http_json(session, "GET", api_path("account", "whoami"), call = call)
  own <- who[["user_id"]]
  if (!is_string(own) || !grepl("^@[^:]*:.", own)) {
    mx_abort(
      "The response says of no user whose application service this is.",
      "mx_error_answer",
      call = call
    )
  }
  if (is.null(user)) {
    return(own)
  }
  here <- sub("^@[^:]*", "", own)
  user_id <- if (startsWith(user, "@")) user else paste0("@", user, here)
  check_user_ids(user_id, "user", call)
  # What is registered is the local part: on this server, that would be somebody else.
  if (sub("^@[^:]*", "", user_id) != here) {
    argument_abort(
      "user",
      paste0("a user of ", substring(here, 2L)),
      call,
      user
    )
  }
  user_id
}

# The token of a client of an application service, which no login brings back.
service_token <- function(client, call) {
  session_token(client) %||%
    mx_abort(
      c(
        "The token of the application service was removed with mx_logout().",
        i = "Give it again: mx_client_configure(as_token = )."
      ),
      "mx_error_sign_in",
      call = call
    )
}

# A user who exists already stays as it is; so does the service's own, whom the server
# created.
register_user <- function(session, user_id, call) {
  about <- list(
    type = "m.login.application_service",
    username = sub("^@([^:]*):.*$", "\\1", user_id),
    inhibit_login = TRUE
  )
  path <- api_path("register")
  answer <- http_perform(
    session,
    "POST",
    path,
    as_json_text(about),
    call = call
  )
  code <- errcode_of(json_body(answer))
  if (answer[["status"]] >= 400L && !identical(code, "M_USER_IN_USE")) {
    http_abort(answer, call = call)
  }
}

# Deletes the device. There is no logout: the token belongs to the service, and stays.
delete_service_device <- function(session, device_id, call = caller_env()) {
  path <- api_path("devices", device_id)
  answer <- http_perform(
    session,
    "DELETE",
    path,
    "{}",
    renews = FALSE,
    call = call
  )
  code <- errcode_of(json_body(answer))
  if (answer[["status"]] >= 400L && !isTRUE(code %in% gone_codes)) {
    http_abort(answer, call = call)
  }
  invisible()
}

gone_codes <- c("M_NOT_FOUND", "M_UNKNOWN_DEVICE")

# Adds to a path the user and device that a request acts as. Other tokens belong to one
# device, and their paths stay as they are.
acting_path <- function(session, path) {
  acts_as <- session[["acts_as"]]
  file <- session[["path"]]
  if (
    !is.null(file) && identical(the[["tokens"]][[file]][["method"]], as_method)
  ) {
    acts_as <- the[["tokens"]][[file]][c("user_id", "device_id")]
  }
  if (length(acts_as) == 0L) {
    return(path)
  }
  values <- vapply(acts_as, encode_segment, "")
  query <- paste0(names(values), "=", values, collapse = "&")
  paste0(path, if (grepl("?", path, fixed = TRUE)) "&" else "?", query)
}

# What an error response of a server is called, and what helps against it.

# Raises the condition for an error response.
http_abort <- function(answer, call = caller_env()) {
  body <- json_body(answer)
  text <- body[["error"]]
  text <- if (is_string(text)) {
    shortened(text)
  } else {
    paste("the server answered with status", answer[["status"]])
  }
  matrix_abort(body[["errcode"]], text, answer[["status"]], body, call = call)
}

# `body` is a field of the condition by the contract of the field, and rlang has
# a use of its own for that name: so this is a base condition.
matrix_abort <- function(code, text, status, body = NULL, call = caller_env()) {
  code <- error_code(code)
  uri <- consent_uri(code, body)
  message <- paste0("Matrix error [", code, "]: ", printable(text))
  help <- matrix_help(code, text, status, uri)
  if (!is.null(help)) {
    message <- rlang::format_error_bullets(c(message, i = help))
  }
  condition <- errorCondition(
    message,
    class = c(paste0("mx_error_", code), "mx_error_http", "mx_error"),
    call = bare_call(call),
    errcode = code,
    status = status,
    body = body,
    consent_uri = uri
  )
  raise(condition)
}

# An error code of a server, which becomes a class.
error_code <- function(code) {
  is_code <- is_string(code) && grepl("^[A-Za-z0-9_.]{1,200}$", code)
  if (is_code) code else "M_UNKNOWN"
}

# The error code in a body, or NULL. A homeserver's verdict has one; the page of a
# proxy or a firewall has none, whatever its status.
errcode_of <- function(body) {
  code <- body[["errcode"]]
  if (is_string(code)) error_code(code)
}

# Whether the server has no such endpoint. Older versions of Dendrite, and proxies that
# let only some paths through, respond with 404 and no error code, which does not say
# that the requested thing is missing.
# https://github.com/matrix-org/dendrite/issues/2739
is_unbuilt <- function(answer) {
  code <- errcode_of(json_body(answer))
  status <- answer[["status"]]
  identical(code, "M_UNRECOGNIZED") ||
    status == 405L ||
    (status == 404L && is.null(code))
}

is_verdict <- function(answer) {
  !is.null(errcode_of(json_body(answer)))
}

# The page on which the user agrees to the server's terms, where it is safe to
# open. Specification: client-server API, "Common error codes".
consent_uri <- function(code, body) {
  uri <- if (code == "M_CONSENT_NOT_GIVEN") body[["consent_uri"]]
  if (is_string(uri) && grepl("^https?://[!-~]+$", uri)) uri
}

# What a person can do about an error.
matrix_help <- function(code, text, status, uri) {
  if (is_too_many_sessions(code, text)) {
    return(paste(
      "Sign out devices that you no longer use, with mx_devices() and",
      "mx_device_delete() or in another client, and sign in again."
    ))
  }
  switch(
    code,
    M_MISSING_TOKEN = ,
    M_UNKNOWN_TOKEN = "Sign in again with mx_client_relogin().",
    M_LIMIT_EXCEEDED = "The server limits how often it can be asked. Try again later.",
    M_CONSENT_NOT_GIVEN = paste0(
      "The server wants you to agree to its terms. ",
      if (is.null(uri)) "Agree in another client" else paste("Open", uri),
      ", and make this call again."
    ),
    M_UNKNOWN = if (isTRUE(status %in% c(401:499))) {
      paste(
        "A proxy or firewall may have answered in place of the homeserver.",
        "Try again later."
      )
    }
  )
}

# There is no error code for this yet: matrix-authentication-service responds with
# M_FORBIDDEN, other servers with a code of their own (MSC4335).
is_too_many_sessions <- function(code, text) {
  grepl("TOO_MANY_(DEVICES|SESSIONS)|USER_LIMIT_EXCEEDED", code) ||
    grepl(
      "too many (active )?(sessions|devices|logins)|(device|session) limit",
      text,
      ignore.case = TRUE
    )
}

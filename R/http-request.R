# One place where a request is made, performed, tried again, and its failure
# turned into a condition. No other file talks HTTP.

# How long a request may take, in seconds, beside what the server was asked to
# wait.
http_timeout <- function() {
  check_number(getOption("mxcrypt.timeout", 60), "mxcrypt.timeout", 0.001)
}

# How often a request is tried.
http_tries <- function() {
  check_number(getOption("mxcrypt.max_tries", 5), "mxcrypt.max_tries", 1)
}

# Seconds before the second try.
http_first_pause <- function() {
  check_number(getOption("mxcrypt.pause", 0.5), "mxcrypt.pause")
}

# Performs a request until the server has answered it.
#
# `body` is JSON text or NULL. With `idempotent`, the same request may reach the
# server twice; without, it is repeated only where the server said that it did
# nothing (429). The answer is a list of `status` and `body` (raw): of any
# status but 429 and 5xx, which are errors once there were enough tries. With
# `file`, a body of status 200 is there instead.
http_perform <- function(
  session,
  method,
  path,
  body = NULL,
  timeout = 0,
  idempotent = TRUE,
  content = NULL,
  file = NULL,
  call = caller_env()
) {
  attempt <- function() {
    tryCatch(
      http_once(session, method, path, body, timeout, content, file),
      mx_error_network = identity
    )
  }
  answer <- attempt()
  if (is_expired(answer) && renew_login(session)) {
    answer <- attempt()
  }
  for (try in seq_len(http_tries() - 1L)) {
    if (!may_repeat(answer, idempotent)) {
      break
    }
    Sys.sleep(http_pause(answer, try))
    answer <- attempt()
  }
  if (is_no_answer(answer)) {
    answer[["call"]] <- bare_call(call)
    raise(answer)
  }
  if (may_repeat(answer, idempotent)) {
    http_abort(answer, call = call)
  }
  answer
}

is_no_answer <- function(answer) {
  inherits(answer, "mx_error_network")
}

# Whether another try can help, and can do no harm.
may_repeat <- function(answer, idempotent) {
  if (is_no_answer(answer)) {
    return(idempotent)
  }
  status <- answer[["status"]]
  status == 429L || (idempotent && status >= 500L)
}

# Seconds until the next try: what the server asks for, or twice as long as
# before.
http_pause <- function(answer, try) {
  asked <- if (!is_no_answer(answer)) retry_after(answer)
  usual <- http_first_pause() * 2^(try - 1)
  min(if (is.null(asked)) usual else asked, 60)
}

retry_after <- function(answer) {
  header <- suppressWarnings(as.numeric(answer[["retry_after"]]))
  if (length(header) == 1L && !is.na(header) && header >= 0) {
    return(header)
  }
  milliseconds <- json_body(answer)[["retry_after_ms"]]
  if (is.numeric(milliseconds) && length(milliseconds) == 1L) {
    return(max(0, milliseconds / 1000))
  }
  NULL
}

http_once <- function(session, method, path, body, timeout, content, file) {
  homeserver <- the[["homeservers"]][[session[["server"]]]]
  if (!is.null(homeserver)) {
    sent <- if (is.null(content)) body else content[["bytes"]]
    answer <- demo_perform(
      homeserver,
      method,
      path,
      session_token(session),
      sent
    )
    if (!is.null(file) && answer[["status"]] == 200L) {
      writeBin(answer[["body"]], file)
      answer[["body"]] <- raw()
    }
    return(answer)
  }
  request <- http_request(session, method, path, body, timeout, content)
  response <- tryCatch(
    httr2::req_perform(request, path = file),
    error = function(condition) {
      # httr2's condition holds the request, and that the token: only its words
      # go on.
      message <- c(
        paste0("No answer from ", session[["server"]], "."),
        x = network_reason(condition)
      )
      mx_abort(message, "mx_error_network")
    }
  )
  status <- httr2::resp_status(response)
  list(
    status = status,
    body = if (is.null(file)) {
      response[["body"]] %||% raw()
    } else if (status == 200L) {
      raw()
    } else {
      readBin(file, "raw", file.size(file))
    },
    retry_after = httr2::resp_header(response, "Retry-After")
  )
}

network_reason <- function(condition) {
  parent <- condition[["parent"]]
  conditionMessage(if (is.null(parent)) condition else parent)
}

http_request <- function(session, method, path, body, timeout, content) {
  request <- httr2::request(paste0(session[["server"]], path))
  request <- httr2::req_method(request, method)
  request <- httr2::req_user_agent(request, "mxcrypt (R)")
  request <- httr2::req_timeout(request, http_timeout() + timeout / 1000)
  request <- httr2::req_error(request, is_error = function(response) FALSE)
  # Pauses are http_perform()'s: httr2's own come even after the last try, and
  # are drawn from R's random numbers.
  request <- httr2::req_retry(
    request,
    max_tries = 1,
    is_transient = function(response) FALSE,
    backoff = function(tries) 0
  )
  token <- session_token(session)
  if (!is.null(token)) {
    request <- httr2::req_auth_bearer_token(request, token)
  }
  if (!is.null(content)) {
    return(httr2::req_body_raw(request, content[["bytes"]], content[["type"]]))
  }
  if (!is.null(body)) {
    request <- httr2::req_body_raw(request, charToRaw(body), "application/json")
  }
  request
}

# A request whose answer decides nothing: it is read in R. Errors are classed.
http_json <- function(
  session,
  method,
  path,
  body = NULL,
  ...,
  call = caller_env()
) {
  if (!is.null(body)) {
    body <- as_json_text(body)
  }
  answer <- http_perform(session, method, path, body, ..., call = call)
  if (answer[["status"]] >= 400L) {
    http_abort(answer, call = call)
  }
  json_body(answer)
}

# The body as a list; empty where it is no JSON object.
json_body <- function(answer) {
  text <- tryCatch(rawToChar(answer[["body"]]), error = function(e) "")
  parsed <- json_decode(checked_json(text))
  if (is.list(parsed) && !inherits(parsed, "mxcrypt_failure")) {
    parsed
  } else {
    list()
  }
}

# What stands at a place of JSON, or NULL where a server says something else.
json_at <- function(x, ...) {
  tryCatch(x[[c(...)]], error = function(condition) NULL)
}

checked_json <- function(text) {
  Encoding(text) <- "UTF-8"
  if (validUTF8(text)) text else ""
}

# Raises the condition for an answer that is an error.
http_abort <- function(answer, call = caller_env()) {
  body <- json_body(answer)
  text <- body[["error"]]
  if (!is_string(text)) {
    text <- paste("the server answered with status", answer[["status"]])
  }
  matrix_abort(body[["errcode"]], text, answer[["status"]], body, call = call)
}

# `body` is a field of the condition by the contract of the field, and rlang has
# a use of its own for that name: so this is a base condition.
matrix_abort <- function(code, text, status, body = NULL, call = caller_env()) {
  code <- error_code(code)
  message <- paste0("Matrix error [", code, "]: ", printable(text))
  help <- matrix_help(code)
  if (!is.null(help)) {
    message <- rlang::format_error_bullets(c(message, i = help))
  }
  condition <- errorCondition(
    message,
    class = c(paste0("mx_error_", code), "mx_error_http", "mx_error"),
    call = bare_call(call),
    errcode = code,
    status = status,
    body = body
  )
  raise(condition)
}

# An error code of a server, which becomes a class.
error_code <- function(code) {
  is_code <- is_string(code) && grepl("^[A-Za-z0-9_.]{1,200}$", code)
  if (is_code) code else "M_UNKNOWN"
}

matrix_help <- function(code) {
  switch(
    code,
    M_MISSING_TOKEN = ,
    M_UNKNOWN_TOKEN = "Sign in again with mx_client_relogin().",
    M_LIMIT_EXCEEDED = "The server asks for patience; try again later."
  )
}

# Text of a server without what could steer a terminal.
printable <- function(text) {
  gsub("[[:cntrl:]]", " ", text)
}

# A path of the client-server API from segments that are encoded one by one.
api_path <- function(..., query = NULL, version = "v3") {
  segments <- vapply(c(...), encode_segment, "", USE.NAMES = FALSE)
  path <- paste(c("/_matrix/client", version, segments), collapse = "/")
  query <- Filter(Negate(is.null), query)
  if (length(query) == 0L) {
    return(path)
  }
  values <- vapply(query, function(x) encode_segment(query_text(x)), "")
  paste0(path, "?", paste0(names(query), "=", values, collapse = "&"))
}

# A number as digits, whatever R's options say.
query_text <- function(x) {
  if (is.numeric(x)) sprintf("%.0f", x) else x
}

# Everything but unreserved characters is encoded, also a `%`: URLencode()
# leaves text alone that looks encoded already.
encode_segment <- function(text) {
  bytes <- as.integer(charToRaw(enc2utf8(text)))
  kept <- charToRaw(paste0(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
  ))
  plain <- bytes %in% as.integer(kept)
  encoded <- sprintf("%%%02X", bytes)
  encoded[plain] <- rawToChar(as.raw(bytes[plain]), multiple = TRUE)
  paste(encoded, collapse = "")
}

`%||%` <- function(x, y) if (is.null(x)) y else x

# One place where a request is made, performed, tried again, and its failure
# turned into a condition. No other file talks HTTP.

# How long a request may take, in seconds, beside what the server was asked to
# wait.
http_timeout <- function() {
  timeout <- getOption("mxcrypt.timeout", 60)
  timeout <- check_number(timeout, "mxcrypt.timeout", 0.001)
  # httr2 accepts no less than a millisecond.
  max(0.001, min(timeout, 24 * 60 * 60, time_left()))
}

# How often a request is tried.
http_tries <- function() {
  tries <- getOption("mxcrypt.max_tries", 5)
  min(check_number(tries, "mxcrypt.max_tries", 1), 1000)
}

# Seconds before the second try.
http_first_pause <- function() {
  check_number(getOption("mxcrypt.pause", 0.5), "mxcrypt.pause")
}

# Performs a request, with retries, until there is a response of the server.
#
# `body` is JSON text or NULL. With `idempotent`, the same request may reach the
# server twice; without, it is repeated only where the server said that it did
# nothing (425, 429). The result is a list of `status` and `body` (raw): of any
# status but those of a failure that passes (see `may_repeat()`), which are
# errors once there were enough tries. With `renews = FALSE` an expired login is not
# renewed for it.
#
# `content` is a body that is no JSON: a list of `type`, and of `bytes` or of `path`,
# a file. With `file`, a body of status 200 is there instead; one of more than
# `max_size` bytes is an error, and the file is removed after any error. With
# `follow`, such a download may be redirected (see http-transfer.R). `resume` is when
# another try may continue it: "never", with a strong "etag", or also without one,
# where the caller checks a "hash" of the file. The result has `resumed` then.
http_perform <- function(
  session,
  method,
  path,
  body = NULL,
  timeout = 0,
  idempotent = TRUE,
  content = NULL,
  file = NULL,
  max_size = Inf,
  follow = FALSE,
  resume = "never",
  renews = TRUE,
  call = caller_env()
) {
  if (!idempotent) {
    session[["fresh"]] <- TRUE
  }
  download <- NULL
  is_kept <- FALSE
  if (!is.null(file)) {
    # R always waits for a download.
    session <- waiting_client(session)
    download <- list(
      to = file,
      max_size = max_size,
      follow = follow,
      resume = resume,
      # What one try tells the next (see http-resume.R).
      part = new.env()
    )
    on.exit(if (!is_kept) unlink(file))
  }
  answer <- http_until_answered(
    session,
    idempotent,
    renews,
    call,
    function() {
      http_try(session, method, path, body, timeout, content, download, call)
    }
  )
  and_then(answer, function(answer) {
    if (answer[["status"]] %in% 300:399) {
      redirect_abort(session, answer, follow, call)
    }
    is_kept <<- answer[["status"]] == 200L
    answer
  })
}

# One try, performed by the driver of the session if it has one.
http_try <- function(
  session,
  method,
  path,
  body,
  timeout,
  content,
  download,
  call
) {
  driver <- session[["driver"]]
  if (is.null(driver)) {
    http_once(session, method, path, body, timeout, content, download, call)
  } else {
    driver[["perform"]](session, method, path, body, timeout, content, call)
  }
}

# Calls `once` until there is a response that counts, and raises the last failure if
# there never is.
http_until_answered <- function(session, idempotent, renews, call, once) {
  answered <- NULL
  # An option of a caller does not outlive its call.
  tries <- floor(http_tries())
  used <- session_token(session)
  check_signed_in(session, used, call)
  if (renews) {
    used <- fresh_token(session, used, call)
  }
  attempt <- function() {
    and_then(
      on_failure(once(), identity, "mx_error_network"),
      function(answer) {
        if (!is_no_answer(answer)) {
          answered <<- answer
        }
        # Once per request: a server may end each login at once.
        if (!renews || !is_expired(answer)) {
          return(answer)
        }
        renews <<- FALSE
        and_then(renew_login(session, used, call), function(is_renewed) {
          if (is_renewed) attempt() else answer
        })
      }
    )
  }
  try <- 0
  attempt_or_pause <- function() {
    and_then(attempt(), function(answer) {
      try <<- try + 1
      if (try >= tries || !may_repeat(answer, idempotent)) {
        return(answer)
      }
      pause <- pause_for(session, http_pause(answer, try))
      and_then(pause, function(waited) again)
    })
  }
  and_then(used, function(token) {
    used <<- token
    and_then(repeat_steps(attempt_or_pause), function(answer) {
      if (is_no_answer(answer)) {
        raise(network_condition(answer, answered, call))
      }
      if (may_repeat(answer, idempotent)) {
        http_abort(answer, call = call)
      }
      answer
    })
  })
}

# A request with a token, a password or a message goes where the user said, and
# nowhere else: curl would hand all of them to whatever host a redirect names, and
# make a PUT into one without its body.
redirect_abort <- function(session, answer, follow, call) {
  location <- answer[["location"]]
  message <- c(
    paste0(session[["server"]], " redirects to another address."),
    x = if (is_string(location)) printable(substr(location, 1L, 200L)),
    i = if (follow) {
      "A download is redirected to https addresses only, and at most 3 times."
    } else {
      paste(
        "Requests go to no other address by themselves.",
        "If this one is right, give it as `server`."
      )
    }
  )
  abort_with_answer(message, "mx_error_answer", answer, call)
}

is_no_answer <- function(answer) {
  inherits(answer, "mx_error_network")
}

# Whether another try can help, and can do no harm. A server that answers with
# 425 (Too Early) or 429 did nothing; after 408 (Request Timeout) or 5xx it may
# have.
may_repeat <- function(answer, idempotent) {
  if (is_no_answer(answer)) {
    return(idempotent && !isTRUE(answer[["final"]]))
  }
  status <- answer[["status"]]
  status %in%
    c(425L, 429L) ||
    (idempotent && (status == 408L || status >= 500L))
}

# Seconds until the next try: what the server asks for, or twice as long as
# before.
http_pause <- function(answer, try) {
  asked <- if (!is_no_answer(answer)) retry_after(answer)
  usual <- http_first_pause() * 2^(try - 1)
  min(if (is.null(asked)) usual else asked, 60, time_left())
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

http_once <- function(
  session,
  method,
  path,
  body,
  timeout,
  content,
  download,
  call
) {
  homeserver <- the[["homeservers"]][[session[["server"]]]]
  if (!is.null(homeserver)) {
    sent <- if (is.null(content)) body else demo_upload(content, call)
    token <- session_token(session)
    answer <- demo_perform(homeserver, method, path, token, sent)
    return(demo_download(answer, download, call))
  }
  if (!is.null(download)) {
    return(http_download(session, path, download, call))
  }
  source <- upload_source(content, call)
  if (!is.null(source)) {
    on.exit(source[["close"]]())
  }
  request <- http_request(session, method, path, body, timeout, content, source)
  was_cut <- function() !is.null(source) && source[["was_cut"]]()
  response <- tryCatch(
    httr2::req_perform(request),
    # curl 7 and later also make an interrupt of a file that the callback gave up.
    interrupt = function(condition) {
      if (was_cut()) {
        file_abort("read", content[["path"]], call)
      }
      rlang::interrupt()
    },
    error = function(condition) {
      if (was_cut()) {
        file_abort("read", content[["path"]], call)
      }
      if (is_interruption(condition)) {
        rlang::interrupt()
      }
      # httr2's condition holds the request, and that the token: only its message is
      # kept.
      no_answer(session[["server"]], network_reason(condition), session)
    }
  )
  if (is_no_answer(response)) {
    return(response)
  }
  list(
    status = httr2::resp_status(response),
    body = response[["body"]] %||% raw(),
    retry_after = httr2::resp_header(response, "Retry-After"),
    location = httr2::resp_header(response, "Location"),
    date = httr2::resp_header(response, "Date")
  )
}

# curl looks for Ctrl-C itself and clears it, so that R never signals it: what is
# left is an error, which would be taken for a lost connection and tried again.
is_interruption <- function(condition) {
  inherits(condition, "curl_error_aborted_by_callback") ||
    grepl("aborted by an application callback", network_reason(condition))
}

network_reason <- function(condition) {
  parent <- condition[["parent"]]
  conditionMessage(if (is.null(parent)) condition else parent)
}

# The condition of a request that ended without a response. An earlier try may
# have had one (502, 502, nothing): its status, error code and body are kept.
network_condition <- function(condition, answered, call) {
  body <- if (!is.null(answered)) json_body(answered)
  condition[["call"]] <- bare_call(call)
  condition[["status"]] <- answered[["status"]] %||% NA_integer_
  condition[["errcode"]] <- errcode_of(body) %||% NA_character_
  condition[["body"]] <- body
  condition
}

# curl keeps connections open, and a forked child inherits them: parent and children
# would write into one socket, and read the responses that were meant for each other.
#
# Where an old connection ends without a response, libcurl sends the request a second
# time by itself. So one that must not be sent twice has a connection of its own.
connection_options <- function(session = NULL) {
  is_forked <- Sys.getpid() != the[["loaded_in"]]
  c(
    if (is_forked || isTRUE(session[["fresh"]])) list(fresh_connect = 1L),
    if (is_forked) list(forbid_reuse = 1L)
  )
}

# A request as httr2 performs it.
http_request <- function(
  session,
  method,
  path,
  body,
  timeout,
  content,
  source
) {
  parts <- request_parts(session, method, path, body, timeout, content, source)
  request <- httr2::request(parts[["url"]])
  request <- httr2::req_method(request, method)
  request <- httr2::req_error(request, is_error = function(response) FALSE)
  # Pauses are http_perform()'s: httr2's own come even after the last try, and
  # are drawn from R's random numbers.
  request <- httr2::req_retry(
    request,
    max_tries = 1,
    is_transient = function(response) FALSE,
    backoff = function(tries) 0
  )
  if (!is.null(parts[["token"]])) {
    request <- httr2::req_auth_bearer_token(request, parts[["token"]])
  }
  request <- do.call(
    httr2::req_options,
    c(list(request), parts[["options"]])
  )
  if (!is.null(source)) {
    return(httr2::req_headers(request, "Content-Type" = parts[["type"]]))
  }
  if (!is.null(parts[["bytes"]])) {
    return(httr2::req_body_raw(request, parts[["bytes"]], parts[["type"]]))
  }
  request
}

# The same request as a handle for curl's multi interface.
http_handle <- function(session, method, path, body, timeout, content, source) {
  parts <- request_parts(session, method, path, body, timeout, content, source)
  bytes <- parts[["bytes"]]
  handle <- curl::new_handle()
  curl::handle_setopt(
    handle,
    .list = c(
      list(url = parts[["url"]], customrequest = method),
      if (!is.null(bytes)) {
        list(post = TRUE, postfieldsize = length(bytes), postfields = bytes)
      },
      parts[["options"]]
    )
  )
  headers <- list()
  headers[["Content-Type"]] <- parts[["type"]]
  if (!is.null(parts[["token"]])) {
    headers[["Authorization"]] <- paste("Bearer", parts[["token"]])
  }
  curl::handle_setheaders(handle, .list = headers)
  handle
}

# What a request is made of: its address, token, options of curl, and body: either the
# `bytes`, or among the options `source`, a file (see upload_source()).
request_parts <- function(
  session,
  method,
  path,
  body,
  timeout,
  content,
  source
) {
  url <- paste0(session[["server"]], acting_path(session, path))
  token <- session_token(session)
  limits <- if (is.null(content)) {
    list(timeout_ms = 1000 * http_timeout() + timeout)
  } else {
    transfer_limits()
  }
  # Only server discovery may be redirected (specification: "Well-known URI").
  stays <- isFALSE(session[["follows"]])
  stays <- stays || !is.null(token) || method != "GET"
  type <- content[["type"]]
  bytes <- content[["bytes"]]
  if (is.null(content) && !is.null(body)) {
    type <- session[["body_type"]] %||% "application/json"
    bytes <- charToRaw(body)
  }
  list(
    url = url,
    token = token,
    type = type,
    bytes = bytes,
    options = c(
      list(useragent = "mxcrypt (R)"),
      limits,
      if (stays) list(followlocation = 0L),
      # One option each: what a source sets counts (a connection of its own).
      utils::modifyList(
        c(connection_options(session), network_options(session, url)),
        source_options(source)
      )
    )
  )
}

# A request whose response needs no validation by the core: it is parsed in R.
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
  and_then(answer, function(answer) {
    if (answer[["status"]] >= 400L) {
      http_abort(answer, call = call)
    }
    if (!is_json_object(answer)) {
      answer_abort("The response", answer, call)
    }
    json_body(answer)
  })
}

# A captive portal responds with 200 and its own page: that is no success.
answer_abort <- function(what, answer, call) {
  message <- c(
    paste0(what, " is not what the Matrix specification asks for."),
    x = paste0("Status ", answer[["status"]], ": ", body_excerpt(answer)),
    i = "A proxy may have answered in place of the homeserver. Try again later."
  )
  abort_with_answer(message, "mx_error_answer", answer, call)
}

# A base condition, as in `matrix_abort()`.
abort_with_answer <- function(message, class, answer, call) {
  body <- json_body(answer)
  condition <- errorCondition(
    rlang::format_error_bullets(message),
    class = c(class, "mx_error"),
    call = bare_call(call),
    status = answer[["status"]],
    errcode = errcode_of(body) %||% NA_character_,
    body = body
  )
  raise(condition)
}

body_excerpt <- function(answer) {
  text <- body_text(answer)
  if (nzchar(text)) printable(substr(text, 1L, 80L)) else "no text"
}

body_text <- function(answer) {
  checked_json(tryCatch(rawToChar(answer[["body"]]), error = function(e) ""))
}

is_json_object <- function(answer) {
  grepl("^[[:space:]]*[{]", body_text(answer)) &&
    !inherits(json_decode(body_text(answer)), "mxcrypt_failure")
}

# The body as a list; empty where it is no JSON object.
json_body <- function(answer) {
  parsed <- json_decode(body_text(answer))
  if (is.list(parsed) && !inherits(parsed, "mxcrypt_failure")) {
    parsed
  } else {
    list()
  }
}

# The value at a path in JSON, or NULL where the server sent another structure.
json_at <- function(x, ...) {
  tryCatch(x[[c(...)]], error = function(condition) NULL)
}

checked_json <- function(text) {
  Encoding(text) <- "UTF-8"
  if (validUTF8(text)) text else ""
}

# A path of the client-server API from segments that are encoded one by one.
api_path <- function(..., query = NULL, version = "v3") {
  segments <- vapply(c(...), path_segment, "", USE.NAMES = FALSE)
  path <- paste(c("/_matrix/client", version, segments), collapse = "/")
  query <- Filter(Negate(is.null), query)
  if (length(query) == 0L) {
    return(path)
  }
  values <- vapply(query, function(x) encode_segment(query_text(x)), "")
  paste0(path, "?", paste0(names(query), "=", values, collapse = "&"))
}

# `.` and `..` would lead to another path: clients and proxies normalise paths, some
# of them after they decoded what is percent-encoded (RFC 3986, section 6.2.2).
path_segment <- function(text) {
  decoded <- tolower(text)
  while (grepl("%25", decoded, fixed = TRUE)) {
    decoded <- gsub("%25", "%", decoded, fixed = TRUE)
  }
  decoded <- gsub("%2e", ".", decoded, fixed = TRUE)
  decoded <- gsub("%2f|%5c|\\\\", "/", decoded)
  if (any(strsplit(decoded, "/", fixed = TRUE)[[1]] %in% c(".", ".."))) {
    mx_abort(
      paste0(
        "\"",
        printable(text),
        "\" cannot be part of a request: it would lead to another path."
      ),
      "mx_error_argument"
    )
  }
  encode_segment(text)
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

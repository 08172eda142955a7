# Signing in with a code that a person enters in a browser, anywhere: OAuth 2.0
# device authorisation grant (RFC 8628). The specification has it under "Device
# authorisation flow".
#
# A sign-in that waits for approval is kept in a file (0600) beside the configuration. A
# script without a console raises an error with the address; its next run, in any process,
# reads the file and completes the sign-in. The file holds the device code, which is
# enough to get the tokens once a person has approved.

# A login for `account`: a list of `server`, `path`, `device_id` (of the store, or
# NULL) and `device_name`.
device_grant <- function(account, call = caller_env()) {
  grant <- pending_grant(account)
  login <- if (!is.null(grant[["access_token"]])) {
    granted_before(grant, account, call)
  } else if (!is.null(grant)) {
    poll_pending(grant, account, call)
  }
  if (!is.null(login)) {
    return(login)
  }
  # That request may have ended the pending sign-in.
  grant <- pending_grant(account) %||% begin_grant(account, call)
  if (!rlang::is_interactive()) {
    grant_abort(grant, call)
  }
  show_grant(grant)
  wait_for_grant(grant, account, call)
}

# What a person granted to a process that was killed. Its access token may have
# expired meanwhile; a person should not be asked again for that.
granted_before <- function(grant, account, call) {
  token <- grant[["refresh_token"]]
  if (!is_about_to_expire(grant) || is.null(token)) {
    return(grant)
  }
  metadata <- oauth_metadata(account[["server"]], call)
  login <- if (identical(metadata[["issuer"]], grant[["issuer"]])) {
    oauth_renewed(grant, token, call)
  }
  if (is.null(login)) {
    forget_grant(account)
    return(NULL)
  }
  grant[names(login)] <- login
  write_config(grant, pending_path(account))
  grant
}

begin_grant <- function(account, call) {
  metadata <- oauth_metadata(account[["server"]], call)
  if (!has_device_grant(metadata)) {
    cannot_sign_in(account, call)
  }
  client_name <- account[["device_name"]] %||% default_device_name
  device_id <- account[["device_id"]] %||% core(random_device_id(), call)
  check_scope_device(device_id, call)
  client_id <- oauth_register(metadata, client_name, call)
  fields <- list(client_id = client_id, scope = device_scope(device_id))
  address <- metadata[["device_authorization_endpoint"]]
  answer <- oauth_post(address, fields, call)
  if (answer[["status"]] >= 400L) {
    oauth_abort("The OAuth server began no sign-in", answer, call)
  }
  grant <- judge_grant(answer, account[["server"]], call)
  grant[["server"]] <- account[["server"]]
  grant[["issuer"]] <- metadata[["issuer"]]
  grant[["token_endpoint"]] <- metadata[["token_endpoint"]]
  grant[["client_id"]] <- client_id
  grant[["device_id"]] <- device_id
  write_config(grant, pending_path(account))
  grant
}

# A space would end the scope, and a person approve another device. Specification:
# client-server API, "Scope": the unreserved characters of RFC 3986.
check_scope_device <- function(device_id, call) {
  if (!grepl("^[A-Za-z0-9._~-]+$", device_id)) {
    mx_abort(
      c(
        "This device cannot sign in by OAuth.",
        x = paste("Its id has other characters:", printable(device_id)),
        i = "Sign in as a new device, with another `app` or `store_dir`."
      ),
      "mx_error_sign_in",
      call = call
    )
  }
}

device_scope <- function(device_id) {
  paste0(
    "urn:matrix:client:api:* urn:matrix:client:device:",
    device_id
  )
}

# RFC 8628, section 3.2. All as text, which is what the file holds.
judge_grant <- function(answer, server, call) {
  body <- json_body(answer)
  complete <- body[["verification_uri_complete"]]
  expires_at <- time_of_expiry(body[["expires_in"]])
  is_whole <- is_device_code(body[["device_code"]]) &&
    is_user_code(body[["user_code"]]) &&
    is_safe_address(body[["verification_uri"]], server) &&
    !is.null(expires_at)
  if (!is_whole) {
    tokens_abort("The code to sign in with", answer, call)
  }
  interval <- body[["interval"]]
  is_interval <- is.numeric(interval) &&
    length(interval) == 1L &&
    isTRUE(interval >= 0 && interval <= 600)
  list(
    device_code = body[["device_code"]],
    user_code = body[["user_code"]],
    url = body[["verification_uri"]],
    url_complete = if (is_safe_address(complete, server)) complete,
    expires_at = expires_at,
    interval = sprintf("%.0f", if (is_interval) ceiling(interval) else 5)
  )
}

# It is kept, and sent with each poll.
is_device_code <- function(x) {
  is_token(x) && nchar(x) <= 4096L
}

# A person reads and types it, so it must be short; and a terminal prints it, so it must
# have no control characters.
is_user_code <- function(x) {
  is_string(x) && grepl("^[ -~]{1,64}$", x)
}

pending_path <- function(account) {
  paste0(account[["path"]], ".pending")
}

# The sign-in that a person may have approved by now, or NULL. One for another server or
# another device does not count.
pending_grant <- function(account) {
  grant <- tryCatch(
    read_config(pending_path(account)),
    mx_error_config = function(condition) list()
  )
  needed <- c(
    "server",
    "issuer",
    "token_endpoint",
    "client_id",
    "device_id",
    "device_code",
    "user_code",
    "url",
    "expires_at",
    "interval"
  )
  fits <- all(needed %in% names(grant)) &&
    grant[["server"]] == account[["server"]] &&
    (account[["device_id"]] %||% grant[["device_id"]]) == grant[["device_id"]]
  if (fits && is_good_grant(grant)) grant
}

# A file can be damaged. The time is that of the code, or of the access token once
# there is one: that may be renewed.
is_good_grant <- function(grant) {
  expires_at <- utc_time(grant[["expires_at"]])
  interval <- suppressWarnings(as.numeric(grant[["interval"]]))
  addresses <- grant[c("url", "token_endpoint")]
  checks <- c(
    vapply(addresses, is_safe_address, NA, server = grant[["server"]]),
    is_device_code(grant[["device_code"]]),
    is_user_code(grant[["user_code"]]),
    interval >= 0,
    interval <= 600,
    !is.na(expires_at),
    is_token(grant[["access_token"]]) || Sys.time() < expires_at
  )
  isTRUE(all(checks))
}

# Whether a person has approved already, and only a process was killed meanwhile.
is_granted <- function(account) {
  !is.null(pending_grant(account)[["access_token"]])
}

forget_grant <- function(account) {
  unlink(pending_path(account))
}

# In a later call: the login; or NULL while nobody has approved it, or if the server no
# longer knows it. In the latter case another sign-in is begun.
poll_pending <- function(grant, account, call) {
  answer <- ask_for_tokens(grant, call)
  if (identical(oauth_code(answer), "slow_down")) {
    # Without a second try, a sign-in that was approved would raise its address again.
    Sys.sleep(min(as.numeric(grant[["interval"]]), 25) + 5)
    answer <- ask_for_tokens(grant, call)
  }
  gone <- c("expired_token", "invalid_grant", "invalid_client")
  if (isTRUE(oauth_code(answer) %in% gone)) {
    # The code is used up, maybe by another process, which has saved what it got.
    saved <- pending_grant(account)
    is_same <- identical(saved[["device_code"]], grant[["device_code"]])
    if (is_same && !is.null(saved[["access_token"]])) {
      return(saved)
    }
    forget_grant(account)
    return(NULL)
  }
  granted_login(answer, grant, account, call)
}

ask_for_tokens <- function(grant, call) {
  fields <- list(
    grant_type = device_grant_type,
    device_code = grant[["device_code"]],
    client_id = grant[["client_id"]]
  )
  oauth_post(grant[["token_endpoint"]], fields, call)
}

# The login in a response to a poll; NULL while nobody has approved it. RFC 8628, section
# 3.5.
granted_login <- function(answer, grant, account, call) {
  if (isTRUE(oauth_code(answer) %in% c("authorization_pending", "slow_down"))) {
    return(NULL)
  }
  if (answer[["status"]] >= 400L) {
    # A proxy's page is no verdict: the code is good for the next call.
    if (!is.null(oauth_code(answer))) {
      forget_grant(account)
    }
    oauth_abort(
      "The sign-in was not granted",
      answer,
      call,
      help = "Make this call again to begin another."
    )
  }
  login <- oauth_login(answer, grant, call)
  check_scope(login, grant, call)
  grant[names(login)] <- login
  # The code is used up: if R were killed before the tokens are saved, a person would have
  # to approve again.
  write_config(grant, pending_path(account))
  # Where nothing is said of the token, the time of the code is not its own.
  grant[["expires_at"]] <- login[["expires_at"]]
  grant
}

# A server may grant less than was asked for, and says so then (RFC 6749, section
# 5.1). Without the device there is no encryption.
check_scope <- function(login, grant, call) {
  asked <- strsplit(device_scope(grant[["device_id"]]), " ")[[1]]
  scope <- login[["scope"]] %||% device_scope(grant[["device_id"]])
  # The prefix of servers from before Matrix v1.15.
  early <- "urn:matrix:org.matrix.msc2967."
  scope <- gsub(early, "urn:matrix:", scope, fixed = TRUE)
  if (all(asked %in% strsplit(scope, " ", fixed = TRUE)[[1]])) {
    return(invisible())
  }
  mx_abort(
    c(
      "The OAuth server did not grant what encryption needs.",
      x = paste("Asked for:", paste(asked, collapse = " ")),
      x = paste("Granted:", printable(shortened(scope)))
    ),
    c("mx_error_oauth_invalid_scope", "mx_error_oauth"),
    code = "invalid_scope",
    call = call
  )
}

grant_words <- function(grant) {
  c(
    i = paste0("Open ", grant[["url_complete"]] %||% grant[["url"]]),
    i = paste0(
      "The code is ",
      grant[["user_code"]],
      ", until ",
      format(utc_time(grant[["expires_at"]]), "%H:%M %Z", tz = ""),
      "."
    )
  )
}

grant_abort <- function(grant, call) {
  mx_abort(
    c(
      "A person must approve this sign-in in a browser, on any device.",
      grant_words(grant),
      i = "Then make this call again, as it was: it goes on from here."
    ),
    "mx_error_approval",
    url = grant[["url_complete"]] %||% grant[["url"]],
    user_code = grant[["user_code"]],
    expires_at = utc_time(grant[["expires_at"]]),
    call = call
  )
}

show_grant <- function(grant) {
  url <- grant[["url_complete"]] %||% grant[["url"]]
  message(rlang::format_error_bullets(c(
    "Approve this sign-in in a browser, on this device or another.",
    grant_words(grant)
  )))
  if (cli::is_utf8_output()) {
    symbol <- mxc_qr_symbol(charToRaw(url))
    message(paste(format(symbol, invert = TRUE), collapse = "\n"))
  }
  # Where no browser can be opened, the address is there to be copied.
  try(utils::browseURL(url), silent = TRUE)
}

wait_for_grant <- function(grant, account, call) {
  # One that says 0 would be asked without end.
  interval <- max(1, as.numeric(grant[["interval"]]))
  while (Sys.time() < utc_time(grant[["expires_at"]])) {
    Sys.sleep(interval)
    answer <- tryCatch(
      ask_for_tokens(grant, call),
      mx_error_network = identity,
      # A failure that passes: the person may be about to approve.
      mx_error_http = identity
    )
    if (inherits(answer, "mx_error")) {
      interval <- min(2 * interval, 60)
      next
    }
    if (identical(oauth_code(answer), "slow_down")) {
      interval <- interval + 5
    }
    login <- granted_login(answer, grant, account, call)
    if (!is.null(login)) {
      return(login)
    }
  }
  forget_grant(account)
  mx_abort(
    c(
      "Nobody approved the sign-in before its code expired.",
      i = "Make this call again to begin another."
    ),
    c("mx_error_oauth_expired_token", "mx_error_oauth"),
    code = "expired_token",
    call = call
  )
}

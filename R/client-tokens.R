# Access tokens: in memory while R runs, in the configuration file (0600) or an
# environment variable beyond that. They are looked up when a request is made.

session_token <- function(session) {
  path <- session[["path"]]
  if (is.null(path)) {
    return(session[["token"]])
  }
  tokens <- the[["tokens"]][[path]]
  # Where there is none, another process may have signed in meanwhile.
  if (is.null(tokens[["token"]])) {
    tokens <- read_config(path)
    remember_tokens(path, tokens)
  }
  tokens[["token"]] %||% find_secret("access_token", session[["user_id"]])
}

# The fields of a configuration that belong to its login. mx_logout() deletes them.
login_fields <- c(
  "token",
  "refresh_token",
  "expires_at",
  "method",
  "issuer",
  "client_id"
)

remember_tokens <- function(path, tokens) {
  all <- the[["tokens"]]
  kept <- tokens[c(login_fields, "user_id", "device_id")]
  # As a number: each request compares it.
  kept[["ends_at"]] <- end_of_token(tokens)
  all[[path]] <- Filter(Negate(is.null), kept)
  the[["tokens"]] <- all
}

forget_tokens <- function(path) {
  remember_tokens(path, list())
}

# A client that signed itself out asks nobody anything: the server would only say
# that a token is missing.
check_signed_in <- function(session, token, call) {
  if (is.null(session[["path"]]) || !is.null(token)) {
    return(invisible())
  }
  signed_out_at <- read_config(session[["path"]])[["signed_out_at"]]
  if (!is.null(signed_out_at)) {
    mx_abort(
      c(
        paste0(
          session[["user_id"]],
          " was signed out here with mx_logout() on ",
          signed_out_at,
          "."
        ),
        i = "Sign in again with mx_client_relogin(client): the device keeps its keys."
      ),
      c("mx_error_signed_out", "mx_error_M_MISSING_TOKEN"),
      call = call
    )
  }
}

# Gets a new token for a login that has expired, and returns whether it did: from
# the configuration file where another process has saved one, else by the refresh
# token, else by a password that can be had without asking. Asking in the middle
# of a pipeline would hang it. `used` is the token that the server did not accept.
#
# Processes that share a login share its refresh token: one renews the login, under
# a lease in the store, while the others wait and read what it saves.
renew_login <- function(session, used, call = caller_env()) {
  path <- session[["path"]]
  # A server that ends each login at once must not be signed in to for ever.
  if (is.null(path) || !file.exists(path) || isTRUE(the[["restoring"]])) {
    return(FALSE)
  }
  client <- client_at(path)
  client[["driver"]] <- session[["driver"]]
  # Another process may have signed out; that is not undone by a password.
  check_signed_in(client, read_config(path)[["token"]], call)
  renewed_by <- on_failure(
    renew_under_lease(client, used, call),
    function(condition) renewal_abort(condition, call),
    c(
      "mx_error_http",
      "mx_error_oauth",
      "mx_error_answer",
      "mx_error_sign_in",
      "mx_error_network"
    )
  )
  and_then(renewed_by, function(renewed_by) {
    # After the lease: this takes longer, and other processes may use the new login.
    if (identical(renewed_by, "password")) {
      restore_quietly(waiting_client(client), call)
    }
    !is.null(renewed_by)
  })
}

# The response to the renewal of a login is not the response to the request that it was
# renewed for: it has no `status`, no `errcode` and none of their classes, or a
# "not found" would be read as "this room is not encrypted".
renewal_abort <- function(condition, call) {
  message <- c(
    "The login has expired, and was not renewed.",
    x = conditionMessage(condition),
    i = if (!is_passing(condition)) "Sign in again with mx_client_relogin()."
  )
  raise(errorCondition(
    rlang::format_error_bullets(message),
    class = c("mx_error_renewal", "mx_error"),
    call = bare_call(call),
    cause = condition
  ))
}

renew_under_lease <- function(client, used, call) {
  machine <- store_of(client)
  if (is.null(machine)) {
    return(renew_login_alone(client, used, call))
  }
  taken <- repeat_steps(function() {
    if (another_renewed(client, used)) {
      return(list(by = "another process"))
    }
    lease <- core(machine_lease_login(machine), call = call)
    if (!is.null(lease)) {
      return(list(lease = lease))
    }
    if (time_left() <= 0) {
      raise(network_error(
        "Another process renews the login, and takes too long."
      ))
    }
    and_then(pause_for(client, 0.1), function(waited) again)
  })
  and_then(taken, function(taken) {
    if (!is.null(taken[["by"]])) {
      return(taken[["by"]])
    }
    with_cleanup(renew_login_alone(client, used, call), function() {
      core(machine_release_login(machine, taken[["lease"]]), call = call)
    })
  })
}

# Returns what brought a new token, or NULL.
renew_login_alone <- function(client, used, call) {
  # Read again, because another process may have finished meanwhile; also after
  # the server's refusal, because one that knows no lease may have.
  if (another_renewed(client, used)) {
    return("another process")
  }
  and_then(refresh_token(client, call), function(is_refreshed) {
    if (is_refreshed) {
      "refresh token"
    } else if (another_renewed(client, used)) {
      "another process"
    } else if (relogin_quietly(waiting_client(client), call)) {
      "password"
    }
  })
}

# Whether the configuration file has another token than `used`, which is taken
# from there then.
another_renewed <- function(client, used) {
  config <- read_config(client[["path"]])
  token <- config[["token"]]
  if (is.null(token) || identical(token, used)) {
    return(FALSE)
  }
  remember_tokens(client[["path"]], config)
  TRUE
}

# The store of a client, or NULL where there is none that can be opened: a session
# needs none.
store_of <- function(client) {
  tryCatch(
    if (has_store(client[["store_dir"]])) open_store(client[["store_dir"]]),
    mx_error_store = function(condition) NULL
  )
}

is_expired <- function(answer) {
  !is_no_answer(answer) &&
    answer[["status"]] == 401L &&
    identical(json_body(answer)[["errcode"]], "M_UNKNOWN_TOKEN")
}

# Returns FALSE where there is no refresh token, or where the server's verdict ends
# it. Everything else passes: it is an error, and the same refresh token is used
# the next time. The server accepts it until the new access token was used.
# Specification: client-server API, "Refreshing access tokens".
refresh_token <- function(client, call = caller_env()) {
  config <- read_config(client[["path"]])
  token <- config[["refresh_token"]] %||% env_value("MXCRYPT_REFRESH_TOKEN")
  if (is.null(token)) {
    return(FALSE)
  }
  if (identical(config[["method"]], "oauth")) {
    return(oauth_refresh(client, config, token, call))
  }
  bare <- bare_session(client[["server"]], client)
  body <- mxc_json(list(refresh_token = token))
  answer <- http_perform(bare, "POST", api_path("refresh"), body, call = call)
  and_then(answer, function(answer) {
    keep_refreshed(client, config, answer, call)
  })
}

# What a request to `server` needs that is part of a client's renewal: no token, but its
# certificates and its driver.
bare_session <- function(server, client, ...) {
  list(
    server = server,
    ca_file = client[["ca_file"]],
    driver = client[["driver"]],
    ...
  )
}

# What the response to a refresh means: see refresh_token().
keep_refreshed <- function(client, config, answer, call) {
  login <- told_login(json_body(answer))
  if (answer[["status"]] == 200L && is_token(login[["access_token"]])) {
    # Saved before it is used: from then on the old one is void.
    keep_login(client[["path"]], config, login)
    return(TRUE)
  }
  if (ends_login(json_body(answer))) {
    return(FALSE)
  }
  if (answer[["status"]] == 200L) {
    tokens_abort("The response to the refresh of the login", answer, call)
  }
  http_abort(answer, call = call)
}

# A response that was to bring tokens, and cannot be read, may hold them all the same:
# neither its text nor its fields go into the condition. The page of a proxy does.
tokens_abort <- function(what, answer, call) {
  if (!grepl("^[[:space:]]*<", body_text(answer))) {
    answer[["body"]] <- charToRaw("(not shown, because it may hold tokens)")
  }
  answer_abort(what, answer, call)
}

# The fields of a login that a server may set. `method` and `issuer` are ours: a response
# must not change where the refresh token is sent.
told_login <- function(body) {
  login <- body[c("access_token", "refresh_token", "user_id", "device_id")]
  lasts <- body[["expires_in_ms"]]
  login[["expires_at"]] <- time_of_expiry(if (is.numeric(lasts)) lasts / 1000)
  Filter(Negate(is.null), login)
}

# Whether the server reports that a refresh token is not valid any more. Synapse
# responds with M_FORBIDDEN to one that was used up, a server without refresh with
# M_UNRECOGNIZED, an authentication service with a code of OAuth 2.0 (RFC 6749, section
# 5.2).
ends_login <- function(body) {
  final <- c(
    "M_UNKNOWN_TOKEN",
    "M_FORBIDDEN",
    "M_UNRECOGNIZED",
    "M_USER_DEACTIVATED"
  )
  isTRUE(errcode_of(body) %in% final) ||
    identical(body[["error"]], "invalid_grant")
}

check_token <- function(x, call = caller_env(), name = "access_token") {
  if (!is_token(x)) {
    argument_abort(name, "a token, in one string", call)
  }
  x
}

# What may stand in a header.
is_token <- function(x) {
  is_string(x) && grepl("^[!-~]+$", x)
}

relogin_quietly <- function(client, call = caller_env()) {
  password <- quiet_password(client[["user_id"]])
  method <- read_config(client[["path"]])[["method"]]
  if (is.null(password) || identical(method, as_method)) {
    return(FALSE)
  }
  relogin(client, list(method = "password", password = password), call)
  TRUE
}

# A failure here must not stop the request that the login was renewed for.
restore_quietly <- function(client, call = caller_env()) {
  if (is.null(store_of(client))) {
    return(invisible())
  }
  the[["restoring"]] <- TRUE
  on.exit(the[["restoring"]] <- FALSE)
  tryCatch(restore_device(client, call), mx_error = function(condition) {
    mx_warn(
      c(
        "Signed in again, but the keys of this device were not checked.",
        x = conditionMessage(condition),
        i = "Run mx_crypto_setup(), which has this device signed where it is not."
      ),
      "mx_warning_unsigned_device"
    )
  })
}

# Saves the tokens of a login or a refresh. Fields that the response lacks keep their
# value: a refresh may return no new refresh token, and never returns the issuer.
keep_login <- function(path, config, login) {
  # One that was found is left where it is.
  config[["token"]] <- if (!isTRUE(login[["is_found"]])) {
    login[["access_token"]]
  }
  config[c("signed_out_at", "expires_at")] <- NULL
  # One that begins with so little time would be renewed before each request.
  if (is_about_to_expire(login)) {
    login[["expires_at"]] <- NULL
  }
  known <- c("refresh_token", "expires_at", "method", "issuer", "client_id")
  for (name in known) {
    if (is_token(login[[name]])) {
      config[[name]] <- login[[name]]
    }
  }
  write_config(config, path)
  remember_tokens(path, config)
  config
}

# Renews a login that is about to expire, and returns the token to use. If the renewal
# fails, the old token is used: it may still be good, and if not, the response to the
# request will tell.
fresh_token <- function(session, used, call = caller_env()) {
  path <- session[["path"]]
  ends_at <- if (!is.null(path)) the[["tokens"]][[path]][["ends_at"]]
  if (is.null(used) || !is_close(ends_at)) {
    return(used)
  }
  renewed <- on_failure(
    renew_login(session, used, call),
    function(condition) FALSE,
    "mx_error_renewal"
  )
  and_then(renewed, function(is_renewed) {
    if (is_renewed) session_token(session) else used
  })
}

is_about_to_expire <- function(login) {
  is_close(end_of_token(login))
}

is_close <- function(ends_at) {
  !is.null(ends_at) && isTRUE(ends_at - as.numeric(Sys.time()) <= seconds_ahead)
}

# In seconds since 1970; NULL where it is not known.
end_of_token <- function(login) {
  expires_at <- login[["expires_at"]]
  if (!is.null(expires_at)) as.numeric(utc_time(expires_at))
}

# How long before the end of its access token a login is renewed, in seconds. Some
# tokens last a few minutes.
seconds_ahead <- 10

# The OAuth 2.0 server of a homeserver: what it offers, and requests to it.
# Specification: client-server API, "OAuth 2.0 API".

device_grant_type <- "urn:ietf:params:oauth:grant-type:device_code"

# The metadata of the OAuth server, or NULL if the homeserver has none and signs in by
# the older API. Servers of 2025 know the endpoint by its unstable name. `client` is that
# of a renewal.
oauth_metadata <- function(server, call = caller_env(), client = NULL) {
  paths <- c(
    api_path("auth_metadata", version = "v1"),
    api_path("auth_metadata", version = "unstable/org.matrix.msc2965")
  )
  repeat_steps(function() {
    if (length(paths) == 0L) {
      return(NULL)
    }
    answer <- http_perform(
      bare_session(server, client, follows = FALSE),
      "GET",
      paths[[1]],
      renews = FALSE,
      call = call
    )
    paths <<- paths[-1]
    and_then(answer, function(answer) {
      if (answer[["status"]] == 200L) {
        return(judge_metadata(answer, server, call))
      }
      # The page of a proxy says nothing of how to sign in.
      if (!is_verdict(answer) && answer[["status"]] != 404L) {
        answer_abort("The response to how to sign in", answer, call)
      }
      again
    })
  })
}

# Tokens and codes are sent to these addresses: each must be https, or also http if the
# homeserver itself is reached over http.
judge_metadata <- function(answer, server, call) {
  metadata <- json_body(answer)
  needed <- c("issuer", "token_endpoint")
  optional <- c(
    "registration_endpoint",
    "device_authorization_endpoint",
    "revocation_endpoint"
  )
  # No token goes there: a login is renewed also where the page has an odd address.
  page <- metadata[["account_management_uri"]]
  for (name in c(needed, optional)) {
    address <- metadata[[name]]
    is_missing <- is.null(address) && name %in% optional
    if (!is_missing && !is_safe_address(address, server)) {
      answer_abort(paste0("`", name, "` of the OAuth server"), answer, call)
    }
  }
  strings <- function(name) {
    Filter(is_string, as.list(json_at(metadata, name)))
  }
  c(
    Filter(is_string, metadata[c(needed, optional)]),
    list(
      account_management_uri = if (is_safe_address(page, server)) page,
      grants = as.character(strings("grant_types_supported")),
      actions = as.character(strings("account_management_actions_supported"))
    )
  )
}

is_safe_address <- function(address, server) {
  scheme <- if (startsWith(server, "http://")) "https?" else "https"
  host <- "([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]+)?"
  # No user name, which would hide the host, and no fragment.
  pattern <- paste0("^", scheme, "://", host, "([/?][!\"$-~]*)?$")
  is_string(address) && nchar(address) <= 2000L && grepl(pattern, address)
}

has_device_grant <- function(metadata) {
  !is.null(metadata[["device_authorization_endpoint"]]) &&
    !is.null(metadata[["registration_endpoint"]]) &&
    device_grant_type %in% metadata[["grants"]]
}

# The metadata for an existing login. Its refresh token goes only to the issuer that made
# it: a homeserver that names another one later must not get it there.
oauth_metadata_of <- function(config, call = caller_env(), client = NULL) {
  metadata <- oauth_metadata(config[["server"]], call, client)
  and_then(metadata, function(metadata) {
    if (!identical(metadata[["issuer"]], config[["issuer"]])) {
      mx_abort(
        c(
          "The homeserver has another OAuth server than the one that signed in.",
          x = paste("Now:", metadata[["issuer"]] %||% "none"),
          x = paste("Then:", config[["issuer"]] %||% "none"),
          i = "If this is right, sign in again with mx_client_relogin()."
        ),
        "mx_error_answer",
        call = call
      )
    }
    metadata
  })
}

# Posts a form to the OAuth server. The result is the response, of any status.
oauth_post <- function(
  address,
  fields,
  call = caller_env(),
  client = NULL
) {
  fields <- Filter(Negate(is.null), fields)
  values <- vapply(fields, encode_segment, "")
  form <- paste0(names(fields), "=", values, collapse = "&")
  type <- "application/x-www-form-urlencoded"
  # A refresh token that is used twice ends the login with some servers.
  http_perform(
    bare_session(address, client, body_type = type, fresh = TRUE),
    "POST",
    "",
    form,
    renews = FALSE,
    call = call
  )
}

# The client is registered again for each sign-in, as the specification requires:
# a server may delete a registration that nobody uses.
oauth_register <- function(metadata, client_name, call = caller_env()) {
  about <- list(
    client_name = client_name,
    client_uri = "https://mxcrypt.example/",
    application_type = "native",
    token_endpoint_auth_method = "none",
    grant_types = I(c(device_grant_type, "refresh_token")),
    # There is no browser to be redirected.
    response_types = list(),
    redirect_uris = list()
  )
  answer <- http_perform(
    list(server = metadata[["registration_endpoint"]]),
    "POST",
    "",
    as_json_text(about),
    renews = FALSE,
    call = call
  )
  client_id <- json_body(answer)[["client_id"]]
  if (answer[["status"]] >= 400L || !is_token(client_id)) {
    oauth_abort("The OAuth server did not register this client", answer, call)
  }
  client_id
}

# The error code of a response (RFC 6749, section 5.2), or NULL for a response that is not
# from an OAuth server, such as the page of a proxy.
oauth_code <- function(answer) {
  code <- json_body(answer)[["error"]]
  is_code <- is_string(code) && grepl("^[a-z_]{1,100}$", code)
  if (is_code && answer[["status"]] >= 400L) code
}

oauth_abort <- function(what, answer, call, help = NULL) {
  code <- oauth_code(answer)
  if (is.null(code)) {
    answer_abort(paste0(what, ": the response"), answer, call)
  }
  why <- json_body(answer)[["error_description"]]
  mx_abort(
    c(
      paste0(what, "."),
      x = paste0(
        code,
        if (is_string(why)) ": ",
        printable(shortened(why %||% ""))
      ),
      i = help
    ),
    c(paste0("mx_error_oauth_", code), "mx_error_oauth"),
    code = code,
    call = call
  )
}

# The login in a response of the token endpoint.
oauth_login <- function(answer, about, call) {
  login <- json_body(answer)
  is_bearer <- identical(tolower(login[["token_type"]] %||% ""), "bearer")
  has_tokens <- is_token(login[["access_token"]]) && is_bearer
  if (answer[["status"]] != 200L || !has_tokens) {
    tokens_abort("The response with the tokens", answer, call)
  }
  kept <- list(
    access_token = login[["access_token"]],
    refresh_token = if (is_token(login[["refresh_token"]])) {
      login[["refresh_token"]]
    },
    expires_at = time_of_expiry(login[["expires_in"]]),
    scope = if (is_string(login[["scope"]])) login[["scope"]],
    method = "oauth",
    issuer = about[["issuer"]],
    client_id = about[["client_id"]]
  )
  Filter(Negate(is.null), kept)
}

# The time of expiry as text, for the configuration file. NULL if the server states none,
# or one more than 30 years away.
time_of_expiry <- function(seconds) {
  is_time <- is.numeric(seconds) && length(seconds) == 1L
  if (is_time && isTRUE(seconds >= 0 && seconds < 1e9)) {
    time_as_text(Sys.time() + seconds)
  }
}

time_as_text <- function(time) {
  format(time, "%Y-%m-%dT%H:%M:%SZ", tz = "UTC")
}

utc_time <- function(text) {
  as.POSIXct(string_or_na(text), format = "%Y-%m-%dT%H:%M:%SZ", tz = "UTC")
}

# Returns FALSE where the server's verdict ends the login.
oauth_refresh <- function(client, config, token, call = caller_env()) {
  login <- oauth_renewed(config, token, call, client)
  and_then(login, function(login) {
    if (!is.null(login)) {
      # Saved before it is used: from then on the old one is void.
      keep_login(client[["path"]], config, login)
    }
    !is.null(login)
  })
}

# The login that a refresh token brings, or NULL where the server's verdict ends it.
# The old refresh token stays good until the new access token is used, so a response
# that was lost is asked for again. Specification: client-server API, "Refresh token
# grant".
oauth_renewed <- function(config, token, call = caller_env(), client = NULL) {
  answer <- and_then(
    oauth_metadata_of(config, call, client),
    function(metadata) {
      fields <- list(
        grant_type = "refresh_token",
        refresh_token = token,
        client_id = config[["client_id"]]
      )
      oauth_post(metadata[["token_endpoint"]], fields, call, client)
    }
  )
  and_then(answer, function(answer) {
    if (answer[["status"]] == 200L) {
      return(oauth_login(answer, config, call))
    }
    ended <- c("invalid_grant", "invalid_client", "unauthorized_client")
    if (isTRUE(oauth_code(answer) %in% ended)) {
      return(NULL)
    }
    oauth_abort("The OAuth server did not renew the login", answer, call)
  })
}

# Ends a login at its OAuth server (RFC 7009): both of its tokens, and the device.
oauth_revoke <- function(config, login, call = caller_env()) {
  metadata <- oauth_metadata_of(config, call)
  address <- metadata[["revocation_endpoint"]]
  if (is.null(address)) {
    mx_abort(
      c(
        "The OAuth server cannot end logins by itself.",
        i = "Sign this device out on its account page: see mx_account_url()."
      ),
      "mx_error_oauth",
      call = call
    )
  }
  is_refresh <- !is.null(login[["refresh_token"]])
  kind <- if (is_refresh) "refresh_token" else "access_token"
  fields <- list(
    token = login[[kind]],
    token_type_hint = kind,
    client_id = config[["client_id"]]
  )
  answer <- oauth_post(address, fields, call)
  if (answer[["status"]] != 200L) {
    oauth_abort("The OAuth server did not end the login", answer, call)
  }
  invisible()
}

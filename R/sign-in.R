#' Sign-in methods of a server: OAuth, password, single sign-on
#'
#' Lists the ways to sign in that [mx_client_configure()] knows, and which of them a
#' homeserver offers.
#'
#' | `method` | what it is | what it needs |
#' |---|---|---|
#' | `"oauth"` | a code that a person enters in a browser, on any device | a person, once |
#' | `"password"` | user and password | `user`, and `password` or `MXCRYPT_PASSWORD` |
#' | `"sso"` | single sign-on in a browser, which ends with a token that is pasted | `login_token` |
#'
#' `"oauth"` is the device authorisation grant of OAuth 2.0: a person is needed once,
#' and the login is renewed without one. If you have an access token, no method is
#' needed: give it as `access_token`, or that of an application service as `as_token`.
#'
#' @inheritParams mx_client_configure
#' @return A data frame with a row for each method, the preferred one first: `method`, and
#'   `offered`, whether this server offers it; `NA` if that is not known.
#' @section Errors:
#' `mx_error_discovery` when there is no homeserver at the address,
#' `mx_error_answer` when its response cannot be read, `mx_error_network`.
#' @references Client-server API, "Authentication API discovery":
#'   <https://spec.matrix.org/v1.19/client-server-api/#authentication-api-discovery>
#' @family sign-in
#' @examples
#' mx_sign_in_methods(mx_demo_homeserver())
#' @export
mx_sign_in_methods <- function(server, ca_file = NULL) {
  local_ca_file(check_ca_file(ca_file))
  offer <- sign_in_offer(discover_server(server))
  data.frame(
    method = sign_in_methods,
    offered = unname(unlist(offer[sign_in_methods]))
  )
}

sign_in_methods <- c("oauth", "password", "sso")

# What a server offers: a list of TRUE, FALSE or NA for each method, and `flows`, the
# names of its own.
sign_in_offer <- function(server, call = caller_env()) {
  metadata <- oauth_metadata(server, call)
  flows <- login_flows(server, call)
  has <- function(type) if (is.null(flows)) NA else type %in% flows
  list(
    oauth = has_device_grant(metadata),
    password = has("m.login.password"),
    sso = has("m.login.sso"),
    flows = c(if (!is.null(metadata)) "OAuth 2.0", flows)
  )
}

# Specification: client-server API, "Legacy login". NULL where the server does not
# say.
login_flows <- function(server, call) {
  answer <- http_perform(
    list(server = server),
    "GET",
    api_path("login"),
    call = call
  )
  flows <- json_body(answer)[["flows"]]
  # A server with OAuth alone does not have the older API.
  if (answer[["status"]] == 404L && is_verdict(answer)) {
    return(character())
  }
  if (answer[["status"]] != 200L || !is.list(flows)) {
    return(NULL)
  }
  types <- lapply(flows, json_at, "type")
  as.character(Filter(is_string, types))
}

# The login of `account`: a list of `server`, `user`, `path` (of the configuration),
# `device_id` (of the store, or NULL) and `device_name`; `given` is what the caller
# gave: `method`, `password` and `login_token`.
sign_in <- function(account, given, call = caller_env()) {
  method <- given[["method"]] %||% best_method(account, given, call)
  login <- switch(
    method,
    oauth = device_grant(account, call),
    password = password_login(account, given[["password"]], call),
    sso = token_login(account, given[["login_token"]], call)
  )
  login[["method"]] <- method
  if (method != "password") {
    login[["asked_user"]] <- account[["user"]]
  }
  login
}

# An argument decides first. Then a password that is found without asking, because it
# needs no person; then a code; then a password that is asked for.
best_method <- function(account, given, call) {
  if (!is.null(given[["login_token"]])) {
    return("sso")
  }
  if (!is.null(given[["password"]])) {
    return("password")
  }
  offer <- sign_in_offer(account[["server"]], call)
  user <- account[["user"]]
  takes_password <- !isFALSE(offer[["password"]])
  if (takes_password && !is.null(user) && !is.null(quiet_password(user))) {
    "password"
  } else if (offer[["oauth"]]) {
    "oauth"
  } else if (takes_password) {
    "password"
  } else if (offer[["sso"]]) {
    "sso"
  } else {
    sign_in_abort(account, offer, call)
  }
}

cannot_sign_in <- function(account, call) {
  sign_in_abort(account, sign_in_offer(account[["server"]], call), call)
}

sign_in_abort <- function(account, offer, call) {
  flows <- offer[["flows"]]
  possible <- sign_in_methods[unlist(offer[sign_in_methods]) %in% TRUE]
  mx_abort(
    c(
      paste0("This is not how to sign in to ", account[["server"]], "."),
      x = if (length(flows) == 0L) {
        "It does not say what it offers."
      } else {
        offered <- printable(shortened(paste(flows, collapse = ", ")))
        paste0("It offers: ", offered, ".")
      },
      i = if (length(possible) == 0L) {
        "Get an access token elsewhere, and give it as `access_token`."
      } else {
        paste0("Possible from here: method = \"", possible, "\".")
      }
    ),
    "mx_error_sign_in",
    offers = flows,
    call = call
  )
}

password_login <- function(account, password, call) {
  user <- check_string(account[["user"]], "user", call = call)
  password <- password %||% find_password(user, call)
  tryCatch(
    log_in(
      list(server = account[["server"]]),
      user,
      password,
      account[["device_id"]],
      account[["device_name"]],
      call = call
    ),
    # A server without passwords may respond with M_FORBIDDEN, which reads like a wrong
    # password.
    mx_error_http = function(condition) {
      offer <- tryCatch(
        sign_in_offer(account[["server"]], call),
        mx_error = function(other) NULL
      )
      if (isFALSE(offer[["password"]])) {
        sign_in_abort(account, offer, call)
      }
      raise(condition)
    }
  )
}

# Single sign-on ends in a browser, at an address with a token in it.
# Specification: client-server API, "SSO client login".
token_login <- function(account, login_token, call) {
  if (is.null(login_token)) {
    offer <- sign_in_offer(account[["server"]], call)
    if (isFALSE(offer[["sso"]])) {
      sign_in_abort(account, offer, call)
    }
    # Nothing listens there: the browser shows the address, which is copied.
    back <- "http://localhost/mxcrypt"
    path <- api_path(
      "login",
      "sso",
      "redirect",
      query = list(redirectUrl = back)
    )
    url <- paste0(account[["server"]], path)
    login_token <- ask_login_token(url) %||% sso_abort(url, call)
  }
  login_token <- sub(
    "^.*[?&]loginToken=([^&#]*).*$",
    "\\1",
    trimws(login_token)
  )
  body <- list(
    type = "m.login.token",
    token = decoded_token(login_token),
    refresh_token = TRUE
  )
  body[["device_id"]] <- account[["device_id"]]
  name <- account[["device_name"]] %||% default_device_name
  body[["initial_device_display_name"]] <- name
  # The token can be used once.
  post_login(
    list(server = account[["server"]]),
    body,
    idempotent = FALSE,
    call = call
  )
}

# Text with a `%` that encodes nothing is the token as it is.
decoded_token <- function(text) {
  is_encoded <- grepl("^([^%]|%[0-9A-Fa-f]{2})*$", text) &&
    !grepl("%00", text, fixed = TRUE)
  if (is_encoded) utils::URLdecode(text) else text
}

ask_login_token <- function(url) {
  if (!rlang::is_interactive()) {
    return(NULL)
  }
  message(rlang::format_error_bullets(c(
    "Sign in with a browser.",
    i = paste("Open", url),
    i = paste(
      "It ends with a page that cannot be shown: its address begins with",
      "http://localhost/mxcrypt."
    )
  )))
  try(utils::browseURL(url), silent = TRUE)
  ask_secret("That address, or the loginToken in it: ")
}

sso_abort <- function(url, call) {
  mx_abort(
    c(
      "The server signs people in on its own web page.",
      i = paste0("Open ", url, " in a browser, and sign in there."),
      i = paste(
        "It ends with a page that cannot be shown. Give its address, or the",
        "loginToken in it, as `login_token`."
      )
    ),
    "mx_error_approval",
    url = url,
    call = call
  )
}

# Checks of mx_doctor(): the server, and the login there. Each reads, and none renews a
# login.

check_server <- function(x) {
  server <- x[["client"]][["server"]]
  x[["reached"]] <- FALSE
  before <- Sys.time()
  answer <- tryCatch(
    http_perform(list(server = server), "GET", "/_matrix/client/versions"),
    mx_error = function(condition) {
      check_abort(
        first_words(condition),
        "Check the address, the network, and the lines proxy and certificates."
      )
    }
  )
  x[["date"]] <- answer[["date"]]
  x[["asked_at"]] <- mean(c(before, Sys.time()))
  versions <- Filter(is_string, json_body(answer)[["versions"]])
  versions <- grep("^[vr][0-9.]{1,20}$", unlist(versions), value = TRUE)
  if (answer[["status"]] != 200L || length(versions) == 0L) {
    check_abort(
      paste0(
        server,
        " is no Matrix homeserver: status ",
        answer[["status"]],
        ", ",
        body_excerpt(answer)
      ),
      "Check the address, and whether a proxy stands in between."
    )
  }
  x[["reached"]] <- TRUE
  fine(server, ", Matrix up to ", versions[[length(versions)]])
}

need_server <- function(x) {
  if (!isTRUE(x[["reached"]])) {
    check_abort(
      "not known: the server was not reached",
      "See the line server."
    )
  }
}

check_offers <- function(x) {
  need_server(x)
  bare <- list(server = x[["client"]][["server"]])
  flows <- http_perform(bare, "GET", api_path("login"))
  types <- lapply(json_body(flows)[["flows"]], json_at, "type")
  types <- unlist(Filter(is_string, types))
  types <- grep("^[A-Za-z0-9._-]{1,100}$", types, value = TRUE)
  path <- api_path("auth_metadata", version = "v1")
  # A server without it responds with 404, and a proxy in front of it with anything.
  metadata <- tryCatch(
    http_perform(bare, "GET", path),
    mx_error = function(condition) NULL
  )
  issuer <- if (!is.null(metadata)) json_body(metadata)[["issuer"]]
  has_issuer <- identical(metadata[["status"]], 200L) && is_string(issuer)
  offered <- c(types, if (has_issuer) paste("OAuth of", issuer))
  if (length(offered) > 0L) {
    return(doctor_line("ok", offered))
  }
  doctor_line(
    "warning",
    "the server names no way to sign in",
    "Ask whoever runs the server."
  )
}

# Specification: no limit is set. Times of events and of certificates go wrong first.
check_clock <- function(x) {
  need_server(x)
  if (!is.null(the[["homeservers"]][[x[["client"]][["server"]]]])) {
    return(fine("the homeserver is inside this R"))
  }
  theirs <- http_date(x[["date"]])
  if (is.null(theirs)) {
    return(doctor_line(
      "warning",
      "the server sends no date",
      "Compare your clock with another one."
    ))
  }
  seconds <- round(as.numeric(
    difftime(x[["asked_at"]], theirs, units = "secs")
  ))
  if (abs(seconds) <= 60) {
    return(fine("within a minute of the server's"))
  }
  doctor_line(
    if (abs(seconds) > 300) "failure" else "warning",
    paste0(
      plural(abs(seconds), "second"),
      if (seconds > 0) " ahead of" else " behind",
      " the server"
    ),
    "Set the clock of this machine, for instance by NTP."
  )
}

# Specification: RFC 9110, section 5.6.7. strptime() would take the names of months
# from the locale.
http_date <- function(text) {
  pattern <- "^[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9:]{8}) GMT$"
  if (!is_string(text) || !grepl(pattern, text)) {
    return(NULL)
  }
  part <- function(i) sub(pattern, paste0("\\", i), text)
  month <- match(part(2), month.abb)
  time <- as.POSIXct(
    paste0(part(3), "-", month, "-", part(1), " ", part(4)),
    format = "%Y-%m-%d %H:%M:%S",
    tz = "UTC"
  )
  if (!is.na(time)) time
}

check_login <- function(x) {
  config <- read_config(x[["client"]][["path"]])
  method <- config[["method"]] %||% "kind not noted"
  renewed <- !is.null(config[["refresh_token"]])
  found <- c(
    gsub("_", " ", method),
    if (!is.null(config[["issuer"]])) paste("issuer", config[["issuer"]]),
    if (renewed) "with a refresh token" else "without a refresh token",
    expiry_text(config[["expires_at"]])
  )
  if (!is.null(config[["signed_out_at"]])) {
    return(doctor_line(
      "failure",
      paste("signed out on", config[["signed_out_at"]]),
      "Sign in again with mx_client_relogin(client)."
    ))
  }
  expires_at <- iso_time(config[["expires_at"]])
  if (!renewed && !is.null(expires_at) && expires_at < Sys.time()) {
    return(doctor_line(
      "warning",
      found,
      "Sign in again with mx_client_relogin(client)."
    ))
  }
  doctor_line("ok", found)
}

expiry_text <- function(text) {
  time <- iso_time(text)
  if (is.null(time)) {
    return("expiry not known")
  }
  paste(
    if (time < Sys.time()) "expired" else "expires",
    format(time, "%Y-%m-%d %H:%M UTC", tz = "UTC")
  )
}

iso_time <- function(text) {
  if (!is_string(text)) {
    return(NULL)
  }
  text <- sub("T", " ", substr(text, 1L, 19L), fixed = TRUE)
  time <- as.POSIXct(text, format = "%Y-%m-%d %H:%M:%S", tz = "UTC")
  if (!is.na(time)) time
}

# Without renewal: a new token would be a change.
check_token_works <- function(x) {
  need_server(x)
  client <- x[["client"]]
  path <- api_path("account", "whoami")
  answer <- tryCatch(
    http_perform(as_session(client), "GET", path, renews = FALSE),
    mx_error_signed_out = function(condition) {
      check_abort(
        "there is no token",
        "Sign in again with mx_client_relogin(client)."
      )
    }
  )
  who <- json_body(answer)
  if (is_expired(answer)) {
    return(expired_line(client))
  }
  if (answer[["status"]] != 200L) {
    check_abort(
      paste0(
        "status ",
        answer[["status"]],
        ", ",
        errcode_of(who) %||% body_excerpt(answer)
      ),
      refused_account_remedy(errcode_of(who))
    )
  }
  ids <- c("user_id", "device_id")
  if (identical(who[ids], unclass(client)[ids])) {
    return(fine("token accepted"))
  }
  doctor_line(
    "failure",
    "the token belongs to another user or device",
    "Sign in again with mx_client_relogin(client)."
  )
}

# Nobody signs in to an account that is gone or locked.
refused_account_remedy <- function(code) {
  refused <- c("M_USER_DEACTIVATED", "M_USER_LOCKED", "M_USER_SUSPENDED")
  if (!is.null(code) && code %in% refused) {
    "Ask whoever runs the server what became of the account."
  } else {
    "Sign in again with mx_client_relogin(client)."
  }
}

expired_line <- function(client) {
  if (!is.null(read_config(client[["path"]])[["refresh_token"]])) {
    return(doctor_line(
      "warning",
      "the token has expired",
      "The next call renews it. If that fails: mx_client_relogin(client)."
    ))
  }
  doctor_line(
    "failure",
    "the token has ended",
    "Sign in again with mx_client_relogin(client)."
  )
}

# A homeserver whose users sign in with OAuth 2.0, and nothing else: Synapse, which
# leaves that to the OAuth server in oauth-server/ (npm's oidc-provider), and the
# person who confirms a sign-in on that server's pages, over HTTP.
#
#   oauth <- live_oauth()
#   oauth$url                               # the homeserver
#   oauth$approve(user_code, "alice")       # alice confirms; she is made if new
#   oauth$deny(user_code)
#   oauth$requests("/oauth2/token")
#   synapse_sql(oauth$server, "select device_id from devices")
#
# There are no passwords, so live_user() is of no use here. Metadata are those of the
# OAuth server as Synapse saw them first. Its URLs are http, on loopback.
#
# oauth-server/lib/stand-ins.mjs lists what is ours there and not oidc-provider's.

# The pair of a run, with these lifetimes and without faults from before; both are
# undone with the test. A token keeps the lifetime it was issued with.
live_oauth <- function(
  access_ttl = 300,
  code_ttl = 600,
  interval = 1,
  .local_envir = parent.frame()
) {
  if (is.null(live[["oauth"]])) {
    live[["oauth"]] <- oauth_start()
    withr::defer(oauth_stop(), envir = live_end())
  }
  oauth <- live[["oauth"]]
  usual <- list(access_ttl = 300, code_ttl = 600, interval = 1, slow_down = 0)
  oauth$clear()
  oauth$settings(
    access_ttl = access_ttl,
    code_ttl = code_ttl,
    interval = interval,
    slow_down = 0
  )
  withr::defer(
    {
      oauth$clear()
      do.call(oauth$settings, usual)
    },
    envir = .local_envir
  )
  oauth
}

oauth_start <- function() {
  dir <- tempfile("oauth-")
  dir.create(dir, mode = "0700")
  secret <- gsub("[^A-Za-z0-9]", "", random_text())
  issuer <- oauth_run(dir, secret)
  server <- tryCatch(
    synapse_start(extra = oauth_synapse_config(issuer[["url"]], secret)),
    error = function(e) {
      issuer[["process"]]$kill()
      stop(e)
    }
  )
  oauth <- oauth_of(server[["url"]], issuer[["url"]], secret)
  oauth$settings(homeserver = server[["url"]])
  oauth$server <- server
  oauth$process <- issuer[["process"]]
  oauth$dir <- dir
  oauth
}

oauth_run <- function(dir, secret) {
  node <- file.path(repo_root, ".tools/node/bin/node")
  at <- file.path(repo_root, "tests/live/oauth-server")
  if (!file.exists(node) || !dir.exists(file.path(at, "node_modules"))) {
    stop(
      "The OAuth server is missing. Run tools/setup.sh oauth.",
      call. = FALSE
    )
  }
  port <- free_port()
  url <- paste0("http://127.0.0.1:", port, "/")
  log <- file.path(dir, "oauth.log")
  process <- processx::process$new(
    node,
    c(file.path(at, "server.mjs"), port, secret),
    stdin = "|",
    stdout = log,
    stderr = "2>&1",
    cleanup = TRUE,
    supervise = TRUE
  )
  deadline <- Sys.time() + 60
  while (!answers(paste0(url, ".well-known/openid-configuration"))) {
    if (!process$is_alive() || Sys.time() > deadline) {
      process$kill()
      text <- paste(readLines(log), collapse = "\n")
      stop("The OAuth server did not start.\n", text, call. = FALSE)
    }
    Sys.sleep(0.05)
  }
  list(url = url, process = process)
}

# Synapse allows no sign-in of its own beside it.
oauth_synapse_config <- function(issuer, secret) {
  list(
    enable_registration = FALSE,
    enable_registration_without_verification = FALSE,
    matrix_authentication_service = list(
      enabled = TRUE,
      endpoint = issuer,
      secret = secret
    )
  )
}

oauth_stop <- function() {
  oauth <- live[["oauth"]]
  live[["oauth"]] <- NULL
  synapse_stop(oauth$server)
  oauth$process$kill()
  unlink(c(oauth$dir, oauth$server[["dir"]]), recursive = TRUE)
}

oauth_of <- function(url, issuer, secret) {
  control <- function(what, ...) {
    body <- jsonlite::toJSON(list(...), auto_unbox = TRUE, null = "null")
    if (...length() == 0) {
      body <- "{}"
    }
    oauth_control(issuer, what, body)
  }
  list(
    url = url,
    issuer = issuer,
    # What the person does with the code that the client shows. Fails if the pages
    # do not take it.
    approve = function(user_code, user) {
      person_confirms(issuer, user_code, user)
    },
    deny = function(user_code) person_denies(issuer, user_code),
    # What came: method, path, grant_type, body, and status: NA if not answered.
    requests = function(path = NULL) {
      seen <- oauth_requests(control("requests"))
      if (is.null(path)) seen else seen[seen$path == path, , drop = FALSE]
    },
    # As the homeserver asks; a list, whose `active` says whether the token is good.
    introspect = function(token) oauth_introspect(issuer, secret, token),
    active = function(token) {
      oauth_introspect(issuer, secret, token)[["active"]]
    },
    # An administrator, or the person elsewhere, signs all devices of `user` out:
    # refresh is invalid_grant from then on, and Synapse deletes the devices.
    revoke_user = function(user) control("end", user = user),
    # Only refresh is invalid_grant: Synapse still takes an access token that it saw
    # before, for up to two minutes.
    end_session = function(user) {
      control("end", user = user, keep_devices = TRUE)
    },
    # The person on the account page (a STAND-IN), at the URL that the client gave or
    # that metadata tell: allows a new identity for ten minutes (Synapse does so only
    # where there is one already), or deletes a device.
    allow_reset = function(user, url = NULL) {
      person_manages(issuer, user, url, "org.matrix.cross_signing_reset")
    },
    delete_device = function(user, device_id, url = NULL) {
      person_manages(issuer, user, url, "org.matrix.device_delete", device_id)
    },
    # Lifetimes of what is issued from now on, and the interval that is told.
    settings = function(...) invisible(control("settings", ...)),
    # So many polls of the device grant are told to slow down.
    slow_down = function(times = 1) {
      invisible(control("settings", slow_down = times))
    },
    # The next requests to `path` are answered in the server's place.
    answer = function(path, body, status = 200, times = 1) {
      fault <- control(
        "fault",
        path = path,
        body = body,
        status = status,
        times = times
      )
      invisible(fault)
    },
    # The server acts, and the connection ends without a response.
    lose_answer = function(path, times = 1) {
      invisible(control("fault", path = path, lost = TRUE, times = times))
    },
    clear = function() invisible(control("clear"))
  )
}

oauth_control <- function(issuer, what, body) {
  handle <- curl::new_handle(copypostfields = body)
  url <- paste0(issuer, "_test/", what)
  oauth_json(curl::curl_fetch_memory(url, handle))
}

oauth_json <- function(response) {
  text <- rawToChar(response[["content"]])
  if (response[["status_code"]] != 200L) {
    stop("The OAuth server: ", text, call. = FALSE)
  }
  jsonlite::fromJSON(text)
}

oauth_requests <- function(seen) {
  if (is.data.frame(seen)) {
    return(seen)
  }
  data.frame(
    method = character(),
    path = character(),
    grant_type = character(),
    body = character(),
    status = integer()
  )
}

oauth_form <- function(...) {
  fields <- c(...)
  values <- curl::curl_escape(fields)
  paste0(names(fields), "=", values, collapse = "&")
}

oauth_introspect <- function(issuer, secret, token) {
  handle <- curl::new_handle(
    copypostfields = oauth_form(token = token),
    httpheader = paste("Authorization: Bearer", secret)
  )
  url <- paste0(issuer, "oauth2/introspect")
  oauth_json(curl::curl_fetch_memory(url, handle))
}

# --- the person --------------------------------------------------------------

# One browser, in which nobody has signed in before.
person_browser <- function(issuer) {
  handle <- curl::new_handle(cookiefile = "", followlocation = TRUE)
  page <- NULL
  visit <- function(url) {
    response <- curl::curl_fetch_memory(url, handle)
    page <<- list(
      url = response[["url"]],
      html = xml2::read_html(rawToChar(response[["content"]])),
      status = response[["status_code"]]
    )
  }
  list(
    open = function(url) {
      curl::handle_setopt(handle, httpget = TRUE)
      visit(url)
    },
    # Sends the form of the page, with what the person types or presses.
    submit = function(...) {
      form <- xml2::xml_find_first(page[["html"]], "//form")
      if (inherits(form, "xml_missing")) {
        text <- trimws(xml2::xml_text(page[["html"]]))
        stop("The page has no form: ", substr(text, 1, 500), call. = FALSE)
      }
      hidden <- xml2::xml_find_all(form, ".//input[@type='hidden']")
      fields <- xml2::xml_attr(hidden, "value")
      names(fields) <- xml2::xml_attr(hidden, "name")
      fields[...names()] <- c(...)
      action <- xml2::url_absolute(
        xml2::xml_attr(form, "action"),
        page[["url"]]
      )
      curl::handle_setopt(handle, copypostfields = oauth_form(fields))
      visit(action)
    },
    text = function() xml2::xml_text(page[["html"]])
  )
}

# Up to the question whether this device is one's own.
person_enters <- function(issuer, user_code) {
  browser <- person_browser(issuer)
  browser$open(paste0(issuer, "device"))
  browser$submit(user_code = user_code)
  if (!grepl(user_code, browser$text(), fixed = TRUE)) {
    stop("The code is not known: ", browser$text(), call. = FALSE)
  }
  browser
}

person_confirms <- function(issuer, user_code, user) {
  browser <- person_enters(issuer, user_code)
  browser$submit(confirm = "yes")
  browser$submit(login = user, password = "any")
  browser$submit()
  if (!grepl("Sign-in Success", browser$text(), fixed = TRUE)) {
    stop("The sign-in was not confirmed: ", browser$text(), call. = FALSE)
  }
  invisible(user)
}

person_denies <- function(issuer, user_code) {
  browser <- person_enters(issuer, user_code)
  browser$submit(abort = "yes")
  invisible(user_code)
}

person_manages <- function(issuer, user, url, action, device_id = NULL) {
  query <- oauth_form(action = action, device_id = device_id)
  browser <- person_browser(issuer)
  browser$open(if (is.null(url)) paste0(issuer, "account?", query) else url)
  browser$submit(user = user)
  if (!grepl("Done", browser$text(), fixed = TRUE)) {
    stop("The account page: ", browser$text(), call. = FALSE)
  }
  invisible(user)
}

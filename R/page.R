# A page of an app of this package: who may open it, and its frame. What is on it is in
# page-*.R. inst/shiny/page.js and page.css show it.
#
# The page acts for the account. Whoever opens it needs the token of its address, and
# reaches it under a name that is known: a page elsewhere whose name was made to lead to
# this machine (DNS rebinding) is refused, and so is a connection from another origin.

# The Shiny app of a page. `body` is the HTML of what is on it, `server` a function of the
# inputs, the outputs and the session.
page_app <- function(title, body, server, hosts, token) {
  page <- function(request) {
    if (!is_known_host(request[["HTTP_HOST"]], hosts)) {
      return(refusal("This page is not served under this name."))
    }
    if (!has_token(request[["QUERY_STRING"]], token)) {
      return(refusal(
        "The token is missing: open the whole address that R has printed."
      ))
    }
    page_document(title, body)
  }
  guarded <- function(input, output, session) {
    search <- shiny::isolate(session[["clientData"]][["url_search"]])
    if (
      !is_own_origin(session[["request"]], hosts) || !has_token(search, token)
    ) {
      close <- session[["close"]]
      return(close())
    }
    server(input, output, session)
  }
  shiny::shinyApp(
    page,
    guarded,
    onStart = refuse_uploads,
    options = list(
      launch.browser = function(url) tell_address(title, url, token)
    )
  )
}

# Shiny takes uploads of anybody who can connect, before the server function is called. Pages
# have a way of their own (page-upload.R).
refuse_uploads <- function() {
  old <- options(shiny.maxRequestSize = 1)
  shiny::onStop(function() options(old))
}

tell_address <- function(title, url, token) {
  url <- paste0(sub("/$", "", url), "/?token=", token)
  cli::cli_inform(c(
    i = "{title}: {.url {url}}",
    " " = "Anyone with this address can act for the account. Esc or Ctrl-C ends it."
  ))
  if (rlang::is_interactive()) {
    utils::browseURL(leading_file(url))
  }
}

# A file that leads to the address, which only this user can read: the command line of a
# browser is shown to every user of the machine.
leading_file <- function(url) {
  path <- tempfile("mxcrypt-page-", fileext = ".html")
  file.create(path)
  Sys.chmod(path, "0600", use_umask = FALSE)
  html <- sprintf(
    "<!doctype html><meta http-equiv=\"refresh\" content=\"0;url=%s\">",
    htmltools::htmlEscape(url, attribute = TRUE)
  )
  writeLines(html, path)
  shiny::onStop(function() unlink(path), session = NULL)
  path
}

# Three names of devices are 141 bits of the system's random numbers.
new_token <- function() {
  parts <- vapply(1:3, function(i) core(random_device_id()), "")
  paste(parts, collapse = "")
}

# Both texts have been hashed before they are compared, so that the time it takes tells
# nothing about the token.
has_token <- function(search, token) {
  given <- shiny::parseQueryString(string_or_empty(search))[["token"]]
  is_string(given) && identical(rlang::hash(given), rlang::hash(token))
}

loopback <- c("localhost", "127.0.0.1", "[::1]")

is_known_host <- function(host, hosts) {
  name <- sub(":[0-9]+$", "", tolower(string_or_empty(host)))
  name %in% c(loopback, tolower(hosts))
}

# A browser sends the origin with each WebSocket, which no page can alter.
is_own_origin <- function(request, hosts) {
  host <- string_or_empty(request[["HTTP_HOST"]])
  origin <- tolower(string_or_empty(request[["HTTP_ORIGIN"]]))
  is_known_host(host, hosts) &&
    sub("^https?://", "", origin) == tolower(host) &&
    grepl("^https?://", origin)
}

refusal <- function(sentence) {
  shiny::httpResponse(403L, "text/plain; charset=UTF-8", sentence)
}

# What others wrote is cleaned before it is on the page. If something got through, the
# policy keeps it from running, and from telling anybody.
page_policy <- paste(
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';",
  "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self';",
  "connect-src 'self' ws: wss:; form-action 'none'; base-uri 'none'"
)

page_document <- function(title, body) {
  tags <- shiny::tags
  meta <- function(...) tags[["meta"]](...)
  document <- shiny::tagList(
    tags[["head"]](
      meta("http-equiv" = "Content-Security-Policy", content = page_policy),
      meta(name = "referrer", content = "no-referrer"),
      meta(name = "viewport", content = "width=device-width, initial-scale=1"),
      meta(name = "color-scheme", content = "light dark"),
      # Browsers look for an icon otherwise, without the token.
      tags[["link"]](rel = "icon", href = "data:,"),
      tags[["title"]](title)
    ),
    page_dependency(),
    body
  )
  structure(document, lang = "en")
}

page_dependency <- function() {
  htmltools::htmlDependency(
    "mxcrypt-page",
    as.character(utils::packageVersion("mxcrypt")),
    src = "shiny",
    package = "mxcrypt",
    script = c("page.js", "page-camera.js"),
    stylesheet = "page.css"
  )
}

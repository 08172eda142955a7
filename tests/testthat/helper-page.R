# A page without a browser: what its forms do, and what its outputs show.

# Runs `code` with the view of a page for `client`: `send("form", field = value)` is a form
# that was sent, and returns its outcome; `shown("output")` is HTML.
in_view <- function(client, view, code, envir = parent.frame()) {
  testthat::skip_if_not_installed("shiny")
  force(envir)
  code <- substitute(code)
  outcomes <- list()
  server <- function(input, output, session) {
    page <- new_page(client, input, output, session)
    security_views()[[view]][["server"]](page)
  }
  number <- 0
  shiny::testServer(server, {
    # What a browser is told. The session of a test tells nobody.
    rlang::env_binding_unlock(session, "sendCustomMessage")
    session[["sendCustomMessage"]] <- function(type, message) {
      if (type == "mx-outcome") {
        form <- sub("^.*-", "", message[["form"]])
        outcomes[[form]] <<- message
      }
    }
    send <- function(form, ...) {
      number <<- number + 1
      outcomes[[form]] <<- NULL
      sent <- list(fields = list(...), number = number)
      do.call(session[["setInputs"]], stats::setNames(list(sent), form))
      # Long work is done between two calls of the page.
      end <- Sys.time() + 10
      while (is.null(outcomes[[form]]) && Sys.time() < end) {
        later::run_now(0.1)
      }
      session[["flushReact"]]()
      session[["elapse"]](3000)
      outcomes[[form]]
    }
    shown <- function(id) {
      as.character(output[[id]][["html"]] %||% "")
    }
    set <- function(...) session[["setInputs"]](...)
    eval(code, list(send = send, shown = shown, set = set), envir)
  })
}

# A page without a browser: views are drawn by their functions, forms are sent by hand.

# What the views share, as new_page() makes it; `sent` has the messages to the browser.
page_by_hand <- function(client) {
  testthat::skip_if_not_installed("shiny")
  page <- rlang::env(
    client = client,
    domain = shiny::MockShinySession$new(),
    input = shiny::reactiveValues(),
    output = new.env(),
    changed = shiny::reactiveVal(0),
    ended_here = shiny::reactiveVal(character()),
    verifications = function() mx_verifications(client),
    own = function() own_known(client),
    refreshed = 0,
    sent = list()
  )
  page$refresh <- function() page$refreshed <- page$refreshed + 1
  page$session <- list(sendCustomMessage = function(type, message) {
    page$sent <- c(page$sent, rlang::set_names(list(message), type))
  })
  page
}

in_page <- function(page, code) shiny::withReactiveDomain(page$domain, code)

# Sends a form; returns its outcome: `ok` and the text that is shown.
sends <- function(page, id, ...) {
  before <- length(page$sent)
  page$number <- (page$number %||% 0) + 1
  page$input[[id]] <- list(fields = list(...), number = page$number)
  page$domain$flushReact()
  new <- page$sent[seq_along(page$sent) > before]
  outcome <- new[["mx-outcome"]]
  list(
    ok = outcome$ok,
    text = text_of(outcome$html),
    led_to = new[["mx-view"]][["card"]]
  )
}

text_of <- function(html) {
  text <- gsub("<[^>]*>", " ", paste(as.character(html), collapse = " "))
  trimws(gsub("[[:space:]]+", " ", text))
}

# Names that others chose.
hostile_names <- c(
  "<script>alert(1)</script>",
  "\u202egnp.exe \u2066x",
  strrep("long ", 2000),
  "\" onmouseover=\"alert(1)",
  "a\nb\tc"
)

# Nothing that others wrote is markup, and what is seen of it is short and in order.
expect_harmless <- function(html) {
  testthat::skip_if_not_installed("xml2")
  html <- paste(as.character(html), collapse = "")
  parsed <- xml2::read_html(paste0("<body>", html, "</body>"))
  expect_length(xml2::xml_find_all(parsed, "//script"), 0)
  attributes <- xml2::xml_find_all(parsed, "//@*")
  expect_no_match(c("", xml2::xml_name(attributes)), "^on")
  shown <- xml2::xml_text(parsed)
  expect_no_match(shown, "[\u202a-\u202e\u2066-\u2069]")
  expect_no_match(shown, strrep("long ", 60), fixed = TRUE)
}

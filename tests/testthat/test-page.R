# Who may open a page.

page_of <- function() {
  testthat::skip_if_not_installed("shiny")
  homeserver <- mx_demo_homeserver()
  mx_security_page(mx_demo_client(homeserver, "alice"), hosts = "Box.example")
}

# What the app responds to a browser.
get_page <- function(app, host = "127.0.0.1:80", query = NULL) {
  query <- query %||% paste0("?token=", attr(app, "token"))
  app$httpHandler(list(
    REQUEST_METHOD = "GET",
    PATH_INFO = "/",
    HTTP_HOST = host,
    QUERY_STRING = query
  ))
}

test_that("a page is shown with its token, under a known name", {
  app <- page_of()
  for (host in c("127.0.0.1:80", "localhost:1", "[::1]:80", "box.EXAMPLE")) {
    expect_equal(get_page(app, host)$status, 200L)
  }
  expect_match(get_page(app)$content, "@alice:demo", fixed = TRUE)
  # DNS rebinding: a stranger's name that leads to this machine.
  for (host in c("evil.example", "127.0.0.1.evil.example", "", "x:80:80")) {
    refused <- get_page(app, host)
    expect_equal(refused$status, 403L)
    expect_no_match(refused$content, "alice")
  }
  for (query in c("", "?token=", "?token=x", "?token=a&token=b", "?Token=1")) {
    refused <- get_page(app, query = query)
    expect_equal(refused$status, 403L)
    expect_no_match(refused$content, "alice")
  }
})

test_that("each page has a token of its own", {
  expect_false(attr(page_of(), "token") == attr(page_of(), "token"))
  expect_match(attr(page_of(), "token"), "^[A-Z0-9]{30,}$")
})

test_that("a connection from elsewhere, or without the token, gets nothing", {
  own <- function(origin) {
    list(HTTP_HOST = "127.0.0.1:80", HTTP_ORIGIN = origin)
  }
  expect_true(is_own_origin(own("http://127.0.0.1:80"), character()))
  strange <- list(
    "http://evil.example",
    "http://127.0.0.1:81",
    "null",
    "127.0.0.1:80",
    "file://127.0.0.1:80",
    NULL
  )
  for (origin in strange) {
    expect_false(is_own_origin(own(origin), character()))
  }
  rebound <- list(
    HTTP_HOST = "evil.example",
    HTTP_ORIGIN = "http://evil.example"
  )
  expect_false(is_own_origin(rebound, character()))
  expect_true(is_own_origin(rebound, "evil.example"))
})

test_that("what a browser sends in place of a form does nothing", {
  for (sent in list(
    NULL,
    1,
    "x",
    list(),
    list(fields = 1),
    list(fields = "a")
  )) {
    expect_equal(form_fields(sent), list())
    expect_equal(form_number(sent), 0)
  }
  sent <- list(
    fields = list(a = "x", b = list(1), c = NULL, d = NA, e = "\xff")
  )
  expect_equal(form_fields(sent), list(a = "x"))
  expect_null(field_text(list(a = "  "), "a"))
  expect_null(field_text(list(a = TRUE), "a"))
})

test_that("nothing asks at the console, and errors are sentences", {
  told <- with_told({
    message("a step")
    warning("a note")
    if (rlang::is_interactive()) {
      stop("asked")
    }
    "done"
  })
  expect_true(told$ok)
  html <- as.character(told_html(told))
  for (text in c("a step", "a note", "done")) {
    expect_match(html, text, fixed = TRUE)
  }
  told <- with_told(mx_abort("<b>no</b>", "mx_error_room"))
  expect_false(told$ok)
  html <- as.character(told_html(told))
  expect_match(html, "&lt;b&gt;no&lt;/b&gt;", fixed = TRUE)
  approval <- tryCatch(
    mx_abort("Approve.", "mx_error_approval", url = "javascript:alert(1)"),
    error = identity
  )
  expect_no_match(as.character(failure_html(approval)), "javascript")
  approval$url <- "https://account.example/"
  expect_match(
    as.character(failure_html(approval)),
    "href=\"https://account.example/\"",
    fixed = TRUE
  )
})

test_that("the page of a room is behind the same guard", {
  skip_if_not_installed("shiny")
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  room <- mx_room_create(alice, name = "<i>Pipe\u202eline</i>")
  app <- mx_room_page(alice, room)
  expect_equal(get_page(app, query = "")$status, 403L)
  content <- get_page(app)$content
  expect_match(content, "&lt;i&gt;Pipeline&lt;/i&gt;", fixed = TRUE)
  expect_no_match(content, "<i>", fixed = TRUE)
  # A room without a name has its id for a title.
  plain <- mx_room_create(alice)
  expect_match(
    get_page(mx_room_page(alice, plain))$content,
    plain,
    fixed = TRUE
  )
  expect_error(mx_room_page(alice, "no such"), class = "mx_error_room")
})

test_that("a store that cannot be read for a moment ends no session", {
  skip_if_not_installed("shiny")
  fails <- FALSE
  read <- function() {
    if (fails) mx_abort("The store is gone.", "mx_error_store") else "here"
  }
  server <- function(input, output, session) {
    value <- followed(list(session = session), 10, read)
    output$value <- shiny::renderText(value())
  }
  shiny::testServer(server, {
    expect_equal(output$value, "here")
    fails <<- TRUE
    session$elapse(50)
    expect_error(output$value, "The store is gone")
    expect_false(session$isClosed())
    fails <<- FALSE
    session$elapse(50)
    expect_equal(output$value, "here")
  })
})

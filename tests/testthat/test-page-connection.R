# What a page tells over its WebSocket, to whom. A page of another origin can open one to
# any address, so only what the server checks holds.

# Runs the page in a process of its own.
serve_page <- function(.local_envir = parent.frame()) {
  skip_if_not_installed("shiny")
  skip_if_not_installed("callr")
  skip_if_not_installed("httpuv")
  port <- httpuv::randomPort()
  run <- function(port, token) {
    homeserver <- mxcrypt::mx_demo_homeserver()
    alice <- mxcrypt::mx_demo_client(homeserver, "alice")
    app <- mxcrypt::mx_security_page(alice)
    writeLines(attr(app, "token"), token)
    shiny::runApp(app, port = port, launch.browser = FALSE)
  }
  environment(run) <- globalenv()
  token <- withr::local_tempfile(.local_envir = .local_envir)
  process <- callr::r_bg(run, list(port, token), cleanup = TRUE)
  withr::defer(process$kill(), envir = .local_envir)
  end <- monotonic_time() + 60
  while (!answers_on(port)) {
    if (!process$is_alive() || monotonic_time() > end) {
      stop("The page did not start.")
    }
    Sys.sleep(0.1)
  }
  list(port = port, token = readLines(token))
}

answers_on <- function(port) {
  connection <- suppressWarnings(tryCatch(
    socketConnection(port = port, open = "r+b", blocking = TRUE, timeout = 5),
    error = function(condition) NULL
  ))
  if (!is.null(connection)) {
    close(connection)
  }
  !is.null(connection)
}

# A WebSocket of the page that is opened from `origin`.
socket_from <- function(page, origin) {
  connection <- socketConnection(
    port = page$port,
    open = "r+b",
    blocking = FALSE
  )
  lines <- c(
    "GET /websocket/ HTTP/1.1",
    paste0("Host: 127.0.0.1:", page$port),
    paste0("Origin: ", origin),
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Version: 13",
    "",
    ""
  )
  writeBin(charToRaw(paste(lines, collapse = "\r\n")), connection)
  received <- raw()
  end <- monotonic_time() + 30
  # httpuv loses a frame that comes together with the request.
  while (length(received) == 0L && monotonic_time() < end) {
    received <- readBin(connection, "raw", 65536L)
    Sys.sleep(0.05)
  }
  connection
}

# What becomes of a Shiny session that is begun from `origin` with `search` in the address:
# the page is shown, or the connection is closed.
session_from <- function(page, origin, search) {
  connection <- socket_from(page, origin)
  on.exit(close(connection))
  data <- list(
    .clientdata_url_search = search,
    .clientdata_output_status_summary_hidden = FALSE
  )
  init <- jsonlite::toJSON(
    list(method = "init", data = data),
    auto_unbox = TRUE
  )
  received <- raw()
  end <- monotonic_time() + 30
  writeBin(text_frame(init), connection)
  closed <- shown <- FALSE
  while (!closed && !shown && monotonic_time() < end) {
    received <- c(received, readBin(connection, "raw", 65536L))
    closed <- is_closed(received)
    shown <- length(grepRaw("Fingerprint", received, fixed = TRUE)) > 0L
    Sys.sleep(0.05)
  }
  if (shown) {
    "shown"
  } else if (closed) {
    "closed"
  } else {
    "nothing"
  }
}

# Whether a frame closes the connection. No byte of a page without text of others is 0x88.
is_closed <- function(received) any(received == as.raw(0x88))

# RFC 6455, section 5.2: a text frame of less than 64 KiB, masked with zeros.
text_frame <- function(text) {
  bytes <- charToRaw(text)
  size <- length(bytes)
  length_bytes <- if (size < 126L) {
    0x80 + size
  } else {
    c(0x80 + 126, size %/% 256L, size %% 256L)
  }
  c(as.raw(c(0x81, length_bytes)), raw(4L), bytes)
}

test_that("only its own page gets anything, and only with the token", {
  skip_on_cran()
  page <- serve_page()
  own <- paste0("http://127.0.0.1:", page$port)
  search <- paste0("?token=", page$token)
  expect_equal(session_from(page, own, search), "shown")
  expect_equal(session_from(page, "http://evil.example", search), "closed")
  expect_equal(session_from(page, "null", search), "closed")
  expect_equal(session_from(page, own, ""), "closed")
  expect_equal(session_from(page, own, "?token=AAAA"), "closed")
})

test_that("nobody uploads a file before the page knows who it is", {
  skip_on_cran()
  page <- serve_page()
  connection <- socket_from(page, "http://evil.example")
  withr::defer(close(connection))
  file <- list(name = "x", size = 5e7, type = "")
  asked <- list(method = "uploadInit", args = list(list(file)), tag = 1)
  asked <- jsonlite::toJSON(asked, auto_unbox = TRUE)
  writeBin(text_frame(asked), connection)
  received <- raw()
  refused <- integer()
  end <- monotonic_time() + 30
  while (length(refused) == 0L && monotonic_time() < end) {
    received <- c(received, readBin(connection, "raw", 65536L))
    refused <- grepRaw("Maximum upload size", received, fixed = TRUE)
    Sys.sleep(0.05)
  }
  expect_length(refused, 1)
})

# What a page tells over its WebSocket, to whom. A page of another origin can open one to
# any address, so only what the server checks holds.

# Runs the page in a process of its own.
serve_page <- function(.local_envir = parent.frame()) {
  skip_if_not_installed("shiny")
  skip_if_not_installed("callr")
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

# All that comes when a Shiny session is begun from `origin` with `search` in the address,
# as text, in five seconds.
session_from <- function(page, origin, search) {
  connection <- socketConnection(
    port = page$port,
    open = "r+b",
    blocking = FALSE
  )
  on.exit(close(connection))
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
  data <- list(
    .clientdata_url_search = search,
    .clientdata_output_status_summary_hidden = FALSE
  )
  init <- jsonlite::toJSON(
    list(method = "init", data = data),
    auto_unbox = TRUE
  )
  writeBin(text_frame(init), connection)
  received <- raw()
  # The page has no end: it goes on to say that it is idle.
  end <- monotonic_time() + 5
  while (monotonic_time() < end) {
    received <- c(received, readBin(connection, "raw", 65536L))
    Sys.sleep(0.05)
  }
  rawToChar(received[received != as.raw(0)])
}

# RFC 6455, section 5.2: a text frame of less than 64 KiB, masked with zeros.
text_frame <- function(text) {
  bytes <- charToRaw(text)
  size <- length(bytes)
  c(
    as.raw(c(0x81, 0x80 + 126, size %/% 256L, size %% 256L)),
    raw(4L),
    bytes
  )
}

test_that("only its own page gets anything, and only with the token", {
  skip_on_cran()
  page <- serve_page()
  own <- paste0("http://127.0.0.1:", page$port)
  search <- paste0("?token=", page$token)
  shown <- session_from(page, own, search)
  expect_match(shown, "Fingerprint", fixed = TRUE, useBytes = TRUE)
  refused <- c(
    session_from(page, "http://evil.example", search),
    session_from(page, "null", search),
    session_from(page, own, ""),
    session_from(page, own, "?token=AAAA")
  )
  for (text in refused) {
    expect_match(text, "101 Switching Protocols", fixed = TRUE, useBytes = TRUE)
    expect_no_match(text, "Fingerprint", fixed = TRUE, useBytes = TRUE)
  }
})

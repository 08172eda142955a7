# A file of `size` bytes that are not all the same.
file_of <- function(size, .local_envir = parent.frame()) {
  path <- withr::local_tempfile(.local_envir = .local_envir)
  writeBin(rep_len(as.raw(c(0:255, 7)), size), path)
  path
}

bytes_of <- function(path) {
  readBin(path, "raw", file.size(path))
}

upload_path <- "/_matrix/media/v3/upload"

# Uploads a file to the fake homeserver; where it can be downloaded.
uploaded <- function(client, path) {
  content <- list(path = path, type = "image/png")
  answer <- http_json(client, "POST", upload_path, content = content)
  uri <- strsplit(sub("mxc://", "", answer[["content_uri"]]), "/")[[1]]
  api_path("media", "download", uri, version = "v1")
}

test_that("a file is uploaded from its start at each try, and downloaded", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  to <- withr::local_tempfile()
  for (size in c(0, 1, 3e5)) {
    path <- file_of(size)
    fake$forget()
    # Of the second try no more is left than the server has read.
    fake$fault("POST", "/upload", status = 502, body = "<html>", times = 2)
    place <- uploaded(alice, path)
    sent <- fake$seen("POST", "/upload")
    expect_equal(vapply(sent, function(x) x$body, 0), rep(size, 3))
    answer <- http_perform(alice, "GET", place, file = to, max_size = size)
    expect_identical(answer[["body"]], raw())
    expect_identical(bytes_of(to), bytes_of(path))
  }
})

test_that("a file is closed after an upload, whatever that ends in", {
  withr::local_options(mxcrypt.max_tries = 2)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  path <- file_of(1e5)
  open_before <- nrow(showConnections())
  uploaded(alice, path)
  fake$fault("POST", "/upload", status = 413)
  expect_error(uploaded(alice, path), class = "mx_error_http")
  gone <- list(server = "http://127.0.0.1:9")
  expect_error(uploaded(gone, path), class = "mx_error_network")
  expect_error(uploaded(alice, "/no/such/file"), class = "mx_error_file")
  expect_equal(nrow(showConnections()), open_before)
})

test_that("a file that becomes shorter during the upload is an error at once", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  path <- file_of(1e5)
  cut_short <- function(...) {
    source <- upload_source(...)
    source[["size"]] <- source[["size"]] + 10
    environment(source[["read"]])[["size"]] <- source[["size"]]
    source
  }
  real <- upload_source
  environment(cut_short) <- list2env(list(upload_source = real))
  local_replaced("upload_source", cut_short)
  fake$forget()
  took <- elapsed(
    condition <- expect_error(uploaded(alice, path), class = "mx_error_file")
  )
  expect_lt(took, 30)
  expect_match(conditionMessage(condition), basename(path), fixed = TRUE)
  # Some servers note what was cut short. It is not tried again.
  expect_lte(length(fake$seen("POST", "/upload")), 1)
})

test_that("a file that grows is sent as long as was announced", {
  path <- file_of(100)
  source <- upload_source(list(path = path), rlang::current_env())
  withr::defer(source[["close"]]())
  cat("more", file = path, append = TRUE)
  expect_length(source[["read"]](70), 70)
  expect_length(source[["read"]](70), 30)
  expect_length(source[["read"]](70), 0)
  expect_false(source[["was_cut"]]())
})

test_that("Ctrl-C ends a transfer, and is not taken for a lost connection", {
  skip_on_os("windows")
  skip_on_cran()
  skip_if_not_installed("callr")
  fake <- fake_homeserver()
  run <- function(method, server, path) {
    options(mxcrypt.pause = 60)
    file <- if (method == "GET") tempfile()
    content <- if (method == "POST") list(path = path, type = "text/plain")
    tryCatch(
      mxcrypt:::http_perform(
        list(server = server),
        method,
        "/_matrix/media/v3/upload",
        content = content,
        file = file
      ),
      interrupt = function(condition) {
        c(file.exists(as.character(file)), nrow(showConnections()))
      },
      error = conditionMessage
    )
  }
  environment(run) <- globalenv()
  for (method in c("GET", "POST")) {
    fake$forget()
    fake$fault(method, "/upload", delay = 60)
    process <- callr::r_bg(run, list(method, fake$url, file_of(3e5)))
    withr::defer(process$kill())
    wait_for(function() length(fake$seen(method, "/upload")) > 0, 60)
    Sys.sleep(0.5)
    process$interrupt()
    expect_lt(elapsed(process$wait(60000)), 40)
    # No file is left, nor open.
    left <- process$get_result()
    expect_true(is.numeric(left) || is.logical(left))
    expect_equal(sum(left), 0)
  }
})

test_that("an upload is limited by how long it stands still, not by its size", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  withr::local_options(mxcrypt.timeout = 1.5, mxcrypt.max_tries = 1)
  content <- list(bytes = raw(10), type = "image/png")
  request <- function(content, source = NULL) {
    http_request(alice, "POST", "/", NULL, 0, content, source)[["options"]]
  }
  expect_identical(request(NULL)[["timeout_ms"]], 1500)
  for (options in list(
    request(content),
    request(content, list(size = 10, read = readBin))
  )) {
    expect_equal(options[["low_speed_time"]], 2)
    expect_equal(options[["low_speed_limit"]], 1)
    expect_equal(options[["connecttimeout_ms"]], 1500)
    expect_gte(options[["timeout_ms"]], 3600 * 1000)
  }
  # A server that says nothing ends it.
  fake$fault("POST", "/upload", delay = 20)
  took <- elapsed(
    expect_error(uploaded(alice, file_of(10)), class = "mx_error_network")
  )
  expect_lt(took, 15)
  fake$fault("GET", "/file", delay = 20)
  took <- elapsed(expect_error(
    http_perform(alice, "GET", "/file", file = withr::local_tempfile()),
    class = "mx_error_network"
  ))
  expect_lt(took, 15)
})

test_that("a download ends where it becomes too large, and leaves nothing", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  to <- withr::local_tempfile()
  body <- bytes_of(file_of(3e5))
  get <- function(...) {
    http_perform(alice, "GET", "/file", file = to, ..., max_size = 1e5)
  }
  for (chunked in c(FALSE, TRUE)) {
    fake$forget()
    fake$fault("GET", "/file", body = body, times = 9, chunked = chunked)
    condition <- expect_error(get(), class = "mx_error_too_large")
    expect_identical(condition$size, if (chunked) NA_real_ else 3e5)
    expect_identical(condition$largest, 1e5)
    expect_false(file.exists(to))
    expect_length(fake$seen("GET", "/file"), 1)
  }
  fake$forget()
  fake$fault("GET", "/file", body = body[1:1e5], chunked = TRUE)
  get()
  expect_identical(bytes_of(to), body[1:1e5])
})

test_that("a response that is cut short, or an error, is no file", {
  withr::local_options(mxcrypt.max_tries = 2)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  to <- withr::local_tempfile()
  get <- function() http_perform(alice, "GET", "/file", file = to)
  cut <- list("Content-Length" = "500")
  fake$forget()
  fake$fault("GET", "/file", body = "abc", headers = cut, times = 9)
  expect_error(get(), class = "mx_error_network")
  expect_false(file.exists(to))
  expect_length(fake$seen("GET", "/file"), 2)

  fake$forget()
  verdict <- '{"errcode":"M_NOT_FOUND","error":"no"}'
  fake$fault("GET", "/file", status = 404, body = verdict)
  answer <- get()
  expect_identical(rawToChar(answer[["body"]]), verdict)
  expect_false(file.exists(to))
  # What comes with an error status has a bound of its own.
  long <- raw(3e6)
  fake$fault("GET", "/file", status = 404, body = long, chunked = TRUE)
  expect_lt(length(get()[["body"]]), 1.2e6)
})

test_that("a directory or a full disk is no file to write to", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  fake$fault("GET", "/file", times = 9, body = raw(1e5))
  # Named is the directory that was given, not the one that is ours.
  for (file in c("/no/such/file", "/no/such/.mxcrypt-1a2b/file")) {
    condition <- expect_error(
      http_perform(alice, "GET", "/file", file = file),
      class = "mx_error_file"
    )
    expect_match(conditionMessage(condition), "/no/such$|/no/such\n")
  }
  skip_if_not(file.exists("/dev/full"))
  sink <- download_sink(
    list(to = "/dev/full", max_size = Inf),
    NULL,
    rlang::current_env()
  )
  environment(sink[["take"]])[["is_file"]] <- TRUE
  environment(sink[["take"]])[["open_file"]]("wb")
  environment(sink[["take"]])[["bar"]] <- transfer_bar("x", NA)
  expect_error(
    {
      sink[["take"]](raw(10))
      sink[["finish"]]()
    },
    class = "mx_error_file"
  )
})

test_that("a download is redirected without the token, and nothing else is", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  to <- withr::local_tempfile()
  get <- function(...) http_perform(alice, "GET", "/file", file = to, ...)
  redirect <- function(status, location, path = "/file") {
    headers <- list(Location = location)
    fake$fault("GET", path, status = status, headers = headers)
  }
  for (status in c(301, 302, 303, 307, 308)) {
    fake$forget()
    redirect(status, "/cdn/1?sig=x#part")
    redirect(307, paste0(fake$url, "/cdn/2"), "/cdn/1")
    fake$fault("GET", "/cdn/2", body = "content")
    get(follow = TRUE)
    expect_identical(readLines(to, warn = FALSE), "content")
    seen <- fake$seen()
    expect_equal(
      vapply(seen, function(x) x$path, ""),
      c("/file", "/cdn/1?sig=x", "/cdn/2")
    )
    tokens <- vapply(seen, function(x) x$token, "")
    expect_identical(nzchar(tokens), c(TRUE, FALSE, FALSE))
  }
  # Not asked for.
  fake$forget()
  redirect(307, "/cdn/1")
  expect_error(get(), class = "mx_error_answer")
  expect_length(fake$seen(), 1)
  expect_false(file.exists(to))
  # A circle ends.
  fake$forget()
  fake$fault(
    "GET",
    "/",
    status = 307,
    headers = list(Location = "/file"),
    times = 99
  )
  expect_error(get(follow = TRUE), class = "mx_error_answer")
  expect_length(fake$seen(), 4)
})

test_that("what another host says of a login is no verdict on it", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  to <- withr::local_tempfile()
  fake$forget()
  expired <- '{"errcode":"M_UNKNOWN_TOKEN","error":"no"}'
  fake$fault("GET", "/file", 307, headers = list(Location = "/cdn"))
  fake$fault("GET", "/cdn", status = 401, body = expired)
  answer <- http_perform(alice, "GET", "/file", file = to, follow = TRUE)
  expect_identical(answer[["status"]], 401L)
  expect_null(errcode_of(json_body(answer)))
  expect_length(fake$seen(), 2)
})

test_that("a redirect leads to https, or to the homeserver itself", {
  from <- "http://hs.example:8008/_matrix/x?y=1"
  to <- function(location) {
    redirect_target(location, from, "http://hs.example:8008/prefix")
  }
  expect_identical(to("https://cdn.example/a?b#c"), "https://cdn.example/a?b")
  expect_identical(to("HTTPS://cdn.example"), "HTTPS://cdn.example")
  expect_identical(to("/a/b"), "http://hs.example:8008/a/b")
  expect_identical(to("//hs.example:8008/b"), "http://hs.example:8008/b")
  expect_identical(to("http://HS.example:8008/b"), "http://HS.example:8008/b")
  for (location in list(
    "http://hs.example/b",
    "http://hs.example:80080/b",
    "http://cdn.example/b",
    "//cdn.example/b",
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "ftp://cdn.example/b",
    "data:,x",
    "https://",
    "https:///b",
    "https://user@cdn.example/b",
    "https://cdn.example\\@evil.example/b",
    "https://cdn.example/b\r\nX: y",
    "https://cdn.example/ b",
    "https://cdn.example/\u00e9",
    "b",
    "",
    NULL,
    NA_character_
  )) {
    expect_null(to(location))
  }
  https <- "https://hs.example"
  expect_null(redirect_target("http://hs.example/b", https, https))
  expect_identical(redirect_target("/b", https, https), "https://hs.example/b")
})

test_that("the homeserver inside of R takes and gives files", {
  pair <- demo_pair()
  path <- file_of(1000)
  to <- withr::local_tempfile()
  place <- uploaded(pair$alice, path)
  http_perform(pair$bob, "GET", place, file = to, max_size = 1000)
  expect_identical(bytes_of(to), bytes_of(path))
  condition <- expect_error(
    http_perform(pair$bob, "GET", place, file = to, max_size = 999),
    class = "mx_error_too_large"
  )
  expect_identical(condition$size, 1000)
  expect_false(file.exists(to))
})

test_that("a bar is shown to people, and for large files only", {
  shown <- function(size, interactive) {
    rlang::with_interactive(shows_bar(size), value = interactive)
  }
  expect_true(shown(5e6, TRUE))
  expect_false(shown(5e6, FALSE))
  expect_false(shown(5e6 - 1, TRUE))
  expect_false(shown(NA_real_, TRUE))
  bar <- rlang::with_interactive(transfer_bar("Uploading", 5e6), value = TRUE)
  for (part in seq(0, 5e6, 1e6)) {
    expect_error(bar[["set"]](part), NA)
  }
  expect_error(bar[["done"]](), NA)
})

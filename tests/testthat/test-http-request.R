withr::local_options(mxcrypt.pause = 0.001, .local_envir = teardown_env())

test_that("429 waits as long as retry_after_ms says, and goes on", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  wait <- '{"errcode":"M_LIMIT_EXCEEDED","error":"slow","retry_after_ms":400}'
  fake$fault("GET", "/joined_rooms", status = 429, body = wait)
  took <- elapsed(mx_rooms(alice))
  expect_gte(took, 0.4)
  expect_lt(took, 15)
})

test_that("429 waits as long as Retry-After says, which counts first", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  wait <- '{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":30000}'
  headers <- list("Retry-After" = "1")
  fake$fault(
    "GET",
    "/joined_rooms",
    status = 429,
    body = wait,
    headers = headers
  )
  took <- elapsed(mx_rooms(alice))
  expect_gte(took, 1)
  expect_lt(took, 15)
})

test_that("a server cannot make R wait for ever", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  # Dates and nonsense are not waited for; numbers have an end.
  odd <- c("Wed, 21 Oct 2065 07:28:00 GMT", "soon", "-5", "NaN", "1e")
  for (status in c(429, 503)) {
    for (value in odd) {
      headers <- list("Retry-After" = value)
      fake$fault("GET", "/joined_rooms", status = status, headers = headers)
    }
  }
  odd <- c('"x"', "null", "-5", "[]", "{}", "true", "[1,2]")
  for (value in odd) {
    body <- sprintf('{"retry_after_ms":%s}', value)
    fake$fault("GET", "/joined_rooms", status = 429, body = body)
  }
  ask <- function(path) {
    options(mxcrypt.pause = 1e-6, mxcrypt.max_tries = 20)
    nrow(mxcrypt::mx_rooms(mxcrypt::mx_client_load(path = path)))
  }
  expect_equal(in_other_r(ask, list(alice$path), timeout = 60), 0)

  answer <- list(status = 429L, body = raw(), retry_after = "1e300")
  expect_lte(http_pause(answer, 1), 60)
  answer[["retry_after"]] <- "Inf"
  expect_lte(http_pause(answer, 1), 60)
  expect_lte(http_pause(list(status = 500L, body = raw()), 99), 60)
})

test_that("what is no homeserver's fault is not tried again", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  for (status in c(400, 403, 404, 413)) {
    fake$forget()
    fake$fault("GET", "/joined_rooms", status = status, times = 9)
    condition <- expect_error(mx_rooms(alice), class = "mx_error_http")
    expect_identical(condition[["status"]], as.integer(status))
    expect_length(fake$seen("GET", "/joined_rooms"), 1)
  }
})

test_that("408 and 425 pass, as 429 and 5xx do", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  for (status in c(408, 425)) {
    fake$forget()
    fake$fault("GET", "/joined_rooms", status = status, body = "<html>")
    expect_equal(nrow(mx_rooms(alice)), 0)
    expect_length(fake$seen("GET", "/joined_rooms"), 2)
  }
  # After 408 a server may have done it; after 425 it has not.
  fake$forget()
  fake$fault("POST", "/createRoom", status = 408, acts = TRUE, times = 9)
  expect_error(mx_room_create(alice), class = "mx_error_http")
  expect_length(fake$seen("POST", "/createRoom"), 1)
  fake$forget()
  fake$fault("POST", "/createRoom", status = 425)
  mx_room_create(alice)
  expect_length(fake$seen("POST", "/createRoom"), 2)
})

test_that("a proxy's page is told apart from the homeserver's verdict", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  for (status in c(403, 404, 407, 408, 413, 425, 429, 502)) {
    fake$fault(
      "GET",
      "/joined_rooms",
      status = status,
      body = "<html>no</html>"
    )
    condition <- expect_error(mx_rooms(alice), class = "mx_error_http")
    expect_identical(condition[["status"]], as.integer(status))
    expect_equal(condition[["errcode"]], "M_UNKNOWN")
    if (status < 500) {
      expect_match(conditionMessage(condition), "proxy or firewall")
    }
    verdict <- '{"errcode":"M_FORBIDDEN","error":"no","more":[1]}'
    fake$fault("GET", "/joined_rooms", status = status, body = verdict)
    condition <- expect_error(mx_rooms(alice), class = "mx_error_M_FORBIDDEN")
    expect_identical(condition[["status"]], as.integer(status))
    expect_equal(condition[["errcode"]], "M_FORBIDDEN")
    expect_equal(condition[["body"]][["more"]], list(1))
    expect_no_match(conditionMessage(condition), "proxy or firewall")
  }
})

test_that("the page of a captive portal is no success", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  before <- readLines(alice$path)
  for (body in c("<html>Sign in to the Wi-Fi</html>", "", "[]", "null", "{")) {
    fake$fault("POST", "/logout", body = body)
    condition <- expect_error(mx_logout(alice), class = "mx_error_answer")
    expect_identical(condition[["status"]], 200L)
    expect_identical(readLines(alice$path), before)
  }
  expect_equal(nrow(mx_rooms(alice)), 0)
})

test_that("who has not agreed to the terms is told where to", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  refusal <- function(uri) {
    sprintf(
      '{"errcode":"M_CONSENT_NOT_GIVEN","error":"Agree.","consent_uri":%s}',
      uri
    )
  }
  say <- function(uri) {
    body <- refusal(uri)
    fake$fault("GET", "/joined_rooms", status = 403, body = body)
    expect_error(mx_rooms(alice), class = "mx_error_M_CONSENT_NOT_GIVEN")
  }
  condition <- say('"https://example.org/terms?u=alice"')
  expect_equal(condition[["consent_uri"]], "https://example.org/terms?u=alice")
  expect_match(
    conditionMessage(condition),
    "Open https://example.org/terms?u=alice, and make this call again",
    fixed = TRUE
  )
  # What is not a web page is not to be opened.
  for (uri in c('"file:///etc/passwd"', "5", "null", '"https://x\\u001b[2J"')) {
    condition <- say(uri)
    expect_null(condition[["consent_uri"]])
    expect_no_match(conditionMessage(condition), "Open ")
  }
})

test_that("5xx is tried again, each time after a longer pause", {
  withr::local_options(mxcrypt.pause = 0.1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  fake$forget()
  fake$fault("GET", "/joined_rooms", status = 502, body = "<html>", times = 3)
  mx_rooms(alice)
  times <- vapply(fake$seen("GET", "/joined_rooms"), function(x) x$time, 0)
  expect_length(times, 4)
  pauses <- diff(times)
  expect_gte(pauses[[1]], 0.1)
  expect_gte(pauses[[2]], 0.2)
  expect_gte(pauses[[3]], 0.4)
  expect_lt(sum(pauses), 2)
})

test_that("tries end, and the error says with what", {
  withr::local_options(mxcrypt.max_tries = 3)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  fake$forget()
  fake$fault("GET", "/joined_rooms", status = 503, body = "<html>", times = 9)
  condition <- expect_error(mx_rooms(alice), class = "mx_error_http")
  expect_s3_class(condition, "mx_error_M_UNKNOWN")
  expect_identical(condition[["status"]], 503L)
  expect_match(conditionMessage(condition), "503")
  expect_length(fake$seen("GET", "/joined_rooms"), 3)
})

test_that("what must not happen twice is not sent twice", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  fake$forget()
  fake$fault("POST", "/createRoom", status = 502, acts = TRUE, times = 9)
  expect_error(mx_room_create(alice), class = "mx_error_http")
  expect_length(fake$seen("POST", "/createRoom"), 1)
  expect_equal(nrow(mx_rooms(alice)), 1)

  # A login without a device id would make a second device.
  fake$fault("POST", "/login", status = 502, times = 9)
  expect_error(fake_client(fake), class = "mx_error_http")
  expect_length(fake$seen("POST", "/login"), 1)

  # 429 says that nothing was done.
  fake$forget()
  fake$fault("POST", "/createRoom", status = 429)
  mx_room_create(alice)
  expect_length(fake$seen("POST", "/createRoom"), 2)
})

test_that("a request that ended in nothing is a network error", {
  withr::local_options(mxcrypt.max_tries = 2)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  gone <- alice
  gone$server <- "http://127.0.0.1:9"
  condition <- expect_error(mx_sync(gone), class = "mx_error_network")
  expect_s3_class(condition, "mx_error")
  expect_match(conditionMessage(condition), "127.0.0.1:9", fixed = TRUE)
  expect_true(is.call(conditionCall(condition)))
  expect_identical(condition[["status"]], NA_integer_)
  expect_identical(condition[["errcode"]], NA_character_)
})

test_that("a network error keeps what an earlier try was answered", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  withr::local_options(mxcrypt.max_tries = 2, mxcrypt.timeout = 3)
  body <- '{"errcode":"M_UNKNOWN","error":"Database is down","more":1}'
  fake$fault("GET", "/joined_rooms", status = 503, body = body)
  fake$fault("GET", "/joined_rooms", delay = 20)
  condition <- expect_error(mx_rooms(alice), class = "mx_error_network")
  expect_identical(condition[["status"]], 503L)
  expect_equal(condition[["errcode"]], "M_UNKNOWN")
  expect_equal(condition[["body"]][["more"]], 1)
})

test_that("a server that does not answer is waited for no longer than said", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  withr::local_options(mxcrypt.timeout = 1, mxcrypt.max_tries = 1)
  fake$fault("GET", "/joined_rooms", delay = 30)
  condition <- NULL
  took <- elapsed(condition <- catch(mx_rooms(alice)))
  expect_s3_class(condition, "mx_error_network")
  expect_lt(took, 20)

  # What the server was asked to wait comes on top.
  fake$fault("GET", "/sync", delay = 2, body = '{"next_batch":"s0"}')
  expect_error(mx_sync(alice, timeout = 20000), NA)
})

test_that("an option that makes no sense is named", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  odd <- list(
    list(mxcrypt.timeout = "long"),
    list(mxcrypt.timeout = -1),
    list(mxcrypt.max_tries = 0),
    list(mxcrypt.max_tries = "often"),
    list(mxcrypt.pause = "x")
  )
  for (option in odd) {
    withr::with_options(option, {
      fake$fault("GET", "/joined_rooms", status = 500, times = 1)
      condition <- catch(mx_rooms(alice))
      expect_s3_class(condition, "mx_error")
      expect_match(conditionMessage(condition), names(option), fixed = TRUE)
    })
    fake$forget()
  }
})

test_that("numbers in a query are written as numbers", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  fake$forget()
  mx_sync(alice, timeout = 100000)
  withr::with_options(list(scipen = -9), mx_sync(alice, timeout = 2000))
  paths <- vapply(fake$seen("GET", "/sync"), function(x) x$path, "")
  expect_match(paths[[1]], "timeout=100000(&|$)")
  expect_match(paths[[2]], "timeout=2000&")
})

test_that("every character of a segment is encoded, a `%` too", {
  expect_equal(
    api_path("rooms", "!a/b:x#%41", "\u00e9 ?&+"),
    "/_matrix/client/v3/rooms/%21a%2Fb%3Ax%23%2541/%C3%A9%20%3F%26%2B"
  )
  expect_equal(
    api_path("sync", query = list(since = "s 1&x=%", none = NULL, n = 5L)),
    "/_matrix/client/v3/sync?since=s%201%26x%3D%25&n=5"
  )
  latin1 <- iconv("\u00e9", "UTF-8", "latin1")
  expect_equal(encode_segment(latin1), "%C3%A9")
  expect_equal(encode_segment("azAZ09-._~"), "azAZ09-._~")
})

test_that("the same transaction id is used as often as it takes", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  fake$forget()
  # The event is taken, and twice the answer is lost.
  fake$fault("PUT", "/send/", status = 502, acts = TRUE, times = 2)
  id <- mx_send_text(alice, room, "once")
  sent <- fake$seen("PUT", "/send/")
  expect_length(sent, 3)
  expect_length(unique(vapply(sent, function(x) x$path, "")), 1)
  expect_length(unique(vapply(sent, function(x) x$body, "")), 1)
  events <- messages(mx_sync(alice))
  expect_equal(events$event_id, id)
  expect_equal(events$body, "once")
})

test_that("room keys, too, go out again under one transaction id", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake)
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  fake$forget()
  fake$fault("PUT", "/sendToDevice/", status = 502, acts = TRUE)
  mx_send_text(alice, room, "hello")
  sent <- fake$seen("PUT", "/sendToDevice/")
  expect_length(sent, 2)
  expect_length(unique(vapply(sent, function(x) paste(x$path, x$body), "")), 1)
  expect_equal(new_bodies(bob), "hello")
})

test_that("R's random numbers are neither used nor disturbed by weather", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  withr::local_seed(1)
  before <- .Random.seed
  fake$fault("PUT", "/send/", status = 502, times = 2)
  mx_send_text(alice, room, "x")
  fake$fault("PUT", "/send/", status = 503, times = 2)
  mx_send_text(alice, room, "x")
  expect_true(identical(.Random.seed, before))
  withr::local_options(mxcrypt.max_tries = 1)
  gone <- list(server = "http://127.0.0.1:9")
  expect_error(http_json(gone, "GET", "/"), class = "mx_error_network")
  expect_true(identical(.Random.seed, before))
})

test_that("libcurl repeats no request that must not be sent twice", {
  skip_on_cran()
  skip_if_not_installed("callr")
  # A server that closes a connection without a response to its second request: there,
  # libcurl sends a request again by itself. It serves one connection after the other, each
  # until nothing came for three seconds.
  log <- withr::local_tempfile()
  server <- callr::r_bg(
    function(log) {
      # One request, up to its end; "" if the connection ends.
      request_of <- function(connection) {
        lines <- character()
        repeat {
          line <- readLines(connection, 1L)
          if (length(line) == 0L || line == "") {
            break
          }
          lines <- c(lines, line)
        }
        size <- sub(
          ".*: *",
          "",
          grep("^content-length", lines, TRUE, value = TRUE)
        )
        if (length(size) == 1L && as.integer(size) > 0L) {
          readChar(connection, as.integer(size), useBytes = TRUE)
        }
        if (length(lines) > 0L) lines[[1L]] else ""
      }
      socket <- NULL
      port <- 20000L
      while (is.null(socket)) {
        port <- port + 1L
        socket <- tryCatch(serverSocket(port), error = function(e) NULL)
      }
      cat(port, "\n", file = log)
      repeat {
        connection <- socketAccept(
          socket,
          blocking = TRUE,
          open = "r+b",
          timeout = 3
        )
        repeat {
          request <- tryCatch(request_of(connection), error = function(e) "")
          if (!startsWith(request, "GET")) {
            break
          }
          writeLines(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            connection,
            sep = ""
          )
          flush(connection)
        }
        cat(request, "\n", file = log, append = TRUE)
        close(connection)
      }
    },
    list(log)
  )
  withr::defer(server$kill())
  for (i in 1:600) {
    if (file.exists(log)) {
      break
    }
    Sys.sleep(0.1)
  }
  session <- list(server = paste0("http://127.0.0.1:", trimws(readLines(log))))
  withr::local_options(mxcrypt.max_tries = 1)
  http_perform(session, "GET", "/first")
  expect_error(
    http_perform(session, "POST", "/once", "{}", idempotent = FALSE),
    class = "mx_error_network"
  )
  expect_length(grep("^POST /once", readLines(log)), 1)
})

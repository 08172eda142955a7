# Files between the call that sends them and the server: copied, waiting, uploaded.

test_that("a file that is too large for the server is never read", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  file <- withr::local_tempfile(lines = strrep("x", 1000))
  the[["largest_upload"]] <- NULL
  fake$forget()
  limit <- '{"m.upload.size":1000}'
  fake$fault("GET", "/v1/media/config", body = limit, times = 2)
  condition <- catch(mx_send_file(alice, room, file))
  expect_s3_class(condition, "mx_error_too_large")
  expect_equal(condition$size, 1001)
  expect_equal(condition$largest, 1000)
  expect_match(conditionMessage(condition), "1,000 bytes", fixed = TRUE)
  expect_match(conditionMessage(condition), "1,001 bytes", fixed = TRUE)
  expect_length(fake$seen("POST", "/upload"), 0)
  expect_length(waiting_files(alice), 0)
  # What is known is asked again before it refuses, and not otherwise.
  fake$forget()
  fake$fault("GET", "/v1/media/config", body = '{"m.upload.size":5000}')
  expect_match(mx_send_file(alice, room, file), "^\\$")
  expect_match(mx_send_file(alice, room, file), "^\\$")
  expect_length(fake$seen("GET", "/media/config"), 1)
  # An old server answers elsewhere.
  the[["largest_upload"]] <- NULL
  unknown <- '{"errcode":"M_UNRECOGNIZED"}'
  fake$fault("GET", "/v1/media/config", status = 404, body = unknown, times = 2)
  fake$fault("GET", "/v3/config", body = '{"m.upload.size":10}', times = 2)
  expect_s3_class(
    catch(mx_send_file(alice, room, file)),
    "mx_error_too_large"
  )
  # What is no size limits nothing.
  for (body in c(
    "{}",
    '{"m.upload.size":"10"}',
    '{"m.upload.size":-1}',
    "[]"
  )) {
    the[["largest_upload"]] <- NULL
    fake$fault("GET", "/v1/media/config", body = body)
    expect_match(mx_send_file(alice, room, file), "^\\$", info = body)
  }
})

test_that("offline, the limit is asked for once, and the file waits", {
  withr::local_options(mxcrypt.max_tries = 2, mxcrypt.pause = 0.001)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  the[["largest_upload"]] <- NULL
  fake$forget()
  fake$fault("", "", status = 502, body = "<html>", times = 100)
  file <- withr::local_tempfile(lines = "x")
  expect_error(mx_send_file(alice, room, file), class = "mx_error_http")
  expect_length(fake$seen("GET", "/config"), 1)
  expect_length(fake$seen("POST", "/upload"), 2)
  expect_equal(mx_outbox(alice)$state, "queued")
})

test_that("a file that could not be uploaded is sent once by the next call", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  file <- withr::local_tempfile(lines = "as it was")
  fake$fault("POST", "/upload", status = 502, body = "<html>", times = 1)
  condition <- catch(mx_send_file(alice, room, file, caption = "figures"))
  expect_s3_class(condition, "mx_error_http")
  expect_length(condition$numbers, 1)
  outbox <- mx_outbox(alice)
  expect_equal(outbox$state, "queued")
  expect_equal(outbox$body, "figures")
  expect_length(waiting_files(alice), 1)
  path <- file.path(files_dir(alice), waiting_files(alice))
  expect_false(any(grepl(
    "as it was",
    readLines(path, warn = FALSE),
    useBytes = TRUE
  )))
  if (.Platform$OS.type == "unix") {
    expect_equal(format(file.mode(path)), "600")
    expect_equal(format(file.mode(dirname(path))), "700")
  }
  # What becomes of the original does not matter, nor that another process sends it.
  writeLines("as it is", file)
  forget_open_stores()
  alice <- mx_client_load(path = alice$path)
  mx_send_text(alice, room, "after it")
  events <- messages(mx_sync(alice))
  expect_equal(events$body, c("figures", "after it"))
  expect_equal(rawToChar(opened(alice, events$content[[1]])), "as it was\n")
  expect_length(waiting_files(alice), 0)
})

test_that("a file that waits is sent after a new login", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  file <- withr::local_tempfile(lines = "x")
  fake$fault("POST", "/upload", status = 502, body = "<html>")
  expect_error(mx_send_file(alice, room, file), class = "mx_error_http")
  suppressWarnings(mx_logout(alice, ask = FALSE))
  suppressMessages(mx_client_relogin(alice, password = "secret word"))
  suppressWarnings(mx_send_text(alice, room, "after it"))
  events <- messages(mx_messages(alice, room))
  expect_equal(events$msgtype, c("m.file", "m.text"))
})

test_that("an upload whose answer is lost ends in one event", {
  withr::local_options(mxcrypt.pause = 0.001)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  file <- withr::local_tempfile(lines = "x")
  fake$fault("POST", "/upload", status = 502, acts = TRUE)
  mx_send_file(alice, room, file)
  expect_equal(nrow(messages(mx_sync(alice))), 1)
})

test_that("an upload that brings no address is an error, and no event is sent", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice, encrypted = FALSE)
  bodies <- c(
    "{}",
    "<html>",
    '{"content_uri":5}',
    '{"content_uri":""}',
    '{"content_uri":"https://example.org/x"}',
    '{"content_uri":["mxc://a/b"]}'
  )
  for (body in bodies) {
    fake$fault("POST", "/upload", body = body)
    condition <- catch(mx_send_media(alice, room, alice$path))
    expect_s3_class(condition, "mx_error")
    expect_equal(nrow(mx_outbox(alice)), 1, info = body)
    mx_outbox_discard(alice, mx_outbox(alice)$number)
    expect_length(waiting_files(alice), 0)
  }
  expect_equal(nrow(messages(mx_sync(alice))), 0)
})

test_that("a file that the server refuses is refused, and waits no more", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  file <- withr::local_tempfile(lines = "x")
  fake$fault(
    "POST",
    "/upload",
    status = 413,
    body = '{"errcode":"M_TOO_LARGE","error":"too large"}'
  )
  condition <- catch(mx_send_file(alice, room, file))
  expect_s3_class(condition, "mx_error_refused")
  expect_equal(condition$errcode, "M_TOO_LARGE")
  expect_length(waiting_files(alice), 0)
  expect_equal(nrow(mx_outbox(alice)), 0)
})

test_that("a file that vanishes while it waits is told of", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  file <- withr::local_tempfile(lines = "x")
  fake$fault("POST", "/upload", status = 502, body = "<html>")
  expect_error(mx_send_file(alice, room, file), class = "mx_error_http")
  unlink(file.path(files_dir(alice), waiting_files(alice)))
  mx_send_text(alice, room, "after it")
  events <- mx_sync(alice)
  expect_equal(messages(events)$body, "after it")
  failed <- events[events$type == "mxcrypt.send_failed", ]
  expect_equal(failed$content[[1]][["errcode"]], "MXCRYPT_FILE_GONE")
})

test_that("no more than a bound waits beside the store", {
  withr::local_options(mxcrypt.max_tries = 1, mxcrypt.max_waiting = 1000)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  file <- withr::local_tempfile(lines = strrep("x", 700))
  fake$fault("POST", "/upload", status = 502, body = "<html>")
  expect_error(mx_send_file(alice, room, file), class = "mx_error_http")
  condition <- catch(mx_send_file(alice, room, file))
  expect_s3_class(condition, "mx_error_too_large")
  expect_equal(condition$largest, 1000)
  expect_length(waiting_files(alice), 1)
  expect_equal(nrow(mx_outbox(alice)), 1)
})

test_that("copies that no message needs are deleted after a while", {
  pair <- demo_pair()
  file <- withr::local_tempfile(lines = "x")
  mx_send_file(pair$alice, pair$room, file)
  dir <- files_dir(pair$alice)
  old <- file.path(dir, c("file-12ab-34", "file-12ab-34.x_y.tmp"))
  fresh <- file.path(dir, c("file-12ac-34", "file-12ac-34.x_y.tmp"))
  foreign <- file.path(dir, c("thesis.docx", "file-of-mine"))
  lapply(c(old, fresh, foreign), writeLines, text = "x")
  Sys.setFileTime(c(old, foreign), Sys.time() - 25 * 3600)
  mx_send_file(pair$alice, pair$room, file)
  kept <- c(basename(fresh), basename(foreign))
  expect_setequal(waiting_files(pair$alice), kept)
})

test_that("half a copy is not sent as a whole one", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  damage <- list(
    function(path) writeLines("half", path),
    function(path) {
      unlink(path)
      dir.create(path)
    }
  )
  for (harm in damage) {
    fake$fault("POST", "/upload", status = 502, body = "<html>")
    file <- withr::local_tempfile(lines = "the whole of it")
    expect_error(mx_send_file(alice, room, file), class = "mx_error_http")
    harm(file.path(files_dir(alice), waiting_files(alice)))
    mx_send_text(alice, room, "after it")
    events <- mx_sync(alice)
    expect_equal(messages(events)$body, "after it")
    expect_equal(sum(events$type == "mxcrypt.send_failed"), 1)
    unlink(files_dir(alice), recursive = TRUE)
  }
})

test_that("uploads that hang stop no other room, and are not made again and again", {
  withr::local_options(mxcrypt.max_tries = 1, mxcrypt.pause = 0.001)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake, "bob")
  file <- withr::local_tempfile(lines = "x")
  rooms <- c(mx_room_create(alice), mx_room_create(alice))
  fake$fault("POST", "/upload", status = 502, body = "<html>", times = 2)
  for (room in rooms) {
    expect_error(mx_send_file(alice, room, file), class = "mx_error_http")
  }
  other <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, other)
  Sys.sleep(2.5)
  fake$forget()
  fake$fault("POST", "/upload", delay = 60, times = 50)
  withr::local_options(mxcrypt.timeout = 3)
  suppressWarnings(mx_send_text(alice, other, "hello"))
  # So short a timeout may end other requests, too.
  events <- suppressWarnings(mx_sync(bob))
  expect_equal(messages(events)$body, "hello")
  expect_lte(length(fake$seen("POST", "/upload")), 4)
})

test_that("what is in the way of a text is said", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  file <- withr::local_tempfile(lines = "x")
  fake$fault("POST", "/upload", status = 403, body = "<html>", times = 9)
  number <- catch(mx_send_file(alice, room, file))$numbers
  said <- paste("number", number, "of mx_outbox()")
  later <- catch(mx_send_text(alice, room, "after it"))
  expect_match(conditionMessage(later), said, fixed = TRUE)
  expect_equal(later$numbers, number + 1)
  mx_outbox_discard(alice, number)
  suppressWarnings(mx_send_text(alice, room, "more"))
  expect_equal(messages(mx_sync(alice))$body, c("after it", "more"))
})

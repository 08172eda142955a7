test_that("a file arrives, and the server learns neither what it is nor its name", {
  pair <- demo_pair()
  file <- withr::local_tempfile(pattern = "salaries-", fileext = ".csv")
  writeLines("the secret figures", file)
  id <- mx_send_file(pair$alice, pair$room, file)
  content <- new_content(pair$bob)
  expect_equal(content[["msgtype"]], "m.file")
  expect_equal(content[["body"]], basename(file))
  expect_equal(content[["filename"]], basename(file))
  expect_equal(content[["info"]][["mimetype"]], "text/csv")
  expect_equal(content[["info"]][["size"]], file.size(file))
  expect_null(content[["url"]])
  expect_equal(rawToChar(opened(pair$bob, content)), "the secret figures\n")
  for (secret in c("salaries", "secret figures", "text/csv", "m.file")) {
    expect_false(server_has_seen(pair$homeserver, secret), info = secret)
  }
  expect_match(id, "^\\$")
  expect_length(waiting_files(pair$alice), 0)
  expect_equal(nrow(mx_outbox(pair$alice)), 0)
})

test_that("each file has a key of its own, and the specification's shape", {
  pair <- demo_pair()
  file <- withr::local_tempfile(lines = "x")
  mx_send_file(pair$alice, pair$room, c(file, file))
  contents <- messages(mx_sync(pair$bob))$content
  files <- lapply(contents, function(content) content[["file"]])
  expect_length(unique(lapply(files, function(x) x[["key"]][["k"]])), 2)
  expect_length(unique(lapply(files, function(x) x[["url"]])), 2)
  one <- files[[1]]
  expect_setequal(names(one), c("url", "v", "key", "iv", "hashes"))
  expect_equal(one[["v"]], "v2")
  expect_equal(one[["key"]][["alg"]], "A256CTR")
  expect_equal(one[["key"]][["key_ops"]], list("encrypt", "decrypt"))
  # Eight random bytes, and a counter of zero; nothing is padded.
  expect_match(one[["iv"]], "AAAAAAAAAA$")
  expect_false(any(grepl("=", unlist(one), fixed = TRUE)))
})

test_that("a file of a room that is not encrypted is uploaded as it is", {
  pair <- demo_pair(encrypted = FALSE)
  file <- a_picture()
  mx_send_media(
    pair$alice,
    pair$room,
    file,
    body = "d\u00e9j\u00e0 & vu.png",
    content_type = "image/png"
  )
  content <- new_content(pair$bob)
  expect_equal(content[["msgtype"]], "m.image")
  expect_equal(content[["body"]], "d\u00e9j\u00e0 & vu.png")
  expect_null(content[["file"]])
  expect_match(content[["url"]], "^mxc://")
  expect_equal(content[["info"]][["w"]], 20)
  expect_equal(content[["info"]][["h"]], 10)
  bytes <- readBin(file, "raw", 1e5)
  expect_identical(opened(pair$bob, content), bytes)
})

test_that("the server is told the name and type of an unencrypted file alone", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  plain <- mx_room_create(alice, encrypted = FALSE)
  secret <- mx_room_create(alice)
  file <- withr::local_tempfile(fileext = ".csv", lines = "a,b")
  fake$forget()
  mx_send_file(alice, plain, file, name = "d\u00e9j\u00e0 & vu.csv")
  mx_send_file(alice, secret, file, name = "d\u00e9j\u00e0 & vu.csv")
  uploads <- fake$seen("POST", "/upload")
  expect_length(uploads, 2)
  expect_match(
    uploads[[1]]$path,
    "filename=d%C3%A9j%C3%A0%20%26%20vu.csv",
    fixed = TRUE
  )
  expect_false(grepl("filename", uploads[[2]]$path))
  expect_equal(uploads[[1]]$body, 4)
})

test_that("a caption stands in the body, and the name beside it", {
  pair <- demo_pair()
  file <- withr::local_tempfile(lines = "x")
  send <- function(...) {
    mx_send_file(pair$alice, pair$room, file, name = "x.csv", ...)
    new_content(pair$bob)
  }
  plain <- send()
  expect_equal(plain[["body"]], "x.csv")
  expect_null(plain[["format"]])
  expect_equal(plain[["m.mentions"]], as_object(list()))
  with <- send(caption = "the *figures*", markdown = TRUE)
  expect_equal(with[["body"]], "the *figures*")
  expect_equal(with[["filename"]], "x.csv")
  expect_equal(with[["formatted_body"]], "the <em>figures</em>")
  bob <- pair$bob$user_id
  mentioned <- send(caption = paste("for", bob), mentions = bob)
  expect_equal(mentioned[["m.mentions"]], list(user_ids = list(bob)))
  expect_match(mentioned[["formatted_body"]], "matrix.to")
  id <- mx_send_text(pair$alice, pair$room, "first")
  mx_send_file(pair$alice, pair$room, file, thread = id)
  events <- messages(mx_sync(pair$bob))
  expect_equal(events$thread[[nrow(events)]], id)
})

test_that("several files are several messages, in their order", {
  pair <- demo_pair()
  files <- vapply(1:3, function(i) tempfile(paste0(i, "-")), "")
  withr::defer(unlink(files))
  for (file in files) {
    writeLines(basename(file), file)
  }
  ids <- mx_send_file(
    pair$alice,
    pair$room,
    files,
    caption = c("one", "two", "three")
  )
  events <- messages(mx_sync(pair$bob))
  expect_equal(events$event_id, ids)
  expect_equal(events$body, c("one", "two", "three"))
  names <- vapply(events$content, function(x) x[["filename"]], "")
  expect_equal(names, basename(files))
  expect_equal(mx_send_file(pair$alice, pair$room, character()), character())
})

test_that("bytes are sent under the name they are given", {
  pair <- demo_pair()
  for (bytes in list(raw(), as.raw(0:255))) {
    mx_send_file(pair$alice, pair$room, bytes, name = "all.bin")
    content <- new_content(pair$bob)
    expect_equal(content[["filename"]], "all.bin")
    expect_equal(content[["info"]][["mimetype"]], "application/octet-stream")
    expect_identical(opened(pair$bob, content), bytes)
  }
})

test_that("what a file is, its first bytes and its name say", {
  type <- function(source, name, ...) {
    file <- files_of(source, name, ..., arg = "path", call = NULL)[[1]]
    c(file[["type"]], file[["msgtype"]])
  }
  is <- function(name, source = charToRaw("x"), type = NULL, kind = NULL) {
    file <- files_of(source, name, type, kind, NULL, "path")[[1]]
    c(file[["type"]], file[["msgtype"]])
  }
  expect_equal(is("a.CSV"), c("text/csv", "m.file"))
  expect_equal(is("a.mp4"), c("video/mp4", "m.video"))
  expect_equal(is("a.mp3"), c("audio/mpeg", "m.audio"))
  expect_equal(is("a"), c("application/octet-stream", "m.file"))
  expect_equal(is("a.unheard-of"), c("application/octet-stream", "m.file"))
  # A picture whatever it is called, and none that clients do not show.
  picture <- readBin(a_picture(), "raw", 1e5)
  expect_equal(is("a.txt", picture), c("image/png", "m.image"))
  expect_equal(is("a.svg"), c("image/svg+xml", "m.file"))
  expect_equal(is("a", type = "audio/ogg"), c("audio/ogg", "m.audio"))
})

test_that("a picture is sent as one, and other files are not", {
  pair <- demo_pair()
  file <- a_picture(30, 40)
  mx_send_image(pair$alice, pair$room, file, caption = "a ramp")
  content <- new_content(pair$bob)
  expect_equal(content[["msgtype"]], "m.image")
  expect_equal(content[["info"]][["w"]], 30)
  expect_equal(content[["info"]][["h"]], 40)
  text <- withr::local_tempfile(fileext = ".txt", lines = "x")
  for (send in list(mx_send_image, mx_send_video, mx_send_audio)) {
    expect_error(send(pair$alice, pair$room, text), class = "mx_error_argument")
  }
  movie <- withr::local_tempfile(fileext = ".mp4", lines = "x")
  mx_send_video(pair$alice, pair$room, movie)
  expect_equal(new_content(pair$bob)[["msgtype"]], "m.video")
  mx_send_audio(pair$alice, pair$room, charToRaw("x"), name = "x.ogg")
  expect_equal(new_content(pair$bob)[["msgtype"]], "m.audio")
})

test_that("a thumbnail is encrypted as well", {
  pair <- demo_pair()
  file <- a_picture(300, 400)
  small <- a_picture(30, 40)
  mx_send_image(pair$alice, pair$room, file, thumbnail = small)
  info <- new_content(pair$bob)[["info"]]
  expect_equal(info[["thumbnail_info"]][["w"]], 30)
  expect_equal(info[["thumbnail_info"]][["mimetype"]], "image/png")
  expect_null(info[["thumbnail_url"]])
  bytes <- opened(pair$bob, info, "thumbnail_file")
  expect_identical(bytes, readBin(small, "raw", 1e5))
  plain <- mx_room_create(pair$alice, encrypted = FALSE)
  mx_send_image(pair$alice, plain, file, thumbnail = bytes)
  info <- new_content(pair$alice)[["info"]]
  expect_match(info[["thumbnail_url"]], "^mxc://")
  for (bad in list(1, "no such file", charToRaw("x"), c(small, small))) {
    expect_error(
      mx_send_image(pair$alice, pair$room, file, thumbnail = bad),
      class = "mx_error_argument"
    )
  }
})

test_that("what is no file to send is refused before anything is asked", {
  pair <- demo_pair()
  file <- withr::local_tempfile(lines = "x")
  refused <- function(...) {
    asked <- requests_during(
      condition <- catch(mx_send_file(pair$alice, pair$room, ...))
    )
    expect_length(asked, 0)
    expect_s3_class(condition, "mx_error_argument")
    conditionMessage(condition)
  }
  expect_match(refused(tempfile()), "can be read", fixed = TRUE)
  expect_match(refused(tempdir()), "can be read", fixed = TRUE)
  expect_match(refused(c(file, tempfile())), "can be read", fixed = TRUE)
  if (file.exists("/dev/zero")) {
    expect_match(refused("/dev/zero"), "can be read", fixed = TRUE)
  }
  expect_match(refused(NA_character_), "missing values", fixed = TRUE)
  expect_match(refused(42), "`path`", fixed = TRUE)
  expect_match(refused(cars), "not a table", fixed = TRUE)
  plot <- structure(list(), class = c("gg", "ggplot"))
  expect_match(refused(plot), "mx_send_plot()", fixed = TRUE)
  expect_match(refused(as.raw(1)), "needs a `name`", fixed = TRUE)
  expect_match(refused(file, name = ""), "`name`", fixed = TRUE)
  expect_match(refused(file, name = c("a", "b")), "`name`", fixed = TRUE)
  expect_match(refused(file, name = strrep("a", 256)), "255", fixed = TRUE)
  expect_match(refused(file, caption = ""), "`caption`", fixed = TRUE)
  expect_match(refused(file, caption = c("a", "b")), "`caption`", fixed = TRUE)
  expect_match(refused(file, type = "text"), "`type`", fixed = TRUE)
  expect_match(refused(file, type = "a/b\r\nX: y"), "`type`", fixed = TRUE)
  expect_match(refused(file, markdown = NA), "`markdown`", fixed = TRUE)
  expect_match(refused(file, mentions = "bob"), "`mentions`", fixed = TRUE)
  expect_match(
    refused(c(file, file), transaction_id = c("a", "a")),
    "`transaction_id`",
    fixed = TRUE
  )
  expect_match(
    refused(file, transaction_id = c("a", "b")),
    "`transaction_id`",
    fixed = TRUE
  )
})

test_that("where the server does not say that a room is plain, nothing is sent", {
  withr::local_options(mxcrypt.max_tries = 1, mxcrypt.pause = 0.001)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice, encrypted = FALSE)
  file <- withr::local_tempfile(lines = "figures")
  for (status in c(500, 403, 404)) {
    fake$forget()
    fake$fault(
      "GET",
      "/state/m.room.encryption",
      status = status,
      body = "<html>"
    )
    expect_error(mx_send_file(alice, room, file), class = "mx_error")
    expect_length(fake$seen("POST", "/upload"), 0)
  }
})

test_that("a name beyond ASCII is sent in any locale", {
  skip_without_utf8()
  dir <- withr::local_tempdir()
  path <- file.path(dir, "d\u00e9j\u00e0.csv")
  skip_if_not(
    tryCatch(file.create(path), warning = function(w) FALSE),
    "a file system with such names"
  )
  names <- in_other_r(
    function(dir) {
      pair <- demo_pair()
      mx_send_file(pair$alice, pair$room, list.files(dir, full.names = TRUE))
      mx_send_file(pair$alice, pair$room, as.raw(1), name = "\u00fc.csv")
      contents <- messages(mx_sync(pair$bob))$content
      lapply(contents, function(x) {
        c(x[["filename"]], x[["info"]][["mimetype"]])
      })
    },
    list(dir),
    env = c(LC_ALL = "C")
  )
  expect_equal(names[[1]], c("d\u00e9j\u00e0.csv", "text/csv"))
  expect_equal(names[[2]], c("\u00fc.csv", "text/csv"))
})

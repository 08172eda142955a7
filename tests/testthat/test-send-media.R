test_that("a file is never sent into an encrypted room", {
  pair <- demo_pair()
  file <- withr::local_tempfile(lines = "the secret figures")
  for (room in list(pair$room)) {
    asked <- requests_during(
      expect_error(
        mx_send_media(pair$alice, room, file),
        class = "mx_error_media_unencrypted"
      )
    )
    expect_false(any(grepl("upload", asked)))
  }
  # Also on a device that has not synced yet, and asks.
  second <- mx_demo_client(pair$homeserver, "alice")
  expect_error(
    mx_send_media(second, pair$room, file),
    class = "mx_error_media_unencrypted"
  )
  expect_false(server_has_seen(pair$homeserver, "secret figures"))
})

test_that("where the server does not say, the file is not sent", {
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
    expect_error(mx_send_media(alice, room, file), class = "mx_error")
    expect_length(fake$seen("POST", "/upload"), 0)
  }
})

test_that("a file is sent to a room that is not encrypted", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice, encrypted = FALSE)
  file <- withr::local_tempfile(fileext = ".png")
  writeBin(as.raw(0:255), file)
  fake$forget()
  id <- mx_send_media(
    alice,
    room,
    file,
    body = "d\u00e9j\u00e0 & vu.png",
    content_type = "image/png"
  )
  upload <- fake$seen("POST", "/upload")[[1]]
  expect_equal(upload$body, 256)
  expect_match(
    upload$path,
    "filename=d%C3%A9j%C3%A0%20%26%20vu.png",
    fixed = TRUE
  )
  events <- messages(mx_sync(alice))
  expect_equal(events$event_id, id)
  content <- events$content[[1]]
  expect_equal(content[["msgtype"]], "m.image")
  expect_match(content[["url"]], "^mxc://")
  expect_equal(content[["info"]], list(mimetype = "image/png", size = 256L))
  expect_equal(media_msgtype("application/pdf"), "m.file")
  expect_equal(media_msgtype("video/mp4"), "m.video")
})

test_that("a file that cannot be read is an error", {
  pair <- demo_pair(encrypted = FALSE)
  dir <- withr::local_tempdir()
  for (path in c(file.path(dir, "none"), dir, "", "\u0001")) {
    expect_error(
      suppressWarnings(mx_send_media(pair$alice, pair$room, path)),
      class = "mx_error"
    )
  }
})

test_that("an upload that brings no address is an error, and no event is sent", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice, encrypted = FALSE)
  bodies <- c(
    "{}",
    '{"content_uri":5}',
    '{"content_uri":""}',
    '{"content_uri":"https://example.org/x"}',
    '{"content_uri":["mxc://a/b"]}'
  )
  for (body in bodies) {
    fake$fault("POST", "/upload", body = body)
    expect_error(
      mx_send_media(alice, room, alice$path),
      class = "mx_error",
      info = body
    )
  }
  expect_equal(nrow(messages(mx_sync(alice))), 0)
})

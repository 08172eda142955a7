test_that("a client is loaded from its file, and nothing is asked", {
  pair <- demo_pair()
  forget_open_stores()
  asked <- requests_during(loaded <- mx_client_load(path = pair$alice$path))
  expect_equal(asked, character())
  expect_equal(loaded, pair$alice)
  mx_send_text(loaded, pair$room, "as before")
  expect_equal(new_bodies(pair$bob), "as before")
})

test_that("where there is no configuration, the error says what to do", {
  dir <- withr::local_tempdir()
  path <- file.path(dir, "matrix.json")
  missing <- expect_error(
    mx_client_load(path = path),
    class = "mx_error_config"
  )
  expect_match(conditionMessage(missing), path, fixed = TRUE)
  expect_match(conditionMessage(missing), "mx_client_configure")
  odd <- c(
    "",
    "{",
    "[]",
    "5",
    "null",
    "{}",
    "%s%n",
    "\xff\xfe",
    '{"user_id":"@a:b"}',
    '{"server":5,"user_id":"@a:b","device_id":"D"}',
    '{"server":"x","user_id":"@a:b","user_id":"@c:d","device_id":"D"}'
  )
  for (text in odd) {
    writeLines(text, path, useBytes = TRUE)
    expect_error(mx_client_load(path = path), class = "mx_error_config")
  }
  writeBin(as.raw(c(0x7b, 0, 0x7d)), path)
  expect_error(mx_client_load(path = path), class = "mx_error_config")
  expect_error(mx_client_load(path = dir), class = "mx_error")
})

test_that("a configuration of mx.client is understood", {
  path <- withr::local_tempfile(fileext = ".json")
  writeLines(
    '{
      "server": "https://matrix.example.org",
      "user": "alice",
      "token": "syt_secret",
      "user_id": "@alice:example.org",
      "device_id": "DEV",
      "room_id": "!r:example.org",
      "sync_token": {}
    }',
    path
  )
  client <- mx_client_load(path = path)
  expect_equal(client$user_id, "@alice:example.org")
  expect_equal(client$room_id, "!r:example.org")
  expect_equal(session_token(client), "syt_secret")
  expect_nowhere("syt_secret", unclass(client))
})

test_that("a token can come from the environment instead", {
  pair <- demo_pair()
  config <- read_config(pair$alice$path)
  token <- config[["token"]]
  config[c("token", "refresh_token")] <- NULL
  write_config(config, pair$alice$path)
  withr::local_envvar(MXCRYPT_ACCESS_TOKEN = token)
  alice <- mx_client_load(path = pair$alice$path)
  mx_send_text(alice, pair$room, "hello")
  expect_equal(new_bodies(pair$bob), "hello")
  expect_no_match(readLines(pair$alice$path), token, fixed = TRUE)
})

test_that("a client that was saved and read again works", {
  pair <- demo_pair()
  file <- withr::local_tempfile()
  saveRDS(list(pair$alice, mx_client_session(pair$alice)), file)
  forget_open_stores()
  saved <- readRDS(file)
  mx_send_text(saved[[1]], pair$room, "hello")
  topic <- list(topic = "x")
  expect_match(
    mx_set_state(saved[[2]], pair$room, "m.room.topic", topic),
    "^\\$"
  )
  expect_equal(new_bodies(pair$bob), "hello")
})

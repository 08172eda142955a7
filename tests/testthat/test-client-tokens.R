expired <- '{"errcode":"M_UNKNOWN_TOKEN","error":"expired","soft_logout":true}'

test_that("an expired login is refreshed once, and the request repeated", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  old <- session_token(alice)
  fake$forget()
  fake$fault("GET", "/joined_rooms", status = 401, body = expired)
  expect_equal(mx_rooms(alice)$room_id, room)
  expect_length(fake$seen("POST", "/refresh"), 1)
  expect_length(fake$seen("POST", "/login"), 0)
  new <- session_token(alice)
  expect_false(new == old)
  asked <- fake$seen("GET", "/joined_rooms")
  tokens <- vapply(asked, function(x) x$token, "")
  expect_equal(tokens, c(old, new))
  expect_equal(read_config(alice$path)$token, new)
  # The new refresh token works, too.
  fake$fault("GET", "/joined_rooms", status = 401, body = expired)
  expect_equal(mx_rooms(alice)$room_id, room)
})

test_that("what is sent while the login expires arrives once", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  for (path in c("/send/", "/state/", "/members", "/keys/")) {
    fake$fault("", path, status = 401, body = expired)
  }
  id <- mx_send_text(alice, room, "hello")
  events <- messages(mx_sync(alice))
  expect_equal(events$event_id, id)
})

test_that("where refreshing fails, a password from the environment signs in", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  withr::local_envvar(MXCRYPT_PASSWORD = "secret word")
  fake$forget()
  fake$fault("GET", "/joined_rooms", status = 401, body = expired)
  fake$fault("POST", "/refresh", status = 401, body = expired)
  mx_rooms(alice)
  login <- fake$seen("POST", "/login")
  expect_length(login, 1)
  body <- json_decode(login[[1]]$body)
  expect_equal(body[["device_id"]], alice$device_id)
  expect_equal(body[["identifier"]][["user"]], alice$user_id)
  expect_no_match(readLines(alice$path), "secret word")
})

test_that("a device of another name is not taken for the old one", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  withr::local_envvar(MXCRYPT_PASSWORD = "secret word")
  other <- sprintf(
    '{"user_id":"%s","device_id":"OTHER","access_token":"x"}',
    alice$user_id
  )
  fake$fault("GET", "/joined_rooms", status = 401, body = expired)
  fake$fault("POST", "/refresh", status = 401, body = expired)
  fake$fault("POST", "/login", body = other)
  expect_error(mx_rooms(alice), class = "mx_error_store_binding")
  fake$forget()
  expect_equal(nrow(mx_rooms(alice)), 0)
})

test_that("where nothing helps, the error says how to sign in, without asking", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  withr::local_envvar(MXCRYPT_PASSWORD = NA)
  withr::local_options(mxcrypt.keyring = FALSE)
  fake$forget()
  fake$fault("GET", "/joined_rooms", status = 401, body = expired, times = 9)
  fake$fault("POST", "/refresh", status = 401, body = expired, times = 9)
  condition <- expect_error(mx_rooms(alice), class = "mx_error_M_UNKNOWN_TOKEN")
  expect_match(conditionMessage(condition), "mx_client_relogin")
  expect_lte(length(fake$seen("GET", "/joined_rooms")), 2)
})

test_that("a login is renewed once for a request, and not for ever", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  fake$forget()
  fake$fault("GET", "/joined_rooms", status = 401, body = expired, times = 99)
  expect_error(mx_rooms(alice), class = "mx_error_M_UNKNOWN_TOKEN")
  expect_length(fake$seen("GET", "/joined_rooms"), 2)
  expect_length(fake$seen("POST", "/refresh"), 1)
})

test_that("a refresh that brings no token leaves the login as it was", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  withr::local_envvar(MXCRYPT_PASSWORD = NA)
  before <- readLines(alice$path)
  bodies <- c(
    "{}",
    "[]",
    "<html>",
    "",
    '{"access_token":5}',
    '{"access_token":"","refresh_token":""}',
    '{"access_token":["a"],"refresh_token":{}}',
    '{"access_token":"a\\r\\nHost: x"}'
  )
  for (body in bodies) {
    fake$fault("GET", "/joined_rooms", status = 401, body = expired)
    fake$fault("POST", "/refresh", body = body)
    expect_s3_class(catch(mx_rooms(alice)), "mx_error")
    fake$forget()
    expect_identical(readLines(alice$path), before, info = body)
  }
  expect_equal(nrow(mx_rooms(alice)), 0)
})

test_that("another process's refresh is taken over", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  in_other_r(
    function(path, server) {
      client <- mxcrypt::mx_client_load(path = path)
      stopifnot(mxcrypt:::refresh_token(client))
      mxcrypt::mx_rooms(client)
    },
    list(alice$path, fake$url)
  )
  fake$forget()
  # This process still has the old token, which is void now.
  expect_equal(mx_rooms(alice)$room_id, room)
  expect_length(fake$seen("POST", "/refresh"), 0)
})

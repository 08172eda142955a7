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

test_that("a server that ends each login at once is signed in to once", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  withr::local_envvar(MXCRYPT_PASSWORD = "secret word")
  fake$forget()
  for (path in c("/joined_rooms", "/sync", "/keys/", "/devices", "/refresh")) {
    fake$fault("", path, status = 401, body = expired, times = 999)
  }
  suppressWarnings(
    expect_error(mx_rooms(alice), class = "mx_error_M_UNKNOWN_TOKEN")
  )
  expect_length(fake$seen("POST", "/login"), 1)
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

test_that("a refresh that fails for a while does not end the login", {
  withr::local_options(mxcrypt.pause = 0.001, mxcrypt.max_tries = 2)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  # A password at hand is for when the login has ended.
  withr::local_envvar(MXCRYPT_PASSWORD = "secret word")
  before <- readLines(alice$path)
  for (status in c(403, 404, 407, 408, 413, 425, 429, 500, 502)) {
    fake$forget()
    fake$fault("GET", "/joined_rooms", status = 401, body = expired)
    fake$fault("POST", "/refresh", status = status, body = "<html>", times = 9)
    condition <- expect_error(mx_rooms(alice), class = "mx_error_renewal")
    expect_identical(condition[["cause"]][["status"]], as.integer(status))
    expect_true(is_passing(condition))
    expect_length(fake$seen("POST", "/login"), 0)
    expect_identical(readLines(alice$path), before)
  }
  fake$forget()
  fake$fault("GET", "/joined_rooms", status = 401, body = expired)
  expect_equal(nrow(mx_rooms(alice)), 0)
})

test_that("a verdict on the refresh token ends the login", {
  withr::local_options(mxcrypt.keyring = FALSE)
  withr::local_envvar(MXCRYPT_PASSWORD = NA)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  verdicts <- list(
    c(401, '{"errcode":"M_UNKNOWN_TOKEN","error":"x"}'),
    c(403, '{"errcode":"M_FORBIDDEN","error":"refresh token is used up"}'),
    c(400, '{"error":"invalid_grant"}')
  )
  for (verdict in verdicts) {
    fake$forget()
    fake$fault("GET", "/joined_rooms", status = 401, body = expired, times = 9)
    fake$fault(
      "POST",
      "/refresh",
      status = as.numeric(verdict[[1]]),
      body = verdict[[2]]
    )
    condition <- expect_error(
      mx_rooms(alice),
      class = "mx_error_M_UNKNOWN_TOKEN"
    )
    expect_match(conditionMessage(condition), "mx_client_relogin")
    expect_length(fake$seen("POST", "/refresh"), 1)
  }
})

test_that("a refresh whose answer was lost is repeated with the same token", {
  withr::local_options(mxcrypt.pause = 0.001, mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  fake$forget()
  # The server refreshes, and nobody hears of it: neither in this call nor in the
  # next one.
  fake$fault("GET", "/joined_rooms", status = 401, body = expired)
  fake$fault("POST", "/refresh", status = 502, acts = TRUE)
  expect_error(mx_rooms(alice), class = "mx_error_renewal")
  withr::local_options(mxcrypt.max_tries = 3)
  fake$fault("GET", "/joined_rooms", status = 401, body = expired)
  fake$fault("POST", "/refresh", status = 502, acts = TRUE)
  expect_equal(nrow(mx_rooms(alice)), 0)
  sent <- vapply(fake$seen("POST", "/refresh"), function(x) x$body, "")
  expect_length(sent, 3)
  expect_length(unique(sent), 1)
})

test_that("of several processes one refreshes, and the others take its token", {
  skip_on_cran()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  fake$forget()
  # All of them are told at once that the token has expired, and the refresh takes
  # longer than they need to ask for one.
  fake$fault("GET", "/joined_rooms", status = 401, body = expired, times = 3)
  fake$fault("POST", "/refresh", status = 502, acts = TRUE, delay = 2)
  ask <- function(path) {
    client <- mxcrypt::mx_client_load(path = path)
    mxcrypt::mx_rooms(client)
    mxcrypt:::session_token(client)
  }
  environment(ask) <- globalenv()
  processes <- lapply(1:3, function(i) callr::r_bg(ask, list(alice$path)))
  for (process in processes) {
    process$wait(60000)
  }
  tokens <- vapply(processes, function(process) process$get_result(), "")
  expect_length(unique(tokens), 1)
  expect_equal(read_config(alice$path)$token, tokens[[1]])
  # The second is the repetition of the first, whose answer was lost.
  sent <- vapply(fake$seen("POST", "/refresh"), function(x) x$body, "")
  expect_length(sent, 2)
  expect_length(unique(sent), 1)
})

test_that("a token that another process saved is taken after a refusal, too", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  good <- read_config(alice$path)
  used <- session_token(alice)
  # One without a lease refreshes at the same moment, and saves later than this
  # process looks.
  fresh <- json_body(http_perform(
    list(server = fake$url),
    "POST",
    api_path("refresh"),
    mxc_json(list(refresh_token = good$refresh_token))
  ))
  local_replaced("refresh_token", function(client, call) {
    keep_login(alice$path, good, fresh)
    remember_tokens(alice$path, list(token = used))
    FALSE
  })
  expect_true(renew_login(alice, used))
  expect_equal(session_token(alice), fresh$access_token)
})

test_that("another process's sign-out is told, and its sign-in is taken over", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  # It is not undone, although it could be.
  withr::local_envvar(MXCRYPT_PASSWORD = "secret word")
  in_other_r(
    function(path) mxcrypt::mx_logout(mxcrypt::mx_client_load(path = path)),
    list(alice$path)
  )
  fake$forget()
  for (i in 1:2) {
    expect_error(mx_rooms(alice), class = "mx_error_signed_out")
  }
  expect_length(fake$seen("POST", "/login"), 0)
  in_other_r(
    function(path) {
      mxcrypt::mx_client_relogin(mxcrypt::mx_client_load(path = path))
    },
    list(alice$path),
    env = c(MXCRYPT_PASSWORD = "secret word")
  )
  expect_equal(nrow(mx_rooms(alice)), 0)
})

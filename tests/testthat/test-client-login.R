test_that("signing in again keeps the device and what it knows", {
  pair <- demo_pair()
  mx_send_text(pair$bob, pair$room, "before")
  old <- session_token(pair$alice)
  expect_invisible(again <- mx_client_relogin(pair$alice, password = "demo"))
  expect_equal(again, pair$alice)
  expect_false(session_token(pair$alice) == old)
  expect_equal(read_config(pair$alice$path)$token, session_token(pair$alice))
  expect_equal(new_bodies(pair$alice), "before")
  mx_send_text(pair$alice, pair$room, "after")
  expect_equal(new_bodies(pair$bob), c("before", "after"))
})

test_that("a wrong password changes nothing", {
  pair <- demo_pair()
  before <- readLines(pair$alice$path)
  expect_error(
    mx_client_relogin(pair$alice, password = "wrong"),
    class = "mx_error_M_FORBIDDEN"
  )
  expect_identical(readLines(pair$alice$path), before)
  mx_send_text(pair$alice, pair$room, "still here")
  expect_equal(new_bodies(pair$bob), "still here")
})

test_that("a password is needed, from somewhere", {
  pair <- demo_pair()
  withr::local_options(mxcrypt.keyring = FALSE)
  withr::local_envvar(MXCRYPT_PASSWORD = NA)
  condition <- expect_error(
    mx_client_relogin(pair$alice),
    class = "mx_error_password"
  )
  expect_match(conditionMessage(condition), pair$alice$user_id, fixed = TRUE)
  withr::local_envvar(MXCRYPT_PASSWORD = "demo")
  expect_equal(mx_client_relogin(pair$alice), pair$alice)
})

test_that("another device, or user, from the server is refused", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  before <- readLines(alice$path)
  answer <- function(user_id, device_id) {
    unclass(mxc_json(list(
      user_id = user_id,
      device_id = device_id,
      access_token = "fake_token_of_another"
    )))
  }
  bodies <- c(
    answer(alice$user_id, "OTHER"),
    answer("@mallory:fake", alice$device_id),
    answer(alice$user_id, NULL),
    answer(5, list(alice$device_id)),
    '{"access_token":"fake_token_of_another"}'
  )
  for (body in bodies) {
    fake$fault("POST", "/login", body = body)
    expect_error(
      mx_client_relogin(alice, "secret word"),
      class = "mx_error_store_binding",
      info = body
    )
    expect_identical(readLines(alice$path), before)
    expect_equal(nrow(mx_rooms(alice)), 0)
  }
})

test_that("a login without a token is an error and not an empty configuration", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  before <- readLines(alice$path)
  ids <- sprintf(
    '"user_id":"%s","device_id":"%s"',
    alice$user_id,
    alice$device_id
  )
  for (token in c("null", "5", '""', '["x"]', "{}", '"a\\nb"', '"a\\u0000b"')) {
    body <- sprintf('{%s,"access_token":%s}', ids, token)
    fake$fault("POST", "/login", body = body)
    expect_error(mx_client_relogin(alice, "secret word"), class = "mx_error")
    expect_identical(readLines(alice$path), before, info = token)
  }
  expect_equal(nrow(mx_rooms(alice)), 0)
})

test_that("after logging out nothing is sent, and history stays readable", {
  pair <- demo_pair()
  mx_send_text(pair$bob, pair$room, "one")
  mx_sync(pair$alice)
  expect_null(expect_invisible(mx_logout(pair$alice)))
  expect_named(
    read_config(pair$alice$path)[c("token", "refresh_token")],
    c(NA_character_, NA_character_)
  )
  withr::local_envvar(MXCRYPT_PASSWORD = NA)
  expect_error(mx_sync(pair$alice), class = "mx_error_M_MISSING_TOKEN")
  condition <- expect_error(
    mx_send_text(pair$alice, pair$room, "x"),
    class = "mx_error_M_MISSING_TOKEN"
  )
  expect_s3_class(condition, "mx_error_signed_out")
  expect_match(
    conditionMessage(condition),
    "signed out here with mx_logout()",
    fixed = TRUE
  )
  expect_match(conditionMessage(condition), "mx_client_relogin")
  # Another process says so, too.
  forget_tokens(pair$alice$path)
  again <- mx_client_load(path = pair$alice$path)
  expect_error(mx_rooms(again), class = "mx_error_signed_out")
  devices <- mx_crypto_known_devices(pair$bob, pair$alice$user_id)
  expect_length(devices, 0)
  machine <- machine_of(pair$alice)
  rows <- core(machine_peek(machine, 1, 1000))
  expect_true("one" %in% rows[["body"]])
})

test_that("who comes back after logging out can be written to, or is told", {
  pair <- demo_pair()
  mx_logout(pair$alice)
  condition <- catch(mx_client_relogin(pair$alice, password = "demo"))
  if (is.null(condition)) {
    condition <- catch(mx_sync(pair$alice))
  }
  if (is.null(condition)) {
    # The server has forgotten the device's keys: they must be there again.
    devices <- mx_crypto_known_devices(pair$bob, pair$alice$user_id)
    expect_length(devices, 1)
    own <- mxc_account_identity_keys(mx_crypto_account(pair$alice$store_dir))
    expect_equal(devices[[1]][names(own)], own)
    expect_length(mx_crypto_claim_otks(pair$bob, devices)[[1]]$otk, 1)
  } else {
    expect_s3_class(condition, "mx_error")
  }
})

# The messages of `code`.
said_by <- function(code) {
  withr::local_options(cli.default_handler = NULL)
  capture_messages(code)
}

# A server that deletes a device which this side still takes for signed in.
drop_device <- function(client) {
  http_json(client, "POST", api_path("logout"), "{}")
}

test_that("a dropped device has its keys and its signature again, and is told", {
  pair <- demo_pair(verified = FALSE)
  mx_crypto_setup(pair$alice)
  drop_device(pair$alice)
  expect_length(mx_crypto_known_devices(pair$bob, pair$alice$user_id), 0)
  said <- said_by(
    mx_client_relogin(pair$alice, password = "demo")
  )
  expect_match(said, "published again", all = FALSE)
  expect_match(said, "signed again", all = FALSE)
  devices <- mx_devices(pair$bob, pair$alice$user_id)
  expect_true(devices$signed_by_owner)
  # The server has one-time keys again, too.
  devices <- mx_crypto_known_devices(pair$bob, pair$alice$user_id)
  expect_length(mx_crypto_claim_otks(pair$bob, devices)[[1]]$otk, 1)
  # Where nothing was lost, nothing is told.
  expect_length(
    said_by(mx_client_relogin(pair$alice, "demo")),
    0
  )
})

test_that("a dropped device without the self-signing key says what to do", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  mx_crypto_setup(alice)
  phone <- mx_demo_client(homeserver, "alice", verified = FALSE)
  drop_device(phone)
  condition <- expect_warning(
    mx_client_relogin(phone, password = "demo"),
    class = "mx_warning_unsigned_device"
  )
  expect_match(conditionMessage(condition), "mx_crypto_setup")
})

test_that("a dropped device is restored where the login is renewed by itself", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  mx_crypto_setup(alice)
  withr::local_envvar(MXCRYPT_PASSWORD = "secret word")
  drop_device(alice)
  said <- said_by(expect_equal(nrow(mx_rooms(alice)), 0))
  expect_match(said, "published again", all = FALSE)
  expect_match(said, "signed again", all = FALSE)
  expect_true(mx_devices(alice, alice$user_id)$signed_by_owner)

  # In the middle of a send, too.
  room <- mx_room_create(alice)
  drop_device(alice)
  mx_send_text(alice, room, "hello")
  expect_equal(new_bodies(alice), "hello")
  expect_true(mx_devices(alice, alice$user_id)$signed_by_owner)

  # What hinders the check does not hinder the call.
  drop_device(alice)
  withr::local_options(mxcrypt.max_tries = 1)
  fake$fault("POST", "/keys/query", status = 500, times = 1)
  expect_warning(
    expect_equal(nrow(mx_rooms(alice)), 1),
    class = "mx_warning_unsigned_device"
  )
})

test_that("signing in over a store restores a dropped device, too", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  mx_crypto_setup(alice)
  drop_device(alice)
  said <- said_by(mx_client_configure(
    fake$url,
    alice$user_id,
    "secret word",
    path = alice$path,
    store_dir = alice$store_dir
  ))
  expect_match(said, "signed again", all = FALSE)
  expect_true(mx_devices(alice, alice$user_id)$signed_by_owner)
})

test_that("a server with too many sessions says what to do", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  refusals <- c(
    paste0(
      '{"errcode":"M_FORBIDDEN","error":"You have reached your hard device limit. ',
      'Please visit your account page to sign some out."}'
    ),
    '{"errcode":"M_USER_LIMIT_EXCEEDED","error":"No."}',
    '{"errcode":"M_TOO_MANY_DEVICES","error":"No."}',
    '{"errcode":"M_UNKNOWN","error":"Too many active sessions"}'
  )
  for (refusal in refusals) {
    fake$fault("POST", "/login", status = 403, body = refusal)
    condition <- expect_error(
      mx_client_relogin(alice, "secret word"),
      class = "mx_error_http"
    )
    expect_match(conditionMessage(condition), "mx_device_delete")
  }
  fake$fault(
    "POST",
    "/login",
    status = 403,
    body = '{"errcode":"M_FORBIDDEN","error":"Invalid password"}'
  )
  condition <- expect_error(mx_client_relogin(alice, "secret word"))
  expect_no_match(conditionMessage(condition), "mx_device_delete")
})

test_that("a person is told what becomes of the keys, and asked", {
  pair <- demo_pair(verified = FALSE)
  mx_crypto_setup(pair$alice)
  asked <- list()
  answer <- function(yes) {
    function(text) {
      asked <<- c(asked, list(text))
      yes
    }
  }
  local({
    local_replaced("confirm", answer(FALSE))
    expect_error(
      mx_logout(pair$alice, ask = TRUE),
      class = "mx_error_declined"
    )
  })
  expect_match(asked[[1]], "cannot read later", all = FALSE)
  expect_match(asked[[1]], pair$alice$store_dir, fixed = TRUE, all = FALSE)
  expect_match(asked[[1]], "recovery key is not saved", all = FALSE)
  mx_sync(pair$alice)
  local_replaced("confirm", answer(TRUE))
  mx_logout(pair$alice, ask = TRUE)
  expect_error(mx_sync(pair$alice), class = "mx_error_M_MISSING_TOKEN")
  # A bot is asked nothing.
  mx_logout(pair$bob)
  expect_length(asked, 2)
})

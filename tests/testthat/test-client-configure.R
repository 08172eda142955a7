# The client and its files, in a directory of their own.
places <- function(.local_envir = parent.frame()) {
  dir <- withr::local_tempdir(.local_envir = .local_envir)
  list(
    path = file.path(dir, "matrix.json"),
    store_dir = file.path(dir, "crypto")
  )
}

configure <- function(server, user = NULL, places, ...) {
  client <- mx_client_configure(
    server,
    user,
    path = places$path,
    store_dir = places$store_dir,
    ...
  )
  # Identities have tests of their own.
  mx_isolation_mode(client, "all")
  client
}

config_at <- function(path) {
  json_decode(paste(readLines(path), collapse = "\n"))
}

test_that("a password signs a new device in, and its keys are published", {
  homeserver <- mx_demo_homeserver(users = c("alice", "bob"))
  bob <- mx_demo_client(homeserver, "bob")
  here <- places()
  alice <- configure(homeserver, "alice", here, password = "demo")
  expect_s3_class(alice, "mx_client")
  expect_equal(alice$user_id, "@alice:demo")
  config <- config_at(here$path)
  expect_equal(config[["user_id"]], "@alice:demo")
  expect_equal(config[["device_id"]], alice$device_id)
  expect_equal(config[["store_dir"]], here$store_dir)
  devices <- mx_crypto_known_devices(bob, alice$user_id)
  expect_length(devices, 1)
  expect_equal(
    devices[[1]][c("curve25519", "ed25519")],
    mxc_account_identity_keys(mx_crypto_account(here$store_dir))
  )
  expect_equal(nchar(mx_crypto_claim_otks(bob, devices)[[1]]$otk), 43L)
})

test_that("the user can be named in full, and the device be given", {
  homeserver <- mx_demo_homeserver(users = "alice")
  here <- places()
  alice <- configure(
    homeserver,
    "@alice:demo",
    here,
    password = "demo",
    device_id = "PIPELINE",
    device_name = "the nightly bot"
  )
  expect_equal(alice$device_id, "PIPELINE")
  expect_true(server_has_seen(homeserver, "the nightly bot"))
})

test_that("signing in again keeps device, identity and history", {
  homeserver <- mx_demo_homeserver(users = "alice")
  here <- places()
  first <- configure(homeserver, "alice", here, password = "demo")
  room <- mx_room_create(first)
  mx_send_text(first, room, "before")
  second <- configure(homeserver, "alice", here, password = "demo")
  expect_equal(second$device_id, first$device_id)
  mx_send_text(second, room, "after")
  expect_equal(new_bodies(second), c("before", "after"))
})

test_that("an access token can be given instead of a password", {
  homeserver <- mx_demo_homeserver(users = "alice")
  bare <- list(server = demo_address(homeserver))
  login <- log_in(bare, "alice", "demo", "TOKENDEVICE", NULL)
  here <- places()
  alice <- configure(
    homeserver,
    places = here,
    access_token = login$access_token
  )
  expect_equal(alice$user_id, "@alice:demo")
  expect_equal(alice$device_id, "TOKENDEVICE")
  expect_equal(config_at(here$path)[["token"]], login$access_token)
  room <- mx_room_create(alice)
  mx_send_text(alice, room, "x")
  expect_equal(new_bodies(alice), "x")
})

test_that("a room is joined and remembered", {
  pair <- demo_pair()
  mx_room_invite(pair$alice, pair$room, "@carol:demo")
  mx_demo_client(pair$homeserver, "carol")
  here <- places()
  carol <- configure(
    pair$homeserver,
    "carol",
    here,
    password = "demo",
    room = pair$room
  )
  expect_equal(carol$room_id, pair$room)
  expect_equal(mx_client_load(path = here$path)$room_id, pair$room)
  for (client in list(carol, pair$bob)) {
    mx_isolation_mode(client, "all")
  }
  mx_send_text(carol, NULL, "to my room")
  expect_equal(new_bodies(pair$bob), "to my room")
})

test_that("a wrong password is refused and leaves nothing behind", {
  homeserver <- mx_demo_homeserver(users = "alice")
  here <- places()
  expect_error(
    configure(homeserver, "alice", here, password = "wrong"),
    class = "mx_error_M_FORBIDDEN"
  )
  expect_false(file.exists(here$path))
  expect_false(file.exists(here$store_dir))
})

test_that("the password is found in the environment, and else asked for", {
  homeserver <- mx_demo_homeserver(users = "alice")
  here <- places()
  withr::local_options(mxcrypt.keyring = FALSE)
  withr::local_envvar(MXCRYPT_PASSWORD = NA)
  condition <- expect_error(
    configure(homeserver, "alice", here),
    class = "mx_error_password"
  )
  expect_match(conditionMessage(condition), "MXCRYPT_PASSWORD")
  withr::local_envvar(MXCRYPT_PASSWORD = "demo")
  expect_s3_class(configure(homeserver, "alice", here), "mx_client")
  expect_no_match(readLines(here$path), "\"password\":")
})

test_that("another user's login is refused before anybody is signed in", {
  homeserver <- mx_demo_homeserver(users = c("alice", "bob"))
  here <- places()
  configure(homeserver, "alice", here, password = "demo")
  for (user in c("bob", "@bob:demo", "@alice:elsewhere.org")) {
    asked <- requests_during(
      expect_error(
        configure(homeserver, user, here, password = "demo"),
        class = "mx_error_store_binding"
      )
    )
    expect_false(any(grepl("login", asked)), info = user)
  }
  expect_equal(mx_client_load(path = here$path)$user_id, "@alice:demo")
})

test_that("another device is refused before anybody is signed in", {
  homeserver <- mx_demo_homeserver(users = "alice")
  here <- places()
  alice <- configure(homeserver, "alice", here, password = "demo")
  before <- readLines(here$path)
  asked <- requests_during(
    condition <- expect_error(
      configure(
        homeserver,
        "alice",
        here,
        password = "demo",
        device_id = "OTHER"
      ),
      class = "mx_error_store_binding"
    )
  )
  expect_match(conditionMessage(condition), alice$device_id)
  expect_false(any(grepl("login", asked)))
  expect_identical(readLines(here$path), before)
  expect_equal(signed_in_devices(alice)$device_id, alice$device_id)
})

test_that("a device whose keys are in another store is refused, and stays", {
  homeserver <- mx_demo_homeserver(users = c("alice", "bob"))
  bob <- mx_demo_client(homeserver, "bob")
  there <- places()
  named <- function(places) {
    configure(
      homeserver,
      "alice",
      places,
      password = "demo",
      device_id = "PIPELINE"
    )
  }
  first <- named(there)
  room <- mx_room_create(first, invite = bob$user_id)
  mx_room_join(bob, room)
  here <- places()
  condition <- expect_error(named(here), class = "mx_error_store_missing")
  expect_match(
    conditionMessage(condition),
    "mx_device_delete(client, \"PIPELINE\")",
    fixed = TRUE
  )
  expect_false(file.exists(here$path))
  # The device that has its store notices nothing, and no other one is left.
  mx_isolation_mode(bob, "all")
  mx_send_text(first, room, "still here")
  expect_equal(new_bodies(bob), "still here")
  expect_equal(signed_in_devices(first)$device_id, "PIPELINE")
  # The way out that the message names.
  unlink(there$store_dir, recursive = TRUE)
  second <- configure(homeserver, "alice", here, password = "demo")
  mx_device_delete(second, "PIPELINE", password = "demo", ask = FALSE)
  expect_equal(named(places())$device_id, "PIPELINE")
})

test_that("a login that fails in passing does not end the store's own device", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  again <- function() {
    mx_client_configure(
      fake$url,
      alice$user_id,
      "secret word",
      path = alice$path,
      store_dir = alice$store_dir
    )
  }
  fake$forget()
  fake$fault("GET", "/whoami", status = 502)
  expect_error(again(), class = "mx_error_http")
  expect_length(fake$seen("POST", "/logout"), 0)
  expect_equal(again()$device_id, alice$device_id)
})

test_that("a token of another device or user is refused, and left alone", {
  homeserver <- mx_demo_homeserver(users = c("alice", "bob"))
  here <- places()
  alice <- configure(homeserver, "alice", here, password = "demo")
  before <- readLines(here$path)
  bare <- list(server = demo_address(homeserver))
  for (user in c("alice", "bob")) {
    token <- log_in(bare, user, "demo", "ELSEWHERE", NULL)$access_token
    asked <- requests_during(
      expect_error(
        configure(homeserver, places = here, access_token = token),
        class = "mx_error_store_binding"
      )
    )
    expect_false(any(grepl("logout", asked)))
    expect_identical(readLines(here$path), before)
  }
  expect_equal(nrow(mx_rooms(alice)), 0)
})

test_that("a token that is none does not pass for the login that was there", {
  homeserver <- mx_demo_homeserver(users = "alice")
  here <- places()
  configure(homeserver, "alice", here, password = "demo")
  before <- readLines(here$path)
  withr::local_envvar(MXCRYPT_PASSWORD = "demo")
  expect_error(
    configure(homeserver, places = here, access_token = "nonsense"),
    class = "mx_error_M_UNKNOWN_TOKEN"
  )
  expect_identical(readLines(here$path), before)
  expect_equal(nrow(mx_rooms(mx_client_load(path = here$path))), 0)
})

test_that("a client works from wherever R goes", {
  homeserver <- mx_demo_homeserver(users = "alice")
  dir <- withr::local_tempdir()
  withr::with_dir(dir, {
    alice <- configure(
      homeserver,
      "alice",
      list(path = "matrix.json", store_dir = "crypto"),
      password = "demo"
    )
    room <- mx_room_create(alice)
    loaded <- mx_client_load(path = "matrix.json")
  })
  elsewhere <- withr::local_tempdir()
  withr::local_dir(elsewhere)
  for (client in list(alice, loaded)) {
    forget_open_stores()
    expect_error(mx_send_text(client, room, "hello"), NA)
  }
  expect_length(list.files(elsewhere), 0)
})

test_that("a token in the environment signs in, and is not written down", {
  homeserver <- mx_demo_homeserver(users = "alice")
  withr::local_options(mxcrypt.keyring = FALSE)
  bare <- list(server = demo_address(homeserver))
  token <- log_in(bare, "alice", "demo", "ELSEWHERE", NULL)$access_token
  withr::local_envvar(MXCRYPT_PASSWORD = NA, MXCRYPT_ACCESS_TOKEN = token)
  here <- places()
  for (user in list(NULL, "alice", "@alice:demo")) {
    alice <- configure(homeserver, user, here)
    expect_equal(alice$device_id, "ELSEWHERE")
    expect_no_match(readLines(here$path), token, fixed = TRUE)
    expect_null(config_at(here$path)[["token"]])
    expect_equal(nrow(mx_rooms(mx_client_load(path = here$path))), 0)
  }
  # Another user or device than the one that is named.
  expect_error(
    configure(homeserver, "bob", places()),
    class = "mx_error_store_binding"
  )
  expect_error(
    configure(homeserver, places = places(), device_id = "OTHER"),
    class = "mx_error_store_binding"
  )
  # What is given counts, and a password that is at hand.
  other <- configure(homeserver, "alice", places(), password = "demo")
  expect_false(other$device_id == "ELSEWHERE")
  expect_equal(session_token(other), config_at(other$path)[["token"]])
  withr::local_envvar(MXCRYPT_PASSWORD = "demo")
  other <- configure(homeserver, "alice", places())
  expect_false(other$device_id == "ELSEWHERE")
})

test_that("a token that is given must be that of the user who is named", {
  homeserver <- mx_demo_homeserver(users = c("alice", "bob"))
  bare <- list(server = demo_address(homeserver))
  token <- log_in(bare, "bob", "demo", "BOBS", NULL)$access_token
  here <- places()
  expect_error(
    configure(homeserver, "alice", here, access_token = token),
    "@bob:demo",
    class = "mx_error_store_binding"
  )
  expect_error(
    configure(homeserver, "bob", here, access_token = token, device_id = "X"),
    "BOBS",
    class = "mx_error_store_binding"
  )
  expect_false(file.exists(here$path))
  bob <- configure(homeserver, "bob", here, access_token = token)
  expect_equal(bob$device_id, "BOBS")
})

test_that("what does not go together is refused, before anybody is signed in", {
  homeserver <- mx_demo_homeserver(users = "alice")
  odd <- list(
    list(password = "demo", access_token = "a"),
    list(password = "demo", as_token = "a"),
    list(password = "demo", login_token = "a"),
    list(password = "demo", method = "oauth"),
    list(login_token = "a", method = "password"),
    list(access_token = "a", method = "oauth"),
    list(access_token = "a", as_token = "a"),
    list(as_token = "a", method = "password"),
    list(password = "demo", refresh_token = "a"),
    list(client_id = "a")
  )
  for (given in odd) {
    call <- c(list(homeserver, "alice", places()), given)
    asked <- requests_during(
      expect_error(do.call(configure, call), class = "mx_error_argument")
    )
    expect_false(any(grepl("POST", asked)))
  }
  alice <- mx_demo_client(homeserver, "alice")
  expect_error(
    mx_client_relogin(alice, password = "demo", method = "oauth"),
    class = "mx_error_argument"
  )
})

test_that("nobody is signed in where the configuration cannot be written", {
  homeserver <- mx_demo_homeserver(users = "alice")
  dir <- withr::local_tempdir()
  file <- file.path(dir, "file")
  file.create(file)
  for (path in c(dir, file.path(file, "matrix.json"))) {
    here <- list(path = path, store_dir = file.path(dir, "crypto"))
    asked <- requests_during(
      expect_error(
        configure(homeserver, "alice", here, password = "demo"),
        class = "mx_error"
      )
    )
    expect_false(any(grepl("login", asked)))
  }
})

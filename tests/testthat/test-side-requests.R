# What a caller did not ask for may fail, for a while or for good: the call does what it
# was asked.

side_pair <- function(.local_envir = parent.frame()) {
  withr::local_options(
    mxcrypt.max_tries = 1,
    mxcrypt.pause = 0.001,
    .local_envir = .local_envir
  )
  fake <- fake_homeserver()
  alice <- fake_client(fake, "alice", .local_envir = .local_envir)
  bob <- fake_client(fake, "bob", .local_envir = .local_envir)
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  mx_sync(alice)
  mx_sync(bob)
  list(fake = fake, alice = alice, bob = bob, room = room)
}

html <- "<html><body>Blocked by ACME Firewall</body></html>"

# As if a look for the version of the backup had failed: from here on each round of
# requests looks for it again.
look_for_backup <- function(machine) {
  number <- core(machine_number_request(machine))
  body <- charToRaw("{}")
  core(machine_backup_version_received(machine, number, 500L, body))
}

test_that("a broken backup, key upload or query does not fail a send", {
  pair <- side_pair()
  machine <- machine_of(pair$alice)
  answers <- list(
    list(status = 500, body = "{}"),
    list(status = 404, body = html),
    list(
      status = 405,
      body = "{\"errcode\":\"M_UNRECOGNIZED\",\"error\":\"no\"}"
    ),
    list(status = 403, body = html),
    list(status = 200, body = "{\"version\":\"1\"}"),
    list(status = 200, body = html)
  )
  sent <- character()
  warned <- character()
  for (answer in answers) {
    for (path in c("/room_keys/version", "/keys/upload")) {
      pair$fake$fault("", path, answer$status, answer$body, times = 100)
    }
    look_for_backup(machine)
    core(machine_set_one_time_key_target(machine, 51 + length(sent)))
    text <- paste("message", answer$status, length(sent))
    withCallingHandlers(
      mx_send_text(pair$alice, pair$room, text),
      warning = function(warning) {
        warned <<- c(warned, class(warning)[[1]])
        rlang::cnd_muffle(warning)
      }
    )
    sent <- c(sent, text)
    pair$fake$forget()
  }
  expect_equal(new_bodies(pair$bob), sent)
  # Told once for each kind of request, and not once for each message.
  expect_equal(unique(warned), "mx_warning_pump")
  expect_lte(length(warned), 2)
})

test_that("a failed side request is one warning, with what failed", {
  pair <- side_pair()
  look_for_backup(machine_of(pair$alice))
  pair$fake$fault("GET", "/room_keys/version", 502, html, times = 100)
  warning <- expect_warning(
    mx_send_text(pair$alice, pair$room, "hello"),
    class = "mx_warning_pump"
  )
  expect_equal(warning$kind, "backup_version")
  expect_equal(warning$status, 502)
  expect_match(conditionMessage(warning), "key backup")
  expect_no_warning(mx_send_text(pair$alice, pair$room, "again"))
  expect_no_warning(mx_sync(pair$alice))
  # It waits, and by itself.
  expect_length(pair$fake$seen("GET", "/room_keys/version"), 1)
  # Who asks for the backup is told that it is broken, and has it asked for at once.
  expect_match(mx_backup_status(pair$alice)$failure, "502")
  pair$fake$forget()
  expect_null(mx_backup_status(pair$alice)$failure)
})

test_that("what a call is for is raised when it fails", {
  pair <- side_pair()
  pair$fake$fault("POST", "/keys/query", 500, html, times = 100)
  condition <- expect_error(
    mx_devices(pair$alice, pair$bob$user_id),
    class = "mx_error_http"
  )
  expect_equal(condition$status, 500)
  pair$fake$forget()
  expect_equal(nrow(mx_devices(pair$alice, pair$bob$user_id)), 1)
  expect_error(
    {
      pair$fake$fault("POST", "/keys/upload", 403, html, times = 100)
      fake_client(pair$fake)
    },
    class = "mx_error_http"
  )
})

test_that("a segment that would lead to another path is refused", {
  pair <- side_pair()
  pair$fake$forget()
  for (odd in c("..", ".", "%2e%2E", "%252e%252e", "../x", "a\\..\\b")) {
    for (ask in list(
      function() api_path("rooms", odd),
      function() mx_send(pair$alice, pair$room, "{}", type = odd),
      function() mx_send_text(pair$alice, pair$room, "x", transaction_id = odd),
      function() mx_redact(pair$alice, pair$room, odd),
      function() mx_room_members(pair$alice, paste0("!", odd, "/../y")),
      function() mx_send_text(pair$alice, paste0("#/", odd), "x")
    )) {
      expect_error(ask(), class = "mx_error_argument", info = odd)
    }
  }
  expect_length(pair$fake$seen(), 0)
  expect_equal(mx_outbox(pair$alice)$number, numeric())
  expect_match(api_path("rooms", "...", "a.b"), "/rooms/\\.\\.\\./a\\.b$")
})

# Ctrl-C ends what waits for a server, at once and as an interrupt. curl takes the
# interrupt for itself and raises an error, which must not be taken for a lost
# connection.

skip_on_os("windows")
skip_on_cran()

# Runs `fun(path, ...)` in another R, which is interrupted once `is_waiting()`.
# Returns what it ended in, and how many seconds after the interrupt.
interrupted <- function(client, fun, ..., is_waiting) {
  skip_if_not_installed("callr")
  run <- function(fun, path, ...) {
    options(mxcrypt.pause = 60)
    tryCatch(
      {
        fun(mxcrypt::mx_client_load(path = path), ...)
        "returned"
      },
      interrupt = function(condition) "interrupt",
      error = function(condition) conditionMessage(condition)
    )
  }
  environment(run) <- globalenv()
  environment(fun) <- globalenv()
  process <- callr::r_bg(run, list(fun, client$path, ...))
  on.exit(process$kill())
  wait_for(is_waiting, 60)
  # The request is at the server; let R begin to wait for the response.
  Sys.sleep(0.5)
  process$interrupt()
  took <- elapsed(process$wait(60000))
  list(outcome = process$get_result(), took = took)
}

# The server answers after 60 seconds, and the next try would come 60 seconds
# later. What ends sooner than this was ended by the interrupt.
at_once <- 10

test_that("Ctrl-C ends a long poll of mx_listen() and mx_sync()", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  mx_sync(alice)
  polls <- list(
    function(client) mxcrypt::mx_listen(client, function(event, client) NULL),
    function(client) mxcrypt::mx_sync(client, timeout = 60000)
  )
  for (poll in polls) {
    fake$forget()
    fake$fault("GET", "/sync", delay = 60)
    is_waiting <- function() length(fake$seen("GET", "/sync")) > 0
    ended <- interrupted(alice, poll, is_waiting = is_waiting)
    expect_equal(ended$outcome, "interrupt")
    expect_lt(ended$took, at_once)
    # It was not asked again before R ended.
    expect_length(fake$seen("GET", "/sync"), 1)
  }
  room <- mx_room_create(alice)
  mx_send_text(alice, room, "still at work")
  expect_equal(new_bodies(alice), "still at work")
})

test_that("Ctrl-C ends the wait for another process that waits at the server", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  mx_sync(alice)
  fake$forget()
  seen <- core(machine_last_sync(machine_of(alice)))
  core(machine_lease_sync(machine_of(alice), seen, 60000, FALSE))
  begun <- withr::local_tempfile()
  wait <- function(client, begun) {
    file.create(begun)
    mxcrypt::mx_sync(client, timeout = 60000)
  }
  is_waiting <- function() file.exists(begun)
  ended <- interrupted(alice, wait, begun, is_waiting = is_waiting)
  expect_equal(ended$outcome, "interrupt")
  expect_lt(ended$took, at_once)
  expect_length(fake$seen("GET", "/sync"), 0)
})

test_that("Ctrl-C ends a send whose server does not answer, and loses nothing", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake)
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  mx_send_text(alice, room, "before")
  fake$forget()
  fake$fault("PUT", "/send/", delay = 60)
  ended <- interrupted(
    alice,
    function(client, room) mxcrypt::mx_send_text(client, room, "held up"),
    room,
    is_waiting = function() length(fake$seen("PUT", "/send/")) > 0
  )
  expect_equal(ended$outcome, "interrupt")
  expect_lt(ended$took, at_once)
  mx_send_text(alice, room, "after")
  expect_equal(new_bodies(bob), c("before", "held up", "after"))
})

test_that("Ctrl-C ends the pause before another try", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  fake$forget()
  fake$fault("GET", "/joined_rooms", status = 502, times = 9)
  ended <- interrupted(
    alice,
    function(client) mxcrypt::mx_rooms(client),
    is_waiting = function() length(fake$seen("GET", "/joined_rooms")) > 0
  )
  expect_equal(ended$outcome, "interrupt")
  expect_lt(ended$took, at_once)
  fake$forget()
  expect_equal(nrow(mx_rooms(alice)), 0)
})

test_that("Ctrl-C ends a download and an upload", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  is_waiting <- function() length(fake$seen("", "/slow|/upload")) > 0
  calls <- list(
    function(client) {
      mxcrypt:::http_perform(client, "GET", "/slow", file = tempfile())
    },
    function(client) {
      bytes <- list(bytes = raw(1e5), type = "image/png")
      mxcrypt:::http_perform(client, "POST", "/upload", content = bytes)
    }
  )
  for (call in calls) {
    fake$forget()
    fake$fault("", "/slow|/upload", delay = 60)
    ended <- interrupted(alice, call, is_waiting = is_waiting)
    expect_equal(ended$outcome, "interrupt")
    expect_lt(ended$took, at_once)
  }
})

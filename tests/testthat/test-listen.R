# Listens to what is there, and says what was heard.
hear <- function(client, ..., seconds = 0) {
  heard <- character()
  mx_listen(
    client,
    function(event, client) heard <<- c(heard, event$body),
    ...,
    seconds = seconds
  )
  heard
}

test_that("each event is handed to the handler once, in order, with the client", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, c("one", "two"))
  seen <- list()
  n <- expect_invisible(mx_listen(
    pair$bob,
    function(event, client) {
      seen[[length(seen) + 1]] <<- event
      expect_identical(client, pair$bob)
    },
    types = "m.room.message",
    seconds = 0
  ))
  expect_equal(n, 2)
  expect_named(seen[[1]], names(mx_sync(pair$bob)))
  expect_equal(seen[[1]]$body, "one")
  expect_equal(seen[[2]]$sender, pair$alice$user_id)
  expect_s3_class(seen[[1]]$origin_server_ts, "POSIXct")
  expect_equal(seen[[1]]$content[["msgtype"]], "m.text")
  expect_equal(hear(pair$bob), character())
})

test_that("an event whose handler failed comes again, and none before it", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, c("one", "two", "three"))
  tried <- character()
  fail_at <- function(text) {
    function(event, client) {
      tried <<- c(tried, event$body)
      if (event$body == text) {
        stop("handler failed")
      }
    }
  }
  messages <- "m.room.message"
  expect_error(
    mx_listen(pair$bob, fail_at("two"), types = messages, seconds = 0),
    "handler failed"
  )
  forget_open_stores()
  expect_error(
    mx_listen(pair$bob, fail_at("three"), types = messages, seconds = 0),
    "handler failed"
  )
  mx_listen(pair$bob, fail_at("none"), types = messages, seconds = 0)
  expect_equal(tried, c("one", "two", "two", "three", "three"))
})

test_that("own events and other types are left out, unless wanted", {
  pair <- demo_pair()
  hear(pair$bob, consumer = "all")
  mx_send_text(pair$bob, pair$room, "my own")
  mx_send_text(pair$alice, pair$room, "another's")
  expect_equal(hear(pair$bob, types = "m.room.message"), "another's")
  heard <- hear(
    pair$bob,
    types = "m.room.message",
    own = TRUE,
    consumer = "all"
  )
  expect_equal(heard, c("my own", "another's"))
  mx_react(pair$alice, pair$room, "$x", "!")
  types <- character()
  mx_listen(
    pair$bob,
    function(event, client) types <<- c(types, event$type),
    types = c("m.reaction", "m.room.message"),
    seconds = 0
  )
  expect_equal(types, "m.reaction")
})

test_that("each consumer has its own place", {
  pair <- demo_pair()
  messages <- "m.room.message"
  # From its first call on.
  hear(pair$bob, consumer = "a")
  hear(pair$bob, consumer = "b")
  mx_sync(pair$bob)
  mx_send_text(pair$alice, pair$room, "one")
  expect_equal(hear(pair$bob, types = messages, consumer = "a"), "one")
  expect_equal(hear(pair$bob, types = messages, consumer = "b"), "one")
  expect_equal(new_bodies(pair$bob), "one")
  mx_send_text(pair$alice, pair$room, "two")
  expect_equal(hear(pair$bob, types = messages, consumer = "b"), "two")
  expect_equal(hear(pair$bob, types = messages, consumer = "a"), "two")
  expect_equal(new_bodies(pair$bob), "two")
})

test_that("a handler may send, sync and read history", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, c("ping", "ping"))
  mx_listen(
    pair$bob,
    function(event, client) {
      mx_send_text(client, event$room_id, "pong", reply_to = event$event_id)
      mx_messages(client, event$room_id, limit = 1)
    },
    types = "m.room.message",
    seconds = 0
  )
  replies <- messages(mx_sync(pair$alice))
  expect_equal(replies$body, c("ping", "ping", "pong", "pong"))
  expect_equal(
    vapply(replies$relates_to[3:4], function(x) x[[1]][["event_id"]], ""),
    replies$event_id[1:2]
  )
})

test_that("an event that could not be read comes again when it can", {
  pair <- demo_pair()
  hear(pair$bob)
  mx_send_text(pair$alice, pair$room, "late")
  answer <- raw_sync(pair$bob)
  key <- json_decode(answer)[["to_device"]]
  hand_in(pair$bob, edit_json(answer, "to_device"))
  heard <- list()
  listen <- function() {
    keep <- function(event, client) heard[[length(heard) + 1]] <<- event
    mx_listen(pair$bob, keep, seconds = 0)
  }
  listen()
  hand_in(pair$bob, edit_json(raw_sync(pair$bob), "to_device", key))
  listen()
  expect_length(heard, 2)
  expect_equal(heard[[1]]$utd_reason, "unknown_session")
  expect_equal(heard[[2]]$body, "late")
  expect_equal(heard[[1]]$event_id, heard[[2]]$event_id)
})

test_that("listening ends after as many seconds as said", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  took <- elapsed(hear(alice, seconds = 0.5))
  expect_gte(took, 0.5)
  expect_lt(took, 2)
})

test_that("a server that is away for a while does not end a listener", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake)
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  mx_send_text(alice, room, "still there?")
  fake$fault("GET", "/sync", status = 502, body = "<html>")
  expect_warning(
    heard <- hear(bob, types = "m.room.message", seconds = 1.6),
    class = "mx_warning_network"
  )
  expect_equal(heard, "still there?")
  # What will not pass ends it.
  gone <- '{"errcode":"M_FORBIDDEN","error":"gone"}'
  fake$fault("GET", "/sync", status = 403, body = gone)
  expect_error(hear(bob, seconds = 5), class = "mx_error_M_FORBIDDEN")
})

outbox_pair <- function(.local_envir = parent.frame(), ...) {
  withr::local_options(
    mxcrypt.max_tries = 1,
    mxcrypt.pause = 0.001,
    .local_envir = .local_envir
  )
  fake <- fake_homeserver()
  alice <- fake_client(fake, "alice", .local_envir = .local_envir)
  bob <- fake_client(fake, "bob", .local_envir = .local_envir)
  room <- mx_room_create(alice, invite = bob$user_id, ...)
  mx_room_join(bob, room)
  mx_send_text(alice, room, "first")
  mx_sync(alice)
  mx_sync(bob)
  list(fake = fake, alice = alice, bob = bob, room = room)
}

forbidden <- "{\"errcode\":\"M_FORBIDDEN\",\"error\":\"You are not here.\"}"
event_path <- "/send/m.room"

test_that("the error of a message that waits says so, and where it is", {
  pair <- outbox_pair()
  pair$fake$fault("PUT", event_path, 502, "<html>")
  condition <- expect_error(
    mx_send_text(pair$alice, pair$room, "hello"),
    class = "mx_error_http"
  )
  expect_match(conditionMessage(condition), "stays in the outbox")
  expect_match(conditionMessage(condition), "mx_outbox()", fixed = TRUE)
  expect_equal(condition$status, 502)
  expect_equal(condition$event_ids, NA_character_)
  rows <- mx_outbox(pair$alice)
  expect_equal(rows$number, condition$numbers)
  expect_equal(rows$room_id, pair$room)
  expect_equal(rows$type, "m.room.message")
  expect_equal(rows$state, "sending")
  expect_equal(rows$attempts, 1)
  expect_match(rows$reason, "502")
  expect_equal(rows$body, "hello")
  expect_equal(rows$content[[1]]$body, "hello")
  expect_s3_class(rows$queued_at, "POSIXct")
  expect_lt(abs(as.numeric(Sys.time()) - as.numeric(rows$queued_at)), 600)
  # The next call sends it, once and in order.
  mx_send_text(pair$alice, pair$room, "after")
  expect_equal(new_bodies(pair$bob), c("hello", "after"))
  expect_equal(nrow(mx_outbox(pair$alice)), 0)
  expect_named(mx_outbox(pair$alice), names(rows))
})

test_that("a message of no network and one by a proxy's page are kept", {
  pair <- outbox_pair()
  for (status in c(403, 404, 407, 408, 413, 425, 429)) {
    pair$fake$fault("PUT", event_path, status, "<html>")
    condition <- expect_error(
      mx_send_text(pair$alice, pair$room, paste("status", status)),
      class = "mx_error_http"
    )
    expect_equal(condition$status, status)
    expect_match(conditionMessage(condition), "stays in the outbox")
    expect_s3_class(condition, "mx_error")
    mx_sync(pair$alice)
  }
  expect_length(new_bodies(pair$bob), 7)
  away <- pair$alice
  local_replaced("http_once", function(session, ...) {
    mx_abort("No response.", "mx_error_network")
  })
  condition <- expect_error(
    mx_send_text(away, pair$room, c("one", "two")),
    class = "mx_error_network"
  )
  expect_match(conditionMessage(condition), "2 messages stay in the outbox")
  expect_length(condition$numbers, 2)
})

test_that("terms that are not agreed to keep the message and name the page", {
  pair <- outbox_pair()
  body <- paste0(
    "{\"errcode\":\"M_CONSENT_NOT_GIVEN\",\"error\":\"Read the terms.\",",
    "\"consent_uri\":\"https://fake.example/terms\"}"
  )
  pair$fake$fault("PUT", event_path, 403, body)
  condition <- expect_error(
    mx_send_text(pair$alice, pair$room, "hello"),
    class = "mx_error_M_CONSENT_NOT_GIVEN"
  )
  expect_equal(condition$body$consent_uri, "https://fake.example/terms")
  expect_equal(condition$errcode, "M_CONSENT_NOT_GIVEN")
  expect_equal(mx_outbox(pair$alice)$errcode, "M_CONSENT_NOT_GIVEN")
  mx_sync(pair$alice)
  expect_equal(new_bodies(pair$bob), "hello")
})

test_that("a message refused in a later call is an event, and can be sent again", {
  for (later in c("sync", "listen", "send")) {
    pair <- outbox_pair()
    pair$fake$fault("PUT", event_path, 502, "<html>")
    condition <- expect_error(
      mx_send_text(pair$alice, pair$room, "hello"),
      class = "mx_error_http"
    )
    number <- condition$numbers
    pair$fake$fault("PUT", event_path, 403, forbidden)
    told <- list()
    handler <- function(event, client) told <<- c(told, list(event))
    if (later == "send") {
      # Another room's messages wait until the pause after their failure is over.
      Sys.sleep(1.1)
      other <- mx_room_create(pair$alice)
      mx_send_text(pair$alice, other, "elsewhere")
    }
    if (later == "listen") {
      mx_listen(pair$alice, handler, "mxcrypt.send_failed", seconds = 0)
      event <- told[[1]]
      content <- event$content
    } else {
      events <- mx_sync(pair$alice)
      event <- events[events$type == "mxcrypt.send_failed", ]
      expect_equal(nrow(event), 1)
      content <- event$content[[1]]
    }
    expect_equal(event$room_id, pair$room)
    expect_match(event$body, "You are not here.")
    expect_equal(content$number, number)
    expect_equal(content$errcode, "M_FORBIDDEN")
    expect_equal(content$content$body, "hello")
    rows <- mx_outbox(pair$alice)
    expect_equal(rows$state, "refused")
    expect_equal(rows$errcode, "M_FORBIDDEN")
    # Told once.
    if (later == "listen") {
      mx_listen(pair$alice, handler, "mxcrypt.send_failed", seconds = 0)
      expect_length(told, 1)
    } else {
      expect_false("mxcrypt.send_failed" %in% mx_sync(pair$alice)$type)
    }
    id <- mx_outbox_retry(pair$alice, number)
    expect_match(id, "^\\$")
    expect_equal(nrow(mx_outbox(pair$alice)), 0)
    events <- mx_sync(pair$bob)
    expect_equal(events$body[events$event_id == id], "hello")
  }
})

test_that("what its caller was told is not told again", {
  pair <- outbox_pair()
  pair$fake$fault("PUT", event_path, 403, forbidden)
  expect_error(
    mx_send_text(pair$alice, pair$room, "hello"),
    class = "mx_error_refused"
  )
  expect_equal(nrow(mx_outbox(pair$alice)), 0)
  events <- mx_sync(pair$alice)
  expect_false("mxcrypt.send_failed" %in% events$type)
  pair$fake$fault("PUT", event_path, 403, forbidden)
  expect_warning(
    ids <- mx_send_text(pair$alice, pair$room, c("one", "two")),
    class = "mx_warning_refused"
  )
  expect_equal(is.na(ids), c(TRUE, FALSE))
  expect_false("mxcrypt.send_failed" %in% mx_sync(pair$alice)$type)
})

test_that("a message is discarded, and what is not there is an error", {
  pair <- outbox_pair()
  pair$fake$fault("PUT", event_path, 502, "<html>")
  expect_error(mx_send_text(pair$alice, pair$room, c("one", "two")))
  rows <- mx_outbox(pair$alice)
  expect_equal(rows$body, c("one", "two"))
  for (odd in list(
    c(rows$number, 1e6),
    1e6,
    1.5,
    NA_real_,
    "x",
    rep(rows$number, 2)
  )) {
    expect_error(
      mx_outbox_discard(pair$alice, odd),
      class = "mx_error_argument"
    )
    expect_error(mx_outbox_retry(pair$alice, odd), class = "mx_error_argument")
  }
  gone <- mx_outbox_discard(pair$alice, rows$number[[1]])
  expect_equal(gone, rows$number[[1]])
  expect_equal(mx_outbox(pair$alice)$body, "two")
  id <- mx_outbox_retry(pair$alice, rows$number[[2]])
  expect_match(id, "^\\$")
  expect_equal(new_bodies(pair$bob), "two")
})

test_that("a send by name is kept during an outage as one by id is", {
  pair <- outbox_pair(name = "Night shift")
  local({
    local_replaced("http_once", function(session, ...) {
      mx_abort("No response.", "mx_error_network")
    })
    expect_error(
      mx_send_text(pair$alice, "Night shift", "by name"),
      class = "mx_error_network"
    )
  })
  expect_equal(mx_outbox(pair$alice)$body, "by name")
  mx_sync(pair$alice)
  expect_equal(new_bodies(pair$bob), "by name")
})

test_that("a name is resolved without a request for each room", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  named <- mx_room_create(alice, name = "Named")
  for (i in 1:3) {
    mx_room_create(alice)
  }
  mx_sync(alice)
  asked <- requests_during(mx_send_text(alice, "Named", "x"))
  expect_false(any(grepl("m.room.name|joined_rooms", asked)))
  # Where nothing is known, one sync tells of all.
  asked <- requests_during(try(
    mx_send_text(alice, "Unknown", "x"),
    silent = TRUE
  ))
  expect_length(grep("/sync", asked), 1)
  expect_length(asked, 1)
  # The room may be new.
  bob <- mx_demo_client(homeserver, "bob")
  mx_sync(bob)
  late <- mx_room_create(bob, name = "Late", invite = alice$user_id)
  mx_room_join(alice, late)
  id <- mx_send_text(alice, "Late", "x")
  expect_match(id, "^\\$")
})

test_that("a reaction goes out in the clear, and nothing else does", {
  pair <- demo_pair()
  id <- mx_send_text(pair$alice, pair$room, "done")
  reaction <- expect_invisible(
    mx_react(pair$bob, pair$room, id, "\U0001f44d")
  )
  mx_send(pair$bob, pair$room, list(body = "hidden"), type = "m.reaction")
  events <- mx_sync(pair$alice)
  event <- events[events$event_id == reaction, ]
  expect_equal(event$type, "m.reaction")
  expect_false(event$encrypted)
  expect_equal(
    event$relates_to[[1]],
    list(event_id = id, key = "\U0001f44d", rel_type = "m.annotation")
  )
  expect_true(events$encrypted[nrow(events)])
  expect_false(server_has_seen(pair$homeserver, "hidden"))
})

test_that("a reaction is encrypted on demand, and what it is about stands outside", {
  pair <- demo_pair()
  id <- mx_send_text(pair$alice, pair$room, "done")
  reaction <- mx_react(pair$bob, pair$room, id, "\U0001f44d", encrypt = TRUE)
  events <- mx_sync(pair$alice)
  event <- events[events$event_id == reaction, ]
  expect_equal(event$type, "m.reaction")
  expect_true(event$encrypted)
  seen <- mx_demo_requests(pair$homeserver)
  # Side requests come after it.
  wire <- json_decode(seen[[max(grep("ciphertext.*m.relates_to", seen))]])
  expect_equal(wire[["m.relates_to"]][["event_id"]], id)
  expect_false(any(grepl("m.reaction", seen, fixed = TRUE)))
})

test_that("mx_send() takes an event back as mx_redact() does", {
  pair <- demo_pair()
  id <- mx_send_text(pair$alice, pair$room, "not done")
  redaction <- mx_send(
    pair$alice,
    pair$room,
    list(redacts = id, reason = "too early"),
    type = "m.room.redaction"
  )
  events <- mx_sync(pair$bob)
  expect_true(events$redacted[events$event_id == id])
  notice <- events[events$event_id == redaction, ]
  expect_false(notice$encrypted)
  expect_equal(notice$redacts, id)
  expect_true(all(is.na(events$redacts[events$event_id != redaction])))
  expect_error(
    mx_send(pair$alice, pair$room, list(), type = "m.room.redaction"),
    class = "mx_error_json"
  )
  expect_error(
    mx_send(pair$alice, pair$room, list(a = 1), type = "m.room.redaction"),
    "redacts"
  )
})

test_that("in the open a reaction is one, too", {
  pair <- demo_pair(encrypted = FALSE)
  id <- mx_send_text(pair$alice, pair$room, "done")
  mx_react(pair$bob, pair$room, id, "yes")
  events <- mx_sync(pair$alice)
  expect_equal(events$type[nrow(events)], "m.reaction")
  expect_false(events$encrypted[nrow(events)])
})

test_that("an event that was taken back is not there to be read", {
  for (encrypted in c(TRUE, FALSE)) {
    pair <- demo_pair(encrypted = encrypted)
    id <- mx_send_text(pair$alice, pair$room, "not done")
    redaction <- expect_invisible(
      mx_redact(pair$alice, pair$room, id, reason = "too early")
    )
    events <- mx_sync(pair$bob)
    taken <- events[events$event_id == id, ]
    expect_true(taken$redacted)
    expect_true(is.na(taken$body))
    expect_true(is.na(taken$utd_reason))
    notice <- events[events$event_id == redaction, ]
    expect_equal(notice$type, "m.room.redaction")
    expect_equal(notice$content[[1]][["reason"]], "too early")
    expect_match(mx_redact(pair$alice, pair$room, redaction), "^\\$")
  }
})

test_that("what goes to one event goes behind the messages before it", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  id <- mx_send_text(alice, room, "one")
  fake$fault("PUT", "/send/", status = 502)
  expect_error(mx_send_text(alice, room, "two"), class = "mx_error_http")
  mx_redact(alice, room, id)
  events <- mx_sync(alice)
  types <- events$type[nrow(events) - 1:0]
  expect_equal(types, c("m.room.message", "m.room.redaction"))
})

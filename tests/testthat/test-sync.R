columns <- c(
  room_id = "character",
  event_id = "character",
  type = "character",
  sender = "character",
  origin_server_ts = "POSIXct",
  body = "character",
  msgtype = "character",
  content = "list",
  relates_to = "list",
  encrypted = "logical",
  decrypted = "logical",
  utd_reason = "character",
  trust = "mx_trust",
  sender_verified = "logical",
  session_id = "character",
  is_self = "logical",
  mentions = "list"
)

expect_columns <- function(events) {
  expect_s3_class(events, c("mx_events", "data.frame"), exact = TRUE)
  expect_equal(names(events)[seq_along(columns)], names(columns))
  classes <- vapply(events[names(columns)], function(x) class(x)[[1]], "")
  expect_equal(classes, columns)
}

test_that("events are a data frame of stable columns, also when there are none", {
  pair <- demo_pair()
  before <- Sys.time()
  id <- mx_send_text(
    pair$alice,
    pair$room,
    "hello",
    mentions = pair$bob$user_id
  )
  events <- mx_sync(pair$bob)
  expect_columns(events)
  expect_columns(mx_sync(pair$bob))
  expect_equal(nrow(mx_sync(pair$bob)), 0)
  expect_columns(mx_messages(pair$bob, pair$room))

  event <- events[events$type == "m.room.message", ]
  expect_equal(event$event_id, id)
  expect_equal(event$room_id, pair$room)
  expect_equal(event$sender, pair$alice$user_id)
  expect_lt(abs(difftime(event$origin_server_ts, before, units = "secs")), 60)
  expect_equal(event$msgtype, "m.text")
  expect_true(event$encrypted && event$decrypted)
  expect_equal(event$utd_reason, NA_character_)
  expect_equal(as.character(event$trust), "signed")
  expect_false(event$sender_verified)
  expect_match(event$session_id, "^[A-Za-z0-9+/]{43}$")
  expect_false(event$is_self)
  expect_equal(event$mentions[[1]], pair$bob$user_id)

  state <- events[1, ]
  expect_false(state$encrypted || state$decrypted)
  expect_equal(as.character(state$trust), "none")
  expect_equal(state$session_id, NA_character_)
})

test_that("one's own messages come back and can be read", {
  pair <- demo_pair()
  id <- mx_send_text(pair$alice, pair$room, "note to self")
  forget_open_stores()
  events <- messages(mx_sync(pair$alice))
  expect_equal(events$event_id, id)
  expect_equal(events$body, "note to self")
  expect_true(events$is_self)
  expect_true(events$decrypted)
})

test_that("what was returned is dealt with at the next call, and not before", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, c("one", "two", "three"))
  mx_sync(pair$bob, limit = 9)
  expect_equal(new_bodies(pair$bob), c("one", "two", "three"))
  expect_equal(new_bodies(pair$bob), character())

  mx_send_text(pair$alice, pair$room, c("four", "five", "six"))
  expect_equal(mx_sync(pair$bob, limit = 2)$body, c("four", "five"))
  expect_equal(mx_sync(pair$bob, limit = 2)$body, "six")
})

test_that("sending consumes nothing", {
  pair <- demo_pair()
  mx_sync(pair$bob)
  mx_send_text(pair$alice, pair$room, "question")
  mx_send_text(pair$bob, pair$room, "answer")
  mx_rooms(pair$bob)
  mx_messages(pair$bob, pair$room)
  expect_equal(new_bodies(pair$bob), c("question", "answer"))
})

test_that("a client that was away reads everything, in order and without a gap", {
  pair <- demo_pair()
  mx_sync(pair$bob)
  texts <- as.character(1:130)
  mx_send_text(pair$alice, pair$room, texts)
  mx_send_text(pair$alice, pair$room, "last")
  expect_equal(new_bodies(pair$bob), c(texts, "last"))
})

test_that("an event whose key comes late comes again, with the same id", {
  pair <- demo_pair()
  mx_sync(pair$bob)
  ids <- mx_send_text(pair$alice, pair$room, c("one", "two"))
  answer <- raw_sync(pair$bob)
  key <- json_decode(answer)[["to_device"]]
  hand_in(pair$bob, edit_json(answer, "to_device"))
  waiting <- messages(mx_sync(pair$bob))
  expect_equal(waiting$event_id, ids)
  expect_equal(waiting$utd_reason, rep("unknown_session", 2))
  expect_equal(waiting$body, c(NA_character_, NA_character_))
  expect_equal(waiting$type, rep("m.room.encrypted", 2))
  expect_true(all(nzchar(waiting$utd_message)))

  # Also after a restart.
  forget_open_stores()
  later <- edit_json(raw_sync(pair$bob), "to_device", key)
  hand_in(pair$bob, later)
  events <- messages(mx_sync(pair$bob))
  expect_equal(events$event_id, ids)
  expect_equal(events$body, c("one", "two"))
  expect_equal(events$utd_reason, c(NA_character_, NA_character_))
  expect_equal(new_bodies(pair$bob), character())
})

test_that("one bad event costs only itself, and is told", {
  pair <- demo_pair()
  mx_sync(pair$bob)
  mx_send_text(pair$alice, pair$room, c("one", "two"))
  answer <- raw_sync(pair$bob)
  timeline <- c("rooms", "join", pair$room, "timeline", "events")
  events <- json_decode(answer)[["rooms"]][["join"]][[pair$room]]
  events <- events[["timeline"]][["events"]]
  good <- events[[1]]
  bad <- list(
    5,
    list(),
    edit(good, "event_id", 5),
    edit(good, "sender", NULL),
    edit(good, "content", list()),
    edit(good, "content", as_object(list())),
    edit(good, "event_id", strrep("x", 300)),
    edit(good, "origin_server_ts", "yesterday")
  )
  bad_to_device <- list(
    5,
    list(type = "m.room.encrypted"),
    list(
      type = "m.room.encrypted",
      sender = "@a:b",
      content = list(algorithm = "x")
    ),
    list(type = "m.room_key", sender = "@a:b", content = list(room_id = "x"))
  )
  to_device <- json_decode(answer)[["to_device"]][["events"]]
  answer <- edit_json(answer, timeline, c(bad, events))
  answer <- edit_json(
    answer,
    c("to_device", "events"),
    c(bad_to_device, to_device)
  )
  read <- hand_in(pair$bob, answer)
  expect_equal(vapply(read$events, function(x) x$body, ""), c("one", "two"))
  rows <- mx_sync(pair$bob)
  expect_true(all(c("one", "two") %in% rows$body))
  expect_gte(sum(rows$utd_reason %in% "malformed_event"), 6)
})

test_that("a ciphertext that is shown again, or in another room, is refused", {
  pair <- demo_pair()
  mx_sync(pair$bob)
  other <- mx_room_create(pair$alice, invite = pair$bob$user_id)
  mx_room_join(pair$bob, other)
  mx_send_text(pair$alice, pair$room, "transfer 100")
  answer <- raw_sync(pair$bob)
  timeline <- c("rooms", "join", pair$room, "timeline", "events")
  event <- json_decode(answer)[["rooms"]][["join"]][[pair$room]][["timeline"]][[
    "events"
  ]][[1]]
  again <- edit(event, "event_id", "$replayed")
  later <- edit(event, "origin_server_ts", event[["origin_server_ts"]] + 1)
  elsewhere <- edit(event, "event_id", "$elsewhere")
  mallory <- edit(
    edit(event, "event_id", "$mallory"),
    "sender",
    "@mallory:demo"
  )
  answer <- edit_json(
    answer,
    timeline,
    list(event, again, event, later, mallory)
  )
  answer <- edit_json(
    answer,
    c("rooms", "join", other, "timeline", "events"),
    list(elsewhere)
  )
  hand_in(pair$bob, answer)
  rows <- messages(mx_sync(pair$bob))
  of <- function(id) rows$utd_reason[rows$event_id == id]
  expect_equal(of("$replayed"), "replayed")
  expect_equal(of("$elsewhere"), "unknown_session")
  expect_equal(of("$mallory"), "sender_mismatch")
  # The server may repeat an event, and may say another time of it: it is
  # delivered once, as it was said first.
  delivered <- rows[rows$event_id == event[["event_id"]], ]
  expect_equal(delivered$body, "transfer 100")
  expect_equal(
    as.numeric(delivered$origin_server_ts) * 1000,
    event[["origin_server_ts"]]
  )
})

test_that("an answer that is no sync changes nothing", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  mx_sync(alice)
  token <- core(machine_sync_token(machine_of(alice)))
  mx_send_text(alice, room, "kept")
  for (body in c(
    "",
    "{}",
    "[]",
    "<html>",
    '{"next_batch":5}',
    '{"next_batch":""}'
  )) {
    fake$fault("GET", "/sync", body = body)
    expect_error(mx_sync(alice), class = "mx_error_answer")
    expect_equal(core(machine_sync_token(machine_of(alice))), token)
  }
  expect_equal(new_bodies(alice), "kept")
})

test_that("what was received is returned even when what follows fails", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  forbidden <- '{"errcode":"M_FORBIDDEN","error":"no"}'
  for (status in c(500, 502, 403, 429)) {
    bob <- fake_client(fake)
    room <- mx_room_create(alice, invite = bob$user_id)
    mx_room_join(bob, room)
    mx_send_text(alice, room, "one")
    fake$fault("POST", "/keys/", status = status, body = forbidden, times = 9)
    core(machine_refresh_devices(machine_of(bob), alice$user_id))
    expect_warning(events <- mx_sync(bob), class = "mx_warning_pump")
    expect_s3_class(events, "mx_events")
    fake$forget()
  }
})

test_that("each consumer of mx_sync() sees all events", {
  pair <- demo_pair()
  shown <- function(consumer) {
    messages(mx_sync(pair$bob, consumer = consumer))$body
  }
  shown("one")
  shown("two")
  mx_send_text(pair$alice, pair$room, "first")
  expect_equal(shown("one"), "first")
  mx_send_text(pair$alice, pair$room, "second")
  expect_equal(shown("two"), c("first", "second"))
  expect_equal(shown("one"), "second")
  expect_equal(shown("two"), character())
  for (odd in list("", NA_character_, 1, c("a", "b"), NULL)) {
    condition <- catch(mx_sync(pair$bob, consumer = odd))
    expect_s3_class(condition, "mx_error_argument")
    expect_match(conditionMessage(condition), "`consumer`", fixed = TRUE)
  }
})

test_that("what is in the store is returned before the server may wait", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  room <- mx_room_create(alice)
  mx_sync(alice)
  mx_sync(alice, consumer = "viewer")
  waits <- noted_waits()
  mx_sync(alice, timeout = 30000, consumer = "viewer")
  expect_equal(waits(), 30000)
  mx_send_text(alice, room, "hello")
  mx_sync(alice)
  waits()
  events <- mx_sync(alice, timeout = 30000, consumer = "viewer")
  expect_equal(waits(), 0)
  expect_equal(events$body, "hello")
  mx_sync(alice, timeout = 30000, consumer = "viewer")
  expect_equal(waits(), 30000)
})

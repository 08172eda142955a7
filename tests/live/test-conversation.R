# Two devices of this package, and a foreign client, through a real homeserver.

test_that("two R clients talk both ways in an encrypted room", {
  alice <- live_client()
  bob <- live_client()
  room <- mx_room_create(alice, name = "talk", invite = bob$user_id)
  mx_room_join(bob, room)

  mx_send_text(alice, room, c("one", "two"))
  events <- messages(mx_sync(bob))
  expect_equal(events$body, c("one", "two"))
  expect_true(all(events$encrypted & events$decrypted))
  expect_equal(unique(events$sender), alice$user_id)

  mx_send_text(bob, room, "three")
  events <- messages(mx_sync(alice))
  expect_equal(events$body, c("one", "two", "three"))
  expect_equal(events$is_self, c(TRUE, TRUE, FALSE))
})

test_that("a foreign client reads us and is read by us, in its room", {
  alice <- live_client()
  them <- live_stranger()
  room <- them$call(
    "createRoom",
    invite = list(alice$user_id),
    encrypted = TRUE
  )
  mx_room_join(alice, room)
  them$call("waitForMember", roomId = room, userId = alice$user_id)

  # Several messages before the first answer: all but the first are of a session
  # whose one-time key is used up already.
  mx_send_text(alice, room, c("one", "two", "three"))
  for (text in c("one", "two", "three")) {
    event <- them$call("waitForMessage", roomId = room, body = text)
    expect_true(event[["encrypted"]])
    expect_null(event[["failure"]])
  }
  for (text in c("four", "five", "six")) {
    them$call("sendText", roomId = room, body = text)
  }
  expect_equal(wait_for_bodies(alice, "six"), c("four", "five", "six"))

  # After a restart of our side: nothing of the session is in memory.
  forget_open_stores()
  again <- mx_client_load(path = alice$path)
  mx_send_text(again, room, "seven")
  event <- them$call("waitForMessage", roomId = room, body = "seven")
  expect_null(event[["failure"]])
  them$call("sendText", roomId = room, body = "eight")
  expect_equal(wait_for_bodies(again, "eight"), "eight")
})

test_that("a foreign client reads us and is read by us, in our room", {
  alice <- live_client()
  them <- live_stranger()
  room <- mx_room_create(alice, invite = them$user_id)
  mx_send_text(alice, room, "before you came")
  them$call("join", roomId = room)
  event <- them$call("waitForMessage", roomId = room, body = "before you came")
  expect_null(event[["failure"]])
  them$call("sendText", roomId = room, body = "thank you")
  expect_equal(wait_for_bodies(alice, "thank you"), "thank you")
})

test_that("a second device that signs in later reads what comes then", {
  alice <- live_client()
  user <- live_user("second")
  first <- foreign_client(user$user, user$password)
  room <- mx_room_create(alice, invite = user$user_id)
  first$call("join", roomId = room)
  mx_send_text(alice, room, "to one device")
  first$call("waitForMessage", roomId = room, body = "to one device")

  second <- foreign_client(user$user, user$password)
  mx_sync(alice)
  mx_send_text(alice, room, "to two devices")
  for (device in list(first, second)) {
    event <- device$call(
      "waitForMessage",
      roomId = room,
      body = "to two devices"
    )
    expect_null(event[["failure"]])
  }
  second$call("sendText", roomId = room, body = "from the second")
  expect_equal(wait_for_bodies(alice, "from the second"), "from the second")
})

test_that("tables, mentions, replies and reactions arrive as such", {
  alice <- live_client()
  them <- live_stranger()
  room <- mx_room_create(alice, invite = them$user_id)
  them$call("join", roomId = room)
  id <- mx_send_table(alice, room, head(cars, 2), title = "Cars")
  table <- them$call("waitForMessage", roomId = room, eventId = id)
  expect_match(table[["content"]][["formatted_body"]], "<td>4</td><td>2</td>")

  id <- mx_send_text(alice, room, "see", reply_to = id, mentions = them$user_id)
  text <- them$call("waitForMessage", roomId = room, eventId = id)
  expect_equal(
    text[["content"]][["m.mentions"]][["user_ids"]][[1]],
    them$user_id
  )
  relation <- text[["wire"]][["content"]][["m.relates_to"]]
  expect_equal(relation[["m.in_reply_to"]][["event_id"]], table[["event_id"]])

  reaction <- mx_react(alice, room, id, "\U0001f44d")
  event <- them$call("waitForMessage", roomId = room, eventId = reaction)
  expect_equal(event[["type"]], "m.reaction")
  expect_equal(event[["wire"]][["type"]], "m.reaction")
})

test_that("integers up to 2^53 - 1 reach a foreign client and come back", {
  alice <- live_client()
  them <- live_stranger()
  room <- mx_room_create(alice, invite = them$user_id)
  them$call("join", roomId = room)
  numbers <- c(2^53 - 1, -(2^53 - 1), 2^31, -2^31, 1.7e12, 0)
  content <- list(numbers = numbers)
  id <- mx_send(alice, room, content, type = "org.example.numbers")
  event <- them$call("waitForMessage", roomId = room, eventId = id)
  expect_equal(as.numeric(unlist(event[["content"]][["numbers"]])), numbers)
  own <- mx_messages(alice, room)
  own <- own$content[[which(own$event_id == id)]]
  expect_identical(as.numeric(unlist(own[["numbers"]])), numbers)
})

test_that("the server only ever held ciphertext", {
  alice <- live_client()
  room <- mx_room_create(alice)
  mx_send_text(alice, room, "the unmistakable plaintext of this test")
  rows <- synapse_sql(
    live_synapse(),
    "SELECT json FROM event_json WHERE json LIKE '%m.room.encrypted%'"
  )
  expect_gt(nrow(rows), 0)
  everything <- synapse_sql(live_synapse(), "SELECT json FROM event_json")
  expect_false(any(grepl(
    "unmistakable plaintext",
    everything[[1]],
    fixed = TRUE
  )))
})

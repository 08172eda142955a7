test_that("a room is encrypted from its first event on, unless told not to", {
  pair <- demo_pair()
  plain <- mx_room_create(pair$alice, encrypted = FALSE)
  rooms <- mx_rooms(pair$alice)
  expect_equal(
    rooms$encrypted[match(c(pair$room, plain), rooms$room_id)],
    c(TRUE, FALSE)
  )
  state <- room_state(pair$alice, pair$room, "m.room.encryption")
  expect_equal(state[["algorithm"]], "m.megolm.v1.aes-sha2")
})

test_that("name, topic, alias, invitations and access are as told", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  bob <- mx_demo_client(homeserver, "bob")
  room <- mx_room_create(
    alice,
    name = "D\u00e9j\u00e0 \"vu\" %s",
    topic = "nightly",
    alias = "vu",
    public = TRUE
  )
  expect_match(room, "^!")
  expect_equal(
    room_text(alice, room, "m.room.name", "name"),
    "D\u00e9j\u00e0 \"vu\" %s"
  )
  expect_equal(room_text(alice, room, "m.room.topic", "topic"), "nightly")
  expect_equal(expect_invisible(mx_room_join(bob, "#vu:demo")), room)
  # Nobody was invited into a room of one's own.
  own <- mx_room_create(alice)
  expect_error(mx_room_join(bob, own), class = "mx_error_M_FORBIDDEN")
  expect_error(
    mx_room_create(alice, alias = "vu"),
    class = "mx_error_http"
  )
})

test_that("people are invited, come and go", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  bob <- mx_demo_client(homeserver, "bob")
  room <- mx_room_create(alice, name = "Pipeline")
  expect_null(expect_invisible(mx_room_invite(alice, "Pipeline", bob$user_id)))
  expect_equal(mx_room_members(alice, room)$membership, c("join", "invite"))
  events <- mx_sync(bob)
  expect_equal(events$type, "m.room.member")
  expect_equal(events$sender, alice$user_id)
  rooms <- mx_rooms(bob)
  expect_equal(rooms$inviter, alice$user_id)
  expect_equal(rooms$name, "Pipeline")
  expect_true(rooms$encrypted)

  mx_room_join(bob, room)
  members <- mx_room_members(alice, "Pipeline")
  expect_equal(members$user_id, c(alice$user_id, bob$user_id))
  expect_equal(members$display_name, c("alice", "bob"))
  expect_equal(members$membership, c("join", "join"))
  expect_null(expect_invisible(mx_room_leave(bob, room)))
  expect_equal(mx_room_members(alice, room)$user_id, alice$user_id)
  expect_equal(nrow(mx_rooms(bob)), 0)
  expect_error(mx_send_text(bob, room, "x"), class = "mx_error")
})

test_that("who is invited, or joins, reads the next message at once", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "before")
  carol <- mx_demo_client(pair$homeserver, "carol")
  mx_room_invite(pair$alice, pair$room, carol$user_id)
  # No sync has told alice.
  mx_send_text(pair$alice, pair$room, "invited")
  mx_room_join(carol, pair$room)
  mx_send_text(pair$alice, pair$room, "joined")
  events <- messages(mx_sync(carol))
  expect_equal(
    events$body[events$decrypted],
    c("invited", "joined")
  )
  # Its key came, but from a later index on.
  expect_equal(events$utd_reason[!events$decrypted], "unknown_index")
})

test_that("who has left cannot read what is said afterwards", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "together")
  mx_sync(pair$bob)
  mx_room_leave(pair$bob, pair$room)
  mx_sync(pair$alice)
  mx_send_text(pair$alice, pair$room, "alone")
  mx_room_invite(pair$alice, pair$room, pair$bob$user_id)
  mx_room_join(pair$bob, pair$room)
  mx_send_text(pair$alice, pair$room, "together again")
  events <- messages(mx_messages(pair$bob, pair$room))
  expect_equal(
    events$body[events$decrypted],
    c("together", "together again")
  )
  expect_length(unique(events$session_id), 2)
})

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
  withr::local_options(mxcrypt.pause = 0)
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

test_that("an invitation is found by its name", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  bob <- mx_demo_client(homeserver, "bob")
  room <- mx_room_create(alice, "Pipeline", invite = bob$user_id)
  # No sync has told bob, and a name that is not exactly this one is no guess.
  condition <- expect_error(
    mx_room_join(bob, "pipe line"),
    class = "mx_error_room"
  )
  expect_match(conditionMessage(condition), "Did you mean \"Pipeline\"")
  expect_equal(mx_rooms(bob)$membership, "invite")
  expect_equal(expect_invisible(mx_room_join(bob, "Pipeline")), room)
  expect_equal(mx_room_join(bob, "Pipeline"), room)
  # An invitation comes before a room that was joined already.
  second <- mx_room_create(alice, "Pipeline", invite = bob$user_id)
  expect_equal(mx_room_join(bob, "Pipeline"), second)
})

test_that("of two invitations of one name neither is joined", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  bob <- mx_demo_client(homeserver, "bob")
  mallory <- mx_demo_client(homeserver, "mallory")
  one <- mx_room_create(alice, "Payroll", invite = bob$user_id)
  two <- mx_room_create(mallory, "Payroll", invite = bob$user_id)
  condition <- expect_error(
    mx_room_join(bob, "Payroll"),
    class = "mx_error_room"
  )
  for (told in c(one, two, "@alice:demo invites", "@mallory:demo invites")) {
    expect_match(conditionMessage(condition), told, fixed = TRUE)
  }
  expect_equal(mx_rooms(bob)$membership, c("invite", "invite"))
})

test_that("who joins right after an invitation gets in, once it has come", {
  withr::local_options(mxcrypt.pause = 0.01)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake)
  forbidden <- '{"errcode":"M_FORBIDDEN","error":"You are not invited."}'
  unknown <- '{"errcode":"M_UNKNOWN","error":"No known servers."}'
  not_found <- '{"errcode":"M_NOT_FOUND","error":"Unknown room."}'
  room <- mx_room_create(alice, invite = bob$user_id)
  fake$forget()
  fake$fault("POST", "/join/", status = 403, body = forbidden, times = 2)
  fake$fault("POST", "/join/", status = 404, body = unknown)
  fake$fault("POST", "/join/", status = 404, body = not_found)
  expect_equal(mx_room_join(bob, room), room)
  expect_length(fake$seen("POST", "/join/"), 5)
})

test_that("a refusal that stays is an error after some tries, others at once", {
  withr::local_options(mxcrypt.pause = 0.01)
  fake <- fake_homeserver()
  bob <- fake_client(fake)
  refused <- function(status, code, room = "!none:fake") {
    body <- sprintf('{"errcode":"%s","error":"no"}', code)
    fake$forget()
    fake$fault("POST", "/join/", status = status, body = body, times = 99)
    expect_error(mx_room_join(bob, room), class = paste0("mx_error_", code))
    length(fake$seen("POST", "/join/"))
  }
  expect_equal(refused(403, "M_FORBIDDEN"), 5)
  expect_equal(refused(404, "M_NOT_FOUND"), 5)
  expect_equal(refused(404, "M_NOT_FOUND", "#none:fake"), 1)
  expect_equal(refused(403, "M_CONSENT_NOT_GIVEN"), 1)
  expect_equal(refused(404, "M_UNRECOGNIZED"), 1)
  expect_equal(refused(400, "M_BAD_STATE"), 1)
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

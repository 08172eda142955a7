# Rooms that were replaced, made by hand on the demo homeserver.

tombstone <- function(client, room, successor) {
  content <- list(body = "moved", replacement_room = successor)
  mx_room_set_state(client, room, "m.room.tombstone", content)
}

# A room that says which one it replaces.
successor_of <- function(client, old, invite = "@bob:demo", encrypted = TRUE) {
  encryption <- list(list(
    type = "m.room.encryption",
    state_key = "",
    content = megolm_content()
  ))
  body <- list(
    invite = I(invite),
    creation_content = list(predecessor = list(room_id = old)),
    initial_state = if (encrypted) encryption else list()
  )
  http_json(client, "POST", api_path("createRoom"), body)[["room_id"]]
}

expect_not_followed <- function(client, room, reason, ...) {
  condition <- expect_error(
    mx_room_follow(client, room, ...),
    class = "mx_error_upgrade"
  )
  expect_equal(condition[["reason"]], reason)
}

is_in <- function(client, room) {
  joined <- http_json(client, "GET", api_path("joined_rooms"))
  room %in% unlist(joined[["joined_rooms"]])
}

test_that("an upgraded room is followed, and the message comes through", {
  pair <- demo_pair()
  expect_not_followed(pair$bob, pair$room, "not_upgraded")
  new <- successor_of(pair$alice, pair$room)
  tombstone(pair$alice, pair$room, new)
  events <- mx_sync(pair$bob)
  event <- events[events$type == "m.room.tombstone", ]
  expect_equal(event$room_id, pair$room)
  expect_equal(event$content[[1]][["replacement_room"]], new)
  rooms <- mx_rooms(pair$bob)
  expect_equal(rooms$successor[rooms$room_id == pair$room], new)
  expect_false(is_in(pair$bob, new))
  expect_equal(mx_room_follow(pair$bob, pair$room), new)
  expect_equal(mx_room_follow(pair$bob, pair$room), new)
  mx_send_text(pair$bob, new, "here I am")
  expect_equal(new_bodies(pair$alice), "here I am")
  expect_false(server_has_seen(pair$homeserver, "here I am"))
})

test_that("who sends into an upgraded room is warned, once", {
  pair <- demo_pair()
  new <- successor_of(pair$alice, pair$room)
  tombstone(pair$alice, pair$room, new)
  expect_no_warning(mx_send_text(pair$bob, pair$room, "not known yet"))
  mx_sync(pair$bob)
  condition <- expect_warning(
    mx_send_text(pair$bob, pair$room, "known"),
    class = "mx_warning_room_upgraded"
  )
  expect_equal(condition[["successor"]], new)
  expect_equal(condition[["room_id"]], pair$room)
  expect_match(conditionMessage(condition), new, fixed = TRUE)
  expect_no_warning(mx_send_text(pair$bob, pair$room, "again"))
  # Another room, and another successor, are told of by themselves.
  other <- successor_of(pair$alice, pair$room)
  tombstone(pair$alice, pair$room, other)
  mx_sync(pair$bob)
  condition <- expect_warning(
    mx_react(pair$bob, pair$room, "$event", "x"),
    class = "mx_warning_room_upgraded"
  )
  expect_equal(condition[["successor"]], other)
  # One that names no room takes it back.
  mx_room_set_state(pair$alice, pair$room, "m.room.tombstone", "{}")
  mx_sync(pair$bob)
  expect_no_warning(mx_send_text(pair$bob, pair$room, "taken back"))
  expect_not_followed(pair$bob, pair$room, "no_successor")
})

test_that("only who may upgrade a room is followed", {
  pair <- demo_pair()
  new <- successor_of(pair$bob, pair$room, "@alice:demo")
  tombstone(pair$bob, pair$room, new)
  # The demo homeserver lets anybody set state; the power levels now do not.
  levels <- list(state_default = 50, users = list("@alice:demo" = 100))
  mx_room_set_state(pair$alice, pair$room, "m.room.power_levels", levels)
  expect_not_followed(pair$alice, pair$room, "not_allowed")
  expect_false(is_in(pair$alice, new))
})

test_that("a room that does not say what it replaces is left again", {
  pair <- demo_pair()
  alone <- mx_room_create(pair$alice, invite = pair$bob$user_id)
  other <- successor_of(pair$alice, alone)
  for (new in c(alone, other)) {
    tombstone(pair$alice, pair$room, new)
    expect_not_followed(pair$bob, pair$room, "other_predecessor")
    expect_false(is_in(pair$bob, new))
  }
  # One in which the user was anyway stays joined.
  mx_room_invite(pair$alice, other, pair$bob$user_id)
  mx_room_join(pair$bob, other)
  expect_not_followed(pair$bob, pair$room, "other_predecessor")
  expect_true(is_in(pair$bob, other))
  tombstone(pair$alice, pair$room, pair$room)
  expect_not_followed(pair$bob, pair$room, "no_successor")
})

test_that("encryption is not lost on the way", {
  pair <- demo_pair()
  new <- successor_of(pair$alice, pair$room, encrypted = FALSE)
  tombstone(pair$alice, pair$room, new)
  expect_not_followed(pair$bob, pair$room, "not_encrypted")
  expect_false(is_in(pair$bob, new))
  mx_room_invite(pair$alice, new, pair$bob$user_id)
  followed <- mx_room_follow(pair$bob, pair$room, allow_unencrypted = TRUE)
  expect_equal(followed, new)
  # Of a room that never was encrypted nothing is asked.
  plain <- demo_pair(encrypted = FALSE)
  new <- successor_of(plain$alice, plain$room, encrypted = FALSE)
  tombstone(plain$alice, plain$room, new)
  expect_equal(mx_room_follow(plain$bob, plain$room), new)
})

test_that("a direct room stays one", {
  pair <- demo_pair(direct = TRUE)
  new <- successor_of(pair$alice, pair$room)
  tombstone(pair$alice, pair$room, new)
  mx_room_join(pair$bob, new)
  mx_room_follow(pair$alice, pair$room)
  expect_true(new %in% direct_rooms(pair$alice)$room_id)
  mx_sync(pair$alice)
  expect_equal(mx_room_direct(pair$alice, pair$bob$user_id), new)
})

test_that("a room that could not be judged is left only if it was not joined", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake, "bob")
  old <- mx_room_create(bob, invite = alice$user_id)
  mx_room_join(alice, old)
  forbidden <- '{"errcode":"M_FORBIDDEN","error":"no"}'
  for (joined_before in c(FALSE, TRUE)) {
    other <- mx_room_create(bob, invite = alice$user_id)
    if (joined_before) {
      mx_room_join(alice, other)
    }
    tombstone(bob, old, other)
    fake$forget()
    # What is read before the room is joined.
    fake$fault("GET", "/state/m.room.create", status = 403, body = forbidden)
    expect_not_followed(alice, old, "other_predecessor")
    expect_equal(is_in(alice, other), joined_before)
  }
})

test_that("the server of who upgraded is asked to let in", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  event <- function(type, sender, content) {
    list(type = type, state_key = "", sender = sender, content = content)
  }
  state <- list(
    event("m.room.create", "@eve:there.org:8448", list(room_version = "12")),
    event(
      "m.room.tombstone",
      "@eve:there.org:8448",
      list(body = "", replacement_room = "!new")
    )
  )
  fake$forget()
  fake$fault(
    "GET",
    "/state$",
    body = unclass(mxc_json(state)),
    times = 9
  )
  expect_error(
    mx_room_follow(alice, room, via = "here.org"),
    class = "mx_error"
  )
  sent <- fake$seen("POST", "/join/")
  expect_match(
    sent[[1]]$path,
    "via=here.org&via=there.org%3A8448",
    fixed = TRUE
  )
})

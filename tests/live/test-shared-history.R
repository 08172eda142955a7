# History that is shared with those who are invited.

invite <- function(who, room, user_id) {
  if (is_foreign(who)) {
    who$call("invite", roomId = room, userId = user_id)
  } else {
    mx_room_invite(who, room, user_id)
  }
}

has_identity <- function(who) {
  if (is_foreign(who)) {
    who$call("bootstrapCrossSigning", password = who[["password"]])
  } else {
    mx_crypto_setup(who)
  }
}

test_that("who is invited reads what was said before", {
  for (alice_is_foreign in c(FALSE, TRUE)) {
    alice <- if (alice_is_foreign) live_foreign() else live_client()
    bob <- if (alice_is_foreign) live_client() else live_foreign()
    suppressWarnings(has_identity(alice))
    suppressWarnings(has_identity(bob))
    room <- new_room(alice)
    before <- say(alice, room, "before you were invited")
    invite(alice, room, bob$user_id)
    sees_member(bob, room, bob$user_id, "invite")
    enter(bob, room, witness = alice)
    expect_reads(bob, room, before)
    if (!is_foreign(bob)) {
      history <- mx_messages(bob, room)
      row <- history[history$event_id %in% before, ]
      expect_equal(row$key_source, "bundle")
      expect_equal(row$forwarder, alice$user_id)
      expect_equal(as.character(row$trust), "not_guaranteed")
    }
  }
})

test_that("who is invited reads nothing that was said among those who were there", {
  alice <- live_client()
  bob <- live_foreign()
  suppressWarnings(has_identity(alice))
  suppressWarnings(has_identity(bob))
  room <- new_room(alice)
  mx_set_state(
    alice,
    room,
    "m.room.history_visibility",
    list(history_visibility = "invited")
  )
  mx_sync(alice)
  before <- say(alice, room, "between us")
  mx_set_state(
    alice,
    room,
    "m.room.history_visibility",
    list(history_visibility = "shared")
  )
  mx_sync(alice)
  invite(alice, room, bob$user_id)
  sees_member(bob, room, bob$user_id, "invite")
  enter(bob, room, witness = alice)
  after <- say(alice, room, "for all")
  expect_reads(bob, room, after)
})

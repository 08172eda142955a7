# Who can read depends on when they, and their devices, came.

test_that("what is said between an invitation and the join is read", {
  each_way(function(alice, bob) {
    room <- new_room(alice, invite = bob$user_id)
    event <- say(alice, room, "before you came")
    enter(bob, room, witness = alice)
    expect_reads(bob, room, event)
  })
})

test_that("who enters a public room sees, and cannot read, what was before", {
  each_way(function(alice, bob) {
    room <- new_room(alice, public = TRUE)
    before <- say(alice, room, "before")
    enter(bob, room, witness = alice)
    after <- say(alice, room, "after")
    expect_reads(bob, room, after)
    expect_cannot_read(bob, room, before)
  })
})

test_that("who comes back cannot read what was said meanwhile", {
  each_way(function(alice, bob) {
    room <- new_room(alice, public = TRUE)
    enter(bob, room, witness = alice)
    before <- say(alice, room, "before")
    expect_reads(bob, room, before)
    quit(bob, room, witness = alice)
    between <- say(alice, room, "between")
    enter(bob, room, witness = alice)
    after <- say(alice, room, "after")
    expect_reads(bob, room, after)
    expect_cannot_read(bob, room, between)
    expect_reads(bob, room, before)
  })
})

# A new device of the user whose devices are ours or foreign.
device_of <- function(user, foreign, .local_envir = parent.frame()) {
  if (foreign) {
    live_foreign(.local_envir, user = user)
  } else {
    live_client(user, .local_envir = .local_envir)
  }
}

sign_out <- function(who) {
  if (is_foreign(who)) {
    who$call("logout")
  } else {
    suppressWarnings(mx_logout(who), "mx_warning_keys_lost")
  }
}

test_that("a new device cannot read what was before, an old one not what is after", {
  for (foreign in c(TRUE, FALSE)) {
    alice <- if (foreign) live_client() else live_stranger()
    user <- live_user("bob")
    first <- device_of(user, foreign)
    room <- new_room(alice, public = TRUE)
    enter(first, room, witness = alice)
    before <- say(alice, room, "before")
    expect_reads(first, room, before)

    second <- device_of(user, foreign)
    expect_cannot_read(second, room, before)
    sees_devices(alice, user$user_id, c(first$device_id, second$device_id))
    both <- say(alice, room, "both")
    expect_reads(first, room, both)
    expect_reads(second, room, both)

    sign_out(second)
    sees_devices(alice, user$user_id, first$device_id)
    after <- say(alice, room, "after")
    expect_reads(first, room, after)
    third <- device_of(user, foreign)
    expect_cannot_read(third, room, after)
  }
})

test_that("a device exchanged after an invitation reads from then on", {
  alice <- live_client()
  user <- live_user("bob")
  old <- live_foreign(user = user)
  room <- new_room(alice, invite = user$user_id)
  lost <- say(alice, room, "for the old device")
  old$call("logout")
  bob <- live_foreign(user = user)
  enter(bob, room, witness = alice)
  event <- say(alice, room, "for the new device")
  expect_reads(bob, room, event)
  # As with every other client: it was not there when this was said.
  expect_cannot_read(bob, room, lost)
})

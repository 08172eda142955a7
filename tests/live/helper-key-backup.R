# A key backup of a foreign client, and what can be read.

# What can be read of the messages of a room; the reason where it cannot.
shown_in <- function(client, room) {
  events <- mx_messages(client, room)
  events <- events[events$type %in% c("m.room.message", "m.room.encrypted"), ]
  ifelse(is.na(events$utd_reason), events$body, events$utd_reason)
}

# Alice's foreign phone, with an identity, secret storage and a backup of what
# Bob and she have said.
foreign_backup <- function(.local_envir = parent.frame()) {
  alice <- live_user("alice")
  phone <- live_foreign(.local_envir, user = alice)
  phone$call("bootstrapCrossSigning", password = alice$password)
  key <- phone$call("bootstrapSecretStorage")
  bob <- live_stranger()
  room <- new_room(phone, bob$user_id)
  enter(bob, room, phone)
  say(phone, room, "from the phone")
  say(bob, room, "from bob")
  expect_null(
    phone$call("waitForMessage", roomId = room, body = "from bob")$failure
  )
  in_backup(phone, 2)
  list(alice = alice, phone = phone, key = key, room = room, bob = bob)
}

# The SDK waits up to ten seconds before each upload.
in_backup <- function(phone, keys) {
  phone$call("waitForBackup", keys = keys, timeoutMs = 60000, timeout = 70)
}

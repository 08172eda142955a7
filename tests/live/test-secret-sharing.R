# A device that was verified is given the private keys of its user by the device that
# verified it, without a recovery key: between us and a foreign client, either way.

verify_each_other <- function(pair) {
  verification <- come_to_compare(pair, ours_asks(pair), ours_starts = TRUE)
  verification <- mx_verification_confirm(verification, same = TRUE)
  pair$theirs$call("confirmSas")
  expect_equal(mx_verification_wait(verification)$state, "done")
  pair$theirs$call("waitForPhase", phase = "Done")
}

# Syncs until it holds, for at most so many seconds.
wait_until <- function(client, holds, seconds = 30) {
  end <- Sys.time() + seconds
  while (!holds() && Sys.time() < end) {
    mx_sync(client, timeout = 500)
  }
  expect_true(holds())
}

test_that("a foreign device gives ours its secrets, and all is read", {
  own <- foreign_backup()
  bot <- live_client(own$alice)
  devices <- c(bot$device_id, own$phone$device_id)
  sees_devices(own$phone, bot$user_id, devices)
  verify_each_other(list(ours = bot, theirs = own$phone))
  wait_until(bot, function() {
    mx_cross_signing_ready(bot) && mx_backup_status(bot)$key_held
  })
  expect_equal(shown_in(bot, own$room), c("from the phone", "from bob"))
  expect_equal(nrow(mx_crypto_status(bot)$out_of_sync), 0)
})

test_that("we give a foreign device its secrets, and it reads all", {
  pair <- devices_with_new_foreign()
  room <- new_room(pair$ours)
  say(pair$ours, room, "from before")
  mx_backup_upload(pair$ours)
  expect_false(pair$theirs$call("holdsBackupKey"))
  verify_each_other(pair)
  wait_until(pair$ours, function() {
    cached <- pair$theirs$call("crossSigningStatus")$privateKeysCachedLocally
    all(unlist(cached)) && pair$theirs$call("holdsBackupKey")
  })
  reads(pair$theirs, room, "from before")
})

# matrix-js-sdk asks for no room key by itself: it leaves that to the key backup. A client that
# asks, as it does once that is switched on, is answered.
test_that("a foreign device that verified ours is given the keys it asks for", {
  user <- live_user("alice")
  ours <- live_client(user)
  suppressMessages(mx_crypto_setup(ours))
  mx_backup_delete(ours)
  rooms <- c(new_room(ours), new_room(ours))
  said <- c("not asked for", "asked for")
  ids <- Map(function(room, text) say(ours, room, text), rooms, said)
  theirs <- live_foreign(environment(), user)
  sees_devices(theirs, ours$user_id, c(ours$device_id, theirs$device_id))
  verify_each_other(list(ours = ours, theirs = theirs))
  Map(
    function(room, id) theirs$call("waitForUtd", roomId = room, eventId = id),
    rooms,
    ids
  )
  expect_false(theirs$call("requestsRoomKeys"))
  expect_equal(theirs$call("requestRoomKeys", roomId = rooms[[2]]), 1)
  shows <- function(room, text) {
    shown <- theirs$call("messages", roomId = room)
    text %in% unlist(lapply(shown, function(event) event$body))
  }
  wait_until(ours, function() shows(rooms[[2]], said[[2]]))
  expect_false(shows(rooms[[1]], said[[1]]))
})

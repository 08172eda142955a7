# The key backup, between us and a foreign client, in both directions.

# A bot of Alice's on a machine that has nothing but the recovery key.
bot_of <- function(alice, key, ..., .local_envir = parent.frame()) {
  bot <- live_client(alice, ..., .local_envir = .local_envir)
  mx_crypto_setup(bot, recovery_key = key)
  bot
}

test_that("what a foreign client backed up is read here", {
  own <- foreign_backup()
  bot <- bot_of(own$alice, own$key)
  status <- mx_backup_status(bot)
  expect_true(status$key_held && status$trusted && status$enabled)
  expect_match(
    format(status),
    "valid signature from (this user|session with ID)",
    all = FALSE
  )
  expect_equal(shown_in(bot, own$room), c("from the phone", "from bob"))
  events <- mx_messages(bot, own$room)
  events <- events[events$encrypted, ]
  expect_equal(unique(events$key_source), "backup")
  expect_true(all(events$trust <= "not_guaranteed"))

  again <- bot_of(own$alice, own$key)
  keys <- mx_backup_restore(again)
  expect_gte(nrow(keys), 2)
  expect_true(all(keys$restored))
})

test_that("mx_messages() alone reads what was said long before a new disk", {
  own <- foreign_backup()
  # What the phone said stands before all that a first sync brings.
  for (n in 1:60) {
    say(own$bob, own$room, as.character(n))
  }
  in_backup(own$phone, 2)
  expected <- c("from the phone", "from bob", 1:60)

  bot <- bot_of(own$alice, own$key)
  events <- mx_messages(bot, own$room, limit = 100)
  events <- events[events$type %in% c("m.room.message", "m.room.encrypted"), ]
  expect_equal(events$body, expected)

  # And the first sync of another new disk brings what it holds once, readable.
  again <- bot_of(own$alice, own$key)
  events <- mx_sync(again)
  events <- events[events$type %in% c("m.room.message", "m.room.encrypted"), ]
  expect_equal(events$body, utils::tail(expected, nrow(events)))
  expect_false(anyDuplicated(events$event_id) > 0)
  expect_gte(nrow(events), 40)
})

test_that("what we backed up is read by a foreign client", {
  alice <- live_user("alice")
  bot <- live_client(alice)
  key <- format(mx_crypto_setup(bot)$recovery_key, reveal = TRUE)
  bob <- live_stranger()
  room <- new_room(bot, bob$user_id)
  enter(bob, room, bot)
  first <- say(bot, room, "from the bot")
  reads(bob, room, "from the bot")
  second <- say(bob, room, "from bob")
  wait_for_bodies(bot, "from bob")
  mx_backup_upload(bot)
  expect_equal(mx_backup_status(bot)$backed_up, 2)

  phone <- live_foreign(user = alice)
  expect_cannot_read(phone, room, first)
  phone$call("enterRecoveryKey", recoveryKey = key)
  phone$call("bootstrapCrossSigning", password = alice$password)
  trust <- phone$call("backupTrust")
  expect_true(trust[["trusted"]])
  restored <- phone$call("restoreBackup")
  expect_equal(restored[["imported"]], 2)
  expect_reads(phone, room, first)
  expect_reads(phone, room, second)
  # From then on both put keys there.
  say(phone, room, "from the phone")
  in_backup(phone, 3)
  expect_true("from the phone" %in% shown_in(bot_of(alice, key), room))
})

test_that("a wrong recovery key fails, and nothing is read", {
  own <- foreign_backup()
  other <- mx_crypto_setup(live_client())$recovery_key
  bot <- live_client(own$alice)
  expect_error(
    mx_crypto_setup(bot, recovery_key = format(other, reveal = TRUE)),
    class = "mx_error_recovery_key"
  )
  expect_error(mx_backup_restore(bot), class = "mx_error_key_backup")
  # Clocks differ a little: what was said in the last minute may still come.
  expect_match(shown_in(bot, own$room), "^(backup_locked|unknown_session)$")
  expect_false(mx_backup_status(bot)$key_held)
})

test_that("another version amid an upload is judged, and begun from the beginning", {
  own <- foreign_backup()
  proxy <- live_proxy()
  bot <- bot_of(own$alice, own$key, url = proxy$url)
  expect_equal(shown_in(bot, own$room), c("from the phone", "from bob"))
  mx_backup_upload(bot)
  own$phone$call("resetBackup")
  core(machine_hurry_backup(machine_of(bot)))
  mx_send_text(bot, own$room, "from the bot")
  # Its private key is in secret storage, and not here: it counts for its signature.
  mx_backup_upload(bot)
  status <- mx_backup_status(bot)
  expect_false(status$key_held)
  expect_true(status$trusted)
  expect_equal(status$backed_up, status$keys)
  uploads <- proxy$seen("PUT /_matrix/client/v3/room_keys/keys")
  expect_true(any(c(403, 404) %in% uploads$status))
  mx_backup_enable(bot, own$key)
  expect_true(mx_backup_status(bot)$key_held)
  again <- bot_of(own$alice, own$key)
  expect_equal(utils::tail(shown_in(again, own$room), 1), "from the bot")
})

test_that("a bot whose disk is wiped comes back with its identity and its history", {
  alice <- live_user("alice")
  bot <- live_client(alice, isolation = "signed")
  setup <- mx_crypto_setup(bot)
  key <- format(setup$recovery_key, reveal = TRUE)
  bob <- live_foreign()
  bob$call("bootstrapCrossSigning", password = bob$password)
  room <- new_room(bot, bob$user_id)
  enter(bob, room, bot)
  texts <- character()
  for (n in 1:3) {
    mine <- paste("from the bot", n)
    theirs <- paste("from bob", n)
    say(bot, room, mine)
    reads(bob, room, mine)
    say(bob, room, theirs)
    wait_for_bodies(bot, theirs)
    mx_room_key_rotate(bot, room)
    bob$call("forceDiscardSession", roomId = room)
    texts <- c(texts, mine, theirs)
  }
  mx_backup_upload(bot)
  device <- bot$device_id
  unlink(dirname(bot$path), recursive = TRUE)
  forget_open_stores()

  bot <- live_client(alice, isolation = "signed")
  expect_false(bot$device_id == device)
  again <- withr::with_envvar(
    c(MXCRYPT_RECOVERY_KEY = key),
    mx_crypto_setup(bot)
  )
  expect_equal(again$master_key, setup$master_key)
  expect_equal(shown_in(bot, room), texts)
  # Also what its old device said, when that is gone.
  mx_device_delete(bot, device, password = alice$password)
  expect_equal(shown_in(bot, room), texts)
  say(bot, room, "back again")
  reads(bob, room, "back again")
})

test_that("two processes on one store share a backup", {
  own <- foreign_backup()
  bot <- bot_of(own$alice, own$key)
  # complement-crypto: MultiprocessNSEBackupKeyMacError. One process takes a new
  # backup over while the other has the old one in memory.
  code <- sprintf(
    "mxcrypt::mx_backup_enable(client, '%s', replace = TRUE)",
    own$key
  )
  expect_ends_well(start_process(bot$path, code))
  say(bot, own$room, "after the change")
  mx_backup_upload(bot)
  status <- mx_backup_status(bot)
  expect_true(status$key_held)
  expect_equal(status$backed_up, status$keys)
  again <- bot_of(own$alice, own$key)
  expect_true(all(mx_backup_restore(again)$restored))
  expect_true("after the change" %in% shown_in(again, own$room))
})

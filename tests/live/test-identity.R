# A verified device with one call, beside a foreign client that reads signed
# devices only.

# What is left when a container loses its disk: user, password, recovery key.
fresh_machine <- function(user, key, .local_envir = parent.frame()) {
  bot <- live_client(user, isolation = "signed", .local_envir = .local_envir)
  withr::with_envvar(c(MXCRYPT_RECOVERY_KEY = key), {
    setup <- mx_crypto_setup(bot)
  })
  expect_null(setup$recovery_key)
  bot
}

# The bot and a stranger in strict mode read each other, without a shield.
expect_strict_conversation <- function(bot, stranger) {
  stranger$call("bootstrapCrossSigning", password = "of no use at first")
  stranger$call("setIsolation", mode = "signed")
  room <- mx_room_create(bot, invite = stranger$user_id)
  stranger$call("join", roomId = room)
  stranger$call("waitForMember", roomId = room, userId = bot$user_id)
  mx_send_text(bot, room, "from the bot")
  event <- stranger$call("waitForMessage", roomId = room, body = "from the bot")
  expect_null(event[["failure"]])
  expect_identical(event[["shield"]], list(color = "NONE", reason = NULL))

  stranger$call("sendText", roomId = room, body = "to the bot")
  found <- NULL
  end <- Sys.time() + 20
  while (is.null(found) && Sys.time() < end) {
    events <- messages(mx_sync(bot, timeout = 2000))
    events <- events[!events$is_self, ]
    if (nrow(events) > 0L) {
      found <- events
    }
  }
  expect_equal(found$body, "to the bot")
  expect_equal(as.character(found$trust), "signed")
  room
}

trust_in <- function(client, device) {
  devices <- mx_devices(client, device[["user_id"]])
  trust <- devices$trust[devices$device_id == device[["device_id"]]]
  as.character(trust)
}

test_that("an identity made here is recovered by a foreign client", {
  alice <- live_user("alice")
  laptop <- live_client(alice, isolation = "signed")
  setup <- mx_crypto_setup(laptop)
  expect_equal(
    tail(setup$steps, 2),
    c("signed this device", "created a key backup")
  )
  key <- format(setup$recovery_key, reveal = TRUE)
  expect_match(key, "^Es")

  phone <- foreign_client(alice[["user"]], alice[["password"]])
  phone$call("enterRecoveryKey", recoveryKey = key)
  status <- phone$call("bootstrapCrossSigning", password = alice[["password"]])
  expect_true(status[["ready"]])
  cached <- status[["privateKeysCachedLocally"]]
  expect_true(all(unlist(cached)))
  expect_equal(trust_in(laptop, phone), "verified")
  expect_true(phone$call(
    "deviceStatus",
    userId = laptop$user_id,
    deviceId = laptop$device_id
  )[["crossSigningVerified"]])

  # It is there again on a machine that has nothing, and does nothing twice.
  bot <- fresh_machine(alice, key)
  expect_equal(trust_in(laptop, bot), "verified")
  expect_length(mx_crypto_setup(bot)$steps, 0)
  expect_strict_conversation(bot, live_foreign())
})

test_that("an identity made by a foreign client is recovered here", {
  alice <- live_user("alice")
  phone <- foreign_client(alice[["user"]], alice[["password"]])
  phone$call("bootstrapCrossSigning", password = alice[["password"]])
  key <- phone$call("bootstrapSecretStorage", keyBackup = FALSE)

  bot <- live_client(alice, isolation = "signed")
  expect_equal(trust_in(bot, bot), "unsigned")
  expect_error(mx_crypto_setup(bot), class = "mx_error_recovery_key")
  other <- "EsTc LW2K PGiF wKEA 3As5 g5c4 BXwk qeeJ ZJV8 Q9fu gUMN UE4d"
  expect_error(
    mx_crypto_setup(bot, recovery_key = other),
    class = "mx_error_recovery_key"
  )
  mx_crypto_setup(bot, recovery_key = key)
  expect_equal(trust_in(bot, bot), "verified")
  expect_equal(trust_in(bot, phone), "verified")
  expect_true(phone$call(
    "deviceStatus",
    userId = bot$user_id,
    deviceId = bot$device_id
  )[["crossSigningVerified"]])
  expect_strict_conversation(bot, live_foreign())
})

test_that("secret storage of a passphrase is opened by either side", {
  alice <- live_user("alice")
  phone <- foreign_client(alice[["user"]], alice[["password"]])
  phone$call("bootstrapCrossSigning", password = alice[["password"]])
  phone$call(
    "bootstrapSecretStorage",
    passphrase = "the eagle lands",
    keyBackup = FALSE
  )
  bot <- live_client(alice, isolation = "signed")
  expect_error(
    mx_crypto_setup(bot, passphrase = "the eagle"),
    class = "mx_error_recovery_key"
  )
  mx_crypto_setup(bot, passphrase = "the eagle lands")
  expect_equal(trust_in(bot, bot), "verified")
})

test_that("an identity that was reset is seen to have changed", {
  alice <- live_user("alice")
  laptop <- live_client(alice, isolation = "signed")
  mx_crypto_setup(laptop)
  bob <- live_client(isolation = "signed")
  expect_equal(trust_in(bob, laptop), "signed")

  bot <- live_client(alice, isolation = "signed")
  setup <- mx_crypto_setup(bot, reset = TRUE, password = alice[["password"]])
  expect_false(is.null(setup$recovery_key))
  expect_equal(trust_in(bot, bot), "verified")
  expect_equal(trust_in(bob, bot), "identity_changed")
  # The other device is not of the new identity.
  expect_equal(trust_in(bot, laptop), "unsigned")
  expect_equal(trust_in(laptop, bot), "identity_changed")
})

test_that("our trust in devices and users is that of a foreign client", {
  alice <- live_client(isolation = "signed")
  setup <- mx_crypto_setup(alice)
  key <- format(setup$recovery_key, reveal = TRUE)
  user <- list(user = sub("^@(.*):.*$", "\\1", alice$user_id))
  user$password <- paste0("password of ", user$user)
  phone <- foreign_client(user$user, user$password)
  phone$call("enterRecoveryKey", recoveryKey = key)
  phone$call("bootstrapCrossSigning", password = user$password)
  bob <- live_foreign()

  facts <- c("signed_by_owner", "cross_signing_verified", "locally_verified")
  # What both say of Bob's device: in words, by each fact, and of Bob.
  agree <- function(trust, device, user) {
    ids <- list(userId = bob$user_id, deviceId = bob$device_id)
    theirs <- NULL
    # Their view changes some time after what changed it.
    end <- Sys.time() + 20
    repeat {
      theirs <- c(
        do.call(phone$call, c("deviceStatus", ids))[1:3],
        do.call(phone$call, c("deviceIsBlocked", ids)),
        phone$call("userStatus", userId = bob$user_id)[2:4]
      )
      if (identical(as.logical(theirs), c(device, user)) || Sys.time() > end) {
        break
      }
      Sys.sleep(0.2)
    }
    expect_identical(as.logical(theirs), c(device, user), info = trust)

    expect_equal(trust_in(alice, bob), trust)
    ours <- mx_devices(alice, bob$user_id)
    ours <- unlist(ours[ours$device_id == bob$device_id, c(facts, "blocked")])
    expect_identical(unname(ours), device, info = trust)
    ours <- mx_user_trust(alice, bob$user_id)
    ours <- unlist(ours[c("verified", "was_verified", "needs_approval")])
    expect_identical(unname(ours), user, info = trust)
  }
  unknown <- c(FALSE, FALSE, FALSE)
  room <- mx_room_create(alice, invite = bob$user_id)
  bob$call("join", roomId = room)
  phone$call("waitForMember", roomId = room, userId = bob$user_id)
  agree("unsigned", c(FALSE, FALSE, FALSE, FALSE), unknown)

  # Its fingerprint was compared, on each of our devices.
  ids <- list(userId = bob$user_id, deviceId = bob$device_id)
  mx_device_verify(alice, bob$user_id, bob$device_id, bob$ed25519)
  do.call(phone$call, c("verifyDevice", ids))
  agree("verified", c(FALSE, FALSE, TRUE, FALSE), unknown)
  mx_device_block(alice, bob$user_id, bob$device_id, FALSE)
  do.call(phone$call, c("verifyDevice", ids, verified = FALSE))
  agree("unsigned", c(FALSE, FALSE, FALSE, FALSE), unknown)

  bobs <- bob$call("bootstrapCrossSigning", password = bob$password)
  agree("signed", c(TRUE, FALSE, FALSE, FALSE), unknown)

  # Blocked, on each; and lifted again.
  mx_device_block(alice, bob$user_id, bob$device_id)
  do.call(phone$call, c("blockDevice", ids))
  agree("blocked", c(TRUE, FALSE, FALSE, TRUE), unknown)
  event <- mx_send_text(alice, room, "not for Bob")
  bob$call(
    "waitForUtd",
    roomId = room,
    eventId = event,
    code = "MEGOLM_KEY_WITHHELD"
  )
  mx_device_block(alice, bob$user_id, bob$device_id, FALSE)
  do.call(phone$call, c("verifyDevice", ids, verified = FALSE))

  master <- mx_user_trust(alice, bob$user_id)$master_key
  expect_equal(bobs$keyIds$master_key, master)
  mx_user_sign(alice, bob$user_id, master)
  agree("verified", c(TRUE, TRUE, FALSE, FALSE), c(TRUE, TRUE, FALSE))

  # Bob makes another identity: he has to be verified again, or given up.
  bob$call("bootstrapCrossSigning", password = bob$password, reset = TRUE)
  agree("identity_changed", c(TRUE, FALSE, FALSE, FALSE), c(FALSE, TRUE, TRUE))
  mx_user_withdraw(alice, bob$user_id)
  phone$call("withdrawVerification", userId = bob$user_id)
  agree("signed", c(TRUE, FALSE, FALSE, FALSE), unknown)
})

test_that("a secret stored by either side is fetched by the other", {
  alice <- live_user("alice")
  laptop <- live_client(alice, isolation = "signed")
  setup <- mx_crypto_setup(laptop)
  key <- format(setup$recovery_key, reveal = TRUE)
  phone <- foreign_client(alice[["user"]], alice[["password"]])
  phone$call("enterRecoveryKey", recoveryKey = key)
  phone$call("bootstrapCrossSigning", password = alice[["password"]])

  fetched <- function(name) {
    format(mx_secret_fetch(laptop, name, key), reveal = TRUE)
  }
  expect_null(mx_secret_fetch(laptop, "org.example.token", key))
  mx_secret_store(laptop, "org.example.token", "caf\u00e9 %s", key)
  expect_identical(fetched("org.example.token"), "caf\u00e9 %s")
  expect_identical(
    phone$call("fetchSecret", name = "org.example.token"),
    "caf\u00e9 %s"
  )
  phone$call("storeSecret", name = "org.example.token", value = "th\u00e9")
  expect_identical(fetched("org.example.token"), "th\u00e9")
  master <- phone$call("fetchSecret", name = "m.cross_signing.master")
  expect_identical(fetched("m.cross_signing.master"), master)
  keys <- mx_secret_storage_keys(laptop)
  expect_identical(keys$default, TRUE)
  expect_identical(keys$from_passphrase, FALSE)
})

test_that("after a change of the recovery key a foreign client needs the new one", {
  alice <- live_user("alice")
  phone <- foreign_client(alice[["user"]], alice[["password"]])
  phone$call("bootstrapCrossSigning", password = alice[["password"]])
  old <- phone$call("bootstrapSecretStorage", keyBackup = TRUE)
  phone$call("storeSecret", name = "org.example.token", value = "x")
  backup <- phone$call("fetchSecret", name = "m.megolm_backup.v1")
  master <- phone$call("crossSigningStatus")[["keyIds"]][["master_key"]]

  bot <- live_client(alice, isolation = "signed")
  new <- mx_recovery_key_change(bot, recovery_key = old)
  key <- format(new, reveal = TRUE)
  expect_error(
    mx_crypto_setup(bot, recovery_key = old),
    class = "mx_error_recovery_key"
  )
  mx_crypto_setup(bot, recovery_key = key)
  expect_equal(trust_in(bot, bot), "verified")

  late <- foreign_client(alice[["user"]], alice[["password"]])
  late$call("enterRecoveryKey", recoveryKey = old)
  expect_error(
    late$call("bootstrapCrossSigning", password = alice[["password"]]),
    "MAC"
  )
  fresh <- foreign_client(alice[["user"]], alice[["password"]])
  fresh$call("enterRecoveryKey", recoveryKey = key)
  status <- fresh$call("bootstrapCrossSigning", password = alice[["password"]])
  expect_true(status[["ready"]])
  expect_identical(status[["keyIds"]][["master_key"]], master)
  expect_true(all(unlist(status[["privateKeysCachedLocally"]])))
  expect_equal(trust_in(bot, fresh), "verified")
  expect_identical(fresh$call("fetchSecret", name = "org.example.token"), "x")
  expect_identical(
    fresh$call("fetchSecret", name = "m.megolm_backup.v1"),
    backup
  )
})

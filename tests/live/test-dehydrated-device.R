# Dehydrated devices (MSC3814), made and read by us and by a foreign client.

# A room of Alice's, in which Bob is: `device` is her client, ours or a foreign one.
room_with_stranger <- function(device) {
  bob <- live_stranger()
  room <- new_room(device, bob$user_id)
  enter(bob, room, device)
  say(device, room, "hello")
  reads(bob, room, "hello")
  room
}

our_device <- function(alice, .local_envir = parent.frame()) {
  bot <- live_client(alice, .local_envir = .local_envir)
  key <- format(mx_crypto_setup(bot)$recovery_key, reveal = TRUE)
  room <- room_with_stranger(bot)
  device <- mx_dehydrated_device_create(bot, recovery_key = key)
  suppressWarnings(mx_logout(bot), "mx_warning_keys_lost")
  list(key = key, room = room, device = device)
}

their_device <- function(alice, .local_envir = parent.frame()) {
  phone <- live_foreign(.local_envir, user = alice)
  phone$call("bootstrapCrossSigning", password = alice$password)
  key <- phone$call("bootstrapSecretStorage")
  room <- room_with_stranger(phone)
  device <- phone$call("startDehydration")$deviceId
  phone$call("logout")
  foreign_stop(phone)
  list(key = key, room = room, device = device)
}

# Bob speaks while Alice has no other device than the dehydrated one; also more
# than the server gives at once.
bob_speaks <- function(alice, left, sessions = 2) {
  bob <- live_stranger()
  sees_devices(bob, alice$user_id, left$device)
  for (i in seq_len(sessions)) {
    bob$call("forceDiscardSession", roomId = left$room)
    say(bob, left$room, paste("away", i))
  }
  paste("away", seq_len(sessions))
}

we_read <- function(alice, left, said, .local_envir = parent.frame()) {
  bot <- live_client(alice, .local_envir = .local_envir)
  mx_crypto_setup(bot, recovery_key = left$key)
  before <- messages(mx_messages(bot, left$room))
  expect_false(any(said %in% before$body))
  keys <- mx_dehydrated_device_rehydrate(bot, recovery_key = left$key)
  expect_length(attr(keys, "problems"), 0)
  expect_equal(sum(keys$room_id == left$room), length(said))
  events <- messages(mx_messages(bot, left$room))
  events <- events[events$body %in% said, ]
  expect_equal(events$body, said)
  expect_equal(unique(as.character(events$trust)), "unsigned")
  expect_equal(unique(events$key_source), "direct")
  # Another has taken its place, and is Alice's too.
  devices <- mx_devices(bot, alice$user_id)
  expect_false(left$device %in% devices$device_id)
  expect_equal(sum(devices$dehydrated), 1)
  expect_equal(unique(as.character(devices$trust)), "verified")
}

test_that("what is said while no device is there is read by the next one", {
  alice <- live_user("alice")
  left <- our_device(alice)
  said <- bob_speaks(alice, left)
  we_read(alice, left, said)
})

test_that("a device that a foreign client dehydrated is rehydrated here", {
  alice <- live_user("alice")
  left <- their_device(alice)
  said <- bob_speaks(alice, left)
  we_read(alice, left, said)
})

test_that("a device that was dehydrated here is rehydrated by a foreign client", {
  alice <- live_user("alice")
  left <- our_device(alice)
  said <- bob_speaks(alice, left)
  phone <- live_foreign(user = alice)
  expect_false(is.null(
    phone$call("waitForUtd", roomId = left$room)[["failure"]]
  ))
  phone$call("enterRecoveryKey", recoveryKey = left$key)
  phone$call("bootstrapCrossSigning", password = alice$password)
  seen <- phone$call("startDehydration")
  expect_null(seen$error)
  expect_gte(seen$keys, length(said))
  for (text in said) {
    reads(phone, left$room, text)
  }
})

test_that("events come in batches, and all of them are read", {
  alice <- live_user("alice")
  left <- our_device(alice)
  # To the device itself, with what any client may send to it.
  bob <- live_client()
  room <- new_room(bob, alice$user_id)
  first <- bob_speaks(alice, left, sessions = 1)
  for (i in seq_len(230)) {
    path <- mxcrypt:::api_path(
      "sendToDevice",
      "org.example.noise",
      paste0("n", i)
    )
    content <- list(
      messages = stats::setNames(
        list(stats::setNames(list(list(n = i)), left$device)),
        alice$user_id
      )
    )
    mxcrypt:::http_json(bob, "PUT", path, content)
  }
  bob <- live_stranger()
  bob$call("forceDiscardSession", roomId = left$room)
  say(bob, left$room, "last")
  we_read(alice, left, c(first, "last"))
})

test_that("a device that is deleted is gone", {
  alice <- live_user("alice")
  left <- our_device(alice)
  bot <- live_client(alice)
  mx_crypto_setup(bot, recovery_key = left$key)
  expect_true(mx_dehydrated_device_delete(bot))
  expect_false(mx_dehydrated_device_delete(bot))
  keys <- mx_dehydrated_device_rehydrate(bot, recovery_key = left$key)
  expect_equal(nrow(keys), 0)
  expect_equal(mx_devices(bot, alice$user_id)$device_id, bot$device_id)
})

test_that("a server without dehydrated devices is told apart", {
  plain <- list(experimental_features = list(msc3814_enabled = FALSE))
  server <- synapse_start(extra = plain)
  withr::defer(synapse_stop(server))
  bot <- live_client(live_user("alice", server), server = server)
  key <- format(mx_crypto_setup(bot)$recovery_key, reveal = TRUE)
  for (verb in list(
    mx_dehydrated_device_create,
    mx_dehydrated_device_rehydrate
  )) {
    expect_error(verb(bot, key), class = "mx_error_dehydrated_device")
  }
  expect_false("org.matrix.msc3814" %in% mxcrypt:::secret_storage(bot)$secrets)
})

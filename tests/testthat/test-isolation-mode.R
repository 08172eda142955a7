# Alice, who sends; Bob with a signed device and another that is not.
scene <- function() {
  pair <- demo_pair(verified = FALSE)
  mx_crypto_setup(pair$alice)
  mx_crypto_setup(pair$bob)
  pair$other <- mx_demo_client(pair$homeserver, "bob", verified = FALSE)
  for (client in pair[c("alice", "bob", "other")]) {
    mx_isolation_mode(client, "all")
  }
  # What was in the room before.
  mx_sync(pair$other)
  mx_sync(pair$bob)
  mx_sync(pair$alice)
  pair
}

reasons <- function(client) {
  messages(mx_sync(client))$utd_reason
}

test_that("the mode is kept, and a mode that is none is refused", {
  pair <- demo_pair()
  expect_equal(mx_isolation_mode(pair$alice), "signed")
  expect_equal(expect_invisible(mx_isolation_mode(pair$alice, "all")), "all")
  forget_open_stores()
  expect_equal(mx_isolation_mode(mx_client_load(path = pair$alice$path)), "all")
  expect_equal(mx_isolation_mode(pair$bob), "signed")
  expect_error(
    mx_isolation_mode(pair$alice, "none"),
    class = "mx_error_argument"
  )
})

test_that("all devices read, where all may", {
  pair <- scene()
  mx_send_text(pair$alice, pair$room, "for all")
  expect_equal(new_bodies(pair$bob), "for all")
  expect_equal(new_bodies(pair$other), "for all")
})

test_that("signed devices read, and the others are told once why not", {
  pair <- scene()
  mx_isolation_mode(pair$alice, "signed")
  warning <- expect_warning(
    mx_send_text(pair$alice, pair$room, "one"),
    class = "mx_warning_withheld"
  )
  expect_equal(warning$devices$device_id, pair$other$device_id)
  expect_no_warning(mx_send_text(pair$alice, pair$room, "two"))
  expect_equal(new_bodies(pair$bob), c("one", "two"))
  withheld <- grepl(
    "m.unverified",
    mx_demo_requests(pair$homeserver),
    fixed = TRUE
  )
  expect_equal(sum(withheld), 1)
  expect_true(all(!is.na(reasons(pair$other))))

  # Once it is signed, it reads what comes then.
  keys <- mxc_account_identity_keys(mx_crypto_account(pair$other$store_dir))
  mx_device_sign(pair$bob, pair$other$device_id, keys$ed25519)
  mx_sync(pair$alice)
  mx_send_text(pair$alice, pair$room, "three")
  expect_equal(new_bodies(pair$other), "three")
})

test_that("a device that had the key gets no more of it when the mode changes", {
  pair <- scene()
  mx_send_text(pair$alice, pair$room, "for all")
  mx_isolation_mode(pair$alice, "signed")
  expect_warning(
    mx_send_text(pair$alice, pair$room, "for the signed"),
    class = "mx_warning_withheld"
  )
  expect_equal(new_bodies(pair$bob), c("for all", "for the signed"))
  events <- messages(mx_sync(pair$other))
  expect_equal(events$body[events$decrypted], "for all")
  # And back: what comes then is for all again.
  mx_isolation_mode(pair$alice, "all")
  mx_send_text(pair$alice, pair$room, "for all again")
  expect_equal(new_bodies(pair$other), "for all again")
})

test_that("where nobody has a signed device, nothing is sent", {
  pair <- demo_pair(verified = FALSE)
  mx_crypto_setup(pair$alice)
  mx_isolation_mode(pair$alice, "signed")
  condition <- expect_error(
    mx_send_text(pair$alice, pair$room, "for whom?"),
    class = "mx_error_MXCRYPT_ONLY_UNSIGNED"
  )
  expect_equal(condition$devices$device_id, pair$bob$device_id)
  expect_equal(condition$devices$user_id, pair$bob$user_id)
  expect_length(new_bodies(pair$bob), 0)
  mx_crypto_setup(pair$bob)
  mx_sync(pair$alice)
  mx_send_text(pair$alice, pair$room, "for Bob")
  expect_equal(new_bodies(pair$bob), "for Bob")
})

test_that("one's own devices are no exception", {
  pair <- scene()
  mine <- mx_demo_client(pair$homeserver, "alice", verified = FALSE)
  mx_sync(mine)
  mx_isolation_mode(pair$alice, "signed")
  expect_warning(
    mx_send_text(pair$alice, pair$room, "not for my old phone"),
    class = "mx_warning_withheld"
  )
  expect_true(all(!is.na(reasons(mine))))
})

test_that("a verified user with an unsigned device is an error where it should", {
  pair <- scene()
  mx_isolation_mode(pair$alice, "verified_users")
  # Bob is not verified: his other device reads.
  mx_send_text(pair$alice, pair$room, "one")
  expect_equal(new_bodies(pair$other), "one")
  master <- mx_user_trust(pair$alice, pair$bob$user_id)$master_key
  mx_user_sign(pair$alice, pair$bob$user_id, master)
  condition <- expect_error(
    mx_send_text(pair$alice, pair$room, "two"),
    class = "mx_error_MXCRYPT_UNSIGNED_DEVICES"
  )
  expect_equal(condition$devices$device_id, pair$other$device_id)
  expect_length(new_bodies(pair$bob), 1)
  mx_device_delete(pair$bob, pair$other$device_id, "demo")
  mx_sync(pair$alice)
  mx_send_text(pair$alice, pair$room, "three")
  expect_equal(new_bodies(pair$bob), "three")
})

test_that("an identity that changed gets no key, signed or not", {
  pair <- scene()
  mx_isolation_mode(pair$alice, "signed")
  suppressWarnings(mx_send_text(pair$alice, pair$room, "before"))
  mx_crypto_setup(pair$bob, reset = TRUE, password = "demo")
  mx_sync(pair$alice)
  expect_error(
    mx_send_text(pair$alice, pair$room, "after"),
    class = "mx_error_MXCRYPT_ONLY_UNSIGNED"
  )
  mx_user_pin(pair$alice, pair$bob$user_id)
  mx_send_text(pair$alice, pair$room, "accepted")
  expect_equal(tail(new_bodies(pair$bob), 1), "accepted")
})

test_that("mx.client's form is for all devices, in any mode", {
  pair <- scene()
  mx_isolation_mode(pair$alice, "signed")
  s <- compat(pair$alice)
  content <- list(msgtype = "m.text", body = "for all")
  mx_send_encrypted(
    pair$alice,
    s$account,
    s$sessions,
    pair$room,
    content,
    s$store
  )
  expect_equal(new_bodies(pair$other), "for all")
  expect_warning(
    mx_send_text(pair$alice, pair$room, "for the signed"),
    class = "mx_warning_withheld"
  )
  expect_true(all(!is.na(reasons(pair$other))))
})

test_that("what an unsigned device says is held back, and not lost", {
  pair <- scene()
  mx_isolation_mode(pair$bob, "signed")
  mx_send_text(pair$alice, pair$room, "signed")
  mx_send_text(pair$other, pair$room, "of a login of mine")
  stranger <- mx_demo_client(pair$homeserver, "stranger", verified = FALSE)
  mx_isolation_mode(stranger, "all")
  mx_room_invite(pair$alice, pair$room, stranger$user_id)
  mx_room_join(stranger, pair$room)
  mx_send_text(stranger, pair$room, "unsigned", mentions = pair$bob$user_id)

  events <- messages(mx_sync(pair$bob))
  # A server can add a device to oneself, too.
  expect_equal(events$body, c("signed", NA, NA))
  held <- events[3, ]
  expect_equal(held$utd_reason, "unsigned_sender")
  expect_match(held$utd_help, "mx_messages")
  expect_false(held$decrypted)
  expect_equal(as.character(held$trust), "unsigned")
  expect_length(held$content[[1]], 0)
  expect_length(held$mentions[[1]], 0)
  expect_match(format(held), "unsigned_sender", all = FALSE)
  history <- function(...) {
    messages(mx_messages(pair$bob, pair$room, limit = 1, ...))$body
  }
  expect_equal(history(), NA_character_)
  expect_equal(history(unsigned = TRUE), "unsigned")

  mx_send_text(stranger, pair$room, "again")
  heard <- character()
  hear <- function(event, client) heard <<- c(heard, event$body)
  mx_listen(pair$bob, hear, "m.room.message", seconds = 0)
  expect_equal(heard[length(heard)], NA_character_)
  mx_send_text(stranger, pair$room, "and again")
  mx_listen(pair$bob, hear, "m.room.message", seconds = 0, unsigned = TRUE)
  expect_equal(heard[length(heard)], "and again")
  # Once the sender's devices are signed, there is nothing to hold back.
  mx_crypto_setup(stranger)
  mx_send_text(stranger, pair$room, "signed")
  expect_equal(new_bodies(pair$bob), c("again", "and again", "signed"))
})

test_that("who sends from an unsigned device is told, once", {
  pair <- demo_pair()
  stranger <- mx_demo_client(pair$homeserver, "stranger", verified = FALSE)
  mx_room_invite(pair$alice, pair$room, stranger$user_id)
  mx_room_join(stranger, pair$room)
  expect_warning(
    mx_send_text(stranger, pair$room, "one"),
    class = "mx_warning_unsigned_device"
  )
  expect_no_warning(mx_send_text(stranger, pair$room, "two"))
  # What it said itself, it can read.
  expect_equal(tail(new_bodies(stranger), 2), c("one", "two"))
})

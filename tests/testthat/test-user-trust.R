# Alice and Bob with identities, in a room.
identities <- function() {
  pair <- demo_pair(verified = FALSE)
  pair$alices <- mx_crypto_setup(pair$alice)
  pair$bobs <- mx_crypto_setup(pair$bob)
  pair
}

reset <- function(client) {
  mx_crypto_setup(client, reset = TRUE, password = "demo")
}

test_that("a user is signed by whoever compared the master key", {
  pair <- identities()
  bob <- pair$bob$user_id
  before <- mx_user_trust(pair$alice, c(bob, "@nobody:demo"))
  expect_equal(before$user_id, c(bob, "@nobody:demo"))
  expect_equal(before$master_key, c(pair$bobs$master_key, NA))
  expect_false(any(before$verified, before$was_verified, before$needs_approval))
  expect_equal(as.character(mx_devices(pair$alice, bob)$trust), "signed")

  after <- expect_invisible(
    mx_user_sign(pair$alice, bob, pair$bobs$master_key)
  )
  expect_true(after$verified)
  expect_equal(as.character(mx_devices(pair$alice, bob)$trust), "verified")
  mx_send_text(pair$bob, pair$room, "x")
  event <- messages(mx_sync(pair$alice))
  expect_equal(as.character(event$trust), "verified")
  expect_true(event$sender_verified)
  # Another device of Alice knows it too, and Bob's of nothing.
  key <- format(pair$alices$recovery_key, reveal = TRUE)
  second <- mx_demo_client(pair$homeserver, "alice", verified = FALSE)
  expect_false(mx_user_trust(second, bob)$verified)
  mx_crypto_setup(second, recovery_key = key)
  expect_true(mx_user_trust(second, bob)$verified)
  expect_false(mx_user_trust(pair$bob, pair$alice$user_id)$verified)
})

test_that("what was not compared is not signed", {
  pair <- identities()
  sign <- function(...) {
    expect_error(mx_user_sign(pair$alice, ...), class = "mx_error")
  }
  sign(pair$bob$user_id, pair$alices$master_key)
  sign(pair$bob$user_id, "nonsense")
  sign("@nobody:demo", pair$bobs$master_key)
  expect_false(mx_user_trust(pair$alice, pair$bob$user_id)$verified)
  # A device that holds no keys of its user cannot sign for the user.
  second <- mx_demo_client(pair$homeserver, "alice", verified = FALSE)
  expect_error(
    mx_user_sign(second, pair$bob$user_id, pair$bobs$master_key),
    class = "mx_error_identity"
  )
})

test_that("a changed identity is told, and accepted when said so", {
  pair <- identities()
  bob <- pair$bob$user_id
  expect_false(mx_user_trust(pair$alice, bob)$needs_approval)
  reset(pair$bob)
  expect_true(mx_user_trust(pair$alice, bob)$needs_approval)
  expect_equal(
    as.character(mx_devices(pair$alice, bob)$trust),
    "identity_changed"
  )
  # He was never verified: where all devices may read he may, and it shows.
  expect_error(
    mx_send_text(pair$alice, pair$room, "to whom?"),
    class = "mx_error_MXCRYPT_ONLY_UNSIGNED"
  )
  mx_isolation_mode(pair$alice, "all")
  mx_send_text(pair$alice, pair$room, "to whom?")
  expect_equal(new_bodies(pair$bob), "to whom?")
  expect_false(mx_user_pin(pair$alice, bob)$needs_approval)
  expect_equal(as.character(mx_devices(pair$alice, bob)$trust), "signed")
})

test_that("to a verified user with another identity nothing is sent", {
  ways <- list(
    function(pair, bobs) mx_user_pin(pair$alice, pair$bob$user_id),
    function(pair, bobs) mx_user_withdraw(pair$alice, pair$bob$user_id),
    function(pair, bobs) {
      mx_user_sign(pair$alice, pair$bob$user_id, bobs$master_key)
    }
  )
  for (settle in ways) {
    pair <- identities()
    bob <- pair$bob$user_id
    mx_user_sign(pair$alice, bob, pair$bobs$master_key)
    mx_send_text(pair$alice, pair$room, "before")
    bobs <- reset(pair$bob)
    # She hears of it from her sync, and not from the next message.
    mx_sync(pair$alice)
    condition <- expect_error(
      mx_send_text(pair$alice, pair$room, "secret"),
      class = "mx_error_MXCRYPT_IDENTITY_CHANGED"
    )
    expect_match(conditionMessage(condition), bob, fixed = TRUE)
    expect_equal(new_bodies(pair$bob), "before")
    # Also after a restart.
    forget_open_stores()
    expect_error(
      mx_send_text(pair$alice, pair$room, "secret"),
      class = "mx_error_refused"
    )
    settle(pair, bobs)
    mx_send_text(pair$alice, pair$room, "after")
    expect_equal(new_bodies(pair$bob), "after")
  }
})

test_that("a reset makes another identity, which others see", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  bob <- mx_demo_client(homeserver, "bob", verified = FALSE)
  first <- mx_crypto_setup(alice)
  expect_equal(trust_of(bob, alice), "signed")
  # The server wants to know that it is she.
  withr::local_envvar(MXCRYPT_PASSWORD = NA)
  expect_error(
    mx_crypto_setup(alice, reset = TRUE),
    class = "mx_error_password"
  )
  # It goes on where it was, also without being told to reset again.
  second <- mx_crypto_setup(alice, password = "demo")
  expect_false(second$master_key == first$master_key)
  expect_equal(trust_of(alice, alice), "verified")
  expect_equal(trust_of(bob, alice), "identity_changed")
  expect_error(
    mx_crypto_setup(alice, reset = TRUE, password = "wrong"),
    class = "mx_error_http"
  )
})

# Alice's phone, on which she has an identity, and a laptop.
two_devices <- function() {
  homeserver <- mx_demo_homeserver()
  phone <- mx_demo_client(homeserver, "alice", verified = FALSE)
  key <- format(mx_crypto_setup(phone)$recovery_key, reveal = TRUE)
  laptop <- mx_demo_client(homeserver, "alice", verified = FALSE)
  mx_crypto_setup(laptop, recovery_key = key)
  list(homeserver = homeserver, phone = phone, laptop = laptop, key = key)
}

test_that("a reset is an alert on one's other device, until it is settled there", {
  own <- two_devices()
  expect_no_warning(mx_sync(own$phone))
  room <- mx_room_create(own$phone)
  setup <- mx_cross_signing_reset(own$laptop, password = "demo")
  new <- format(setup$recovery_key, reveal = TRUE)
  calls <- list(
    function() mx_sync(own$phone),
    function() mx_listen(own$phone, function(...) NULL, seconds = 0),
    function() mx_messages(own$phone, room),
    function() suppressMessages(mx_send_text(own$phone, room, "x"))
  )
  for (call in calls) {
    conditions <- testthat::capture_warnings(call())
    alert <- grepl("another identity of yours", conditions, fixed = TRUE)
    expect_equal(sum(alert), 1)
  }
  forget_open_stores()
  expect_warning(mx_sync(own$phone), class = "mx_warning_own_identity")
  # The old key is not the new one's.
  expect_error(
    mx_crypto_setup(own$phone, recovery_key = own$key),
    class = "mx_error_recovery_key"
  )
  expect_warning(mx_sync(own$phone), class = "mx_warning_own_identity")
  expect_equal(
    mx_crypto_setup(own$phone, recovery_key = new)$master_key,
    setup$master_key
  )
  expect_no_warning(mx_sync(own$phone))
  expect_equal(trust_of(own$phone, own$phone), "verified")
  expect_equal(trust_of(own$phone, own$laptop), "verified")
  expect_setequal(identity_of(own$phone)[["held"]], identity_keys)
})

test_that("without the master key in secret storage one says oneself whose it is", {
  own <- two_devices()
  setup <- mx_cross_signing_reset(own$laptop, password = "demo")
  new <- format(setup$recovery_key, reveal = TRUE)
  set_account_data(own$phone, "m.cross_signing.master", "{}")
  expect_warning(mx_sync(own$phone), class = "mx_warning_own_identity")
  mx_crypto_setup(own$phone, recovery_key = new)
  # Signing keys alone do not say it: a server can put a master key above them.
  expect_warning(mx_sync(own$phone), class = "mx_warning_own_identity")
  mx_user_pin(own$phone, own$phone$user_id)
  mx_devices(own$phone, own$phone$user_id)
  expect_no_warning(mx_sync(own$phone))
  expect_equal(trust_of(own$phone, own$laptop), "verified")
})

test_that("a reset needs neither another session nor the old recovery key", {
  own <- two_devices()
  mx_logout(own$phone)
  mx_logout(own$laptop)
  fresh <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  expect_error(mx_crypto_setup(fresh), class = "mx_error_recovery_key")
  setup <- mx_cross_signing_reset(fresh, password = "demo")
  expect_equal(trust_of(fresh, fresh), "verified")
  later <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  expect_error(
    mx_crypto_setup(later, recovery_key = own$key),
    class = "mx_error_recovery_key"
  )
  mx_crypto_setup(
    later,
    recovery_key = format(setup$recovery_key, reveal = TRUE)
  )
  expect_equal(trust_of(fresh, later), "verified")
})

problems_of <- function(client) mx_crypto_status(client)$out_of_sync$problem

# Mends what is out of sync, and says what that was.
repaired <- function(client, ...) {
  done <- suppressMessages(mx_crypto_repair(client, ...))
  expect_true(all(done$mended))
  expect_equal(problems_of(client), character())
  done$problem
}

test_that("a new account is mended by making what is missing", {
  alice <- mx_demo_client(mx_demo_homeserver(), "alice", verified = FALSE)
  expect_equal(problems_of(alice), c("identity_missing", "backup_missing"))
  expect_equal(repaired(alice), c("identity_missing", "backup_missing"))
  expect_true(mx_cross_signing_ready(alice))
  withr::local_options(cli.default_handler = NULL)
  expect_message(mx_crypto_repair(alice), "Nothing is out of sync")
})

test_that("a device without its keys gets them from secret storage", {
  own <- backed_up()
  device <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  expect_equal(
    problems_of(device),
    c(
      "private_keys_missing_here",
      "device_unsigned",
      "backup_key_missing_here",
      "backup_unused"
    )
  )
  shown <- format(mx_crypto_status(device))
  expect_match(shown, "OUT OF SYNC", all = FALSE)
  expect_match(shown, "mx_crypto_repair", all = FALSE)
  expect_error(mx_crypto_repair(device), class = "mx_error_recovery_key")
  expect_length(repaired(device, own$key), 4)
  expect_equal(bodies_of(device, own$room), c("one", "two"))
})

test_that("what secret storage lacks is put there from here", {
  own <- backed_up()
  for (name in secret_names[c("user_signing", "backup")]) {
    set_account_data(own$alice, name, "{}")
  }
  expect_equal(problems_of(own$alice), "private_keys_not_stored")
  expect_equal(mx_crypto_status(own$alice)$key_storage$recovery, "incomplete")
  expect_equal(repaired(own$alice, own$key), "private_keys_not_stored")
  device <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  mx_crypto_setup(device, recovery_key = own$key)
  expect_true(mx_cross_signing_ready(device))
  expect_equal(bodies_of(device, own$room), c("one", "two"))
})

test_that("what secret storage holds and should not is replaced", {
  own <- backed_up()
  other <- with_recovery_key(own$homeserver, "bob")
  # An older backup's key, and text that opens to nothing.
  false <- strrep("A", 43)
  mx_secret_store(own$alice, "m.megolm_backup.v1", false, own$key)
  broken <- gsub(
    "\"mac\":\"..",
    "\"mac\":\"AA",
    stored_text(own$alice, secret_names[["master"]])
  )
  set_account_data(own$alice, secret_names[["master"]], broken)
  expect_equal(problems_of(own$alice), character())
  expect_equal(repaired(own$alice, own$key), "stored_keys_differ")
  device <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  mx_crypto_setup(device, recovery_key = own$key)
  expect_equal(bodies_of(device, own$room), c("one", "two"))
  # A key that is not that of the storage changes nothing.
  before <- stored_text(own$alice, secret_names[["master"]])
  expect_error(
    mx_crypto_repair(own$alice, other$key),
    class = "mx_error_recovery_key"
  )
  expect_equal(stored_text(own$alice, secret_names[["master"]]), before)
})

test_that("a key that nothing proves is not written with", {
  own <- backed_up()
  other <- with_recovery_key(own$homeserver, "bob")
  # The server leaves the check out, and every key fits.
  algorithm <- "{\"algorithm\": \"m.secret_storage.v1.aes-hmac-sha2\"}"
  set_account_data(own$alice, default_key_type(own$alice), algorithm)
  before <- stored_text(own$alice, secret_names[["master"]])
  expect_error(
    mx_crypto_repair(own$alice, other$key),
    class = "mx_error_recovery_key"
  )
  expect_equal(stored_text(own$alice, secret_names[["master"]]), before)
})

test_that("keys that are not backed up yet are", {
  own <- backed_up()
  mx_room_key_rotate(own$alice, own$room)
  mx_send_text(own$alice, own$room, "three")
  machine <- machine_of(own$alice)
  core(machine_enable_backup(machine, FALSE))
  expect_equal(problems_of(own$alice), "backup_unused")
  expect_equal(repaired(own$alice), "backup_unused")
  expect_length(backup_keys(own$alice)[[own$room]][["sessions"]], 2)
})

test_that("what needs a decision is told, and left", {
  own <- backed_up()
  other <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  new <- mx_crypto_setup(other, reset = TRUE, password = "demo")
  expect_true("identity_changed" %in% problems_of(own$alice))
  expect_error(
    mx_crypto_repair(own$alice, own$key),
    class = "mx_error_recovery_key"
  )
  expect_true("identity_changed" %in% problems_of(own$alice))
  repaired(own$alice, format(new$recovery_key, reveal = TRUE))

  own <- backed_up()
  device <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  set_account_data(own$alice, "m.secret_storage.default_key", "{}")
  done <- suppressMessages(mx_crypto_repair(device))
  expect_false(any(done$mended))
  expect_match(done$repair, "mx_cross_signing_reset", all = FALSE)
})

test_that("a person is asked after it was told", {
  withr::local_options(cli.default_handler = NULL)
  alice <- mx_demo_client(mx_demo_homeserver(), "alice", verified = FALSE)
  local_replaced("confirm", function(text) FALSE)
  told <- testthat::capture_messages(
    expect_error(
      mx_crypto_repair(alice, ask = TRUE),
      class = "mx_error_declined"
    )
  )
  expect_match(told, "Make an identity", all = FALSE)
  expect_null(identity_of(alice)$master_key)
})

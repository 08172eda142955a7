# The table of the SafeMeet FAQ: what leaves the device, who can read the history
# on a new device, and what is left when all devices are lost.

# Secret storage, as if nobody had ever set up recovery.
forget_recovery <- function(client) {
  names <- c("m.secret_storage.default_key", default_key_type(client))
  for (type in c(names, secret_names)) {
    set_account_data(client, type, "{}")
  }
}

# What a new device reads that another device of its user verified, which then gives
# it its secrets.
new_device_reads <- function(own) {
  device <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  both <- comparing(own$alice, device)
  both <- lapply(both, mx_verification_confirm, same = TRUE)
  expect_equal(states(exchange(both)), c("done", "done"))
  for (client in list(device, own$alice, device)) {
    mx_sync(client)
  }
  bodies_of(device, own$room)
}

# What a new device reads when there is no other any more.
reads_without_others <- function(own, recovery_key) {
  suppressWarnings(mx_logout(own$alice), "mx_warning_keys_lost")
  device <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  setup <- mx_crypto_setup(device, recovery_key = recovery_key)
  list(bodies = bodies_of(device, own$room), master_key = setup$master_key)
}

test_that("key storage on, recovery set up: nothing is lost", {
  own <- backed_up()
  storage <- mx_crypto_status(own$alice)$key_storage
  expect_true(storage$on)
  expect_equal(storage$recovery, "set_up")
  expect_equal(storage$uploaded, c("identity", "messages"))
  expect_true(storage$new_device_reads_history && storage$outlives_all_devices)
  expect_equal(new_device_reads(own), c("one", "two"))
  before <- mx_crypto_status(own$alice)$master_key
  found <- reads_without_others(own, own$key)
  expect_equal(found$bodies, c("one", "two"))
  expect_equal(found$master_key, before)
})

test_that("key storage on, recovery not set up: lost with the last device", {
  own <- backed_up()
  forget_recovery(own$alice)
  status <- mx_crypto_status(own$alice)
  storage <- status$key_storage
  expect_true(storage$on)
  expect_equal(storage$recovery, "not_set_up")
  expect_equal(storage$uploaded, "messages")
  expect_true(storage$new_device_reads_history)
  expect_false(storage$outlives_all_devices)
  expect_equal(nrow(status$out_of_sync), 0)
  expect_equal(new_device_reads(own), c("one", "two"))
  expect_error(
    reads_without_others(own, own$key),
    class = "mx_error_secret_storage"
  )
})

test_that("key storage off: no keys leave the device", {
  own <- backed_up()
  mx_backup_delete(own$alice)
  forget_recovery(own$alice)
  status <- mx_crypto_status(own$alice)
  storage <- status$key_storage
  expect_false(storage$on || storage$outlives_all_devices)
  expect_equal(storage$recovery, "not_set_up")
  expect_null(storage$uploaded)
  expect_false(storage$new_device_reads_history)
  expect_equal(nrow(status$out_of_sync), 0)
  mx_send_text(own$alice, own$room, "three")
  mx_sync(own$alice)
  suppressWarnings(mx_logout(own$alice), "mx_warning_keys_lost")
  device <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  expect_false(any(bodies_of(device, own$room) %in% c("one", "two", "three")))
})

test_that("recovery that was never set up can be, with keys that are here", {
  own <- backed_up()
  before <- mx_crypto_status(own$alice)$master_key
  forget_recovery(own$alice)
  key <- mx_recovery_key_change(own$alice)
  expect_equal(mx_crypto_status(own$alice)$key_storage$recovery, "set_up")
  found <- reads_without_others(own, format(key, reveal = TRUE))
  expect_equal(found$bodies, c("one", "two"))
  expect_equal(found$master_key, before)
})

test_that("setting up recovery is gone on with after a crash, or given up", {
  for (acted in c(FALSE, TRUE)) {
    for (at in 1:6) {
      own <- backed_up()
      forget_recovery(own$alice)
      local({
        local_death(at, acted)
        expect_error(mx_recovery_key_change(own$alice), class = "killed")
      })
      expect_equal(
        mx_crypto_status(own$alice)$out_of_sync$problem,
        "identity_unfinished"
      )
      key <- format(mx_recovery_key_change(own$alice), reveal = TRUE)
      expect_equal(mx_crypto_status(own$alice)$key_storage$recovery, "set_up")
      expect_match(
        format(mx_secret_fetch(own$alice, "m.cross_signing.master", key)),
        "mx_secret",
        all = FALSE
      )
    }
  }
  own <- backed_up()
  forget_recovery(own$alice)
  local({
    local_death(1, FALSE)
    expect_error(mx_recovery_key_change(own$alice), class = "killed")
  })
  set_account_data(
    own$alice,
    "m.secret_storage.default_key",
    "{\"key\": \"theirs\"}"
  )
  expect_error(
    mx_recovery_key_change(own$alice),
    class = "mx_error_secret_storage"
  )
  expect_null(identity_of(own$alice)$under_way)
  expect_equal(secret_storage(own$alice)$default_key, "theirs")
})

test_that("without the private keys there is nothing to set recovery up for", {
  own <- backed_up()
  forget_recovery(own$alice)
  device <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  expect_error(mx_recovery_key_change(device), class = "mx_error_identity")
})

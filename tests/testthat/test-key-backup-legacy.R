# Key backups from before there was secret storage: a passphrase of their own, or
# a recovery key that is their private key.

# Nobody has signed the device that said it.
legacy_bodies <- function(client, room) {
  events <- messages(mx_messages(client, room, unsigned = TRUE))
  ifelse(is.na(events$utd_reason), events$body, events$utd_reason)
}

test_that("a legacy backup is recognised, and read with what opens it", {
  own <- legacy_account()
  opening <- list(
    list(passphrase = legacy$passphrase),
    list(recovery_key = legacy$recovery_key)
  )
  for (given in opening) {
    bot <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
    restored <- do.call(mx_backup_restore, c(list(bot), given))
    expect_true(nrow(restored) == 1 && restored$restored)
    expect_equal(legacy_bodies(bot, own$room), c("one", "two"))
    expect_true(mx_backup_status(bot)$key_held)
  }
  bot <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  status <- mx_backup_status(bot)
  expect_true(status$legacy)
  expect_match(format(status), "passphrase of its own", all = FALSE)
  expect_error(
    mx_backup_restore(bot, passphrase = "another"),
    "own passphrase",
    class = "mx_error_recovery_key"
  )
  expect_false(mx_backup_status(bot)$key_held)
})

test_that("set-up puts the key of a legacy backup into new secret storage", {
  for (given in list(
    list(passphrase = legacy$passphrase),
    list(recovery_key = legacy$recovery_key)
  )) {
    own <- legacy_account()
    bot <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
    setup <- do.call(mx_crypto_setup, c(list(bot), given))
    expect_true(mx_cross_signing_ready(bot))
    status <- mx_crypto_status(bot)
    expect_equal(status$key_storage$recovery, "set_up")
    expect_equal(nrow(status$out_of_sync), 0)
    expect_equal(status$key_backup$version, "1")
    expect_equal(legacy_bodies(bot, own$room), c("one", "two"))
    # And a third device needs no more than what opens secret storage now.
    third <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
    if (is.null(setup$recovery_key)) {
      mx_crypto_setup(third, passphrase = legacy$passphrase)
    } else {
      key <- format(setup$recovery_key, reveal = TRUE)
      expect_false(key == legacy$recovery_key)
      mx_crypto_setup(third, recovery_key = key)
    }
    expect_equal(legacy_bodies(third, own$room), c("one", "two"))
  }
})

test_that("nothing that is said of a legacy backup would destroy it", {
  own <- legacy_account()
  bot <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  warned <- expect_warning(
    setup <- mx_crypto_setup(bot),
    class = "mx_warning_key_backup"
  )
  expect_match(conditionMessage(warned), "before secret storage")
  expect_match(
    conditionMessage(warned),
    "mx_backup_enable(client, passphrase",
    fixed = TRUE
  )
  expect_no_match(conditionMessage(warned), "replace|reset")
  problems <- mx_crypto_status(bot)$out_of_sync
  expect_equal(
    problems$problem[[1]],
    "backup_key_missing_here"
  )
  expect_false(problems$mendable[[1]])
  expect_no_match(problems$repair, "replace|reset")
  expect_equal(mx_backup_status(bot)$version, "1")
  # The way that was told works.
  key <- format(setup$recovery_key, reveal = TRUE)
  mx_backup_enable(bot, passphrase = legacy$passphrase)
  expect_equal(problems_of(bot), "private_keys_not_stored")
  expect_equal(repaired(bot, key), "private_keys_not_stored")
  expect_equal(legacy_bodies(bot, own$room), c("one", "two"))
})

test_that("an account with secret storage opens its legacy backup", {
  own <- with_recovery_key(mx_demo_homeserver())
  mx_backup_delete(own$client)
  for (type in c("m.key_backup", "m.org.matrix.custom.backup_disabled")) {
    set_account_data(own$client, type, "{}")
  }
  set_account_data(own$client, secret_names[["backup"]], "{}")
  make_version(own$client, legacy$auth_data)
  warned <- expect_warning(
    mx_crypto_setup(own$client, recovery_key = own$key),
    class = "mx_warning_key_backup"
  )
  expect_no_match(conditionMessage(warned), "replace|reset")
  mx_backup_enable(own$client, recovery_key = legacy$recovery_key)
  expect_equal(repaired(own$client, own$key), "private_keys_not_stored")
})

test_that("iterations are bounded", {
  for (iterations in list(0, -1, 1e7 + 1, 2^32, "1000", 1.5)) {
    auth_data <- legacy$auth_data
    auth_data$private_key_iterations <- iterations
    alice <- mx_demo_client(mx_demo_homeserver(), "alice", verified = FALSE)
    # What is no number of JSON for Matrix is not kept by every server.
    make_version(alice, auth_data)
    expect_error(
      mx_backup_restore(alice, passphrase = legacy$passphrase),
      class = "mx_error_key_backup"
    )
  }
})

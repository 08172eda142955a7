# Versions of the key backup that cannot be worked with, and older ones.

# A version whose private key nobody here has.
foreign_auth_data <- list(
  public_key = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo"
)

test_that("a malformed public key is named, and nothing is promised", {
  long <- strrep("A", 60)
  for (key in list(long, strrep("A", 45), "not a key", 5, NULL)) {
    own <- backed_up()
    make_version(own$alice, list(public_key = key, note = "x"))
    for (client in list(
      own$alice,
      mx_demo_client(own$homeserver, "alice", verified = FALSE)
    )) {
      warned <- expect_warning(
        mx_crypto_setup(client, recovery_key = own$key),
        class = "mx_warning_key_backup"
      )
      expect_no_match(conditionMessage(warned), "replace|reset")
      expect_true(mx_cross_signing_ready(client))
      problems <- mx_crypto_status(client)$out_of_sync
      expect_equal(problems$problem, "backup_refused")
      expect_match(problems$message, "public.key")
      expect_false(problems$mendable)
      done <- suppressMessages(mx_crypto_repair(client, own$key))
      expect_false(done$mended)
      # Its older version is still there, and is read.
      expect_equal(bodies_of(client, own$room), c("one", "two"))
    }
    # It is replaced on demand.
    expect_true(
      mx_backup_enable(own$alice, own$key, replace = TRUE)$key_held
    )
  }
  own <- backed_up()
  make_version(own$alice, list(public_key = strrep("A", 60)))
  expect_match(
    mx_crypto_status(own$alice)$out_of_sync$message,
    "length is 45 bytes"
  )
})

test_that("a key of an older version in secret storage is named, and reads that", {
  own <- backed_up()
  make_version(own$alice, foreign_auth_data)
  bot <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  # Only the key of secret storage can tell.
  expect_true("backup_key_missing_here" %in% problems_of(bot))
  withr::with_envvar(c(MXCRYPT_RECOVERY_KEY = own$key), {
    problems <- mx_crypto_status(bot)$out_of_sync
    row <- problems[problems$problem == "backup_key_differs", ]
    expect_equal(row$mendable, FALSE)
    expect_match(row$message, "version 2")
    expect_no_match(row$repair, "replace|reset")
  })
  warned <- expect_warning(
    setup <- mx_crypto_setup(bot, recovery_key = own$key),
    class = "mx_warning_key_backup"
  )
  expect_no_match(conditionMessage(warned), "replace|reset")
  expect_match(setup$steps, "restored 1 key ", all = FALSE)
  expect_equal(bodies_of(bot, own$room), c("one", "two"))
  # From now on without it.
  expect_setequal(problems_of(bot), c("backup_key_differs", "backup_unused"))
  expect_false(any(mx_crypto_status(bot)$out_of_sync$mendable))
  # It is not fetched at each start.
  asked <- requests_during(
    suppressWarnings(mx_crypto_setup(bot, recovery_key = own$key))
  )
  expect_false(any(grepl("room_keys/keys", asked)))
  # What was restored goes to the backup that is trusted in the end.
  mx_backup_enable(bot, own$key, replace = TRUE)
  mx_backup_upload(bot)
  third <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  mx_crypto_setup(third, recovery_key = own$key)
  expect_equal(bodies_of(third, own$room), c("one", "two"))
})

test_that("an older key in secret storage is read before it is replaced", {
  own <- backed_up()
  other <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  # Who has a legacy backup's key, and no recovery key of secret storage.
  mx_crypto_setup(other, recovery_key = own$key)
  make_version(own$alice, legacy$auth_data)
  bot <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  mx_backup_enable(bot, recovery_key = legacy$recovery_key)
  mended <- suppressMessages(mx_crypto_repair(bot, own$key))
  expect_true("stored_keys_differ" %in% mended$problem && all(mended$mended))
  expect_equal(bodies_of(bot, own$room), c("one", "two"))
  third <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  mx_crypto_setup(third, recovery_key = own$key)
  expect_true(mx_backup_status(third)$key_held)
})

test_that("what is replaced is read first, where its key is here", {
  own <- backed_up()
  bot <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  mx_crypto_setup(bot, recovery_key = own$key)
  mx_backup_enable(bot, own$key, replace = TRUE)
  expect_equal(mx_backup_status(bot)$keys, 1)
  mx_backup_upload(bot)
  third <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  mx_crypto_setup(third, recovery_key = own$key)
  expect_equal(bodies_of(third, own$room), c("one", "two"))
})

test_that("a device that has nothing but the recovery key reads everything", {
  own <- backed_up()
  bot <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  setup <- mx_crypto_setup(bot, recovery_key = own$key)
  expect_match(setup$steps, "joined the key backup", all = FALSE)
  expect_equal(bodies_of(bot, own$room), c("one", "two"))
  events <- messages(mx_messages(bot, own$room))
  expect_equal(unique(events$key_source), "backup")
  expect_true(all(events$trust <= "not_guaranteed"))
  # It was in the first sync too. Nobody was given it before its key had come.
  expect_equal(new_bodies(bot), c("one", "two"))
  # And of what it says itself, the others read.
  mx_send_text(bot, own$room, "three")
  expect_equal(utils::tail(bodies_of(own$alice, own$room), 1), "three")
})

test_that("mx_messages() alone reads what no sync brings", {
  own <- backed_up("old")
  mx_room_key_rotate(own$alice, own$room)
  mx_send_text(own$alice, own$room, as.character(1:60))
  mx_backup_upload(own$alice)
  bot <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  mx_crypto_setup(bot, recovery_key = own$key)
  events <- messages(mx_messages(bot, own$room, limit = 100))
  expect_equal(events$body, c("old", 1:60))
  expect_true(all(is.na(events$utd_reason)))
})

test_that("the first sync of a new disk returns what the backup can read, once", {
  own <- backed_up("one")
  mx_room_key_rotate(own$alice, own$room)
  mx_send_text(own$alice, own$room, c("two", "three"))
  mx_backup_upload(own$alice)
  bot <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  mx_crypto_setup(bot, recovery_key = own$key)
  expect_equal(new_bodies(bot), c("one", "two", "three"))
  expect_equal(new_bodies(bot), character())
})

test_that("all keys are restored, those of a room, or one", {
  own <- backed_up()
  other <- mx_room_create(own$alice)
  mx_send_text(own$alice, other, "elsewhere")
  mx_backup_upload(own$alice)
  session <- messages(mx_messages(own$alice, own$room))$session_id[[1]]
  restored <- function(...) {
    bot <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
    mx_crypto_setup(bot, recovery_key = own$key)
    mx_backup_restore(bot, ...)
  }
  all <- restored()
  expect_setequal(all$room_id, c(own$room, other))
  expect_true(all(all$restored) && all(is.na(all$reason)))
  one <- restored(own$room)
  expect_equal(one, all[all$room_id == own$room, ], ignore_attr = "row.names")
  expect_equal(restored(own$room, session)$session_id, session)
  expect_error(restored(NULL, session), class = "mx_error_argument")
  expect_error(restored(own$room, "none"), class = "mx_error_M_NOT_FOUND")
})

test_that("the status is told in the words that people know", {
  own <- backed_up()
  status <- mx_backup_status(own$alice)
  expect_s3_class(status, "mx_backup_status")
  expect_equal(status$keys, 1)
  expect_equal(status$backed_up, 1)
  expect_true(status$wanted && status$key_in_secret_storage)
  shown <- format(status)
  for (words in c(
    "Backup version: 1",
    "Algorithm: m.megolm_backup.v1.curve25519-aes-sha2",
    "Backup key stored: in secret storage and on this device",
    "All keys backed up (1)",
    "Backup has a valid signature from this user",
    "Backup has a valid signature from this session",
    "This backup is trusted because its key is on this device"
  )) {
    expect_match(shown, words, fixed = TRUE, all = FALSE)
  }
  expect_output(print(status), "All keys backed up")
  expect_match(format(mx_crypto_status(own$alice)), "key backup", all = FALSE)

  signatures <- data.frame(
    signer = c("device", "unknown", "identity"),
    name = c("PHONE", "LEO\u001b[31m", "x"),
    valid = c(TRUE, NA, FALSE)
  )
  expect_equal(
    describe_signatures(signatures),
    c(
      "Backup has an INVALID signature from this user",
      "Backup has a valid signature from session with ID PHONE",
      "Backup has a signature from unknown session with ID LEO [31m"
    )
  )
  expect_equal(describe_signatures(signatures[0, ]), character())
})

test_that("an upload shows how far it is", {
  own <- with_recovery_key(mx_demo_homeserver())
  room <- mx_room_create(own$client)
  machine <- machine_of(own$client)
  core(machine_enable_backup(machine, FALSE))
  mx_send_text(own$client, room, "x")
  expect_equal(mx_backup_status(own$client)$backed_up, 0)
  core(machine_enable_backup(machine, TRUE))
  expect_equal(mx_backup_upload(own$client), 1)
  expect_equal(mx_backup_upload(own$client), 0)
})

test_that("each sync puts new keys into the backup", {
  own <- backed_up()
  mx_room_key_rotate(own$alice, own$room)
  mx_send_text(own$alice, own$room, "three")
  Sys.sleep(1.1)
  mx_sync(own$alice)
  expect_length(backup_keys(own$alice)[[own$room]][["sessions"]], 2)
})

test_that("a wrong recovery key opens nothing", {
  own <- backed_up()
  other <- with_recovery_key(own$homeserver, "bob")
  bot <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  expect_error(
    mx_crypto_setup(bot, recovery_key = other$key),
    class = "mx_error_recovery_key"
  )
  expect_error(mx_backup_restore(bot), class = "mx_error_key_backup")
  expect_false(mx_backup_status(bot)$key_held)
  expect_false(any(c("one", "two") %in% bodies_of(bot, own$room)))
})

test_that("what a person switches off stays off", {
  own <- backed_up()
  status <- mx_backup_disable(own$alice)
  expect_equal(status$version, "1")
  expect_false(status$enabled)
  expect_match(format(status), "not being backed up", all = FALSE)
  expect_error(mx_backup_upload(own$alice), class = "mx_error_key_backup")
  expect_no_warning(mx_crypto_setup(own$alice))
  expect_false(mx_backup_status(own$alice)$enabled)
  expect_true(mx_backup_enable(own$alice, own$key)$enabled)

  expect_null(mx_backup_delete(own$alice)$version)
  # Another device follows what the account says.
  bot <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  expect_no_warning(mx_crypto_setup(bot, recovery_key = own$key))
  expect_null(mx_backup_status(bot)$version)
  status <- mx_backup_enable(own$alice, own$key)
  expect_false(status$version == "1")
  expect_true(status$wanted)
  mx_backup_upload(own$alice)
  expect_length(backup_keys(own$alice)[[own$room]][["sessions"]], 1)
})

test_that("without the recovery key there is a warning, and nothing is made", {
  own <- backed_up()
  mx_backup_delete(own$alice)
  for (type in c("m.key_backup", "m.org.matrix.custom.backup_disabled")) {
    set_account_data(own$alice, type, "{}")
  }
  expect_warning(mx_crypto_setup(own$alice), class = "mx_warning_key_backup") |>
    suppressMessages()
  setup <- mx_crypto_setup(own$alice, recovery_key = own$key)
  expect_equal(setup$steps, "created a key backup")
  expect_no_warning(mx_crypto_setup(own$alice))
})

test_that("a backup whose key is lost is replaced on demand", {
  own <- backed_up()
  set_account_data(own$alice, secret_names[["backup"]], "{}")
  bot <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  # It is written to, because it is signed.
  expect_warning(
    mx_crypto_setup(bot, recovery_key = own$key),
    class = "mx_warning_key_backup"
  )
  status <- mx_backup_status(bot)
  expect_true(status$trusted && status$enabled && !status$key_held)
  expect_match(format(status), "because of its signature", all = FALSE)
  expect_error(mx_backup_restore(bot), class = "mx_error_key_backup")
  expect_error(mx_backup_enable(bot, own$key), class = "mx_error_key_backup")
  status <- mx_backup_enable(bot, own$key, replace = TRUE)
  expect_true(status$key_held)
  expect_equal(status$version, "2")
  # The phone, which has the keys, goes on with it.
  mx_backup_enable(own$alice, own$key)
  mx_backup_upload(own$alice)
  expect_equal(bodies_of(bot, own$room), c("one", "two"))
})

test_that("a reset makes another backup, and deletes those before", {
  own <- backed_up()
  suppressMessages(mx_cross_signing_reset(own$alice, password = "demo"))
  status <- mx_backup_status(own$alice)
  expect_equal(status$version, "2")
  expect_true(status$key_held)
  path <- api_path("room_keys", "version", "1")
  expect_error(
    http_json(own$alice, "GET", path),
    class = "mx_error_M_NOT_FOUND"
  )
  mx_backup_upload(own$alice)
  expect_length(backup_keys(own$alice)[[own$room]][["sessions"]], 1)
})

test_that("killed at any request, a backup is made once", {
  made <- function(method, path) {
    grepl("^(POST|PUT|DELETE)", method) && grepl("room_keys|account_data", path)
  }
  for (acted in c(FALSE, TRUE)) {
    for (at in 1:4) {
      own <- backed_up()
      mx_backup_delete(own$alice)
      local({
        local_death(at, acted, deadly = made)
        expect_error(mx_backup_enable(own$alice, own$key), class = "killed")
      })
      forget_open_stores()
      alice <- mx_client_load(path = own$alice$path)
      mx_crypto_setup(alice, recovery_key = own$key)
      mx_backup_upload(alice)
      where <- sprintf("request %d, acted: %s", at, acted)
      status <- mx_backup_status(alice)
      expect_true(status$key_held && status$backed_up == 1, info = where)
      expect_equal(status$version, "2", info = where)
      bot <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
      mx_crypto_setup(bot, recovery_key = own$key)
      expect_equal(bodies_of(bot, own$room), c("one", "two"), info = where)
    }
  }
})

test_that("a server that keeps what it should delete does not keep us", {
  own <- backed_up()
  real <- http_once
  local_replaced("http_once", function(session, method, path, ...) {
    if (method == "DELETE") {
      method <- "GET"
    }
    real(session, method, path, ...)
  })
  expect_error(mx_backup_delete(own$alice), class = "mx_error_key_backup")
})

test_that("a backup that was declined by Element's older name is respected", {
  older <- "m.org.matrix.custom.backup_disabled"
  alice <- mx_demo_client(mx_demo_homeserver(), "alice", verified = FALSE)
  set_account_data(alice, older, "{\"disabled\": true}")
  key <- format(mx_crypto_setup(alice)$recovery_key, reveal = TRUE)
  status <- mx_backup_status(alice)
  expect_null(status$version)
  expect_false(status$wanted)
  expect_equal(problems_of(alice), character())
  # Also by who wrote only that.
  set_account_data(alice, "m.key_backup", "{\"enabled\": true}")
  expect_false(mx_backup_status(alice)$wanted)

  said <- function() {
    types <- c("m.key_backup", older)
    unlist(lapply(types, function(type) json_decode(stored_text(alice, type))))
  }
  expect_true(mx_backup_enable(alice, key)$wanted)
  expect_equal(said(), c(enabled = TRUE, disabled = FALSE))
  mx_backup_disable(alice)
  expect_equal(said(), c(enabled = FALSE, disabled = TRUE))
  mx_backup_enable(alice, key)
  mx_backup_delete(alice)
  expect_equal(said(), c(enabled = FALSE, disabled = TRUE))
})

test_that("a device that backs up does not make again what was declined", {
  own <- backed_up()
  other <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  mx_crypto_setup(other, recovery_key = own$key)
  mx_backup_delete(other)
  expect_equal(problems_of(own$alice), character())
  expect_no_warning(mx_crypto_setup(own$alice, recovery_key = own$key))
  expect_null(mx_backup_status(own$alice)$version)
})

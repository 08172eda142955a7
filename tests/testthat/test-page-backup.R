# The view of the key backup.

backup_of <- function(...) {
  status <- list(
    version = "8",
    algorithm = "m.megolm_backup.v1.curve25519-aes-sha2",
    count = 3,
    refused = NULL,
    failure = NULL,
    legacy = FALSE,
    key_held = TRUE,
    key_in_secret_storage = TRUE,
    trusted = TRUE,
    enabled = TRUE,
    wanted = TRUE,
    keys = 3,
    backed_up = 3,
    signatures = data.frame(
      signer = c("identity", "device", "unknown", "this_device"),
      name = c("key", "PHONE", "LEOTHYQNCM", "HERE"),
      valid = c(TRUE, TRUE, NA, FALSE),
      trusted = c(TRUE, FALSE, FALSE, FALSE)
    )
  )
  utils::modifyList(status, list(...), keep.null = TRUE)
}

text_of <- function(html) {
  html <- gsub("<[^>]+>", " ", as.character(html))
  gsub("[[:space:]]+", " ", html)
}

test_that("the backup is described as Element does", {
  text <- text_of(backup_html(backup_of()))
  for (words in c(
    "Backup version 8",
    "m.megolm_backup.v1.curve25519-aes-sha2",
    "Backup key stored in secret storage and on this device",
    "Keys at the server 3",
    "trusted because its key is on this device",
    "a valid signature from this user",
    "a valid signature from your device PHONE, which this device has not verified",
    "a signature from an unknown device with ID LEOTHYQNCM",
    "an invalid signature from this device"
  )) {
    expect_match(text, words, fixed = TRUE)
  }
})

test_that("why a backup is not trusted is said", {
  text <- text_of(backup_html(backup_of(key_held = FALSE)))
  expect_match(text, "trusted because of its signature", fixed = TRUE)
  text <- text_of(backup_html(backup_of(key_held = FALSE, trusted = FALSE)))
  expect_match(text, "not trusted: its key is not on this device", fixed = TRUE)
  text <- text_of(backup_html(backup_of(refused = "<b>It is odd.</b>")))
  expect_match(text, "refused. &lt;b&gt;It is odd.&lt;/b&gt;", fixed = TRUE)
  text <- text_of(backup_html(backup_of(
    key_held = FALSE,
    key_in_secret_storage = FALSE
  )))
  expect_match(text, "neither in secret storage nor on this device")
})

test_that("text of the server cannot leave its place", {
  hostile <- c("<script>alert(1)</script>", "\u202egpj", strrep("x", 10000))
  for (text in hostile) {
    html <- as.character(backup_html(backup_of(
      version = text,
      algorithm = text,
      signatures = data.frame(
        signer = "unknown",
        name = text,
        valid = NA,
        trusted = FALSE
      )
    )))
    expect_no_match(html, "<script|\u202e")
    expect_lt(nchar(html), 5000)
    html <- as.character(backup_html(backup_of(failure = text)))
    expect_no_match(html, "<script|\u202e")
  }
})

test_that("progress says how many keys are backed up, and whether all are", {
  html <- as.character(backup_progress_html(backup_of(backed_up = 1)))
  expect_match(html, "1 of 3 keys backed up", fixed = TRUE)
  expect_match(html, "<progress value=\"1\" max=\"3\">", fixed = TRUE)
  expect_match(text_of(backup_progress_html(backup_of())), "All keys backed up")
  off <- backup_progress_html(backup_of(enabled = FALSE))
  expect_match(text_of(off), "not being backed up")
  none <- backup_progress_html(backup_of(version = NULL))
  expect_match(
    text_of(none),
    "3 keys are on this device, and none is backed up"
  )
})

test_that("a backup is deleted, set up, switched off and on, and filled", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  setup <- mx_crypto_setup(alice)
  key <- format(setup$recovery_key, reveal = TRUE)
  room <- mx_room_create(alice)
  mx_send_text(alice, room, "hello")
  in_view(alice, "backup", {
    expect_match(shown("backup_actions"), "Delete backup")
    expect_true(send("backup_delete")$ok)
    expect_null(mx_backup_status(alice)$version)
    expect_match(shown("backup_facts"), "There is no key backup")
    expect_match(shown("backup_actions"), "Set up key backup")
    # The key opens secret storage, and another does not.
    wrong <- send("backup_enable", recovery_key = "no key")
    expect_false(wrong$ok)
    expect_no_match(wrong$html, "mx_")
    expect_true(send("backup_enable", recovery_key = key)$ok)
    expect_true(send("backup_disable")$ok)
    expect_false(mx_backup_status(alice)$enabled)
    expect_match(shown("backup_actions"), "Switch on here")
    expect_no_match(shown("backup_actions"), "Back up now")
    expect_true(send("backup_enable")$ok)
    expect_true(send("backup_upload")$ok)
    expect_match(send("backup_upload")$html, "nothing to back up")
    status <- mx_backup_status(alice)
    expect_equal(status$count, 1)
    expect_match(shown("backup_progress"), "1 of 1 key backed up")
    expect_match(send("backup_restore")$html, "1 key of 1 room restored")
  })
})

test_that("a device without the key restores with it, and without it is told", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  key <- format(mx_crypto_setup(alice)$recovery_key, reveal = TRUE)
  room <- mx_room_create(alice)
  mx_send_text(alice, room, "hello")
  mx_backup_upload(alice)
  late <- mx_demo_client(homeserver, "alice", verified = FALSE)
  in_view(late, "backup", {
    expect_match(shown("backup_actions"), "Recovery key or passphrase")
    none <- send("backup_restore")
    expect_false(none$ok)
    expect_match(none$html, "not on this device")
    expect_match(
      send("backup_restore", recovery_key = key)$html,
      "1 key of 1 room restored"
    )
  })
  expect_equal(
    mx_messages(late, room, types = "m.room.message", unsigned = TRUE)$body,
    "hello"
  )
})

test_that("a new backup takes the place of one whose key is lost", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  key <- format(mx_crypto_setup(alice)$recovery_key, reveal = TRUE)
  late <- mx_demo_client(homeserver, "alice", verified = FALSE)
  in_view(late, "backup", {
    old <- mx_backup_status(late)$version
    expect_true(send("backup_replace", recovery_key = key)$ok)
    status <- mx_backup_status(late)
    expect_false(status$version == old)
    expect_true(status$key_held)
  })
})

test_that("what was restored, and why the rest was not, is told", {
  keys <- data.frame(
    room_id = c("!a", "!a", "!b"),
    session_id = c("1", "2", "3"),
    restored = c(TRUE, FALSE, FALSE),
    reason = c(NA, "<i>broken</i>", "<i>broken</i>")
  )
  text <- text_of(restored_html(keys))
  expect_match(text, "1 key of 1 room restored")
  expect_match(text, "2 keys not restored")
  expect_match(text, "2: &lt;i&gt;broken&lt;/i&gt;", fixed = TRUE)
  expect_match(text_of(restored_html(keys[0, ])), "The backup has no keys")
  expect_match(text_of(restored_html(keys[2, ])), "No key could be restored")
})

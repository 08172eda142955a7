# Key files, the key backup and what cannot be read on the page, with matrix-js-sdk on the
# other side.

passphrase <- "correct horse p\u00e4ss \U1F511 staple"

field <- function(form, name) {
  sprintf("[data-input=%s] [data-field=%s]", form, name)
}

agree <- function(page, form, button) {
  page$click("button", button, within = sprintf("[data-input=%s]", form))
  page$click("button", button, within = "dialog")
}

told <- function(page, text, form, ...) {
  page$expect_text(
    text,
    css = sprintf("[data-input=%s] .mx-outcome", form),
    ...
  )
}

test_that("keys are exported on the page, and a foreign client reads with them", {
  user <- live_user("alice")
  alice <- live_client(user)
  bob <- live_stranger()
  room <- new_room(alice, bob$user_id)
  enter(bob, room, alice)
  event <- say(bob, room, "before")
  expect_reads(alice, room, event)
  other <- mx_room_create(alice, name = "Other <b>")
  mx_send_text(alice, other, "elsewhere")
  mx_sync(alice)
  page <- live_browser()$open(security_app(alice)$view("keys"))
  page$fill("short", css = field("keys_export", "new_passphrase"))
  page$fill("shorter", css = field("keys_export", "again"))
  page$expect_text("Short: it can be guessed.")
  page$click("button", "Export")
  told(page, "The two passphrases differ. Nothing was done.", "keys_export")
  export <- function(...) {
    page$fill(passphrase, css = field("keys_export", "new_passphrase"))
    page$fill(passphrase, css = field("keys_export", "again"))
    page$click("button", "Export")
  }
  # Of one room.
  page$check("radio", "Only these")
  page$check("checkbox", "Other <b>")
  look_at(page, "page-keys-rooms-desktop")
  export()
  told(page, "1 key exported.", "keys_export")
  page$check("radio", "All rooms")
  export()
  told(page, "2 keys exported.", "keys_export")
  # Neither the fields nor Shiny's memory of what was sent keep it.
  kept <- page$evaluate("JSON.stringify(Shiny.shinyapp.$inputValues)")
  expect_match(kept, "keys_export", fixed = TRUE)
  expect_no_match(kept, passphrase, fixed = TRUE)
  look_at(page, "page-keys-exported-desktop")
  file <- withr::local_tempfile()
  name <- page$download(file, "link", "Save the file")
  expect_equal(
    name,
    sprintf(
      "mxcrypt-megolm-export-%s-%s.txt",
      gsub("[^A-Za-z0-9@._=-]", "_", alice$user_id),
      format(Sys.Date())
    )
  )
  expect_no_faults(page)
  late <- foreign_client(user$user, user$password)
  expect_cannot_read(late, room, event)
  late$call(
    "importKeyFile",
    file = paste(readLines(file), collapse = "\n"),
    passphrase = passphrase
  )
  expect_reads(late, room, event)
})

test_that("a file of a foreign client is imported, and what is no such file is told", {
  user <- live_user("alice")
  first <- foreign_client(user$user, user$password)
  bob <- live_stranger()
  room <- new_room(first, bob$user_id)
  enter(bob, room, first)
  event <- say(bob, room, "before")
  expect_reads(first, room, event)
  dir <- withr::local_tempdir()
  file <- file.path(dir, "element-keys.txt")
  writeLines(first$call("exportKeyFile", passphrase = passphrase), file)

  late <- live_client(user)
  app <- security_app(late)
  page <- live_browser()$open(app$view("unreadable"), view = "phone")
  page$expect_text("1 message cannot be read", seconds = 40)
  look_at(page, "page-unreadable-phone")
  page$click("button", "Look for the keys again")
  told(page, "No key has come yet.", "unreadable_look")
  page$click("link", "Import a key file.")
  import <- function(path, words) {
    page$upload(path, css = "[data-field=keys_upload]")
    page$expect_text(
      "Upload complete",
      css = "#keys_upload_progress",
      seconds = 60
    )
    page$fill(words, css = field("keys_import", "passphrase"))
    page$click("button", "Import")
  }
  page$click("button", "Import")
  told(page, "Choose a file", "keys_import")
  import(file, "another")
  told(page, "the passphrase is wrong", "keys_import")
  look_at(page, "page-keys-wrong-phone")
  empty <- file.path(dir, "empty.txt")
  file.create(empty)
  broken <- file.path(dir, "broken.txt")
  writeLines(head(readLines(file), 2), broken)
  import(broken, passphrase)
  told(page, "cut off", "keys_import")
  large <- file.path(dir, "large.txt")
  writeBin(rep(charToRaw("A"), 1e8), large)
  import(large, passphrase)
  told(page, "no key export", "keys_import", seconds = 60)
  unlink(large)
  page$upload(empty, css = "[data-field=keys_upload]")
  import(file, passphrase)
  told(page, "1 key imported.", "keys_import")
  look_at(page, "page-keys-imported-phone")
  page$click("link", "See what is still unreadable.")
  page$expect_text("Nothing is unreadable.", css = "#unreadable_list")
  look_at(page, "page-unreadable-none-phone")
  expect_no_faults(page)
  history <- mx_messages(late, room, unsigned = TRUE)
  expect_true("before" %in% history$body)
})

test_that("the backup of a foreign client is shown, restored, filled and deleted", {
  own <- foreign_backup()
  late <- live_client(own$alice)
  page <- live_browser()$open(security_app(late)$view("backup"))
  version <- own$phone$call("backupTrust")[["version"]]
  page$expect_text(version, css = "#backup_facts")
  for (text in c(
    "m.megolm_backup.v1.curve25519-aes-sha2",
    "in secret storage",
    "This backup is not trusted"
  )) {
    page$expect_text(text, css = "#backup_facts")
  }
  look_at(page, "page-backup-locked-desktop")
  page$click("button", "Restore from backup")
  told(page, "not on this device", "backup_restore")
  page$fill(own$key, css = field("backup_restore", "recovery_key"))
  page$click("button", "Restore from backup")
  told(page, "restored.", "backup_restore")
  page$expect_text("on this device", css = "#backup_facts")
  look_at(page, "page-backup-restored-desktop")
  expect_setequal(
    mx_messages(late, own$room, types = "m.room.message", unsigned = TRUE)$body,
    c("from the phone", "from bob")
  )
  # Keys of this device go there now, and the phone gets them.
  mx_crypto_setup(late, recovery_key = own$key)
  room <- mx_room_create(late)
  mx_send_text(late, room, "from here")
  page$reload()
  page$click("button", "Back up now")
  told(page, "back", "backup_upload")
  page$expect_text("All keys backed up.", css = "#backup_facts")
  look_at(page, "page-backup-full-desktop")
  own$phone$call("enterRecoveryKey", recoveryKey = own$key)
  expect_gte(own$phone$call("restoreBackup")[["imported"]], 3)
  agree(page, "backup_disable", "Switch off here")
  page$expect("button", "Switch on here")
  expect_false(mx_backup_status(late)$enabled)
  page$click("button", "Switch on here")
  page$expect("button", "Back up now")
  page$click("button", "Delete backup")
  page$expect_text("can never be read again", css = "dialog")
  page$screenshot("page-backup-delete-desktop")
  page$press("Escape")
  expect_equal(mx_backup_status(late)$version, version)
  agree(page, "backup_delete", "Delete backup")
  page$expect_text("There is no key backup", css = "#backup_facts")
  look_at(page, "page-backup-none-desktop")
  path <- "/_matrix/client/v3/room_keys/version"
  expect_error(own$phone$call("raw", path = path), "No current backup|404")
  page$fill(own$key, css = field("backup_enable", "recovery_key"))
  page$click("button", "Set up key backup")
  page$expect("button", "Delete backup")
  # The foreign client trusts the new one, and puts its keys there too.
  expect_false(in_backup(own$phone, 3) == version)
  expect_no_faults(page)
})

test_that("the status says that all is in order, or which view helps", {
  own <- foreign_backup()
  late <- live_client(own$alice)
  browser <- live_browser()
  app <- security_app(late)
  page <- browser$open(app$view("status"))
  page$expect_text("This device is not signed", exact = FALSE)
  page$expect("link", "Verify this device.")
  look_at(page, "page-status-problems-desktop")
  page$fill(own$key, css = field("status_repair", "recovery_key"))
  page$click("button", "Repair what can be repaired")
  page$expect_text("Your encryption is in order.", seconds = 40)
  look_at(page, "page-status-well-desktop")
  expect_no_faults(page)
  # What is there when a view has come.
  views <- c(
    status = "#status_summary .mx-card >> nth=0",
    backup = "#backup_actions .mx-card >> nth=0",
    recovery = "#recovery_forms .mx-card >> nth=0",
    keys = "#keys .mx-card >> nth=0",
    unreadable = "#unreadable_list > * >> nth=0"
  )
  for (view in names(views)) {
    for (size in c("desktop", "phone")) {
      for (dark in c(FALSE, TRUE)) {
        page <- browser$open(app$view(view), view = size, dark = dark)
        page$expect(css = views[[view]])
        name <- c("page", view, size, if (dark) "dark")
        look_at(page, paste(name, collapse = "-"))
        page$close()
      }
    }
  }
})

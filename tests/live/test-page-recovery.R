# Identity and recovery on the page, with matrix-js-sdk as the judge of what came of it.

field <- function(form, name) {
  sprintf("[data-input=%s] [data-field=%s]", form, name)
}

# Presses a button of a form, and agrees to what it asks.
agree <- function(page, form, button) {
  page$click("button", button, within = sprintf("[data-input=%s]", form))
  page$click("button", button, within = "dialog")
}

# The key that the page shows to a person who asks for it, and saves.
save_key <- function(page) {
  page$click("button", "Show the recovery key")
  page$expect(css = "#recovery_key_text")
  key <- page$text(css = "#recovery_key_text")
  file <- withr::local_tempfile()
  name <- page$download(file, "button", "Save as file")
  expect_match(name, "^recovery-key-@.*[.]txt$")
  expect_equal(readLines(file), key)
  page$click("button", "I have saved it")
  page$click("button", "I have saved it", within = "dialog")
  page$expect_gone(css = "#recovery_key_text")
  key
}

# Another device of the same person, which opens secret storage with what the page gave.
foreign_device <- function(user, key, .local_envir = parent.frame()) {
  phone <- live_foreign(.local_envir, user = user)
  phone$call("enterRecoveryKey", recoveryKey = key)
  phone$call("bootstrapCrossSigning", password = user$password)
  phone
}

master_key_of <- function(phone) {
  phone$call("crossSigningStatus")[["keyIds"]][["master_key"]]
}

test_that("encryption is set up with a key that the page shows once", {
  user <- live_user("alice")
  alice <- live_client(user)
  app <- security_app(alice)
  browser <- live_browser()
  page <- browser$open(app$view("recovery"), view = "phone", dark = TRUE)
  page$expect("button", "Continue")
  look_at(page, "page-recovery-new-phone-dark")
  page$click("button", "Continue")
  page$expect("button", "Show the recovery key")
  page$expect_no_text("EsT")
  # A reload in the middle loses nothing.
  page$reload()
  page$click("button", "Show the recovery key")
  page$expect(css = "#recovery_key_text")
  look_at(page, "page-recovery-key-phone-dark")
  page$click("button", "Hide it")
  page$expect_gone(css = "#recovery_key_text")
  key <- save_key(page)
  expect_no_faults(page)
  phone <- foreign_device(user, key)
  status <- mx_crypto_status(alice)
  expect_equal(master_key_of(phone), status$master_key)
  expect_false(status$recovery_key)
  phone$call(
    "waitForVerified",
    userId = alice$user_id,
    deviceId = alice$device_id
  )
})

test_that("encryption is set up with a passphrase, which a foreign client opens", {
  user <- live_user("alice")
  alice <- live_client(user)
  page <- live_browser()$open(security_app(alice)$view("recovery"))
  page$expect("button", "Continue")
  page$check("radio", "Enter a passphrase", exact = FALSE)
  page$fill("short", css = field("recovery_set_up", "new_passphrase"))
  page$expect_text("Short: it can be guessed.", css = "#recovery_forms")
  look_at(page, "page-recovery-passphrase-desktop")
  words <- "correct horse p\u00e4ss \U1F511 staple"
  page$fill(words, css = field("recovery_set_up", "new_passphrase"))
  page$fill(words, css = field("recovery_set_up", "again"))
  page$click("button", "Continue")
  page$expect_text("This device is verified.", css = "#recovery_forms")
  expect_equal(page$count("button", "Show the recovery key"), 0)
  expect_no_faults(page)
  phone <- live_foreign(user = user)
  phone$call("enterPassphrase", passphrase = words)
  phone$call("bootstrapCrossSigning", password = user$password)
  expect_equal(master_key_of(phone), mx_crypto_status(alice)$master_key)
})

test_that("a new login is verified with the recovery key of a foreign client", {
  own <- foreign_backup()
  late <- live_client(own$alice)
  # Before, it cannot read what was said.
  expect_no_match(shown_in(late, own$room), "^from")
  page <- live_browser()$open(security_app(late)$view("recovery"))
  page$expect("button", "Verify with the recovery key")
  look_at(page, "page-recovery-verify-desktop")
  page$fill(
    "EsTZ 4us6 nh29 89jk U1uH Zbae 4PuS QQC1 86pt em8o R8nb bdwQ",
    css = field("recovery_verify", "recovery_key")
  )
  page$press("Enter")
  page$expect_text(
    "of another account, or an older one",
    css = "#recovery_forms"
  )
  page$fill(own$key, css = field("recovery_verify", "recovery_key"))
  page$press("Enter")
  page$expect_text("This device is verified.", css = "#recovery_forms")
  expect_no_faults(page)
  own$phone$call(
    "waitForVerified",
    userId = late$user_id,
    deviceId = late$device_id
  )
  # Now the key backup gives it the history.
  mx_sync(late)
  expect_setequal(
    shown_in(late, own$room),
    c("from the phone", "from bob")
  )
})

test_that("the recovery key is changed, after which only the new one opens", {
  user <- live_user("alice")
  alice <- live_client(user)
  old <- format(mx_crypto_setup(alice)$recovery_key, reveal = TRUE)
  mx_recovery_key_forget(mx_crypto_setup(alice)$recovery_key)
  page <- live_browser()$open(security_app(alice)$view("recovery"))
  page$fill(old, css = field("recovery_change", "recovery_key"))
  agree(page, "recovery_change", "Change")
  page$expect("button", "Show the recovery key")
  key <- save_key(page)
  expect_false(key == old)
  phone <- foreign_device(user, key)
  expect_equal(master_key_of(phone), mx_crypto_status(alice)$master_key)
  stale <- live_foreign(user = user)
  stale$call("enterRecoveryKey", recoveryKey = old)
  expect_error(
    stale$call("bootstrapCrossSigning", password = user$password)
  )
})

test_that("an identity is reset with another device at hand", {
  user <- live_user("alice")
  alice <- live_client(user)
  setup <- mx_crypto_setup(alice)
  old <- format(setup$recovery_key, reveal = TRUE)
  mx_recovery_key_forget(setup$recovery_key)
  phone <- foreign_device(user, old)
  room <- new_room(alice, alice$user_id[0])
  mx_send_text(alice, room, "from before")
  page <- live_browser()$open(security_app(alice)$view("recovery"))
  page$expect("button", "Reset identity")
  # What it costs is said first, and how to keep what there is.
  page$expect_text("Everybody who verified you has to do it again.")
  page$expect("link", "Export them to a file.")
  look_at(page, "page-recovery-reset-desktop")
  agree(page, "recovery_reset", "Reset identity")
  page$expect_text("A password for", css = "#recovery_forms")
  page$fill(user$password, css = field("recovery_reset", "password"))
  agree(page, "recovery_reset", "Reset identity")
  page$expect("button", "Show the recovery key", seconds = 40)
  page$expect("link", "Sign out those that you do not need")
  look_at(page, "page-recovery-after-reset-desktop")
  key <- save_key(page)
  expect_no_faults(page)
  expect_false(mx_crypto_status(alice)$master_key == setup$master_key)
  # The other device takes the new identity with the new key, and the history too.
  phone$call("enterRecoveryKey", recoveryKey = key)
  phone$call("bootstrapCrossSigning", password = user$password)
  expect_equal(master_key_of(phone), mx_crypto_status(alice)$master_key)
  # What was said before is still read, and in the new backup.
  expect_true("from before" %in% shown_in(alice, room))
  expect_gt(phone$call("restoreBackup")[["imported"]], 0)
})

test_that("an identity is reset without another device and without its key", {
  own <- foreign_backup()
  old <- master_key_of(own$phone)
  late <- live_client(own$alice)
  page <- live_browser()$open(
    security_app(late)$view("recovery"),
    view = "phone"
  )
  page$expect_text("destroys all your keys", exact = FALSE)
  page$expect_text("verify this one with it")
  look_at(page, "page-recovery-lost-phone")
  page$check(
    "radio",
    "Enter a passphrase (also called security phrase)",
    within = "[data-input=recovery_reset]"
  )
  words <- "correct horse battery staple"
  page$fill(words, css = field("recovery_reset", "new_passphrase"))
  page$fill(words, css = field("recovery_reset", "again"))
  page$fill(own$alice$password, css = field("recovery_reset", "password"))
  agree(page, "recovery_reset", "Reset identity")
  page$expect_text(
    "This device is verified.",
    css = "#recovery_forms",
    seconds = 40
  )
  expect_no_faults(page)
  status <- mx_crypto_status(late)
  expect_false(status$master_key == old)
  # Bob's client sees the new one, and the old phone is not verified any more.
  phone <- live_foreign(user = own$alice)
  phone$call("enterPassphrase", passphrase = words)
  phone$call("bootstrapCrossSigning", password = own$alice$password)
  expect_equal(master_key_of(phone), status$master_key)
  phone$call(
    "waitForVerified",
    userId = late$user_id,
    deviceId = late$device_id
  )
  old_phone <- phone$call(
    "deviceStatus",
    userId = late$user_id,
    deviceId = own$phone$device_id
  )
  expect_false(old_phone[["crossSigningVerified"]])
  # The history is gone with the backup.
  expect_no_match(shown_in(late, own$room), "^from")
})

test_that("a server that approves a reset on its web page gets a link to it", {
  withr::local_envvar(MXCRYPT_PASSWORD = NA)
  withr::local_options(mxcrypt.keyring = FALSE, rlang_interactive = FALSE)
  oauth <- live_oauth()
  person <- paste0("u", substr(tolower(gsub("\\W", "", random_text())), 1, 10))
  dir <- withr::local_tempdir()
  sign_in <- function() {
    mx_client_configure(
      oauth$url,
      path = file.path(dir, "matrix.json"),
      store_dir = file.path(dir, "crypto")
    )
  }
  condition <- expect_error(sign_in(), class = "mx_error_approval")
  oauth$approve(condition$user_code, person)
  client <- sign_in()
  mx_recovery_key_forget(mx_crypto_setup(client)$recovery_key)
  old <- mx_crypto_status(client)$master_key
  page <- live_browser()$open(security_app(client)$view("recovery"))
  page$expect("button", "Reset identity")
  expect_equal(page$count(css = field("recovery_reset", "password")), 0)
  agree(page, "recovery_reset", "Reset identity")
  page$expect("link", "Approve it at your server")
  look_at(page, "page-recovery-approval-desktop")
  url <- page$attribute("href", "link", "Approve it at your server")
  oauth$allow_reset(person, url)
  agree(page, "recovery_reset", "Reset identity")
  page$expect_text(
    "You have a new identity",
    css = "#recovery_forms",
    seconds = 40
  )
  page$expect("button", "Show the recovery key")
  expect_no_faults(page)
  expect_false(mx_crypto_status(client)$master_key == old)
})

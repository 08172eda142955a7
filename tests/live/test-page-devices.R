# The views "Devices" and "Rooms and people" of the page in Chromium, at Synapse.

# Alice at the page, who has signed in on other devices, too.
signed_in_thrice <- function(.local_envir = parent.frame()) {
  user <- live_user("alice")
  ours <- live_client(user, .local_envir = .local_envir)
  suppressMessages(mx_crypto_setup(ours))
  others <- lapply(1:2, function(i) live_foreign(.local_envir, user))
  list(ours = ours, user = user, others = others)
}

open_page <- function(
  here,
  view,
  size = "desktop",
  dark = FALSE,
  .local_envir = parent.frame()
) {
  app <- security_app(here$ours, .local_envir)
  browser <- live_browser(.local_envir = .local_envir)
  browser$open(app$view(view), size, dark)
}

# What Synapse lists.
at_synapse <- function(client) {
  path <- mxcrypt:::api_path("devices")
  devices <- mxcrypt:::http_json(client, "GET", path)[["devices"]]
  name <- function(device) device[["display_name"]] %||% ""
  id <- function(device) device[["device_id"]]
  stats::setNames(vapply(devices, name, ""), vapply(devices, id, ""))
}

summary_of <- function(name) {
  list(css = sprintf("#devices summary:has-text('%s')", name))
}

test_that("a device is renamed, which Synapse and the others have", {
  here <- signed_in_thrice()
  id <- here$others[[1]]$device_id
  page <- open_page(here, "devices")
  mx_device_rename(here$ours, id, "Phone")
  page$reload()
  do.call(page$click, summary_of("Phone"))
  look_at(page, "devices-open")
  row <- "#devices details[open]"
  page$fill("Phone in the kitchen", label = "Name", within = row, exact = FALSE)
  page$click("button", "Rename", within = row)
  page$expect_text("Phone in the kitchen", css = "#devices summary strong")
  expect_equal(at_synapse(here$ours)[[id]], "Phone in the kitchen")
  expect_no_faults(page)
})

test_that("n devices are signed out with the password", {
  here <- signed_in_thrice()
  ids <- vapply(here$others, function(other) other$device_id, "")
  page <- open_page(here, "devices", "phone", TRUE)
  form <- "[data-input=devices_sign_out]"
  page$expect(css = form)
  page$expect_text("Sign out devices", css = paste(form, ".mx-button"))
  for (id in ids) {
    page$check(css = sprintf("%s [data-field='device_%s']", form, id))
  }
  page$expect_text("Sign out 2 devices", css = paste(form, ".mx-button"))
  look_at(page, "devices-phone-dark")
  sign_out <- function(password) {
    page$fill(
      password,
      label = "Password of the account",
      within = form,
      exact = FALSE
    )
    page$click(css = paste(form, ".mx-button"))
    page$click("button", "Sign out 2 devices", within = "dialog")
  }
  page$click(css = paste(form, ".mx-button"))
  page$expect_text("are lost with them", css = "dialog")
  look_at(page, "devices-question-phone-dark")
  page$click("button", "Cancel", within = "dialog")
  expect_true(all(ids %in% names(at_synapse(here$ours))))
  sign_out("not the password")
  page$expect_text("M_FORBIDDEN", css = form)
  look_at(page, "devices-refused-phone-dark")
  expect_true(all(ids %in% names(at_synapse(here$ours))))
  sign_out(here$user$password)
  page$expect_text("Signed out: 2 devices.", css = ".mx-main")
  page$expect_text("You have no other one.", css = "#devices")
  look_at(page, "devices-signed-out-phone-dark")
  expect_equal(names(at_synapse(here$ours)), here$ours$device_id)
  expect_no_faults(page)
})

test_that("a device is signed after its fingerprint was compared", {
  here <- signed_in_thrice()
  phone <- here$others[[1]]
  mx_device_rename(here$ours, phone$device_id, "Phone")
  page <- open_page(here, "devices")
  do.call(page$click, summary_of("Phone"))
  row <- "#devices details[open]"
  shown <- gsub(" ", "", page$text(css = paste(row, ".mx-facts")))
  expect_match(shown, phone$ed25519, fixed = TRUE)
  page$click("button", "It is the same: sign the device", within = row)
  page$click("button", "It is the same: sign the device", within = "dialog")
  page$expect_text("Verified", css = "#devices summary:has-text('Phone')")
  devices <- mx_devices(here$ours, here$ours$user_id)
  trust <- devices$trust[devices$device_id == phone$device_id]
  expect_equal(as.character(trust), "verified")
  # Blocked here only.
  page$click("button", "Block", within = row)
  page$expect_text("Blocked", css = "#devices summary:has-text('Phone')")
  page$click("button", "Unblock", within = row)
  page$expect_text("Verified", css = "#devices summary:has-text('Phone')")
  expect_no_faults(page)
})

test_that("a device is verified from its row", {
  here <- signed_in_thrice()
  phone <- here$others[[1]]
  mx_device_rename(here$ours, phone$device_id, "Phone")
  ids <- vapply(here$others, function(other) other$device_id, "")
  sees_devices(phone, here$ours$user_id, c(here$ours$device_id, ids))
  page <- open_page(here, "devices")
  do.call(page$click, summary_of("Phone"))
  page$click("button", "Verify", within = "#devices details[open]")
  page$expect_text("Waiting for another device of yours", css = "#verify")
  phone$call("waitForVerification", userId = here$ours$user_id)
  phone$call("acceptVerification")
  page$expect_text("Verification with your device Phone", css = "#verify")
  page$expect_text("Both have agreed", css = "#verify")
})

# --- rooms and people --------------------------------------------------------

show_person <- function(page, user_id) {
  page$click("button", "Show its members")
  page$expect_text(user_id, css = "#people_members")
  page$click("button", paste("Devices and trust of", user_id))
  page$expect_text(user_id, css = "[data-card=person]")
}

test_that("a changed identity is told, and accepted", {
  pair <- users()
  bob <- pair$theirs$user_id
  mx_user_trust(pair$ours, bob)
  page <- open_page(pair, "people")
  page$click("button", "Show its members")
  page$expect_text("Not verified", css = "#people_members")
  look_at(page, "people-members")
  pair$theirs$call(
    "bootstrapCrossSigning",
    password = pair$theirs[["password"]],
    reset = TRUE
  )
  # It comes by itself.
  page$expect_text("Identity changed", css = "#people_members", seconds = 40)
  look_at(page, "people-changed")
  page$click("button", paste("Devices and trust of", bob))
  person <- "[data-card=person]"
  page$expect_text("returns another identity than before", css = person)
  look_at(page, "people-person-changed")
  page$click("button", "Accept the new identity", within = person)
  page$click("button", "Accept the new identity", within = "dialog")
  page$expect_text("It is not verified.", css = ".mx-main")
  page$expect_text("Not verified", css = person)
  page$expect_no_text("Identity changed", css = "#people_members")
  expect_false(mx_user_trust(pair$ours, bob)$needs_approval)
  expect_no_faults(page)
})

test_that("a person is verified from a room, and that is withdrawn", {
  pair <- users()
  bob <- pair$theirs$user_id
  page <- open_page(pair, "people", "phone", TRUE)
  show_person(page, bob)
  page$click(css = "[data-card=person] summary", nth = 1)
  look_at(page, "people-person-phone-dark")
  page$click("button", "Verify", within = "[data-card=person]")
  page$expect_text("to accept", css = "#verify")
  pair$theirs$call(
    "waitForVerification",
    userId = pair$ours$user_id,
    roomId = pair$room
  )
  pair$theirs$call("acceptVerification")
  page$click("button", "Compare emoji")
  pair$theirs$call("takePart")
  pair$theirs$call("waitForSas")
  pair$theirs$call("confirmSas")
  page$click("button", "They match")
  page$expect_text("Verified:", css = "#verify")
  page$click("link", "Rooms and people")
  page$expect_text("You have verified this person", css = "[data-card=person]")
  expect_true(mx_user_trust(pair$ours, bob)$verified)
  look_at(page, "people-verified-phone-dark")
  # Nothing goes to a new identity in place of one that was verified.
  pair$theirs$call(
    "bootstrapCrossSigning",
    password = pair$theirs[["password"]],
    reset = TRUE
  )
  page$expect_text(
    "nothing is sent to rooms with this person",
    css = "[data-card=person]",
    seconds = 40
  )
  look_at(page, "people-withdraw-phone-dark")
  page$click("button", "Withdraw the verification")
  page$click("button", "Withdraw the verification", within = "dialog")
  page$expect_text("The verification is withdrawn.", css = ".mx-main")
  page$expect_text("Not verified", css = "[data-card=person]")
  trust <- mx_user_trust(pair$ours, bob)
  expect_false(trust$verified || trust$was_verified || trust$needs_approval)
  expect_no_faults(page)
})

test_that("the isolation mode is changed", {
  pair <- users()
  page <- open_page(pair, "people")
  page$click(css = "#people_isolation [value=all]")
  page$click("button", "Change")
  page$expect_text("Keys go to all devices.", css = "#people_isolation")
  look_at(page, "people-isolation")
  expect_equal(mx_isolation_mode(pair$ours), "all")
})

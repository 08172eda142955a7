# The view of our own devices.

skip_if_not_installed("shiny")

devices_page <- function(client) {
  page <- page_by_hand(client)
  # Only its forms: outputs need a browser.
  in_page(page, devices_actions(page))
  page
}

listed <- function(client) text_of(devices_html(client))

own_row <- function(client, device_id) {
  devices <- mx_devices(client, client$user_id)
  devices[devices$device_id %in% device_id, ]
}

test_that("devices are listed with trust in words, and last seen", {
  own <- own_devices()
  mx_device_rename(own$phone, own$laptop$device_id, "Laptop")
  html <- as.character(devices_html(own$phone))
  text <- text_of(html)
  expect_match(text, "This device Name .* Trust \u2714 Verified Last seen 20")
  expect_match(
    text,
    paste("Laptop", own$laptop$device_id, "\u26a0 Not verified Last"),
    fixed = TRUE
  )
  # What needs to be compared is there on demand.
  key <- own_row(own$phone, own$laptop$device_id)$ed25519
  expect_match(text, in_groups(key), fixed = TRUE)
  expect_match(html, "<details id=\"device-", fixed = TRUE)
  # The new device cannot tell yet.
  expect_match(listed(own$laptop), "Trust \u26a0 Not verified", fixed = TRUE)
})

test_that("a device is renamed, which the server has", {
  own <- own_devices()
  page <- devices_page(own$phone)
  id <- own$laptop$device_id
  expect_false(sends(page, "device_rename", device = id, name = " ")$ok)
  expect_true(sends(page, "device_rename", device = id, name = "A <b>")$ok)
  expect_equal(own_row(own$phone, id)$display_name, "A <b>")
  told <- sends(page, "device_rename", device = "NONE", name = "x")
  expect_false(told$ok)
})

test_that("a device is verified from its row", {
  own <- own_devices()
  page <- devices_page(own$phone)
  told <- sends(page, "device_verify", device = own$laptop$device_id)
  expect_true(told$ok)
  asked <- mx_verifications(own$phone)[[1]]
  expect_equal(told$led_to, card_key(asked))
  mx_sync(own$laptop)
  expect_length(mx_verifications(own$laptop), 1)
})

test_that("a device is signed with the fingerprint that was seen, and no other", {
  own <- own_devices()
  page <- devices_page(own$phone)
  id <- own$laptop$device_id
  html <- as.character(devices_html(own$phone))
  key <- own_row(own$phone, id)$ed25519
  expect_match(html, paste0("fingerprint&quot;:&quot;", key), fixed = TRUE)
  other <- own_row(own$phone, own$phone$device_id)$ed25519
  for (wrong in list(other, "", "x", 1)) {
    told <- sends(page, "device_sign", device = id, fingerprint = wrong)
    expect_false(told$ok)
  }
  expect_false(sends(page, "device_sign", device = id)$ok)
  expect_equal(as.character(own_row(own$phone, id)$trust), "unsigned")
  expect_true(sends(page, "device_sign", device = id, fingerprint = key)$ok)
  expect_equal(as.character(own_row(own$phone, id)$trust), "verified")
  expect_no_match(listed(own$phone), "sign the device", fixed = TRUE)
})

test_that("a device is blocked and unblocked, on this device only", {
  own <- own_devices()
  page <- devices_page(own$phone)
  id <- own$laptop$device_id
  block <- function(blocked) {
    sends(
      page,
      "device_block",
      user = own$phone$user_id,
      device = id,
      blocked = blocked
    )
  }
  expect_match(listed(own$phone), "That counts here only", fixed = TRUE)
  expect_true(block(TRUE)$ok)
  expect_match(listed(own$phone), "\u2716 Blocked", fixed = TRUE)
  expect_true(block(FALSE)$ok)
  expect_match(listed(own$phone), "\u26a0 Not verified", fixed = TRUE)
})

# Signs out those whose boxes are ticked.
ticks <- function(page, device_ids, ...) {
  boxes <- rlang::set_names(
    as.list(rep(TRUE, length(device_ids))),
    paste0("device_", device_ids)
  )
  do.call(sends, c(list(page, "devices_sign_out", ...), boxes))
}

test_that("n devices are signed out, with the password", {
  own <- own_devices()
  third <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  page <- devices_page(own$phone)
  ids <- c(own$laptop$device_id, third$device_id)
  signed_in <- function() signed_in_devices(own$phone)$device_id
  html <- as.character(sign_out_form(own$phone, own_row(own$phone, ids)))
  expect_match(html, "data-many=\"Sign out %d devices\"", fixed = TRUE)
  expect_match(html, "data-confirm=", fixed = TRUE)

  told <- ticks(page, character(), password = "demo")
  expect_match(told$text, "Tick the devices", fixed = TRUE)
  withr::local_envvar(MXCRYPT_PASSWORD = "")
  told <- ticks(page, ids)
  expect_false(told$ok)
  expect_match(told$text, "password for @alice:demo is needed", fixed = TRUE)
  told <- ticks(page, ids, password = "wrong-one")
  expect_false(told$ok)
  expect_no_match(told$text, "wrong-one", fixed = TRUE)
  expect_true(all(ids %in% signed_in()))
  # A box that is not ticked is not signed out, nor is a field of another name.
  told <- sends(
    page,
    "devices_sign_out",
    password = "demo",
    device_X = FALSE,
    Xdevice_Y = TRUE
  )
  expect_false(told$ok)
  told <- ticks(page, ids, password = "demo")
  expect_equal(told$text, "\u2714 Signed out: 2 devices.")
  expect_false(any(ids %in% signed_in()))
  expect_match(listed(own$phone), "You have no other one", fixed = TRUE)
})

test_that("this device does not sign itself out", {
  own <- own_devices()
  page <- devices_page(own$phone)
  told <- ticks(page, own$phone$device_id, password = "demo")
  expect_false(told$ok)
  expect_true(own$phone$device_id %in% signed_in_devices(own$phone)$device_id)
})

test_that("the last device with the identity goes only when that is agreed to", {
  own <- own_devices()
  set_account_data(own$phone, "m.secret_storage.default_key", "{}")
  mx_sync(own$laptop)
  page <- devices_page(own$laptop)
  text <- listed(own$laptop)
  expect_match(text, "No other device has your identity", fixed = TRUE)
  expect_match(text, "Sign out even if this is lost", fixed = TRUE)
  id <- own$phone$device_id
  told <- ticks(page, id, password = "demo")
  expect_false(told$ok)
  expect_match(told$text, "No other device has your identity", fixed = TRUE)
  expect_true(id %in% signed_in_devices(own$laptop)$device_id)
  told <- ticks(page, id, password = "demo", sure = TRUE)
  expect_true(told$ok)
  expect_false(id %in% signed_in_devices(own$laptop)$device_id)
})

test_that("a login without keys is listed, and can be signed out", {
  own <- own_devices()
  body <- list(
    type = "m.login.password",
    identifier = list(type = "m.id.user", user = "alice"),
    password = "demo",
    device_id = "BARE",
    initial_device_display_name = "Old script"
  )
  bare <- list(server = own$phone$server)
  http_json(bare, "POST", api_path("login"), body)
  text <- listed(own$phone)
  expect_match(text, "Old script BARE No encryption", fixed = TRUE)
  expect_match(text, "Old script (BARE)", fixed = TRUE)
  expect_true(ticks(devices_page(own$phone), "BARE", password = "demo")$ok)
})

# A row as mx_devices() has it.
made_device <- function(...) {
  row <- list(
    user_id = "@alice:demo",
    device_id = "X",
    display_name = "X",
    ed25519 = strrep("a", 43),
    trust = as_trust("unsigned"),
    blocked = FALSE,
    locally_verified = FALSE,
    dehydrated = FALSE,
    problem = NA_character_,
    last_seen_ts = as.POSIXct(NA),
    last_seen_ip = NA_character_
  )
  data.frame(utils::modifyList(row, list(...)))
}

test_that("each trust has its words", {
  says <- function(...) text_of(device_mark(made_device(...), own = FALSE))
  for (level in trust_levels) {
    expect_match(
      says(trust = as_trust(level)),
      other_device_words[[level]],
      fixed = TRUE
    )
  }
  expect_match(says(trust = as_trust("none"), problem = "no Megolm"), "Megolm")
  expect_match(says(dehydrated = TRUE), "Dehydrated device")
  local <- says(trust = as_trust("verified"), locally_verified = TRUE)
  expect_match(local, "on this device alone")
  # A refused device cannot be verified or signed.
  refused <- made_device(trust = as_trust("none"), problem = "no Megolm")
  html <- text_of(own_device_html(refused))
  expect_no_match(html, "sign the device", fixed = TRUE)
})

test_that("names and addresses that others chose are harmless", {
  for (name in hostile_names) {
    device <- made_device(
      display_name = name,
      problem = name,
      last_seen_ts = Sys.time(),
      last_seen_ip = name
    )
    expect_harmless(own_device_html(device))
    expect_harmless(keyless_html(device))
    expect_harmless(this_device_html(device))
    device$problem <- NA
    expect_harmless(their_device_html(device))
  }
})

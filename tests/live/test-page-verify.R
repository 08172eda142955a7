# The view "Verify" of the page in Chromium, with matrix-js-sdk as the other person or the
# other device.

card <- ".mx-card[data-card^=verification]"

# A pair of helper-verification.R whose side `ours` has the page open.
at_page <- function(
  pair,
  view = "verify",
  size = "desktop",
  dark = FALSE,
  camera = NULL,
  .local_envir = parent.frame()
) {
  pair$app <- security_app(pair$ours, .local_envir)
  pair$browser <- live_browser(camera = camera, .local_envir = .local_envir)
  pair$page <- pair$browser$open(pair$app$view(view), size, dark)
  pair$page$expect(role = "heading", name = "Encryption")
  pair
}

# The page asks, the other side accepts.
page_asks <- function(pair) {
  page <- pair$page
  if (is.null(pair$room)) {
    page$click("button", "Start", within = "[data-input=verify_own]")
  } else {
    page$fill(pair$theirs$user_id, label = "User id")
    page$click("button", "Start", within = "[data-input=verify_user]")
  }
  page$expect_text("to accept", css = card)
  pair$theirs$call(
    "waitForVerification",
    userId = pair$ours$user_id,
    roomId = pair$room
  )
  pair$theirs$call("acceptVerification")
  page$expect_text("Both have agreed", css = card)
}

# The other side asks while another view is open.
page_is_asked <- function(pair, name = NULL) {
  page <- pair$page
  pair$theirs$call(
    "requestVerification",
    userId = pair$ours$user_id,
    roomId = pair$room
  )
  page$expect_text("asks to verify", css = "#verify_banner")
  if (!is.null(name)) {
    look_at(page, name)
  }
  page$click("button", "Accept", within = "#verify_banner")
  page$expect_text("Both have agreed", css = card)
  pair$theirs$call("waitForPhase", phase = "Ready")
}

# Either side begins; both then see the same.
page_compares <- function(pair, page_begins = TRUE) {
  page <- pair$page
  if (page_begins) {
    page$click("button", "Compare emoji")
  } else {
    pair$theirs$call("startSas")
  }
  pair$theirs$call("takePart")
  seen <- pair$theirs$call("waitForSas")
  page$expect(css = ".mx-emoji")
  shown <- page$texts(css = ".mx-emoji li")
  shown <- strsplit(trimws(shown), "[[:space:]]+", perl = TRUE)
  expect_equal(
    vapply(shown, `[[`, "", 1L),
    vapply(seen[["emoji"]], `[[`, "", 1L)
  )
  # The numbers are there for those who see no pictures.
  page$click(text = "Compare numbers instead")
  numbers <- paste(unlist(seen[["decimal"]]), collapse = " \u2013 ")
  page$expect_text(numbers, css = card)
}

both_agree <- function(pair) {
  pair$theirs$call("confirmSas")
  pair$page$click("button", "They match")
  pair$theirs$call("waitForPhase", phase = "Done")
  pair$page$expect_text("Verified:", css = card)
}

shown_code <- function(page) {
  uri <- page$attribute("src", css = "img.mx-code")
  bytes <- jsonlite::base64_dec(sub("^data:image/png;base64,", "", uri))
  mxc_qr_scan(png::readPNG(bytes))[[1]]
}

their_code <- function(pair) {
  mxc_qr_symbol(jsonlite::base64_dec(pair$theirs$call("showQrCode")))
}

# With the light edge without which nobody finds it.
their_symbol <- function(pair) {
  symbol <- unclass(their_code(pair))
  dark <- matrix(FALSE, nrow(symbol) + 8, ncol(symbol) + 8)
  dark[4 + seq_len(nrow(symbol)), 4 + seq_len(ncol(symbol))] <- symbol
  dark
}

tab_to <- function(page, name, most = 30) {
  for (i in seq_len(most)) {
    if (identical(page$tab()[["name"]], name)) {
      return(invisible())
    }
  }
  stop("The focus does not come to ", name)
}

expect_trusted <- function(pair, verified = TRUE) {
  trust <- mx_user_trust(pair$ours, pair$theirs$user_id)
  expect_equal(trust$verified, verified)
}

test_that("the page asks another person, and they compare emoji", {
  pair <- at_page(users())
  page <- pair$page
  page_asks(pair)
  look_at(page, "verify-ready")
  page_compares(pair)
  look_at(page, "verify-emoji")
  both_agree(pair)
  look_at(page, "verify-done")
  # One sentence for it is read aloud.
  said <- paste0("Verified: ", pair$theirs$user_id, ".")
  page$expect_text(said, css = "#verify_said")
  page$click("button", "Got it")
  page$expect_gone(css = card)
  page$expect_text(said, css = "#verify_ended")
  expect_trusted(pair)
  pair$theirs$call("waitForVerifiedUser", userId = pair$ours$user_id)
  expect_no_faults(page)
})

test_that("another person asks, on whatever view the page is", {
  pair <- at_page(users(), "status", "phone", TRUE)
  page_is_asked(pair, "verify-banner-phone-dark")
  look_at(pair$page, "verify-ready-phone-dark")
  page_compares(pair, page_begins = FALSE)
  look_at(pair$page, "verify-emoji-phone-dark")
  both_agree(pair)
  look_at(pair$page, "verify-done-phone-dark")
  expect_trusted(pair)
  expect_no_faults(pair$page)
})

test_that("this new device is verified by another one, which the page asks", {
  pair <- at_page(devices())
  page <- pair$page
  page$expect_text("This device is not verified.", css = "#verify_this_device")
  page$expect_text("reads earlier messages", css = "#verify_this_device")
  look_at(page, "verify-new-device")
  page_asks(pair)
  page_compares(pair)
  both_agree(pair)
  page$expect_no_text("This device is not verified.")
  expect_true(mx_crypto_status(pair$ours)$device_signed)
  expect_no_faults(page)
})

test_that("a new device asks this one, and is verified", {
  pair <- at_page(devices_with_new_foreign(), "devices")
  page_is_asked(pair)
  page_compares(pair, page_begins = FALSE)
  both_agree(pair)
  devices <- mx_devices(pair$ours, pair$ours$user_id)
  trust <- devices$trust[devices$device_id == pair$theirs$device_id]
  expect_equal(as.character(trust), "verified")
  expect_no_faults(pair$page)
})

test_that("the page shows a code, the other side scans it", {
  for (make in list(users, devices, devices_with_new_foreign)) {
    pair <- at_page(make())
    page <- pair$page
    page_asks(pair)
    page$click("button", "Show a QR code")
    page$expect(css = "img.mx-code")
    look_at(page, "verify-code")
    bytes <- gsub("\n", "", jsonlite::base64_enc(shown_code(page)))
    pair$theirs$call("scanQrCode", bytes = bytes)
    page$expect_text("say that it scanned the code?", css = card)
    look_at(page, "verify-scanned")
    page$click("button", "Yes, it scanned the code")
    pair$theirs$call("waitForPhase", phase = "Done")
    page$expect_text("Verified:", css = card)
    expect_no_faults(page)
  }
})

test_that("the page scans a code from a picture that is uploaded", {
  for (make in list(users, devices, devices_with_new_foreign)) {
    pair <- at_page(make())
    page <- pair$page
    page_asks(pair)
    file <- withr::local_tempfile(fileext = ".png")
    png::writePNG(matrix(0.6, 300, 400), file)
    page$upload(file, label = "Or choose a picture of it")
    page$expect_text("No QR code was found", css = ".mx-scan")
    look_at(page, "verify-no-code")
    mxc_qr_png(their_code(pair), file)
    page$upload(file, label = "Or choose a picture of it")
    page$expect_text("This is the right code", css = card)
    look_at(page, "verify-right-code")
    pair$theirs$call("waitForScan")
    pair$theirs$call("confirmScan")
    page$expect_text("Verified:", css = card)
    expect_no_faults(page)
  }
})

test_that("the page scans a code with the camera, which is off afterwards", {
  film <- withr::local_tempfile(fileext = ".y4m")
  camera_shows(film, matrix(0.6, 10, 10))
  pair <- at_page(users(), size = "phone", camera = film)
  page <- pair$page
  page_asks(pair)
  page$click("button", "Use the camera")
  page$expect(css = ".mx-camera video")
  page$expect_text("The camera looks for the code.", css = ".mx-scan")
  look_at(page, "verify-camera-phone")
  # Nobody is filmed who has left the view.
  page$click("link", "Devices")
  page$click("link", "Verify")
  page$expect_gone(css = ".mx-camera video")
  page$click("button", "Use the camera")
  page$expect(css = ".mx-camera video")
  page$click("button", "Stop the camera")
  page$expect_text("The camera is off.", css = ".mx-scan")
  camera_shows(film, their_symbol(pair))
  page$click("button", "Use the camera")
  page$expect_text("This is the right code", css = card)
  page$expect_gone(css = "video")
  pair$theirs$call("waitForScan")
  pair$theirs$call("confirmScan")
  page$expect_text("Verified:", css = card)
  expect_trusted(pair)
  expect_no_faults(page)
})

test_that("a page without a camera says what to do", {
  pair <- at_page(users())
  page_asks(pair)
  pair$page$click("button", "Use the camera")
  pair$page$expect_text("Choose a picture instead.", css = ".mx-scan")
})

test_that("what does not match ends it on both sides, and nothing is verified", {
  pair <- at_page(users())
  page <- pair$page
  page_asks(pair)
  page_compares(pair)
  page$click("button", "They do not match")
  page$expect_text("You saw something else", css = card)
  page$expect_text("Somebody may stand between", css = card)
  look_at(page, "verify-mismatch")
  pair$theirs$call("waitForEnd")
  expect_trusted(pair, FALSE)
  # Again from here; this time the other side sees something else.
  page$click("button", "Start again", within = card)
  pair$theirs$call(
    "waitForVerification",
    userId = pair$ours$user_id,
    roomId = pair$room
  )
  pair$theirs$call("acceptVerification")
  page$expect_text("Both have agreed", css = card)
  page_compares(pair)
  pair$theirs$call("mismatchSas")
  page$expect_text("Something else was seen by", css = card)
  expect_trusted(pair, FALSE)
  expect_no_faults(page)
})

test_that("a reload, a second tab and a closed tab lose nothing", {
  pair <- at_page(users(), "status")
  first <- pair$page
  pair$theirs$call(
    "requestVerification",
    userId = pair$ours$user_id,
    roomId = pair$room
  )
  first$expect_text("asks to verify", css = "#verify_banner")
  first$reload()
  first$expect_text("asks to verify", css = "#verify_banner")
  second <- pair$browser$open(pair$app$view("verify"))
  second$expect_text("You are asked to verify.", css = card)
  # Accepted in one tab, it goes on in both.
  first$click("button", "Accept", within = "#verify_banner")
  second$expect_text("Both have agreed", css = card)
  first$close()
  pair$page <- second
  pair$theirs$call("waitForPhase", phase = "Ready")
  page_compares(pair)
  before <- second$texts(css = ".mx-emoji li")
  second$reload()
  second$expect(css = ".mx-emoji")
  expect_equal(second$texts(css = ".mx-emoji li"), before)
  # While no tab is open the other side confirms.
  second$close()
  pair$theirs$call("confirmSas")
  pair$page <- pair$browser$open(pair$app$view("verify"))
  pair$page$click("button", "They match")
  pair$theirs$call("waitForPhase", phase = "Done")
  pair$page$expect_text("Verified:", css = "#verify")
  expect_trusted(pair)
})

test_that("a request is declined, and one's own is cancelled", {
  pair <- at_page(users(), "people")
  page <- pair$page
  pair$theirs$call(
    "requestVerification",
    userId = pair$ours$user_id,
    roomId = pair$room
  )
  page$click("button", "Decline", within = "#verify_banner")
  page$expect_gone(css = "#verify_banner .mx-request")
  expect_equal(pair$theirs$call("waitForEnd")[["phase"]], "Cancelled")
  page$click("link", "Verify")
  page_asks(pair)
  pair$theirs$call("cancelVerification")
  page$expect_text("The verification was cancelled by", css = card)
  look_at(page, "verify-cancelled")
})

test_that("a person verifies with the keyboard alone", {
  pair <- at_page(users(), "status")
  page <- pair$page
  pair$theirs$call(
    "requestVerification",
    userId = pair$ours$user_id,
    roomId = pair$room
  )
  page$expect_text("asks to verify", css = "#verify_banner")
  tab_to(page, "Accept")
  page$press("Enter")
  # The focus goes to the verification, and stays with it.
  page$expect_text("Both have agreed", css = card)
  tab_to(page, "Compare emoji")
  page$press("Enter")
  pair$theirs$call("takePart")
  pair$theirs$call("waitForSas")
  page$expect(css = ".mx-emoji")
  expect_match(page$focused()[["name"]], "^Verification with")
  pair$theirs$call("confirmSas")
  tab_to(page, "They match")
  page$press("Enter")
  page$expect_text("Verified:", css = card)
  expect_match(page$focused()[["name"]], "^Verification with")
})

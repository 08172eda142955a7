# The view of verifications: what it says at each step, and what its buttons do.

skip_if_not_installed("shiny")
skip_if_not_installed("png")

verify_page <- function(client) {
  page <- page_by_hand(client)
  in_page(page, {
    verify_actions(page)
    scan_server(page)
  })
  page
}

card_text <- function(verification) {
  own <- own_known(verification$client)
  text_of(verification_card(verification, own))
}

# Two people, the one at the page first.
two_people <- function() {
  pair <- demo_pair()
  c(pair, list(page = verify_page(pair$alice)))
}

newest_of <- function(client) utils::tail(mx_verifications(client), 1)[[1]]

newest_of_cancelled <- function(people) {
  both <- request_of(people$bob, people$alice)
  mx_verification_cancel(both[[2]])
}

test_that("a request that comes in is announced, accepted and compared", {
  people <- two_people()
  theirs <- mx_verification_request(people$bob, people$alice$user_id)
  mx_sync(people$alice)
  ours <- newest_of(people$alice)
  own <- own_known(people$alice)
  banner <- as.character(banner_html(list(ours), own))
  expect_match(text_of(banner), "@bob:demo asks to verify", fixed = TRUE)
  expect_match(banner, "href=\"#verify\"", fixed = TRUE)
  expect_match(text_of(banner), "Accept Decline$")
  expect_match(card_text(ours), "Accept only if you expect it", fixed = TRUE)

  told <- sends(people$page, "verify_accept", number = ours$number)
  expect_true(told$ok)
  expect_equal(told$led_to, card_key(ours))
  theirs <- mx_verification_wait(theirs)
  expect_equal(theirs$state, "ready")
  text <- card_text(newest_of(people$alice))
  for (way in c("Compare emoji", "Show a QR code", "Use the camera")) {
    expect_match(text, way, fixed = TRUE)
  }

  expect_true(sends(people$page, "verify_compare", number = ours$number)$ok)
  expect_match(card_text(newest_of(people$alice)), "Waiting for @bob:demo to")
  both <- exchange(list(theirs, newest_of(people$alice)))
  card <- as.character(verification_card(both[[2]], own))
  emoji <- mx_verification_emojis(both[[1]], language = "en")
  # The seven pictures with their names, in order, and the numbers.
  expect_equal(
    lengths(regmatches(card, gregexpr("mx-glyph", card))),
    7
  )
  in_order <- paste(emoji$emoji, emoji$name, collapse = " ")
  expect_match(text_of(card), in_order, fixed = TRUE)
  expect_match(
    card,
    paste(both[[1]]$decimals, collapse = " \u2013 "),
    fixed = TRUE
  )

  told <- sends(
    people$page,
    "verify_confirm",
    number = ours$number,
    same = TRUE
  )
  expect_true(told$ok)
  expect_match(card_text(newest_of(people$alice)), "to confirm that it is")
  mx_verification_confirm(both[[1]], same = TRUE)
  mx_verification_wait(newest_of(people$alice))
  expect_true(mx_user_trust(people$alice, people$bob$user_id)$verified)
  text <- card_text(newest_of(people$alice))
  expect_match(text, "Verified: @bob:demo.", fixed = TRUE)
  expect_match(text, "Got it", fixed = TRUE)
})

test_that("what does not match ends it, and the page says why and what next", {
  people <- two_people()
  both <- comparing(people$bob, people$alice)
  told <- sends(
    people$page,
    "verify_confirm",
    number = both[[2]]$number,
    same = FALSE
  )
  expect_true(told$ok)
  ours <- newest_of(people$alice)
  expect_equal(ours$code, "m.mismatched_sas")
  text <- card_text(ours)
  expect_match(text, "You saw something else than @bob:demo.", fixed = TRUE)
  expect_match(text, "Nothing was verified. Somebody may stand", fixed = TRUE)
  expect_match(text, "Start again", fixed = TRUE)
  expect_false(mx_user_trust(people$alice, people$bob$user_id)$verified)
  # Only what is the same: a form without its field is no agreement.
  both <- comparing(people$bob, people$alice)
  sends(people$page, "verify_confirm", number = both[[2]]$number)
  expect_equal(newest_of(people$alice)$state, "cancelled")
})

test_that("each end has its words", {
  people <- two_people()
  own <- own_known(people$alice)
  ended <- newest_of_cancelled(people)
  says <- function(code, here, ...) {
    ended$code <- code
    ended$cancelled_here <- here
    ended$reason <- "what it means"
    text <- text_of(end_html(ended, own))
    for (words in c(...)) {
      expect_match(text, words, fixed = TRUE)
    }
    expect_match(text, "Start again", fixed = TRUE)
  }
  says("m.user", TRUE, "You cancelled", "Nothing was verified")
  says("m.user", FALSE, "was cancelled by @bob:demo")
  says("m.timeout", FALSE, "took too long", "when both are there")
  says("m.accepted", FALSE, "Another device of yours", "Go on there")
  says("m.mismatched_sas", FALSE, "Something else was seen", "Somebody may")
  says("m.key_mismatch", TRUE, "keys do not match", "Somebody may stand")
  says("m.mismatched_commitment", TRUE, "what it means", "Somebody may stand")
  says("m.unknown_method", FALSE, "ended by @bob:demo: what it means")
  says("x.else", TRUE, "ended by this device: what it means")
})

test_that("a request is declined, one's own is cancelled", {
  people <- two_people()
  both <- request_of(people$bob, people$alice)
  told <- sends(people$page, "verify_decline", number = both[[2]]$number)
  expect_equal(told$text, "\u2714 Declined.")
  mx_sync(people$bob)
  expect_equal(newest_of(people$bob)$code, "m.user")
  told <- sends(people$page, "verify_user", user = people$bob$user_id)
  expect_true(told$ok)
  ours <- newest_of(people$alice)
  expect_match(card_text(ours), "Waiting for @bob:demo to accept")
  expect_true(sends(people$page, "verify_cancel", number = ours$number)$ok)
  # What is over cannot go on.
  told <- sends(people$page, "verify_cancel", number = ours$number)
  expect_false(told$ok)
})

test_that("what a browser sends in place of a verification is a sentence", {
  people <- two_people()
  for (number in list(0, -1, 1e300, "1; drop", NaN, TRUE)) {
    told <- sends(people$page, "verify_accept", number = number)
    expect_false(told$ok)
    expect_match(told$text, "This verification is over.", fixed = TRUE)
  }
  expect_false(sends(people$page, "verify_confirm")$ok)
})

test_that("a user is asked in the room of the two, or in a new one if agreed", {
  people <- two_people()
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  carol <- mx_demo_client(homeserver, "carol")
  page <- verify_page(alice)
  for (text in c("", "carol", "@carol", "@carol:", "@a b:demo", "@:x")) {
    told <- sends(page, "verify_user", user = text)
    expect_false(told$ok)
    expect_match(told$text, "looks like @alice:example.org", fixed = TRUE)
  }
  told <- sends(page, "verify_user", user = " @carol:demo ")
  expect_false(told$ok)
  expect_match(told$text, "no room with @carol:demo alone. Tick", fixed = TRUE)
  expect_no_match(told$text, "mx_", fixed = TRUE)
  expect_length(mx_verifications(alice), 0)
  told <- sends(page, "verify_user", user = "@carol:demo", create = TRUE)
  expect_true(told$ok)
  rooms <- mx_rooms(carol)
  expect_equal(rooms$membership, "invite")
  expect_equal(newest_of(alice)$room_id, rooms$room_id)
  expect_equal(told$led_to, card_key(newest_of(alice)))
})

test_that("no room is made by a device that cannot verify others", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  mx_demo_client(homeserver, "carol")
  page <- verify_page(alice)
  told <- sends(page, "verify_user", user = "@carol:demo", create = TRUE)
  expect_false(told$ok)
  expect_match(told$text, "cannot sign for you", fixed = TRUE)
  expect_equal(nrow(mx_rooms(alice)), 0)
})

test_that("a new device says what a verification brings, and gets it", {
  devices <- own_devices()
  page <- verify_page(devices$laptop)
  html <- function() text_of(new_device_html(own_known(devices$laptop)))
  mx_sync(devices$laptop)
  mx_devices(devices$laptop, devices$laptop$user_id)
  expect_match(html(), "This device is not verified.", fixed = TRUE)
  expect_match(html(), "reads earlier messages", fixed = TRUE)
  told <- sends(page, "verify_own", device = "")
  expect_true(told$ok)
  both <- list(newest_of(devices$laptop), newest(devices$phone))
  both[[2]] <- mx_verification_accept(both[[2]])
  both <- exchange(both)
  sends(page, "verify_compare", number = both[[1]]$number)
  both <- exchange(both)
  expect_match(
    card_text(newest_of(devices$laptop)),
    paste0("your device .*", devices$phone$device_id)
  )
  mx_verification_confirm(both[[2]], same = TRUE)
  sends(page, "verify_confirm", number = both[[1]]$number, same = TRUE)
  both <- exchange(list(newest_of(devices$laptop), newest_of(devices$phone)))
  expect_equal(states(both), c("done", "done"))
  for (turn in 1:3) {
    mx_sync(devices$laptop)
    mx_sync(devices$phone)
  }
  expect_true(mx_crypto_status(devices$laptop)$device_signed)
  expect_equal(html(), "")
})

test_that("a store that knows nothing asks the server first", {
  devices <- own_devices()
  page <- verify_page(devices$laptop)
  text <- function() text_of(shiny::isolate(new_device_html(own_asked(page))))
  expect_match(text(), "This device is not verified.", fixed = TRUE)
  requests <- requests_during(text())
  expect_equal(requests, character())
  nobody <- mx_demo_client(mx_demo_homeserver(), "alice", verified = FALSE)
  page <- verify_page(nobody)
  expect_match(text(), "no identity yet", fixed = TRUE)
})

test_that("a new device is verified by the recovery key", {
  homeserver <- mx_demo_homeserver()
  phone <- mx_demo_client(homeserver, "alice", verified = FALSE)
  setup <- suppressMessages(mx_crypto_setup(phone))
  key <- format(setup$recovery_key, reveal = TRUE)
  laptop <- mx_demo_client(homeserver, "alice", verified = FALSE)
  page <- verify_page(laptop)
  expect_false(sends(page, "verify_key", recovery_key = " ")$ok)
  wrong <- sends(page, "verify_key", recovery_key = "not the passphrase")
  expect_false(wrong$ok)
  expect_no_match(wrong$text, "not the passphrase", fixed = TRUE)
  told <- sends(page, "verify_key", recovery_key = key)
  expect_true(told$ok)
  expect_no_match(told$text, substr(key, 1, 9), fixed = TRUE)
  expect_true(mx_crypto_status(laptop)$device_signed)
})

# QR codes ---------------------------------------------------------------------

# The symbol in the page, as a scanner reads it.
shown_bytes <- function(html) {
  uri <- regmatches(html, regexpr("data:image/png;base64,[^\"]+", html))
  bytes <- jsonlite::base64_dec(sub("^[^,]*,", "", uri))
  mxc_qr_scan(png::readPNG(bytes))[[1]]
}

greys_of <- function(matrix) {
  list(
    width = ncol(matrix),
    height = nrow(matrix),
    grey = jsonlite::base64_enc(as.raw(round(t(matrix) * 255)))
  )
}

# What page-camera.js sends of a picture; returns what it is told.
shows_picture <- function(page, sent) {
  before <- length(page$sent)
  page$input[["verify_picture"]] <- sent
  page$domain$flushReact()
  new <- page$sent[seq_along(page$sent) > before]
  new[["mx-scanned"]]
}

test_that("the page shows a code, also when it is loaded again", {
  people <- two_people()
  both <- agreed(people$bob, people$alice)
  number <- both[[2]]$number
  expect_true(sends(people$page, "verify_show_code", number = number)$ok)
  own <- own_known(people$alice)
  card <- function() {
    as.character(verification_card(newest_of(people$alice), own))
  }
  first <- card()
  expect_match(first, "alt=\"QR code for the other device", fixed = TRUE)
  expect_match(text_of(first), "Compare emoji", fixed = TRUE)
  # A page that is loaded again has the same code.
  expect_equal(shown_bytes(card()), shown_bytes(first))
  theirs <- mx_verification_scan(both[[1]], shown_bytes(first))
  ours <- mx_verification_wait(newest_of(people$alice))
  expect_match(card_text(ours), "Does @bob:demo say that it scanned the code?")
  told <- sends(people$page, "verify_confirm", number = number, same = TRUE)
  expect_true(told$ok)
  expect_equal(mx_verification_wait(theirs)$state, "done")
  expect_true(mx_user_trust(people$alice, people$bob$user_id)$verified)
})

test_that("somebody else who scanned the code is refused", {
  people <- two_people()
  both <- agreed(people$bob, people$alice)
  number <- both[[2]]$number
  mx_verification_scan(
    both[[1]],
    mxc_qr_scan(picture(mx_verification_qr(both[[2]])))[[1]]
  )
  mx_verification_wait(both[[2]])
  sends(people$page, "verify_confirm", number = number, same = FALSE)
  expect_equal(newest_of(people$alice)$code, "m.key_mismatch")
  expect_false(mx_user_trust(people$alice, people$bob$user_id)$verified)
})

test_that("the page scans a code from the greys of a picture", {
  people <- two_people()
  both <- agreed(people$bob, people$alice)
  number <- both[[2]]$number
  page <- people$page
  code <- picture(mx_verification_qr(both[[1]]))
  none <- c(greys_of(matrix(0.5, 60, 80)), number = number)
  # A camera sees nothing most of the time, and says nothing.
  told <- shows_picture(page, c(none, frame = TRUE))
  expect_true(told$again)
  expect_null(told$html)
  told <- shows_picture(page, c(none, frame = FALSE))
  expect_true(told$again)
  expect_match(told$html, "No QR code was found", fixed = TRUE)
  other <- picture(mxc_qr_symbol(charToRaw("https://example.org")))
  told <- shows_picture(page, c(greys_of(other), number = number, frame = TRUE))
  expect_true(told$again)
  expect_match(told$html, "not one of a verification", fixed = TRUE)
  expect_equal(newest_of(people$alice)$state, "ready")
  told <- shows_picture(page, c(greys_of(code), number = number, frame = TRUE))
  expect_false(told$again)
  expect_match(told$html, "Say there that it was scanned", fixed = TRUE)
  ours <- newest_of(people$alice)
  expect_equal(ours$state, "confirmed")
  expect_match(card_text(ours), "This is the right code", fixed = TRUE)
  mx_verification_confirm(mx_verification_wait(both[[1]]), same = TRUE)
  expect_equal(mx_verification_wait(ours)$state, "done")
})

test_that("a code of another verification ends this one, with words", {
  people <- two_people()
  old <- agreed(people$bob, people$alice)
  code <- picture(mx_verification_qr(old[[1]]))
  mx_verification_cancel(old[[1]])
  mx_sync(people$alice)
  both <- agreed(people$bob, people$alice)
  number <- both[[2]]$number
  told <- shows_picture(people$page, c(greys_of(code), number = number))
  expect_false(told$again)
  ours <- newest_of(people$alice)
  expect_equal(ours$state, "cancelled")
  expect_match(told$html, "was ended by this device", fixed = TRUE)
  expect_match(card_text(ours), "Nothing was verified", fixed = TRUE)
})

test_that("what a browser sends in place of a picture is a sentence", {
  people <- two_people()
  both <- agreed(people$bob, people$alice)
  good <- c(greys_of(matrix(1, 40, 30)), number = both[[2]]$number)
  broken <- list(
    1,
    "x",
    list(),
    good[c("width", "height")],
    edit(good, "grey", "%%%"),
    edit(good, "grey", ""),
    edit(good, "width", 31),
    edit(good, "width", -30),
    edit(good, "width", 1e200),
    edit(good, "width", NaN),
    edit(good, "width", "30"),
    edit(good, "height", list(40)),
    edit(good, "height", c(40, 40))
  )
  for (sent in broken) {
    told <- shows_picture(people$page, sent)
    expect_match(told$html, "This is no picture.", fixed = TRUE)
    expect_false(told$again)
  }
  # The page makes large pictures smaller.
  large <- list(width = 2001, height = 2000)
  large$grey <- jsonlite::base64_enc(raw(2001 * 2000))
  large$number <- both[[2]]$number
  told <- shows_picture(people$page, large)
  expect_match(told$html, "This is no picture.", fixed = TRUE)
  expect_equal(newest_of(people$alice)$state, "ready")
})

# Words and marks --------------------------------------------------------------

test_that("names that others chose are harmless", {
  people <- two_people()
  devices <- own_devices()
  asked <- mx_verification_request(devices$phone, devices$phone$user_id)
  asked$device_id <- "X"
  own <- own_known(devices$phone)
  for (name in hostile_names) {
    own$devices <- data.frame(
      device_id = c("X", name),
      display_name = name,
      dehydrated = FALSE
    )
    expect_harmless(verification_card(asked, own))
    expect_harmless(banner_html(list(asked), own))
    expect_harmless(begin_html(own, devices$phone))
    expect_harmless(shiny::tags$p(step_sentence(asked, own)))
    strange <- asked
    strange$user_id <- paste0("@", name, ":demo")
    expect_harmless(verification_card(strange, own))
  }
})

test_that("requests beyond the third are counted", {
  people <- two_people()
  one <- request_of(people$bob, people$alice)[[2]]
  own <- own_known(people$alice)
  html <- as.character(banner_html(rep(list(one), 200), own))
  expect_equal(lengths(regmatches(html, gregexpr("mx-request", html))), 3)
  expect_match(text_of(html), "197 more requests.", fixed = TRUE)
  expect_equal(text_of(banner_html(list(), own)), "")
})

test_that("each step is told once, and what was there before is no news", {
  people <- two_people()
  both <- request_of(people$bob, people$alice)
  page <- page_by_hand(people$alice)
  now <- shiny::reactiveVal(mx_verifications(people$alice))
  page$verifications <- now
  page$own <- shiny::reactive(own_known(people$alice))
  told <- in_page(page, said_steps(page))
  said <- function() {
    page$domain$flushReact()
    shiny::isolate(told())
  }
  expect_equal(said(), "")
  mx_verification_accept(both[[2]])
  now(mx_verifications(people$alice))
  expect_equal(said(), "Agreed with @bob:demo. Choose how to verify.")
  now(c(mx_verifications(people$alice), list()))
  expect_equal(said(), "Agreed with @bob:demo. Choose how to verify.")
  mx_verification_cancel(newest_of(people$alice))
  now(mx_verifications(people$alice))
  expect_equal(said(), "You cancelled the verification with @bob:demo.")
  # Other views are drawn again, and the card stays until it was read.
  expect_equal(page$refreshed, 1)
  expect_equal(shiny::isolate(page$ended_here()), number_text(both[[2]]))
})

test_that("several verifications go on at once, each by itself", {
  people <- two_people()
  laptop <- mx_demo_client(people$homeserver, "alice", verified = FALSE)
  mx_devices(people$alice, people$alice$user_id)
  mx_verification_request(people$bob, people$alice$user_id)
  mx_verification_request(laptop, laptop$user_id)
  mx_sync(people$alice)
  ours <- mx_verifications(people$alice)
  own <- own_known(people$alice)
  text <- text_of(banner_html(ours, own))
  expect_match(text, "@bob:demo asks to verify", fixed = TRUE)
  expect_match(text, laptop$device_id, fixed = TRUE)
  expect_false(card_key(ours[[1]]) == card_key(ours[[2]]))
  now <- function() states(mx_verifications(people$alice))
  sends(people$page, "verify_accept", number = ours[[2]]$number)
  expect_equal(now(), c("requested", "ready"))
  sends(people$page, "verify_accept", number = ours[[1]]$number)
  sends(people$page, "verify_cancel", number = ours[[2]]$number)
  expect_equal(now(), c("ready", "cancelled"))
})

test_that("only the last ends are shown in full", {
  people <- two_people()
  one <- newest_of_cancelled(people)
  own <- own_known(people$alice)
  html <- as.character(ended_html(rep(list(one), 5), own))
  expect_equal(lengths(regmatches(html, gregexpr("mx-end", html))), 3)
  expect_match(text_of(html), "2 earlier", fixed = TRUE)
  expect_null(ended_html(list(), own))
})

# The view of rooms and people.

skip_if_not_installed("shiny")

people_page <- function(client) {
  page <- page_by_hand(client)
  page$chosen <- nothing_chosen()
  in_page(page, {
    verify_actions(page)
    people_actions(page, page$chosen)
  })
  page
}

chosen_in <- function(page) {
  shiny::isolate(shiny::reactiveValuesToList(page$chosen))
}

# What the view shows of the room that was chosen.
members_shown_in <- function(page) {
  chosen <- chosen_in(page)
  members <- members_now(page$client, chosen$members)
  text_of(members_html(members, chosen$filter, chosen$most))
}

replace_identity <- function(client) {
  suppressMessages(mx_crypto_setup(client, reset = TRUE, password = "demo"))
}

test_that("rooms have names, and say whether they are encrypted", {
  pair <- demo_pair(name = "Pipeline")
  mx_room_create(pair$alice, name = "Open <i>", encrypted = FALSE)
  mx_room_direct(pair$alice, pair$bob$user_id)
  text <- text_of(rooms_form(listed_rooms(pair$alice)))
  expect_match(text, "Pipeline \u2013 encrypted", fixed = TRUE)
  expect_match(text, "Open &lt;i&gt; \u2013 not encrypted", fixed = TRUE)
  expect_match(text, "With @bob:demo \u2013 encrypted", fixed = TRUE)
  nobody <- mx_demo_client(mx_demo_homeserver(), "alice")
  text <- text_of(rooms_form(listed_rooms(nobody)))
  expect_match(text, "You are in no room.", fixed = TRUE)
})

test_that("members are shown with their trust, and a person with devices", {
  pair <- demo_pair()
  page <- people_page(pair$alice)
  expect_null(members_html(NULL, NULL, 50))
  expect_true(sends(page, "people_room", room = pair$room)$ok)
  text <- members_shown_in(page)
  expect_match(text, "@bob:demo Not verified", fixed = TRUE)
  expect_match(text, "@alice:demo (you) \u2714 Verified", fixed = TRUE)
  told <- sends(page, "people_show", user = pair$bob$user_id)
  expect_equal(told$led_to, "person")
  text <- text_of(person_html(pair$alice, chosen_in(page)$person))
  device <- mx_devices(pair$alice, pair$bob$user_id)
  expect_match(text, in_groups(device$ed25519), fixed = TRUE)
  expect_match(text, "\u2714 Signed by its owner", fixed = TRUE)
  expect_match(text, "Verify", fixed = TRUE)
  expect_true(sends(page, "people_close")$ok)
  expect_null(chosen_in(page)$person)
  # What is no room of ours is a sentence.
  for (room in list("!none:demo", "", "x", 1)) {
    expect_false(sends(page, "people_room", room = room)$ok)
  }
})

test_that("a person is verified from here, and the verification withdrawn", {
  pair <- demo_pair()
  bob <- pair$bob$user_id
  page <- people_page(pair$alice)
  told <- sends(page, "verify_user", user = bob)
  expect_equal(told$led_to, card_key(mx_verifications(pair$alice)[[1]]))
  mx_user_sign(pair$alice, bob, mx_user_trust(pair$alice, bob)$master_key)
  html <- person_html(pair$alice, bob)
  expect_match(text_of(html), "\u2714 Verified", fixed = TRUE)
  # What is the same stays verified: the signature is on the server.
  expect_no_match(text_of(html), "Withdraw", fixed = TRUE)
  # A new identity of somebody who was verified stops what is sent.
  replace_identity(pair$bob)
  sends(page, "people_room", room = pair$room)
  text <- members_shown_in(page)
  expect_match(text, "@bob:demo \u2716 Identity changed", fixed = TRUE)
  html <- as.character(person_html(pair$alice, bob))
  expect_match(text_of(html), "Until then nothing is sent", fixed = TRUE)
  expect_match(html, "Accept the new identity of @bob:demo", fixed = TRUE)
  expect_match(text_of(html), "Withdraw the verification", fixed = TRUE)
  expect_true(sends(page, "people_withdraw", user = bob)$ok)
  trust <- mx_user_trust(pair$alice, bob)
  expect_false(trust$needs_approval || trust$was_verified)
})

test_that("a changed identity is accepted, and is not verified by that", {
  pair <- demo_pair()
  bob <- pair$bob$user_id
  page <- people_page(pair$alice)
  sends(page, "people_room", room = pair$room)
  replace_identity(pair$bob)
  mx_user_trust(pair$alice, bob)
  members <- members_now(pair$alice, chosen_in(page)$members)
  expect_equal(members$user_id[1], bob)
  expect_match(text_of(count_html(members)), "1 identity changed, 1 verified")
  told <- sends(page, "people_pin", user = bob)
  expect_match(told$text, "It is not verified.", fixed = TRUE)
  expect_match(members_shown_in(page), "@bob:demo Not verified", fixed = TRUE)
  expect_false(mx_user_trust(pair$alice, bob)$verified)
  for (wrong in list("", "bob", 1)) {
    expect_false(sends(page, "people_pin", user = wrong)$ok)
  }
})

test_that("who has no identity cannot be verified, and the page says so", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  carol <- mx_demo_client(homeserver, "carol", verified = FALSE)
  text <- text_of(person_html(alice, carol$user_id))
  expect_match(text, "No identity", fixed = TRUE)
  expect_match(text, "nobody can verify them", fixed = TRUE)
  expect_no_match(text, "create one", fixed = TRUE)
  expect_match(text, "\u26a0 Not signed by its owner", fixed = TRUE)
  # Oneself is not verified here.
  text <- text_of(person_html(alice, alice$user_id))
  expect_match(text, "This is you.", fixed = TRUE)
})

# A room of many, as the server lists it: the store knows nobody of it.
many <- function(n) {
  data.frame(
    user_id = sprintf("@user%04d:demo", seq_len(n)),
    display_name = sprintf("Person %d", seq_len(n)),
    membership = "join"
  )
}

test_that("1,000 members stay usable", {
  pair <- demo_pair()
  replace_identity(pair$bob)
  page <- people_page(pair$alice)
  members <- rbind(many(1000), mx_room_members(pair$alice, pair$room))
  mx_user_trust(pair$alice, pair$bob$user_id)
  page$chosen$members <- members
  spent <- system.time(text <- members_shown_in(page))
  expect_lt(spent[["user.self"]], 2)
  people <- function(text) {
    lengths(regmatches(text, gregexpr("Devices and trust of", text)))
  }
  expect_equal(people(text), 50)
  expect_match(text, "Show more of the other 952", fixed = TRUE)
  expect_true(sends(page, "people_more")$ok)
  expect_equal(people(members_shown_in(page)), 100)
  # By name or id, whatever the case.
  sends(page, "people_filter", text = "PERSON 77")
  expect_equal(people(members_shown_in(page)), 11)
  sends(page, "people_filter", text = "@BOB")
  expect_equal(people(members_shown_in(page)), 1)
  sends(page, "people_filter", text = "nobody has (this[")
  expect_match(members_shown_in(page), "No member has that.", fixed = TRUE)
  sends(page, "people_filter", text = " ")
  expect_equal(people(members_shown_in(page)), 50)
})

test_that("those who need attention come first", {
  trust <- data.frame(
    master_key = c("k", "k", NA, "k", NA),
    verified = c(TRUE, FALSE, FALSE, FALSE, FALSE),
    needs_approval = c(FALSE, FALSE, FALSE, TRUE, TRUE)
  )
  expect_equal(
    standing_of(trust),
    c("verified", "unverified", "none", "changed", "changed")
  )
  expect_equal(
    names(standing_words),
    c("changed", "none", "unverified", "verified")
  )
})

test_that("the isolation mode is chosen with what it means", {
  pair <- demo_pair()
  page <- people_page(pair$alice)
  html <- as.character(isolation_html("signed"))
  expect_match(html, "value=\"signed\" checked", fixed = TRUE)
  expect_match(text_of(html), "A server cannot add a device", fixed = TRUE)
  told <- sends(page, "people_isolation_mode", mode = "all")
  expect_match(told$text, "Keys go to all devices.", fixed = TRUE)
  expect_equal(mx_isolation_mode(pair$alice), "all")
  for (wrong in list("", "none", 1)) {
    expect_false(sends(page, "people_isolation_mode", mode = wrong)$ok)
  }
  expect_equal(mx_isolation_mode(pair$alice), "all")
})

test_that("names that others chose are harmless", {
  for (name in hostile_names) {
    rooms <- data.frame(room_id = "!x:demo", label = plain_line(name))
    expect_harmless(rooms_form(rooms))
    member <- data.frame(
      user_id = paste0("@", name, ":demo"),
      display_name = name,
      membership = "invite",
      this_user = FALSE,
      standing = "changed"
    )
    expect_harmless(members_html(member, NULL, 50))
    expect_harmless(person_actions(data.frame(
      user_id = member$user_id,
      master_key = "k",
      verified = FALSE,
      was_verified = TRUE,
      needs_approval = TRUE
    )))
  }
})

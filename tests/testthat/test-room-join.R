test_that("via comes from the argument, the link and the invitation", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake, "bob")
  asked <- function(room, via = NULL) {
    fake$forget()
    expect_error(mx_room_join(alice, room, via), class = "mx_error_http")
    path <- fake$seen("POST", "/join/")[[1]]$path
    query <- strsplit(sub("^[^?]*[?]?", "", path), "&", fixed = TRUE)[[1]]
    via <- sub("^via=", "", query[startsWith(query, "via=")])
    # Servers before v1.12 know it by another name.
    old <- sub("^server_name=", "", query[startsWith(query, "server_name=")])
    expect_equal(old, via)
    via
  }
  expect_equal(asked("!nowhere"), character())
  expect_equal(asked("!nowhere", c("a.b", "c:8448")), c("a.b", "c%3A8448"))
  link <- "https://matrix.to/#/!nowhere?via=c.d&via=a.b"
  expect_equal(asked(link), c("c.d", "a.b"))
  expect_equal(asked(link, "a.b"), c("a.b", "c.d"))
  # The server of who invites.
  room <- mx_room_create(bob, "Ours", invite = alice$user_id)
  fake$forget()
  mx_room_join(alice, "Ours")
  server <- sub("^[^:]*:", "", bob$user_id)
  expect_match(
    fake$seen("POST", "/join/")[[1]]$path,
    paste0("via=", server, "&server_name=", server),
    fixed = TRUE
  )
  for (via in list("a b", "a/b", "", "http://a", c("a", NA), 7)) {
    expect_error(mx_room_join(alice, room, via), class = "mx_error_argument")
    expect_error(
      mx_room_knock(alice, room, via = via),
      class = "mx_error_argument"
    )
  }
})

test_that("the server of who upgraded to a room is asked, too", {
  pair <- demo_pair()
  new <- mx_room_create(pair$alice, public = TRUE)
  content <- list(body = "", replacement_room = new)
  mx_room_set_state(pair$alice, pair$room, "m.room.tombstone", content)
  mx_sync(pair$bob)
  asked <- requests_during(mx_room_join(pair$bob, new))
  expect_match(asked, "/join/.*[?]via=demo&server_name=demo$", all = FALSE)
})

test_that("a reason is in the membership event", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  bob <- mx_demo_client(homeserver, "bob")
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room, reason = "to read")
  events <- mx_sync(alice)
  joined <- events[events$sender == bob$user_id, ]
  expect_equal(joined$content[[1]][["reason"]], "to read")
})

test_that("who knocks is let in by an invitation", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  bob <- mx_demo_client(homeserver, "bob")
  withr::local_options(mxcrypt.max_tries = 1)
  room <- mx_room_create(alice, alias = "club")
  condition <- expect_error(
    mx_room_knock(bob, room),
    class = "mx_error_M_FORBIDDEN"
  )
  expect_no_match(conditionMessage(condition), "mx_room_knock")
  mx_room_set_state(alice, room, "m.room.join_rules", list(join_rule = "knock"))
  condition <- expect_error(
    mx_room_join(bob, room),
    class = "mx_error_M_FORBIDDEN"
  )
  expect_match(conditionMessage(condition), "mx_room_knock", fixed = TRUE)
  expect_equal(mx_room_knock(bob, "#club:demo", reason = "please"), room)
  events <- mx_sync(alice)
  knock <- events[events$sender == bob$user_id, ]
  expect_equal(knock$content[[1]][["membership"]], "knock")
  expect_equal(knock$content[[1]][["reason"]], "please")
  expect_false(room %in% mx_rooms(bob)$room_id)
  mx_room_invite(alice, room, bob$user_id)
  expect_equal(mx_room_join(bob, room), room)
})

test_that("what a room asks for is said where the server says it", {
  help <- function(...) entry_help(list(...), knocked = FALSE)
  expect_match(help(join_rule = "invite"), "invited")
  expect_match(help(join_rule = "knock"), "mx_room_knock")
  rooms <- list("!a:b", "!c", 7, "x")
  expect_match(
    help(join_rule = "restricted", allowed_room_ids = rooms),
    "first: !a:b, !c.",
    fixed = TRUE
  )
  expect_match(help(join_rule = "restricted"), "certain other rooms")
  both <- help(join_rule = "knock_restricted", allowed_room_ids = rooms)
  expect_match(both, "first: .* mx_room_knock")
  expect_null(help(join_rule = "public"))
  for (odd in list(NULL, list(), 7, c("a", "b"), list(join_rule = 7))) {
    expect_match(entry_help(as.list(odd), FALSE), "mx_room_knock")
  }
})

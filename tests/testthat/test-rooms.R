test_that("rooms are a data frame, also when there are none", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  columns <- c(
    "room_id",
    "name",
    "alias",
    "membership",
    "encrypted",
    "direct",
    "inviter",
    "successor"
  )
  none <- mx_rooms(alice)
  expect_named(none, columns)
  expect_equal(nrow(none), 0)
  types <- vapply(none, typeof, "")
  one <- mx_room_create(alice, name = "One", alias = "one")
  two <- mx_room_create(alice, encrypted = FALSE)
  expect_setequal(mx_rooms(alice)$room_id, c(one, two))
  mx_sync(alice)
  rooms <- mx_rooms(alice)
  expect_equal(vapply(rooms, typeof, ""), types)
  rooms <- rooms[match(c(one, two), rooms$room_id), ]
  expect_equal(rooms$name, c("One", NA))
  expect_equal(rooms$membership, c("join", "join"))
  expect_equal(rooms$encrypted, c(TRUE, FALSE))
  expect_equal(rooms$inviter, c(NA_character_, NA_character_))
})

test_that("rooms of another device are there without a sync, with their names", {
  pair <- demo_pair(name = "Pipeline")
  second <- mx_demo_client(pair$homeserver, "alice")
  rooms <- mx_rooms(second)
  expect_equal(rooms$room_id, pair$room)
  expect_equal(rooms$name, "Pipeline")
  expect_true(rooms$encrypted)
})

test_that("an invitation is listed without a sync, and its events stay", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  bob <- mx_demo_client(homeserver, "bob")
  one <- mx_room_create(alice, "One", invite = bob$user_id)
  two <- mx_room_create(alice, "Two", invite = bob$user_id, direct = TRUE)
  rooms <- mx_rooms(bob)
  expect_setequal(rooms$room_id, c(one, two))
  expect_equal(rooms$membership, c("invite", "invite"))
  expect_equal(rooms$direct, rooms$name == "Two")
  expect_equal(rooms$inviter, rep(alice$user_id, 2))
  events <- mx_sync(bob)
  expect_setequal(events$room_id, c(one, two))
  expect_equal(nrow(mx_sync(bob)), 0)
})

test_that("a room without a name costs no request of its own", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  count <- function() length(requests_during(mx_rooms(alice)))
  before <- count()
  for (i in 1:3) {
    mx_room_create(alice)
  }
  expect_equal(count(), before)
})

test_that("a list of direct rooms that cannot be read is a warning", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice, invite = "@x:fake", direct = TRUE)
  expect_true(mx_rooms(alice)$direct)
  for (body in c("[]", "null", "<html>", "{")) {
    fake$fault("GET", "/m.direct", body = body)
    expect_warning(rooms <- mx_rooms(alice), class = "mx_warning_direct_room")
    expect_identical(rooms$direct, NA)
  }
  fake$fault("GET", "/m.direct", status = 404, body = "<html>")
  expect_warning(rooms <- mx_rooms(alice), class = "mx_warning_direct_room")
  for (body in c("{}", '{"@x:fake":5,"@y:fake":["!1",5]}')) {
    fake$fault("GET", "/m.direct", body = body)
    expect_identical(mx_rooms(alice)$direct, FALSE)
  }
})

test_that("a list of rooms that is none has no rooms", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  lists <- c("[]", "null", "5", "{}", "[5,null,[]]", '[["x"]]', '{"a":{"b":5}}')
  for (list in lists) {
    body <- sprintf('{"joined_rooms":%s}', list)
    fake$fault("GET", "/joined_rooms", body = body)
    rooms <- tryCatch(mx_rooms(alice), mx_error = function(e) data.frame())
    expect_equal(nrow(rooms), 0, info = list)
    fake$forget()
  }
})

test_that("members that are none are left out", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  chunk <- '[5,null,{},{"state_key":5,"content":[]},
    {"type":"m.room.member","state_key":"@a:b","content":{"membership":"join",
      "displayname":{"x":1}}},
    {"type":"m.room.member","state_key":"@c:d","content":{"membership":"ban"}},
    {"type":"m.room.member","state_key":["@e:f"],"content":"join"}]'
  fake$fault("GET", "/members", body = sprintf('{"chunk":%s}', chunk))
  members <- mx_room_members(alice, "!a:fake")
  expect_equal(members$user_id, "@a:b")
  expect_equal(members$display_name, NA_character_)
  for (chunk in c("5", "null", "{}", '"x"', "[]", "[[]]")) {
    fake$fault("GET", "/members", body = sprintf('{"chunk":%s}', chunk))
    members <- mx_room_members(alice, "!a:fake")
    expect_equal(nrow(members), 0, info = chunk)
    expect_named(members, c("user_id", "display_name", "membership"))
  }
})

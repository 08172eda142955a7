test_that("a room is found by its id, alias and exact name", {
  pair <- demo_pair(name = "Pipeline", alias = "pipeline")
  find <- function(room) resolve_room(pair$alice, room)
  expect_equal(find(pair$room), pair$room)
  expect_equal(find("#pipeline:demo"), pair$room)
  expect_equal(find("Pipeline"), pair$room)
  # Also once a sync has told its name.
  mx_sync(pair$alice)
  expect_equal(find("Pipeline"), pair$room)
  expect_equal(resolve_room(pair$bob, "Pipeline"), pair$room)
})

test_that("a name that is not exactly a room's is an error, and no guess", {
  pair <- demo_pair(name = "Pipeline")
  mx_room_create(pair$alice, name = "Pipelines")
  mx_room_create(pair$alice)
  for (name in c("pipeline", "Pipe", "Pipeline ", "P", "NA", "%s%n", ".*")) {
    condition <- expect_error(
      mx_send_text(pair$alice, name, "lost"),
      class = "mx_error_room"
    )
    expect_match(conditionMessage(condition), name, fixed = TRUE)
  }
  expect_error(
    mx_send_text(pair$alice, "#nowhere:demo", "lost"),
    class = "mx_error_M_NOT_FOUND"
  )
  expect_false(server_has_seen(pair$homeserver, "lost"))
  expect_equal(new_bodies(pair$bob), character())
})

test_that("an unknown name suggests those that are near", {
  near <- function(name, names) near_names(name, names)
  rooms <- c("Pipeline", "Pipelines", "Kitchen", "", "\u65e5\u672c\u8a9e")
  expect_equal(near("pipelin", rooms), c("Pipeline", "Pipelines"))
  expect_equal(near("The Kitchen table", rooms), "Kitchen")
  expect_equal(near("\u65e5\u672c", rooms), "\u65e5\u672c\u8a9e")
  for (name in c("P", "x", "Cellar", strrep("x", 1e5))) {
    expect_equal(near(name, rooms), character())
  }
  expect_equal(near("Pipeline", character()), character())
  expect_equal(near("evil", "evil\u001b[31m"), "evil [31m")
  expect_length(near("room", paste("room", 1:9)), 3)
  # Those that a message could go to, and no others.
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  bob <- mx_demo_client(homeserver, "bob")
  mx_room_create(alice, "Pipeline 1", invite = bob$user_id)
  mx_room_create(bob, "Pipeline 2")
  condition <- expect_error(
    mx_send_text(bob, "Pipeline", "x"),
    class = "mx_error_room"
  )
  expect_match(conditionMessage(condition), "Did you mean \"Pipeline 2\"?")
  expect_no_match(conditionMessage(condition), "Pipeline 1")
})

test_that("a name that two rooms bear is an error that names both", {
  pair <- demo_pair(name = "Pipeline")
  second <- mx_room_create(pair$alice, name = "Pipeline")
  condition <- expect_error(
    mx_send_text(pair$alice, "Pipeline", "x"),
    class = "mx_error_room"
  )
  expect_match(conditionMessage(condition), pair$room, fixed = TRUE)
  expect_match(conditionMessage(condition), second, fixed = TRUE)
  mx_room_leave(pair$alice, second)
  expect_equal(resolve_room(pair$alice, "Pipeline"), pair$room)
})

test_that("a room one is only invited to is not sent to by its name", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  bob <- mx_demo_client(homeserver, "bob")
  mx_room_create(alice, name = "Trap", invite = bob$user_id)
  mx_sync(bob)
  expect_equal(mx_rooms(bob)$membership, "invite")
  expect_error(mx_send_text(bob, "Trap", "x"), class = "mx_error_room")
})

test_that("without a room the client's own is meant, and there must be one", {
  pair <- demo_pair()
  expect_error(mx_send_text(pair$alice, NULL, "x"), class = "mx_error_argument")
  alice <- remember_room(pair$alice, pair$room)
  mx_send_text(alice, NULL, "home")
  expect_equal(new_bodies(pair$bob), "home")
})

test_that("an alias that leads to no id is an error", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  for (body in c(
    "{}",
    '{"room_id":5}',
    '{"room_id":""}',
    '{"room_id":"x"}',
    "[]"
  )) {
    fake$fault("GET", "/directory/", body = body)
    condition <- expect_error(
      mx_send_text(alice, "#x:fake", "x"),
      class = "mx_error"
    )
    # What the server sends is no fault of an argument.
    expect_false(inherits(condition, "mx_error_argument"))
  }
})

test_that("a name of a stranger's room is no reason to fail", {
  expect_equal(
    near_names("Pipelin", c("a\uffff", "\ufffe", "pipeline")),
    "pipeline"
  )
})

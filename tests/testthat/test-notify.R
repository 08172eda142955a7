# Messages of scripts, which neither fail nor hang because of the network.

test_that("a line posts to the room of the client, or of the environment", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  room <- mx_room_create(alice, name = "Pipeline")
  other <- mx_room_create(alice, name = "Other")
  withr::local_envvar(MXCRYPT_MATRIX_CONFIG = alice$path, MXCRYPT_ROOM = NA)
  expect_error(mx_notify("x"), "MXCRYPT_ROOM", class = "mx_error_argument")
  client <- remember_room(alice, room)
  expect_true(mx_notify("to my own", head(cars, 2)))
  withr::local_envvar(MXCRYPT_ROOM = "Other")
  expect_invisible(mx_notify("to that of the environment"))
  expect_true(mx_notify("to the one that is given", room = room))
  bodies <- messages(mx_messages(client, room))$body
  expect_equal(bodies[c(1, 3)], c("to my own", "to the one that is given"))
  expect_equal(
    messages(mx_messages(client, other))$body,
    "to that of the environment"
  )
})

test_that("mistakes are errors, and nothing is sent", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  room <- mx_room_create(alice)
  notify <- function(...) mx_notify(..., client = alice, room = room)
  expect_error(notify(mean), class = "mx_error_argument")
  expect_error(notify("x", markdown = TRUE), class = "mx_error_argument")
  expect_error(notify("x", mentions = "bob"), class = "mx_error_argument")
  expect_error(notify("x", thread = TRUE), class = "mx_error_argument")
  expect_error(notify("x", timeout = 0), class = "mx_error_argument")
  expect_error(mx_notify(alice, room, "x"), "client = client")
  expect_error(
    mx_notify("x", client = alice, room = "no such room"),
    class = "mx_error_room"
  )
  expect_message(sent <- notify(), class = "mx_message_nothing")
  expect_false(sent)
  expect_equal(nrow(messages(mx_messages(alice, room))), 0)
})

test_that("without a network it waits, also where an alias names the room", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  room <- mx_room_create(alice, alias = "ops")
  notify <- function(text, room) mx_notify(text, client = alice, room = room)
  expect_true(notify("before", "#ops"))
  real <- http_once
  is_there <- FALSE
  local_replaced("http_once", function(...) {
    if (is_there) real(...) else network_error("No response.")
  })
  withr::local_options(mxcrypt.pause = 0)
  for (name in c(room, "#ops:demo", "#ops")) {
    warned <- expect_warning(
      sent <- notify(name, name),
      class = "mx_warning_notification"
    )
    expect_false(sent)
    expect_length(warned$numbers, 1)
  }
  # An alias that was never looked up leads nowhere.
  warned <- expect_warning(
    notify("x", "#other:demo"),
    class = "mx_warning_notification"
  )
  expect_null(warned$numbers)
  expect_equal(mx_outbox(alice)$body, c(room, "#ops:demo", "#ops"))
  is_there <- TRUE
  expect_true(notify("after", room))
  expect_equal(
    messages(mx_messages(alice, room))$body,
    c("before", room, "#ops:demo", "#ops", "after")
  )
})

test_that("a file of aliases that is no such file is an empty one", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  mx_room_create(alice, alias = "ops")
  for (text in c("", "[", "[1]", "{\"#ops:demo\": 1}", "\xff")) {
    writeBin(charToRaw(text), aliases_path(alice))
    expect_true(mx_notify("x", client = alice, room = "#ops:demo"))
  }
  expect_match(known_aliases(alice)[["#ops:demo"]], "^!")
})

test_that("the time of all requests together is limited", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  room <- mx_room_create(alice)
  limits <- numeric()
  # A server that asks for an hour of patience, again and again.
  local_replaced("http_once", function(...) {
    limits <<- c(limits, http_timeout())
    list(status = 429L, body = charToRaw("{}"), retry_after = "3600")
  })
  took <- system.time(
    expect_warning(
      mx_notify("x", client = alice, room = room, timeout = 1),
      class = "mx_warning_notification"
    )
  )[["elapsed"]]
  expect_lt(took, 5)
  expect_gt(length(limits), 1)
  expect_true(all(limits <= 1))
  expect_equal(mx_outbox(alice)$body, "x")
  # Afterwards there is no limit.
  expect_equal(time_left(), Inf)
  expect_equal(http_timeout(), 60)
})

test_that("limits are those of the call around them too", {
  within_seconds(5, {
    expect_lt(time_left(), 5.001)
    within_seconds(100, expect_lt(time_left(), 5.001))
    within_seconds(1, expect_lt(time_left(), 1.001))
    expect_gt(time_left(), 1.001)
    try(within_seconds(1, stop("x")), silent = TRUE)
    expect_gt(time_left(), 1.001)
  })
  expect_equal(time_left(), Inf)
})

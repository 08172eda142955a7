# Requests that fail, or whose answers do: they are tried again, in the same call
# and by the next one, and nothing happens twice.

# Requests for `pattern` fail too often for one call; then some lose their
# answers. What was said is read, once.
expect_survives <- function(pattern) {
  proxy <- live_proxy()
  alice <- live_client(url = proxy$url)
  them <- live_stranger()
  room <- room_of(alice, them)
  proxy$block(pattern)
  expect_error(mx_send_text(alice, room, "one"), class = "mx_error_http")
  expect_equal(sum(proxy$seen(pattern)$fault == "answer"), 5)

  proxy$clear()
  proxy$block(pattern, times = 1)
  proxy$lose_answer(pattern, times = 2)
  mx_send_text(alice, room, "two")
  faults <- proxy$seen(pattern)$fault
  expect_equal(head(faults, 4), c("answer", "lose_answer", "lose_answer", ""))
  reads(them, room, "one")
  reads(them, room, "two")
  events <- them$call("messages", roomId = room)
  bodies <- unlist(lapply(events, function(event) event[["body"]]))
  expect_equal(bodies, c("one", "two"))
}

test_that("devices that could not be asked for are asked for again", {
  expect_survives("keys/query")
})

test_that("one-time keys that could not be claimed are claimed again", {
  expect_survives("keys/claim")
})

test_that("room keys that could not be sent are sent again", {
  expect_survives("sendToDevice")
})

test_that("a message that could not be sent is sent again, and comes once", {
  expect_survives("send/m.room.encrypted")
})

test_that("keys that could not be uploaded are uploaded by the next call", {
  proxy <- live_proxy()
  user <- live_user("r")
  dir <- withr::local_tempdir()
  path <- file.path(dir, "matrix.json")
  proxy$block("keys/upload")
  expect_error(
    mx_client_configure(
      proxy$url,
      user$user,
      password = user$password,
      path = path,
      store_dir = file.path(dir, "crypto")
    ),
    class = "mx_error_http"
  )
  tried <- proxy$seen("keys/upload")$body
  proxy$clear()
  alice <- mx_client_load(path = path)
  mx_isolation_mode(alice, "all")
  expect_no_warning(mx_sync(alice))
  # The same keys: the server may have taken them the first time.
  expect_equal(unique(tried), proxy$seen("keys/upload")$body)

  them <- live_stranger()
  room <- them$call("createRoom", invite = alice$user_id)
  mx_room_join(alice, room)
  them$call("waitForMember", roomId = room, userId = alice$user_id)
  them$call("sendText", roomId = room, body = "hello")
  expect_equal(wait_for_bodies(alice, "hello"), "hello")
})

test_that("a key of a new device is kept while devices cannot be asked for", {
  proxy <- live_proxy()
  scene <- unheard_device(url = proxy$url)
  proxy$block("keys/query")
  event <- say(scene$second, scene$room, "from the second")
  expect_warning(
    mx_sync(scene$alice, timeout = 5000),
    class = "mx_warning_pump"
  )
  expect_gt(nrow(proxy$seen("keys/query")), 1)
  proxy$clear()
  history <- mx_messages(scene$alice, scene$room)
  said <- history[history$event_id == event, ]
  expect_equal(said$body, "from the second")
  expect_equal(as.character(said$trust), "unsigned")
})

test_that("who was invited is sent to before a sync tells of the invitation", {
  proxy <- live_proxy()
  alice <- live_client(url = proxy$url)
  room <- mx_room_create(alice)
  mx_send_text(alice, room, "alone")
  mx_sync(alice)
  them <- live_stranger()
  proxy$block("/sync")
  expect_error(mx_sync(alice), class = "mx_error_http")
  mx_room_invite(alice, room, them$user_id)
  mx_send_text(alice, room, "welcome")
  them$call("join", roomId = room)
  reads(them, room, "welcome")
})

# A server whose endpoints beside the messages are broken: a bot sends all the same.

test_that("a bot whose backup endpoint is broken sends", {
  proxy <- live_proxy()
  bot <- live_client(url = proxy$url)
  them <- live_stranger()
  room <- room_of(bot, them)
  # It has a backup, so there is something to ask of the endpoint.
  suppressMessages(mx_crypto_setup(bot))
  broken <- list(
    list(status = 500, body = "{}"),
    list(
      status = 405,
      body = "{\"errcode\":\"M_UNRECOGNIZED\",\"error\":\"x\"}"
    ),
    list(status = 404, body = "<html>not here</html>"),
    list(status = 200, body = "{\"version\":\"1\"}")
  )
  for (i in seq_along(broken)) {
    proxy$clear()
    proxy$answer("room_keys", broken[[i]]$body, status = broken[[i]]$status)
    # From here on each round of requests looks for the version again.
    suppressWarnings(mx_backup_status(bot))
    text <- paste("message", i)
    id <- suppressWarnings(
      mx_send_text(bot, room, text),
      classes = "mx_warning_pump"
    )
    expect_match(id, "^\\$")
    expect_equal(nrow(mx_outbox(bot)), 0)
    reads(them, room, text)
  }
  expect_gt(nrow(proxy$seen("room_keys")), 0)
})

test_that("messages that wait are seen, and come once the server is back", {
  proxy <- live_proxy()
  bot <- live_client(url = proxy$url)
  them <- live_stranger()
  room <- room_of(bot, them)
  proxy$answer("/send/m.room", "<html>Forbidden</html>", status = 403)
  condition <- expect_error(
    mx_send_text(bot, room, "waits"),
    class = "mx_error_http"
  )
  expect_equal(mx_outbox(bot)$number, condition$numbers)
  proxy$clear()
  mx_sync(bot)
  reads(them, room, "waits")
  expect_equal(nrow(mx_outbox(bot)), 0)
})

test_that("room keys that a proxy finds too large go in halves", {
  proxy <- live_proxy()
  bot <- live_client(url = proxy$url)
  user <- live_user("r")
  first <- live_client(user)
  second <- live_client(user)
  room <- mx_room_create(bot, invite = first$user_id)
  mx_room_join(first, room)
  proxy$answer(
    "sendToDevice",
    "<html>too large</html>",
    status = 413,
    times = 1
  )
  id <- mx_send_text(bot, room, "hello")
  expect_match(id, "^\\$")
  expect_equal(wait_for_bodies(first, "hello"), "hello")
  expect_equal(wait_for_bodies(second, "hello"), "hello")
})

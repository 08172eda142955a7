# A device that was one of mx.client, among matrix-js-sdk and Synapse.

source(file.path(repo_root, "tests/testthat/helper-mx-client.R"), local = TRUE)

test_that("a device of mx.client moves here and goes on", {
  user <- live_user("alice")
  old <- old_device(live_synapse()[["url"]], user$user, user$password)
  bob <- live_stranger()
  room <- bob$call("createRoom", invite = list(old$login$user_id))
  old_call(old, "POST", c("join", room), "{}")
  bob$call("waitForMember", roomId = room, userId = old$login$user_id)
  before <- bob$call("sendText", roomId = room, body = "before")
  bob$call("waitForMessage", roomId = room, eventId = before)
  end <- Sys.time() + 20
  while (length(old$megolm_in) == 0L && Sys.time() < end) {
    old_sync(old)
  }
  alice <- imported(old_store(old), withr::local_tempdir())
  mx_isolation_mode(alice, "all")
  expect_identical(alice$device_id, old$login$device_id)

  history <- mx_messages(alice, room)
  history <- history[history$event_id %in% before, ]
  expect_identical(history$body, "before")
  expect_identical(history$key_source, "imported")
  # On the session that was imported; and Bob reads what comes on a new one.
  bob$call("sendText", roomId = room, body = "after")
  expect_true("after" %in% wait_for_bodies(alice, "after"))
  mx_send_text(alice, room, "hello")
  reads(bob, room, "hello")
})

# Processes that are killed while a request is under way, before the server has it
# or after it acted: the next process goes on.

# Kills `process` while a request of this pattern is under way. Says what was seen
# of such requests.
kill_during <- function(proxy, process, pattern, before = FALSE) {
  proxy$delay(pattern, before = before)
  on.exit(proxy$release())
  process <- process()
  on.exit(process$kill(), add = TRUE, after = FALSE)
  proxy$wait(pattern)
  expect_true(process$is_alive())
  process$kill()
  proxy$seen(pattern)
}

bodies_in <- function(them, room) {
  events <- them$call("messages", roomId = room)
  unlist(lapply(events, function(event) event[["body"]]))
}

test_that("keys whose upload was not confirmed are uploaded again, the same", {
  proxy <- live_proxy()
  user <- live_user("r")
  dir <- withr::local_tempdir()
  path <- file.path(dir, "matrix.json")
  code <- sprintf(
    "mxcrypt::mx_client_configure('%s', '%s', password = '%s', path = '%s', store_dir = '%s')",
    proxy$url,
    user$user,
    user$password,
    path,
    file.path(dir, "crypto")
  )
  kill_during(proxy, \() start_r(code), "keys/upload")
  alice <- mx_client_load(path = path)
  mx_isolation_mode(alice, "all")
  mx_sync(alice)
  uploads <- proxy$seen("keys/upload")
  expect_equal(uploads$status, c(200, 200))
  expect_equal(uploads$body[[1]], uploads$body[[2]])
  expect_match(uploads$body[[1]], "one_time_keys")

  them <- live_stranger()
  room <- them$call("createRoom", invite = alice$user_id)
  mx_room_join(alice, room)
  them$call("waitForMember", roomId = room, userId = alice$user_id)
  them$call("sendText", roomId = room, body = "hello")
  expect_equal(wait_for_bodies(alice, "hello"), "hello")
})

test_that("a sender killed while it shares a key finishes sharing, and sends once", {
  proxy <- live_proxy()
  them <- live_stranger()
  other <- live_client()
  for (pattern in c("keys/claim", "sendToDevice", "send/m.room.encrypted")) {
    for (before in c(TRUE, FALSE)) {
      alice <- live_client(url = proxy$url)
      members <- c(them$user_id, other$user_id)
      room <- mx_room_create(alice, invite = members)
      them$call("join", roomId = room)
      mx_room_join(other, room)
      code <- sprintf("mxcrypt::mx_send_text(client, '%s', 'one')", room)
      process <- \() start_process(alice$path, code)
      proxy$clear()
      seen <- kill_during(proxy, process, pattern, before)
      expect_equal(seen$status, if (before) NA_integer_ else 200L)
      mx_send_text(alice, room, "two")
      again <- proxy$seen(pattern)
      if (pattern != "keys/claim") {
        # The same bytes under the same id: no index is used twice.
        expect_equal(again$path[[2]], again$path[[1]])
        expect_equal(again$body[[2]], again$body[[1]])
      }
      reads(them, room, "two")
      expect_equal(bodies_in(them, room), c("one", "two"))
      expect_equal(wait_for_bodies(other, "two"), c("one", "two"))
    }
  }
})

test_that("a device that was told of before a kill is asked for after it", {
  proxy <- live_proxy()
  alice <- live_client(url = proxy$url)
  user <- live_user("foreign")
  first <- live_foreign(user = user)
  room <- mx_room_create(alice, invite = first$user_id)
  first$call("join", roomId = room)
  mx_send_text(alice, room, "one device")
  mx_sync(alice)
  second <- live_foreign(user = user)
  proxy$clear()
  process <- \() start_process(alice$path, "mxcrypt::mx_sync(client)")
  seen <- kill_during(proxy, process, "keys/query")
  expect_match(seen$body, second$user_id, fixed = TRUE)
  mx_send_text(alice, room, "two devices")
  reads(second, room, "two devices")
})

test_that("a key that came to a process that was killed is kept", {
  proxy <- live_proxy()
  bob <- live_client(url = proxy$url)
  them <- live_stranger()
  room <- them$call("createRoom", invite = bob$user_id)
  mx_room_join(bob, room)
  them$call("waitForMember", roomId = room, userId = bob$user_id)
  mx_sync(bob)
  # From before it has the answer until after it has saved it.
  for (pause in c(0, 0.005, 0.02, 0.1)) {
    text <- paste("after", pause)
    them$call("forceDiscardSession", roomId = room)
    them$call("sendText", roomId = room, body = text)
    proxy$clear()
    proxy$delay("/sync")
    process <- start_process(bob$path, "mxcrypt::mx_sync(client)")
    seen <- proxy$wait("/sync")
    expect_match(seen$answer[[1]], "m.olm.v1.curve25519-aes-sha2")
    proxy$release()
    Sys.sleep(pause)
    process$kill()
    history <- mx_messages(bob, room)
    expect_true(text %in% history$body)
    expect_true(all(is.na(history$utd_reason)))
  }
})

test_that("an identity that was being made when the process died is finished", {
  proxy <- live_proxy()
  for (pattern in c(
    "account_data/m.cross_signing.self_signing",
    "device_signing/upload",
    "signatures/upload"
  )) {
    for (before in c(TRUE, FALSE)) {
      user <- live_user("r")
      alice <- live_client(user, url = proxy$url)
      proxy$clear()
      code <- "mxcrypt::mx_crypto_setup(client)"
      process <- \() start_process(alice$path, code)
      kill_during(proxy, process, paste("(PUT|POST) .*", pattern), before)
      setup <- mx_crypto_setup(alice)
      expect_true(mx_crypto_status(alice)$device_signed)
      key <- format(setup$recovery_key, reveal = TRUE)
      # It is whole: another device takes it from the server.
      phone <- live_client(user)
      other <- mx_crypto_setup(phone, recovery_key = key)
      expect_equal(other$master_key, setup$master_key)
    }
  }
})

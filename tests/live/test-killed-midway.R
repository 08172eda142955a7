# Processes that are killed while a request is under way, before the server has it
# or after it acted: the next process goes on.

killed_upload <- function(proxy) {
  user <- live_user("r")
  dir <- withr::local_tempdir(.local_envir = parent.frame())
  path <- file.path(dir, "matrix.json")
  code <- sprintf(
    "mxcrypt::mx_client_configure(
       '%s', '%s', password = '%s', path = '%s', store_dir = '%s'
     )",
    proxy$url,
    user$user,
    user$password,
    path,
    file.path(dir, "crypto")
  )
  seen <- kill_during(proxy, \() start_r(code), "keys/upload")
  list(path = path, seen = seen, user_id = user$user_id)
}

# The next process uploads the same keys, and they are of use.
follow_upload <- function(scene, proxy, them) {
  alice <- mx_client_load(path = scene$path)
  mx_isolation_mode(alice, "all")
  mx_sync(alice)
  uploads <- proxy$seen("keys/upload")
  uploads <- uploads[grepl(scene$user_id, uploads$body, fixed = TRUE), ]
  expect_equal(uploads$status, c(200, 200))
  expect_equal(uploads$body, rep(scene$seen$body, 2))
  expect_match(scene$seen$body, "\"one_time_keys\"", fixed = TRUE)

  room <- them$call("createRoom", invite = alice$user_id)
  mx_room_join(alice, room)
  them$call("waitForMember", roomId = room, userId = alice$user_id)
  them$call("sendText", roomId = room, body = "hello")
  expect_equal(wait_for_bodies(alice, "hello"), "hello")
}

killed_sender <- function(proxy, others, pattern, before) {
  alice <- live_client(url = proxy$url, .local_envir = parent.frame())
  room <- room_of(alice, others[[1]], others[[2]])
  code <- sprintf("mxcrypt::mx_send_text(client, '%s', 'one')", room)
  start <- \() start_process(alice$path, code)
  seen <- kill_during(proxy, start, pattern, before)
  list(alice = alice, room = room, seen = seen, pattern = pattern)
}

# The next process finishes what was under way, for everybody, once.
follow_sender <- function(scene, proxy, others) {
  mx_send_text(scene$alice, scene$room, "two")
  # The same bytes under the same id: no index is used twice.
  again <- proxy$seen(scene$pattern)
  again <- again[again$path == scene$seen$path, ]
  expect_equal(again$body, rep(scene$seen$body, 2))
  # Killed before the server had it, or after it acted, and not otherwise.
  expect_equal(again$status, c(scene$seen$status, 200L))
  reads(others[[1]], scene$room, "two")
  events <- others[[1]]$call("messages", roomId = scene$room)
  bodies <- unlist(lapply(events, function(event) event[["body"]]))
  expect_equal(bodies, c("one", "two"))
  history <- mx_messages(others[[2]], scene$room)
  expect_equal(messages(history)$body, c("one", "two"))
}

killed_query <- function(proxy) {
  scene <- unheard_device(url = proxy$url, .local_envir = parent.frame())
  start <- \() start_process(scene$alice$path, "mxcrypt::mx_sync(client)")
  seen <- kill_during(proxy, start, "keys/query")
  expect_match(seen$body, scene$second$user_id, fixed = TRUE)
  scene
}

test_that("what a process was at when it was killed is finished by the next", {
  proxy <- live_proxy()
  them <- live_stranger()
  others <- list(them, live_client())
  # For some seconds a request belongs to the process that made it. So all are
  # killed first, to wait only once.
  upload <- killed_upload(proxy)
  senders <- list(
    killed_sender(proxy, others, "sendToDevice", before = TRUE),
    killed_sender(proxy, others, "sendToDevice", before = FALSE),
    killed_sender(proxy, others, "send/m.room.encrypted", before = FALSE)
  )
  query <- killed_query(proxy)

  for (scene in senders) {
    follow_sender(scene, proxy, others)
  }
  follow_upload(upload, proxy, them)
  # A device that was told of before the kill is asked for after it.
  mx_send_text(query$alice, query$room, "two devices")
  reads(query$second, query$room, "two devices")
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
    proxy$delay("/sync")
    process <- start_process(bob$path, "mxcrypt::mx_sync(client)")
    seen <- proxy$wait("/sync")
    expect_match(seen$answer, "m.olm.v1.curve25519-aes-sha2")
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
  for (step in c(
    "PUT .*/m.cross_signing.self_signing",
    "POST .*/device_signing/upload",
    "POST .*/signatures/upload"
  )) {
    user <- live_user("r")
    alice <- live_client(user, url = proxy$url)
    start <- \() start_process(alice$path, "mxcrypt::mx_crypto_setup(client)")
    kill_during(proxy, start, step)
    setup <- mx_crypto_setup(alice)
    expect_true(mx_crypto_status(alice)$device_signed)
    # It is whole: another device takes it from the server.
    key <- format(setup$recovery_key, reveal = TRUE)
    other <- mx_crypto_setup(live_client(user), recovery_key = key)
    expect_equal(other$master_key, setup$master_key)
  }
})

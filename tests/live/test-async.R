# Promises, with a real homeserver: nothing waits while they are under way.

source(file.path(repo_root, "tests/testthat/helper-async.R"), local = TRUE)

test_that("messages are sent and events received while jobs of later run", {
  alice <- live_client()
  bob <- live_client()
  them <- live_stranger()
  room <- mx_room_create(
    alice,
    name = "async",
    invite = c(bob$user_id, them$user_id)
  )
  mx_room_join(bob, room)
  them$call("join", roomId = room)
  them$call("waitForMember", roomId = room, userId = them$user_id)
  mx_sync(alice)

  texts <- sprintf("message %d", 1:20)
  sent <- lapply(texts, function(text) mx_send_text_async(alice, room, text))
  run <- ticking(promises::promise_all(.list = sent))
  ids <- unlist(run$value)
  expect_length(unique(ids), 20)
  # A job of 20 ms ran at least five times a second, on average.
  expect_gt(run$ticks, 5 * run$took)

  run <- ticking(mx_sync_async(bob))
  events <- messages(run$value)
  events <- events[events$body %in% texts, ]
  expect_equal(events$body, texts)
  expect_equal(events$event_id, ids)
  expect_true(all(events$encrypted & events$decrypted))
  reads(them, room, "message 20")

  # A long poll, which a message ends.
  mx_sync(bob)
  news <- mx_sync_async(bob, timeout = 20000)
  later::later(function() mx_send_text_async(alice, room, "wake up"), 1)
  run <- ticking(news)
  expect_true("wake up" %in% run$value$body)
  expect_lt(run$took, 20)
  expect_gt(run$ticks, 5 * run$took)

  # A file, and a thread.
  path <- withr::local_tempfile(fileext = ".csv")
  utils::write.csv(cars, path)
  ids <- settled(mx_post_async(
    alice,
    room,
    "a table",
    mx_file(path),
    thread = TRUE
  ))
  expect_length(ids, 2)
  reads(them, room, "a table")
})

test_that("a call whose login has ended rejects its promise", {
  alice <- live_client()
  room <- mx_room_create(alice)
  withr::local_envvar(MXCRYPT_PASSWORD = NA)
  # Another process signs out: this one finds out by the response of the server.
  process <- start_process(
    alice$path,
    "mxcrypt::mx_logout(client, ask = FALSE)"
  )
  expect_ends_well(process)
  for (call in list(
    function() mx_sync_async(alice),
    function() mx_send_text_async(alice, room, "x")
  )) {
    condition <- settled(call())
    expect_s3_class(condition, "mx_error_signed_out")
  }
})

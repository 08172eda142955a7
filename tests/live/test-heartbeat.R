# Dead man's switches: Synapse sends a message that was encrypted beforehand, unless it
# is told not to.

# What the server is to send later, of one user.
delayed <- function(client) {
  query <- sprintf(
    "select delay_id, content from delayed_events where user_localpart = '%s'",
    sub("^@(.*):.*$", "\\1", client$user_id)
  )
  synapse_sql(live_synapse(), query)
}

test_that("the alarm of a process that was killed comes, and can be read", {
  alice <- live_client()
  them <- live_stranger()
  room <- room_of(alice, them)
  code <- sprintf(
    "mxcrypt::mx_heartbeat(
       client, '%s', 'it died', 2, name = 'job', mentions = '%s'
     ); Sys.sleep(60)",
    room,
    them$user_id
  )
  process <- start_process(alice$path, code)
  end <- Sys.time() + 30
  while (nrow(delayed(alice)) == 0L && Sys.time() < end) {
    Sys.sleep(0.1)
  }
  expect_no_match(delayed(alice)$content, "died", fixed = TRUE)
  process$kill()

  event <- them$call("waitForMessage", roomId = room, body = "it died")
  expect_true(event[["encrypted"]])
  expect_null(event[["failure"]])
  mx_sync(alice)
  beat <- mx_heartbeats(alice)[["job"]]
  expect_equal(beat$state, "sent")
  expect_match(beat$event_id, "^\\$")
  # There is an alarm again, and it says that there was none.
  expect_warning(mx_heartbeat_restart(beat), class = "mx_warning_heartbeat")
  expect_equal(nrow(delayed(alice)), 1)
  expect_true(mx_heartbeat_stop(alice, name = "job"))
})

test_that("a restart prolongs, and another process stops it", {
  alice <- live_client()
  them <- live_stranger()
  room <- room_of(alice, them)
  beat <- mx_heartbeat(alice, room, "too late", 5)
  for (i in 1:3) {
    Sys.sleep(2)
    expect_no_warning(mx_heartbeat_restart(beat))
  }
  expect_equal(nrow(delayed(alice)), 1)
  expect_true(mx_heartbeat_stop(beat))

  beat <- mx_heartbeat(alice, room, "too late", 60, name = "job")
  code <- "stopifnot(mxcrypt::mx_heartbeat_stop(client, name = 'job'))"
  expect_ends_well(start_process(alice$path, code))
  expect_equal(nrow(delayed(alice)), 0)
  expect_length(mx_heartbeats(alice), 0)
  expect_error(mx_heartbeat_restart(beat), class = "mx_error_heartbeat")

  # The ratchet goes on behind the message that was never sent.
  mx_send_text(alice, room, "well")
  reads(them, room, "well")
  bodies <- lapply(them$call("messages", roomId = room), \(x) x[["body"]])
  expect_false("too late" %in% bodies)
})

test_that("one of the same name replaces the old one, also in a plain room", {
  alice <- live_client()
  room <- mx_room_create(alice, encrypted = FALSE)
  mx_heartbeat(alice, room, "old", 60, name = "job")
  old <- delayed(alice)$delay_id
  beat <- mx_heartbeat(
    alice,
    room,
    "new",
    as.difftime(1, units = "mins"),
    name = "job"
  )
  now <- delayed(alice)
  expect_equal(nrow(now), 1)
  expect_match(now$content, "new", fixed = TRUE)
  expect_false(now$delay_id == old)
  expect_length(mx_heartbeats(alice), 1)

  # Somebody else who knows the id cancels it: the next restart sets it again.
  path <- mxcrypt:::api_path("delayed_events", now$delay_id, "cancel")
  path <- sub("v3", "unstable/org.matrix.msc4140", path)
  mxcrypt:::http_json(alice, "POST", path, list())
  expect_warning(mx_heartbeat_restart(beat), class = "mx_warning_heartbeat")
  expect_match(delayed(alice)$content, "new", fixed = TRUE)
  expect_true(mx_heartbeat_stop(beat))
  expect_equal(nrow(delayed(alice)), 0)
})

test_that("a response that was lost leaves no alarm that nobody knows of", {
  proxy <- live_proxy()
  alice <- live_client(url = proxy$url)
  room <- room_of(alice, live_stranger())
  beat <- function() mx_heartbeat(alice, room, "no report", 60, name = "job")

  # Once, and the same request returns the same id.
  proxy$lose_answer("msc4140.delay", times = 1)
  beat()
  expect_equal(nrow(delayed(alice)), 1)
  expect_true(mx_heartbeat_stop(alice, name = "job"))

  # For good.
  withr::local_options(mxcrypt.max_tries = 2, mxcrypt.pause = 0.1)
  proxy$lose_answer("msc4140.delay", times = 100)
  error <- expect_error(beat(), class = "mx_error_network")
  expect_match(conditionMessage(error), "not known", fixed = TRUE)
  expect_equal(mx_heartbeats(alice)[["job"]]$state, "unknown")
  expect_equal(nrow(delayed(alice)), 1)
  proxy$clear()
  expect_true(mx_heartbeat_stop(alice, name = "job"))
  expect_equal(nrow(delayed(alice)), 0)

  # What never arrived is not sent later.
  proxy$block("msc4140.delay")
  expect_error(beat(), class = "mx_error_http")
  proxy$clear()
  mx_send_text(alice, room, "later")
  expect_equal(nrow(delayed(alice)), 0)
  expect_length(mx_heartbeats(alice), 0)
  expect_equal(nrow(mx_outbox(alice)), 0)
})

test_that("a stop that the network prevents is made up for", {
  proxy <- live_proxy()
  alice <- live_client(url = proxy$url)
  room <- room_of(alice, live_stranger())
  beat <- mx_heartbeat(alice, room, "no report", 60)
  withr::local_options(mxcrypt.max_tries = 1)
  proxy$block("cancel")
  expect_error(mx_heartbeat_stop(beat), class = "mx_error_http")
  expect_equal(nrow(delayed(alice)), 1)
  proxy$clear()
  expect_true(mx_heartbeat_stop(beat))
  expect_equal(nrow(delayed(alice)), 0)
})

test_that("a server that cannot do it says so, and nothing is sent", {
  proxy <- live_proxy()
  alice <- live_client(url = proxy$url)
  room <- room_of(alice, live_stranger())
  beat <- function() mx_heartbeat(alice, room, "at once?", 8 * 24 * 60 * 60)
  error <- expect_error(beat(), class = "mx_error_unsupported")
  expect_equal(error$max_after, 7 * 24 * 60 * 60)
  # The server itself, where it does not say before how long it takes.
  withr::local_options(mxcrypt.max_tries = 1)
  proxy$block("capabilities")
  expect_error(beat(), class = "mx_error_unsupported")
  expect_length(mx_heartbeats(alice), 0)

  server <- synapse_start(extra = list(max_event_delay_duration = NULL))
  withr::defer(synapse_stop(server))
  bob <- live_client(server = server)
  room <- mx_room_create(bob)
  expect_error(
    mx_heartbeat(bob, room, "at once?", 60),
    class = "mx_error_unsupported"
  )
  expect_false("m.room.message" %in% mx_sync(bob)$type)
})

# Dead man's switches, over the demo homeserver. tests/live/test-heartbeat.R has kills
# and a real server.

scene_with_room <- function() {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  room <- mx_room_create(alice, name = "Pipeline")
  list(homeserver = homeserver, alice = alice, room = room)
}

behave <- function(scene, kind) {
  address <- demo_address(scene$homeserver)
  core(demo_behave(the[["homeservers"]][[address]], kind))
}

test_that("a heartbeat is started, restarted, found by its name and stopped", {
  scene <- scene_with_room()
  beat <- mx_heartbeat(scene$alice, "Pipeline", "no report", 3600, name = "job")
  expect_s3_class(beat, "mx_heartbeat")
  expect_equal(beat$state, "armed")
  expect_equal(beat$after, 3600)
  expect_equal(as.numeric(beat$due - beat$since, units = "secs"), 3600)
  expect_equal(beat$text, "no report")
  again <- mx_heartbeat_restart(scene$alice, name = "job")
  expect_equal(again$id, beat$id)
  expect_gte(as.numeric(again$since), as.numeric(beat$since))
  expect_named(mx_heartbeats(scene$alice), "job")
  expect_output(print(beat), "armed, sent at .* unless", perl = TRUE)
  expect_true(mx_heartbeat_stop(scene$alice, name = "job"))
  expect_output(print(beat), "stopped")
  expect_length(mx_heartbeats(scene$alice), 0)
  error <- expect_error(mx_heartbeat_stop(beat), class = "mx_error_heartbeat")
  expect_match(conditionMessage(error), "it was stopped")
})

test_that("the message is not in the outbox, and not in the clear", {
  scene <- scene_with_room()
  mx_heartbeat(scene$alice, scene$room, "a secret alarm", 3600)
  expect_equal(nrow(mx_outbox(scene$alice)), 0L)
  seen <- mx_demo_requests(scene$homeserver)
  expect_false(any(grepl("a secret alarm", seen, fixed = TRUE)))
})

test_that("who could read it still can after the room has newer keys", {
  scene <- scene_with_room()
  bob <- mx_demo_client(scene$homeserver, "bob")
  mx_room_invite(scene$alice, scene$room, bob$user_id)
  mx_room_join(bob, scene$room)
  mx_heartbeat(scene$alice, scene$room, "no report", 1)
  mx_room_key_rotate(scene$alice, scene$room)
  mx_send_text(scene$alice, scene$room, "in between")
  Sys.sleep(1)
  bodies <- mx_sync(bob)$body
  expect_true(all(c("no report", "in between") %in% bodies))
})

test_that("one that was sent says so, and a restart sets an alarm again", {
  scene <- scene_with_room()
  beat <- mx_heartbeat(scene$alice, scene$room, "no report", 0.05, name = "job")
  Sys.sleep(0.1)
  expect_equal(mx_heartbeats(scene$alice)[["job"]]$state, "due")
  warning <- expect_warning(
    mx_heartbeat_restart(beat),
    class = "mx_warning_heartbeat"
  )
  expect_match(conditionMessage(warning), "had sent its message at")
  Sys.sleep(0.1)
  mx_sync(scene$alice)
  found <- mx_heartbeats(scene$alice)[["job"]]
  expect_equal(found$state, "sent")
  expect_output(print(found), "sent, at")
  expect_warning(
    expect_false(mx_heartbeat_stop(beat)),
    class = "mx_warning_heartbeat"
  )
  expect_length(mx_heartbeats(scene$alice), 0)
})

test_that("a time is seconds, a difftime or a point in time ahead", {
  scene <- scene_with_room()
  start <- function(after) mx_heartbeat(scene$alice, scene$room, "x", after)
  expect_equal(start(as.difftime(2, units = "hours"))$after, 7200)
  expect_lte(abs(start(Sys.time() + 60)$after - 60), 5)
  bad <- list(0, -1, NA, NaN, Inf, "60", Sys.time() - 1, Sys.Date(), 1:2, NULL)
  for (after in bad) {
    expect_error(start(after), "`after`", class = "mx_error_argument")
  }
})

test_that("other arguments are checked, by name", {
  scene <- scene_with_room()
  alice <- scene$alice
  start <- function(...) mx_heartbeat(alice, scene$room, ...)
  argument <- "mx_error_argument"
  expect_error(start("", 60), "`text`", class = argument)
  expect_error(start(c("a", "b"), 60), "`text`", class = argument)
  expect_error(start("a", 60, name = ""), "`name`", class = argument)
  long <- strrep("a", 256)
  expect_error(start("a", 60, name = long), "`name`", class = argument)
  expect_error(start("a", 60, mentions = "x"), "`mentions`", class = argument)
  expect_error(mx_heartbeat_stop("job"), "`beat`", class = argument)
  expect_error(mx_heartbeat_stop(alice), "`name`", class = argument)
  mx_heartbeat(alice, scene$room, "a", 60, name = "job")
  error <- expect_error(
    mx_heartbeat_restart(alice, name = "jib"),
    class = "mx_error_heartbeat"
  )
  expect_match(conditionMessage(error), "There is: job")
  large <- strrep("a", 1e5)
  expect_error(start(large, 60), class = "mx_error_too_large")
})

test_that("a server that would send at once is not asked", {
  scene <- scene_with_room()
  room <- mx_room_create(scene$alice, encrypted = FALSE)
  behave(scene, "dendrite")
  for (place in c(scene$room, room)) {
    expect_error(
      mx_heartbeat(scene$alice, place, "at once?", 60),
      class = "mx_error_unsupported"
    )
  }
  seen <- mx_demo_requests(scene$homeserver)
  expect_false(any(grepl("at once?", seen, fixed = TRUE)))
  expect_length(mx_heartbeats(scene$alice), 0)
  behave(scene, "synapse")
  error <- expect_error(
    mx_heartbeat(scene$alice, room, "x", 1e6),
    class = "mx_error_unsupported"
  )
  expect_equal(error$max_after, 86400)
})

test_that("one of the same name replaces the old one", {
  scene <- scene_with_room()
  old <- mx_heartbeat(scene$alice, scene$room, "old", 0.5, name = "job")
  new <- mx_heartbeat(scene$alice, scene$room, "new", 3600, name = "job")
  expect_equal(new$id, old$id)
  Sys.sleep(0.6)
  expect_false("old" %in% mx_sync(scene$alice)$body)
  expect_length(mx_heartbeats(scene$alice), 1)
})

test_that("text of a name or a message that is no text of one line is shown safely", {
  scene <- scene_with_room()
  name <- "a\033[31mb\nc"
  beat <- mx_heartbeat(scene$alice, scene$room, "x\r\ny", 60, name = name)
  lines <- format(beat)
  expect_length(lines, 4)
  expect_false(any(grepl("[\033\r\n]", lines)))
})

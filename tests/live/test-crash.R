# Processes that end at any moment (SIGKILL): nothing is lost, and nothing sent
# twice.

# Lets processes run `code` and kills each after a while, until one ends by
# itself.
run_with_kills <- function(path, code, seconds) {
  for (pause in seconds) {
    process <- start_process(path, code)
    Sys.sleep(pause)
    process$kill()
  }
  process <- start_process(path, code)
  expect_ends_well(process)
}

test_that("a sender that is killed again and again sends each message once", {
  alice <- live_client()
  them <- live_stranger()
  room <- mx_room_create(alice, invite = them$user_id)
  them$call("join", roomId = room)
  code <- sprintf(
    "for (n in 1:25) mxcrypt::mx_send_text(
       client, '%s', paste('message', n), transaction_id = paste0('t', n)
     )",
    room
  )
  run_with_kills(alice$path, code, c(0.7, 0.6, 0.8, 0.75, 0.65))
  them$call("waitForMessage", roomId = room, body = "message 25")
  events <- them$call("messages", roomId = room)
  bodies <- unlist(lapply(events, function(event) event[["body"]]))
  bodies <- grep("^message", bodies, value = TRUE)
  expect_equal(bodies, paste("message", 1:25))
})

test_that("a receiver that is killed again and again is shown every message", {
  alice <- live_client()
  bob <- live_client()
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  mx_sync(bob)
  shown <- withr::local_tempfile()
  code <- sprintf(
    "repeat {
       events <- mxcrypt::mx_sync(client, limit = 7)
       texts <- events$body[events$type == 'm.room.message']
       cat(texts, sep = '\\n', file = '%s', append = TRUE)
       if ('the end' %%in%% texts) break
     }",
    shown
  )
  mx_send_text(alice, room, as.character(1:60))
  process <- start_process(bob$path, code)
  for (pause in c(0.8, 0.6, 0.7, 0.9, 0.6)) {
    mx_send_text(alice, room, "and one more")
    Sys.sleep(pause)
    process$kill()
    process <- start_process(bob$path, code)
  }
  mx_send_text(alice, room, "the end")
  expect_ends_well(process)
  texts <- readLines(shown)
  # A process that was killed after it was given events and before it wrote them
  # down has lost them by its own doing: mx_sync() hands over at least until its
  # return. What must not happen is a message that no process was ever given.
  missing <- setdiff(as.character(1:60), texts)
  history <- mx_messages(bob, room, limit = 200)
  readable <- history$body[history$type == "m.room.message"]
  expect_setequal(intersect(readable, as.character(1:60)), as.character(1:60))
  expect_lte(length(missing), 7 * 5)
})

test_that("a listener that is killed is given again what it had not finished", {
  alice <- live_client()
  bob <- live_client()
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  done <- withr::local_tempfile()
  code <- sprintf(
    "mxcrypt::mx_listen(client, function(event, client) {
       Sys.sleep(0.03)
       cat(event$body, sep = '\\n', file = '%s', append = TRUE)
     }, types = 'm.room.message', seconds = 3, poll = 0.5)",
    done
  )
  mx_send_text(alice, room, as.character(1:40))
  run_with_kills(bob$path, code, c(1.0, 0.9, 1.1))
  texts <- readLines(done)
  expect_setequal(texts, as.character(1:40))
  # At most the one under way at each death comes again.
  expect_lte(length(texts), 43)
  expect_equal(unique(texts), as.character(1:40))
})

test_that("two processes on one store send at once, and everything is read", {
  alice <- live_client()
  them <- live_stranger()
  room <- mx_room_create(alice, invite = them$user_id)
  them$call("join", roomId = room)
  code <- function(name) {
    sprintf(
      "for (n in 1:15) mxcrypt::mx_send_text(client, '%s', paste('%s', n))",
      room,
      name
    )
  }
  processes <- lapply(c("a", "b"), function(name) {
    start_process(alice$path, code(name))
  })
  for (process in processes) {
    expect_ends_well(process)
  }
  wanted <- c(paste("a", 1:15), paste("b", 1:15))
  for (text in c("a 15", "b 15")) {
    them$call("waitForMessage", roomId = room, body = text)
  }
  events <- them$call("messages", roomId = room)
  expect_null(unlist(lapply(events, function(event) event[["failure"]])))
  bodies <- unlist(lapply(events, function(event) event[["body"]]))
  expect_setequal(grep("^[ab] ", bodies, value = TRUE), wanted)
})

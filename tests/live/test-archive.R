# The archive of a room in which the others use a foreign client, on Synapse.

found_by <- function(client, ...) {
  hits <- mx_search(client, ...)
  hits$body[hits$hit]
}

test_that("what foreign clients say, edit and redact is archived as it is by now", {
  alice <- live_client()
  them <- live_foreign()
  room <- room_of(alice, them)
  say <- function(body) them$call("sendText", roomId = room, body = body)
  first <- say("the first word")
  wrong <- say("a wrong word")
  secret <- say("a secret word")
  wait_for_bodies(alice, "a secret word")
  for (i in 1:30) {
    mx_send_text(alice, room, sprintf("report %02d", i))
  }

  status <- mx_archive(alice, room)
  expect_true(status$complete)
  expect_equal(status$unread, 0)
  expect_setequal(
    found_by(alice, "word"),
    c("the first word", "a wrong word", "a secret word")
  )

  new <- list(msgtype = "m.text", body = "a right word")
  relation <- list(rel_type = "m.replace", event_id = wrong)
  edit <- list(
    msgtype = "m.text",
    body = "* a right word",
    "m.new_content" = new,
    "m.relates_to" = relation
  )
  them$call("sendEvent", roomId = room, type = "m.room.message", content = edit)
  them$call("redact", roomId = room, eventId = secret)
  say("the last word")
  wait_for_bodies(alice, "the last word")
  expect_equal(
    found_by(alice, "word"),
    c("the first word", "a right word", "the last word")
  )

  # It is what the server shows.
  events <- mx_archive_read(alice)
  shown <- mx_messages(alice, room, limit = Inf)
  expect_setequal(events$event_id, shown$event_id)
  # A redacted event keeps the type that it had inside; the server never knew it.
  columns <- c("event_id", "sender", "body", "trust", "redacted")
  both <- merge(
    as.data.frame(events)[columns],
    as.data.frame(shown)[columns],
    by = "event_id"
  )
  for (column in columns[-1]) {
    expect_equal(
      as.character(both[[paste0(column, ".x")]]),
      as.character(both[[paste0(column, ".y")]]),
      label = column
    )
  }
  expect_equal(events$event_id[events$body %in% "the first word"], first)
})

test_that("an archive that was killed at a page goes on, and has each event once", {
  proxy <- live_proxy()
  alice <- live_client(url = proxy$url)
  room <- mx_room_create(alice)
  for (part in split(1:120, rep(1:4, 30))) {
    suppressMessages(mx_send_text(alice, room, sprintf("n %03d", part)))
  }
  code <- sprintf("mxcrypt::mx_archive(client, '%s')", room)
  start <- function() start_process(alice$path, code)
  for (before in c(TRUE, FALSE)) {
    kill_during(proxy, start, "/messages", before)
  }
  expect_true(mx_archive(alice, room)$complete)
  events <- mx_archive_read(alice, types = "m.room.message")
  expect_setequal(events$body, sprintf("n %03d", 1:120))
  expect_equal(anyDuplicated(events$event_id), 0)
})

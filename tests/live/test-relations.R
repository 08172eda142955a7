# Edits, threads, replies, reactions and redactions, as both sides see them.

# Two people in an encrypted room: ours and a foreign one.
talk <- function(.local_envir = parent.frame()) {
  alice <- live_client(.local_envir = .local_envir)
  them <- live_foreign(.local_envir = .local_envir)
  room <- room_of(alice, them)
  list(alice = alice, them = them, room = room)
}

# The content of an edit.
edit_content <- function(event_id, text) {
  new <- list(msgtype = "m.text", body = text)
  list(
    msgtype = "m.text",
    body = paste("*", text),
    "m.new_content" = new,
    "m.relates_to" = list(rel_type = "m.replace", event_id = event_id)
  )
}

they_send <- function(talk, content, type = "m.room.message") {
  talk$them$call(
    "sendEvent",
    roomId = talk$room,
    type = type,
    content = content
  )
}

they_say <- function(talk, text, relation) {
  content <- list(msgtype = "m.text", body = text, "m.relates_to" = relation)
  they_send(talk, content)
}

# Waits until they see a message so, or no longer so.
they_see <- function(talk, ...) {
  talk$them$call("waitForMessage", roomId = talk$room, ...)
}

row_of <- function(events, id) events[events$event_id %in% id, ]

test_that("our edits replace what they are of, for others and for us", {
  talk <- talk()
  id <- mx_send_text(talk$alice, talk$room, "at noon")
  they_see(talk, body = "at noon")
  edit <- mx_edit(talk$alice, talk$room, id, "at **one**", markdown = TRUE)
  seen <- they_see(talk, eventId = id, body = "at **one**")
  expect_equal(seen[["replaced_by"]], edit)
  html <- seen[["content"]][["formatted_body"]]
  expect_equal(html, "at <strong>one</strong>")
  row <- row_of(mx_messages(talk$alice, talk$room), id)
  expect_equal(row$body, "at **one**")
  expect_true(row$edited)

  # Taken back, it no longer counts on either side.
  mx_redact(talk$alice, talk$room, edit)
  seen <- they_see(talk, eventId = id, body = "at noon")
  expect_null(seen[["replaced_by"]])
  row <- row_of(mx_messages(talk$alice, talk$room), id)
  expect_equal(row$body, "at noon")
  expect_false(row$edited)
})

test_that("edits of others are read, and only their own messages change", {
  talk <- talk()
  mine <- mx_send_text(talk$alice, talk$room, "mine")
  they_see(talk, body = "mine")
  theirs <- talk$them$call("sendText", roomId = talk$room, body = "theirs")
  good <- they_send(talk, edit_content(theirs, "theirs, edited"))
  forged <- they_send(talk, edit_content(mine, "not mine"))
  wait_for_bodies(talk$alice, "* not mine")

  events <- mx_messages(talk$alice, talk$room)
  expect_equal(row_of(events, theirs)$body, "theirs, edited")
  expect_true(row_of(events, theirs)$edited)
  expect_equal(row_of(events, good)$replaces, theirs)
  expect_equal(row_of(events, mine)$body, "mine")
  expect_false(row_of(events, mine)$edited)
  expect_true(is.na(row_of(events, forged)$replaces))
  expect_equal(row_of(events, forged)$edit_reason, "other_sender")
  # Theirs alone, without its edit on the page: Synapse bundles it.
  from <- attr(mx_messages(talk$alice, talk$room, limit = 2), "end")
  alone <- mx_messages(talk$alice, talk$room, limit = 1, from = from)
  expect_equal(alone$event_id, theirs)
  expect_equal(alone$body, "theirs, edited")

  # The other side refuses what we forge as well.
  mx_send(talk$alice, talk$room, edit_content(theirs, "not theirs"))
  mx_send_text(talk$alice, talk$room, "after it")
  they_see(talk, body = "after it")
  seen <- they_see(talk, eventId = theirs)
  expect_equal(seen[["body"]], "theirs, edited")
})

test_that("an edit in the clear does not replace what was encrypted", {
  talk <- talk()
  theirs <- talk$them$call("sendText", roomId = talk$room, body = "pay 10")
  wait_for_bodies(talk$alice, "pay 10")
  path <- sprintf(
    "/_matrix/client/v3/rooms/%s/send/m.room.message/clear",
    talk$room
  )
  forged <- talk$them$call(
    "raw",
    method = "PUT",
    path = path,
    body = edit_content(theirs, "pay 99")
  )[["event_id"]]
  wait_for_bodies(talk$alice, "* pay 99")
  events <- mx_messages(talk$alice, talk$room)
  expect_equal(row_of(events, theirs)$body, "pay 10")
  expect_equal(row_of(events, forged)$edit_reason, "not_encrypted")
})

test_that("threads, replies, reactions and redactions go both ways", {
  talk <- talk()
  root <- mx_send_text(talk$alice, talk$room, "why?")
  they_see(talk, body = "why?")
  answer <- mx_send_text(talk$alice, talk$room, "so", thread = root)
  relation <- list(
    rel_type = "m.thread",
    event_id = root,
    is_falling_back = TRUE,
    "m.in_reply_to" = list(event_id = answer)
  )
  theirs <- they_say(talk, "thus", relation)
  wait_for_bodies(talk$alice, "thus")
  events <- mx_messages(talk$alice, talk$room)
  expect_equal(row_of(events, c(answer, theirs))$thread, c(root, root))
  latest <- row_of(events, root)$thread_latest[[1]]
  expect_equal(latest$body, "thus")
  expect_true(latest$decrypted)
  expect_equal(latest$sender, talk$them$user_id)
  seen <- they_see(talk, eventId = answer)
  expect_equal(seen[["thread"]], root)

  thumb <- list(rel_type = "m.annotation", event_id = root, key = "\U0001f44d")
  reaction <- they_send(talk, list("m.relates_to" = thumb), "m.reaction")
  relation <- list("m.in_reply_to" = list(event_id = root))
  reply <- they_say(talk, "a reply", relation)
  wait_for_bodies(talk$alice, "a reply")
  events <- mx_messages(talk$alice, talk$room)
  row <- row_of(events, reaction)
  expect_equal(row$type, "m.reaction")
  expect_equal(row$relates_to[[1]][["key"]], "\U0001f44d")
  relation <- row_of(events, reply)$relates_to[[1]]
  expect_equal(relation[["m.in_reply_to"]][["event_id"]], root)

  talk$them$call("redact", roomId = talk$room, eventId = reply)
  row <- row_of(mx_messages(talk$alice, talk$room), reply)
  expect_true(row$redacted)
  expect_true(is.na(row$body))
  mx_redact(talk$alice, talk$room, root)
  seen <- talk$them$call(
    "waitForRedaction",
    roomId = talk$room,
    eventId = root
  )
  expect_null(seen[["body"]])
})

test_that("a relation to an event that nobody knows is refused, and holds up nothing", {
  alice <- live_client()
  room <- mx_room_create(alice)
  nobodys <- "$nobody-knows-it"
  expect_error(mx_react(alice, room, nobodys, "+1"), class = "mx_error_refused")
  expect_error(
    mx_send_text(alice, room, "in no thread", thread = nobodys),
    class = "mx_error_refused"
  )
  expect_type(mx_send_text(alice, room, "on"), "character")
  expect_equal(nrow(mx_outbox(alice)), 0)
})

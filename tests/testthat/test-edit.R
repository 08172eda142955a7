# A row of a data frame of events, by its id.
row_of <- function(events, id) events[events$event_id %in% id, ]

wire_of_last <- function(homeserver) {
  seen <- grep("ciphertext", mx_demo_requests(homeserver), value = TRUE)
  json_decode(seen[[length(seen)]])
}

test_that("an edit is encrypted, and what it replaces stands outside", {
  pair <- demo_pair()
  id <- mx_send_text(pair$alice, pair$room, "at noon")
  edit <- expect_invisible(mx_edit(pair$alice, pair$room, id, "at one"))
  relation <- list(event_id = id, rel_type = "m.replace")
  expect_equal(wire_of_last(pair$homeserver)[["m.relates_to"]], relation)
  expect_false(server_has_seen(pair$homeserver, "m.new_content"))

  row <- row_of(mx_sync(pair$bob), edit)
  expect_true(row$encrypted)
  expect_equal(row$body, "* at one")
  expect_equal(row$replaces, id)
  expect_true(is.na(row$edit_reason))
  new <- row$content[[1]][["m.new_content"]]
  expect_equal(new[["body"]], "at one")
  expect_null(new[["m.relates_to"]])
})

test_that("history shows the newest text, and the first on request", {
  for (encrypted in c(TRUE, FALSE)) {
    pair <- demo_pair(encrypted = encrypted)
    id <- mx_send_text(pair$alice, pair$room, "one", reply_to = "$x")
    Sys.sleep(0.01)
    edits <- c(
      mx_edit(pair$alice, pair$room, id, "two"),
      mx_edit(pair$alice, pair$room, id, "**three**", markdown = TRUE)
    )
    for (limit in c(3, 50)) {
      events <- messages(mx_messages(pair$bob, pair$room, limit = limit))
      expect_equal(events$body, c("**three**", "* two", "* **three**"))
      expect_equal(events$edited, c(TRUE, FALSE, FALSE))
      expect_equal(events$replaces, c(NA, id, id))
    }
    content <- events$content[[1]]
    expect_equal(content[["formatted_body"]], "<strong>three</strong>")
    expect_null(content[["m.new_content"]])
    relation <- list("m.in_reply_to" = list(event_id = "$x"))
    expect_equal(events$relates_to[[1]], relation)
    expect_match(format(events)[[3]], "(edited) **three**", fixed = TRUE)

    first <- mx_messages(pair$bob, pair$room, limit = 3, edits = FALSE)
    expect_equal(first$body[[1]], "one")
    expect_true(first$edited[[1]])

    mx_redact(pair$alice, pair$room, edits[[2]])
    events <- mx_messages(pair$bob, pair$room)
    expect_equal(row_of(events, id)$body, "two")
    mx_redact(pair$alice, pair$room, edits[[1]])
    events <- row_of(mx_messages(pair$bob, pair$room), id)
    expect_equal(events$body, "one")
    expect_false(events$edited)
  }
})

test_that("only who sent a message can edit it, and no edit of it", {
  pair <- demo_pair()
  id <- mx_send_text(pair$alice, pair$room, "mine")
  edit <- mx_edit(pair$alice, pair$room, id, "my own")
  mx_sync(pair$bob)
  error <- expect_error(
    mx_edit(pair$bob, pair$room, id, "yours"),
    class = "mx_error_edit"
  )
  expect_equal(error$reasons, "other_sender")
  error <- expect_error(
    mx_edit(pair$alice, pair$room, c(id, edit), c("a", "b")),
    class = "mx_error_edit"
  )
  expect_equal(error$reasons, c(NA, "edit_of_edit"))
  reaction <- mx_react(pair$alice, pair$room, id, "!")
  error <- expect_error(
    mx_edit(pair$alice, pair$room, reaction, "x"),
    class = "mx_error_edit"
  )
  expect_equal(error$reasons, "other_type")

  # Another program may send such an edit all the same.
  forged <- mx_send(
    pair$bob,
    pair$room,
    edit_content(
      id,
      text_content("yours", "m.text", FALSE, character(), NULL),
      character()
    )
  )
  events <- mx_messages(pair$alice, pair$room)
  expect_equal(row_of(events, id)$body, "my own")
  expect_equal(row_of(events, forged)$edit_reason, "other_sender")
  expect_true(is.na(row_of(events, forged)$replaces))
})

test_that("what nothing is known of cannot be judged, and is not refused", {
  pair <- demo_pair()
  edit <- mx_edit(pair$alice, pair$room, "$unknown", "x")
  row <- row_of(mx_sync(pair$bob), edit)
  expect_true(is.na(row$replaces))
  expect_equal(row$edit_reason, "unknown_original")
})

test_that("several messages are edited at once", {
  pair <- demo_pair()
  ids <- mx_send_text(pair$alice, pair$room, c("a", "b"))
  edits <- mx_edit(pair$alice, pair$room, ids, c("c", "d"))
  expect_length(edits, 2)
  events <- row_of(mx_messages(pair$bob, pair$room), ids)
  expect_equal(events$body, c("c", "d"))
  none <- mx_edit(pair$alice, pair$room, character(), character())
  expect_equal(none, character())
  for (text in list("c", c("c", NA), NULL, 1)) {
    expect_error(
      mx_edit(pair$alice, pair$room, ids, text),
      class = "mx_error_argument"
    )
  }
})

test_that("an edit notifies only whom it is told to", {
  pair <- demo_pair()
  users <- c("@bob:demo", "@carol:demo")
  id <- mx_send_text(pair$alice, pair$room, "x", mentions = users[[1]])
  edit <- mx_edit(
    pair$alice,
    pair$room,
    id,
    "ask @carol:demo",
    mentions = users,
    notify = users[[2]]
  )
  events <- mx_messages(pair$bob, pair$room)
  expect_equal(row_of(events, edit)$mentions[[1]], users[[2]])
  expect_equal(row_of(events, id)$mentions[[1]], users)
  content <- row_of(events, edit)$content[[1]]
  expect_match(content[["formatted_body"]], "^\\* ask <a")
  edit <- mx_edit(pair$alice, pair$room, id, "x", mentions = users)
  row <- row_of(mx_messages(pair$bob, pair$room), edit)
  expect_equal(row$content[[1]][["m.mentions"]], as_object(list()))
  expect_error(
    mx_edit(pair$alice, pair$room, id, "x", notify = users),
    class = "mx_error_argument"
  )
})

test_that("edits are known across pages of history", {
  pair <- demo_pair()
  id <- mx_send_text(pair$alice, pair$room, "old")
  mx_send_text(pair$alice, pair$room, rep("between", 100))
  edit <- mx_edit(pair$alice, pair$room, id, "new")
  late <- mx_demo_client(pair$homeserver, "bob")
  events <- mx_messages(late, pair$room, limit = 300)
  expect_equal(nrow(events), length(unique(events$event_id)))
  expect_false(is.unsorted(events$origin_server_ts))
  # The keys are of an earlier time: nothing can be said.
  expect_true(all(is.na(row_of(events, c(id, edit))$replaces)))
  events <- mx_messages(pair$bob, pair$room, limit = 300)
  expect_equal(row_of(events, id)$body, "new")
  expect_equal(row_of(events, edit)$replaces, id)
})

test_that("a thread says where it begins, and what was said last", {
  pair <- demo_pair()
  id <- mx_send_text(pair$alice, pair$room, "why?")
  answers <- mx_send_text(pair$bob, pair$room, c("so", "thus"), thread = id)
  mx_edit(pair$bob, pair$room, answers[[2]], "therefore")
  events <- mx_messages(pair$alice, pair$room)
  expect_equal(row_of(events, answers)$thread, c(id, id))
  expect_true(is.na(row_of(events, id)$thread))
  latest <- row_of(events, id)$thread_latest[[1]]
  expect_s3_class(latest, "mx_events")
  expect_equal(latest$body, "therefore")
  expect_equal(latest$sender, "@bob:demo")
  expect_null(row_of(events, answers)$thread_latest[[1]])
  streamed <- row_of(mx_sync(pair$alice), answers)
  expect_equal(streamed$thread, c(id, id))
})

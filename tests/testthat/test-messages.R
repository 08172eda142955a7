test_that("history is read page by page, oldest first", {
  pair <- demo_pair()
  texts <- sprintf("message %d", 1:12)
  mx_send_text(pair$alice, pair$room, texts)
  last <- mx_messages(pair$bob, pair$room, limit = 5)
  expect_equal(last$body, texts[8:12])
  before <- mx_messages(
    pair$bob,
    pair$room,
    limit = 5,
    from = attr(last, "end")
  )
  expect_equal(before$body, texts[3:7])
  all <- mx_messages(pair$bob, pair$room, limit = 1000)
  expect_equal(messages(all)$body, texts)
  expect_equal(all$type[[1]], "m.room.create")
  expect_null(attr(all, "end"))
  expect_equal(rownames(all), as.character(seq_len(nrow(all))))
})

test_that("reading history hands nothing over, and takes nothing away", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, c("one", "two"))
  expect_equal(messages(mx_messages(pair$bob, pair$room))$body, c("one", "two"))
  expect_equal(messages(mx_messages(pair$bob, pair$room))$body, c("one", "two"))
  expect_equal(new_bodies(pair$bob), c("one", "two"))
  expect_equal(messages(mx_messages(pair$bob, pair$room))$body, c("one", "two"))
})

test_that("trust in old messages is told", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "one")
  events <- messages(mx_messages(pair$bob, pair$room))
  expect_equal(as.character(events$trust), "signed")
})

test_that("history that was replayed or altered by the server says so", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  mx_send_text(alice, room, c("pay 1", "pay 2"))
  path <- api_path(
    "rooms",
    room,
    "messages",
    query = list(dir = "b", limit = 2)
  )
  page <- json_decode(rawToChar(http_perform(alice, "GET", path)$body))
  event <- page[["chunk"]][[2]]
  altered <- edit(event, "event_id", "$altered")
  altered[["content"]][["ciphertext"]] <- altered(
    event[["content"]][["ciphertext"]],
    60
  )
  page[["chunk"]] <- list(
    edit(event, "event_id", "$replayed"),
    altered,
    5,
    event
  )
  mx_sync(alice)
  fake$fault("GET", "/messages", body = mxc_json(page))
  events <- mx_messages(alice, room, limit = 4)
  expect_equal(events$event_id[[1]], event[["event_id"]])
  expect_equal(events$body, c("pay 1", NA, NA, NA))
  expect_equal(events$utd_reason[c(1, 4)], c(NA, "replayed"))
  expect_true(all(nzchar(events$utd_reason[2:3])))
})

test_that("a page that is none is an error", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  for (body in c("", "[]", "<html>", '{"chunk":5}', '{"chunk":[],"end":5}')) {
    fake$fault("GET", "/messages", body = body)
    expect_error(
      mx_messages(alice, room),
      class = "mx_error_answer",
      info = body
    )
  }
})

test_that("a server whose pages never end does not keep R for ever", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  fake$fault("GET", "/messages", body = '{"chunk":[],"end":"s1"}', times = 1e6)
  ask <- function(path, room) {
    client <- mxcrypt::mx_client_load(path = path)
    tryCatch(nrow(mxcrypt::mx_messages(client, room)), mx_error = function(e) 0)
  }
  expect_equal(in_other_r(ask, list(alice$path, room), timeout = 60), 0)
})

test_that("limits and tokens are checked", {
  pair <- demo_pair()
  for (limit in list(0, -1, NA, "x", NULL, c(1, 2), NaN)) {
    expect_error(
      mx_messages(pair$bob, pair$room, limit = limit),
      class = "mx_error_argument"
    )
  }
  expect_error(
    mx_messages(pair$bob, pair$room, from = "nonsense"),
    class = "mx_error"
  )
  expect_error(mx_messages(pair$bob, pair$room, from = 5), class = "mx_error")
  mx_send_text(pair$alice, pair$room, "x")
  expect_gt(nrow(mx_messages(pair$bob, pair$room, limit = Inf)), 1)
  expect_equal(nrow(mx_messages(pair$bob, pair$room, limit = 1)), 1)
})

# A page of plain events, newest first, at these times.
page_at <- function(times, end = NULL) {
  events <- lapply(seq_along(times), function(i) {
    list(
      event_id = paste0("$", times[[i]]),
      type = if (i %% 2 == 0) "m.room.topic" else "m.room.message",
      sender = "@bob:demo",
      origin_server_ts = times[[i]] * 1000,
      content = list(msgtype = "m.text", body = paste("at", times[[i]]))
    )
  })
  as_json_text(list(chunk = events, end = end))
}

test_that("history is read since a time, and no further", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice, encrypted = FALSE)
  mx_sync(alice)
  day <- 24 * 60 * 60
  noon <- as.numeric(as.POSIXct("2026-11-28 12:00"))
  pages <- list(
    page_at(noon + c(2, 1, 0) * day, "two"),
    # A server may say anything of one event.
    page_at(noon + c(-1, -400, -2) * day, "three"),
    page_at(noon + c(-3, -4) * day, "four")
  )
  read <- function(...) {
    fake$forget()
    for (i in 1:3) {
      fake$fault("GET", "/messages", body = pages[[i]])
    }
    events <- mx_messages(alice, room, ...)
    list(
      days = (as.numeric(events$origin_server_ts) - noon) / day,
      pages = length(fake$seen("GET", "/messages")),
      types = events$type
    )
  }
  since <- read(since = "2026-11-26 13:00")
  expect_equal(since$days, c(-1, 0, 1, 2))
  expect_equal(since$pages, 3)
  expect_equal(read(since = as.Date("2026-11-28"))$days, c(0, 1, 2))
  some <- read(since = "2026-11-27", until = "2026-11-28")
  expect_equal(some$days, c(-1, 0))
  between <- read(
    since = as.POSIXct("2026-11-27"),
    until = as.POSIXct("2026-11-28 12:00")
  )
  expect_equal(between$days, -1)
  expect_equal(read(limit = 6, types = "m.room.topic")$days, c(-400, 1))
  # What is newer takes nothing of the limit, whether something is left or not.
  before <- read(until = "2026-11-27", limit = 2)
  expect_equal(before$days, c(-2, -400, -1))
  expect_equal(before$pages, 2)
  expect_length(read(until = "2020-01-01", since = "2026-11-27")$days, 0)
  # A limit holds beside it.
  expect_equal(read(limit = 3, since = "2020-01-01")$pages, 1)
})

test_that("what is no time to read since is refused before anything is asked", {
  pair <- demo_pair()
  bad <- list(NA, "yesterday", 5, Sys.time() + 1:2, "", "2026-13-01", list())
  for (time in bad) {
    asked <- requests_during({
      one <- catch(mx_messages(pair$bob, pair$room, since = time))
      two <- catch(mx_messages(pair$bob, pair$room, until = time))
    })
    expect_length(asked, 0)
    expect_s3_class(one, "mx_error_argument")
    expect_s3_class(two, "mx_error_argument")
  }
})

test_that("what cannot be read is of any type", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "one")
  later <- mx_demo_client(pair$homeserver, "bob", verified = FALSE)
  events <- mx_messages(later, pair$room, types = "m.room.message")
  expect_equal(events$type, "m.room.encrypted")
  expect_false(is.na(events$utd_reason))
})

# Two rooms of alice and bob, with messages in both.
two_rooms <- function() {
  pair <- demo_pair()
  pair$other <- mx_room_create(
    pair$alice,
    name = "Other",
    invite = pair$bob$user_id
  )
  mx_room_join(pair$bob, pair$other)
  mx_send_text(pair$alice, pair$room, c("one", "two", "three"))
  mx_send_text(pair$alice, pair$other, c("a", "b"))
  mx_sync(pair$bob)
  pair
}

test_that("several rooms are read in one call, each on from where it was", {
  pair <- two_rooms()
  rooms <- c("Other", pair$room)
  events <- mx_messages(pair$bob, rooms, limit = 2)
  expect_s3_class(events, "mx_events")
  expect_equal(events$body, c("a", "b", "two", "three"))
  expect_equal(events$room_id, rep(c(pair$other, pair$room), each = 2))
  expect_null(attr(events, "failed"))
  end <- attr(events, "end")
  expect_named(end, rooms)
  before <- mx_messages(pair$bob, rooms, from = end)
  expect_equal(sum(before$type == "m.room.create"), 2)
  expect_equal(before$body[nrow(before)], "one")
  expect_null(attr(before, "end"))
  # A room that is not named in it was read to its beginning.
  rest <- mx_messages(pair$bob, rooms, from = end[2], limit = 1)
  expect_equal(rest$body, "one")
  expect_named(attr(rest, "end"), pair$room)
  # The same room twice is one.
  twice <- mx_messages(pair$bob, c(pair$room, pair$room), limit = 1)
  expect_equal(twice$body, "three")
  expect_type(attr(twice, "end"), "character")
})

test_that("a room that fails does not lose the others", {
  pair <- two_rooms()
  rooms <- c("!nowhere:demo", "No such room", pair$room)
  expect_warning(
    events <- mx_messages(pair$bob, rooms, limit = 1),
    "2 of 3 rooms could not be read",
    class = "mx_warning_history"
  )
  expect_equal(events$body, "three")
  failed <- attr(events, "failed")
  expect_named(failed, rooms[1:2])
  expect_s3_class(failed[[1]], "mx_error_http")
  expect_s3_class(failed[[2]], "mx_error_room")
  end <- attr(events, "end")
  expect_named(end, rooms)
  expect_null(end[[1]])
  condition <- expect_warning(
    events <- mx_messages(pair$bob, rooms, limit = 1, from = end)
  )
  expect_equal(condition$rooms, rooms[1:2])
  expect_named(condition$causes, rooms[1:2])
  expect_equal(events$body, "two")
  expect_null(attr(as.data.frame(events), "failed"))
  # Where none can be read, and where it is one, it is an error.
  expect_error(
    mx_messages(pair$bob, rooms[1:2]),
    class = "mx_error_http"
  )
  expect_error(mx_messages(pair$bob, rooms[[2]]), class = "mx_error_room")
})

test_that("a server that refuses one room is asked for the next", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  rooms <- c(
    mx_room_create(alice, encrypted = FALSE),
    mx_room_create(alice, encrypted = FALSE)
  )
  mx_send_text(alice, rooms[[2]], "second")
  read <- function(...) {
    fake$fault("GET", "/messages", ...)
    expect_warning(
      events <- mx_messages(alice, rooms),
      class = "mx_warning_history"
    )
    expect_named(attr(events, "failed"), rooms[[1]])
    expect_equal(events$body[nrow(events)], "second")
  }
  read(status = 403, body = "{\"errcode\":\"M_FORBIDDEN\"}")
  read(status = 502, body = "<html>")
  read(body = "[]")
})

test_that("rooms and where to go on in them are checked", {
  pair <- two_rooms()
  rooms <- c(pair$room, pair$other)
  for (room in list(character(), c(pair$room, NA), c(pair$room, ""), 5)) {
    expect_error(mx_messages(pair$bob, room), class = "mx_error_argument")
  }
  bad <- list("s1", list(), list("s1"), list("!x:y" = "s1"))
  bad <- c(bad, list(stats::setNames(list(5), pair$room)))
  for (from in bad) {
    expect_error(
      mx_messages(pair$bob, rooms, from = from),
      class = "mx_error_argument"
    )
  }
})

test_that("reactions are counted once for each user and key", {
  pair <- demo_pair()
  ids <- mx_send_text(pair$alice, pair$room, c("one", "two", "three"))
  mx_react(pair$bob, pair$room, ids[[1]], "yes")
  mx_react(pair$bob, pair$room, ids[[1]], "no")
  mx_react(pair$alice, pair$room, ids[[1]], "no", encrypt = TRUE)
  taken <- mx_react(pair$bob, pair$room, ids[[2]], "yes")
  mx_redact(pair$bob, pair$room, taken)
  read <- function(...) {
    events <- mx_messages(pair$bob, pair$room, reactions = TRUE, ...)
    events$reactions[match(ids, events$event_id)]
  }
  expected <- list(c(no = 2L, yes = 1L), integer(), integer())
  expect_equal(read(), expected)
  # Also where the reactions are not shown.
  expect_equal(read(types = "m.room.message"), expected)
  expect_null(mx_messages(pair$bob, pair$room)[["reactions"]])

  # What is not of type m.reaction, or of another relation, is none. A second reaction
  # of a user with the same key is none, either.
  forged <- function(rel_type, type, key = "yes", id = ids[[3]]) {
    relation <- list(rel_type = rel_type, event_id = id, key = key)
    content <- list(body = "x", "m.relates_to" = relation)
    mx_send(pair$alice, pair$room, content, type = type)
  }
  forged("m.annotation", "m.room.message")
  forged("m.annotation", "org.example.reaction")
  forged("m.reference", "m.reaction")
  forged("m.annotation", "m.reaction", key = "")
  forged("m.annotation", "m.reaction", key = 5)
  forged("m.annotation", "m.reaction", key = "no", id = ids[[1]])
  expect_equal(read(), expected)

  events <- mx_messages(pair$bob, pair$room, reactions = TRUE)
  flat <- as.data.frame(events, flat = TRUE)$reactions
  flat <- flat[match(ids, events$event_id)]
  expect_equal(flat, c("{\"no\":2,\"yes\":1}", NA, NA))
  expect_type(mx_sync(pair$alice)[["reactions"]], "NULL")
})

test_that("a reaction of another room, or a state event, does not count", {
  reaction <- function(id, room, state_key = NA) {
    list(
      room_id = room,
      event_id = id,
      type = "m.reaction",
      sender = paste0("@", id),
      redacted = FALSE,
      state_key = state_key
    )
  }
  rows <- list(
    edit(reaction("$one", "!a"), "type", "m.room.message"),
    reaction("$r1", "!b"),
    reaction("$r2", "!a", state_key = ""),
    reaction("$r3", "!a")
  )
  events <- do.call(rbind, lapply(rows, as.data.frame))
  relation <- list(rel_type = "m.annotation", event_id = "$one", key = "+")
  events$relates_to <- c(list(NULL), rep(list(relation), 3))
  expect_equal(reaction_counts(events)[[1]], c("+" = 1L))
  expect_equal(reaction_counts(events[0, ]), list())
})

test_that("events are chosen by their thread", {
  pair <- demo_pair()
  ids <- mx_send_text(pair$alice, pair$room, c("one", "two", "outside"))
  first <- mx_send_text(pair$bob, pair$room, "in one", thread = ids[[1]])
  second <- mx_send_text(pair$bob, pair$room, "in two", thread = ids[[2]])
  edit <- mx_edit(pair$bob, pair$room, first, "in one, edited")
  reaction <- mx_react(pair$alice, pair$room, second, "+")
  begin <- mx_react(pair$alice, pair$room, ids[[1]], "+")
  last <- mx_send_text(pair$alice, pair$room, "reply", reply_to = first)
  read <- function(...) {
    events <- mx_messages(pair$alice, pair$room, ...)
    setdiff(events$event_id, mx_before)
  }
  mx_before <- mx_messages(pair$alice, pair$room)
  mx_before <- mx_before$event_id[startsWith(mx_before$type, "m.room.")]
  mx_before <- setdiff(mx_before, c(ids, first, second, edit, last))
  expect_equal(
    read(threads = TRUE),
    c(ids[1:2], first, second, edit, reaction, begin)
  )
  expect_equal(read(threads = FALSE), c(ids, begin, last))
  expect_equal(read(threads = ids[[1]]), c(ids[[1]], first, edit, begin))
  expect_equal(read(threads = ids[[2]]), c(ids[[2]], second, reaction))
  expect_length(read(threads = "$none"), 0)
  for (threads in list(NA, character(), NA_character_, 5, c(TRUE, TRUE))) {
    expect_error(read(threads = threads), class = "mx_error_argument")
  }
})

test_that("times are read as they stand, or refused", {
  withr::local_timezone("Europe/Berlin")
  seconds <- function(x) check_time(x)
  noon <- as.numeric(as.POSIXct("2026-07-01 12:00:00", tz = "UTC"))
  for (text in c(
    "2026-07-01T12:00:00Z",
    "2026-07-01 12:00Z",
    "2026-07-01 14:00",
    "2026-07-01T14:00:00.000",
    "2026-07-01T13:00:00+01:00",
    "2026-07-01T10:30-0130"
  )) {
    expect_equal(seconds(text), noon, label = text)
  }
  expect_equal(seconds("2026-07-01"), noon - 14 * 3600)
  expect_equal(seconds(as.POSIXct(noon, origin = "1970-01-01")), noon)
  for (odd in list(
    "2026-07-01 7pm",
    "2026-07-01 25:00",
    "2026-02-30",
    "2026-07-01 07:00 UTC",
    "yesterday",
    "",
    as.POSIXct(Inf, origin = "1970-01-01"),
    7
  )) {
    expect_error(seconds(odd), class = "mx_error_argument")
  }
})

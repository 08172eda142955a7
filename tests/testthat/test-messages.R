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
  expect_equal(in_other_r(ask, list(alice$path, room), timeout = 10), 0)
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

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

# Without what differs from run to run.
steady_time <- function(x) {
  gsub("[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}", "<time>              ", x)
}

# An event in the clear, of whatever type and content the server says.
server_says <- function(type, content, sender = "@alice:demo") {
  pair <- demo_pair(encrypted = FALSE)
  mx_send_text(pair$alice, pair$room, "x")
  mx_sync(pair$bob)
  mx_send_text(pair$alice, pair$room, "x")
  answer <- raw_sync(pair$bob)
  path <- c("rooms", "join", pair$room, "timeline", "events")
  event <- list(
    event_id = "$hostile",
    type = type,
    sender = sender,
    origin_server_ts = 1000,
    content = content
  )
  hand_in(pair$bob, edit_json(answer, path, list(event)))
  mx_sync(pair$bob)
}

test_that("events print a line each", {
  skip_if_not(l10n_info()[["UTF-8"]])
  withr::local_options(width = 72)
  pair <- demo_pair()
  mx_send_text(
    pair$alice,
    pair$room,
    c("hello", "two\nlines", strrep("long ", 30), "\u65e5\u672c")
  )
  mx_sync(pair$bob, limit = 8)
  events <- mx_sync(pair$bob)
  expect_snapshot(
    {
      events
      print(events, n = 2)
      mx_sync(pair$bob)
      events[2, c("sender", "body")]
    },
    transform = steady_time
  )
  expect_true(all(nchar(format(events)) <= 72))
})

test_that("what could not be read prints its reason", {
  pair <- demo_pair()
  mx_sync(pair$bob)
  mx_send_text(pair$alice, pair$room, "x")
  hand_in(pair$bob, edit_json(raw_sync(pair$bob), "to_device"))
  shown <- format(mx_sync(pair$bob))
  expect_match(shown[[3]], "!.*\\(unknown_session\\)")
})

test_that("rooms are told apart where there are several", {
  pair <- demo_pair()
  second <- mx_room_create(pair$alice, invite = pair$bob$user_id)
  shown <- format(mx_sync(pair$alice))
  expect_match(shown[[2]], "room")
  expect_match(shown, second, all = FALSE, fixed = TRUE)
})

test_that("nothing a server or sender says steers the terminal", {
  evil <- "\u001b[31m\u001b]0;t\u0007\u009b2J\r\u0008"
  odd <- "[\u0001-\u0009\u000b-\u001f\u007f-\u009f]"
  events <- server_says("m.room.message", list(msgtype = "m.text", body = evil))
  # The value is as it came; what is printed is not.
  expect_identical(events$body, evil)
  expect_no_match(format(events), odd)
  events <- server_says(paste0("org.x", evil), list(body = "x"))
  expect_equal(nrow(events), 1)
  expect_no_match(format(events), odd)
  events <- server_says(
    "m.room.message",
    list(body = "x"),
    paste0("@a", evil, ":b")
  )
  expect_no_match(format(events), odd)
})

test_that("contents of every shape become rows", {
  contents <- c(
    list(as_object(list()), list(body = 5, msgtype = list())),
    list(list(body = NULL, "m.mentions" = 5)),
    list(list("m.mentions" = list(user_ids = list(5, "@a:b", NULL)))),
    list(list("m.mentions" = list(user_ids = "x"), "m.relates_to" = 5)),
    list(list("m.relates_to" = list(rel_type = list())))
  )
  for (content in contents) {
    events <- server_says("m.room.message", content)
    expect_equal(nrow(events), 1)
    expect_equal(events$body, NA_character_)
    expect_type(events$mentions[[1]], "character")
    expect_error(format(events), NA)
  }
  events <- server_says("m.room.message", contents[[4]])
  expect_equal(events$mentions[[1]], "@a:b")
})

test_that("a NUL in a text is shown and not cut at", {
  pair <- demo_pair(encrypted = FALSE)
  mx_send(pair$alice, pair$room, '{"msgtype":"m.text","body":"a\\u0000b"}')
  expect_equal(new_bodies(pair$bob), "a\ufffdb")
})

test_that("numbers beyond what R counts exactly do not cost the event", {
  events <- server_says("m.room.message", list(body = "x", n = 2^53 - 1))
  expect_equal(events$content[[1]][["n"]], 2^53 - 1)
})

test_that("rows and columns can be taken and changed like a data frame's", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, c("b", "a"))
  events <- mx_sync(pair$bob)
  texts <- events[events$type == "m.room.message", ]
  expect_s3_class(texts, "mx_events")
  expect_equal(texts[order(texts$body), ]$body, c("a", "b"))
  texts$body <- toupper(texts$body)
  expect_equal(texts$body, c("B", "A"))
  texts[["extra"]] <- 1:2
  expect_output(print(texts), "B")
  expect_output(print(texts["body"]), "B")
  expect_equal(nrow(rbind(texts, texts)), 4)
  expect_equal(nrow(events[0, ]), 0)
  expect_output(print(events[0, ]), "0 events")
  expect_equal(nrow(as.data.frame(texts)), 2)
  expect_true(texts$trust[[1]] > "none")
})

test_that("events print in a locale that knows no accents", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "d\u00e9j\u00e0 \U0001f600")
  events <- mx_sync(pair$bob)
  shown <- in_other_r(
    function(events) {
      library(mxcrypt)
      capture.output(print(events))
    },
    list(events),
    env = c(LC_ALL = "C")
  )
  expect_length(shown, 12)
})

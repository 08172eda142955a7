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
  withr::local_timezone("UTC")
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
  events <- mx_sync(pair$bob)
  shown <- format(events)
  expect_match(shown[[3]], "!.*\\(unknown_session\\)")
  unread <- "^# 1 could not be read: see `utd_reason`"
  expect_match(shown, unread, all = FALSE)
  # Also of rows that are not shown.
  expect_match(format(events, n = 0), unread, all = FALSE)
  expect_no_match(format(events[is.na(events$utd_reason), ]), "could not")
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

test_that("integers survive the way into R and out again", {
  numbers <- c(2^53 - 1, -(2^53 - 1), 2^31, -2^31, 2^31 - 1, 1.7e12, 1e15, 0)
  for (encrypted in c(TRUE, FALSE)) {
    pair <- demo_pair(encrypted = encrypted)
    content <- list(
      each = numbers,
      deep = list(n = 2^53 - 1, one = I(2^53 - 1))
    )
    mx_send(pair$alice, pair$room, content, type = "org.example.numbers")
    came <- mx_sync(pair$bob)
    came <- came$content[[which(came$type == "org.example.numbers")]]
    expect_identical(as.numeric(unlist(came[["each"]])), numbers)
    mx_send(pair$bob, pair$room, came, type = "org.example.back")
    back <- mx_sync(pair$alice)
    back <- back$content[[which(back$type == "org.example.back")]]
    expect_identical(back, came)
    expect_identical(unclass(mxc_json(back)), unclass(mxc_json(content)))
  }
})

test_that("a time is kept however it was written, and only a time is one", {
  shown <- function(ts) {
    pair <- demo_pair(encrypted = FALSE)
    mx_sync(pair$bob)
    machine <- machine_of(pair$bob)
    since <- core(machine_sync_token(machine))
    event <- sprintf(
      paste0(
        '{"event_id":"$e","type":"m.room.message","sender":"@a:b",',
        '"content":{"body":"x"}%s}'
      ),
      if (is.null(ts)) "" else paste0(',"origin_server_ts":', ts)
    )
    body <- sprintf(
      paste0(
        '{"next_batch":"%s","rooms":{"join":{"%s":{"timeline":',
        '{"events":[%s]}}}}}'
      ),
      since,
      pair$room,
      event
    )
    core(machine_receive_sync(machine, since, charToRaw(body)))
    events <- take_events(
      machine_of(pair$bob),
      "times",
      1000,
      FALSE,
      character()
    )
    as.numeric(events$origin_server_ts[events$event_id %in% "$e"])
  }
  expect_equal(shown("1700000000000"), 1.7e9)
  expect_equal(shown("1.7e12"), 1.7e9)
  expect_equal(shown("1700000000000.0"), 1.7e9)
  expect_equal(shown("1.5"), 0.001)
  expect_equal(shown("0"), 0)
  for (none in list(NULL, "-1", "\"1700000000000\"", "1e300", "null", "{}")) {
    expect_equal(shown(none), NA_real_)
  }
})

test_that("an invitation has no time", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  bob <- mx_demo_client(homeserver, "bob")
  mx_room_create(alice, invite = bob$user_id)
  events <- mx_sync(bob)
  invitation <- events[events$type == "m.room.member", ]
  expect_true(all(is.na(invitation$origin_server_ts)))
})

test_that("times are shown in the time zone of the session, which is named", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "now")
  events <- mx_sync(pair$bob)
  events$origin_server_ts[] <- as.POSIXct("2026-07-01 23:30:00", tz = "UTC")
  at <- function(zone) {
    withr::local_timezone(zone)
    format(events)
  }
  tokyo <- at("Asia/Tokyo")
  expect_match(tokyo[[1]], "times in Asia/Tokyo", fixed = TRUE)
  expect_match(tokyo[[3]], "^2026-07-02 08:30:00")
  utc <- at("UTC")
  expect_match(utc[[1]], "times in UTC", fixed = TRUE)
  expect_match(utc[[3]], "^2026-07-01 23:30:00")
  expect_equal(attr(events$origin_server_ts, "tzone"), "UTC")
})

test_that("the name of a time zone is found without noise", {
  withr::local_envvar(TZ = NA)
  expect_silent(name <- time_zone_name())
  expect_true(is_string(name) && nzchar(name))
})

test_that("no events print as such", {
  pair <- demo_pair()
  mx_sync(pair$bob)
  none <- mx_sync(pair$bob)
  expect_equal(nrow(none), 0)
  expect_equal(format(none), "# 0 events")
  expect_output(print(none), "^# 0 events$")
  flat <- as.data.frame(none, flat = TRUE)
  expect_equal(dim(flat), dim(none))
  expect_false(any(vapply(flat, is.list, NA)))
})

test_that("a part of the columns is a plain data frame", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, c("a", "b"))
  events <- mx_messages(pair$bob, pair$room)
  for (columns in list("body", c("room_id", "sender", "body", "encrypted"))) {
    part <- events[columns]
    expect_s3_class(part, "data.frame", exact = TRUE)
    expect_s3_class(
      events[1:2, columns, drop = FALSE],
      "data.frame",
      exact = TRUE
    )
    expect_output(print(part), "body")
    expect_error(format(part), NA)
  }
  expect_type(events[, "body"], "character")
  expect_s3_class(events[events$type == "m.room.message", ], "mx_events")
  expect_s3_class(rbind(events[1:2, ], events[3, ]), "mx_events")
  expect_equal(nrow(merge(events[c("event_id", "body")], events)), nrow(events))
  # Other ways to lose a column.
  events$sender <- NULL
  expect_output(print(events), "event_id")
  expect_error(format(events), NA)
})

test_that("events bind and become tibbles", {
  skip_if_not_installed("tibble")
  skip_if_not_installed("vctrs")
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, c("a", "b"))
  events <- mx_messages(pair$bob, pair$room)
  bound <- vctrs::vec_rbind(events[1, ], events[2:3, ])
  expect_equal(bound$event_id, events$event_id[1:3])
  expect_output(print(bound), "3 events")
  expect_output(print(tibble::as_tibble(events)), "tibble")
})

test_that("flat events can be written to a file and read again", {
  # read.csv() keeps no letters in the locale C.
  skip_if(Sys.getlocale("LC_CTYPE") == "C")
  pair <- demo_pair()
  mx_sync(pair$bob)
  texts <- c("two\nlines, and \"quotes\"", "d\u00e9j\u00e0")
  id <- mx_send_text(
    pair$alice,
    pair$room,
    texts,
    mentions = pair$bob$user_id
  )
  mx_send_text(pair$alice, pair$room, "reply", reply_to = id[[1]])
  mx_send_text(pair$alice, pair$room, "thread", thread = id[[2]])
  events <- mx_messages(pair$bob, pair$room)
  flat <- as.data.frame(events, flat = TRUE)
  expect_s3_class(flat, "data.frame", exact = TRUE)
  expect_named(flat, names(events))
  expect_false(any(vapply(flat, is.list, NA)))
  expect_null(attr(flat, "end"))
  file <- withr::local_tempfile()
  write.csv(flat, file, row.names = FALSE, fileEncoding = "UTF-8")
  read <- read.csv(file, encoding = "UTF-8")
  expect_equal(read$body[read$event_id %in% id], texts)
  row <- match(id[[1]], read$event_id)
  content <- json_decode(read$content[[row]])
  expect_equal(content, events$content[[row]])
  expect_equal(read$mentions[[row]], paste0("[\"", pair$bob$user_id, "\"]"))
  relation <- json_decode(read$relates_to[[match("reply", read$body)]])
  expect_equal(relation[["m.in_reply_to"]][["event_id"]], id[[1]])
  latest <- read$thread_latest[[match(id[[2]], read$event_id)]]
  expect_true(latest %in% c(read$event_id[match("thread", read$body)], NA))
  expect_true(is.na(read$relates_to[[row]]))

  # One odd content costs only itself.
  events$content[[row]] <- list(function() NULL)
  flat <- as.data.frame(events, flat = TRUE)
  expect_equal(is.na(flat$content), seq_len(nrow(events)) == row)
  expect_s3_class(as.data.frame(events), "data.frame", exact = TRUE)
  expect_type(as.data.frame(events)$content, "list")
  expect_error(as.data.frame(events, flat = NA), class = "mx_error_argument")
})

test_that("files have columns of their own, whatever their events say", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "no file")
  mx_send_file(
    pair$alice,
    pair$room,
    charToRaw("a,b"),
    name = "x.csv",
    caption = "the figures"
  )
  mx_send_file(pair$alice, pair$room, charToRaw("a,b"), name = "y.csv")
  odd <- list(
    list(msgtype = "m.file", body = "z", info = list(size = -1, mimetype = 5)),
    list(msgtype = "m.file", body = 5, filename = list(1), info = "none"),
    list(msgtype = "m.image", info = list(size = "9"))
  )
  mx_send(pair$alice, pair$room, odd)
  events <- messages(mx_sync(pair$bob))
  expect_equal(events$filename, c(NA, "x.csv", "y.csv", "z", NA, NA))
  expect_equal(events$caption, c(NA, "the figures", NA, NA, NA, NA))
  expect_equal(events$size, c(NA, 3, 3, NA, NA, NA))
  expect_equal(events$mimetype, c(NA, rep("text/csv", 2), NA, NA, NA))
  empty <- mx_sync(pair$bob)
  expect_type(empty$size, "double")
  expect_type(empty$filename, "character")
})

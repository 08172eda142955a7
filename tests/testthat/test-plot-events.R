# Messages of rooms, as a data frame of events; `x` holds columns to replace.
some_events <- function(n, rooms = "!a:demo", days = 10, trust = "verified") {
  start <- as.POSIXct("2026-03-20 12:00:00", tz = "UTC")
  i <- seq_len(n)
  events <- as.list(data.frame(
    room_id = rep_len(rooms, n),
    origin_server_ts = start + days * 86400 * (i - 1) / max(1, n - 1),
    type = rep_len("m.room.message", n),
    sender = rep_len("@bob:demo", n),
    body = rep_len("x", n),
    encrypted = rep_len(TRUE, n),
    utd_reason = rep_len(NA_character_, n)
  ))
  events$event_id <- sprintf("$%d", i)
  events$trust <- match(rep_len(trust, n), trust_levels)
  as_events(events)
}

counted <- function(events, most = 8, rooms = NULL) {
  counts_of(messages_to_draw(events, rooms), most)
}

a_month <- data.frame(room_id = c("!a:demo", "!b:demo"), name = c("A", "B"))

test_that("events are drawn, however many there are", {
  none <- some_events(0)
  one <- some_events(1)
  untimed <- some_events(20)
  untimed$origin_server_ts[1:3] <- NA
  never <- some_events(3)
  never$origin_server_ts[] <- NA
  roomless <- some_events(5, c("!a:demo", NA))
  at_once <- some_events(50, days = 0)
  all_levels <- some_events(200, sprintf("!%d:demo", 1:12), 400, trust_levels)
  long <- some_events(9, strrep("!x", 120))
  untrusted <- some_events(4)
  untrusted$trust[2] <- NA
  scenes <- list(
    none,
    one,
    untimed,
    never,
    roomless,
    at_once,
    all_levels,
    long,
    untrusted
  )
  for (events in scenes) {
    for (size in plot_sizes) {
      texts <- texts_of(plot(events), size)
      expect_apart(texts, size)
    }
  }
  for (days in c(0.01, 0.1, 1, 3, 30, 100, 1000, 5000)) {
    texts <- texts_of(plot(some_events(5, days = days)), c(2, 2))
    expect_apart(texts, c(2, 2))
  }
  expect_equal(sum(counted(untrusted)$n), 4)
  expect_true("No messages" %in% texts_of(plot(none))$label)
  expect_match(
    texts_of(plot(never))$label,
    "3 messages without a usable time",
    all = FALSE
  )
  expect_match(
    texts_of(plot(untimed))$label,
    "; 3 messages without a usable time$",
    all = FALSE
  )
  expect_true("unknown room" %in% texts_of(plot(roomless))$label)
  expect_true("1 message" %in% texts_of(plot(one))$label)
})

test_that("what mx_messages() returns is drawn, with the name of the room", {
  pair <- demo_pair()
  room <- mx_room_create(pair$alice, name = "Pipeline")
  mx_send_text(pair$alice, room, c("one", "two"))
  events <- mx_messages(pair$alice, room)
  texts <- texts_of(plot(events))$label
  expect_true(all(c("Pipeline", "2 messages", "verified") %in% texts))
  expect_match(texts, "^2 messages in 1 room, 20", all = FALSE)
})

test_that("every message is in one part of one bar", {
  set <- c("none", "unsigned", "signed", "verified")
  events <- some_events(1000, c("!a:demo", "!b:demo", "!c:demo"), 60, set)
  counts <- counted(events)
  expect_equal(sum(counts$n), 1000)
  expect_equal(
    tapply(counts$n, counts$trust, sum)[set],
    table(as.character(events$trust))[set],
    ignore_attr = TRUE
  )
  expect_equal(counts$above - counts$below, counts$n)
  for (bar in split(counts, list(counts$room, as.numeric(counts$from)))) {
    # Verified at the bottom, and no gap above it.
    bar <- bar[order(bar$below), ]
    expect_equal(bar$below, c(0, utils::head(bar$above, -1))[seq_along(bar$n)])
    expect_false(is.unsorted(-match(bar$trust, trust_levels)))
  }
  expect_equal(nlevels(counts$room), 3)
  few <- counted(events, most = 2)
  expect_equal(levels(few$room)[[2]], "2 other rooms")
  expect_equal(sum(few$n), 1000)
})

test_that("only messages count", {
  events <- some_events(4)
  events$type <- c(
    "m.room.message",
    "m.room.member",
    "m.room.encrypted",
    "m.reaction"
  )
  expect_equal(sum(counted(events)$n), 2)
})

test_that("spans hold all times, are few, and begin where people expect", {
  withr::local_timezone("Europe/Berlin")
  start <- as.numeric(as.POSIXct("2026-03-20 13:17:05"))
  for (length in c(0, 1, 59, 3600, 86400 * c(1, 10, 100, 1000, 10000, 27000))) {
    times <- start + length * c(0, 0.3, 1)
    breaks <- time_breaks(times)
    expect_false(is.unsorted(breaks, strictly = TRUE))
    expect_true(breaks[[1]] <= start && max(breaks) > start + length)
    expect_lte(length(breaks), most_spans + 3)
  }
  # The clocks change on 29 March.
  days <- as_time(time_breaks(start + 86400 * c(0, 20)))
  expect_match(format(days, "%H:%M"), "^00:00$")
  weeks <- as_time(time_breaks(start + 86400 * c(0, 150)))
  expect_match(format(weeks, "%u %H:%M"), "^1 00:00$")
  months <- as_time(time_breaks(start + 86400 * c(0, 1000)))
  expect_match(format(months, "%d %H:%M"), "^01 00:00$")
  expect_length(time_breaks(numeric()), 2)
})

test_that("a server that lies about times does not make the picture useless", {
  events <- some_events(20)
  lies <- as.POSIXct(c(-5, 0, 8.64e15), origin = "1970-01-01", tz = "UTC")
  events$origin_server_ts[1:3] <- lies
  events$origin_server_ts[4] <- as.POSIXct(Inf, origin = "1970-01-01")
  counts <- counted(events)
  expect_equal(sum(counts$n), 16)
  expect_lt(as.numeric(diff(range(counts$from)), "days"), 20)
})

test_that("100,000 events are counted at once, not one by one", {
  events <- some_events(1e5, sprintf("!%d:demo", 1:30), 3000, trust_levels)
  counts <- counted(events)
  expect_equal(sum(counts$n), 1e5)
  expect_lt(nrow(counts), most_rooms * (most_spans + 2) * length(trust_levels))
  texts <- texts_of(plot(events))$label
  expect_match(texts, "^100,000 messages in 30 rooms", all = FALSE)
})

test_that("rooms have their names, and cannot take those of others", {
  ids <- sprintf("!%d:demo", 1:7)
  rooms <- data.frame(
    room_id = ids,
    name = c("A", "Twin", "Twin", NA, "!7:demo", "9 other rooms", " \u202e ")
  )
  labels <- room_labels(ids, some_events(0), rooms)
  expect_equal(
    unname(labels),
    c(
      "A",
      "!2:demo (Twin)",
      "!3:demo (Twin)",
      "!4:demo",
      "!5:demo (!7:demo)",
      "!6:demo (9 other rooms)",
      "!7:demo"
    )
  )
  events <- some_events(4, c("!a:demo", "!b:demo"))
  events$type[c(1, 3)] <- "m.room.name"
  events$content <- list(list(name = "Old"), NULL, list(name = "New"), NULL)
  events$room_id <- "!a:demo"
  expect_true("New" %in% texts_of(plot(events))$label)
  expect_true("A" %in% texts_of(plot(events, rooms = a_month))$label)
  events$content[[3]] <- list(name = 1)
  expect_true("!a:demo" %in% texts_of(plot(events))$label)
})

test_that("names in any writing are drawn as far as the device can", {
  name <- "\u05e9\u05dc\u05d5\u05dd \u65e5\u672c\u8a9e"
  rooms <- data.frame(room_id = "!a:demo", name = name)
  events <- some_events(3)
  texts <- texts_of(plot(events, rooms = rooms), open = unicode_device)$label
  expect_true(name %in% texts)
  expect_true("???? ???" %in% texts_of(plot(events, rooms = rooms))$label)
})

test_that("they are drawn in the C locale, too", {
  is_utf8 <- in_other_r(
    function() {
      library(mxcrypt)
      alice <- mx_demo_client(mx_demo_homeserver(), "alice")
      room <- mx_room_create(alice, name = "D\u00e9j\u00e0 \u65e5\u672c")
      mx_send_text(alice, room, "x")
      events <- mx_messages(alice, room)
      options(warn = 2)
      grDevices::pdf(NULL)
      plot(events)
      if (capabilities("cairo")) {
        grDevices::svg(tempfile())
        plot(events)
      }
      l10n_info()[["UTF-8"]]
    },
    env = c(LC_ALL = "C")
  )
  expect_false(is_utf8)
})

test_that("no two levels of trust look the same", {
  looks <- paste(
    trust_colours[trust_levels],
    trust_hatching[trust_levels]
  )
  expect_false(anyDuplicated(looks) > 0)
  expect_false(anyDuplicated(trust_colours) > 0)
  expect_setequal(names(trust_words), trust_levels)
})

test_that("ggplot2 draws the same counts", {
  skip_if_not_installed("ggplot2")
  events <- some_events(300, c("!a:demo", "!b:demo"), 30, trust_levels)
  picture <- ggplot2::autoplot(events, rooms = a_month)
  expect_s3_class(picture, "ggplot")
  grDevices::pdf(NULL)
  withr::defer(grDevices::dev.off())
  expect_no_warning(print(picture))
  drawn <- ggplot2::layer_data(picture)
  expect_equal(sum(drawn$ymax - drawn$ymin), 300)
  expect_setequal(unique(drawn$fill), unname(trust_colours))
  for (events in list(some_events(0), some_events(1))) {
    expect_no_warning(print(ggplot2::autoplot(events)))
  }
  expect_error(
    ggplot2::autoplot(events, rooms = 1),
    class = "mx_error_argument"
  )
})

test_that("events without the columns, and odd rooms, are an error", {
  events <- some_events(3)
  before <- grDevices::dev.list()
  for (column in c("room_id", "origin_server_ts", "type", "trust")) {
    expect_error(plot(edit(events, column, NULL)), class = "mx_error_argument")
  }
  for (rooms in list("!a:demo", 1, data.frame(room_id = "!a:demo"), NA)) {
    expect_error(plot(events, rooms = rooms), class = "mx_error_argument")
  }
  expect_identical(grDevices::dev.list(), before)
})

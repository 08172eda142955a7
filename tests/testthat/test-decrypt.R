# Events and keys in, events out. What mx_decrypt() judges is tested row by row in the core
# (judgement/archive_decryption).

# A room in which much was said.
talkative_pair <- function() {
  pair <- demo_pair()
  mx_sync(pair$bob)
  first <- mx_send_text(pair$alice, pair$room, "hello \u00e9\u4e16")
  mx_sync(pair$bob)
  mx_send_text(pair$bob, pair$room, "<b>bold</b>", thread = first)
  mx_edit(pair$alice, pair$room, first, "hello again")
  mx_react(pair$bob, pair$room, first, "\U0001f44d")
  mx_send_text(pair$alice, pair$room, c("two", "three"))
  gone <- mx_send_text(pair$alice, pair$room, "taken back")
  mx_redact(pair$alice, pair$room, gone)
  file <- tempfile(fileext = ".txt")
  writeLines("in a file", file)
  mx_send_file(pair$bob, pair$room, file)
  pair
}

# What does not need the state of a client.
stateless <- function(events) {
  names <- setdiff(
    names(events),
    c("trust", "sender_verified", "is_self", "edited", "thread_latest")
  )
  events <- as.data.frame(events)[names]
  rownames(events) <- NULL
  events
}

test_that("it reads what a client reads, from every form of events", {
  pair <- talkative_pair()
  own <- mx_messages(pair$alice, pair$room, limit = 500, edits = FALSE)
  raw <- raw_events(pair$alice, pair$room)
  table <- as_table(raw)
  keys <- mx_keys_for(table, pair$alice)
  expect_setequal(keys$source, c("own", "direct"))
  read <- mx_decrypt(table, keys)
  expect_s3_class(read, "mx_events")
  expect_true(any(read$body %in% "hello \u00e9\u4e16"))
  expect_identical(stateless(read), stateless(own))
  expect_true(all(read$trust[read$decrypted] == "unknown_device"))
  expect_true(all(read$trust[!read$decrypted] == "none"))
  expect_true(all(is.na(read$is_self)))

  lists <- table
  lists$content <- lapply(raw, function(event) as_object(event[["content"]]))
  as_factors <- data.frame(
    lapply(table, function(x) if (is.character(x)) factor(x) else x)
  )
  with_times <- table
  with_times$origin_server_ts <- own$origin_server_ts
  wide <- table
  wide$origin_server_ts <- as_integer64(table$origin_server_ts)
  for (form in list(as_lines(raw), lists, as_factors, with_times, wide)) {
    expect_identical(stateless(mx_decrypt(form, keys)), stateless(read))
  }
  encrypted <- table$type == "m.room.encrypted" & !table$redacted
  path <- tempfile()
  writeLines(as_lines(raw)[encrypted], path)
  nested <- jsonlite::stream_in(file(path), verbose = FALSE)
  expect_s3_class(nested$content, "data.frame")
  expect_identical(
    mx_decrypt(nested, keys)$body,
    read$body[encrypted]
  )
})

# What becomes of columns on the way through Spark, Arrow or a database.
test_that("it reads columns as Spark and Arrow return them", {
  archive <- small_archive(2, 20)
  events <- archive$events
  expected <- mx_decrypt(events, archive$keys)
  read <- function(name, column) {
    events[[name]] <- column
    mx_decrypt(events, archive$keys)
  }
  contents <- events$content
  expect_identical(read("content", lapply(contents, charToRaw)), expected)
  expect_identical(read("content", I(as.list(contents))), expected)
  times <- as_integer64(events$origin_server_ts)
  expect_identical(read("origin_server_ts", times), expected)
  # The missing one of bit64 is below zero, and so may others be.
  times[c(1, 2)] <- c(-0, as_integer64(2^63 + 4096))
  odd <- read("origin_server_ts", times)
  expect_identical(is.na(odd$origin_server_ts), rep(c(TRUE, FALSE), c(2, 38)))
  expect_identical(odd$body, expected$body)
  # Rows as JSON, with the content as text in them.
  lines <- vapply(
    seq_len(nrow(events)),
    function(i) unclass(mxc_json(as.list(events[i, ]))),
    ""
  )
  expect_identical(mx_decrypt(lines, archive$keys), expected)
})

test_that("contents that were a data frame keep their numbers", {
  line <- paste0(
    "{\"room_id\":\"!r:demo\",\"event_id\":\"$1\",\"sender\":\"@a:demo\",",
    "\"type\":\"m.x\",\"content\":{\"x\":0.123456789,\"n\":1234567890123}}"
  )
  keys <- small_archive(1, 1)$keys
  path <- tempfile()
  writeLines(line, path)
  nested <- jsonlite::stream_in(file(path), verbose = FALSE)
  read <- mx_decrypt(nested, keys)
  expect_identical(read$content, mx_decrypt(line, keys)$content)
})

test_that("a flat result is that of as.data.frame(), with trust as text", {
  pair <- talkative_pair()
  table <- as_table(raw_events(pair$alice, pair$room))
  keys <- mx_keys_for(table, pair$alice)
  flat <- mx_decrypt(table, keys, flat = TRUE)
  expected <- as.data.frame(mx_decrypt(table, keys), flat = TRUE)
  expected$trust <- as.character(expected$trust)
  expect_identical(flat, expected)
  expect_true(all(vapply(flat, is.atomic, NA)))
  expect_false(any(vapply(flat, is.factor, NA)))
})

test_that("events of a client are filled in, and what it knows stays", {
  pair <- talkative_pair()
  mx_backup_disable(pair$alice)
  late <- mx_demo_client(pair$homeserver, "alice")
  mx_sync(late)
  mx_send_text(pair$bob, pair$room, "for all")
  mx_sync(pair$alice)
  archive <- mx_messages(late, pair$room, limit = 500)
  unread <- !is.na(archive$utd_reason)
  expect_true(any(unread) && any(archive$decrypted))
  keys <- mx_keys_for(archive, pair$alice)
  read <- mx_decrypt(archive, keys)
  expect_identical(read[!unread, ], archive[!unread, ])
  expect_true(all(is.na(read$utd_reason)))
  expect_identical(read$is_self, archive$is_self)
  own <- mx_messages(pair$alice, pair$room, limit = 500, edits = FALSE)
  expect_identical(read$body[unread], own$body[unread])
  expect_true(all(read$trust[unread] == "unknown_device"))
  flat <- mx_decrypt(archive, keys, flat = TRUE)
  expect_identical(flat$body, read$body)
  expect_true(all(vapply(flat, is.atomic, NA)))
})

test_that("the keys of a store decrypt their sender's events alone, those of a file all", {
  pair <- demo_pair()
  received <- received_from_bob(pair)
  table <- received$table
  keys <- received$keys
  exported <- received$exported
  expect_identical(exported$sender, NA_character_)
  swapped <- table
  swapped$sender <- pair$alice$user_id
  expect_identical(mx_decrypt(swapped, keys)$utd_reason, "sender_mismatch")
  expect_identical(
    mx_decrypt(swapped, c(exported, keys))$utd_reason,
    "sender_mismatch"
  )
  read <- mx_decrypt(swapped, exported)
  expect_identical(read$body, "from Bob")
  expect_identical(as.character(read$trust), "unknown_device")
  expect_identical(read$key_source, "imported")
})

test_that("a second event of one message is refused in all parts of a call", {
  archive <- small_archive(1, 50)
  again <- archive$events[c(1:50, 3), ]
  again$event_id[[51]] <- "$again"
  expect_identical(
    mx_decrypt(again, archive$keys)$utd_reason,
    c(rep(NA, 50), "replayed")
  )
  local_replaced("decrypted_at_once", 7)
  in_parts <- mx_decrypt(again, archive$keys)
  expect_identical(in_parts$utd_reason, c(rep(NA, 50), "replayed"))
  expect_identical(in_parts$body[1:50], archive$bodies)
  flat <- mx_decrypt(again, archive$keys, flat = TRUE)
  expect_identical(flat$body, in_parts$body)
  expect_length(mx_keys_for(again, archive$keys), 1)
})

test_that("a row that is malformed costs no other", {
  archive <- small_archive(2, 2000)
  events <- archive$events
  bytes <- "\xff"
  Encoding(bytes) <- "bytes"
  columns <- c("room_id", "event_id", "type", "sender", "content")
  expect_refused <- function(bad, columns) {
    for (name in columns) {
      altered <- events
      altered[[name]][[1234]] <- bad
      read <- mx_decrypt(altered, archive$keys)
      expect_identical(read$body[-1234], archive$bodies[-1234])
      expect_identical(which(!is.na(read$utd_reason)), 1234L)
      expect_identical(read$utd_reason[[1234]], "malformed_event")
    }
  }
  expect_refused(NA, columns)
  expect_refused(bytes, columns)
  expect_refused("\xff\xfe", columns)
  expect_refused("", setdiff(columns, "type"))
  expect_refused("{", "content")
  events$content[[7]] <- sub(
    "ciphertext\":\"....",
    "ciphertext\":\"AAAA",
    events$content[[7]]
  )
  events$origin_server_ts[[8]] <- NA
  events$state_key <- NA
  events$redacts <- NA_character_
  events$redacted <- c(TRUE, NA, rep(FALSE, 3998))
  read <- mx_decrypt(events, archive$keys)
  expect_identical(which(!is.na(read$utd_reason)), 7L)
  expect_identical(read$encrypted[1:2], c(FALSE, TRUE))
  expect_identical(read$type[1:2], c("m.room.encrypted", "m.room.message"))
})

test_that("numbers of 64 bits are read whatever their halves are", {
  numbers <- c(1796140000123, 0, 2^31, 2^32 + 2^31, 2^52 + 1)
  expect_identical(of_integer64(as_integer64(numbers)), numbers)
  expect_identical(of_integer64(as_integer64(numeric())), numeric())
  expect_identical(of_integer64(as_integer64(2^63)), NA_real_)
})

test_that("no events are no rows", {
  archive <- small_archive(1, 1)
  none <- archive$events[0, ]
  expect_identical(mx_decrypt(none, archive$keys), no_events())
  expect_identical(nrow(mx_decrypt(none, archive$keys, flat = TRUE)), 0L)
  expect_identical(nrow(mx_decrypt(character(), archive$keys)), 0L)
  empty <- mx_keys_for(none, archive$keys)
  expect_length(empty, 0)
  read <- mx_decrypt(archive$events, empty)
  expect_identical(read$utd_reason, "unknown_session")
})

test_that("what is no data frame of events is an error that says so", {
  archive <- small_archive(1, 1)
  events <- archive$events
  odd <- function(name, value) {
    events[[name]] <- value
    catch(mx_decrypt(events, archive$keys))
  }
  without <- catch(mx_decrypt(events[-1], archive$keys))
  expect_s3_class(without, "mx_error_argument")
  expect_match(conditionMessage(without), "`room_id`", fixed = TRUE)
  for (name in c("room_id", "event_id", "type", "sender", "content")) {
    expect_s3_class(odd(name, 7), "mx_error_argument")
  }
  expect_s3_class(odd("redacted", "no"), "mx_error_argument")
  expect_s3_class(odd("origin_server_ts", "today"), "mx_error_argument")
  later <- structure(1, class = "difftime", units = "secs")
  expect_s3_class(odd("origin_server_ts", later), "mx_error_argument")
  expect_s3_class(odd("redacted", 1L), "mx_error_argument")
  table <- structure(list(), class = c("Table", "ArrowTabular"))
  table <- catch(mx_decrypt(table, archive$keys))
  expect_s3_class(table, "mx_error_argument")
  expect_match(conditionMessage(table), "as.data.frame()", fixed = TRUE)
})

test_that("a set of keys shows no key, and is a vector of sessions", {
  archive <- small_archive(3, 2)
  keys <- archive$keys
  text <- "<mx_keys> 3 sessions of 3 rooms (secret: it decrypts their messages)"
  shown <- c(
    utils::capture.output(print(keys)),
    trimws(utils::capture.output(str(keys))),
    utils::capture.output(summary(keys)),
    format(keys),
    as.character(keys)
  )
  expect_identical(unique(shown), text)
  expect_no_match(
    utils::capture.output(str(list(keys), give.attr = FALSE)),
    as.character(unclass(keys)$key[[20]]),
    fixed = TRUE,
    all = FALSE
  )
  expect_length(keys, 3)
  expect_identical(keys[c(TRUE, FALSE, TRUE)]$room_id, keys$room_id[c(1, 3)])
  expect_identical(c(keys[1], keys[2:3]), keys)
  expect_identical(keys[], keys)
  expect_identical(unique(c(keys, keys[2])), keys)
  expect_identical(unique(keys[0]), keys[0])
  expect_s3_class(catch(keys[7]), "mx_error_argument")
  parts <- split(keys, keys$room_id)
  expect_identical(lengths(parts, use.names = FALSE), c(1L, 1L, 1L))
  events <- split(archive$events, archive$events$room_id)
  expect_identical(lapply(events, mx_keys_for, keys), parts)
})

test_that("a set of keys that was altered is refused, and shows nothing", {
  archive <- small_archive(2, 1)
  alter <- function(name, value) {
    keys <- unclass(archive$keys)
    keys[[name]] <- value
    catch(mx_decrypt(archive$events, structure(keys, class = "mx_keys")))
  }
  whole <- unclass(archive$keys)$key
  bytes <- as.character(whole[20:27])
  shown <- c(
    paste(bytes, collapse = ""),
    paste(bytes, collapse = " "),
    jsonlite::base64_enc(whole[22:27])
  )
  for (condition in list(
    alter("key", whole[-1]),
    alter("key", NULL),
    alter("key", "text"),
    alter("room_id", NA_character_),
    alter("source", "elsewhere"),
    alter("sender", 1:2),
    catch(mx_decrypt(archive$events, unclass(archive$keys)))
  )) {
    expect_s3_class(condition, "mx_error_argument")
    for (part in shown) {
      expect_no_match(conditionMessage(condition), part, fixed = TRUE)
    }
  }
})

test_that("a set of keys that was altered is not picked from", {
  archive <- small_archive(2, 1)
  keys <- archive$keys
  expect_s3_class(catch(keys[list(1)]), "mx_error_argument")
  damaged <- unclass(keys)
  damaged$key <- NULL
  damaged <- structure(damaged, class = "mx_keys")
  for (condition in list(
    catch(damaged[1]),
    catch(mx_keys_for(archive$events, damaged))
  )) {
    expect_s3_class(condition, "mx_error_argument")
  }
})

test_that("sessions of an export that cannot be used are told, if they are needed", {
  session <- mxc_megolm_outbound_new()
  bad <- exported_session(session, "!r:demo", list(session_key = "AQAA"))
  events <- messages_of(session, "!r:demo", 1)
  good <- mxc_megolm_outbound_new()
  file <- export_of(list(bad, exported_session(good, "!r:demo")))
  expect_warning(
    keys <- mx_keys_for(events, file, "x"),
    "1 key of the export cannot be used",
    class = "mx_warning_key_export"
  )
  expect_length(keys, 0)
  events <- messages_of(good, "!r:demo", 1)
  expect_no_warning(keys <- mx_keys_for(events, file, "x"))
  expect_length(keys, 1)
  expect_warning(all <- mx_keys_for(NULL, file, "x"))
  expect_identical(all, keys)
  wrong <- catch(mx_keys_for(events, file, "y"))
  expect_s3_class(wrong, "mx_error_key_export")
})

test_that("a column that is a matrix is refused, and a frame that lost its trust is read", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  room <- mx_room_create(alice)
  mx_send_text(alice, room, "one")
  keys <- mx_keys_for(NULL, alice)
  events <- mx_messages(alice, room)
  for (name in c("room_id", "event_id", "sender", "type", "origin_server_ts")) {
    wide <- as.list(events)
    wide[[name]] <- matrix("a", nrow(events), 2)
    wide <- structure(
      wide,
      class = "data.frame",
      row.names = seq_len(nrow(events))
    )
    expect_error(mx_decrypt(wide, keys), class = "mx_error_argument")
  }
  events$trust <- NULL
  expect_identical(nrow(mx_decrypt(events, keys, flat = TRUE)), nrow(events))
})

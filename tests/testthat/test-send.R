test_that("an event of any type and content arrives as it was", {
  pair <- demo_pair()
  content <- list(
    answer = 42,
    half = 0.1 + 0.2,
    text = "d\u00e9j\u00e0 \"vu\" \\ \u0001 \U0001f600 %s",
    list = list(),
    object = as_object(list()),
    one = I("x"),
    none = NULL
  )
  id <- expect_invisible(
    mx_send(pair$alice, pair$room, content, type = "org.example.result")
  )
  expect_match(id, "^\\$")
  for (client in list(pair$bob, pair$alice)) {
    events <- mx_sync(client)
    event <- events[events$event_id == id, ]
    expect_equal(event$type, "org.example.result")
    expect_true(event$encrypted)
    expect_true(event$decrypted)
    found <- event$content[[1]]
    expect_equal(found[["answer"]], 42)
    expect_identical(found[["half"]], 0.1 + 0.2)
    expect_identical(charToRaw(found[["text"]]), charToRaw(content[["text"]]))
    expect_identical(found[["list"]], list())
    expect_identical(found[["object"]], as_object(list()))
    expect_identical(found[["one"]], list("x"))
    expect_true("none" %in% names(found))
    expect_null(found[["none"]])
  }
})

test_that("several contents are several events, in their order", {
  pair <- demo_pair()
  text <- function(body) list(msgtype = "m.text", body = body)
  ids <- mx_send(pair$alice, pair$room, list(text("one"), text("two")))
  more <- mx_send(
    pair$alice,
    pair$room,
    c('{"msgtype":"m.text","body":"three"}', mxc_json(text("four")))
  )
  expect_length(unique(c(ids, more)), 4)
  events <- messages(mx_sync(pair$bob))
  expect_equal(events$event_id, c(ids, more))
  expect_equal(events$body, c("one", "two", "three", "four"))
  expect_equal(mx_send(pair$alice, pair$room, character()), character())
})

test_that("a transaction id gives the same event, however often it is sent", {
  for (encrypted in c(TRUE, FALSE)) {
    pair <- demo_pair(encrypted = encrypted)
    send <- function(text, id) {
      mx_send_text(pair$alice, pair$room, text, transaction_id = id)
    }
    first <- send("once", "run-2026-11-20")
    expect_equal(send("once", "run-2026-11-20"), first)
    other <- send("another", "run-2026-11-21")
    expect_false(other == first)
    expect_equal(
      mx_send_text(
        pair$alice,
        pair$room,
        c("a", "b"),
        transaction_id = c("ta", "tb")
      ),
      mx_send_text(
        pair$alice,
        pair$room,
        c("a", "b"),
        transaction_id = c("ta", "tb")
      )
    )
    expect_equal(new_bodies(pair$bob), c("once", "another", "a", "b"))
  }
})

test_that("a transaction id that is none is refused before anything is sent", {
  pair <- demo_pair()
  for (id in list(
    "",
    NA_character_,
    5,
    c("a", "b"),
    list("a"),
    "a\nb",
    strrep("x", 300)
  )) {
    expect_error(
      mx_send_text(pair$alice, pair$room, "x", transaction_id = id),
      class = "mx_error",
      info = deparse(id)
    )
  }
  expect_equal(new_bodies(pair$bob), character())
})

test_that("what cannot be an event is refused, and none of its batch is sent", {
  pair <- demo_pair()
  odd <- list(
    NULL,
    NA,
    5,
    "x",
    "[]",
    "5",
    "",
    c("{}", "nonsense"),
    list(1),
    Sys.Date()
  )
  odd <- c(odd, list(list(list(a = 1), list(b = NaN)), data.frame(a = 1)))
  for (content in odd) {
    expect_error(
      mx_send(pair$alice, pair$room, content),
      class = "mx_error",
      info = deparse(content)
    )
  }
  for (type in list(
    "",
    "m.room.encrypted",
    NA,
    5,
    c("a", "b"),
    "a\nb",
    strrep("x", 300)
  )) {
    expect_error(
      mx_send(pair$alice, pair$room, list(a = 1), type = type),
      class = "mx_error"
    )
  }
  expect_equal(core(machine_waiting_to_send(machine_of(pair$alice))), 0)
  expect_equal(nrow(messages(mx_sync(pair$bob))), 0)
})

test_that("numbers in JSON text arrive as they were, or are refused", {
  for (encrypted in c(TRUE, FALSE)) {
    pair <- demo_pair(encrypted = encrypted)
    # Servers refuse floats where they can see them.
    floats <- if (encrypted) c("1.0", "1e2", "0.10", "1e-7")
    for (number in c("0", "-5", "9007199254740991", floats)) {
      text <- sprintf('{"msgtype":"m.text","body":"x","n":%s}', number)
      mx_send(pair$alice, pair$room, text)
      found <- messages(mx_sync(pair$bob))$content[[1]][["n"]]
      expect_identical(as.numeric(found), as.numeric(number), info = number)
    }
    # As a double it would be another number.
    text <- '{"msgtype":"m.text","body":"x","n":9007199254740993}'
    expect_error(mx_send(pair$alice, pair$room, text), class = "mx_error")
  }
})

test_that("an event the server refuses is an error, and blocks no other", {
  withr::local_options(mxcrypt.max_tries = 1, mxcrypt.pause = 0.001)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  mx_send_text(alice, room, "zero")
  too_large <- '{"errcode":"M_TOO_LARGE","error":"100% too large"}'
  fake$fault("PUT", "/send/", status = 413, body = too_large)
  condition <- expect_error(
    mx_send_text(alice, room, "one"),
    class = "mx_error_refused"
  )
  expect_s3_class(condition, "mx_error_M_TOO_LARGE")
  expect_match(conditionMessage(condition), "100% too large", fixed = TRUE)
  mx_send_text(alice, room, "two")

  fake$fault("PUT", "/send/", status = 413, body = too_large)
  expect_warning(
    ids <- mx_send_text(alice, room, c("three", "four")),
    class = "mx_warning_refused"
  )
  expect_equal(is.na(ids), c(TRUE, FALSE))
  expect_equal(new_bodies(alice), c("zero", "two", "four"))
})

test_that("what could not be sent is sent by the next call, once and in order", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake)
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  # The answer is lost after the server acted; then before.
  for (acts in c(TRUE, FALSE)) {
    fake$fault("PUT", "/send/", status = 502, body = "<html>", acts = acts)
    expect_error(
      mx_send_text(alice, room, paste("lost", acts)),
      class = "mx_error_http"
    )
    forget_open_stores()
  }
  fake$fault("POST", "/keys/claim", status = 502, body = "<html>")
  mx_send_text(alice, room, "after")
  expect_equal(new_bodies(bob), c("lost TRUE", "lost FALSE", "after"))
  events <- messages(mx_messages(bob, room))
  expect_equal(events$body, c("lost TRUE", "lost FALSE", "after"))
})

test_that("a device that cannot be reached is named once, and others read", {
  pair <- demo_pair()
  mx_isolation_mode(pair$alice, "all")
  carol <- mx_demo_client(pair$homeserver, "carol")
  mx_room_invite(pair$alice, pair$room, carol$user_id)
  mx_room_join(carol, pair$room)
  # A device of Carol with an identity and without one-time keys.
  bare <- list(server = demo_address(pair$homeserver))
  login <- log_in(bare, "carol", "demo", "MUTE", NULL)
  keys <- mxc_device_keys(mxc_account_new(), carol$user_id, "MUTE")
  demo_perform(
    the[["homeservers"]][[bare$server]],
    "POST",
    api_path("keys", "upload"),
    login$access_token,
    mxc_json(list(device_keys = keys))
  )
  warning <- expect_warning(
    mx_send_text(pair$alice, pair$room, "one"),
    class = "mx_warning_unreached"
  )
  expect_equal(
    warning[["devices"]],
    data.frame(user_id = carol$user_id, device_id = "MUTE")
  )
  expect_match(conditionMessage(warning), "MUTE")
  expect_warning(mx_send_text(pair$alice, pair$room, "two"), NA)
  expect_equal(new_bodies(carol), c("one", "two"))
  expect_equal(new_bodies(pair$bob), c("one", "two"))
})

test_that("a message of nearly the largest size arrives", {
  pair <- demo_pair()
  long <- paste(rep("0123456789\u00e9", 3000), collapse = "")
  mx_send_text(pair$alice, pair$room, long)
  expect_identical(new_bodies(pair$bob), long)
})

test_that("what is too large is refused before anything is asked, with sizes", {
  for (encrypted in c(TRUE, FALSE)) {
    pair <- demo_pair(encrypted = encrypted)
    mx_sync(pair$alice)
    refused <- function(send, ...) {
      asked <- requests_during(
        condition <- catch(send(pair$alice, pair$room, ...))
      )
      expect_length(asked, 0)
      expect_s3_class(condition, "mx_error_too_large")
      condition
    }
    large <- strrep("x", 70000)
    condition <- refused(mx_send_text, c("small", large))
    largest <- if (encrypted) 46900 else 62900
    expect_equal(condition$largest[[1]], largest, tolerance = 0.01)
    expect_gt(condition$size[[2]], 70000)
    expect_match(conditionMessage(condition), "Event 2 of 2", fixed = TRUE)
    expect_match(conditionMessage(condition), "70,000 bytes", fixed = TRUE)
    # HTML, escapes and edits make more of a text.
    html <- refused(mx_send_text, strrep("<", 20000), markdown = TRUE)
    expect_gt(html$size, 100000)
    expect_match(conditionMessage(html), "Split the text", fixed = TRUE)
    refused(mx_send_text, strrep("\u0001", 12000))
    refused(mx_send_table, data.frame(x = strrep("y", 40000)))
    refused(mx_send, list(data = large), type = "org.example.data")
    refused(mx_send, as.character(mxc_json(list(data = large))))
    id <- mx_send_text(pair$alice, pair$room, "first")
    refused(mx_edit, id, strrep("x", 40000))
    # Also by a name of whose room nothing is known here.
    asked <- requests_during(
      condition <- catch(mx_send_text(pair$alice, "nowhere", large))
    )
    expect_length(asked, 0)
    expect_s3_class(condition, "mx_error_too_large")
    expect_error(mx_redact(pair$alice, pair$room, id, large), "too large")

    # What was said to fit does.
    text <- function(size) {
      empty <- nchar(as_json_text(text_content(
        "",
        "m.text",
        FALSE,
        NULL,
        NULL
      )))
      strrep("x", size - empty)
    }
    fits <- condition$largest[[1]]
    fits <- if (encrypted) html$largest[[1]] else fits
    refused(mx_send_text, text(fits + 1))
    mx_sync(pair$bob)
    mx_send_text(pair$alice, pair$room, text(fits))
    expect_equal(nchar(new_bodies(pair$bob)), nchar(text(fits)))
  }
})

test_that("a table as content names the function that sends tables", {
  pair <- demo_pair()
  for (table in list(cars, matrix("a"))) {
    expect_error(
      mx_send(pair$alice, pair$room, table),
      "mx_send_table()",
      class = "mx_error_argument",
      fixed = TRUE
    )
  }
})

test_that("an event under a name, too large for its room, is refused all the same", {
  pair <- demo_pair(name = "Pipeline")
  mx_sync(pair$bob)
  condition <- catch(
    mx_send_text(pair$alice, "Pipeline", c("small", strrep("x", 55000)))
  )
  expect_s3_class(condition, "mx_error_too_large")
  expect_equal(core(machine_waiting_to_send(machine_of(pair$alice))), 0)
  expect_equal(new_bodies(pair$bob), character())
})

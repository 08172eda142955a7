skip_if_not_installed("shiny")
skip_if_not_installed("later")
skip_if_not_installed("promises")

# Has jobs of `later` run until `is_there()`. Reading `output` in testServer() would wait
# until there are no jobs, and a listener always has one.
wait_until <- function(session, is_there, seconds = 10) {
  end <- Sys.time() + seconds
  repeat {
    later::run_now(0.05)
    session$flushReact()
    session$elapse(50)
    if (shiny::isolate(is_there())) {
      return(invisible())
    }
    if (Sys.time() > end) {
      stop("It did not happen.")
    }
  }
}

# Alice views; Bob is somebody else in the room.
viewed_room <- function(.local_envir = parent.frame()) {
  withr::defer(
    {
      for (feed in the[["feeds"]]) {
        stop_feed(feed)
      }
      the[["feeds"]] <- list()
    },
    envir = .local_envir
  )
  demo_pair()
}

# What the log of a room has, as one text.
room_shown <- function(events, people) {
  paste(show_log(events, people)$html, collapse = "\n")
}

# A room of events that are made up.
made_up <- function(...) {
  pair <- demo_pair()
  texts <- c(...)
  mx_send_text(pair$bob, pair$room, rep("x", max(1, length(texts))))
  mx_sync(pair$alice)
  events <- mx_messages(pair$alice, pair$room, types = "m.room.message")
  events$body <- texts
  events
}

html_of <- function(events, names = rep(NA_character_, nrow(events))) {
  shiny::isolate(message_html(conversation(events), names))
}

parsed <- function(html) {
  xml2::read_html(paste0("<body>", paste(html, collapse = ""), "</body>"))
}

test_that("a reactive holds the newest events, as they come", {
  pair <- viewed_room()
  server <- function(input, output, session) {
    events <- mx_reactive_events(pair$alice, pair$room, last = 3)
  }
  shiny::testServer(server, {
    expect_equal(nrow(events()), 0)
    mx_send_text(pair$bob, pair$room, c("one", "two"))
    wait_until(session, function() nrow(events()) == 2)
    expect_s3_class(events(), "mx_events")
    expect_equal(events()$body, c("one", "two"))
    expect_equal(names(events()), names(mx_sync(pair$alice)))
    expect_s3_class(events()$trust, "mx_trust")
    expect_equal(as.character(events()$trust), c("signed", "signed"))
    mx_send_text(pair$alice, pair$room, "own")
    mx_send_text(pair$bob, pair$room, "four")
    wait_until(session, function() "four" %in% events()$body)
    expect_equal(events()$body, c("two", "own", "four"))
    expect_output(print(events()), "four")
  })
})

test_that("all tabs share a listener and see each event; it ends with the last", {
  pair <- viewed_room()
  started <- 0
  real <- mx_listen_start
  counting <- function(...) {
    started <<- started + 1
    real(...)
  }
  local_replaced("mx_listen_start", counting)
  server <- function(input, output, session) {
    events <- mx_reactive_events(pair$alice, pair$room)
  }
  shiny::testServer(server, {
    # Another tab. testServer() cannot be nested.
    other <- shiny::MockShinySession$new()
    theirs <- mx_reactive_events(pair$alice, pair$room, session = other)
    mx_send_text(pair$bob, pair$room, "to both")
    wait_until(session, function() "to both" %in% events()$body)
    expect_equal(theirs()$body, "to both")
    expect_equal(started, 1)
    other$close()
    feed <- the[["feeds"]][[1]]
    expect_equal(feed$listener$status()$state, "running")
    mx_send_text(pair$bob, pair$room, "to one")
    wait_until(session, function() "to one" %in% events()$body)
  })
  feed <- the[["feeds"]][[1]]
  expect_equal(feed$sessions, 0)
  expect_null(feed$listener)
  # Another listener may take over.
  real(pair$alice, function(event) NULL, consumer = "mx_shiny")$stop()
  mx_send_text(pair$bob, pair$room, "meanwhile")
  # The page is loaded again.
  shiny::testServer(server, {
    expect_equal(events()$body, c("to both", "to one"))
    wait_until(session, function() "meanwhile" %in% events()$body)
    expect_equal(events()$body, c("to both", "to one", "meanwhile"))
  })
})

test_that("what a tab reads is not dropped for others, whether they stay or leave", {
  pair <- viewed_room()
  local_replaced("most_views", 2L)
  server <- function(input, output, session) {
    events <- mx_reactive_events(pair$alice, pair$room)
  }
  shiny::testServer(server, {
    feed <- the[["feeds"]][[1]]
    other <- shiny::MockShinySession$new()
    theirs <- lapply(1:4, function(last) {
      mx_reactive_events(pair$alice, pair$room, last = last, session = other)
    })
    mx_send_text(pair$bob, pair$room, "to all")
    wait_until(session, function() "to all" %in% events()$body)
    for (view in theirs) {
      expect_equal(view()$body, "to all")
    }
    other$close()
    expect_length(feed$views, 2)
    mx_send_text(pair$bob, pair$room, "to one")
    wait_until(session, function() "to one" %in% events()$body)
  })
  # The page is loaded again.
  shiny::testServer(server, {
    expect_equal(events()$body, c("to all", "to one"))
  })
})

test_that("history comes in front, once", {
  pair <- viewed_room()
  mx_send_text(pair$bob, pair$room, c("one", "two"))
  server <- function(input, output, session) {
    events <- mx_reactive_events(pair$alice, pair$room, history = 30)
  }
  shiny::testServer(server, {
    mx_send_text(pair$bob, pair$room, "three")
    wait_until(session, function() all(c("one", "three") %in% events()$body))
    feed <- the[["feeds"]][[1]]
    wait_until(session, function() feed$listener$status()$handled >= 3)
    expect_equal(events()$body, c("one", "two", "three"))
    expect_equal(as.character(events()$trust), rep("signed", 3))
  })
})

test_that("an event that can be read later takes its place", {
  events <- made_up("one", "two", "three")
  unread <- events
  unread$utd_reason[2] <- "unknown_session"
  unread$body[2] <- NA
  bound <- bind_events(unread, events[2, ])
  expect_equal(bound$body, c("one", "two", "three"))
  expect_true(all(is.na(bound$utd_reason)))
  both <- bind_events(unread[1, ], rbind(unread[2, ], events[2, ]))
  expect_equal(both$body, c("one", "two"))
})

test_that("a history that overlaps what came keeps the order", {
  events <- made_up("a", "b", "c", "d")
  room <- events$room_id[1]
  other <- events[4, ]
  other$room_id <- "!other:demo"
  other$event_id <- "$other"
  joined <- function(history, live) {
    join_history(events[history, ], live, room)$body
  }
  none <- events[0, ]
  expect_equal(joined(1:3, none), c("a", "b", "c"))
  expect_equal(joined(1:2, events[3:4, ]), c("a", "b", "c", "d"))
  expect_equal(joined(2:3, events[1:4, ]), c("a", "b", "c", "d"))
  expect_equal(
    joined(2:3, bind_events(other, events[3:4, ])),
    c("b", "c", "d", "d")
  )
})

test_that("a failure is raised by its class, and ends no session", {
  pair <- viewed_room()
  server <- function(input, output, session) {
    events <- mx_reactive_events(pair$alice, pair$room)
    seen <- 0
    shiny::observe({
      events()
      seen <<- seen + 1
    })
  }
  taken <- mx_listen_start(pair$alice, identity, consumer = "mx_shiny")
  shiny::testServer(server, {
    session$flushReact()
    expect_error(events(), class = "mx_error_listening")
    expect_equal(seen, 0)
    expect_false(session$isClosed())
  })
  taken$stop()
  shiny::testServer(server, {
    expect_equal(nrow(events()), 0)
    mx_logout(pair$alice)
    is_failed <- function() {
      inherits(tryCatch(events(), error = identity), "mx_error_signed_out")
    }
    suppressWarnings(wait_until(session, is_failed))
    expect_false(session$isClosed())
  })
})

test_that("an error between two events ends the listener, and not the app", {
  pair <- viewed_room()
  server <- function(input, output, session) {
    events <- mx_reactive_events(pair$alice, pair$room)
  }
  gone <- function(...) stop("the store is gone")
  shiny::testServer(server, {
    real <- is_in_view
    local_replaced("is_in_view", gone)
    mx_send_text(pair$bob, pair$room, "one")
    failed <- function() {
      inherits(try(events(), silent = TRUE), "try-error")
    }
    wait_until(session, failed)
    expect_error(shiny::isolate(events()), "the store is gone")
    local_replaced("is_in_view", real)
    # The next tab tries again.
    start_feed(the[["feeds"]][[1]])
    mx_send_text(pair$bob, pair$room, "two")
    # The error may have come before the first message was delivered, or after.
    wait_until(session, function() "two" %in% events()$body)
    expect_equal(setdiff(events()$body, "one"), "two")
  })
})

test_that("arguments are checked where they are given", {
  pair <- viewed_room()
  within <- function(code) {
    shiny::testServer(function(input, output, session) NULL, {
      expect_error(code(), class = "mx_error_argument")
    })
  }
  expect_error(mx_reactive_events(pair$alice), class = "mx_error_argument")
  within(function() mx_reactive_events(pair$alice, rooms = 1))
  within(function() mx_reactive_events(pair$alice, types = NA))
  within(function() mx_reactive_events(pair$alice, last = 0))
  within(function() mx_reactive_events(pair$alice, pair$room, history = 101))
  within(function() mx_reactive_events(pair$alice, history = 10))
  within(function() mx_reactive_events(pair$alice, consumer = ""))
  within(function() mx_room_server(1, pair$alice, pair$room))
  within(function() mx_room_server("x", pair$alice, pair$room, last = "1"))
  expect_error(mx_room_ui(1), class = "mx_error_argument")
  expect_error(mx_room_ui("x", height = 1), class = "mx_error_argument")
  expect_error(mx_room_ui("x", height = "x;y"), class = "mx_error_argument")
  expect_null(the[["feeds"]][["x"]])
})

test_that("a room shows messages with their senders, and sends", {
  pair <- viewed_room()
  mx_profile_set(pair$bob, name = "Bob <b>")
  mx_send_text(pair$bob, pair$room, "hello")
  shiny::testServer(
    mx_room_server,
    args = list(client = pair$alice, room = pair$room),
    {
      shown <- function() room_shown(events, people)
      expect_equal(shown(), "")
      wait_until(session, function() grepl("Bob &lt;b&gt;", shown()))
      # Its sender's keys may still be on their way; then it is read again.
      wait_until(session, function() grepl(">hello<", shown()))
      expect_match(shown(), "@bob:demo")
      session$setInputs(send = list(text = "typed\nhere", number = 1))
      wait_until(session, function() grepl("typed<br>here", shown()))
      expect_equal(utils::tail(new_bodies(pair$bob), 1), "typed\nhere")
      mx_profile_set(pair$bob, name = "Robert")
      wait_until(session, function() grepl("Robert", shown()))
    }
  )
})

test_that("a room says when nothing comes any more, and keeps its messages", {
  no_failure <- function() NULL
  says <- function(last_sync, silent_for) {
    status <- list(
      since = .POSIXct(0),
      last_sync = last_sync,
      silent_for = silent_for
    )
    listening_sentence(no_failure, list(status = function() status))
  }
  never <- .POSIXct(NA_real_)
  # Whatever the clock says.
  expect_equal(says(never, 0), "")
  expect_equal(says(.POSIXct(60), 40), "")
  expect_match(says(.POSIXct(60), 900), "since 1970-01-01 00:01 UTC")
  expect_match(says(never, 1000), "since 1970-01-01 00:00 UTC")
  failed <- function() {
    mx_abort(c("Gone.", i = "mx_call()"), "mx_error_signed_out")
  }
  expect_equal(listening_sentence(failed, NULL), "Gone.")
  expect_null(show_log(failed, NULL))
})

test_that("what a browser sends may be anything", {
  bad <- list(
    NULL,
    "text",
    list(),
    list(text = NULL),
    list(text = c("a", "b")),
    list(text = " \n"),
    list(text = "\xff"),
    list(text = list("x")),
    list(text = NA_character_)
  )
  for (value in bad) {
    expect_null(typed_text(value)$text)
  }
  expect_equal(typed_text(list(text = "a", number = "x"))$number, 0)
  expect_equal(
    typed_text(list(text = "a", number = 2)),
    list(text = "a", number = 2)
  )
})

test_that("sending says what became of it, and keeps what is refused", {
  pair <- viewed_room()
  outcome <- NULL
  server <- function(input, output, session) {
    outcome <<- send_form(input, pair$alice, pair$room)
  }
  sending <- function(reply, code) {
    local_replaced("mx_send_text_async", function(...) reply)
    shiny::testServer(server, {
      session$setInputs(send = list(text = "x", number = 7))
      wait_until(session, function() !is.null(outcome()))
      code(shiny::isolate(outcome()))
    })
  }
  failed <- function(...) promises::promise_reject(errorCondition(...))
  sending(promises::promise_resolve("$id"), function(outcome) {
    expect_equal(outcome, list(number = 7, done = TRUE, sentence = ""))
  })
  refused <- failed(
    "No.\nmx_secret()",
    class = "mx_error",
    errcode = "M_FORBIDDEN"
  )
  sending(refused, function(outcome) {
    expect_false(outcome$done)
    expect_equal(outcome$sentence, "No. (M_FORBIDDEN)")
  })
  waiting <- failed("No network.", class = "mx_error_network", numbers = 1)
  sending(waiting, function(outcome) {
    expect_true(outcome$done)
    expect_match(outcome$sentence, "waits")
  })
})

test_that("a text that is too large is a sentence", {
  pair <- viewed_room()
  outcome <- NULL
  server <- function(input, output, session) {
    outcome <<- send_form(input, pair$alice, pair$room)
  }
  shiny::testServer(server, {
    session$setInputs(send = list(text = strrep("x", 70000), number = 1))
    wait_until(session, function() !is.null(outcome()))
    expect_false(outcome()$done)
    expect_match(outcome()$sentence, "too large")
  })
})

test_that("edits and deletions are shown, and only those that count", {
  events <- made_up("first", "* second", "gone", "last")
  events$replaces[2] <- events$event_id[1]
  events$content[[2]] <- list(
    body = "* second",
    m.new_content = list(body = "second", msgtype = "m.text")
  )
  events$trust[2] <- "unsigned"
  deletion <- events[4, ]
  deletion$type <- "m.room.redaction"
  deletion$event_id <- "$deletion"
  deletion$redacts <- events$event_id[3]
  shown <- html_of(bind_events(events, deletion))
  expect_length(shown, 3)
  expect_match(shown[1], "second <small>(edited)", fixed = TRUE)
  expect_no_match(shown[1], "first")
  expect_match(shown[1], trust_sentences[["unsigned"]], fixed = TRUE)
  expect_match(shown[2], "Deleted.")
  expect_no_match(shown[2], "gone")
  # A content that is not what it should be.
  for (content in list(
    list(),
    list(m.new_content = "x"),
    list(m.new_content = 1:3)
  )) {
    events$content[[2]] <- content
    expect_match(html_of(events)[1], "first")
  }
})

test_that("each trust has its words, and what cannot be read its reason", {
  expect_setequal(names(trust_sentences), trust_levels)
  events <- made_up(rep("x", length(trust_levels)))
  events$trust <- as_trust(trust_levels)
  shown <- html_of(events)
  for (i in seq_along(trust_levels)) {
    expect_match(
      shown[i],
      escape_html(trust_sentences[[trust_levels[i]]]),
      fixed = TRUE
    )
  }
  unread <- events[1, ]
  unread$utd_reason <- "unknown_session"
  unread$utd_message <- "Its key <has> not come."
  unread$body <- NA
  unread$msgtype <- NA
  expect_match(html_of(unread), "Its key &lt;has&gt; not come.", fixed = TRUE)
  expect_no_match(html_of(unread), "Not encrypted")
})

test_that("nothing of others is markup, but what mx_html() lets through", {
  skip_if_not_installed("xml2")
  attack <- "</div></article><script>steal()</script><img src=x onerror='steal()'>\"'"
  events <- made_up(rep(attack, 4))
  events$formatted_body[2] <- attack
  events$msgtype[3] <- "m.image"
  events$filename[3] <- attack
  events$caption[3] <- attack
  events$size[3] <- 12
  events$sender <- paste0("@", attack, ":demo")
  events$type[4] <- attack
  events$body[4] <- NA
  html <- html_of(events, rep(attack, 4))
  page <- parsed(html)
  expect_length(xml2::xml_find_all(page, "//script|//img|//@onerror"), 0)
  articles <- xml2::xml_find_all(page, "//article")
  expect_length(articles, 4)
  expect_length(
    xml2::xml_find_all(page, "//article/*[3]|//body/*[not(self::article)]"),
    0
  )
  expect_match(xml2::xml_text(articles[[3]]), "Picture: ", fixed = TRUE)
})

test_that("a name cannot look like another line, or turn the text around", {
  expect_equal(plain_line("a\u202eb\u2066c\n\td"), "abc d")
  expect_equal(plain_line(NA), NA_character_)
  expect_equal(nchar(plain_line(strrep("x", 1e5), 60L)), 61)
  withr::with_locale(c(LC_CTYPE = "C"), {
    expect_equal(plain_line("a\u202eb \u00e9"), "ab \u00e9")
  })
})

test_that("1,000 huge messages make a page that is bounded, in bounded time", {
  skip_if_not_installed("xml2")
  events <- made_up("x")[rep(1, 1000), ]
  events$event_id <- paste0("$", seq_len(1000))
  events$body <- strrep("<", 60000)
  events$formatted_body <- paste0(seq_len(1000), strrep("<b>x</b> ", 800))
  view <- list2env(list(last = 100, changed = shiny::reactiveVal(0)))
  show_in(view, events)
  expect_equal(nrow(view$events), 100)
  page <- function() {
    session <- shiny::MockShinySession$new()
    shiny::isolate(shiny::withReactiveDomain(
      session,
      message_html(conversation(view$events), rep(NA_character_, 100))
    ))
  }
  spent <- system.time(html <- page())
  expect_lt(spent[["user.self"]], 1)
  expect_length(html, 100)
  expect_lt(max(nchar(html)), 20000)
  # What is left for later is shown as text until then.
  expect_match(html[1], "&lt;&lt;", fixed = TRUE)
  expect_match(html[100], "<b>x</b>", fixed = TRUE)
})

test_that("the page has labels, and no secret", {
  html <- as.character(mx_room_ui("room"))
  expect_match(html, "role=\"log\"", fixed = TRUE)
  expect_match(html, "aria-live=\"polite\"", fixed = TRUE)
  expect_match(html, "role=\"alert\"", fixed = TRUE)
  # With a submit button in the page, Shiny holds back all inputs of the app.
  expect_no_match(html, "type=\"submit\"", fixed = TRUE)
  expect_no_match(
    as.character(mx_room_ui("\"><script>")),
    "<script>",
    fixed = TRUE
  )
  files <- system.file("shiny", c("room.js", "room.css"), package = "mxcrypt")
  expect_length(files[nzchar(files)], 2)
})

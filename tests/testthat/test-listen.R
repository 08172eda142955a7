# Listens to what is there, and says what was heard.
hear <- function(client, ..., seconds = 0) {
  heard <- character()
  mx_listen(
    client,
    function(event, client) heard <<- c(heard, event$body),
    ...,
    seconds = seconds
  )
  heard
}

test_that("each event is handed to the handler once, in order, with the client", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, c("one", "two"))
  seen <- list()
  n <- expect_invisible(mx_listen(
    pair$bob,
    function(event, client) {
      seen[[length(seen) + 1]] <<- event
      expect_identical(client, pair$bob)
    },
    types = "m.room.message",
    seconds = 0
  ))
  expect_equal(n, 2)
  expect_named(seen[[1]], names(mx_sync(pair$bob)))
  expect_equal(seen[[1]]$body, "one")
  expect_equal(seen[[2]]$sender, pair$alice$user_id)
  expect_s3_class(seen[[1]]$origin_server_ts, "POSIXct")
  expect_equal(seen[[1]]$content[["msgtype"]], "m.text")
  expect_equal(hear(pair$bob), character())
})

# Listens with a handler that fails at messages of `text`; what was tried, and the
# warnings and reports that came.
fail_at <- function(client, text, ..., types = "m.room.message") {
  tried <- character()
  warnings <- list()
  withCallingHandlers(
    mx_listen(
      client,
      function(event, client) {
        tried <<- c(tried, event$body)
        if (event$body %in% text) {
          stop("no ", event$body)
        }
      },
      ...,
      types = types,
      seconds = 0
    ),
    warning = function(condition) {
      warnings[[length(warnings) + 1L]] <<- condition
      rlang::cnd_muffle(condition)
    }
  )
  list(tried = tried, warnings = warnings)
}

# How often something was acknowledged so far.
acknowledgements <- function(.local_envir = parent.frame()) {
  n <- 0
  real <- get("machine_acknowledge", asNamespace("mxcrypt"))
  counting <- function(...) {
    n <<- n + 1
    real(...)
  }
  local_replaced("machine_acknowledge", counting, .local_envir = .local_envir)
  function() n
}

test_that("events that the handler is not for do not keep those waiting that it is for", {
  pair <- demo_pair()
  hear(pair$bob)
  say <- function(texts) {
    suppressMessages(mx_send_text(pair$bob, pair$room, texts))
  }
  say(paste("own", 1:150))
  mx_send_text(pair$alice, pair$room, "one")
  say(paste("own", 151:250))
  mx_send_text(pair$alice, pair$room, "two")
  say("own 251")
  n <- acknowledgements()
  types <- "m.room.message"
  expect_equal(hear(pair$bob, types = types), c("one", "two"))
  expect_lt(n(), 10)
  # All are dealt with.
  expect_equal(hear(pair$bob, own = TRUE), character())
  mx_send_text(pair$alice, pair$room, c("three", "four", "five"))
  say(c("own 252", "own 253"))
  failed <- fail_at(pair$bob, "four", on_error = "skip")
  expect_equal(failed$tried, c("three", "four", "five"))
  expect_equal(hear(pair$bob, own = TRUE, types = types), character())
})

# Consumers that exist: what comes from now on is kept for them.
consumers_exist <- function(client, names = "mx_listen") {
  mx_sync(client)
  for (name in names) {
    hear(client, consumer = name)
  }
}

# Pauses between tries take no time.
local_no_pauses <- function(.local_envir = parent.frame()) {
  pauses <- new.env()
  note <- function(seconds) pauses[["taken"]] <- c(pauses[["taken"]], seconds)
  local_replaced("retry_pause", note, .local_envir = .local_envir)
  pauses
}

reports <- function(events) {
  events[events$type == "mxcrypt.handler_failed", ]
}

test_that("with on_error = \"stop\" an event comes again, and none before it", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, c("one", "two", "three"))
  tried <- character()
  fail_at <- function(text) {
    function(event, client) {
      tried <<- c(tried, event$body)
      if (event$body == text) {
        stop("handler failed")
      }
    }
  }
  listen <- function(text) {
    mx_listen(
      pair$bob,
      fail_at(text),
      types = "m.room.message",
      seconds = 0,
      on_error = "stop"
    )
  }
  for (i in 1:5) {
    expect_error(listen("two"), "handler failed")
    forget_open_stores()
  }
  expect_error(listen("three"), "handler failed")
  listen("none")
  expect_equal(tried, c("one", rep("two", 5), "two", "three", "three"))
  expect_equal(nrow(reports(mx_sync(pair$bob))), 0)
})

test_that("one poison event does not end a bot, and is reported", {
  pauses <- local_no_pauses()
  pair <- demo_pair()
  consumers_exist(pair$bob)
  mx_send_text(pair$alice, pair$room, "one")
  poison <- mx_send_text(pair$alice, pair$room, "two")
  mx_send_text(pair$alice, pair$room, "three")
  heard <- fail_at(pair$bob, "two")
  expect_equal(heard$tried, c("one", "two", "two", "two", "three"))
  expect_equal(pauses$taken, c(1, 2))
  expect_length(heard$warnings, 3)
  for (warning in heard$warnings) {
    expect_s3_class(warning, c("mx_warning_handler", "mx_warning"))
    expect_match(conditionMessage(warning), "no two", fixed = TRUE)
    expect_match(conditionMessage(warning), poison, fixed = TRUE)
    expect_equal(conditionMessage(warning$cause), "no two")
    expect_equal(warning$event$event_id, poison)
  }
  set_aside <- vapply(heard$warnings, function(x) x$set_aside, NA)
  expect_equal(set_aside, c(FALSE, FALSE, TRUE))

  # It is told to this listener, and to others.
  expect_equal(fail_at(pair$bob, "two")$tried, character())
  report <- reports(mx_sync(pair$bob))
  expect_equal(nrow(report), 1)
  expect_equal(report$event_id, poison)
  expect_equal(report$room_id, pair$room)
  expect_equal(report$sender, "")
  expect_match(report$body, "no two", fixed = TRUE)
  content <- report$content[[1]]
  expect_equal(content[["error"]], "no two")
  expect_equal(content[["consumer"]], "mx_listen")
  expect_match(format(report), "failed", all = FALSE)
})

test_that("on_error decides: skip, or a function of the error and the event", {
  local_no_pauses()
  pair <- demo_pair()
  consumers_exist(pair$bob, c("mx_listen", "skips"))
  texts <- c("skip", "retry", "odd", "fails", "well")
  mx_send_text(pair$alice, pair$room, texts)
  heard <- fail_at(pair$bob, texts[1:2], consumer = "skips", on_error = "skip")
  expect_equal(heard$tried, texts)
  expect_equal(nrow(reports(mx_sync(pair$bob))), 2)

  asked <- list()
  decide <- function(condition, event) {
    asked[[length(asked) + 1L]] <<- list(condition, event)
    switch(event$body, odd = 5, fails = stop("undecided"), event$body)
  }
  heard <- fail_at(pair$bob, texts[1:4], on_error = decide)
  expect_equal(heard$tried, rep(texts, c(1, 3, 3, 3, 1)))
  expect_length(asked, 10)
  expect_equal(conditionMessage(asked[[1]][[1]]), "no skip")
  expect_equal(asked[[1]][[2]]$body, "skip")
  messages <- vapply(heard$warnings, conditionMessage, "")
  expect_match(messages, "must return \"retry\"", all = FALSE, fixed = TRUE)
  expect_match(messages, "undecided", all = FALSE, fixed = TRUE)

  mx_send_text(pair$alice, pair$room, "stop")
  expect_error(fail_at(pair$bob, "stop", on_error = decide), "no stop")
  expect_equal(fail_at(pair$bob, character())$tried, "stop")
})

test_that("a handler that fails at everything comes to an end", {
  local_no_pauses()
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, c("one", "two"))
  n <- 0
  always <- function(event, client) {
    n <<- n + 1
    stop("always")
  }
  suppressWarnings(handled <- mx_listen(pair$bob, always, seconds = 0))
  expect_equal(handled, 0)
  # Each event, and one report of each, three times.
  expect_equal(n %% 6, 0)
  first <- n
  mx_listen(pair$bob, always, seconds = 0)
  expect_equal(n, first)
})

test_that("an event that ends R is set aside after three starts", {
  skip_on_cran()
  skip_on_os("windows")
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake)
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  consumers_exist(bob)
  poison <- mx_send_text(alice, room, "poison")
  mx_send_text(alice, room, "cure")
  log <- withr::local_tempfile(lines = character())
  listen <- function(path, log) {
    mxcrypt::mx_listen(
      mxcrypt::mx_client_load(path = path),
      function(event, client) {
        cat(event$body, "\n", file = log, append = TRUE)
        if (event$body == "poison") {
          tools::pskill(Sys.getpid(), tools::SIGKILL)
        }
      },
      types = "m.room.message",
      seconds = 0
    )
  }
  environment(listen) <- globalenv()
  exits <- vapply(
    1:4,
    function(i) {
      process <- callr::r_bg(listen, list(bob$path, log))
      process$wait(60000)
      process$kill()
      process$get_exit_status()
    },
    0L
  )
  expect_equal(exits, c(-9L, -9L, -9L, 0L))
  expect_equal(trimws(readLines(log)), c(rep("poison", 3), "cure"))
  report <- reports(mx_sync(bob))
  expect_equal(report$event_id, poison)
  expect_match(report$body, "R ended", fixed = TRUE)
})

test_that("an interrupt is no verdict on the event", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "long")
  for (i in 1:5) {
    interrupted <- tryCatch(
      mx_listen(
        pair$bob,
        function(event, client) {
          signalCondition(structure(
            class = c("interrupt", "condition"),
            list()
          ))
        },
        types = "m.room.message",
        seconds = 0
      ),
      interrupt = function(condition) "interrupted"
    )
    expect_equal(interrupted, "interrupted")
  }
  expect_equal(hear(pair$bob, types = "m.room.message"), "long")
})

test_that("what an error says is kept, whatever it is", {
  local_no_pauses()
  pair <- demo_pair()
  consumers_exist(pair$bob, paste0("c", 1:4))
  errors <- list(
    simpleError("caf\xe9 \033[31m"),
    simpleError(strrep("long ", 10000)),
    simpleError(character()),
    structure(class = c("odd", "error", "condition"), list(message = 5))
  )
  mx_send_text(pair$alice, pair$room, "x")
  for (i in seq_along(errors)) {
    suppressWarnings(mx_listen(
      pair$bob,
      function(event, client) stop(errors[[i]]),
      types = "m.room.message",
      seconds = 0,
      consumer = paste0("c", i)
    ))
  }
  found <- reports(mx_sync(pair$bob))
  said <- vapply(found$content, function(x) x[["error"]], "")
  expect_length(said, length(errors))
  expect_true(all(nzchar(said) & nchar(said) <= 2000))
  expect_true(all(validUTF8(said)))
})

test_that("a handler of one argument is given the event alone", {
  pair <- demo_pair()
  consumers_exist(pair$bob, paste0("c", 1:5))
  mx_send_text(pair$alice, pair$room, c("one", "two"))
  seen <- list()
  handlers <- list(
    function(event) seen[[length(seen) + 1L]] <<- list(event),
    function(event, ...) seen[[length(seen) + 1L]] <<- list(event, ...),
    function(...) seen[[length(seen) + 1L]] <<- list(...),
    function(e, c, more = 5) seen[[length(seen) + 1L]] <<- list(e, c),
    list
  )
  for (i in seq_along(handlers)) {
    n <- mx_listen(
      pair$bob,
      handlers[[i]],
      types = "m.room.message",
      seconds = 0,
      consumer = paste0("c", i)
    )
    expect_equal(n, 2)
  }
  expect_length(seen, 8)
  expect_equal(lengths(seen), c(1, 1, 2, 2, 2, 2, 2, 2))
  for (arguments in seen[3:8]) {
    expect_equal(arguments[[2]], pair$bob)
  }
})

test_that("a handler that cannot be called is refused at the start", {
  pair <- demo_pair()
  for (handler in list(
    function() NULL,
    function(event, client, database) NULL,
    function(a, b, c, ...) NULL
  )) {
    asked <- requests_during(
      condition <- catch(mx_listen(pair$bob, handler, seconds = 0))
    )
    expect_s3_class(condition, "mx_error_argument")
    expect_match(conditionMessage(condition), "`handler`", fixed = TRUE)
    expect_length(asked, 0)
  }
  expect_match(
    conditionMessage(catch(
      mx_listen(pair$bob, function(a, b, database) NULL, seconds = 0)
    )),
    "database",
    fixed = TRUE
  )
  for (on_error in list("again", NA, 5, NULL, c("skip", "stop"))) {
    expect_error(
      mx_listen(pair$bob, list, seconds = 0, on_error = on_error),
      "`on_error`",
      class = "mx_error_argument"
    )
  }
})

test_that("a verification callback that fails leaves the verification for later", {
  pair <- demo_pair()
  mx_verification_request(pair$alice, pair$bob$user_id)
  asked <- 0
  undecided <- function(verification) {
    asked <<- asked + 1
    stop("undecided")
  }
  expect_warning(
    mx_listen(pair$bob, list, seconds = 0, on_verification = undecided),
    "undecided",
    class = "mx_warning_verification"
  )
  expect_gte(asked, 1)
  open <- mx_verifications(pair$bob)
  expect_equal(open[[1]]$state, "requested")
})

test_that("warnings appear while it still listens", {
  skip_on_cran()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake)
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  mx_send_text(alice, room, "one")
  fake$fault("GET", "/sync", status = 502, body = "<html>")
  errors <- withr::local_tempfile(lines = character())
  done <- withr::local_tempfile()
  listen <- function(path, done) {
    options(mxcrypt.max_tries = 1)
    mxcrypt::mx_listen(
      mxcrypt::mx_client_load(path = path),
      function(event, client) {
        warning("a warning of the handler")
        # What was warned of has been written when this file is there.
        file.create(done)
        repeat {
          Sys.sleep(1)
        }
      },
      types = "m.room.message"
    )
  }
  environment(listen) <- globalenv()
  process <- callr::r_bg(
    listen,
    list(bob$path, done),
    stderr = errors,
    env = c(callr::rcmd_safe_env(), LANGUAGE = "en")
  )
  withr::defer(process$kill())
  for (i in 1:1200) {
    if (!process$is_alive() || file.exists(done)) {
      break
    }
    Sys.sleep(0.05)
  }
  expect_true(process$is_alive())
  told <- paste(readLines(errors), collapse = "\n")
  expect_match(told, "Listening goes on", fixed = TRUE)
  expect_match(told, "502", fixed = TRUE)
  expect_match(told, "a warning of the handler", fixed = TRUE)
})

test_that("what a proxy answers in place of the server does not end listening", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  mx_sync(alice)
  for (fault in list(
    list(status = 200, body = "<html>Please sign in to the network</html>"),
    list(status = 403, body = "<html>Forbidden</html>"),
    list(status = 425, body = ""),
    list(status = 408, body = "<html>Timeout</html>")
  )) {
    fake$fault("GET", "/sync", status = fault$status, body = fault$body)
    withr::local_options(mxcrypt.max_tries = 1)
    expect_warning(
      mx_listen(alice, function(event) NULL, seconds = 3, poll = 0),
      "Listening goes on",
      class = "mx_warning_network"
    )
  }
  # A verdict of the server does.
  fake$fault(
    "GET",
    "/sync",
    status = 403,
    body = '{"errcode":"M_FORBIDDEN","error":"no"}'
  )
  expect_error(
    mx_listen(alice, function(event) NULL, seconds = 3, poll = 0),
    class = "mx_error_M_FORBIDDEN"
  )
})

test_that("one process listens as a consumer, and another one under its own name", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  mx_listen(alice, function(event) NULL, seconds = 0)
  listening <- tempfile()
  withr::defer(unlink(listening))
  other <- callr::r_bg(
    function(path, listening) {
      client <- mxcrypt::mx_client_load(path = path)
      mxcrypt::mx_listen(
        client,
        function(event) {
          file.create(listening)
          Sys.sleep(60)
        },
        types = "m.room.message",
        own = TRUE
      )
    },
    list(alice$path, listening)
  )
  withr::defer(other$kill())
  mx_send_text(alice, room, "hello")
  wait_for(function() file.exists(listening))
  condition <- expect_error(
    mx_listen(alice, function(event) NULL, seconds = 0),
    class = "mx_error_listening"
  )
  expect_match(conditionMessage(condition), "consumer")
  heard <- character()
  mx_listen(
    alice,
    function(event) heard <<- c(heard, event$body),
    types = "m.room.message",
    own = TRUE,
    seconds = 0,
    consumer = "another"
  )
  expect_equal(heard, "hello")
  # The system ends the lock with the process.
  other$kill()
  expect_no_error(mx_listen(alice, function(event) NULL, seconds = 0))
  # A handler may listen itself.
  nested <- function(event, client) {
    mx_listen(client, function(event) NULL, seconds = 0, consumer = "inner")
  }
  mx_send_text(alice, room, "again")
  expect_equal(mx_listen(alice, nested, own = TRUE, seconds = 0), 1)
})

test_that("listening leaves the user's choice about warnings", {
  pair <- demo_pair()
  consumers_exist(pair$bob, c("a", "b", "c", "d"))
  mx_send_text(pair$alice, pair$room, "one")
  level <- function(warn, consumer) {
    withr::local_options(warn = warn)
    seen <- NULL
    look <- function(event) seen <<- getOption("warn")
    mx_listen(pair$bob, look, seconds = 0, consumer = consumer)
    c(seen, getOption("warn"))
  }
  expect_equal(level(0, "a"), c(1, 0))
  expect_equal(level(2, "b"), c(2, 2))
  expect_equal(level(-1, "c"), c(-1, -1))
  expect_equal(level(1, "d"), c(1, 1))
})

test_that("own events and other types are left out, unless wanted", {
  pair <- demo_pair()
  hear(pair$bob, consumer = "all")
  mx_send_text(pair$bob, pair$room, "my own")
  mx_send_text(pair$alice, pair$room, "another's")
  expect_equal(hear(pair$bob, types = "m.room.message"), "another's")
  heard <- hear(
    pair$bob,
    types = "m.room.message",
    own = TRUE,
    consumer = "all"
  )
  expect_equal(heard, c("my own", "another's"))
  mx_react(pair$alice, pair$room, "$x", "!")
  types <- character()
  mx_listen(
    pair$bob,
    function(event, client) types <<- c(types, event$type),
    types = c("m.reaction", "m.room.message"),
    seconds = 0
  )
  expect_equal(types, "m.reaction")
})

test_that("each consumer has its own place", {
  pair <- demo_pair()
  messages <- "m.room.message"
  # From its first call on.
  hear(pair$bob, consumer = "a")
  hear(pair$bob, consumer = "b")
  mx_sync(pair$bob)
  mx_send_text(pair$alice, pair$room, "one")
  expect_equal(hear(pair$bob, types = messages, consumer = "a"), "one")
  expect_equal(hear(pair$bob, types = messages, consumer = "b"), "one")
  expect_equal(new_bodies(pair$bob), "one")
  mx_send_text(pair$alice, pair$room, "two")
  expect_equal(hear(pair$bob, types = messages, consumer = "b"), "two")
  expect_equal(hear(pair$bob, types = messages, consumer = "a"), "two")
  expect_equal(new_bodies(pair$bob), "two")
})

test_that("a handler may send, sync and read history", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, c("ping", "ping"))
  mx_listen(
    pair$bob,
    function(event, client) {
      mx_send_text(client, event$room_id, "pong", reply_to = event$event_id)
      mx_messages(client, event$room_id, limit = 1)
    },
    types = "m.room.message",
    seconds = 0
  )
  replies <- messages(mx_sync(pair$alice))
  expect_equal(replies$body, c("ping", "ping", "pong", "pong"))
  expect_equal(
    vapply(replies$relates_to[3:4], function(x) x[[1]][["event_id"]], ""),
    replies$event_id[1:2]
  )
})

test_that("an event that could not be read comes again when it can", {
  pair <- demo_pair()
  hear(pair$bob)
  mx_send_text(pair$alice, pair$room, "late")
  answer <- raw_sync(pair$bob)
  key <- json_decode(answer)[["to_device"]]
  hand_in(pair$bob, edit_json(answer, "to_device"))
  heard <- list()
  listen <- function() {
    keep <- function(event, client) heard[[length(heard) + 1]] <<- event
    mx_listen(pair$bob, keep, seconds = 0)
  }
  listen()
  hand_in(pair$bob, edit_json(raw_sync(pair$bob), "to_device", key))
  listen()
  expect_length(heard, 2)
  expect_equal(heard[[1]]$utd_reason, "unknown_session")
  expect_equal(heard[[2]]$body, "late")
  expect_equal(heard[[1]]$event_id, heard[[2]]$event_id)
})

test_that("listening ends after as many seconds as said", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  took <- elapsed(hear(alice, seconds = 0.5))
  expect_gte(took, 0.5)
  expect_lt(took, 30)
  # The clock is set meanwhile.
  mx_send_text(alice, mx_room_create(alice), "now")
  set_clock <- local_clock()
  handler <- function(event, client) set_clock(86400)
  took <- elapsed(mx_listen(alice, handler, own = TRUE, seconds = 0.5))
  expect_gte(took, 0.5)
})

test_that("a server that is away for a while does not end a listener", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake)
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  mx_send_text(alice, room, "still there?")
  fake$fault("GET", "/sync", status = 502, body = "<html>")
  expect_warning(
    heard <- hear(bob, types = "m.room.message", seconds = 1.6),
    class = "mx_warning_network"
  )
  expect_equal(heard, "still there?")
  # What will not pass ends it.
  gone <- '{"errcode":"M_FORBIDDEN","error":"gone"}'
  fake$fault("GET", "/sync", status = 403, body = gone)
  expect_error(hear(bob, seconds = 5), class = "mx_error_M_FORBIDDEN")
})

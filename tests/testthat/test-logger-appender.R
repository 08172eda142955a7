# A room to log to, and what was posted there.
local_room <- function(.local_envir = parent.frame()) {
  withr::defer(the[["logs"]] <- list(), .local_envir)
  alice <- mx_demo_client(mx_demo_homeserver(), "alice")
  room <- mx_room_create(alice, name = "ops")
  list(
    client = alice,
    room = room,
    events = function() mx_messages(alice, room, types = "m.room.message"),
    bodies = function() mx_messages(alice, room, types = "m.room.message")$body
  )
}

log_of <- function(appender) environment(appender)[["log"]]

# So much later.
wind_forward <- function(appender, seconds) {
  log <- log_of(appender)
  log[["posted_at"]] <- log[["posted_at"]] - seconds
}

local_away <- function(.local_envir = parent.frame()) {
  away <- function(...) {
    stop(errorCondition("away", class = c("mx_error_network", "mx_error")))
  }
  local_replaced("http_once", away, .local_envir)
}

test_that("logger posts to a room: the first line at once, an error at once", {
  skip_if_not_installed("logger")
  ops <- local_room()
  namespace <- "test-appender"
  appender <- mx_logger_appender(ops$client, "ops")
  logger::log_appender(appender, namespace = namespace)
  withr::defer(
    logger::log_appender(logger::appender_console, namespace = namespace)
  )
  # A layout that does not tell the level.
  logger::log_layout(logger::layout_blank, namespace = namespace)
  logger::log_info("reading", namespace = namespace)
  expect_equal(ops$bodies(), "reading")
  logger::log_warn("odd values", namespace = namespace)
  expect_equal(ops$bodies(), "reading")
  logger::log_error("no convergence", namespace = namespace)
  expect_equal(ops$bodies(), c("reading", "odd values\nno convergence"))
  content <- ops$events()$content[[2]]
  expect_equal(content$msgtype, "m.notice")
  expect_equal(
    content$formatted_body,
    "<pre><code>odd values\nno convergence\n</code></pre>"
  )
  # logger can show how the appender was made.
  shown <- logger::log_appender(namespace = namespace)
  expect_match(deparse1(shown), "mxcrypt::mx_logger_appender", fixed = TRUE)
})

test_that("lines are collected by time, number and size", {
  ops <- local_room()
  take <- mx_logger_appender(
    ops$client,
    ops$room,
    interval = 5,
    per_minute = 100
  )
  take("one")
  take(c("two", "three"))
  wind_forward(take, 5)
  take("four")
  expect_equal(ops$bodies(), c("one", "two\nthree\nfour"))
  for (i in 1:100) {
    take(paste("line", i))
  }
  expect_length(ops$bodies(), 3)
  take(strrep("x", 1999))
  take(strrep("y", 1999))
  take(strrep("z", 1999))
  take(strrep("z", 1999))
  expect_length(ops$bodies(), 4)
  take("ERROR [2026-11-30 03:00:00] bad")
  expect_length(ops$bodies(), 5)
  take("rest")
  expect_true(expect_invisible(mx_logger_flush()))
  expect_equal(ops$bodies()[[6]], "rest")
  expect_true(mx_logger_flush())
  expect_length(ops$bodies(), 6)
})

test_that("a flood becomes few messages, and they say what is missing", {
  ops <- local_room()
  take <- mx_logger_appender(ops$client, ops$room, per_minute = 3)
  for (i in 1:500) {
    take(paste("ERROR", i))
  }
  expect_equal(ops$bodies(), c("ERROR 1", "ERROR 2", "ERROR 3"))
  wind_forward(take, 60)
  take("ERROR 501")
  lines <- strsplit(ops$bodies()[[4]], "\n")[[1]]
  expect_equal(lines[[1]], "(398 lines left out)")
  expect_equal(lines[-1], paste("ERROR", 402:501))
  # A clock that is set lifts no limit, and makes none longer.
  set_clock <- local_clock()
  for (i in 1:2) {
    take("ERROR more")
  }
  for (day in c(1, -1)) {
    set_clock(86400 * day)
    take("ERROR more")
    expect_length(ops$bodies(), 6)
  }
  wind_forward(take, 60)
  take("ERROR later")
  expect_match(ops$bodies()[[7]], "ERROR later")
})

test_that("a line is what it is: no escapes, no lines that it forges, bounded", {
  skip_without_utf8()
  ops <- local_room()
  take <- mx_logger_appender(ops$client, ops$room, per_minute = 100)
  last <- function(line) {
    take(paste("ERROR", line))
    utils::tail(ops$bodies(), 1)
  }
  expect_equal(last("\u001b[31mred\u001b[39m"), "ERROR red")
  expect_equal(last("a\nINFO forged\r\nx"), "ERROR a\n    INFO forged\n    x")
  expect_equal(last("a\tb\u0007c\u202ed"), "ERROR a b cd")
  expect_equal(last("\u00e4\U0001f525"), "ERROR \u00e4\U0001f525")
  expect_equal(last("\xff\xfe"), "ERROR ??")
  expect_equal(nchar(last(strrep("\u00e4", 1e6))), 2003)
  expect_match(last("<b>&\"</b>"), "<b>&\"</b>", fixed = TRUE)
  html <- utils::tail(ops$events()$content, 1)[[1]]$formatted_body
  expect_match(html, "&lt;b&gt;&amp;", fixed = TRUE)
  # As large as all of it can be.
  take(rep(paste("ERROR", strrep("\"", 1990)), 6))
  expect_length(utils::tail(ops$events()$content, 1)[[1]]$body, 1)
  for (odd in list(NULL, character(), NA, 1:3, list("a", 2), mean, "")) {
    expect_no_condition(take(odd))
  }
})

test_that("without the server nothing is raised or lost, and it does not take long", {
  ops <- local_room()
  take <- mx_logger_appender(
    ops$client,
    ops$room,
    interval = 0,
    per_minute = 1e6
  )
  local({
    local_away()
    expect_no_condition(take("ERROR first"))
    time <- system.time(
      for (i in 2:5) {
        take(paste("ERROR", i))
      }
    )
    expect_lt(time[["elapsed"]], 2)
    # A clock that is set ends no pause, and makes none longer.
    set_clock <- local_clock()
    relay <- log_of(take)[["relay"]]
    for (day in c(1, -1)) {
      set_clock(86400 * day)
      expect_true(is_pausing(relay))
    }
    relay[["failed_at"]] <- relay[["failed_at"]] - relay[["pause"]]
    expect_false(is_pausing(relay))
  })
  expect_equal(
    mx_outbox(ops$client)$body,
    c("ERROR first", paste("ERROR", 2:5))
  )
  mx_sync(ops$client)
  expect_length(ops$bodies(), 5)
})

test_that("what waits is bounded", {
  ops <- local_room()
  local_replaced("most_waiting_messages", 5)
  take <- mx_logger_appender(
    ops$client,
    ops$room,
    interval = 0,
    per_minute = 1e6
  )
  local_away()
  told <- capture.output(type = "message", {
    for (i in 1:300) {
      take(paste("line", i))
    }
  })
  expect_equal(nrow(mx_outbox(ops$client)), 5)
  expect_length(log_of(take)[["lines"]], 100)
  expect_equal(log_of(take)[["left_out"]], 195)
  # Told once.
  expect_match(told, "the log is not posted to !.*The server is not reached")
})

test_that("nothing of the package comes back into the log", {
  skip_if_not_installed("logger")
  ops <- local_room()
  take <- NULL
  # As logger::log_warnings() and logger::log_messages() do.
  logged <- character()
  log_condition <- function(condition) {
    logged <<- c(logged, conditionMessage(condition))
    take(conditionMessage(condition))
  }
  take <- mx_logger_appender(
    ops$client,
    ops$room,
    interval = 0,
    per_minute = 1e6
  )
  local_replaced("pump", function(...) {
    # Also a line of another package's hook.
    take("ERROR from inside")
    message("hello")
    warning("ouch")
    mx_abort("failed", "mx_error_store")
  })
  withCallingHandlers(
    take("ERROR one"),
    warning = log_condition,
    message = log_condition,
    error = log_condition
  )
  expect_setequal(logged, character())
  expect_equal(mx_outbox(ops$client)$body, "ERROR one")
})

test_that("a store that cannot be written does not stop the program that logs", {
  ops <- local_room()
  take <- mx_logger_appender(ops$client, ops$room)
  local({
    local_replaced("machine_send", function(...) {
      structure(
        list(code = "store_locked", message = "busy"),
        class = "mxcrypt_failure"
      )
    })
    told <- capture.output(type = "message", expect_no_condition(take("kept")))
    expect_match(told, "busy")
  })
  mx_logger_flush()
  expect_equal(ops$bodies(), "kept")
})

test_that("an event loop posts what is collected", {
  skip_if_not_installed("later")
  ops <- local_room()
  take <- mx_logger_appender(ops$client, ops$room, interval = 0.3)
  take("one")
  take("two")
  expect_equal(ops$bodies(), "one")
  end <- Sys.time() + 10
  while (length(log_of(take)[["lines"]]) > 0L && Sys.time() < end) {
    later::run_now(0.1)
  }
  expect_equal(ops$bodies(), c("one", "two"))
})

test_that("wrong arguments are found when the appender is made", {
  ops <- local_room()
  make <- function(...) mx_logger_appender(ops$client, ...)
  expect_error(mx_logger_appender("x", "ops"), class = "mx_error_argument")
  expect_error(make("no such room"), class = "mx_error_room")
  expect_error(make("ops", interval = "5"), class = "mx_error_argument")
  expect_error(make("ops", per_minute = 0), class = "mx_error_argument")
  expect_error(make(), class = "mx_error_argument")
})

test_that("a saved appender, and a forked process, begin with no lines", {
  ops <- local_room()
  take <- mx_logger_appender(ops$client, ops$room)
  take("one")
  take("held here")
  file <- withr::local_tempfile()
  saveRDS(take, file)
  copy <- readRDS(file)
  # Another process, also of the same number.
  loaded_at <- the[["loaded_at"]]
  withr::defer(the[["loaded_at"]] <- loaded_at)
  the[["loaded_at"]] <- loaded_at + 1
  copy("of the copy")
  expect_equal(ops$bodies(), c("one", "of the copy"))
})

test_that("all requests of an attempt to post have ten seconds together", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  mx_room_create(alice, name = "ops")
  append_line <- mx_logger_appender(alice, "ops")
  left <- numeric()
  local_replaced("http_once", function(session, ...) {
    left <<- c(left, time_left())
    network_error("No response.")
  })
  utils::capture.output(append_line("ERROR x"), type = "message")
  expect_gt(length(left), 0)
  expect_lte(max(left), 10)
})

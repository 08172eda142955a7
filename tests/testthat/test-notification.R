# What a room is told of a job, and that the job does not notice.

# A room, and what is said in it.
notified <- function() {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  room <- mx_room_create(alice, name = "Pipeline")
  list(
    client = alice,
    room = room,
    said = function() messages(mx_messages(alice, room))
  )
}

# A server that is not there.
local_no_network <- function(.local_envir = parent.frame()) {
  local_replaced(
    "http_once",
    function(session, ...) network_error("No response."),
    .local_envir = .local_envir
  )
  withr::local_options(mxcrypt.pause = 0, .local_envir = .local_envir)
}

# What is written to the standard error. A sink of messages would have it too.
standard_error <- function(code) {
  file <- withr::local_tempfile()
  connection <- file(file, "w")
  sink(connection, type = "message")
  on.exit({
    sink(type = "message")
    close(connection)
  })
  force(code)
  flush(connection)
  paste(readLines(file), collapse = "\n")
}

test_that("code runs once, in its place, and its value comes back as it is", {
  to <- notified()
  runs <- 0
  work <- function() {
    runs <<- runs + 1
    visible <- withVisible(
      with_mx_notification(made <- runs, to$client, to$room)
    )
    list(visible, made)
  }
  expect_equal(work(), list(list(value = 1, visible = FALSE), 1))
  expect_equal(runs, 1)
  shown <- withVisible(with_mx_notification(1 + 1, to$client, to$room))
  expect_equal(shown, list(value = 2, visible = TRUE))
  expect_null(with_mx_notification(NULL, to$client, to$room))
  expect_match(
    to$said()$body,
    "^(Job|.*[.]R) finished after [0-9.]+ s[.](\n2)?$"
  )
})

test_that("a job that fails is told of, and its error is the same object", {
  to <- notified()
  error <- errorCondition(
    "no <data> today",
    class = "empty",
    call = quote(f(9))
  )
  inner <- function(password) stop(error)
  outer <- function() inner("hunter2")
  run <- function(...) {
    with_mx_notification(outer(), to$client, to$room, name = "Nightly", ...)
  }
  seen <- NULL
  calls <- function(condition) {
    seen <<- as.character(lapply(sys.calls(), `[[`, 1))
  }
  caught <- tryCatch(
    withCallingHandlers(run(), error = calls),
    error = identity
  )
  expect_identical(caught, error)
  # Handlers outside see the job's own frames.
  expect_true(all(c("outer", "inner", "stop") %in% seen))
  tryCatch(run(trace = FALSE), error = identity)
  said <- to$said()
  expect_equal(
    gsub(
      "mxcrypt [(]local[)] ",
      "",
      sub("after [0-9.]+ s", "after 1 s", said$body)
    ),
    c(
      paste0(
        "Nightly failed after 1 s.\nError in f() (empty)\nno <data> today\n\n",
        " 1. outer()\n 2. inner()"
      ),
      "Nightly failed after 1 s.\nError in f() (empty)\nno <data> today"
    )
  )
  expect_match(said$formatted_body[[1]], "no &lt;data&gt; today<pre><code>")
  expect_false(any(grepl("hunter2", unlist(said$content))))
  # Phones ring for texts, and not for notices.
  expect_equal(said$msgtype, c("m.text", "m.text"))
})

test_that("an error of rlang shows its own backtrace and its causes", {
  to <- notified()
  work <- function() {
    tryCatch(stop("disk full"), error = function(condition) {
      rlang::abort("not saved", parent = condition)
    })
  }
  expect_error(with_mx_notification(work(), to$client, to$room), "not saved")
  body <- to$said()$body
  expect_match(body, "not saved\nCaused by: Error.*\ndisk full\n")
  expect_match(body, "work()", fixed = TRUE)
})

test_that("an error that is handled within the job, or outside by a restart, is none", {
  to <- notified()
  work <- function() {
    tried <- try(stop("within"), silent = TRUE)
    withRestarts(stop("outside"), skip = function() "skipped")
  }
  value <- withCallingHandlers(
    with_mx_notification(work(), to$client, to$room),
    error = function(condition) invokeRestart("skip")
  )
  expect_equal(value, "skipped")
  expect_match(to$said()$body, "finished after .*\nskipped$")
})

test_that("warnings and messages pass, and stay with the job", {
  to <- notified()
  expect_warning(
    expect_message(
      value <- with_mx_notification(
        {
          message("half way")
          warning("careful")
          "done"
        },
        to$client,
        to$room
      ),
      "half way"
    ),
    "careful"
  )
  expect_equal(value, "done")
})

test_that("a job that is interrupted or left early is told of", {
  to <- notified()
  ended <- tryCatch(
    with_mx_notification(rlang::interrupt(), to$client, to$room),
    interrupt = function(condition) "interrupt"
  )
  expect_equal(ended, "interrupt")
  work <- function() {
    with_mx_notification(return("early"), to$client, to$room)
    "late"
  }
  expect_equal(work(), "early")
  caught <- tryCatch(
    with_mx_notification(warning("x"), to$client, to$room),
    warning = function(condition) "warning"
  )
  expect_equal(caught, "warning")
  expect_match(to$said()$body[[1]], "was interrupted after [0-9.]+ s[.]$")
  expect_match(to$said()$body[2:3], "was left early, without a value, after")
})

test_that("a job that uses up the stack of R is told of", {
  to <- notified()
  endless <- function() endless()
  withr::local_options(expressions = 500)
  expect_error(
    with_mx_notification(endless(), to$client, to$room),
    class = "stackOverflowError"
  )
  expect_match(
    to$said()$body,
    "failed after .*\nError \\(expressionStackOverflow"
  )
})

test_that("the beginning is a notice, and the end follows in its thread", {
  to <- notified()
  run <- function(...) {
    with_mx_notification(
      "x",
      to$client,
      to$room,
      name = "Fit",
      start = TRUE,
      ...
    )
  }
  run(mentions = "@bob:demo")
  said <- to$said()
  expect_equal(said$body[[1]], "Fit began.")
  expect_equal(said$msgtype, c("m.notice", "m.text"))
  expect_equal(said$thread, c(NA, said$event_id[[1]]))
  expect_equal(said$mentions, list(character(), "@bob:demo"))
  run(thread = FALSE)
  run(thread = said$event_id[[1]])
  threads <- to$said()$thread
  expect_equal(threads[3:6], c(NA, NA, rep(said$event_id[[1]], 2)))
})

test_that("of a job that succeeds nothing is said where only failures count", {
  to <- notified()
  run <- function(expr) {
    with_mx_notification(expr, to$client, to$room, when = "failure")
  }
  expect_equal(run(1), 1)
  expect_equal(nrow(to$said()), 0)
  expect_error(run(stop("x")))
  expect_equal(nrow(to$said()), 1)
})

test_that("values are short", {
  to <- notified()
  shown <- function(x, ...) {
    with_mx_notification(x, to$client, to$room, ...)
    utils::tail(to$said(), 1)
  }
  expect_no_match(shown(7, value = FALSE)$body, "7$")
  expect_match(shown(1:1e6)$body, " 50\n\u2026 and 999,950 more values$")
  expect_match(shown(cars)$body, "11 +17\n\u2026 and 40 more rows$")
  expect_match(
    shown(matrix(0, 1000, 500))$body,
    "class matrix \\(1000 x 500\\)[.]$"
  )
  expect_match(
    shown(list(1, "secret"))$body,
    "A value of class list \\(length 2\\)[.]$"
  )
  expect_match(shown(list("one"))$body, "A value of class list")
  expect_match(shown(sum)$body, "A value of class function")
  expect_match(shown(lm(dist ~ speed, cars))$body, "Coefficients:")
  expect_lt(nchar(shown(strrep("\u20ac", 1e6))$body), 4200)
  # print() of an app runs it.
  printed <- FALSE
  print.shiny.appobj <- function(x, ...) printed <<- TRUE
  registerS3method("print", "shiny.appobj", print.shiny.appobj)
  app <- structure(list(), class = "shiny.appobj")
  expect_match(shown(app)$body, "A value of class shiny.appobj")
  expect_false(printed)
  # A method that fails is no matter of the job's.
  registerS3method("print", "broken", function(x, ...) stop("no print"))
  expect_match(shown(structure(list(), class = "broken"))$body, "class broken")
  registerS3method("length", "sizeless", function(x) stop("no length"))
  sizeless <- structure(list(), class = "sizeless")
  expect_match(shown(sizeless)$body, "finished after")
  registerS3method("print", "sizeless", function(x, ...) stop("no print"))
  expect_match(shown(sizeless)$body, "class sizeless .its size cannot be")
})

test_that("an error in no function has no call of ours", {
  to <- notified()
  expect_error(with_mx_notification(stop("no data"), to$client, to$room))
  expect_match(to$said()$body, "\nError\nno data")
})

test_that("a job is called after its script", {
  name <- name_of_script
  expect_equal(name(c("R", "--file=/a/fit.R", "--args", "x")), "fit.R")
  # As `R CMD BATCH` calls it.
  expect_equal(name(c("R", "-f", "fit.R", "--restore")), "fit.R")
  expect_equal(name(c("R", "-f")), "Job")
  expect_equal(name(c("R", "--args", "-f", "other.R")), "Job")
})

test_that("no long text is posted as a whole", {
  to <- notified()
  shown <- function(x) {
    with_mx_notification(x, to$client, to$room)
    said <- to$said()
    expect_setequal(said$msgtype, "m.text")
    utils::tail(said$body, 1)
  }
  long <- strrep("a", 5e6)
  expect_match(shown(long), "finished after .*\na{1000,}[.]{3}$")
  expect_match(shown(c(NA, long, "b")), "NA\na{1000,}[.]{3}$")
  registerS3method("print", "wordy", function(x, ...) cat(long))
  expect_match(shown(structure(list(), class = "wordy")), "class wordy")
})

test_that("a value that is printed for ever is described", {
  to <- notified()
  registerS3method("print", "endless", function(x, ...) {
    repeat {
      Sys.sleep(0.1)
    }
  })
  local_replaced("longest_printing", 0.5)
  endless <- structure(list(), class = "endless")
  value <- with_mx_notification(endless, to$client, to$room)
  expect_identical(value, endless)
  expect_match(to$said()$body, "A value of class endless")
})

test_that("a plot is a picture behind the message", {
  skip_if_not_installed("ggplot2")
  skip_if_not(capabilities("png"))
  to <- notified()
  with_mx_notification(ggplot2::ggplot(), to$client, to$room)
  expect_equal(to$said()$msgtype, c("m.text", "m.image"))
})

test_that("an error that cannot be shown, or is long, is told of all the same", {
  to <- notified()
  run <- function(error) {
    got <- tryCatch(
      with_mx_notification(stop(error), to$client, to$room),
      error = identity
    )
    expect_identical(got, error)
    utils::tail(to$said()$body, 1)
  }
  registerS3method("conditionMessage", "mute", function(c) stop("no words"))
  shown <- error_message(errorCondition("x", class = "mute"), "no trace")
  expect_match(shown$text, "^Error \\(mute\\): its message cannot be shown$")
  expect_lt(nchar(run(simpleError(strrep("<\u20ac", 1e5)))), 4100)
  latin <- "caf\xe9"
  Encoding(latin) <- "bytes"
  expect_match(run(simpleError(latin)), "failed after")
})

test_that("without a network the job is as ever, and the message waits", {
  to <- notified()
  mx_send_text(to$client, to$room, "before")
  local_no_network()
  value <- NULL
  # Of the beginning, and of the end.
  expect_warning(
    warned <- expect_warning(
      value <- with_mx_notification("fine", to$client, to$room, start = TRUE),
      class = "mx_warning_notification"
    ),
    class = "mx_warning_notification"
  )
  expect_equal(value, "fine")
  expect_s3_class(warned$cause, "mx_error_network")
  expect_true(warned$numbers %in% mx_outbox(to$client)$number)
  # A handler of warnings does not take the place of the error.
  told <- standard_error({
    ended <- tryCatch(
      with_mx_notification(stop("the job"), to$client, to$room),
      warning = function(condition) "a warning",
      error = conditionMessage
    )
  })
  expect_equal(ended, "the job")
  expect_match(told, "Warning: The room was not notified.", fixed = TRUE)
  withr::with_options(list(warn = 2), {
    expect_equal(
      suppressWarnings(with_mx_notification("fine", to$client, to$room)),
      "fine"
    )
    standard_error(expect_error(
      with_mx_notification(stop("the job"), to$client, to$room),
      "^the job$"
    ))
  })
  expect_match(mx_outbox(to$client)$body, "began|finished|failed")
  expect_equal(nrow(mx_outbox(to$client)), 5)
})

test_that("options(warn = 2) makes no error of a job that succeeded", {
  # testthat would take the warning before R makes an error of it.
  value <- in_other_r(function() {
    alice <- mx_demo_client(mx_demo_homeserver(), "alice")
    room <- mx_room_create(alice)
    local_replaced("http_once", function(...) network_error("No response."))
    options(warn = 2, mxcrypt.pause = 0)
    with_mx_notification("fine", alice, room)
  })
  expect_equal(value, "fine")
})

test_that("a login that ends while the job runs changes nothing for it", {
  to <- notified()
  expect_warning(
    value <- with_mx_notification(
      {
        mx_logout(to$client, ask = FALSE)
        "fine"
      },
      to$client,
      to$room
    ),
    class = "mx_warning_notification"
  )
  expect_equal(value, "fine")
})

test_that("what is wrong with client or room is an error before the job runs", {
  to <- notified()
  ran <- FALSE
  try_it <- function(..., client = to$client, room = to$room) {
    with_mx_notification(ran <<- TRUE, client, room, ...)
  }
  for (wrong in list(
    quote(try_it(room = "no such room")),
    quote(try_it(room = "#no:demo")),
    quote(try_it(room = "")),
    quote(try_it(room = NULL)),
    quote(try_it(client = "alice")),
    quote(try_it(name = 1)),
    quote(try_it(start = NA)),
    quote(try_it(when = "never")),
    quote(try_it(mentions = "bob")),
    quote(try_it(thread = 1)),
    quote(try_it(timeout = -1))
  )) {
    expect_error(eval(wrong), class = "mx_error")
  }
  expect_error(with_mx_notification(), class = "mx_error_argument")
  mx_logout(to$client, ask = FALSE)
  expect_error(try_it(), class = "mx_error_signed_out")
  expect_false(ran)
})

test_that("telling draws no random numbers", {
  to <- notified()
  registerS3method("print", "random", function(x, ...) cat(runif(1), "\n"))
  set.seed(1)
  expected <- runif(1)
  set.seed(1)
  with_mx_notification(
    structure(1, class = "random"),
    to$client,
    to$room,
    start = TRUE
  )
  expect_equal(runif(1), expected)
})

test_that("a script that quits on errors tells of them before", {
  skip_on_cran()
  skip_if_not_installed("callr")
  script <- withr::local_tempfile(
    fileext = ".R",
    lines = c(
      "library(mxcrypt)",
      "alice <- mx_demo_client(mx_demo_homeserver(), 'alice')",
      "room <- mx_room_create(alice)",
      "options(error = quote({",
      "  cat(mx_messages(alice, room)$body)",
      "  quit(status = 3)",
      "}))",
      "with_mx_notification(stop('at night'), alice, room)"
    )
  )
  ended <- callr::rscript(script, fail_on_status = FALSE, show = FALSE)
  expect_equal(ended$status, 3)
  # A script gives the job its name.
  name <- basename(script)
  expect_match(ended$stdout, paste0(name, " failed after .*\nat night"))
})

test_that("durations are read at a glance", {
  seconds <- c(-1, 3.24, 59.96, 61, 3600, 3661, 90061)
  expect_equal(
    vapply(seconds, took_text, ""),
    c("0.0 s", "3.2 s", "1 min", "1 min 1 s", "1 h", "1 h 1 min", "1 d 1 h")
  )
})

test_that("an error in the code itself names no function of R's own", {
  to <- notified()
  try(
    with_mx_notification(stop("no data today"), to$client, to$room),
    silent = TRUE
  )
  said <- utils::tail(to$said()$body, 1)
  expect_match(said, "no data today")
  expect_false(grepl("withVisible", said))
})

# Listeners that do not block. What they share with mx_listen() is in test-listen.R.

skip_if_not_installed("later")
skip_if_not_installed("promises")

# Lets the event loop run until `condition()`. Returns the warnings on the way: `later`
# calls back beyond the handlers of who calls it.
run_until <- function(condition, seconds = 60) {
  warnings <- list()
  real <- get("mx_warn", asNamespace("mxcrypt"))
  local_replaced("mx_warn", function(...) {
    warnings[[length(warnings) + 1L]] <<- rlang::catch_cnd(real(...), "warning")
  })
  end <- Sys.time() + seconds
  while (!condition()) {
    if (Sys.time() > end) {
      stop("waited too long")
    }
    later::run_now(0.05)
  }
  warnings
}

run_for <- function(seconds) {
  end <- Sys.time() + seconds
  run_until(function() Sys.time() > end)
}

# A listener that ends with the test.
start <- function(
  client,
  handler,
  ...,
  types = "m.room.message",
  .local_envir = parent.frame()
) {
  listener <- mx_listen_start(client, handler, ..., types = types)
  withr::defer(listener$stop(), envir = .local_envir)
  listener
}

state <- function(listener) listener$status()[["state"]]
has_ended <- function(listener) function() state(listener) != "running"
has_handled <- function(listener, n) {
  function() listener$status()[["handled"]] >= n
}

# What a promise comes to.
settled <- function(promise) {
  result <- NULL
  promises::then(
    promise,
    function(value) result <<- list(value = value),
    function(condition) result <<- list(condition = condition)
  )
  run_until(function() !is.null(result))
  result
}

# A promise that the test settles, by its `resolve` and `reject`.
open_promise <- function() {
  self <- new.env()
  self$promise <- promises::promise(function(resolve, reject) {
    self$resolve <- resolve
    self$reject <- reject
  })
  self
}

# Pauses take no time. Returns what they would have taken.
local_no_pauses <- function(.local_envir = parent.frame()) {
  pauses <- new.env()
  real <- get("next_step", asNamespace("mxcrypt"))
  quick <- function(self, step, seconds = 0) {
    pauses[["taken"]] <- c(pauses[["taken"]], seconds)
    real(self, step, 0)
  }
  local_replaced("next_step", quick, .local_envir = .local_envir)
  function() setdiff(pauses[["taken"]], c(0, 0.2))
}

classes <- function(conditions) {
  vapply(conditions, function(condition) class(condition)[[1]], "")
}

test_that("it returns at once, and delivers each event once and in order", {
  pair <- demo_pair()
  seen <- list()
  listener <- start(pair$bob, function(event, client) {
    expect_identical(client, pair$bob)
    seen[[length(seen) + 1L]] <<- event
  })
  expect_s3_class(listener, "mx_listener")
  expect_length(seen, 0)
  expect_equal(state(listener), "running")
  expect_true(is.na(listener$status()$last_sync))
  mx_send_text(pair$alice, pair$room, c("one", "two"))
  expect_length(run_until(has_handled(listener, 2)), 0)
  mx_send_text(pair$alice, pair$room, "three")
  run_until(has_handled(listener, 3))
  bodies <- vapply(seen, function(event) event$body, "")
  expect_equal(bodies, c("one", "two", "three"))
  expect_named(seen[[1]], names(mx_sync(pair$bob)))
  status <- listener$status()
  expect_lt(abs(difftime(status$last_sync, Sys.time(), units = "secs")), 60)
  expect_equal(status$consumer, "mx_listen")
  expect_null(status$last_error)
  expect_match(format(listener), "running", all = FALSE)
  expect_match(format(listener), "3 events", all = FALSE)

  finished <- withVisible(listener$stop())
  expect_false(finished$visible)
  expect_equal(settled(finished$value)$value$handled, 3)
  expect_equal(state(listener), "stopped")
  expect_no_error(run_until(later::loop_empty, seconds = 5))
  # The next one continues there.
  mx_send_text(pair$alice, pair$room, "four")
  handled <- mx_listen(pair$bob, list, types = "m.room.message", seconds = 0)
  expect_equal(handled, 1)
})

test_that("what is wrong is an error at the start", {
  pair <- demo_pair()
  refused <- function(..., client = pair$bob, handler = list) {
    condition <- catch(mx_listen_start(client, handler, ...))
    expect_s3_class(condition, "mx_error")
    class(condition)[[1]]
  }
  expect_equal(refused(client = "bob"), "mx_error_argument")
  for (arguments in list(
    list(handler = "print"),
    list(handler = function() NULL),
    list(types = 1),
    list(own = NA),
    list(poll = -1),
    list(poll = "x"),
    list(consumer = ""),
    list(unsigned = NULL),
    list(on_verification = TRUE),
    list(on_error = "again")
  )) {
    asked <- requests_during(class <- do.call(refused, arguments))
    expect_equal(class, "mx_error_argument")
    expect_length(asked, 0)
  }
  expect_equal(refused(on_error = "again"), "mx_error_argument")

  listener <- start(pair$bob, list)
  expect_equal(refused(), "mx_error_listening")
  expect_error(
    mx_listen(pair$bob, list, seconds = 0),
    class = "mx_error_listening"
  )
  expect_no_error(start(pair$bob, list, consumer = "other")$stop())
  listener$stop()
  expect_no_error(start(pair$bob, list)$stop())

  mx_logout(pair$bob)
  expect_equal(refused(), "mx_error_signed_out")
})

test_that("the next event waits for the promise of a handler", {
  pair <- demo_pair()
  promises <- list()
  listener <- start(pair$bob, function(event) {
    promises[[event$body]] <<- open_promise()
    promises[[event$body]]$promise
  })
  mx_send_text(pair$alice, pair$room, c("one", "two"))
  run_until(function() length(promises) == 1)
  run_for(0.3)
  expect_named(promises, "one")
  expect_equal(listener$status()$handled, 0)
  promises$one$resolve("done")
  run_until(function() length(promises) == 2)
  expect_equal(listener$status()$handled, 1)
  promises$two$resolve(NULL)
  run_until(has_handled(listener, 2))
})

test_that("other jobs run between two events, and while a failed event waits", {
  pair <- demo_pair()
  order <- character()
  note <- function(what) order <<- c(order, what)
  job <- function() {
    note("job")
    cancel <<- later::later(job, 0.01)
  }
  cancel <- later::later(job, 0.01)
  withr::defer(cancel())
  tried <- 0
  listener <- start(pair$bob, function(event) {
    note(event$body)
    Sys.sleep(0.02)
    tried <<- tried + 1
    if (tried == 1) {
      stop("once")
    }
  })
  mx_send_text(pair$alice, pair$room, c("one", "two"))
  warnings <- run_until(has_handled(listener, 2))
  expect_equal(classes(warnings), "mx_warning_handler")
  # A pause of a second, without a blocking call in it.
  between <- rle(order)
  expect_equal(
    between$values,
    c("job", "one", "job", "one", "job", "two", "job")[
      seq_along(between$values)
    ]
  )
  expect_gt(between$lengths[[3]], 20)
})

test_that("an event is set aside after three tries, which the store counts", {
  pauses <- local_no_pauses()
  for (kind in c("error", "promise")) {
    pair <- demo_pair()
    mx_sync(pair$bob)
    mx_listen(pair$bob, list, seconds = 0)
    tried <- character()
    listener <- start(pair$bob, function(event) {
      tried <<- c(tried, event$body)
      if (event$body != "poison") {
        NULL
      } else if (kind == "error") {
        stop("it fails")
      } else {
        promises::promise_reject("it fails")
      }
    })
    poison <- mx_send_text(pair$alice, pair$room, "poison")
    mx_send_text(pair$alice, pair$room, "cure")
    warnings <- run_until(has_handled(listener, 1))
    expect_equal(tried, c("poison", "poison", "poison", "cure"))
    expect_equal(unique(classes(warnings)), "mx_warning_handler")
    set_aside <- vapply(warnings, function(x) x$set_aside, NA)
    expect_equal(set_aside, c(FALSE, FALSE, TRUE))
    expect_match(conditionMessage(listener$status()$last_error), "it fails")
    expect_match(format(listener), "last error: it fails", all = FALSE)
    events <- mx_sync(pair$bob)
    report <- events[events$type == "mxcrypt.handler_failed", ]
    expect_equal(report$event_id, poison)
    expect_match(report$body, "it fails", fixed = TRUE)
    listener$stop()
  }
  expect_setequal(pauses(), c(1, 2))
})

test_that("on_error decides, also to end the listener", {
  local_no_pauses()
  pair <- demo_pair()
  mx_sync(pair$bob)
  mx_listen(pair$bob, list, seconds = 0)
  tried <- character()
  handler <- function(event) {
    tried <<- c(tried, event$body)
    if (event$body != "fine") stop("no ", event$body)
  }
  decide <- function(condition, event) {
    expect_equal(conditionMessage(condition), paste("no", event$body))
    event$body
  }
  mx_send_text(pair$alice, pair$room, c("skip", "retry", "odd", "fine"))
  listener <- start(pair$bob, handler, on_error = decide)
  warnings <- run_until(has_handled(listener, 1))
  expect_equal(tried, rep(c("skip", "retry", "odd", "fine"), c(1, 3, 3, 1)))
  expect_true(all(classes(warnings) == "mx_warning_handler"))

  for (on_error in list(decide, "stop")) {
    tried <- character()
    mx_send_text(pair$alice, pair$room, "stop")
    # It comes again, however often.
    for (i in 1:4) {
      listener$stop()
      listener <- start(pair$bob, handler, on_error = on_error)
      warnings <- run_until(has_ended(listener))
      expect_equal(classes(warnings), "mx_warning_listener")
      expect_equal(conditionMessage(warnings[[1]]$cause), "no stop")
    }
    expect_equal(tried, rep("stop", 4))
    status <- listener$status()
    expect_equal(status$state, "failed")
    expect_equal(conditionMessage(status$last_error), "no stop")
    failure <- settled(listener$finished)$condition
    expect_equal(conditionMessage(failure), "no stop")
    expect_equal(settled(listener$stop())$condition, failure)
    mx_listen(pair$bob, list, "m.room.message", seconds = 0)
  }
})

test_that("stop() ends a long poll at once, and leaves no lock", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  mx_sync(alice)
  fake$forget()
  fake$fault("GET", "/sync", delay = 60)
  listener <- start(alice, list)
  run_until(function() length(fake$seen("GET", "/sync")) > 0)
  took <- elapsed(finished <- settled(listener$stop()))
  expect_lt(took, 2)
  expect_equal(finished$value$state, "stopped")
  expect_no_error(mx_listen(alice, list, seconds = 0))
  run_for(0.3)
  # Nothing is under way, and nothing will be.
  expect_length(fake$seen("GET", "/sync"), 2)
  expect_no_error(run_until(later::loop_empty, seconds = 5))
  expect_equal(settled(listener$stop())$value$state, "stopped")
})

test_that("stop() in a handler ends the listener after that event", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, c("one", "two"))
  heard <- character()
  listener <- start(pair$bob, function(event) {
    heard <<- c(heard, event$body)
    listener$stop()
    listener$stop()
    expect_equal(state(listener), "running")
  })
  expect_length(run_until(has_ended(listener)), 0)
  expect_equal(heard, "one")
  expect_equal(settled(listener$finished)$value$handled, 1)
  listener <- start(pair$bob, function(event) heard <<- c(heard, event$body))
  run_until(has_handled(listener, 1))
  expect_equal(heard, c("one", "two"))
})

test_that("stop() waits for the promise of a handler; a second one does not", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, c("one", "two"))
  at_work <- NULL
  handler <- function(event) {
    at_work <<- open_promise()
    at_work$body <- event$body
    at_work$promise
  }
  listener <- start(pair$bob, handler)
  run_until(function() !is.null(at_work))
  listener$stop()
  run_for(0.2)
  expect_equal(state(listener), "running")
  at_work$resolve(NULL)
  run_until(has_ended(listener))
  expect_equal(state(listener), "stopped")
  expect_equal(listener$status()$handled, 1)

  # More often than an event is tried.
  for (i in 1:4) {
    at_work <- NULL
    listener <- start(pair$bob, handler)
    run_until(function() !is.null(at_work))
    expect_equal(at_work$body, "two")
    listener$stop()
    listener$stop()
    expect_equal(state(listener), "stopped")
    # It is too late.
    at_work$resolve(NULL)
    run_for(0.05)
    expect_equal(listener$status()$handled, 0)
  }
})

test_that("stop() ends the pause before the next try", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "one")
  listener <- start(pair$bob, function(event) stop("fails"))
  run_until(function() !is.null(listener$status()$last_error))
  listener$stop()
  expect_equal(state(listener), "stopped")
  expect_no_error(run_until(later::loop_empty, seconds = 5))
  heard <- character()
  start(pair$bob, function(event) heard <<- event$body)
  run_until(function() length(heard) == 1)
})

test_that("a server that is away is a warning, and the listener goes on", {
  withr::local_options(mxcrypt.max_tries = 1)
  pauses <- local_no_pauses()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake)
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  mx_send_text(alice, room, "still there?")
  fake$fault("GET", "/sync", status = 502, body = "<html>", times = 8)
  heard <- character()
  listener <- start(bob, function(event) heard <<- event$body, poll = 1)
  warnings <- run_until(function() length(heard) > 0)
  expect_equal(heard, "still there?")
  expect_equal(classes(warnings), rep("mx_warning_network", 8))
  expect_equal(pauses(), c(1, 2, 4, 8, 16, 32, 60))
  expect_match(conditionMessage(listener$status()$last_error), "502")
})

test_that("a verdict of the server ends the listener", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  mx_sync(alice)
  gone <- '{"errcode":"M_FORBIDDEN","error":"gone"}'
  fake$fault("GET", "/sync", status = 403, body = gone)
  listener <- start(alice, list)
  warnings <- run_until(has_ended(listener))
  expect_equal(classes(warnings), "mx_warning_listener")
  expect_s3_class(warnings[[1]]$cause, "mx_error_M_FORBIDDEN")
  expect_match(conditionMessage(warnings[[1]]), "gone")
  expect_equal(state(listener), "failed")
  expect_no_error(run_until(later::loop_empty, seconds = 5))
  # Also what another call does here.
  listener <- start(alice, list, poll = 0)
  run_until(function() !is.na(listener$status()$last_sync))
  mx_logout(alice)
  run_until(has_ended(listener))
  expect_s3_class(listener$status()$last_error, "mx_error_M_MISSING_TOKEN")
})

test_that("a listener needs no object that is kept, and no object keeps it", {
  pair <- demo_pair()
  heard <- character()
  mx_listen_start(
    pair$bob,
    function(event) heard <<- c(heard, event$body),
    types = "m.room.message"
  )
  gc()
  mx_send_text(pair$alice, pair$room, "hello")
  run_until(function() length(heard) > 0)
  expect_length(the[["listeners"]], 1)
  end_listeners()
  expect_length(the[["listeners"]], 0)
  expect_no_error(run_until(later::loop_empty, seconds = 5))
})

test_that("warnings are told at once, and as errors end the listener aloud", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "one")
  levels <- numeric()
  withr::local_options(warn = 0)
  listener <- start(pair$bob, function(event) {
    levels <<- getOption("warn")
  })
  run_until(has_handled(listener, 1))
  expect_equal(c(levels, getOption("warn")), c(1, 0))
  listener$stop()

  mx_send_text(pair$alice, pair$room, "two")
  withr::local_options(warn = 2)
  listener <- start(pair$bob, function(event) stop("fails"))
  end <- Sys.time() + 60
  # Not in run_until(), where warnings do not become errors.
  told <- capture.output(type = "message", {
    while (!has_ended(listener)() && Sys.time() < end) {
      later::run_now(0.05)
    }
  })
  expect_equal(state(listener), "failed")
  expect_match(told, "has ended", all = FALSE)
  reason <- listener$status()$last_error
  expect_match(conditionMessage(reason), "The handler failed")
})

test_that("an interrupt stops the listener, and is no verdict on the event", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "long")
  for (i in 1:4) {
    listener <- start(pair$bob, function(event) rlang::interrupt())
    end <- Sys.time() + 60
    outcome <- tryCatch(
      while (Sys.time() < end) {
        later::run_now(0.05)
      },
      interrupt = function(condition) "interrupted"
    )
    expect_equal(outcome, "interrupted")
    expect_equal(state(listener), "stopped")
  }
  heard <- character()
  start(pair$bob, function(event) heard <<- event$body)
  run_until(function() length(heard) == 1)
})

test_that("the event loop may run in a handler, which is not called again", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, c("one", "two", "three"))
  depth <- 0
  deepest <- 0
  listener <- start(pair$bob, function(event, client) {
    depth <<- depth + 1
    deepest <<- max(depth, deepest)
    for (i in 1:5) {
      later::run_now(0.02)
    }
    mx_send_text(client, event$room_id, "pong")
    mx_listen(client, list, seconds = 0, consumer = "inner")
    depth <<- depth - 1
  })
  run_until(has_handled(listener, 3))
  expect_equal(deepest, 1)
  bodies <- new_bodies(pair$alice)
  expect_equal(sum(bodies == "pong"), 3)
})

test_that("two consumers each get all events", {
  pair <- demo_pair()
  heard <- list()
  hear <- function(name) {
    function(event) heard[[name]] <<- c(heard[[name]], event$body)
  }
  listeners <- list(
    start(pair$bob, hear("a"), consumer = "a"),
    start(pair$bob, hear("b"), consumer = "b")
  )
  mx_send_text(pair$alice, pair$room, c("one", "two", "three"))
  for (listener in listeners) {
    run_until(has_handled(listener, 3))
  }
  expect_equal(heard$a, c("one", "two", "three"))
  expect_equal(heard$b, heard$a)
})

test_that("on_verification decides, and one that fails leaves it for later", {
  pair <- demo_pair()
  verification <- mx_verification_request(pair$alice, pair$bob$user_id)
  asked <- 0
  listener <- start(pair$bob, list, on_verification = function(verification) {
    asked <<- asked + 1
    if (asked == 1) stop("undecided") else TRUE
  })
  accepted <- function() {
    mx_sync(pair$alice)
    current_verification(verification)$state != "requested"
  }
  warnings <- run_until(accepted)
  expect_equal(classes(warnings), "mx_warning_verification")
  expect_gte(asked, 2)
})

test_that("a forked child does not run the listener of its parent", {
  skip_on_os("windows")
  skip_on_cran()
  found <- in_other_r(function() {
    pair <- demo_pair()
    mx_send_text(pair$alice, pair$room, "one")
    heard <- 0
    listener <- mx_listen_start(
      pair$bob,
      function(event) heard <<- heard + 1,
      types = "m.room.message"
    )
    child <- forked(function(i) {
      for (j in 1:20) {
        later::run_now(0.05)
      }
      listener$stop()
      list(
        heard = heard,
        state = listener$status()$state,
        again = class(catch(mx_listen(pair$bob, list, seconds = 0)))
      )
    })[[1]]
    end <- Sys.time() + 30
    while (heard == 0 && Sys.time() < end) {
      later::run_now(0.05)
    }
    list(child = child, heard = heard, state = listener$status()$state)
  })
  expect_equal(found$child$heard, 0)
  expect_equal(found$child$state, "stopped")
  expect_true("mx_error_listening" %in% found$child$again)
  expect_equal(found$heard, 1)
  expect_equal(found$state, "running")
})

test_that("a server that never waits is not asked without end", {
  pair <- demo_pair()
  mx_sync(pair$bob)
  listener <- start(pair$bob, list, poll = 0)
  asked <- requests_during(run_for(1))
  expect_lte(sum(grepl("/sync", asked)), 7)
  expect_gte(sum(grepl("/sync", asked)), 2)
})

test_that("what another process has received is delivered before the server may wait", {
  pair <- demo_pair()
  mx_sync(pair$bob)
  waits <- noted_waits()
  listener <- start(pair$bob, function(event) NULL, poll = 30)
  run_until(function() !is.na(listener$status()$last_sync))
  expect_equal(waits()[[1]], 0)
  run_until(function() {
    seen <- waits()
    length(seen) > 0L && seen[[length(seen)]] == 30000
  })
  # Between the last look into the store and the next request.
  pause <- get("pause_between_polls", asNamespace("mxcrypt"))
  is_done <- FALSE
  local_replaced("pause_between_polls", function(self) {
    if (!is_done) {
      is_done <<- TRUE
      mx_send_text(pair$alice, pair$room, "hello")
      mx_sync(pair$bob, consumer = "another")
      waits()
    }
    pause(self)
  })
  run_until(has_handled(listener, 1))
  expect_equal(waits()[[1]], 0)
})

test_that("mx_listen() delivers what is in the store before the server may wait", {
  pair <- demo_pair()
  mx_sync(pair$bob, consumer = "another")
  waits <- noted_waits()
  mx_listen(pair$bob, function(event) NULL, seconds = 0.2, poll = 30)
  expect_equal(waits()[[1]], 0)
})

test_that("a handler whose last line is stop() does not wait for itself", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, c("one", "two"))
  listener <- start(pair$bob, function(event) listener$stop())
  run_until(has_ended(listener), 10)
  expect_equal(listener$status()[["handled"]], 1)
})

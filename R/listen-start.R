# A listener that does not block: the steps of mx_listen() as callbacks of `later`. One
# step runs at a time, and starts the next one when it has ended.
#
# Nothing may leave a callback: an error there would end the Shiny app or the API whose
# event loop it is.

#' Listen in the background
#'
#' `mx_listen_start()` listens as [mx_listen()] does, and returns at once: the console, a
#' 'Shiny' app, a 'plumber' API or other jobs of `later` continue while it waits for
#' events. In a script that does nothing else, use [mx_listen()]: a script has no event
#' loop, and ends with its last line.
#'
#' Events are delivered whenever R runs its event loop: at the console while R waits for
#' input, in `shiny::runApp()` and `plumber::pr_run()`. A script can run it by calling
#' `later::run_now(1)` until the listener has ended.
#'
#' R does one thing at a time. While a handler computes, everything else waits, so a long
#' one should return a promise, and use [mx_send_async()] and its like in place
#' of functions that wait for the server. Each event is delivered in a callback of its own;
#' between two events R does what else is due.
#'
#' The listener continues when its object is deleted. It ends with `stop()`, by an error
#' that will not pass, or with R. A forked child of R, such as those of
#' `parallel::mclapply()`, does not listen.
#'
#' @inheritParams mx_listen
#' @param handler A function of an event (a list with the columns of
#'   [mx_sync()]) and the client, or of the event alone. If it returns a promise, the event
#'   counts as processed when the promise is resolved, and has failed when it is rejected.
#'   The next event waits for that.
#' @param poll How many seconds the server may wait with its response when there is
#'   nothing new.
#' @param consumer A name for this listener. Each has its own position in the
#'   stream of events, and resumes there. Several listeners in one or in several
#'   processes need different names.
#' @param on_verification A function of a [verification][mx_verification_request()], or
#'   `NULL` to ignore verifications: see [mx_listen()]. The few requests of a verification
#'   do block.
#' @param on_error What happens to an event whose handler fails: see [mx_listen()]. With
#'   `"stop"` the listener fails with the handler's error.
#' @return An object of class `mx_listener`, a list of:
#'   * `stop()`: ends the listener. While it waits for the server or for the next try of an
#'     event, it ends at once. While a handler is at work, it ends when that event is
#'     processed; if this is a promise, a second `stop()` ends it at once, and the event is
#'     delivered again by the next listener. Returns `finished`, invisibly; in a handler,
#'     which cannot wait for its own end, a promise of `NULL`.
#'   * `status()`: a list of `state` (`"running"`, `"stopped"` or `"failed"`), `consumer`,
#'     `since` (when it started), `handled` (the number of events that the handler
#'     processed), `last_sync` (when the server last responded, or `NA`), `silent_for` (the
#'     seconds since then, or since the start, whatever the clock was set to meanwhile) and
#'     `last_error` (the last failure as a condition, or `NULL`; the reason if the state is
#'     `"failed"`).
#'   * `finished`: a promise of `status()`. It is resolved when the listener has stopped,
#'     and rejected with the error when it has failed.
#' @section Errors:
#' What can be known is checked before `mx_listen_start()` returns: `mx_error_argument`;
#' `mx_error_signed_out` if the client has no login; `mx_error_listening` if the consumer
#' listens already, here or in another process; those of the store; `mx_error_package` if
#' 'later' or 'promises' is not installed.
#'
#' Afterwards there are only warnings, which appear at once. A server that does not respond
#' is a warning of class `mx_warning_network`, as with [mx_listen()], and the request is
#' repeated after pauses of 1 to 60 seconds for as long as it takes. A failure of the
#' handler is one of class `mx_warning_handler`. An error that will not pass, such as a
#' login that was ended, is a warning of class `mx_warning_listener` with the error in
#' `cause`, and the `state` is `"failed"`. With `options(warn = 2)` the first warning of the
#' listener is such an error.
#'
#' An interrupt (Ctrl-C) while the handler is at work stops the listener. The event is
#' delivered again by the next one.
#' @family receiving
#' @examplesIf rlang::is_installed(c("later", "promises"))
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' bob <- mx_demo_client(homeserver, "bob")
#' room <- mx_room_create(alice, invite = bob$user_id)
#' mx_room_join(bob, room)
#'
#' listener <- mx_listen_start(
#'   bob,
#'   function(event) cat(event$sender, "says", event$body, "\n"),
#'   types = "m.room.message"
#' )
#' listener
#'
#' mx_send_text(alice, room, c("one", "two"))
#' # Not needed at the console, which does this while it waits for input.
#' while (listener$status()$handled < 2) {
#'   later::run_now(1)
#' }
#' listener$stop()
#' listener$status()$state
#' @export
mx_listen_start <- function(
  client,
  handler,
  types = NULL,
  own = FALSE,
  poll = 30,
  consumer = "mx_listen",
  unsigned = FALSE,
  on_verification = NULL,
  on_error = "retry"
) {
  check_package("later")
  check_package("promises")
  rules <- listener_rules(
    client,
    handler,
    types,
    own,
    poll,
    consumer,
    unsigned,
    on_verification,
    on_error
  )
  start_listener(client, rules, poll, on_verification)
}

# `on_warning` is a function of each warning of a step, in place of R's own way. Handlers
# of the caller do not reach into callbacks of `later`.
start_listener <- function(
  client,
  rules,
  poll,
  on_verification,
  on_warning = NULL,
  call = caller_env()
) {
  check_has_login(client, call)
  # What comes from now on is kept for it, also before it is delivered for the first time.
  consumer <- rules[["consumer"]]
  core(machine_take(machine_of(client), consumer, 0, rules[["unsigned"]]))
  lock <- listen_as(client, consumer, call)
  self <- new_listener(client, rules, lock)
  self[["poll"]] <- check_timeout(poll * 1000)
  self[["on_verification"]] <- on_verification
  self[["on_warning"]] <- on_warning
  listeners <- the[["listeners"]]
  listeners[[lock_key(lock)]] <- self
  the[["listeners"]] <- listeners
  next_step(self, poll_step)
  structure(
    list(
      stop = function() invisible(listener_stop(self)),
      status = function() listener_status(self),
      finished = self[["finished"]]
    ),
    class = "mx_listener"
  )
}

# A request without a token would be refused, a minute later and far from the call.
check_has_login <- function(client, call = caller_env()) {
  token <- session_token(client)
  check_signed_in(client, token, call)
  if (is.null(token)) {
    mx_abort(
      c(
        paste0("There is no access token for ", client[["user_id"]], "."),
        i = "Sign in again with mx_client_relogin(client): the device keeps its keys."
      ),
      c("mx_error_signed_out", "mx_error_M_MISSING_TOKEN"),
      call = call
    )
  }
}

new_listener <- function(client, rules, lock) {
  self <- new.env(parent = emptyenv())
  self[["client"]] <- client
  self[["rules"]] <- rules
  self[["lock"]] <- lock
  self[["process"]] <- Sys.getpid()
  self[["loop"]] <- later::current_loop()
  self[["driver"]] <- async_driver()
  self[["state"]] <- "running"
  self[["since"]] <- Sys.time()
  self[["heard_at"]] <- monotonic_time()
  self[["handled"]] <- 0
  # What is in the store already is delivered before the server may wait.
  self[["seen"]] <- -1
  self[["last_sync"]] <- .POSIXct(NA_real_)
  # Seconds until the next try after an outage.
  self[["pause"]] <- 1
  self[["flush"]] <- TRUE
  self[["in_step"]] <- FALSE
  self[["is_stopping"]] <- FALSE
  self[["finished"]] <- promises::promise(function(resolve, reject) {
    self[["resolve"]] <- resolve
    self[["reject"]] <- reject
  })
  # `promises` warns of a rejection that nobody looks at; the listener does so itself.
  promises::catch(self[["finished"]], function(condition) NULL)
  self
}

is_running <- function(self) {
  self[["state"]] == "running" && is_own_process(self)
}

# A forked child has the callbacks of its parent, and must not run them.
is_own_process <- function(self) {
  self[["process"]] == Sys.getpid()
}

listener_status <- function(self) {
  list(
    state = if (is_own_process(self)) self[["state"]] else "stopped",
    consumer = self[["rules"]][["consumer"]],
    since = self[["since"]],
    handled = self[["handled"]],
    last_sync = self[["last_sync"]],
    silent_for = monotonic_time() - self[["heard_at"]],
    last_error = self[["last_error"]]
  )
}

# Steps ------------------------------------------------------------------------

# Calls `step` from the event loop that the listener was started in. Never directly from a
# promise: `promises` keeps what called what, and would keep all that the listener ever
# did. And requests have an event loop of their own, which also runs while R waits in a
# call of the user: that is no time for a handler.
next_step <- function(self, step, seconds = 0) {
  if (is_running(self)) {
    self[["cancel_step"]] <- later::later(
      function() run_step(self, step),
      seconds,
      loop = self[["loop"]]
    )
  }
}

# Continues with `step` of the value when a promise is resolved, and with `otherwise` of
# the condition when it is rejected; not at all when the listener has ended until then.
await <- function(self, promise, step, otherwise) {
  go_on <- function(step) {
    function(value) {
      next_step(self, function(self) step(self, value))
      NULL
    }
  }
  promises::then(promise, go_on(step), go_on(otherwise))
}

run_step <- function(self, step) {
  if (!is_running(self)) {
    return(invisible())
  }
  old <- immediate_warnings()
  self[["in_step"]] <- TRUE
  has_returned <- FALSE
  on.exit({
    self[["in_step"]] <- FALSE
    # An interrupt, or the end of a debugger.
    if (!has_returned) {
      end_listener(self, "stopped")
    }
    options(old)
  })
  withCallingHandlers(
    tryCatch(step(self), error = function(condition) {
      step_failed(self, condition)
    }),
    warning = function(condition) pass_warning(self, condition)
  )
  has_returned <- TRUE
  if (self[["is_stopping"]] && is.null(self[["at_work"]])) {
    end_listener(self, "stopped")
  }
}

# What passes does not end a listener, whichever step it hits.
step_failed <- function(self, condition) {
  tryCatch(
    {
      if (!is_outage(condition)) {
        raise(condition)
      }
      withdraw(self)
      self[["last_error"]] <- condition
      warn_of_outage(condition)
      next_step(self, poll_step, self[["pause"]])
      self[["pause"]] <- min(2 * self[["pause"]], 60)
    },
    error = function(condition) fail_listener(self, condition)
  )
}

pass_warning <- function(self, condition) {
  if (!is.null(self[["on_warning"]])) {
    self[["on_warning"]](condition)
    rlang::cnd_muffle(condition)
  }
}

poll_step <- function(self) {
  self[["polled_at"]] <- monotonic_time()
  self[["is_idle"]] <- TRUE
  driver <- self[["driver"]]
  synced <- sync_once_promise(
    self[["client"]],
    self[["poll"]],
    driver,
    has_come(self[["client"]], self[["seen"]])
  )
  await(self, synced, pump_step, step_failed)
}

pump_step <- function(self, report) {
  self[["last_sync"]] <- Sys.time()
  self[["heard_at"]] <- monotonic_time()
  self[["pause"]] <- 1
  pumped <- pump_or_warn_promise(
    self[["client"]],
    flush = self[["flush"]],
    # Another listener of this store may be at it: what it learns of devices decides
    # which events are delivered with their content.
    settle = 5,
    driver = self[["driver"]]
  )
  self[["flush"]] <- FALSE
  await(self, pumped, pumped_step, step_failed)
}

pumped_step <- function(self, ...) {
  self[["seen"]] <- last_event(self[["client"]])
  check_listens(self[["lock"]], self[["rules"]][["consumer"]])
  self[["next_delivery"]] <- deliveries(self[["client"]], self[["rules"]])
  deliver_step(self)
}

deliver_step <- function(self) {
  delivery <- self[["next_delivery"]]()
  if (is.null(delivery)) {
    return(finish_round(self))
  }
  self[["is_idle"]] <- FALSE
  if (is_passed_over(delivery)) {
    next_step(self, deliver_step)
  } else {
    try_step(self, delivery)
  }
}

finish_round <- function(self) {
  decide <- self[["on_verification"]]
  if (!is.null(decide)) {
    decide_verifications(self[["client"]], patient_decision(decide))
  }
  next_step(self, poll_step, pause_between_polls(self))
}

# A server that responds at once though there is nothing new, such as the demo homeserver,
# is not asked without end.
pause_between_polls <- function(self) {
  took <- monotonic_time() - self[["polled_at"]]
  if (self[["is_idle"]] && took < 0.2) 0.2 else 0
}

# Delivery ---------------------------------------------------------------------

try_step <- function(self, delivery) {
  rules <- self[["rules"]]
  try <- begin_try(delivery, rules)
  if (is.null(try)) {
    return(delivered(self, delivery, FALSE))
  }
  self[["at_work"]] <- delivery
  failed <- function(self, reason) {
    handler_failed(self, delivery, as_condition(reason), try)
  }
  value <- tryCatch(
    as_awaited(rules[["handler"]](delivery[["event"]], self[["client"]])),
    error = function(condition) list(condition = condition)
  )
  if (!is.null(value[["condition"]])) {
    failed(self, value[["condition"]])
  } else if (is.null(value[["promise"]])) {
    delivered(self, delivery, TRUE)
  } else {
    await(
      self,
      value[["promise"]],
      function(self, value) delivered(self, delivery, TRUE),
      failed
    )
  }
}

# What a handler returned, as a promise where it is one. Only its end matters.
as_awaited <- function(value) {
  if (promises::is.promising(value)) {
    list(promise = promises::as.promise(value))
  }
}

# A promise can be rejected with anything.
as_condition <- function(reason) {
  if (inherits(reason, "condition")) {
    return(reason)
  }
  simpleError(if (is_string(reason)) reason else "The promise was rejected.")
}

handler_failed <- function(self, delivery, condition, try) {
  self[["last_error"]] <- condition
  on_error <- self[["rules"]][["on_error"]]
  decision <- decide_error(on_error, condition, delivery[["event"]])
  if (decision == "stop") {
    return(fail_listener(self, condition))
  }
  self[["at_work"]] <- NULL
  failure <- list(condition = condition, decision = decision)
  pause <- pause_before_retry(delivery, failure, try)
  if (is.null(pause)) {
    delivered(self, delivery, FALSE)
  } else {
    next_step(self, function(self) try_step(self, delivery), pause)
  }
}

delivered <- function(self, delivery, is_handled) {
  self[["at_work"]] <- NULL
  delivery[["acknowledge"]]()
  self[["handled"]] <- self[["handled"]] + is_handled
  next_step(self, deliver_step)
}

# The event at which the handler was at work comes again, as if it had not been tried.
withdraw <- function(self) {
  delivery <- self[["at_work"]]
  self[["at_work"]] <- NULL
  if (!is.null(delivery)) {
    delivery[["withdraw_attempt"]]()
  }
}

# The end ----------------------------------------------------------------------

listener_stop <- function(self) {
  if (is_running(self)) {
    waits_for_handler <- !is.null(self[["at_work"]]) && !self[["is_stopping"]]
    self[["is_stopping"]] <- TRUE
    # Called by the handler, it ends with the step that calls the handler.
    if (!self[["in_step"]] && !waits_for_handler) {
      end_listener(self, "stopped")
    }
  }
  # `function(event) listener$stop()` returns this: it must not wait for its own end.
  if (self[["in_step"]]) {
    return(promises::promise_resolve(NULL))
  }
  self[["finished"]]
}

end_listener <- function(self, state) {
  if (!is_running(self)) {
    return(invisible())
  }
  self[["state"]] <- state
  self[["cancel_step"]]()
  self[["driver"]][["cancel"]]()
  tryCatch(
    withdraw(self),
    mx_error = function(condition) {
      self[["last_error"]] <- self[["last_error"]] %||% condition
    },
    # It ends in any case.
    interrupt = function(condition) NULL
  )
  listeners <- the[["listeners"]]
  listeners[[lock_key(self[["lock"]])]] <- NULL
  the[["listeners"]] <- listeners
  end_lock(self[["lock"]])
  if (state == "failed") {
    self[["reject"]](self[["last_error"]])
  } else {
    self[["resolve"]](listener_status(self))
  }
}

fail_listener <- function(self, condition) {
  self[["last_error"]] <- condition
  end_listener(self, "failed")
  message <- c(
    paste0(
      "The listener \"",
      printable(self[["rules"]][["consumer"]]),
      "\" of ",
      self[["client"]][["user_id"]],
      " has ended."
    ),
    x = error_text(condition),
    i = "Start it again with mx_listen_start(). It continues where it was."
  )
  # With `options(warn = 2)` a warning would be an error, which must not leave a callback.
  tryCatch(
    mx_warn(message, "mx_warning_listener", cause = condition),
    error = function(error) inform(message)
  )
}

# When the package is unloaded.
end_listeners <- function() {
  for (self in the[["listeners"]]) {
    end_listener(self, "stopped")
  }
}

# Printing ---------------------------------------------------------------------

#' @export
print.mx_listener <- function(x, ...) {
  print_lines(format(x, ...))
  invisible(x)
}

#' @export
format.mx_listener <- function(x, ...) {
  status <- x[["status"]]()
  error <- status[["last_error"]]
  last_sync <- status[["last_sync"]]
  c(
    paste0("<mx_listener> ", status[["state"]]),
    paste0("consumer:   ", printable(status[["consumer"]])),
    paste0("since:      ", format(status[["since"]], usetz = TRUE)),
    paste0("handled:    ", plural(status[["handled"]], "event")),
    paste0(
      "last sync:  ",
      if (is.na(last_sync)) "none yet" else format(last_sync, usetz = TRUE)
    ),
    if (!is.null(error)) {
      paste0("last error: ", shortened(printable(error_text(error)), 200L))
    }
  )
}

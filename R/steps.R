# Steps of calls that make requests. Each is written once, for both forms of a call: the
# one in which R waits, and the one that returns a promise (see async.R).
#
# A step makes no request itself. http_perform() and pause_for() return a value, or a
# promise of it if their client has a `driver` (see async-http.R). The functions here
# continue with either of them. Where it is a value, all is as if they were not there:
# errors, interrupts and `on.exit()` take their usual way.

is_promise <- function(x) inherits(x, "promise")

# Calls `step` with a value, now or once it is there.
and_then <- function(value, step) {
  if (is_promise(value)) promises::then(value, as_job(step)) else step(value)
}

# An interrupt of a job would leave its promise without an end: it ends the call, which
# cleans up, and then what runs the event loop.
as_job <- function(step) {
  function(value) {
    tryCatch(step(value), interrupt = function(condition) {
      later::later(rlang::interrupt, loop = later::global_loop())
      raise(cancelled_condition())
    })
  }
}

# What `code` comes to, or what `handler` makes of an error of one of the classes.
on_failure <- function(code, handler, class = "mx_error") {
  handlers <- stats::setNames(rep(list(handler), length(class)), class)
  value <- rlang::inject(tryCatch(code, !!!handlers))
  if (!is_promise(value)) {
    return(value)
  }
  promises::catch(value, function(condition) {
    # Who cancels a call has no more use for any of its steps.
    if (!inherits(condition, class) || is_cancelled(condition)) {
      raise(condition)
    }
    handler(condition)
  })
}

# What `code` comes to. `cleanup` is called when that is known, also after an error, and
# after an interrupt while R waits.
with_cleanup <- function(code, cleanup) {
  goes_on <- FALSE
  on.exit(if (!goes_on) cleanup())
  value <- code
  goes_on <- is_promise(value)
  if (goes_on) promises::finally(value, cleanup) else value
}

# Calls `step` for as long as it returns `again`, and returns what it returns then.
repeat_steps <- function(step) {
  repeat {
    value <- step()
    if (is_promise(value)) {
      return(and_then(value, function(value) {
        if (is_again(value)) repeat_steps(step) else value
      }))
    }
    if (!is_again(value)) {
      return(value)
    }
  }
}

again <- structure(list(), class = "mx_again")

is_again <- function(x) inherits(x, "mx_again")

# Waits before the next step.
pause_for <- function(client, seconds) {
  driver <- client[["driver"]]
  if (is.null(driver)) wait(seconds) else driver[["pause"]](seconds)
}

# The same client, whose requests R waits for: where a value is needed now.
waiting_client <- function(client) {
  client[["driver"]] <- NULL
  client
}

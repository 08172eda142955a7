# Promises in tests. Also for the live tests.

# What a promise comes to: its value, or the condition that it is rejected with.
settled <- function(promise, seconds = 60) {
  state <- watched(promise)
  end <- Sys.time() + seconds
  while (!state$done) {
    if (Sys.time() > end) {
      stop("the promise was not settled")
    }
    later::run_now(0.05)
  }
  state$value
}

# What becomes of a promise.
watched <- function(promise) {
  state <- new.env()
  state$done <- FALSE
  finish <- function(value) {
    state$value <- value
    state$done <- TRUE
  }
  promises::then(promise, finish, finish)
  state
}

# What a promise comes to, and how often a job ran meanwhile that was to run each 20 ms.
# `code` makes the promise, or makes R wait.
ticking <- function(code) {
  jobs <- new.env()
  jobs$n <- 0
  jobs$goes_on <- TRUE
  tick <- function() {
    jobs$n <- jobs$n + 1
    if (jobs$goes_on) {
      later::later(tick, 0.02)
    }
  }
  later::later(tick, 0.02)
  began <- Sys.time()
  value <- settled(code)
  jobs$goes_on <- FALSE
  took <- as.numeric(difftime(Sys.time(), began, units = "secs"))
  # The last one must not run in another test.
  later::run_now(0.02)
  list(value = value, ticks = jobs$n, took = took)
}

skip_without_promises <- function() {
  skip_if_not_installed("later")
  skip_if_not_installed("promises")
}

# Promises of calls: the same steps as in the calls that wait, with a driver.

# A promise of what `steps` comes to, a function of a client that is made of steps (see
# steps.R). `driver` can cancel it. An argument that does not fit is an error at once.
run_async <- function(client, steps, driver = async_driver()) {
  check_package("promises")
  outer <- later::current_loop()
  inner <- async_engine()[["loop"]]
  client[["driver"]] <- driver
  # `then` and `catch` of the user run in the user's loop.
  handed <- function(settle) {
    function(value) later::later(function() settle(value), loop = outer)
  }
  later::with_loop(inner, {
    value <- tryCatch(steps(client), error = function(condition) {
      if (inherits(condition, "mx_error_argument")) {
        raise(condition)
      }
      promises::promise_reject(condition)
    })
  })
  promises::promise(function(resolve, reject) {
    later::with_loop(inner, {
      value <- promises::promise_resolve(value)
      promises::then(value, handed(resolve), handed(reject))
    })
  })
}

# One sync, as sync_once() makes it.
sync_once_promise <- function(
  client,
  timeout,
  driver = async_driver(),
  call = caller_env()
) {
  force(call)
  steps <- function(client) sync_once(client, timeout, call = call)
  run_async(client, steps, driver)
}

# All requests that are due, as pump() performs them.
pump_promise <- function(
  client,
  ...,
  driver = async_driver(),
  call = caller_env()
) {
  force(call)
  steps <- function(client) pump(client, ..., call = call)
  run_async(client, steps, driver)
}

# The same, with a warning in place of an error, as pump_or_warn().
pump_or_warn_promise <- function(client, ..., driver = async_driver()) {
  run_async(client, function(client) pump_or_warn(client, ...), driver)
}

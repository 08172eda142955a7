#' Send and sync without waiting
#'
#' These functions return a promise at once, where [mx_send()], [mx_send_text()],
#' [mx_post()] and [mx_sync()] wait for the server. A Shiny app, a plumber API or the
#' console continues meanwhile.
#'
#' The promise is one of the package promises: `promises::then(promise, onFulfilled,
#' onRejected)`. It is fulfilled with what the function without `_async` returns. It is
#' rejected with the condition that the other function raises, which has the same classes
#' (see [mxcrypt_conditions]). Only an argument that does not fit is an error at once.
#' Warnings are warnings.
#'
#' The requests are made by jobs of the package later. They run while R waits for input,
#' in Shiny, plumber and httpuv, and in a script while it calls `later::run_now()`. A
#' script that ends, or that never does so, sends nothing by itself: what is saved in the
#' outbox is sent by the next call, of any process.
#'
#' A message is saved in the outbox before the function returns, if `room` is the id or
#' the name of a room that this device knows. It then counts as queued, and several calls
#' send in the order in which they were made. For an alias, for a name that no sync has
#' told of, and for files, a request comes first.
#'
#' A few steps do make R wait: encryption, the reading of files, a new login by
#' password where the refresh token has ended, and a link to an event in a room that is
#' given by its alias.
#'
#' @inheritParams mx_send
#' @inheritParams mx_send_text
#' @inheritParams mx_post
#' @inheritParams mx_sync
#' @return A promise. `mx_send_async()`, `mx_send_text_async()` and `mx_post_async()`: of
#'   the event ids. `mx_sync_async()`: of a data frame of class `mx_events`.
#' @section Errors:
#' `mx_error_package` if the package promises is not installed, and those of the
#' functions without `_async`. A promise is rejected with `mx_error_cancelled` if Ctrl-C
#' ends one of its steps; a message stays in the outbox.
#' @family sending
#' @examplesIf requireNamespace("promises", quietly = TRUE)
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' bob <- mx_demo_client(homeserver, "bob")
#' room <- mx_room_create(alice, invite = bob$user_id)
#' mx_room_join(bob, room)
#'
#' sent <- mx_send_text_async(alice, room, "the eagle lands at noon")
#' read <- promises::then(sent, function(ids) mx_sync_async(bob))
#' promises::then(
#'   read,
#'   onFulfilled = function(events) print(tail(events$body, 1)),
#'   onRejected = function(condition) message(conditionMessage(condition))
#' )
#' # Only in a script: Shiny and the console do this by themselves.
#' while (!later::loop_empty()) later::run_now(1)
#' @export
mx_send_async <- function(
  client,
  room,
  content,
  type = "m.room.message",
  transaction_id = NULL
) {
  run_async(client, function(client) {
    mx_send(client, room, content, type, transaction_id)
  })
}

#' @rdname mx_send_async
#' @export
mx_send_text_async <- function(
  client,
  room,
  text,
  markdown = FALSE,
  mentions = character(),
  reply_to = NULL,
  thread = NULL,
  msgtype = "m.text",
  transaction_id = NULL,
  collapse = NULL
) {
  run_async(client, function(client) {
    mx_send_text(
      client,
      room,
      text,
      markdown,
      mentions,
      reply_to,
      thread,
      msgtype,
      transaction_id,
      collapse
    )
  })
}

#' @rdname mx_send_async
#' @export
mx_post_async <- function(
  client,
  room,
  ...,
  thread = FALSE,
  mentions = character(),
  reply_to = NULL
) {
  check_cut_names(rlang::names2(sys.call()), environment())
  run_async(client, function(client) {
    mx_post(
      client,
      room,
      ...,
      thread = thread,
      mentions = mentions,
      reply_to = reply_to
    )
  })
}

#' @rdname mx_send_async
#' @export
mx_sync_async <- function(
  client,
  timeout = 0,
  limit = 1000,
  unsigned = FALSE,
  consumer = "mx_sync"
) {
  run_async(client, function(client) {
    mx_sync(client, timeout, limit, unsigned, consumer)
  })
}

# Promises of calls: the same steps as in the calls that wait, with a driver.

# A promise of what `steps` comes to, a function of a client that is made of steps (see
# steps.R). `driver` can cancel it. An argument that does not fit is an error at once.
run_async <- function(
  client,
  steps,
  driver = async_driver(),
  call = caller_env()
) {
  check_package("promises", call)
  check_client(client, call = call)
  # The frames of the call are gone when a step fails.
  call <- bare_call(call)
  from_call <- function(condition) {
    condition[["call"]] <- call
    condition
  }
  outer <- later::current_loop()
  engine <- async_engine()
  inner <- engine[["loop"]]
  client[["driver"]] <- driver
  value <- later::with_loop(
    inner,
    tryCatch(steps(client), error = function(condition) {
      if (inherits(condition, "mx_error_argument")) {
        raise(from_call(condition))
      }
      promises::promise_reject(condition)
    })
  )
  promises::promise(function(resolve, reject) {
    settle <- NULL
    # `then` and `catch` of the user run in the user's loop.
    deliver <- function() {
      if (is.null(settle)) {
        condition <- from_call(cancelled_condition())
        settle <<- function() reject(condition)
      }
      later::later(loop = outer, function() {
        forget()
        settle()
      })
    }
    forget <- note_call(engine, deliver)
    finish <- function(how) {
      settle <<- how
      deliver()
    }
    later::with_loop(inner, {
      promises::then(
        promises::promise_resolve(value),
        function(value) finish(function() resolve(value)),
        function(condition) {
          finish(function() reject(from_call(condition)))
        }
      )
    })
  })
}

# One sync, as sync_once() makes it.
sync_once_promise <- function(
  client,
  timeout,
  driver = async_driver(),
  has_news = function() FALSE,
  call = caller_env()
) {
  force(call)
  steps <- function(client) sync_once(client, timeout, call, has_news)
  run_async(client, steps, driver, call)
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
  run_async(client, steps, driver, call)
}

# The same, with a warning in place of an error, as pump_or_warn().
pump_or_warn_promise <- function(client, ..., driver = async_driver()) {
  run_async(client, function(client) pump_or_warn(client, ...), driver)
}

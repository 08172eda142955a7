#' @rdname mx_sync
#' @param handler A function of an event (a list with the columns of
#'   `mx_sync()`) and the client, or of the event alone. See `on_error` for what
#'   happens when it fails.
#' @param types The types of events to deliver, or `NULL` for all.
#' @param own Whether to deliver events of your own user.
#' @param seconds How long to listen; `0` delivers the events that there are. While there
#'   is time left, a server that does not respond is a warning of class
#'   `mx_warning_network`, and the request is repeated.
#' @param poll How many seconds the server may wait with its response when there is
#'   nothing new.
#' @param consumer A name for this listener or viewer. Each name has its own position in
#'   the stream of events, and resumes there.
#' @param on_verification A function of a [verification][mx_verification_request()], or
#'   `NULL` to ignore verifications. It decides whether to accept a request (the `state` is
#'   `requested`), whether emoji or numbers are the same on both sides (`compare`, with
#'   `emoji` and `decimals`), and whether it was the other side that scanned the QR code
#'   which this device shows (`scanned`): `TRUE`, `FALSE`, or `NULL` for later. A failure
#'   of the function is a warning of class `mx_warning_verification`.
#' @param on_error What happens to an event whose handler fails:
#'   * `"retry"`: the handler is called again, after a pause of 1 and then 2
#'     seconds. After three tries the event is set aside.
#'   * `"skip"`: the event is set aside at once.
#'   * `"stop"`: `mx_listen()` ends with the handler's error, and the event comes
#'     again with the next call, however often that happens.
#'   * a function of the error (a condition) and the event, which returns one of
#'     these. One that fails or returns anything else counts as `"retry"`.
#' @section When a handler fails:
#' Each failure is a warning of class `mx_warning_handler`, with the error in
#' `cause`, the event in `event`, and whether it was set aside in `set_aside`. Later
#' events wait for the one that failed, so that the order is kept. When it is set
#' aside, they are delivered, and so is an event of type `mxcrypt.handler_failed` to every
#' consumer of this type. It has the `room_id` and `event_id` of the event that
#' was set aside, no sender, and a `content` of `error` (the message), `consumer`,
#' `event_type` and `sender`. If a handler fails at such a report, there is no further
#' report.
#'
#' Tries are counted in the store before the handler is called. An event that ends
#' the R process is set aside, too, unless `on_error` is `"stop"`: when three
#' processes have ended, the fourth continues with the next event. An interrupt does not
#' count.
#'
#' While `mx_listen()` runs, warnings appear when they happen, as with
#' `options(warn = 1)`, also those of the handler. An R that turns warnings into
#' errors, or ignores them, still does.
#' @seealso [mx_listen_start()] listens without blocking R.
#' @return `mx_listen()`: the number of events that the handler processed, invisibly.
#' @export
mx_listen <- function(
  client,
  handler,
  types = NULL,
  own = FALSE,
  seconds = Inf,
  poll = 30,
  consumer = "mx_listen",
  unsigned = FALSE,
  on_verification = NULL,
  on_error = "retry"
) {
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
  check_number(seconds)
  lock <- listen_as(client, consumer)
  on.exit(end_lock(lock))
  old <- immediate_warnings()
  on.exit(options(old), add = TRUE)
  end <- monotonic_time() + seconds
  handed <- 0
  flush <- TRUE
  # What is in the store already is delivered before the server may wait.
  seen <- -1
  repeat {
    left <- max(0, end - monotonic_time())
    sync_patiently(client, check_timeout(min(poll, left) * 1000), end, seen)
    pump_or_warn(client, flush = flush)
    flush <- FALSE
    seen <- last_event(client)
    check_listens(lock, consumer)
    handed <- handed + hand_over(client, rules)
    if (!is.null(on_verification)) {
      decide_verifications(client, patient_decision(on_verification))
    }
    if (monotonic_time() >= end) {
      return(invisible(handed))
    }
  }
}

# What a listener does with events, once its arguments are checked. A listener that does
# not block (listen-start.R) does the same.
listener_rules <- function(
  client,
  handler,
  types,
  own,
  poll,
  consumer,
  unsigned,
  on_verification,
  on_error,
  call = caller_env()
) {
  check_client(client, call = call)
  handler <- check_handler(handler, call)
  check_on_error(on_error, call)
  check_flag(own, call = call)
  check_number(poll, call = call)
  check_string(consumer, call = call)
  check_flag(unsigned, call = call)
  if (!is.null(types)) {
    check_strings(types, call = call)
  }
  if (!is.null(on_verification)) {
    check_function(on_verification, call = call)
  }
  list(
    handler = handler,
    types = types,
    own = own,
    consumer = consumer,
    unsigned = unsigned,
    on_error = on_error
  )
}

# One listener at a time is a consumer: two would both handle each event. Returns the
# lock.
listen_as <- function(client, consumer, call = caller_env()) {
  machine_of(client, call = call)
  lock <- list(
    place = store_place(client[["store_dir"]]),
    name = paste0("listen-", rlang::hash(consumer))
  )
  # The process may take its own lock again: the handler of mx_listen() may listen.
  is_started <- !is.null(the[["listeners"]][[lock_key(lock)]])
  begun <- !is_started &&
    core(listener_begin(lock[["place"]], lock[["name"]]), call = call)
  if (!begun) {
    listening_abort(consumer, is_started, call)
  }
  lock
}

# A lock in a database ends with its connection, and then another may have taken it.
check_listens <- function(lock, consumer, call = caller_env()) {
  if (!core(listener_holds(lock[["place"]], lock[["name"]]), call = call)) {
    listening_abort(consumer, FALSE, call)
  }
}

end_lock <- function(lock) {
  core(listener_end(lock[["place"]], lock[["name"]]))
}

lock_key <- function(lock) {
  paste(lock[["place"]], lock[["name"]])
}

listening_abort <- function(consumer, is_started, call) {
  mx_abort(
    c(
      paste0(
        if (is_started) {
          "A listener of mx_listen_start()"
        } else {
          "Another process"
        },
        " listens as \"",
        printable(consumer),
        "\" with this store."
      ),
      i = "End it, or give this listener a name of its own: `consumer`.",
      i = "Each name is given all events."
    ),
    "mx_error_listening",
    call = call
  )
}

# A server that is away for a while does not end a listener that has time left.
sync_patiently <- function(client, timeout, end, seen) {
  pause <- 1
  repeat {
    trouble <- tryCatch(
      {
        sync_once(client, timeout, has_news = has_come(client, seen))
        return(invisible())
      },
      mx_error = identity
    )
    if (!is_outage(trouble) || monotonic_time() + pause >= end) {
      raise(trouble)
    }
    warn_of_outage(trouble)
    Sys.sleep(pause)
    pause <- min(2 * pause, 60)
  }
}

warn_of_outage <- function(trouble) {
  mx_warn(
    c("Listening goes on.", x = conditionMessage(trouble)),
    "mx_warning_network"
  )
}

# Whether a failure is one of the way to the server or to the store, and passes.
is_outage <- function(trouble) {
  classes <- c(
    "network",
    "http",
    "answer",
    "renewal",
    "store_locked",
    "store_unreachable"
  )
  inherits(trouble, paste0("mx_error_", classes)) && is_passing(trouble)
}

# Whether a failure means nothing for the login or the request: no response, one that
# is none, or one of a proxy, which has no error code; or another process that has
# the store.
is_passing <- function(trouble) {
  if (inherits(trouble, "mx_error_renewal")) {
    return(is_passing(trouble[["cause"]]))
  }
  is_no_answer(trouble) ||
    inherits(
      trouble,
      paste0("mx_error_", c("answer", "store_locked", "store_unreachable"))
    ) ||
    isTRUE(
      trouble[["code"]] %in% c("temporarily_unavailable", "server_error")
    ) ||
    isTRUE(trouble[["status"]] %in% c(408L, 425L, 429L, 500:599)) ||
    identical(trouble[["errcode"]], "M_UNKNOWN")
}

# R keeps warnings until the call has returned, and a listener may never return.
# The option also reaches warnings of the handler, and leaves every condition as
# it is, for withCallingHandlers().
immediate_warnings <- function() {
  level <- getOption("warn")
  options(warn = if (level == 0) 1 else level)
}

# A function of an event and the client, whatever the user's takes of them.
check_handler <- function(handler, call = caller_env()) {
  check_function(handler, call = call)
  wanted <- function(found) {
    argument_abort(
      "handler",
      paste0("a function of an event and the client, and not of ", found),
      call
    )
  }
  # Of a primitive, formals() knows nothing.
  takes <- formals(args(handler))
  if (length(takes) == 0L) {
    wanted("no argument")
  }
  required <- vapply(takes, rlang::is_missing, NA)
  required <- setdiff(names(takes)[required], "...")
  most <- if ("..." %in% names(takes)) Inf else length(takes)
  if (length(required) > 2L) {
    wanted(toString(required))
  }
  if (most == 1) function(event, client) handler(event) else handler
}

error_decisions <- c("retry", "skip", "stop")

check_on_error <- function(on_error, call = caller_env()) {
  if (!is.function(on_error) && !is_decision(on_error)) {
    argument_abort(
      "on_error",
      "\"retry\", \"skip\", \"stop\", or a function that returns one of them",
      call
    )
  }
}

is_decision <- function(x) {
  is_string(x) && x %in% error_decisions
}

# A callback that fails leaves the verification for later.
patient_decision <- function(on_verification) {
  function(verification) {
    tryCatch(on_verification(verification), error = function(condition) {
      mx_warn(
        c(
          "`on_verification` failed. The verification waits for a decision.",
          x = error_text(condition)
        ),
        "mx_warning_verification",
        cause = condition
      )
      NULL
    })
  }
}

# Gives each event to the handler. It is dealt with when the handler has returned,
# or when it was set aside. Returns how many the handler dealt with.
hand_over <- function(client, rules) {
  next_delivery <- deliveries(client, rules)
  handed <- 0
  while (!is.null(delivery <- next_delivery())) {
    if (!is_passed_over(delivery)) {
      handed <- handed + handle(delivery, client, rules)
      delivery[["acknowledge"]]()
    }
  }
  handed
}

# Which events the handler is for.
for_handler <- function(events, rules) {
  types <- rules[["types"]]
  which(
    (rules[["own"]] | !events[["is_self"]]) &
      (is.null(types) | events[["type"]] %in% types)
  )
}

# A function that returns the next event for the handler, with what the store can be told
# of it, or NULL where there is none. Others are passed over, and acknowledged with the one
# before them: who has sent a thousand messages is not deaf until each had its turn.
deliveries <- function(client, rules) {
  machine <- machine_of(client)
  consumer <- rules[["consumer"]]
  events <- NULL
  numbers <- numeric()
  due <- integer()
  function() {
    if (length(due) == 0L) {
      taken <- machine_take(machine, consumer, 100, rules[["unsigned"]])
      taken <- core(taken)
      numbers <<- taken[["numbers"]]
      events <<- taken[["events"]]
      n <- length(numbers)
      if (n == 0L) {
        return(NULL)
      }
      due <<- for_handler(events, rules)
      if (length(due) == 0L) {
        core(machine_acknowledge(machine, consumer, numbers[[n]]))
        return(passed_over)
      }
    }
    i <- due[[1L]]
    due <<- due[-1L]
    until <- if (length(due) > 0L) due[[1L]] - 1L else length(numbers)
    event <- event_at(events, i)
    delivery_of(machine, consumer, numbers[[i]], numbers[[until]], event)
  }
}

# In place of a delivery: more may come.
passed_over <- "passed over"

is_passed_over <- function(delivery) identical(delivery, passed_over)

# `until` is the number of the last event that is passed over after it, or its own.
delivery_of <- function(machine, consumer, number, until, event) {
  list(
    event = event,
    acknowledge = function() {
      core(machine_acknowledge(machine, consumer, until))
    },
    begin_attempt = function() {
      core(machine_begin_attempt(machine, consumer, number))
    },
    withdraw_attempt = function() {
      core(machine_withdraw_attempt(machine, consumer, number))
    },
    set_aside = function(error) {
      core(machine_set_aside(machine, consumer, number, error))
    }
  )
}

most_tries <- 3

# Whether the handler dealt with the event; otherwise it was set aside.
handle <- function(delivery, client, rules) {
  repeat {
    try <- begin_try(delivery, rules)
    if (is.null(try)) {
      return(FALSE)
    }
    failure <- handler_failure(delivery, client, rules)
    if (is.null(failure)) {
      return(TRUE)
    }
    pause <- pause_before_retry(delivery, failure, try)
    if (is.null(pause)) {
      return(FALSE)
    }
    retry_pause(pause)
  }
}

# Counts a try before the handler is called, and returns its number; NULL if the event
# was set aside instead.
begin_try <- function(delivery, rules) {
  try <- delivery[["begin_attempt"]]()
  if (try <= most_tries || identical(rules[["on_error"]], "stop")) {
    return(try)
  }
  set_aside(delivery, "R ended three times while the handler was at work.")
}

set_aside <- function(delivery, text, condition = NULL) {
  delivery[["set_aside"]](text)
  warn_handler(delivery[["event"]], text, condition, set_aside = TRUE)
  NULL
}

# What follows a failure of the handler: seconds until the event is tried again, or NULL
# if it was set aside.
pause_before_retry <- function(delivery, failure, try) {
  condition <- failure[["condition"]]
  text <- error_text(condition)
  if (failure[["decision"]] == "skip" || try >= most_tries) {
    return(set_aside(delivery, text, condition))
  }
  warn_handler(delivery[["event"]], text, condition, set_aside = FALSE)
  2^(try - 1)
}

# In seconds.
retry_pause <- function(seconds) {
  Sys.sleep(seconds)
}

# The error that the handler ended in, with the decision about it, or NULL. What
# else leaves the handler, such as an interrupt, is no verdict on the event; nor
# is an error that ends the listening.
handler_failure <- function(delivery, client, rules) {
  event <- delivery[["event"]]
  on_error <- rules[["on_error"]]
  counts <- FALSE
  on.exit(if (!counts) delivery[["withdraw_attempt"]]())
  run <- function() {
    rules[["handler"]](event, client)
    NULL
  }
  # An error that ends the listening keeps its traceback.
  stops <- identical(on_error, "stop")
  condition <- if (stops) run() else tryCatch(run(), error = identity)
  if (!is.null(condition)) {
    decision <- decide_error(on_error, condition, event)
    if (decision == "stop") {
      raise(condition)
    }
  }
  counts <- TRUE
  if (!is.null(condition)) list(condition = condition, decision = decision)
}

decide_error <- function(on_error, failure, event) {
  if (!is.function(on_error)) {
    return(on_error)
  }
  decision <- tryCatch(on_error(failure, event), error = identity)
  if (is_decision(decision)) {
    return(decision)
  }
  reason <- if (inherits(decision, "error")) {
    paste("It failed:", error_text(decision))
  } else {
    "It must return \"retry\", \"skip\" or \"stop\"."
  }
  mx_warn(
    c("`on_error` made no decision; the event is retried.", x = reason),
    "mx_warning_handler"
  )
  "retry"
}

warn_handler <- function(event, text, failure, set_aside) {
  id <- event[["event_id"]]
  name <- paste(
    if (is.na(id)) "an event" else paste("event", id),
    "of type",
    event[["type"]]
  )
  mx_warn(
    c(
      paste0("The handler failed at ", printable(name), "."),
      x = printable(text),
      i = if (!set_aside) {
        "It is retried."
      } else if (!is_handler_report(event)) {
        "The event was set aside; `on_error` decides about this."
      } else {
        "This report was set aside."
      }
    ),
    "mx_warning_handler",
    cause = failure,
    event = event,
    set_aside = set_aside
  )
}

# Reports have no sender: what somebody sent is none.
is_handler_report <- function(event) {
  event[["type"]] == "mxcrypt.handler_failed" && !nzchar(event[["sender"]])
}

# The message of any error, as text that can be kept.
error_text <- function(condition) {
  text <- tryCatch(conditionMessage(condition), error = function(e) NULL)
  text <- paste(as.character(text), collapse = "\n")
  text <- iconv(enc2utf8(text), "UTF-8", "UTF-8", sub = "byte")
  if (nzchar(text)) substr(text, 1L, 2000L) else class(condition)[[1]]
}

event_at <- function(events, i) {
  row <- lapply(unclass(events), function(column) column[[i]])
  attributes(row) <- list(names = names(events))
  row
}

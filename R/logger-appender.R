# Lines of package logger as messages of a room.
#
# The appender is called for each line, also in the middle of other people's code. So it
# never raises, and nothing that it does may be logged and come back to it. It must work
# after saveRDS() in another process (logger::appender_async()): what it holds is plain.

#' Log to a room
#'
#' `mx_logger_appender()` returns an appender for package logger that posts lines of the
#' log to a room. Lines are collected, and posted together as preformatted text.
#'
#' A line is posted at once if nothing was posted in the last `interval` seconds, or if
#' it is an `ERROR` or `FATAL`. Other lines are collected for `interval` seconds, or up to
#' 100 lines or 12,000 bytes. What is collected is posted when the time is over, if an
#' event loop runs (the console, Shiny, plumber), and else with the next line;
#' `mx_logger_flush()` posts it now, and so does the end of R.
#'
#' No more than `per_minute` messages are posted in a minute. Beyond that lines wait for
#' the next message, which holds the newest and says how many were left out.
#'
#' Where the server cannot be reached, messages wait in the outbox (see [mx_outbox()]),
#' up to 100 of them; then lines are collected, and the oldest are left out. The
#' appender returns after ten seconds at most, and tries again after ever longer pauses.
#' It never raises an error. It writes the reason why lines are not posted to standard
#' error, at most once an hour.
#'
#' Escape sequences and control characters are removed. Secrets that you log are
#' posted: everyone in the room reads them.
#'
#' With [logger::appender_async()] the lines are posted by another process, so that your
#' code never waits. Lines that are collected there are posted also when no other line
#' comes. Your process can use the same client meanwhile.
#'
#' @inheritParams mx_send
#' @param interval Seconds for which lines are collected.
#' @param per_minute How many messages are posted in a minute at most.
#' @return `mx_logger_appender()`: a function, for [logger::log_appender()].
#'   `mx_logger_flush()`: `TRUE` if nothing waits any more, invisibly.
#' @section Errors:
#' `mx_error_argument` and `mx_error_room` when there is no such room, and errors of the
#' store (see [mxcrypt_conditions]), when the appender is made. Later there are none.
#' @family sending
#' @examplesIf requireNamespace("logger", quietly = TRUE)
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, name = "ops")
#'
#' logger::log_appender(mx_logger_appender(alice, "ops"), namespace = "pipeline")
#' logger::log_info("reading the data", namespace = "pipeline")
#' logger::log_info("fitting the model", namespace = "pipeline")
#' logger::log_error("no convergence", namespace = "pipeline")
#' mx_logger_flush()
#' mx_messages(alice, room)$body
#' @export
mx_logger_appender <- function(client, room, interval = 5, per_minute = 10) {
  check_client(client)
  check_room(client, room)
  interval <- min(check_number(interval), 86400)
  per_minute <- check_number(per_minute, least = 1)
  room_id <- resolve_room(client, room)
  machine_of(client)
  log <- new_log(client, room_id, interval, per_minute)
  structure(
    function(lines) {
      log_take(log, lines, level_of(parent.frame()), parent.frame())
    },
    generator = appender_code(client, room_id, interval, per_minute)
  )
}

#' @rdname mx_logger_appender
#' @export
mx_logger_flush <- function() {
  invisible(flush_logs())
}

# The call that makes the appender again in another process.
appender_code <- function(client, room_id, interval, per_minute) {
  call <- bquote(mxcrypt::mx_logger_appender(
    mxcrypt::mx_client_load(path = .(client[["path"]])),
    .(room_id),
    interval = .(interval),
    per_minute = .(per_minute)
  ))
  paste(deparse(call, width.cutoff = 500L), collapse = "\n")
}

# Of one line, and of the lines that wait.
most_line_characters <- 2000L
most_log_lines <- 100L
most_log_bytes <- 12000
# Messages that may wait in the outbox before lines are collected instead.
most_waiting_messages <- 100

new_log <- function(client, room_id, interval, per_minute) {
  log <- new.env(parent = emptyenv())
  log[["client"]] <- client
  log[["room_id"]] <- room_id
  log[["interval"]] <- interval
  log[["per_minute"]] <- per_minute
  log_start(log)
  log
}

# As in a process that has logged nothing yet. Lines that a process had when it was
# forked, or when the appender was saved, are its own.
log_start <- function(log) {
  log[["process"]] <- this_process()
  log[["relay"]] <- new_relay(log[["client"]], log[["room_id"]])
  log[["lines"]] <- character()
  log[["left_out"]] <- 0
  log[["posted_at"]] <- numeric()
  log[["is_busy"]] <- FALSE
  log[["is_scheduled"]] <- FALSE
  log[["told_at"]] <- -Inf
  log[["is_guarded"]] <- FALSE
}

# Its number alone may be that of the process which saved the appender: in a container, R is
# often the first process.
this_process <- function() paste(Sys.getpid(), the[["loaded_at"]])

log_take <- function(log, lines, level, frame) {
  if (log[["process"]] != this_process()) {
    log_start(log)
  }
  # A line about posting lines.
  if (log[["is_busy"]]) {
    return(invisible())
  }
  log_safely(log, {
    log_guard(log)
    lines <- log_lines(lines)
    log_add(log, lines)
    is_urgent <- !is.null(level) && level <= 200L || any(is_urgent(lines))
    if (log_is_due(log, is_urgent)) {
      log_post(log)
    }
    wait_for_lines(log, frame)
    if (length(log[["lines"]]) > 0L) {
      log_schedule(log)
    }
  })
  invisible()
}

# Posts at the end of R what is collected by then. What was registered last runs first:
# it must be registered after the store was opened, which is closed in this way too.
log_guard <- function(log) {
  if (!log[["is_guarded"]]) {
    machine_of(log[["client"]])
    reg.finalizer(log, flush_log, onexit = TRUE)
    log[["is_guarded"]] <- TRUE
  }
}

# The level of the line, where logger itself calls the appender.
level_of <- function(frame) {
  level <- get0("level", frame, inherits = FALSE)
  if (inherits(level, "loglevel")) as.integer(level)
}

# Layouts put the level at the beginning.
is_urgent <- function(lines) {
  grepl("\\b(ERROR|FATAL)\\b", substr(lines, 1L, 100L))
}

# A line end inside of a line must not look like the begin of another line.
log_lines <- function(lines) {
  lines <- clean_text(unlist(lines), most_line_characters)
  parts <- strsplit(lines, "\n", fixed = TRUE)
  vapply(
    parts,
    function(x) paste(gsub("[[:cntrl:]]", " ", x), collapse = "\n    "),
    ""
  )
}

# The newest lines are kept.
log_add <- function(log, lines) {
  lines <- c(log[["lines"]], lines)
  bytes <- rev(cumsum(nchar(rev(lines), "bytes") + 1))
  from_end <- rev(seq_along(lines))
  is_kept <- from_end == 1L |
    (bytes <= most_log_bytes & from_end <= most_log_lines)
  log[["left_out"]] <- log[["left_out"]] + sum(!is_kept)
  log[["lines"]] <- lines[is_kept]
  waiting_logs(log)
}

# The logs of this process with something to post. They live until it is posted, also
# if their appender is gone.
waiting_logs <- function(log) {
  others <- Filter(function(x) !identical(x, log), the[["logs"]])
  the[["logs"]] <- c(others, if (is_log_waiting(log)) log)
}

is_log_waiting <- function(log) {
  length(log[["lines"]]) > 0L || log[["relay"]][["is_waiting"]]
}

log_is_due <- function(log, is_urgent = FALSE) {
  is_full <- length(log[["lines"]]) >= most_log_lines ||
    sum(nchar(log[["lines"]], "bytes") + 1) > most_log_bytes / 2
  # A forked process ends without its finalizers.
  is_forked <- Sys.getpid() != the[["loaded_in"]]
  is_time <- since_last_post(log) >= log[["interval"]]
  length(log[["lines"]]) > 0L &&
    (is_time || is_full || is_urgent || is_forked) &&
    seconds_to_wait(log) == 0
}

since_last_post <- function(log) {
  last <- utils::tail(log[["posted_at"]], 1L)
  if (length(last) == 0L) Inf else monotonic_time() - last
}

# How long no message may be posted.
seconds_to_wait <- function(log) {
  ago <- monotonic_time() - log[["posted_at"]]
  ago <- ago[ago < 60]
  if (length(ago) < log[["per_minute"]]) 0 else 60 - max(ago)
}

# Whether requests are served by this process, so that its event loop runs.
is_serving <- function() {
  isNamespaceLoaded("httpuv") &&
    length(getNamespace("httpuv")[["listServers"]]()) > 0L &&
    has_promises()
}

# Posts the lines that are collected. Those that cannot be saved in the outbox stay.
log_post <- function(log, force = FALSE) {
  waiting <- core(machine_waiting_to_send(relay_machine(log[["relay"]])))
  if (waiting >= most_waiting_messages) {
    if (force || !is_pausing(log[["relay"]])) {
      relay_again(log[["relay"]])
    }
    log_tell(log, "The server is not reached.")
    return(invisible())
  }
  posted <- c(log[["posted_at"]], monotonic_time())
  log[["posted_at"]] <- last_of(posted, log[["per_minute"]])
  number <- relay_stage(log[["relay"]], log_content(log))
  log[["lines"]] <- character()
  log[["left_out"]] <- 0
  async <- !force && is_serving()
  sent <- relay_send(log[["relay"]], number, force, async)
  told <- and_then(sent, function(outcome) {
    waiting_logs(log)
    if (outcome == "refused") {
      log_tell(log, "The server refused a message.")
    }
  })
  on_failure(told, class = "error", function(condition) {
    log_tell(log, conditionMessage(condition))
  })
  waiting_logs(log)
}

log_content <- function(log) {
  left_out <- log[["left_out"]]
  note <- if (left_out > 0) paste0("(", plural(left_out, "line"), " left out)")
  text <- paste(c(note, log[["lines"]]), collapse = "\n")
  message <- new_message(text, code_block(text), "m.notice")
  message_content(message, mentions = character(), relation = NULL)
}

# Runs `code` for a log. Nothing of it reaches the program that logs, nor its log.
log_safely <- function(log, code) {
  log[["is_busy"]] <- TRUE
  on.exit(log[["is_busy"]] <- FALSE)
  quietly(tryCatch(
    {
      code
      TRUE
    },
    error = function(condition) {
      log_tell(log, conditionMessage(condition))
      FALSE
    }
  ))
}

# Not a condition: it would be logged.
log_tell <- function(log, why) {
  now <- monotonic_time()
  if (now - log[["told_at"]] >= 3600) {
    log[["told_at"]] <- now
    what <- paste("mxcrypt: the log is not posted to", log[["room_id"]], "now:")
    text <- paste(what, why)
    cat(printable(shortened(text)), "\n", sep = "", file = stderr())
  }
}

log_schedule <- function(log) {
  if (log[["is_scheduled"]] || !requireNamespace("later", quietly = TRUE)) {
    return(invisible())
  }
  log[["is_scheduled"]] <- TRUE
  since <- since_last_post(log)
  rest <- if (is.finite(since)) log[["interval"]] - since else 1
  delay <- max(rest, seconds_to_wait(log), 0.1)
  process <- this_process()
  later::later(delay = delay, function() {
    # A forked process has the callbacks of its parent.
    if (process != this_process() || log[["process"]] != process) {
      return(invisible())
    }
    log[["is_scheduled"]] <- FALSE
    log_safely(log, if (log_is_due(log)) log_post(log))
    if (length(log[["lines"]]) > 0L) {
      log_schedule(log)
    }
  })
}

# In the process of logger::appender_async() nothing runs between two lines, and nobody
# waits for it: the lines that come meanwhile stay in its queue. After the last line of the queue
# it is waited until the lines that are collected can be posted, or another one comes.
wait_for_lines <- function(log, frame) {
  queue <- get0("async_writer_queue", globalenv(), inherits = FALSE)
  items <- get0("items", frame, inherits = FALSE)
  if (is.null(queue) || !is.data.frame(items)) {
    return(invisible())
  }
  is_last <- identical(get0("i", frame, inherits = FALSE), nrow(items))
  while (is_last && length(log[["lines"]]) > 0L && queue[["empty"]]()) {
    if (log_is_due(log)) {
      return(log_post(log))
    }
    Sys.sleep(0.1)
  }
}

flush_logs <- function() {
  for (log in the[["logs"]]) {
    flush_log(log)
  }
  !any(vapply(the[["logs"]], is_log_waiting, NA))
}

flush_log <- function(log) {
  is_here <- log[["process"]] == this_process() && !log[["is_busy"]]
  if (!is_here || !is_log_waiting(log)) {
    return(invisible())
  }
  log_safely(log, {
    if (log[["relay"]][["is_waiting"]]) {
      relay_again(log[["relay"]])
    }
    if (length(log[["lines"]]) > 0L) {
      log_post(log, force = TRUE)
    }
    waiting_logs(log)
  })
}

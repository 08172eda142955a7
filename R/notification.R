# What a room is told of a job: that it began, and how it ended. The job must not notice:
# it is watched by a calling handler, which lets every condition pass, and the room is
# told while R leaves the call. So the error, its traceback and `options(error = )` are
# as they would be without.

#' Notify a room of a job
#'
#' Runs code, and tells a room how it ended: how long it took, and its value or its
#' error with the backtrace. The code runs as it would without: its value is returned,
#' and its errors, warnings and messages are those of the caller.
#'
#' A job that fails is reported, and so is one that is interrupted, or left early
#' (by `return()`, or a handler outside that catches a warning). The condition itself
#' is not caught: [tryCatch()], [traceback()] and `options(error = )` get it as
#' ever. A process that is killed, runs out of memory or ends with [quit()] reports
#' nothing.
#'
#' The arguments, the configuration, and the name of the room are checked before the
#' job begins. From then on no failure to notify changes what the job does. If it
#' succeeded, such a failure is a warning of class `mx_warning_notification`. If it did
#' not, it is a line on the standard error, so that no handler of warnings can take the
#' place of the job's own error. Without a network the message waits in the outbox, as
#' with [mx_notify()].
#'
#' @section Secrets:
#' Everyone in the room reads the text of an error. It can hold what the job works with:
#' paths, addresses, values, passwords in a URL. The backtrace has the names of functions
#' and no arguments; `trace = FALSE` leaves it out. The value of the job is sent as well
#' if it is short: `value = FALSE` leaves it out. Text is cut after 4000 characters.
#'
#' @param expr The code to run.
#' @param client A client. `NULL` loads it with [mx_client_load()].
#' @param room A room, as in [mx_notify()].
#' @param name What to call the job. By default the name of the script that runs, or
#'   `"Job"`.
#' @param start Whether to tell that the job begins, too.
#' @param value Whether to show the value, if the console would print it: text and numbers,
#'   the first rows of a table, a plot, or what `print()` shows in 5 seconds, each
#'   shortened.
#' @param trace Whether to show the backtrace of an error.
#' @param when `"always"`, or `"failure"` to say nothing of a job that succeeds.
#' @param mentions User ids to mention when it has ended.
#' @param thread `TRUE` to tell the end in the thread of the beginning (with
#'   `start = TRUE`), `FALSE` for no thread, or the id of the event that an existing
#'   thread begins with.
#' @param timeout How many seconds all requests of one notification may take together.
#' @return The value of `expr`, visible if it was.
#' @section Errors:
#' Before the job begins: `mx_error_argument`, `mx_error_config`, `mx_error_room`,
#' `mx_error_store` and `mx_error_signed_out`. Afterwards those of `expr` only.
#' @family sending
#' @seealso [mx_notify()] for messages of your own.
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, name = "Pipeline")
#'
#' model <- with_mx_notification(
#'   {
#'     fit <- lm(dist ~ speed, cars)
#'     round(coef(fit), 2)
#'   },
#'   alice,
#'   room,
#'   name = "Nightly fit"
#' )
#' try(with_mx_notification(stop("no data today"), alice, room, name = "Nightly fit"))
#' mx_messages(alice, room)$body
#' @export
with_mx_notification <- function(
  expr,
  client = NULL,
  room = NULL,
  name = NULL,
  start = FALSE,
  value = TRUE,
  trace = TRUE,
  when = c("always", "failure"),
  mentions = character(),
  thread = TRUE,
  timeout = 15
) {
  call <- environment()
  check_present("expr")
  check_string(name, null = TRUE)
  check_flag(start)
  check_flag(value)
  check_flag(trace)
  when <- check_choice(when, c("always", "failure"))
  check_user_ids(mentions)
  check_thread(thread)
  timeout <- check_seconds(timeout)
  client <- notifying_client(client, call)
  job <- new.env(parent = emptyenv())
  job[["client"]] <- client
  job[["room"]] <- room_of_job(client, room, timeout, call)
  job[["name"]] <- shortened(printable(name %||% name_of_script()), 200L)
  job[["mentions"]] <- mentions
  job[["timeout"]] <- timeout
  job[["thread"]] <- if (is.character(thread)) thread
  job[["opens_thread"]] <- isTRUE(thread)
  job[["shows_trace"]] <- trace
  if (start) {
    tell_start(job)
  }
  job[["began"]] <- monotonic_time()
  # R leaves this call: for whatever reason, the room has not been told yet.
  on.exit(tell_end(job))
  result <- watched(job, expr, call)
  on.exit()
  job[["took"]] <- monotonic_time() - job[["began"]]
  if (when == "always") {
    tell_success(job, if (value && result[["visible"]]) list(result[["value"]]))
  }
  warn_of_telling(job)
  if (result[["visible"]]) result[["value"]] else invisible(result[["value"]])
}

# What is wrong with the client or the room is found out before the job runs. A server
# that is not reached is not: it may be there when the job has ended.
room_of_job <- function(client, room, timeout, call) {
  room <- notified_name(client, room, call)
  check_signed_in(client, session_token(client), call)
  rlang::local_options(mxcrypt.max_tries = 1)
  find <- function() {
    machine_of(client, call = call)
    notified_room(client, room, call)
  }
  within_seconds(
    timeout,
    tryCatch(find(), mx_error = function(condition) {
      if (!is_passing(condition)) {
        raise(condition)
      }
      room
    })
  )
}

name_of_script <- function(args = commandArgs(FALSE)) {
  args <- utils::head(args, match("--args", args, length(args) + 1L) - 1L)
  # `R CMD BATCH` says it in two arguments.
  file <- c(
    sub("^--file=", "", grep("^--file=", args, value = TRUE)),
    args[which(args == "-f") + 1L]
  )
  # `Rscript -e` has a file of its own making.
  is_script <- length(file) > 0L && grepl("[.][A-Za-z]+$", file[[1]])
  if (is_script) as_valid(basename(file[[1]])) else "Job"
}

# Runs the job, and takes note of an error or an interrupt, which then goes its way. An
# error may still be handled outside, by a restart within the job: it failed only if R
# leaves it.
watched <- function(job, expr, frame) {
  note <- function(condition) {
    job[["error"]] <- condition
    job[["trace"]] <- trace_of_error(condition, frame)
    # Scripts often end with quit() in this option, and R then leaves no call.
    if (!interactive() && !is.null(getOption("error"))) {
      tell_end(job)
    }
  }
  tryCatch(
    withCallingHandlers(
      withVisible(expr),
      error = note,
      interrupt = function(condition) job[["interrupt"]] <- condition
    ),
    # R calls no calling handler when its stack is used up.
    stackOverflowError = function(condition) {
      job[["error"]] <- condition
      raise(condition)
    }
  )
}

# The calls of the job that led to an error, where the error has no trace of its own.
trace_of_error <- function(condition, frame) {
  own <- if (is.list(condition)) unclass(condition)[["trace"]]
  if (inherits(own, "rlang_trace")) {
    return(own)
  }
  tryCatch(
    {
      top <- frame_of_job(frame)
      trace <- rlang::trace_back(top = top, bottom = parent.frame())
      names <- vapply(trace[["call"]], function(x) call_name(x) %||% "", "")
      # The machinery that signals it.
      signals <- c(
        ".handleSimpleError",
        "stop",
        "base::stop",
        "signalCondition"
      )
      last <- length(names)
      while (last > 0L && !names[[last]] %in% signals) {
        last <- last - 1L
      }
      while (last > 0L && names[[last]] %in% signals) {
        last <- last - 1L
      }
      trace[seq_len(last), ]
    },
    error = function(condition) NULL
  )
}

# The frame within which the job runs: the first withVisible() below `frame`.
frame_of_job <- function(frame) {
  frames <- sys.frames()
  is_job <- function(i) identical(sys.function(i), withVisible)
  begins <- Position(function(x) identical(x, frame), frames)
  later <- seq(begins, length(frames))
  frames[[later[[Position(is_job, later)]]]]
}

# Telling -----------------------------------------------------------------------

tell_start <- function(job) {
  message <- new_message(paste0(job[["name"]], " began."), NULL, "m.notice")
  ids <- tell_room(job, list(message), character())
  if (job[["opens_thread"]] && length(ids) == 1L && !is.na(ids)) {
    job[["thread"]] <- ids
  }
}

tell_success <- function(job, value) {
  heading <- paste0(
    job[["name"]],
    " finished after ",
    took_text(job[["took"]]),
    "."
  )
  messages <- function() {
    shown <- if (length(value) > 0L) short_value(value[[1]])
    with_heading(heading, shown)
  }
  tell_room(job, messages, job[["mentions"]])
}

# R leaves the job, by an error or otherwise: once told, it stays told.
tell_end <- function(job) {
  if (isTRUE(job[["told"]])) {
    return(invisible())
  }
  job[["told"]] <- TRUE
  took <- took_text(monotonic_time() - job[["began"]])
  interrupted <- !is.null(job[["interrupt"]])
  error <- if (!interrupted) job[["error"]]
  ended <- if (interrupted) {
    " was interrupted after "
  } else if (!is.null(error)) {
    " failed after "
  } else {
    " was left early, without a value, after "
  }
  heading <- paste0(job[["name"]], ended, took, ".")
  messages <- function() {
    trace <- if (job[["shows_trace"]]) job[["trace"]]
    with_heading(
      heading,
      if (!is.null(error)) list(error_message(error, trace))
    )
  }
  tell_room(job, messages, job[["mentions"]])
  # As warnings they could be caught in place of the job's error.
  for (condition in job[["warnings"]]) {
    cat(
      "Warning: ",
      conditionMessage(condition),
      "\n",
      file = stderr(),
      sep = ""
    )
  }
  job[["warnings"]] <- NULL
}

# Sends messages, or keeps a warning for later. Whatever fails here is no matter of the
# job's; nor does it see other random numbers than without.
tell_room <- function(job, messages, mentions) {
  keep <- function(condition) {
    job[["warnings"]] <- c(job[["warnings"]], list(condition))
  }
  failure <- function(condition) {
    lines <- c("The room was not notified.", x = printable_message(condition))
    keep(warningCondition(
      rlang::format_error_bullets(lines),
      class = c("mx_warning_notification", "mx_warning"),
      cause = condition,
      numbers = if (is.list(condition)) condition[["numbers"]]
    ))
    character()
  }
  send <- function() {
    messages <- if (is.function(messages)) messages() else messages
    sent <- deliver(
      job[["client"]],
      job[["room"]],
      lapply(messages, ready_message, environment()),
      job[["thread"]],
      mentions,
      job[["timeout"]],
      environment()
    )
    if (is.null(sent[["failure"]])) {
      sent[["ids"]]
    } else {
      failure(sent[["failure"]])
    }
  }
  tryCatch(
    keeping_random_numbers(withCallingHandlers(
      send(),
      warning = function(condition) {
        keep(condition)
        invokeRestart("muffleWarning")
      },
      message = function(condition) invokeRestart("muffleMessage")
    )),
    error = failure
  )
}

# A job that succeeded does not fail because of `options(warn = 2)`.
warn_of_telling <- function(job) {
  if (isTRUE(getOption("warn") > 1)) {
    rlang::local_options(warn = 1)
  }
  for (condition in job[["warnings"]]) {
    # It has its class and its members already: mx_warn() would make another one of it.
    warning(condition) # nolint
  }
}

keeping_random_numbers <- function(code) {
  seed <- globalenv()[[".Random.seed"]]
  on.exit(
    if (is.null(seed)) {
      suppressWarnings(rm(".Random.seed", envir = globalenv()))
    } else {
      assign(".Random.seed", seed, envir = globalenv())
    }
  )
  code
}

# The messages ------------------------------------------------------------------

most_told <- 4000L

# The heading becomes the first line of the first message that is text: it is what a
# phone shows.
with_heading <- function(heading, messages) {
  html <- paste0("<strong>", escape_html(heading), "</strong>")
  first <- if (length(messages) > 0L) messages[[1]]
  if (is.null(first) || !is.null(first[["file"]])) {
    return(c(list(new_message(heading, html, "m.text")), messages))
  }
  body <- first[["html"]] %||% text_html(first[["text"]])
  text <- paste(heading, first[["text"]], sep = "\n")
  # After a heading that is no block, a block begins its own line.
  line <- if (grepl("^<(p|pre|table)\\b", body)) "" else "<br>"
  html <- paste0(html, line, body)
  if (!fits_in_event(text, html)) {
    # Of 4000 letters, each may be several bytes, and stand there twice.
    return(list(new_message(shortened(text, 2000L), NULL, "m.text")))
  }
  list(new_message(text, html, "m.text"))
}

error_message <- function(error, trace) {
  # The call of an error in no function of the job's is ours.
  members <- unclass(error)
  if (
    is.list(members) &&
      identical(members[["call"]], quote(withVisible(expr)))
  ) {
    members[["call"]] <- NULL
    error <- structure(members, class = class(error))
  }
  lines <- tryCatch(condition_lines(error), error = function(condition) {
    paste0("Error (", class(error)[[1]], "): ", printable_message(error))
  })
  text <- shortened(paste(lines, collapse = "\n"), most_told)
  traced <- if (!is.null(trace)) {
    tryCatch(trace_lines(list(trace = trace)), error = function(condition) NULL)
  }
  traced <- vapply(traced, shortened, "", 200L, USE.NAMES = FALSE)
  html <- text_html(text)
  if (length(traced) > 0L) {
    text <- paste(c(text, "", traced), collapse = "\n")
    html <- paste0(html, code_block(traced))
  }
  new_message(text, html, "m.text")
}

printable_message <- function(condition) {
  tryCatch(
    shortened(as_valid(conditionMessage(condition)), most_told),
    error = function(failure) "its message cannot be shown"
  )
}

# A value as one message, or none: long ones are cut, and those that are no content of
# a message are described.
short_value <- function(x) {
  if (is.null(x)) {
    return(NULL)
  }
  described <- list(new_message(described_value(x), NULL, "m.text"))
  # print() would run an app, and wait for its end.
  if (inherits(x, c("shiny.appobj", "htmlwidget")) || is_plain_list(x)) {
    return(described)
  }
  messages <- tryCatch(
    within_time(short_messages(x)),
    error = function(condition) NULL
  )
  if (length(messages) == 1L) messages else described
}

# print() may take long, or never end: the caller waits for the value. Seconds.
longest_printing <- 5

within_time <- function(code) {
  on.exit(setTimeLimit())
  setTimeLimit(elapsed = longest_printing, transient = TRUE)
  code
}

short_messages <- function(x) {
  # Printing stops soon, also in the lists of lists that a model may be.
  rlang::local_options(max.print = 200L)
  if ((is.data.frame(x) && !inherits(x, "mx_events")) || is.matrix(x)) {
    return(short_table(x))
  }
  messages <- one_or_several(mx_as_message(short_vector(x)))
  # What is longer than a message would be posted as a whole.
  is_long <- function(message) {
    identical(message[["file"]][["name"]], "output.txt")
  }
  if (!inherits(x, "mx_message") && any(vapply(messages, is_long, NA))) {
    return(NULL)
  }
  lapply(messages, function(message) {
    if (is.null(message[["file"]])) cut_message(message) else message
  })
}

most_told_values <- 50L

# The first values of a vector, with how many there are more.
short_vector <- function(x) {
  if (!is.atomic(x) || !is.null(dim(x))) {
    return(x)
  }
  more <- length(x) - most_told_values
  if (more > 0L) {
    x <- utils::head(x, most_told_values)
  }
  if (is.character(x) && !is.object(x)) {
    # A long text would be a file.
    x[seq_along(x)] <- vapply(x, short_text, "", USE.NAMES = FALSE)
  }
  if (more <= 0L) {
    return(x)
  }
  head <- one_or_several(mx_as_message(x))
  more <- paste("\u2026 and", plural(more, "more value", "more values"))
  paste(c(head[[1]][["text"]], more), collapse = "\n")
}

short_text <- function(text) {
  is_text <- !is.na(text) && validUTF8(enc2utf8(text))
  if (is_text) shortened(text, most_told) else text
}

short_table <- function(x) {
  if (ncol(x) == 0L || ncol(x) > 30L) {
    return(NULL)
  }
  rows <- if (is.data.frame(x)) is.character(attr(x, "row.names"))
  rows <- rows %||% !is.null(rownames(x))
  left_out <- rows_left_out(x, 10L)
  shown <- as.data.frame(utils::head(x, 10L))
  message <- table_text_message(shown, 10L, rows)
  if (!fits_in_event(message[["text"]], message[["html"]])) {
    return(NULL)
  }
  if (!is.null(left_out)) {
    message[["text"]] <- paste(message[["text"]], left_out, sep = "\n")
    message[["html"]] <- paste0(
      message[["html"]],
      "<p>",
      escape_html(left_out),
      "</p>"
    )
  }
  list(message)
}

# Cut HTML would be broken.
cut_message <- function(message) {
  text <- shortened(message[["text"]], most_told)
  if (identical(text, message[["text"]])) {
    return(message)
  }
  code <- if (!is.null(message[["html"]])) code_block(text)
  new_message(text, code, "m.text")
}

described_value <- function(x) {
  # Methods of its class may fail.
  size <- tryCatch(
    if (!is.null(dim(x))) {
      paste(dim(x), collapse = " x ")
    } else {
      paste("length", format_count(length(x)))
    },
    error = function(condition) "its size cannot be shown"
  )
  paste0("A value of class ", class(x)[[1]], " (", size, ").")
}

# Seconds as people say them.
took_text <- function(seconds) {
  seconds <- max(0, seconds)
  if (seconds < 59.95) {
    return(paste(format(round(seconds, 1), nsmall = 1), "s"))
  }
  seconds <- round(seconds)
  parts <- c(
    d = seconds %/% 86400,
    h = seconds %/% 3600 %% 24,
    min = seconds %/% 60 %% 60,
    s = seconds %% 60
  )
  # Two units: nobody needs the seconds of an hour.
  first <- which(parts > 0)[[1]]
  parts <- parts[seq(first, min(first + 1L, 4L))]
  parts <- parts[parts > 0]
  paste(parts, names(parts), collapse = " ")
}

#' Read the history of a room
#'
#' Reads earlier events of a room, or of several, page by page. They are decrypted and
#' checked like those of [mx_sync()], with the keys that this device and the key backup
#' have. [mx_sync()] and listeners still get the events that are new to them.
#'
#' @inheritParams mx_room
#' @param room A room id, alias or name, or several; `NULL` for the client's own room.
#' @param limit The most events to read of each room, without pages that are newer than
#'   `until`. By default 50, and with `since` all.
#' @param since,until Only events that were sent then or later, or earlier: a time, a
#'   date, or text such as `"2026-11-28"` or `"2026-11-28 07:00"` in the time zone of
#'   the session. A date as `until` includes its day.
#' @param types Only events of these types, such as `"m.room.message"`, and those that
#'   could not be read; `NULL` for all.
#' @param from Where to continue: the attribute `end` of an earlier result for the same
#'   `room`. `NULL` begins with the newest event.
#' @param threads Which events to return: `NULL` for all, `TRUE` only those of threads
#'   and the messages that threads begin with, `FALSE` only those outside of threads. Or
#'   the event ids of messages that threads begin with. A message that begins a thread
#'   is outside of it, too. Edits and reactions belong where their message does.
#' @param reactions Whether to add a column `reactions`.
#' @param unsigned As for [mx_sync()].
#' @param edits Whether to return edited messages with their newest text. `FALSE` returns
#'   the first text.
#' @details
#' A message that was edited has its newest text in `body`, `msgtype`, `mentions`
#' and `content`, `edited` is `TRUE`, and `trust` is the lower of that in the
#' message and in its edit. The edits themselves are rows, too: those with
#' `is.na(replaces)` are the conversation. Only an edit that counts is shown, see
#' [mx_edit()]; if the server returns another one as the newest,
#' `edit_reason` is why that does not count. A server can keep an edit back, as it can any
#' event.
#'
#' The time of an event is set by its sender's server. Reading ends with a page of which
#' all events are older than `since`, and not with a single such event. In an interactive
#' session, a progress bar shows the date reached.
#'
#' `limit` counts events before `types`, `since`, `until` and `threads` select among them.
#' Reactions are counted among all events that were read, also those that are not
#' returned. Reactions that are newer than `until` or `from` are not read.
#'
#' Several rooms are read with one sync. If some of them cannot be read, the others
#' are returned with a warning. To continue, also with the rooms that failed, use
#' `from = attr(events, "end")`.
#'
#' @return A data frame as from [mx_sync()], oldest event first; of several rooms, one
#'   room after the other in the order of `room`. Where a thread
#'   begins, `thread_latest` holds its newest message, if the server sent it along:
#'   a data frame of one row. With `reactions = TRUE`, the list column `reactions` holds a
#'   named integer vector for each event: how many users reacted with each key, the most
#'   frequent first. A user counts once for each key; redacted reactions do not count.
#'
#'   The attribute `end` is where older events begin, or `NULL` at the beginning of the
#'   room. Fewer events than `limit` with an `end` mean that the server returned too many
#'   empty pages. For several rooms, `end` is a list with an element for
#'   each room that has older events or failed, named as in `room`. The attribute
#'   `failed` is a list of the errors, named in the same way, or `NULL`.
#' @section Errors:
#' `mx_error_room`, `mx_error_http`, `mx_error_network` and `mx_error_answer` if the room
#' cannot be read. For several rooms this is a warning of class `mx_warning_history` with
#' the fields `rooms` and `causes`, unless all of them fail.
#' @references Client-server API, "`GET /rooms/{roomId}/messages`":
#'   <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages>
#' @family receiving
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' mx_send_text(alice, room, c("one", "two", "three"))
#' mx_messages(alice, room, limit = 2)
#'
#' id <- mx_send_text(alice, room, "for")
#' mx_edit(alice, room, id, "four")
#' events <- mx_messages(alice, room)
#' events[is.na(events$replaces) & !is.na(events$body), c("body", "edited")]
#'
#' mx_messages(alice, room, since = Sys.Date(), types = "m.room.message")$body
#'
#' mx_react(alice, room, id, "\U0001f44d")
#' mx_send_text(alice, room, "five", thread = id)
#' events <- mx_messages(alice, room, threads = id, reactions = TRUE)
#' events[c("body", "thread", "reactions")]
#'
#' other <- mx_room_create(alice)
#' mx_send_text(alice, other, "elsewhere")
#' events <- mx_messages(alice, c(room, other), types = "m.room.message", limit = 5)
#' table(events$room_id)
#' @export
mx_messages <- function(
  client,
  room,
  limit = if (is.null(since)) 50 else Inf,
  from = NULL,
  unsigned = FALSE,
  edits = TRUE,
  since = NULL,
  until = NULL,
  types = NULL,
  threads = NULL,
  reactions = FALSE
) {
  machine <- machine_of(check_client(client))
  rooms <- check_rooms(room)
  starts <- check_from(from, rooms)
  since <- check_time(since)
  until <- check_time(until, end_of_day = TRUE)
  check_number(limit, least = 1)
  if (!is.null(types)) {
    check_strings(types)
  }
  check_threads(threads)
  check_flag(unsigned)
  check_flag(edits)
  check_flag(reactions)
  # Keys come with a sync. What else comes with it waits for mx_sync().
  sync_once(client, timeout = 0)
  histories <- if (length(rooms) == 1L) {
    list(room_history(client, starts[[1]], limit, since, until))
  } else {
    room_histories(client, starts, limit, since, until)
  }
  pages <- unlist(lapply(histories, pages_of), recursive = FALSE)
  events <- read_pages(client, pages, function(page) {
    machine_read_history(
      machine,
      page[["room_id"]],
      page[["body"]],
      unsigned,
      edits
    )
  })
  counts <- if (reactions) reaction_counts(events)
  is_shown <- is_wanted(events, since, until, types) &
    is_in_threads(events, threads)
  events[["reactions"]] <- counts
  events <- events[is_shown, , drop = FALSE]
  rownames(events) <- NULL
  if (length(rooms) == 1L) {
    attr(events, "end") <- histories[[1]][["end"]]
    return(events)
  }
  attr(events, "end") <- ends_of(histories)
  attr(events, "failed") <- failures_of(histories)
  events
}

# The events of pages, which are in the order of time, in that order. What is edited is
# known then when its edits are read.
read_pages <- function(client, pages, read) {
  machine <- machine_of(client)
  for (page in pages) {
    core(machine_track_senders(machine, page[["body"]]))
  }
  pump_or_warn(client, kinds = "keys_query")
  read_all <- function() {
    as_events(bind_columns(rev(lapply(pages, function(page) {
      core(read(page))
    }))))
  }
  events <- read_all()
  if (any(events[["utd_reason"]] %in% "backup_pending")) {
    pump_or_warn(client, kinds = "keys_query")
    events <- read_all()
  }
  # The newest event of a page comes first.
  events[rev(seq_len(nrow(events))), , drop = FALSE]
}

# Events without a time are in, whichever are asked for: they may be.
is_wanted <- function(events, since, until, types) {
  times <- as.numeric(events[["origin_server_ts"]])
  wanted <- rep(TRUE, length(times))
  if (!is.null(since)) {
    wanted <- wanted & (is.na(times) | times >= since)
  }
  if (!is.null(until)) {
    wanted <- wanted & (is.na(times) | times < until)
  }
  if (!is.null(types)) {
    # What could not be read may be of any type.
    is_unreadable <- !is.na(events[["utd_reason"]])
    wanted <- wanted & (is_unreadable | events[["type"]] %in% types)
  }
  wanted
}

# The time that a text names, in the time zone of the session unless it says `Z` or
# `+01:00`; NULL if it is no such text. as.POSIXct() leaves out what it does not know.
time_of_text <- function(x) {
  if (Encoding(x) == "bytes" || !validUTF8(x)) {
    return(NULL)
  }
  parts <- regmatches(
    x,
    regexec(
      paste0(
        "^([0-9]{4}-[0-9]{2}-[0-9]{2})",
        "([ T]([0-9]{2}:[0-9]{2})(:[0-9]{2}([.][0-9]+)?)?)?",
        "(Z|[+-][0-9]{2}:?[0-9]{2})?$"
      ),
      x
    )
  )[[1L]]
  if (length(parts) == 0L) {
    return(NULL)
  }
  clock <- if (nzchar(parts[[4L]])) parts[[4L]] else "00:00"
  seconds <- if (nzchar(parts[[5L]])) parts[[5L]] else ":00"
  text <- paste0(parts[[2L]], " ", clock, seconds)
  zone <- sub(
    ":",
    "",
    sub("Z", "+0000", parts[[7L]], fixed = TRUE),
    fixed = TRUE
  )
  if (!nzchar(zone)) {
    return(as.POSIXct(strptime(text, "%Y-%m-%d %H:%M:%OS", tz = "")))
  }
  strptime(paste(text, zone), "%Y-%m-%d %H:%M:%OS %z", tz = "UTC")
}

# A time in seconds since 1970, or NULL.
check_time <- function(
  x,
  end_of_day = FALSE,
  name = rlang::caller_arg(x),
  call = caller_env()
) {
  if (is.null(x)) {
    return(NULL)
  }
  force(name)
  is_date <- inherits(x, "Date") ||
    is_string(x) && grepl("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", x)
  if (inherits(x, "Date")) {
    x <- format(x)
  }
  time <- if (is_string(x)) time_of_text(x) else x
  time <- tryCatch(
    if (inherits(time, "POSIXt")) as.POSIXct(time),
    error = function(condition) NULL
  )
  if (length(time) != 1L || !is.finite(time)) {
    argument_abort(
      name,
      "one time, a date, or text such as \"2026-11-28 07:00\"",
      call
    )
  }
  if (is_date && end_of_day) {
    # Days on which clocks change have 23 or 25 hours.
    time <- seq(time, by = "DSTday", length.out = 2L)[[2L]]
  }
  as.numeric(time)
}

# The pages that hold `limit` events, or all since a time, oldest page first, and
# where older ones begin. Pages of which all events are newer than `until` are only
# passed.
history_pages <- function(
  client,
  room_id,
  limit,
  from,
  since = NULL,
  until = NULL,
  call = caller_env()
) {
  pages <- list()
  show <- history_progress()
  repeat {
    page <- history_page(client, room_id, min(limit, 100), from, call)
    page[["passed"]] <- !is.null(until) &&
      isTRUE(page[["oldest"]] / 1000 >= until)
    pages <- c(list(page), pages)
    limit <- limit - if (page[["passed"]]) 0 else page[["n"]]
    from <- page[["end"]]
    show(page)
    is_before <- !is.null(since) && isTRUE(page[["newest"]] / 1000 < since)
    if (limit <= 0 || is_before || leads_nowhere(pages)) {
      return(list(bodies = wanted_bodies(pages), end = from))
    }
  }
}

# One page at least: no page has no columns.
wanted_bodies <- function(pages) {
  passed <- vapply(pages, function(page) page[["passed"]], NA)
  kept <- if (all(passed)) utils::head(pages, 1L) else pages[!passed]
  lapply(kept, function(page) {
    page[["body"]]
  })
}

# Shows the date that was reached, until `frame` is done.
history_progress <- function(frame = caller_env()) {
  if (!rlang::is_interactive()) {
    return(function(page) NULL)
  }
  bar <- cli::cli_progress_bar("Reading history", total = NA, .envir = frame)
  function(page) {
    seconds <- page[["oldest"]] / 1000
    reached <- format(as.POSIXct(seconds, origin = "1970-01-01"), "%Y-%m-%d")
    cli::cli_progress_update(id = bar, status = reached)
  }
}

history_page <- function(client, room_id, limit, from, call) {
  query <- list(dir = "b", limit = limit, from = from)
  path <- api_path("rooms", room_id, "messages", query = query)
  answer <- http_perform(client, "GET", path, call = call)
  if (answer[["status"]] != 200L) {
    http_abort(answer, call)
  }
  page <- core(history_peek(answer[["body"]]), call = call)
  c(page, list(from = from, body = answer[["body"]]))
}

# Pages may be empty, but a server must not keep us here for ever, nor lead us in a
# circle.
leads_nowhere <- function(pages) {
  end <- pages[[1]][["end"]]
  asked <- lapply(pages, function(page) page[["from"]])
  counts <- vapply(pages, function(page) page[["n"]], 0)
  is.null(end) || end %in% asked || all(counts[1:20] %in% 0)
}

# The history of several rooms in one call: where reading begins in each, and what
# becomes of those that fail.

check_rooms <- function(room, name = "room", call = caller_env()) {
  if (is.null(room)) {
    return(list(NULL))
  }
  room <- check_strings(room, name, call)
  if (length(room) == 0L || !all(nzchar(room))) {
    argument_abort(name, "one room or several, none of them empty", call)
  }
  as.list(unique(room))
}

# The rooms to read, and where reading begins in each. Of several, one that `from` does
# not name was read to its beginning.
check_from <- function(from, rooms, call = caller_env()) {
  if (length(rooms) == 1L) {
    check_string(from, null = TRUE, call = call)
    return(list(list(room = rooms[[1]], from = from)))
  }
  if (!is.null(from) && !is_end_of(from, rooms)) {
    wanted <- "the attribute `end` of an earlier result for the same rooms"
    argument_abort("from", wanted, call)
  }
  if (!is.null(from)) {
    rooms <- rooms[rooms %in% names(from)]
  }
  lapply(rooms, function(room) list(room = room, from = from[[room]]))
}

is_end_of <- function(from, rooms) {
  is_place <- function(x) is.null(x) || is_string(x) && nzchar(x)
  is.list(from) &&
    length(from) > 0L &&
    !is.null(names(from)) &&
    all(names(from) %in% unlist(rooms)) &&
    all(vapply(from, is_place, NA))
}

room_history <- function(
  client,
  start,
  limit,
  since,
  until,
  call = caller_env()
) {
  room_id <- resolve_room(client, start[["room"]], call)
  history <- history_pages(
    client,
    room_id,
    limit,
    start[["from"]],
    since,
    until,
    call
  )
  c(list(room = start[["room"]], room_id = room_id), history)
}

# The history of each room, or its `failure` and where to begin again. If none can be
# read, the first error is raised.
room_histories <- function(
  client,
  starts,
  limit,
  since,
  until,
  call = caller_env()
) {
  histories <- lapply(starts, function(start) {
    failed <- function(condition) {
      list(
        room = start[["room"]],
        failure = condition,
        end = start[["from"]]
      )
    }
    tryCatch(
      room_history(client, start, limit, since, until, call),
      mx_error_room = failed,
      mx_error_http = failed,
      mx_error_network = failed,
      mx_error_answer = failed
    )
  })
  failures <- failures_of(histories)
  if (length(failures) == length(histories)) {
    raise(failures[[1]])
  }
  if (length(failures) > 0L) {
    warn_history(failures, length(histories))
  }
  histories
}

# The errors, by room, or NULL.
failures_of <- function(histories) {
  failures <- lapply(histories, function(history) history[["failure"]])
  is_failed <- !vapply(failures, is.null, NA)
  if (any(is_failed)) {
    stats::setNames(failures[is_failed], rooms_of(histories[is_failed]))
  }
}

# Where to continue, by room, or NULL. A room that failed may have to begin at its newest
# event, which is NULL in the list.
ends_of <- function(histories) {
  is_left <- vapply(
    histories,
    function(history) {
      !is.null(history[["failure"]]) || !is.null(history[["end"]])
    },
    NA
  )
  left <- histories[is_left]
  named <- lapply(left, function(history) history[["end"]])
  if (any(is_left)) stats::setNames(named, rooms_of(left))
}

rooms_of <- function(histories) {
  vapply(histories, function(history) history[["room"]], "")
}

warn_history <- function(failures, n) {
  lines <- paste0(
    printable(names(failures)),
    ": ",
    vapply(failures, function(failure) failure[["message"]][[1]], "")
  )
  mx_warn(
    c(
      paste(length(failures), "of", n, "rooms could not be read."),
      stats::setNames(utils::head(lines, 5L), rep("x", min(length(lines), 5L))),
      i = "Their errors are in attr(events, \"failed\")."
    ),
    "mx_warning_history",
    rooms = names(failures),
    causes = failures
  )
}

# The pages of a history, each with its room.
pages_of <- function(history) {
  lapply(history[["bodies"]], function(body) {
    list(room_id = history[["room_id"]], body = body)
  })
}

#' Receive
#'
#' `mx_sync()` asks the server what is new and returns it, decrypted.
#' `mx_listen()` does so for as long as it should, and gives each event to a
#' function.
#'
#' Nothing is lost when R is killed: keys, decrypted events and the place in the
#' server's stream are saved together. What `mx_sync()` returned counts as dealt
#' with at its next call; an event counts as dealt with by a listener when the
#' handler has returned.
#'
#' An event that cannot be read yet comes with a `utd_reason`. It is kept, and
#' comes again, with the same event id, as soon as its key has come.
#'
#' @inheritParams mx_client_session
#' @param timeout How long the server may wait for something new, in
#'   milliseconds.
#' @param limit The most events to return; the rest comes with the next call.
#' @return `mx_sync()`: a data frame of class `mx_events`, with a row for each
#'   event of the timelines of your rooms, and for each invitation:
#'   `room_id`, `event_id`, `type`, `sender`, `origin_server_ts` (POSIXct, what
#'   the sender's server says), `body`, `msgtype`, `content` (a list),
#'   `relates_to` (a list), `encrypted`, `decrypted`, `utd_reason` (why it cannot
#'   be read, `NA` if it can), `trust` (an ordered factor), `sender_verified`,
#'   `session_id`, `is_self` (from your own user), `mentions` (a list of user
#'   ids), `state_key`, `redacted` and `utd_message`. Text of others is not
#'   cleaned: it may hold anything but NUL, which is shown as U+FFFD. The
#'   attribute `problems` holds what of the answer could not be read.
#' @section Errors:
#' `mx_error_network`, `mx_error_http`, `mx_error_answer` (no sync at all; nothing
#' has changed). What could not be done after the answer was saved, such as
#' asking for devices, is a warning of class `mx_warning_pump`, and is done by
#' the next call.
#' @references Client-server API, "Syncing":
#'   <https://spec.matrix.org/v1.19/client-server-api/#syncing>
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' bob <- mx_demo_client(homeserver, "bob")
#' room <- mx_room_create(alice, invite = bob$user_id)
#'
#' mx_sync(bob)[c("type", "sender", "room_id")]
#' mx_room_join(bob, room)
#' mx_send_text(alice, room, c("one", "two"))
#' events <- mx_sync(bob)
#' events[events$type == "m.room.message", c("sender", "body", "trust")]
#'
#' mx_send_text(alice, room, "three")
#' mx_listen(
#'   bob,
#'   function(event, client) cat(event$sender, "says", event$body, "\n"),
#'   types = "m.room.message",
#'   seconds = 0
#' )
#' @export
mx_sync <- function(client, timeout = 0, limit = 1000) {
  check_client(client)
  check_number(timeout)
  check_number(limit, least = 1)
  report <- sync_once(client, timeout)
  pump_or_warn(client)
  take_events(client, "mx_sync", limit, report[["problems"]])
}

# Asks for what is new and has it taken in, whole or not at all. If another
# process was faster, its answer stands, and this one is thrown away.
sync_once <- function(client, timeout, call = caller_env()) {
  machine <- machine_of(client, call = call)
  since <- core(machine_sync_token(machine), call = call)
  path <- api_path(
    "sync",
    query = list(since = since, timeout = round(timeout), filter = sync_filter)
  )
  answer <- http_perform(client, "GET", path, timeout = timeout, call = call)
  if (answer[["status"]] != 200L) {
    http_abort(answer, call = call)
  }
  report <- machine_receive_sync(machine, since, answer[["body"]])
  report <- core(report, call = call)
  report[["first_run"]] <- is.null(since)
  report
}

# Members are fetched when a message needs them, not all of them for a start.
sync_filter <- paste0(
  "{\"room\":{\"state\":{\"lazy_load_members\":true},",
  "\"timeline\":{\"limit\":50}}}"
)

# What was received is saved already: trouble with what comes after it must not
# keep it from the user.
pump_or_warn <- function(client) {
  tryCatch(pump(client), mx_error = function(condition) {
    mx_warn(
      c("Something is left to do for the next call.", x = conditionMessage(condition)),
      "mx_warning_pump",
      parent = condition
    )
  })
}

take_events <- function(client, consumer, limit, problems = character()) {
  machine <- machine_of(client)
  columns <- core(machine_take(machine, consumer, limit))
  events <- new_events(columns)
  attr(events, "problems") <- problems
  if (nrow(events) > 0L) {
    last <- max(columns[["number"]])
    core(machine_handed(machine, consumer, last))
  }
  events
}

#' @rdname mx_sync
#' @param handler A function of an event (a list with the columns of
#'   `mx_sync()`) and the client. If it fails, listening ends with its error, and
#'   the event comes again the next time.
#' @param types The types of events to hand over, or `NULL` for all.
#' @param own Whether to hand over events of your own user.
#' @param seconds How long to listen; `0` hands over what is there.
#' @param consumer A name for this listener. Each has its own place in the
#'   stream of events, and goes on from there.
#' @return `mx_listen()`: the number of events handed over, invisibly.
#' @export
mx_listen <- function(
  client,
  handler,
  types = NULL,
  own = FALSE,
  seconds = Inf,
  timeout = 30000,
  consumer = "mx_listen"
) {
  check_client(client)
  check_function(handler)
  check_flag(own)
  check_number(seconds)
  check_number(timeout)
  check_string(consumer)
  if (!is.null(types)) {
    check_strings(types)
  }
  wanted <- function(event) {
    (own || !event[["is_self"]]) && (is.null(types) || event[["type"]] %in% types)
  }
  end <- Sys.time() + seconds
  handed <- 0
  repeat {
    left <- max(0, as.numeric(difftime(end, Sys.time(), units = "secs")))
    sync_once(client, min(timeout, left * 1000))
    pump_or_warn(client)
    handed <- handed + hand_over(client, handler, wanted, consumer)
    if (Sys.time() >= end) {
      return(invisible(handed))
    }
  }
}

# Gives each event to the handler; it is dealt with when the handler returned.
hand_over <- function(client, handler, wanted, consumer) {
  machine <- machine_of(client)
  handed <- 0
  repeat {
    columns <- core(machine_take(machine, consumer, 100))
    numbers <- columns[["number"]]
    if (length(numbers) == 0L) {
      return(handed)
    }
    events <- new_events(columns)
    for (i in seq_along(numbers)) {
      event <- event_at(events, i)
      if (wanted(event)) {
        handler(event, client)
        handed <- handed + 1
      }
      core(machine_acknowledge(machine, consumer, numbers[[i]]))
    }
  }
}

event_at <- function(events, i) {
  row <- lapply(unclass(events), function(column) column[[i]])
  attributes(row) <- list(names = names(events))
  row
}

#' The history of a room
#'
#' Reads what was said before, page by page. Events are decrypted and checked
#' like those of [mx_sync()], with the keys this device holds; they are not
#' handed over to listeners.
#'
#' @inheritParams mx_room
#' @param limit The most events to return.
#' @param from Where to go on: the attribute `end` of an earlier result. `NULL`
#'   begins with the newest event.
#' @return A data frame as from [mx_sync()], oldest event first. Its attribute
#'   `end` is where older events begin, or `NULL` at the beginning of the room.
#' @references Client-server API, "`GET /rooms/{roomId}/messages`":
#'   <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages>
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' mx_send_text(alice, room, c("one", "two", "three"))
#' mx_messages(alice, room, limit = 2)
#' @export
mx_messages <- function(client, room, limit = 50, from = NULL) {
  machine <- machine_of(check_client(client))
  check_number(limit, least = 1)
  check_string(from, null = TRUE)
  room_id <- resolve_room(client, room)
  # Their senders' devices are known then, and trust can be told.
  pump_or_warn(client)
  pages <- list()
  found <- 0
  repeat {
    query <- list(dir = "b", limit = min(limit - found, 100), from = from)
    path <- api_path("rooms", room_id, "messages", query = query)
    answer <- http_perform(client, "GET", path)
    if (answer[["status"]] != 200L) {
      http_abort(answer)
    }
    page <- core(machine_read_history(machine, room_id, answer[["body"]]))
    pages <- c(pages, list(page[["events"]]))
    found <- found + length(page[["events"]][["room_id"]])
    from <- page[["end"]]
    if (is.null(from) || found >= limit) {
      break
    }
  }
  events <- new_events(bind_columns(pages))
  events <- events[rev(seq_len(nrow(events))), , drop = FALSE]
  rownames(events) <- NULL
  attr(events, "end") <- from
  events
}

bind_columns <- function(pages) {
  names <- names(pages[[1]])
  bound <- lapply(names, function(name) {
    do.call(c, lapply(pages, function(page) page[[name]]))
  })
  names(bound) <- names
  bound
}

#' The history of a room
#'
#' Reads what was said before, page by page. Events are decrypted and checked
#' like those of [mx_sync()], with the keys that have come to this device until
#' now, and those that the key backup has; listeners, and [mx_sync()], still get
#' what is new to them.
#'
#' @inheritParams mx_room
#' @param limit The most events to return.
#' @param from Where to go on: the attribute `end` of an earlier result. `NULL`
#'   begins with the newest event.
#' @param unsigned As for [mx_sync()].
#' @param edits Whether to show edited messages as they are by now. `FALSE` shows
#'   what was said first.
#' @details
#' A message that was edited has its newest text in `body`, `msgtype`, `mentions`
#' and `content`, `edited` is `TRUE`, and `trust` is the lower of that in the
#' message and in its edit. The edits themselves are rows, too: those with
#' `is.na(replaces)` are the conversation. Only an edit that counts is shown, see
#' [mx_edit()]; where the server says that the newest one is another,
#' `edit_reason` says why it is not. A server can keep an edit back, as it can any
#' event.
#'
#' @return A data frame as from [mx_sync()], oldest event first. Where a thread
#'   begins, `thread_latest` holds its newest message, if the server sent it along:
#'   a data frame of one row. The attribute
#'   `end` is where older events begin, or `NULL` at the beginning of the room.
#'   Fewer events than `limit` with an `end` mean that the server answered with
#'   empty pages for too long.
#' @references Client-server API, "`GET /rooms/{roomId}/messages`":
#'   <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages>
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
#' @export
mx_messages <- function(
  client,
  room,
  limit = 50,
  from = NULL,
  unsigned = FALSE,
  edits = TRUE
) {
  machine <- machine_of(check_client(client))
  check_number(limit, least = 1)
  check_string(from, null = TRUE)
  check_flag(unsigned)
  check_flag(edits)
  room_id <- resolve_room(client, room)
  # Keys come with a sync. What else comes with it waits for mx_sync().
  sync_once(client, timeout = 0)
  bodies <- list()
  found <- 0
  empty <- 0
  repeat {
    query <- list(dir = "b", limit = min(limit - found, 100), from = from)
    path <- api_path("rooms", room_id, "messages", query = query)
    answer <- http_perform(client, "GET", path)
    if (answer[["status"]] != 200L) {
      http_abort(answer)
    }
    body <- answer[["body"]]
    page <- core(history_peek(body))
    bodies <- c(list(body), bodies)
    n <- page[["n"]]
    found <- found + n
    empty <- if (n == 0L) empty + 1 else 0
    from <- page[["end"]]
    # Pages may be empty, but a server must not keep us here for ever.
    if (is.null(from) || found >= limit || empty == 20) {
      break
    }
  }
  lapply(bodies, function(body) core(machine_track_senders(machine, body)))
  pump_or_warn(client)
  # Oldest first: what is edited is known then when its edits are read.
  read <- function() {
    pages <- lapply(bodies, function(body) {
      core(machine_read_history(machine, room_id, body, unsigned, edits))
    })
    new_events(bind_columns(rev(pages)))
  }
  events <- read()
  if (any(events[["utd_reason"]] %in% "backup_pending")) {
    pump_or_warn(client)
    events <- read()
  }
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

#' The history of a room
#'
#' Reads what was said before, page by page. Events are decrypted and checked
#' like those of [mx_sync()], with the keys that have come to this device until
#' now; listeners, and [mx_sync()], still get what is new to them.
#'
#' @inheritParams mx_room
#' @param limit The most events to return.
#' @param from Where to go on: the attribute `end` of an earlier result. `NULL`
#'   begins with the newest event.
#' @param unsigned As for [mx_sync()].
#' @return A data frame as from [mx_sync()], oldest event first. Its attribute
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
#' @export
mx_messages <- function(
  client,
  room,
  limit = 50,
  from = NULL,
  unsigned = FALSE
) {
  machine <- machine_of(check_client(client))
  check_number(limit, least = 1)
  check_string(from, null = TRUE)
  check_flag(unsigned)
  room_id <- resolve_room(client, room)
  # Keys come with a sync. What else comes with it waits for mx_sync().
  sync_once(client, timeout = 0)
  pump_or_warn(client)
  pages <- list()
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
    page <- core(machine_read_history(machine, room_id, body, unsigned))
    pages <- c(pages, list(page[["events"]]))
    n <- length(page[["events"]][["room_id"]])
    found <- found + n
    empty <- if (n == 0L) empty + 1 else 0
    from <- page[["end"]]
    # Pages may be empty, but a server must not keep us here for ever.
    if (is.null(from) || found >= limit || empty == 20) {
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

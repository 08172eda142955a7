# What other members see of a reader: how far they have read, and that they type.
#
# Specification: client-server API, "Fully read markers", "Receipts", "Typing
# Notifications".

#' Mark as read, send typing notifications
#'
#' `mx_mark_read()` marks a room as read up to an event: others see the read receipt,
#' and your other clients show no unread messages before it. `mx_typing()` shows the others
#' that you are typing, as a bot may do while it works.
#'
#' Neither is encrypted: the server sees what you read, and when.
#'
#' @inheritParams mx_room
#' @param event_id The id of the last event that was read, or a link to it; `NULL` for the
#'   newest event of the room.
#' @param private Whether only your own clients see the read receipt.
#' @param seconds How long typing is shown, at most, in seconds; 0 ends it. A message that
#'   you send ends it too in most clients.
#' @return `mx_mark_read()`: the id of the event, invisibly; `NA` if the room has none.
#'   `mx_typing()`: `NULL`, invisibly.
#' @section Errors:
#' `mx_error_M_FORBIDDEN` when you are not in the room.
#' @references Client-server API, "Read and unread markers" and "Typing Notifications":
#'   <https://spec.matrix.org/v1.19/client-server-api/#read-and-unread-markers>
#' @family receiving
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' bob <- mx_demo_client(homeserver, "bob")
#' room <- mx_room_create(alice, invite = bob$user_id)
#' mx_room_join(bob, room)
#' mx_send_text(alice, room, "how many?")
#'
#' event <- tail(mx_sync(bob), 1)
#' mx_mark_read(bob, room, event$event_id)
#' mx_typing(bob, room)
#' mx_send_text(bob, room, "42")
#' mx_typing(bob, room, seconds = 0)
#' @export
mx_mark_read <- function(client, room, event_id = NULL, private = FALSE) {
  check_client(client)
  check_flag(private)
  check_string(event_id, null = TRUE)
  room_id <- resolve_room(client, room)
  event_id <- event_id_of(client, room_id, event_id, "event_id") %||%
    newest_event(client, room_id)
  if (is.na(event_id)) {
    return(invisible(event_id))
  }
  markers <- list("m.fully_read" = event_id)
  markers[[if (private) "m.read.private" else "m.read"]] <- event_id
  http_json(client, "POST", api_path("rooms", room_id, "read_markers"), markers)
  invisible(event_id)
}

newest_event <- function(client, room_id, call = caller_env()) {
  query <- list(dir = "b", limit = 1)
  path <- api_path("rooms", room_id, "messages", query = query)
  page <- http_json(client, "GET", path, call = call)
  newest <- json_at(json_at(page, "chunk"), 1L)
  string_or_na(json_at(newest, "event_id"))
}

#' @rdname mx_mark_read
#' @export
mx_typing <- function(client, room, seconds = 30) {
  check_client(client)
  check_number(seconds)
  room_id <- resolve_room(client, room)
  body <- if (seconds > 0) {
    list(typing = TRUE, timeout = round(min(seconds, 3600) * 1000))
  } else {
    list(typing = FALSE)
  }
  path <- api_path("rooms", room_id, "typing", client[["user_id"]])
  http_json(client, "PUT", path, body)
  invisible()
}

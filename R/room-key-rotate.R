#' Rotate the key of a room
#'
#' The key of a room is replaced by itself after as many messages, or as long, as
#' the room says; when a member or a device leaves or is blocked; and when other
#' people may read the history from then on. This has it replaced now: whoever has
#' the key that is in use reads nothing of what comes after it, unless it is a
#' device that is given the new one.
#'
#' @inheritParams mx_room
#' @return `NULL`, invisibly.
#' @family rooms
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' mx_send_text(alice, room, "one")
#' mx_room_key_rotate(alice, room)
#' mx_send_text(alice, room, "two")
#' length(unique(mx_messages(alice, room, limit = 2)$session_id))
#' @export
mx_room_key_rotate <- function(client, room) {
  machine <- machine_of(check_client(client))
  core(machine_rotate_room_key(machine, resolve_room(client, room)))
  invisible()
}

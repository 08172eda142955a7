#' Rotate the key of a room
#'
#' Replaces the key of a room with your next message: devices that have only the old key
#' cannot read what you send from then on. The key is also replaced automatically: after
#' the number of messages or the time that the room sets, when a member or a device leaves
#' or is blocked, and when other people may read the history from then on.
#'
#' @inheritParams mx_room
#' @return `NULL`, invisibly.
#' @section Errors:
#' `mx_error_room` (no such room, or several).
#' @seealso [mx_room_encrypt()], which sets how often the key is replaced.
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

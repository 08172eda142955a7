#' List the members of a room
#'
#' Lists the users who are in a room or invited to it. The server reports them; it could
#' leave somebody out.
#'
#' @inheritParams mx_room
#' @return A data frame with a row for each member: `user_id`, `display_name`
#'   and `membership` (`join` or `invite`).
#' @section Errors:
#' `mx_error_room` (no such room, or several), `mx_error_M_FORBIDDEN` when you are not in
#' it.
#' @family rooms
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, invite = "@bob:demo")
#' mx_room_members(alice, room)
#' @export
mx_room_members <- function(client, room) {
  members_of(client, resolve_room(client, room))
}

members_of <- function(client, room_id, call = caller_env()) {
  path <- api_path("rooms", room_id, "members")
  events <- http_json(client, "GET", path, call = call)[["chunk"]]
  text <- function(event, ...) {
    value <- json_at(event, ...)
    if (is_string(value)) value else NA_character_
  }
  members <- data.frame(
    user_id = vapply(events, text, "", "state_key"),
    display_name = vapply(events, text, "", "content", "displayname"),
    membership = vapply(events, text, "", "content", "membership")
  )
  present <- members[["membership"]] %in% c("join", "invite")
  members <- members[present, , drop = FALSE]
  rownames(members) <- NULL
  members
}

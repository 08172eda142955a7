#' React, and take back
#'
#' `mx_react()` adds a reaction to an event. `mx_redact()` takes an event back:
#' servers delete its content. Someone may have read it, and copies may remain.
#'
#' In an encrypted room a reaction is encrypted, but the event it is about and
#' the reaction itself stand outside, so that servers can count reactions. A
#' redaction and its reason are never encrypted.
#'
#' @inheritParams mx_room
#' @param event_id The event.
#' @param key The reaction: an emoji.
#' @param reason Why the event is taken back, for all to read, or `NULL`.
#' @return The id of the new event, invisibly.
#' @references Client-server API, "Event annotations and reactions" and
#'   "Redactions": <https://spec.matrix.org/v1.19/client-server-api/#redactions>
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' id <- mx_send_text(alice, room, "done")
#' mx_react(alice, room, id, "\U0001f44d")
#' mx_redact(alice, room, id, reason = "not done")
#' @export
mx_react <- function(client, room, event_id, key) {
  check_client(client)
  content <- list(
    "m.relates_to" = list(
      rel_type = "m.annotation",
      event_id = check_string(event_id),
      key = check_string(key)
    )
  )
  room_id <- resolve_room(client, room)
  invisible(send_events(client, room_id, "m.reaction", as_json_text(content)))
}

#' @rdname mx_react
#' @export
mx_redact <- function(client, room, event_id, reason = NULL) {
  machine <- machine_of(check_client(client))
  check_string(event_id)
  check_string(reason, null = TRUE)
  room_id <- resolve_room(client, room)
  content <- as_object(Filter(Negate(is.null), list(reason = reason)))
  text <- as_json_text(content)
  number <- core(machine_redact(machine, room_id, event_id, text))
  invisible(see_them_sent(client, machine, room_id, number, caller_env()))
}

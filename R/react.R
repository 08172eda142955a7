#' React to messages, and redact them
#'
#' `mx_react()` adds a reaction to an event. `mx_redact()` takes an event back:
#' servers delete its content. Someone may have read it, and copies may remain.
#'
#' A reaction is not encrypted, also in an encrypted room: the server sees who
#' reacted to which event, and how. Other clients send reactions the same way.
#' Encryption would hide nothing, because the event and the emoji must stay
#' readable for the server, which counts reactions. It would cost: a device
#' without the key shows no reaction, and servers notify its readers as of a
#' message. Do not put a secret into `key`. A redaction and its reason are never
#' encrypted.
#'
#' @inheritParams mx_room
#' @param event_id The id of the event, or a link to it.
#' @param key The reaction: an emoji.
#' @param encrypt Whether to encrypt the reaction in an encrypted room. The event
#'   and `key` stay readable for the server.
#' @param reason Why the event is taken back, for all to read, or `NULL`.
#' @return The id of the new event, invisibly.
#' @section Errors:
#' Those of [mx_send()].
#' @references Client-server API, "Event annotations and reactions" and
#'   "Redactions": <https://spec.matrix.org/v1.19/client-server-api/#redactions>
#' @family sending
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' id <- mx_send_text(alice, room, "done")
#' mx_react(alice, room, id, "\U0001f44d")
#' mx_redact(alice, room, id, reason = "not done")
#' @export
mx_react <- function(client, room, event_id, key, encrypt = FALSE) {
  machine <- machine_of(check_client(client))
  check_string(event_id)
  check_string(key)
  check_flag(encrypt)
  room_id <- resolve_room(client, room)
  event_id <- event_ids_of(client, room_id, event_id, "event_id")
  if (!encrypt) {
    number <- core(machine_react(machine, room_id, event_id, key))
    return(invisible(
      see_them_sent(client, machine, room_id, number, caller_env())
    ))
  }
  relation <- list(rel_type = "m.annotation", event_id = event_id, key = key)
  content <- as_json_text(list("m.relates_to" = relation))
  invisible(send_events(client, room_id, "m.reaction", content))
}

#' @rdname mx_react
#' @export
mx_redact <- function(client, room, event_id, reason = NULL) {
  machine <- machine_of(check_client(client))
  check_string(event_id)
  check_string(reason, null = TRUE)
  room_id <- resolve_room(client, room)
  event_id <- event_ids_of(client, room_id, event_id, "event_id")
  content <- as_object(Filter(Negate(is.null), list(reason = reason)))
  text <- as_json_text(content)
  number <- core(machine_redact(machine, room_id, event_id, text))
  invisible(see_them_sent(client, machine, room_id, number, caller_env()))
}

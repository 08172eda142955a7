#' Create, leave and invite to rooms
#'
#' Creates rooms and changes who is in them. [mx_room_join()] accepts an invitation.
#'
#' A direct room is listed in your account data `m.direct`, where other clients look
#' for it: one that you create with `direct = TRUE`, and one that you join by an
#' invitation which calls it direct. [mx_room_direct()] returns the one that there is.
#'
#' @inheritParams mx_client_session
#' @param room A room: its id, its alias, a link to it (`matrix.to` or `matrix:`), or its
#'   exact name. An unknown name, or a name that several of your rooms have, is an error.
#' @param name,topic Name and topic of the room, or `NULL`.
#' @param invite User ids to invite.
#' @param encrypted Whether the room is encrypted, from its first event on.
#' @param alias The local part of an alias for the room, or `NULL`.
#' @param public Whether anybody may enter. A public room can be encrypted, but
#'   then anybody who enters can read.
#' @param direct Whether this is a direct room, a conversation with the invited users.
#' @param user_id The user to invite.
#' @param reason Why, or `NULL`.
#' @param share_history Whether the user gets the keys of earlier messages. Only keys of
#'   messages that were sent while the history visibility was `shared` or
#'   `world_readable` are given, and only to devices that their owner has signed.
#' @return `mx_room_create()`: the room id. The others `NULL`, invisibly.
#' @section Errors:
#' `mx_error_room` (no such room, or several), `mx_error_M_FORBIDDEN`. Where the
#' keys of earlier messages cannot be given, the user is invited all the same,
#' with a warning of class `mx_warning_history_not_shared`. A direct room that could
#' not be listed in `m.direct` is created all the same, with a warning of class
#' `mx_warning_direct_room`.
#' @references Client-server API, "Rooms" and "Direct Messaging":
#'   <https://spec.matrix.org/v1.19/client-server-api/#rooms>
#' @family rooms
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' bob <- mx_demo_client(homeserver, "bob")
#'
#' room <- mx_room_create(alice, name = "Pipeline")
#' mx_room_invite(alice, room, bob$user_id)
#' mx_room_join(bob, room)
#' mx_room_members(alice, "Pipeline")
#' mx_room_leave(bob, room)
#'
#' mx_room_create(alice, "For Bob", invite = bob$user_id, direct = TRUE)
#' mx_room_join(bob, "For Bob")
#' @name mx_room
NULL

#' @rdname mx_room
#' @export
mx_room_create <- function(
  client,
  name = NULL,
  topic = NULL,
  invite = character(),
  encrypted = TRUE,
  alias = NULL,
  public = FALSE,
  direct = FALSE
) {
  check_client(client)
  check_flag(encrypted)
  check_flag(public)
  check_flag(direct)
  # In a direct room both have the same rights.
  private <- if (direct) "trusted_private_chat" else "private_chat"
  body <- list(
    preset = if (public) "public_chat" else private,
    invite = I(check_user_ids(invite)),
    is_direct = direct
  )
  body[["name"]] <- check_string(name, null = TRUE)
  body[["topic"]] <- check_string(topic, null = TRUE)
  body[["room_alias_name"]] <- check_string(alias, null = TRUE)
  if (encrypted) {
    body[["initial_state"]] <- list(list(
      type = "m.room.encryption",
      state_key = "",
      content = megolm_content()
    ))
  }
  path <- api_path("createRoom")
  made <- http_json(client, "POST", path, body, idempotent = FALSE)
  room_id <- room_id_in(made)
  machine <- machine_of(client)
  if (encrypted) {
    content <- mxc_json(megolm_content())
    core(machine_note_encryption(machine, room_id, content))
  }
  core(machine_note_own_membership(machine, room_id, "join"))
  if (direct) {
    add_direct_room(client, invite, room_id)
  }
  room_id
}

# The room of a response that names one.
room_id_in <- function(response, call = caller_env()) {
  room_id <- response[["room_id"]]
  if (!is_room_id(room_id)) {
    mx_abort("The response names no room.", "mx_error_answer", call = call)
  }
  room_id
}

megolm_content <- function() {
  list(algorithm = "m.megolm.v1.aes-sha2")
}

#' @rdname mx_room
#' @export
mx_room_leave <- function(client, room) {
  room_id <- resolve_room(client, room)
  http_json(client, "POST", api_path("rooms", room_id, "leave"), "{}")
  core(machine_note_own_membership(machine_of(client), room_id, "leave"))
  invisible()
}

#' @rdname mx_room
#' @export
mx_room_invite <- function(
  client,
  room,
  user_id,
  reason = NULL,
  share_history = TRUE
) {
  room_id <- resolve_room(client, room)
  body <- list(user_id = check_string(user_id))
  body[["reason"]] <- check_string(reason, null = TRUE)
  if (check_flag(share_history)) {
    share_history(client, room_id, user_id)
  }
  http_json(client, "POST", api_path("rooms", room_id, "invite"), body)
  # The next message is for them too, also before a sync tells of it.
  core(machine_note_members_changed(machine_of(client), room_id))
  invisible()
}

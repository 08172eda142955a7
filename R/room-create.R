#' Create, join, leave and invite to rooms
#'
#' Creates rooms and changes who is in them.
#'
#' `mx_room_join()` accepts an invitation, or enters a public room. The name of an
#' invitation is what its inviter chose. An invitation may
#' still be on its way when it is accepted: where the server answers that there is
#' none, or no such room, it is asked again for some seconds
#' (`getOption("mxcrypt.max_tries")`, 5, tries in all).
#'
#' A direct room is listed in your account data `m.direct`, where other clients look
#' for it: one that you create with `direct = TRUE`, and one that you join by an
#' invitation which calls it direct.
#'
#' @inheritParams mx_client_session
#' @param room A room: its id, its alias, a link to it (`matrix.to` or `matrix:`), or its
#'   exact name. An unknown name, or
#'   one that several of your rooms bear, is an error.
#' @param name,topic What the room is called and about, or `NULL`.
#' @param invite User ids to invite.
#' @param encrypted Whether the room is encrypted, from its first event on.
#' @param alias The local part of an alias for the room, or `NULL`.
#' @param public Whether anybody may enter. A public room can be encrypted, but
#'   then anybody who enters can read.
#' @param direct Whether this is a direct room, a conversation with those invited.
#' @param user_id The user to invite.
#' @param reason Why, or `NULL`.
#' @param share_history Whether the user is given the keys of what was said before,
#'   as far as those who said it let them go to later members: the history
#'   visibility was `shared` or `world_readable` when they did. Only devices that
#'   their owner has signed get them.
#' @return `mx_room_create()`: the room id; `mx_room_join()`: the same,
#'   invisibly. The others `NULL`, invisibly.
#' @section Errors:
#' `mx_error_room` (no such room, or several), `mx_error_M_FORBIDDEN`. Where the
#' keys of what was said before cannot be given, the user is invited all the same,
#' with a warning of class `mx_warning_history_not_shared`. A direct room that could
#' not be listed in `m.direct` is created or joined all the same, with a warning of
#' class `mx_warning_direct_room`.
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
  body <- list(
    preset = if (public) "public_chat" else "private_chat",
    invite = I(check_strings(invite)),
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
mx_room_join <- function(client, room) {
  machine <- machine_of(check_client(client))
  check_string(room)
  if (!grepl("^[!#]", room)) {
    room <- room_of_invitation(client, room)
  }
  room_id <- room_id_in(join_patiently(client, room))
  invitation <- direct_invitation(machine, room_id)
  core(machine_note_own_membership(machine, room_id, "join"))
  if (!is.null(invitation)) {
    add_direct_room(client, invitation[["inviter"]], room_id)
  }
  invisible(room_id)
}

# An invitation comes from another server, or from another process of this one: until
# then this server knows neither the invitation nor the room.
join_patiently <- function(client, room, call = caller_env()) {
  path <- api_path("join", room)
  tries <- http_tries()
  for (try in seq_len(tries)) {
    joined <- tryCatch(
      http_json(client, "POST", path, "{}", call = call),
      mx_error_http = identity
    )
    if (!inherits(joined, "mx_error")) {
      return(joined)
    }
    if (try == tries || !may_come_yet(joined, room)) {
      raise(joined)
    }
    Sys.sleep(http_pause(joined, try))
  }
}

# An alias that leads nowhere is no invitation on its way.
may_come_yet <- function(refusal, room) {
  code <- refusal[["errcode"]]
  code == "M_FORBIDDEN" ||
    (startsWith(room, "!") &&
      isTRUE(refusal[["status"]] == 404L) &&
      code %in% c("M_NOT_FOUND", "M_UNKNOWN"))
}

# The row of an invitation to a direct room, or NULL.
direct_invitation <- function(machine, room_id) {
  rooms <- data.frame(core(machine_rooms(machine)))
  row <- rooms[rooms[["room_id"]] %in% room_id, , drop = FALSE]
  is_one <- row[["membership"]] == "invite" &
    row[["direct"]] &
    !is.na(row[["inviter"]])
  if (any(is_one)) row
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

#' Your rooms
#'
#' @inheritParams mx_client_session
#' @return A data frame with a row for each room you are in or invited to:
#'   `room_id`, `name`, `alias`, `membership` (`join` or `invite`), `encrypted`
#'   (whether the room is, or was once seen, encrypted) and `inviter`.
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' mx_room_create(alice, name = "Pipeline")
#' mx_rooms(alice)
#' @export
mx_rooms <- function(client) {
  machine <- machine_of(client)
  joined <- http_json(client, "GET", api_path("joined_rooms"))[["joined_rooms"]]
  joined <- Filter(is_string, unlist(joined, use.names = FALSE))
  known <- data.frame(core(machine_rooms(machine)))
  invited <- known[["room_id"]][known[["membership"]] == "invite"]
  invited <- setdiff(invited, joined)
  ids <- c(joined, invited)
  rows <- known[match(ids, known[["room_id"]]), , drop = FALSE]
  rows[["room_id"]] <- ids
  rows[["membership"]] <- rep(
    c("join", "invite"),
    c(length(joined), length(invited))
  )
  # What no sync has told yet is asked for.
  unseen <- which(is.na(match(ids, known[["room_id"]])))
  for (i in unseen) {
    rows[["name"]][[i]] <- room_text(client, ids[[i]], "m.room.name", "name")
    rows[["encrypted"]][[i]] <- room_is_encrypted(client, ids[[i]])
  }
  unnamed <- setdiff(which(is.na(rows[["name"]]) & ids %in% joined), unseen)
  for (i in unnamed) {
    rows[["name"]][[i]] <- room_text(client, ids[[i]], "m.room.name", "name")
  }
  rownames(rows) <- NULL
  rows
}

room_text <- function(client, room_id, type, name) {
  content <- room_state(client, room_id, type)
  text <- content[[name]]
  if (is_string(text)) text else NA_character_
}

# The content of a state event, or NULL where there is none.
room_state <- function(client, room_id, type, state_key = "") {
  path <- api_path("rooms", room_id, "state", type)
  if (nzchar(state_key)) {
    path <- api_path("rooms", room_id, "state", type, state_key)
  }
  tryCatch(
    http_json(client, "GET", path),
    mx_error_M_NOT_FOUND = function(condition) NULL
  )
}

# Once seen to be encrypted, a room stays so, whatever the server says later.
room_is_encrypted <- function(client, room_id) {
  machine <- machine_of(client)
  rooms <- core(machine_rooms(machine))
  if (isTRUE(rooms[["encrypted"]][match(room_id, rooms[["room_id"]])])) {
    return(TRUE)
  }
  content <- room_state(client, room_id, "m.room.encryption")
  if (is.null(content)) {
    return(FALSE)
  }
  core(machine_note_encryption(machine, room_id, mxc_json(as_object(content))))
  TRUE
}

# An empty list read from `{}` is an object.
as_object <- function(x) {
  if (length(x) == 0L) structure(list(), names = character()) else x
}

#' Make, enter and leave rooms
#'
#' @inheritParams mx_client_session
#' @param room A room: its id, its alias, or its exact name. An unknown name, or
#'   one that several of your rooms bear, is an error.
#' @param name,topic What the room is called and about, or `NULL`.
#' @param invite User ids to invite.
#' @param encrypted Whether the room is encrypted, from its first event on.
#' @param alias The local part of an alias for the room, or `NULL`.
#' @param public Whether anybody may enter. A public room can be encrypted, but
#'   then anybody who enters can read.
#' @param direct Whether this is a conversation with those invited.
#' @param user_id The user to invite.
#' @param reason Why, or `NULL`.
#' @return `mx_room_create()`: the room id; `mx_room_join()`: the same,
#'   invisibly. The others `NULL`, invisibly.
#' @section Errors:
#' `mx_error_room` (no such room, or several), `mx_error_M_FORBIDDEN`.
#' @references Client-server API, "Rooms":
#'   <https://spec.matrix.org/v1.19/client-server-api/#rooms>
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
  room_id <- made[["room_id"]]
  machine <- machine_of(client)
  if (encrypted) {
    content <- mxc_json(megolm_content())
    core(machine_note_encryption(machine, room_id, content))
  }
  core(machine_note_own_membership(machine, room_id, "join"))
  room_id
}

megolm_content <- function() {
  list(algorithm = "m.megolm.v1.aes-sha2")
}

#' @rdname mx_room
#' @export
mx_room_join <- function(client, room) {
  check_client(client)
  check_string(room)
  joined <- http_json(client, "POST", api_path("join", room), "{}")
  room_id <- joined[["room_id"]]
  core(machine_note_own_membership(machine_of(client), room_id, "join"))
  invisible(room_id)
}

#' @rdname mx_room
#' @export
mx_room_leave <- function(client, room) {
  room_id <- resolve_room(check_client(client), room)
  http_json(client, "POST", api_path("rooms", room_id, "leave"), "{}")
  core(machine_note_own_membership(machine_of(client), room_id, "leave"))
  invisible()
}

#' @rdname mx_room
#' @export
mx_room_invite <- function(client, room, user_id, reason = NULL) {
  room_id <- resolve_room(check_client(client), room)
  body <- list(user_id = check_string(user_id))
  body[["reason"]] <- check_string(reason, null = TRUE)
  http_json(client, "POST", api_path("rooms", room_id, "invite"), body)
  # The next message is for them too, also before a sync tells of it.
  core(machine_note_members_changed(machine_of(client), room_id))
  invisible()
}

#' The members of a room
#'
#' @inheritParams mx_room
#' @return A data frame with a row for each member: `user_id`, `display_name`
#'   and `membership` (`join` or `invite`).
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, invite = "@bob:demo")
#' mx_room_members(alice, room)
#' @export
mx_room_members <- function(client, room) {
  room_id <- resolve_room(check_client(client), room)
  path <- api_path("rooms", room_id, "members")
  events <- http_json(client, "GET", path)[["chunk"]]
  text <- function(event, ...) {
    value <- tryCatch(event[[c(...)]], error = function(condition) NULL)
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

#' Encrypt a room
#'
#' Switches encryption on. That cannot be undone: a room that was once seen to be
#' encrypted is never sent plaintext again, whatever its server says.
#'
#' @inheritParams mx_room
#' @param rotation_period_msgs,rotation_period_ms After how many messages, and
#'   how many milliseconds, a new key is used; `NULL` for the recommended 100
#'   messages and one week.
#' @return The id of the state event, invisibly.
#' @references Client-server API, `m.room.encryption`:
#'   <https://spec.matrix.org/v1.19/client-server-api/#mroomencryption>
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, encrypted = FALSE)
#' mx_room_encrypt(alice, room)
#' mx_rooms(alice)$encrypted
#' @export
mx_room_encrypt <- function(
  client,
  room,
  rotation_period_msgs = NULL,
  rotation_period_ms = NULL
) {
  room_id <- resolve_room(check_client(client), room)
  content <- megolm_content()
  for (name in c("rotation_period_msgs", "rotation_period_ms")) {
    value <- get(name)
    if (!is.null(value)) {
      content[[name]] <- check_number(value, name, least = 1)
    }
  }
  invisible(mx_set_state(client, room_id, "m.room.encryption", content))
}

#' Set the state of a room
#'
#' @param session A session, from [mx_client_session()], or a client.
#' @param room_id The room's id.
#' @param event_type The type of the state event.
#' @param content Its content: a list for [mxc_json()], or JSON text.
#' @param state_key Its state key.
#' @return The id of the event, invisibly. State is never encrypted: whoever runs
#'   a server can read it.
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, encrypted = FALSE)
#' session <- mx_client_session(alice)
#' mx_set_state(session, room, "m.room.topic", list(topic = "nightly runs"))
#' @export
mx_set_state <- function(session, room_id, event_type, content, state_key = "") {
  session <- as_session(session)
  check_string(room_id)
  check_string(event_type)
  path <- api_path("rooms", room_id, "state", event_type)
  if (nzchar(state_key)) {
    path <- api_path("rooms", room_id, "state", event_type, state_key)
  }
  text <- as_json_text(content)
  set <- http_json(session, "PUT", path, text)
  if (event_type == "m.room.encryption" && state_key == "") {
    remember_encryption(session, room_id, text)
  }
  invisible(set[["event_id"]])
}

# The next message must be encrypted, also before a sync tells of it.
remember_encryption <- function(session, room_id, text) {
  client <- client_at(session[["path"]])
  core(machine_note_encryption(machine_of(client), room_id, text))
}

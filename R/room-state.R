#' Turn on encryption in a room
#'
#' Switches encryption on. That cannot be undone: a room that was once seen to be
#' encrypted is never sent plaintext again, whatever its server returns.
#'
#' @inheritParams mx_room
#' @param rotation_messages,rotation_seconds After how many messages, and how many
#'   seconds, a new key is used; `NULL` for the recommended 100 messages and one
#'   week.
#' @return The id of the state event, invisibly.
#' @section Errors:
#' `mx_error_room` (no such room, or several), `mx_error_M_FORBIDDEN` when you may not
#' change the room.
#' @seealso [mx_room_key_rotate()]
#' @references Client-server API, `m.room.encryption`:
#'   <https://spec.matrix.org/v1.19/client-server-api/#mroomencryption>
#' @family rooms
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
  rotation_messages = NULL,
  rotation_seconds = NULL
) {
  room_id <- resolve_room(client, room)
  content <- megolm_content()
  if (!is.null(rotation_messages)) {
    content[["rotation_period_msgs"]] <- check_number(
      rotation_messages,
      least = 1
    )
  }
  if (!is.null(rotation_seconds)) {
    seconds <- check_number(rotation_seconds, least = 0.001)
    content[["rotation_period_ms"]] <- round(seconds * 1000)
  }
  invisible(set_state(client, room_id, "m.room.encryption", content))
}

#' Set room state
#'
#' Sets state of a room, such as its name, its topic, or data of your programs. It stays
#' until it is set again. State is never encrypted: every server in the room can read it.
#'
#' @inheritParams mx_room
#' @param type The type of the state event.
#' @param content Its content: a list for [mxc_json()], or JSON text.
#' @param state_key Its state key.
#' @return The id of the event, invisibly.
#' @section Errors:
#' `mx_error_room` (no such room, or several), `mx_error_M_FORBIDDEN` when you may not
#' set this state.
#' @seealso [mx_room_encrypt()], which sets `m.room.encryption`; [mx_set_state()],
#'   for code that was written for mx.client.
#' @references Client-server API, "Room events":
#'   <https://spec.matrix.org/v1.19/client-server-api/#room-events>
#' @family rooms
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, "lab")
#' mx_room_set_state(alice, "lab", "m.room.topic", list(topic = "nightly runs"))
#' @export
mx_room_set_state <- function(client, room, type, content, state_key = "") {
  room_id <- resolve_room(client, room)
  check_string(type)
  check_state_key(state_key)
  invisible(set_state(client, room_id, type, content, state_key))
}

#' Set room state with a session
#'
#' [mx_room_set_state()] is the everyday form: it also finds a room by its name or
#' alias.
#'
#' @param session A session, from [mx_client_session()], or a client.
#' @param room_id The room's id.
#' @param event_type The type of the state event.
#' @inheritParams mx_room_set_state
#' @return The id of the event, invisibly.
#' @family compatibility with mx.client
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, encrypted = FALSE)
#' session <- mx_client_session(alice)
#' mx_set_state(session, room, "m.room.topic", list(topic = "nightly runs"))
#' @export
mx_set_state <- function(
  session,
  room_id,
  event_type,
  content,
  state_key = ""
) {
  session <- as_session(session)
  check_string(room_id)
  check_string(event_type)
  check_state_key(state_key)
  invisible(set_state(session, room_id, event_type, content, state_key))
}

check_state_key <- function(state_key, call = caller_env()) {
  if (!is_string(state_key)) {
    argument_abort("state_key", "one string", call)
  }
  checked_text(state_key, "state_key", call)
}

set_state <- function(session, room_id, type, content, state_key = "") {
  text <- as_json_text(content)
  set <- http_json(session, "PUT", state_path(room_id, type, state_key), text)
  if (type == "m.room.encryption" && state_key == "") {
    remember_encryption(session, room_id, text)
  }
  set[["event_id"]]
}

state_path <- function(room_id, type, state_key) {
  if (nzchar(state_key)) {
    api_path("rooms", room_id, "state", type, state_key)
  } else {
    api_path("rooms", room_id, "state", type)
  }
}

# The next message must be encrypted, also before a sync tells of it.
remember_encryption <- function(session, room_id, text) {
  client <- client_at(session[["path"]])
  core(machine_note_encryption(machine_of(client), room_id, text))
}

# The content of a state event, or NULL where there is none.
room_state <- function(client, room_id, type, state_key = "") {
  on_failure(
    http_json(client, "GET", state_path(room_id, type, state_key)),
    function(condition) NULL,
    "mx_error_M_NOT_FOUND"
  )
}

# Once seen to be encrypted, a room stays so, whatever the server returns later.
room_is_encrypted <- function(client, room_id) {
  machine <- machine_of(client)
  rooms <- core(machine_rooms(machine))
  if (isTRUE(rooms[["encrypted"]][match(room_id, rooms[["room_id"]])])) {
    return(TRUE)
  }
  content <- room_state(client, room_id, "m.room.encryption")
  and_then(content, function(content) {
    if (is.null(content)) {
      return(FALSE)
    }
    text <- mxc_json(as_object(content))
    core(machine_note_encryption(machine, room_id, text))
    TRUE
  })
}

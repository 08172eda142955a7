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
  room_id <- resolve_room(client, room)
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
  if (!is_string(state_key)) {
    argument_abort("state_key", "one string", caller_env())
  }
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

#' Find or create a direct room with a user
#'
#' Returns the direct room that you have with another user, and creates one if there is
#' none. Called again, it returns the same room: a bot need not remember it. Processes
#' that share a store wait for each other, and get the same room. Two devices of yours
#' that ask at the same time may create two.
#'
#' A room counts if all of this holds:
#' * your account data `m.direct`, which all your clients share, lists it with the user;
#' * you are in it, and nobody but the two of you is in it or invited;
#' * it is encrypted;
#' * no other room replaced it (see [mx_room_follow()]).
#'
#' A room that the user has joined comes before one that they are only invited to. If
#' there is none, an invitation of the user to such a room is accepted.
#'
#' A new room is encrypted, the user is invited, and both have the same rights. What
#' other clients wrote into `m.direct` stays as it is.
#'
#' @inheritParams mx_client_session
#' @param user_id The user.
#' @return The room id.
#' @section Errors:
#' Those of [mx_room_create()]. If the server does not return the list of direct rooms or
#' the members of one, `mx_error_answer` or `mx_error_http`, and no room is created.
#' If the list cannot be written, a warning of class `mx_warning_direct_room`.
#' If another process looks for a direct room for minutes, `mx_error_store_locked`.
#' @references Client-server API, "Direct Messaging":
#'   <https://spec.matrix.org/v1.19/client-server-api/#direct-messaging>
#' @family rooms
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' bob <- mx_demo_client(homeserver, "bob")
#' room <- mx_room_direct(alice, bob$user_id)
#' mx_room_direct(bob, alice$user_id) == room
#' mx_send_text(bob, mx_room_direct(bob, alice$user_id), "hello")
#' @export
mx_room_direct <- function(client, user_id) {
  check_client(client)
  check_user_ids(check_string(user_id), "user_id")
  if (user_id == client[["user_id"]]) {
    argument_abort("user_id", "another user than yourself", caller_env())
  }
  lock <- lock_direct_rooms(client)
  on.exit(end_lock(lock))
  # Only a sync returns invitations.
  sync_once(client, timeout = 0)
  find_direct_room(client, user_id) %||%
    accept_direct_room(client, user_id) %||%
    mx_room_create(client, invite = user_id, direct = TRUE)
}

# Two jobs of one bot that begin together would each find no room, and make one.
lock_direct_rooms <- function(client, seconds = 120, call = caller_env()) {
  machine_of(client, call = call)
  lock <- list(
    place = store_place(client[["store_dir"]]),
    name = "direct-room"
  )
  end <- monotonic_time() + seconds
  begin <- function() listener_begin(lock[["place"]], lock[["name"]])
  while (!core(begin(), call = call)) {
    if (monotonic_time() >= end) {
      mx_abort(
        c(
          "Another process has been looking for a direct room for too long.",
          i = "Wait for it to finish, or end it, and try again."
        ),
        c("mx_error_store_locked", "mx_error_store"),
        call = call
      )
    }
    Sys.sleep(0.1)
  }
  lock
}

# The listed room in which the two are alone, or NULL. A list that cannot be read is an
# error: otherwise each failure of the server would create another room.
find_direct_room <- function(client, user_id, call = caller_env()) {
  listed <- direct_rooms(client, call)
  listed <- listed[["room_id"]][listed[["user_id"]] == user_id]
  joined <- http_json(client, "GET", api_path("joined_rooms"), call = call)
  joined <- joined[["joined_rooms"]]
  if (!is.list(joined)) {
    not_listed_abort("the rooms that you are in", call)
  }
  rooms <- intersect(listed, unlist(joined))
  invited <- NULL
  for (room_id in rooms) {
    membership <- membership_alone(client, room_id, user_id, call)
    if (identical(membership, "join")) {
      return(room_id)
    }
    if (identical(membership, "invite")) {
      invited <- invited %||% room_id
    }
  }
  invited
}

# The membership of a user in a room with nobody else but us, or NULL if the room cannot
# be used as a direct one.
membership_alone <- function(client, room_id, user_id, call = caller_env()) {
  known <- core(machine_known_room(machine_of(client), room_id), call = call)
  if (!is.null(known[["successor"]])) {
    return(NULL)
  }
  members <- members_of(client, room_id, call)
  if (!client[["user_id"]] %in% members[["user_id"]]) {
    not_listed_abort(paste("the members of", printable(room_id)), call)
  }
  is_pair <- setequal(members[["user_id"]], c(client[["user_id"]], user_id))
  if (is_pair && room_is_encrypted(client, room_id)) {
    members[["membership"]][match(user_id, members[["user_id"]])]
  }
}

not_listed_abort <- function(what, call) {
  mx_abort(
    c(
      paste0("The server did not return ", what, "."),
      x = "Whether there is a direct room cannot be known, so none was made.",
      i = "Try again later."
    ),
    "mx_error_answer",
    call = call
  )
}

# Joins the direct room that the user invites to. The invitation is the server's word: a
# room with more members, or without encryption, is left again.
accept_direct_room <- function(client, user_id, call = caller_env()) {
  rooms <- data.frame(core(machine_rooms(machine_of(client)), call = call))
  is_one <- rooms[["membership"]] == "invite" &
    rooms[["direct"]] &
    rooms[["encrypted"]] &
    rooms[["inviter"]] %in% user_id
  for (room_id in rooms[["room_id"]][is_one]) {
    joined <- tryCatch(
      mx_room_join(client, room_id),
      mx_error_http = function(condition) NULL
    )
    if (!is.null(joined)) {
      if (identical(membership_alone(client, room_id, user_id, call), "join")) {
        return(room_id)
      }
      leave_quietly(client, room_id)
    }
  }
  NULL
}

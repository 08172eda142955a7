# Room upgrades: the tombstone of a room names the room that replaces it. The core judges
# whether its sender may do that (judgement/room_upgrade.rs).
#
# Specification: client-server API, "Room Upgrades".

#' Follow a room upgrade
#'
#' An upgrade replaces a room by a new one; the old room stays, and its state
#' (`m.room.tombstone`) names the new one. `mx_room_follow()` joins the new room, if the
#' upgrade is valid, and returns its id.
#'
#' An upgrade is an event of type `m.room.tombstone` for [mx_sync()] and [mx_listen()], with
#' the new room in `content$replacement_room`. [mx_rooms()] has the new room of each room
#' in `successor`. The first message that a session sends into the old room afterwards
#' comes with a warning of class `mx_warning_room_upgraded`, whose `successor` is the new
#' room. No upgrade is followed automatically: where to send is your decision.
#'
#' The new room is joined only if
#' * the sender of the tombstone may upgrade the old room, by its power levels; creators
#'   of a room of version 12 or later may always;
#' * the new room says that it replaces the old one (`predecessor` of its `m.room.create`);
#' * the new room is encrypted, if the old one was ever seen to be.
#'
#' Often only a member can read the last two. Then the new room is joined, and left again
#' if a condition fails; nothing is sent there meanwhile. If the old room was a direct
#' one, the new room is listed as a direct one too.
#'
#' The state of a room is not encrypted, and not signed by devices. These checks stop
#' members who may not upgrade the room; they do not stop your own server. Check who is in
#' the new room before you send there what your server must not have.
#'
#' @inheritParams mx_room_join
#' @param room The old room: its id, alias, a link to it, or its exact name.
#' @param via Names of servers that are in the new room, or `NULL`. The server of the user
#'   who upgraded it is tried anyway.
#' @param allow_unencrypted Whether a new room that is not encrypted is joined, although
#'   the old one was encrypted.
#' @return The id of the new room, invisibly.
#' @section Errors:
#' `mx_error_upgrade`, whose `reason` is `not_upgraded` (the room has no tombstone),
#' `no_successor` (it names no other room), `not_allowed` (its sender may not upgrade),
#' `other_predecessor` (the new room does not name this one) or
#' `not_encrypted`; `successor` is the room that was named. Errors of [mx_room_join()].
#' @references Client-server API, "Room upgrades":
#'   <https://spec.matrix.org/v1.19/client-server-api/#room-upgrades>
#' @family rooms
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' old <- mx_room_create(alice, "Pipeline")
#' tryCatch(mx_room_follow(alice, old), mx_error_upgrade = function(e) e$reason)
#'
#' # What a program may do with an upgrade:
#' handler <- function(event, client) {
#'   if (event$type == "m.room.tombstone") {
#'     room <- mx_room_follow(client, event$room_id)
#'     mx_send_text(client, room, "I am here now.")
#'   }
#' }
#' mx_listen(alice, handler, seconds = 0)
#' @export
mx_room_follow <- function(
  client,
  room,
  via = NULL,
  allow_unencrypted = FALSE
) {
  check_client(client)
  via <- check_via(via)
  check_flag(allow_unencrypted)
  room_id <- resolve_room(client, room)
  upgrade <- upgrade_of(client, room_id)
  successor <- upgrade[["successor"]]
  must_stay_encrypted <- !allow_unencrypted &&
    room_is_encrypted(client, room_id)
  check <- function() {
    check_predecessor(client, room_id, successor)
    if (must_stay_encrypted) {
      check_encrypted(client, successor)
    }
  }
  # Without joining, a member can read its state, or anybody if its history is public.
  checked <- tryCatch(
    {
      check()
      TRUE
    },
    mx_error_http = function(condition) FALSE
  )
  was_member <- successor %in% joined_rooms(client, caller_env())[["room_id"]]
  if (!was_member) {
    join_successor(client, upgrade, via)
  }
  if (!checked) {
    tryCatch(check(), error = function(condition) {
      if (!was_member) {
        leave_quietly(client, successor)
      }
      raise(condition)
    })
  }
  stay_direct(client, room_id, successor)
  invisible(successor)
}

# The upgrade of a room, if it counts.
upgrade_of <- function(client, room_id, call = caller_env()) {
  path <- api_path("rooms", room_id, "state")
  answer <- http_perform(client, "GET", path, call = call)
  if (answer[["status"]] != 200L) {
    http_abort(answer, call = call)
  }
  upgrade <- core(room_upgrade_read(answer[["body"]]), call = call)
  successor <- upgrade[["successor"]]
  if (is.null(upgrade)) {
    upgrade_abort("not_upgraded", room_id, NULL, "It has no tombstone.", call)
  }
  if (is.null(successor) || successor == room_id) {
    found <- "Its tombstone names no other room."
    upgrade_abort("no_successor", room_id, NULL, found, call)
  }
  if (!upgrade[["allowed"]]) {
    found <- paste0(
      printable(upgrade[["sender"]]),
      " says that ",
      printable(successor),
      " replaces it, and may not upgrade the room."
    )
    upgrade_abort("not_allowed", room_id, successor, found, call)
  }
  upgrade
}

check_predecessor <- function(client, room_id, successor, call = caller_env()) {
  path <- state_path(successor, "m.room.create", "")
  answer <- http_perform(client, "GET", path, call = call)
  if (answer[["status"]] != 200L) {
    http_abort(answer, call = call)
  }
  named <- core(room_predecessor_read(answer[["body"]]), call = call)
  if (!identical(named, room_id)) {
    found <- paste(
      printable(successor),
      if (is.null(named)) {
        "does not say that it replaces a room."
      } else {
        paste0("says that it replaces ", printable(named), ".")
      }
    )
    upgrade_abort("other_predecessor", room_id, successor, found, call)
  }
}

check_encrypted <- function(client, successor, call = caller_env()) {
  if (!room_is_encrypted(client, successor)) {
    mx_abort(
      c(
        paste0(printable(successor), " is not encrypted, and the old room is."),
        x = "Whatever is sent there can be read by the servers.",
        i = paste0(
          "With `allow_unencrypted = TRUE` it is joined; mx_room_encrypt() turns ",
          "encryption on."
        )
      ),
      "mx_error_upgrade",
      reason = "not_encrypted",
      successor = successor,
      call = call
    )
  }
}

upgrade_abort <- function(reason, room_id, successor, found, call) {
  mx_abort(
    c(
      paste0("The room ", printable(room_id), " cannot be followed."),
      x = found,
      i = if (!is.null(successor)) {
        "Ask its members, by another way, where it went; mx_room_join() joins any room."
      }
    ),
    "mx_error_upgrade",
    reason = reason,
    successor = successor,
    call = call
  )
}

# Specification: "Room Upgrades": the server of who upgraded is in the new room.
join_successor <- function(client, upgrade, via, call = caller_env()) {
  successor <- upgrade[["successor"]]
  way <- way_to_room(client, successor, NULL, call)
  way[["via"]] <- unique(c(via, server_of(upgrade[["sender"]]), way[["via"]]))
  joined <- room_id_in(join_patiently(client, way, call = call), call)
  if (joined != successor) {
    mx_abort(
      paste0(
        "The server joined ",
        printable(joined),
        " in place of ",
        printable(successor),
        "."
      ),
      "mx_error_answer",
      call = call
    )
  }
  machine <- machine_of(client, call = call)
  core(machine_note_own_membership(machine, successor, "join"), call = call)
}

# A failure to leave must not hide the reason to leave.
leave_quietly <- function(client, room_id) {
  tryCatch(mx_room_leave(client, room_id), mx_error = function(condition) NULL)
}

# If the old room was a direct one, the new one becomes one too.
stay_direct <- function(client, room_id, successor, call = caller_env()) {
  listed <- tryCatch(direct_rooms(client, call), mx_error = function(e) NULL)
  users <- listed[["user_id"]][listed[["room_id"]] %in% room_id]
  if (length(users) > 0L) {
    add_direct_room(client, users, successor, call)
  }
}

# Told once a session and room: a bot that sends every minute would drown in it.
warn_upgraded <- function(client, room_id, successor) {
  if (is.null(successor)) {
    return(invisible())
  }
  key <- paste(client[["store_dir"]], room_id, successor)
  if (key %in% the[["upgraded_told"]]) {
    return(invisible())
  }
  the[["upgraded_told"]] <- last_of(c(the[["upgraded_told"]], key), 10000L)
  mx_warn(
    c(
      paste0("The room ", printable(room_id), " was replaced by another one."),
      x = paste0(
        "Few may read here: the new room is ",
        printable(successor),
        "."
      ),
      i = "mx_room_follow() joins it, if the upgrade holds."
    ),
    "mx_warning_room_upgraded",
    room_id = room_id,
    successor = successor
  )
}

#' List your rooms and invitations
#'
#' Lists the rooms that you are in or invited to. It syncs first, because only a sync
#' returns invitations; the events of that sync are kept for [mx_sync()] and
#' [mx_listen()].
#'
#' @inheritParams mx_client_session
#' @return A data frame with a row for each room: `room_id`, `name`, `alias`,
#'   `membership` (`join` or `invite`), `encrypted` (whether the room is, or was
#'   once seen, encrypted), `direct` (whether your account data `m.direct` lists it, or
#'   the invitation calls it direct; `NA` if that could not be read), `inviter` and
#'   `successor`, the room that replaces it (see [mx_room_follow()]). The inviter chooses
#'   the name and `direct` of an invitation.
#' @section Errors:
#' Those of [mx_sync()]. If the server does not return the list of direct rooms,
#' that is a warning of class `mx_warning_direct_room`.
#' @references Client-server API, "Direct Messaging":
#'   <https://spec.matrix.org/v1.19/client-server-api/#direct-messaging>
#' @family rooms
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' bob <- mx_demo_client(homeserver, "bob")
#' mx_room_create(alice, name = "Pipeline")
#' mx_room_create(bob, name = "Bob and Alice", invite = alice$user_id, direct = TRUE)
#' mx_rooms(alice)
#' @export
mx_rooms <- function(client) {
  machine <- machine_of(client)
  # Only a sync returns invitations.
  sync_once(client, timeout = 0)
  joined <- http_json(client, "GET", api_path("joined_rooms"))[["joined_rooms"]]
  joined <- Filter(is_room_id, unlist(joined, use.names = FALSE))
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
  # The sync has told of all rooms, but those whose part of it could not be read. One
  # of which the server says nothing has no name.
  for (i in which(is.na(match(ids, known[["room_id"]])))) {
    rows[["name"]][[i]] <- tryCatch(
      room_text(client, ids[[i]], "m.room.name", "name"),
      mx_error = function(condition) NA_character_
    )
    rows[["encrypted"]][[i]] <- tryCatch(
      room_is_encrypted(client, ids[[i]]),
      mx_error = function(condition) NA
    )
  }
  rows[["direct"]] <- is_direct(client, ids) |
    (rows[["membership"]] == "invite" & rows[["direct"]] %in% TRUE)
  rownames(rows) <- NULL
  rows
}

# Whether rooms are listed as direct ones: NA where the list cannot be had.
is_direct <- function(client, room_ids, call = caller_env()) {
  tryCatch(
    room_ids %in% direct_rooms(client, call)[["room_id"]],
    mx_error = function(condition) {
      mx_warn(
        c(
          "Which rooms are direct ones could not be read.",
          x = conditionMessage(condition)
        ),
        "mx_warning_direct_room",
        cause = condition
      )
      rep(NA, length(room_ids))
    }
  )
}

is_room_id <- function(x) is_string(x) && startsWith(x, "!")

room_text <- function(client, room_id, type, name) {
  content <- room_state(client, room_id, type)
  text <- content[[name]]
  if (is_string(text)) text else NA_character_
}

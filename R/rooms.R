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

# Rooms by id, alias or exact name. A name that is unknown or not unique is an
# error: to guess would send a message to another room.

resolve_room <- function(client, room, call = caller_env()) {
  check_client(client, call = call)
  if (is.null(room)) {
    room <- unclass(client)[["room_id"]]
    if (is.null(room)) {
      argument_abort("room", "given: the client has no room of its own", call)
    }
  }
  check_string(room, "room", call = call)
  switch(
    substr(room, 1, 1),
    "!" = room,
    "#" = room_of_alias(client, room, call),
    room_of_name(client, room, call)
  )
}

room_of_alias <- function(client, alias, call) {
  path <- api_path("directory", "room", alias)
  found <- http_json(client, "GET", path, call = call)[["room_id"]]
  if (!is_string(found)) {
    mx_abort(
      paste0("The server knows no room id for ", alias, "."),
      "mx_error_room",
      call = call
    )
  }
  found
}

room_of_name <- function(client, name, call) {
  rooms <- mx_rooms(client)
  rooms <- rooms[rooms[["membership"]] == "join", ]
  found <- rooms[["room_id"]][!is.na(rooms[["name"]]) & rooms[["name"]] == name]
  if (length(found) == 1L) {
    return(found)
  }
  message <- if (length(found) == 0L) {
    c(
      paste0("You are in no room named \"", name, "\"."),
      i = "mx_rooms() lists your rooms; a room id or alias works too."
    )
  } else {
    c(
      paste0("You are in ", length(found), " rooms named \"", name, "\"."),
      i = paste("Say which by its id:", paste(found, collapse = ", "))
    )
  }
  mx_abort(message, "mx_error_room", call = call)
}

# Rooms by id, alias, link or exact name. A name that is unknown or not unique is an
# error: to guess would send a message to another room.

resolve_room <- function(client, room, call = caller_env()) {
  check_client(client, call = call)
  if (is.null(room)) {
    room <- unclass(client)[["room_id"]]
    if (is.null(room)) {
      argument_abort("room", "given: the client has no room of its own", call)
    }
  }
  room <- room_of_link(check_string(room, "room", call = call), call)
  switch(
    substr(room, 1, 1),
    "!" = room,
    "#" = room_of_alias(client, room, call),
    room_of_name(client, room, call)
  )
}

# The ids of several rooms, each once; NULL stays.
resolve_rooms <- function(client, rooms, call = caller_env()) {
  if (!is.null(rooms)) {
    ids <- vapply(rooms, function(room) resolve_room(client, room, call), "")
    unique(unname(ids))
  }
}

room_of_alias <- function(client, alias, call) {
  path <- api_path("directory", "room", alias)
  and_then(http_json(client, "GET", path, call = call), function(answer) {
    found <- answer[["room_id"]]
    if (!is_room_id(found)) {
      mx_abort(
        paste0("The server knows no room id for ", printable(alias), "."),
        "mx_error_room",
        call = call
      )
    }
    found
  })
}

# The rooms that the store knows. Whether the server can be reached does not matter.
joined_rooms <- function(client, call) {
  known <- core(machine_rooms(machine_of(client, call = call)), call = call)
  known <- data.frame(known[c("room_id", "name", "membership")])
  known[known[["membership"]] == "join", ]
}

room_of_name <- function(client, name, call) {
  rooms <- joined_rooms(client, call)
  # The room may be new, or no sync may have told of any.
  synced <- if (!name %in% rooms[["name"]]) {
    sync_once(client, timeout = 0, call = call)
  }
  and_then(synced, function(report) {
    only_room_named(name, joined_rooms(client, call), call)
  })
}

# The room of an invitation, or one that was joined already: to join it once more
# changes nothing.
room_of_invitation <- function(client, name, call = caller_env()) {
  rooms <- mx_rooms(client)
  invited <- rooms[rooms[["membership"]] == "invite", ]
  found <- if (name %in% invited[["name"]]) invited else rooms
  only_room_named(name, found, call)
}

# The id of the one room in `rooms` that bears this very name.
only_room_named <- function(name, rooms, call) {
  found <- rooms[rooms[["name"]] %in% name, ]
  if (nrow(found) == 1L) {
    return(found[["room_id"]])
  }
  message <- if (nrow(found) == 0L) {
    c(
      paste0("None of your rooms is named \"", name, "\"."),
      i = did_you_mean(name, rooms[["name"]]),
      i = "mx_rooms() lists your rooms; a room id or alias works too."
    )
  } else {
    c(
      paste0(nrow(found), " of your rooms are named \"", name, "\"."),
      i = paste(
        "Say which by its id:",
        paste(described(found), collapse = ", ")
      )
    )
  }
  mx_abort(message, "mx_error_room", call = call)
}

described <- function(rooms) {
  inviter <- rooms[["inviter"]]
  invited <- rooms[["membership"]] == "invite" & !is.na(inviter)
  by <- paste0(" (", printable(inviter), " invites you)")
  paste0(rooms[["room_id"]], ifelse(invited, by, ""))
}

# A server chooses names, and comparing long ones takes long: nobody types such a name.
did_you_mean <- function(name, names) {
  near <- near_names(name, names[!is.na(names) & nchar(names) <= 100])
  if (length(near) > 0L) {
    paste0("Did you mean \"", paste(near, collapse = "\" or \""), "\"?")
  }
}

# The three nearest of those that contain the name or are part of it, or differ from
# it in a third of its letters at most.
near_names <- function(name, names) {
  if (nchar(name) > 100L) {
    return(character())
  }
  names <- unique(names[nzchar(names)])
  wanted <- lower_case(name)
  found <- lower_case(names)
  distance <- drop(utils::adist(wanted, found))
  holds <- function(whole, part) {
    nchar(part) > 2L && grepl(part, whole, fixed = TRUE)
  }
  is_part <- vapply(found, function(x) holds(x, wanted) || holds(wanted, x), NA)
  is_near <- is_part | distance <= max(1, nchar(name) %/% 3)
  near <- names[is_near][order(distance[is_near])]
  printable(utils::head(near, 3))
}

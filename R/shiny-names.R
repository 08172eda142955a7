# The display names of the members of a room, which the tabs of an app share. They are
# requested when a message of the member is to be shown, and follow changes.

people_of <- function(feed, room_id) {
  people <- feed[["people"]][[room_id]]
  if (is.null(people)) {
    people <- rlang::env(
      client = feed[["client"]],
      room_id = room_id,
      names = character(),
      changed = shiny::reactiveVal(0)
    )
    feed[["people"]][[room_id]] <- people
  }
  people
}

# The names, NA where there is none, or none yet.
names_of <- function(people, user_ids) {
  people[["changed"]]()
  new <- setdiff(user_ids[nzchar(user_ids)], names(people[["names"]]))
  people[["names"]][new] <- NA_character_
  for (user_id in new) {
    request_name(people, user_id)
  }
  unname(people[["names"]][user_ids])
}

request_name <- function(people, user_id) {
  room_id <- people[["room_id"]]
  path <- api_path("rooms", room_id, "state", "m.room.member", user_id)
  promises::then(
    run_async(people[["client"]], function(client) {
      http_json(client, "GET", path)
    }),
    function(member) set_name(people, user_id, member[["displayname"]]),
    # The user id does as well.
    function(condition) NULL
  )
}

set_name <- function(people, user_id, name) {
  name <- if (is_string(name)) plain_line(name, 60L) else NA_character_
  name <- if (nzchar(name, keepNA = FALSE)) name else NA_character_
  if (!identical(people[["names"]][[user_id]], name)) {
    people[["names"]][[user_id]] <- name
    touch(people)
  }
}

# A member who changed their name.
note_names <- function(people, events) {
  for (i in which(events[["type"]] == "m.room.member")) {
    user_id <- events[["state_key"]][[i]]
    is_here <- identical(events[["room_id"]][[i]], people[["room_id"]])
    if (is_here && user_id %in% names(people[["names"]])) {
      name <- json_at(events[["content"]][[i]], "displayname")
      set_name(people, user_id, name)
    }
  }
}

# What is in the key backup, and who reads what.

# Alice, who has said something in a room, and whose keys are backed up.
backed_up <- function(texts = c("one", "two")) {
  homeserver <- mx_demo_homeserver()
  own <- with_recovery_key(homeserver)
  room <- mx_room_create(own$client)
  mx_send_text(own$client, room, texts)
  mx_backup_upload(own$client)
  list(
    homeserver = homeserver,
    alice = own$client,
    key = own$key,
    room = room
  )
}

bodies_of <- function(client, room) {
  events <- messages(mx_messages(client, room))
  ifelse(is.na(events$utd_reason), events$body, events$utd_reason)
}

backup_keys <- function(client) {
  version <- mx_backup_status(client)$version
  path <- api_path("room_keys", "keys", query = list(version = version))
  http_json(client, "GET", path)[["rooms"]]
}

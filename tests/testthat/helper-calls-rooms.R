# Rooms.
calls_rooms <- function(scene) {
  alice <- scene$alice
  room <- scene$room
  list(
    mx_room_create = list(
      client = alice,
      name = "x",
      topic = "x",
      invite = "@bob:demo",
      encrypted = TRUE,
      alias = NULL,
      public = FALSE,
      direct = FALSE
    ),
    mx_room_encrypt = list(
      client = alice,
      room = room,
      rotation_messages = 100,
      rotation_seconds = 1e6
    ),
    mx_room_invite = list(
      client = alice,
      room = room,
      user_id = "@carol:demo",
      reason = "x",
      share_history = FALSE
    ),
    mx_room_direct = list(client = alice, user_id = "@bob:demo"),
    mx_room_follow = list(
      client = alice,
      room = upgraded_room(alice),
      via = "demo",
      allow_unencrypted = FALSE
    ),
    mx_room_join = list(
      client = alice,
      room = room,
      via = "demo",
      reason = "x"
    ),
    mx_room_knock = list(
      client = alice,
      room = knocking_room(scene$bob),
      reason = "x",
      via = "demo"
    ),
    mx_room_key_rotate = list(client = alice, room = room),
    mx_room_leave = list(client = scene$bob, room = room),
    mx_room_members = list(client = alice, room = room),
    mx_rooms = list(client = alice),
    mx_profile = list(client = alice, user_id = "@bob:demo"),
    mx_profile_set = list(client = alice, name = "x", avatar = NA),
    mx_mark_read = list(
      client = alice,
      room = room,
      event_id = "$x",
      private = FALSE
    ),
    mx_typing = list(client = alice, room = room, seconds = 30),
    mx_room_set_state = list(
      client = alice,
      room = room,
      type = "m.room.topic",
      content = list(topic = "x"),
      state_key = ""
    ),
    mx_set_state = list(
      session = alice,
      room_id = room,
      event_type = "m.room.topic",
      content = list(topic = "x"),
      state_key = ""
    )
  )
}

# A room that a new room says it replaces, and that says so itself.
upgraded_room <- function(client) {
  old <- mx_room_create(client)
  body <- list(
    creation_content = list(predecessor = list(room_id = old)),
    initial_state = list(list(
      type = "m.room.encryption",
      state_key = "",
      content = megolm_content()
    ))
  )
  new <- http_json(client, "POST", api_path("createRoom"), body)[["room_id"]]
  content <- list(body = "", replacement_room = new)
  mx_room_set_state(client, old, "m.room.tombstone", content)
  old
}

# A room that takes knocks.
knocking_room <- function(client) {
  room <- mx_room_create(client)
  rule <- list(join_rule = "knock")
  mx_room_set_state(client, room, "m.room.join_rules", rule)
  room
}

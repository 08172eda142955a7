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
    mx_room_join = list(client = alice, room = room),
    mx_room_key_rotate = list(client = alice, room = room),
    mx_room_leave = list(client = scene$bob, room = room),
    mx_room_members = list(client = alice, room = room),
    mx_rooms = list(client = alice),
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

# Shiny.
calls_shiny <- function(scene) {
  session <- if (requireNamespace("shiny", quietly = TRUE)) {
    shiny::MockShinySession$new()
  }
  list(
    mx_reactive_events = list(
      client = scene$alice,
      rooms = scene$room,
      types = "m.room.message",
      last = 10,
      history = 0,
      consumer = "feed",
      session = session
    ),
    mx_security_page = list(client = scene$alice, hosts = "example.org"),
    mx_room_page = list(
      client = scene$alice,
      room = scene$room,
      last = 10,
      history = 0,
      hosts = "example.org"
    ),
    mx_room_ui = list(id = "x", height = "10rem"),
    mx_room_server = list(
      id = "x",
      client = scene$alice,
      room = scene$room,
      last = 10,
      history = 0,
      consumer = "feed",
      session = session
    )
  )
}

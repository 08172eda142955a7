# What is said in rooms.
calls_messages <- function(scene) {
  alice <- scene$alice
  room <- scene$room
  event <- mx_send_text(alice, room, "hello")
  file <- tempfile()
  writeLines("x", file)
  list(
    mx_send = list(
      client = alice,
      room = room,
      content = list(msgtype = "m.text", body = "x"),
      type = "m.room.message",
      transaction_id = NULL
    ),
    mx_send_text = list(
      client = alice,
      room = room,
      text = "x",
      markdown = TRUE,
      mentions = "@bob:demo",
      reply_to = event,
      thread = event,
      msgtype = "m.text",
      transaction_id = NULL
    ),
    mx_send_media = list(
      client = alice,
      room = room,
      path = file,
      body = "x",
      content_type = "text/plain"
    ),
    mx_send_table = list(
      client = alice,
      room = room,
      x = data.frame(a = 1),
      title = "x",
      max_rows = 5,
      row_names = FALSE,
      transaction_id = NULL
    ),
    mx_edit = list(
      client = alice,
      room = room,
      event_id = event,
      text = "x",
      markdown = TRUE,
      mentions = "@bob:demo",
      notify = "@bob:demo",
      msgtype = "m.text",
      transaction_id = NULL
    ),
    mx_react = list(client = alice, room = room, event_id = event, key = "!"),
    mx_redact = list(
      client = alice,
      room = room,
      event_id = event,
      reason = NULL
    ),
    mx_sync = list(client = alice, timeout = 0, limit = 5, unsigned = FALSE),
    mx_listen = list(
      client = alice,
      handler = function(event, client) NULL,
      types = NULL,
      own = FALSE,
      seconds = 0,
      timeout = 0,
      consumer = "x",
      unsigned = FALSE,
      on_verification = NULL
    ),
    mx_messages = list(
      client = alice,
      room = room,
      limit = 5,
      from = NULL,
      unsigned = FALSE,
      edits = TRUE
    ),
    mx_undecrypted = list(client = alice)
  )
}

# The arguments of mx_send_file() and its like.
a_file <- function(client, room, path, event, type = NULL) {
  list(
    client = client,
    room = room,
    path = path,
    name = "x",
    caption = "x",
    markdown = TRUE,
    mentions = "@bob:demo",
    reply_to = event,
    thread = event,
    thumbnail = NULL,
    type = type,
    transaction_id = NULL
  )
}

# An event that brought a file.
sealed_event <- function(client, room, file) {
  mx_send_file(client, room, file)
  events <- mx_messages(client, room)
  events[nrow(events), ]
}

# A report that is soon rendered.
a_report <- function() {
  report <- tempfile(fileext = ".Rmd")
  writeLines(c("---", "output: md_document", "---", "x"), report)
  report
}

# What is said in rooms.
calls_messages <- function(scene) {
  alice <- scene$alice
  room <- scene$room
  event <- mx_send_text(alice, room, "hello")
  file <- tempfile()
  writeLines("x", file)
  content <- list(
    client = alice,
    room = room,
    content = list(msgtype = "m.text", body = "x"),
    type = "m.room.message",
    transaction_id = NULL
  )
  text <- list(
    client = alice,
    room = room,
    text = "x",
    markdown = TRUE,
    mentions = "@bob:demo",
    reply_to = event,
    thread = event,
    msgtype = "m.text",
    transaction_id = NULL,
    collapse = NULL
  )
  objects <- list(
    client = alice,
    room = room,
    ... = "x",
    thread = event,
    mentions = "@bob:demo",
    reply_to = event
  )
  news <- list(
    client = alice,
    timeout = 0,
    limit = 5,
    unsigned = FALSE,
    consumer = "viewer"
  )
  beat <- mx_heartbeat(alice, room, "x", 3600, name = "x")
  list(
    mx_heartbeat = list(
      client = alice,
      room = room,
      text = "x",
      after = 3600,
      name = "y",
      markdown = TRUE,
      mentions = "@bob:demo"
    ),
    mx_heartbeat_restart = list(beat = beat, name = NULL),
    mx_heartbeat_stop = list(
      beat = mx_heartbeat(alice, room, "x", 3600),
      name = NULL
    ),
    mx_heartbeats = list(client = alice),
    mx_send = content,
    mx_send_async = content,
    mx_send_text = text,
    mx_send_text_async = text,
    mx_send_file = a_file(alice, room, file, event),
    mx_send_image = a_file(alice, room, file, event, type = "image/png"),
    mx_send_video = a_file(alice, room, file, event, type = "video/mp4"),
    mx_send_audio = {
      audio <- a_file(alice, room, file, event, type = "audio/ogg")
      audio[names(audio) != "thumbnail"]
    },
    mx_send_plot = list(
      client = alice,
      room = room,
      plot = function() plot(cars),
      name = "x.png",
      caption = "x",
      alt = "x",
      markdown = TRUE,
      mentions = "@bob:demo",
      reply_to = event,
      thread = event,
      width = 4,
      height = 3,
      dpi = 50,
      background = "white",
      transaction_id = NULL
    ),
    mx_media_download = list(
      client = alice,
      event = sealed_event(alice, room, file),
      path = tempfile(),
      max_size = 1e6,
      overwrite = FALSE
    ),
    mx_send_report = list(
      client = alice,
      room = room,
      input = a_report(),
      title = "x",
      summary = "x",
      params = NULL,
      output_format = "md_document",
      figures = FALSE,
      name = "x",
      mentions = "@bob:demo",
      reply_to = event,
      thread = event,
      envir = globalenv(),
      quiet = TRUE,
      transaction_id = NULL
    ),
    mx_logger_appender = list(
      client = alice,
      room = room,
      interval = 5,
      per_minute = 10
    ),
    mx_logger_flush = list(),
    mx_webhook_handler = list(
      client = alice,
      room = room,
      secret = "correct horse battery",
      per_minute = 60
    ),
    mx_knit_post = list(
      client = alice,
      room = room,
      thread = event,
      on_error = "warn"
    ),
    mx_post = objects,
    mx_post_async = objects,
    mx_notify = list(
      ... = "x",
      room = room,
      client = alice,
      mentions = "@bob:demo",
      thread = event,
      timeout = 15
    ),
    with_mx_notification = list(
      expr = "x",
      client = alice,
      room = room,
      name = "x",
      start = TRUE,
      value = TRUE,
      trace = TRUE,
      when = "always",
      mentions = "@bob:demo",
      thread = event,
      timeout = 15
    ),
    mx_cli = list(args = "--version"),
    mx_as_message = list(x = 1, ... = NULL),
    mx_message = list(text = "x", html = "x", msgtype = "m.text"),
    mx_file = list(
      path = file,
      caption = "x",
      name = "x",
      type = "text/plain"
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
      as = "code",
      mentions = "@bob:demo",
      reply_to = event,
      thread = event,
      transaction_id = NULL,
      digits = 3,
      csv = TRUE
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
    mx_react = list(
      client = alice,
      room = room,
      event_id = event,
      key = "!",
      encrypt = FALSE
    ),
    mx_redact = list(
      client = alice,
      room = room,
      event_id = event,
      reason = NULL
    ),
    mx_sync = news,
    mx_sync_async = news,
    mx_listen = list(
      client = alice,
      handler = function(event, client) NULL,
      types = NULL,
      own = FALSE,
      seconds = 0,
      poll = 0,
      consumer = "x",
      unsigned = FALSE,
      on_verification = NULL,
      on_error = "retry"
    ),
    mx_listen_start = list(
      client = alice,
      handler = function(event, client) NULL,
      types = NULL,
      own = FALSE,
      poll = 0,
      consumer = "y",
      unsigned = FALSE,
      on_verification = NULL,
      on_error = "retry"
    ),
    mx_messages = list(
      client = alice,
      room = room,
      limit = 5,
      from = NULL,
      unsigned = FALSE,
      edits = TRUE,
      since = "2020-01-01",
      until = NULL,
      types = NULL,
      threads = NULL,
      reactions = FALSE
    ),
    mx_html = list(events = "<b>x</b>"),
    mx_undecrypted = list(client = alice),
    mx_outbox = list(client = alice),
    mx_outbox_retry = list(client = alice, numbers = numeric()),
    mx_outbox_discard = list(client = alice, numbers = numeric())
  )
}

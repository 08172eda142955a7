# Bots.
calls_bot <- function(scene) {
  quiet <- function(level, text) NULL
  a_bot <- function(consumer) {
    mx_bot(
      scene$alice,
      list(a = function() "a"),
      consumer = consumer,
      log = quiet
    )
  }
  list(
    mx_bot = list(
      client = scene$alice,
      commands = list(a = function() "a"),
      prefix = "!",
      allow = "@bob:demo",
      trust = "signed",
      rooms = scene$room,
      invited_by = ":demo",
      reply = "reply",
      direct = FALSE,
      done = "x",
      refused = "x",
      limit = 10,
      skip_older = FALSE,
      on_error = NULL,
      log = quiet,
      heartbeat = NULL,
      describe = FALSE,
      consumer = "mx_bot",
      poll = 30,
      on_verification = NULL
    ),
    mx_bot_start = list(bot = a_bot("started")),
    mx_bot_run = list(bot = a_bot("run"), seconds = 0),
    mx_command = list(
      fun = function(n) n,
      help = "x",
      types = list(n = "integer"),
      allow = NULL
    )
  )
}

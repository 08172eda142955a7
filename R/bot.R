# A bot: commands, and rules about who may use them. bot-run.R runs it.

#' Bots that answer commands
#'
#' `mx_bot()` makes a bot of functions: `!status` in a room calls the function `status`, and what
#' it returns is the answer. `mx_bot_run()` runs it until it is stopped. `mx_bot_start()`
#' runs it in the background, beside a Shiny app or the console, and returns at once.
#'
#' A bot answers in the rooms that its user has joined; it accepts invitations of the users
#' in `invited_by`. Run [mx_crypto_setup()] first: clients such as Element withhold keys from
#' devices that are not signed.
#'
#' @section Commands:
#' A command is a message that begins with `prefix` and the name of a command, or that
#' mentions the bot first (`@bot:example.org status`, or `Bot: status` with its display name).
#' The words after it are arguments: see [mx_command()]. `help` lists the commands that the
#' sender may use, and `help rows` shows one of them; a command of your own named `help`
#' replaces it. Edits, notices (the messages of other bots) and the bot's own messages
#' are never commands. An unknown command after `prefix` is ignored, because it may be meant for
#' another bot; after a mention the bot answers that it does not know the command.
#'
#' @section Answers:
#' The value of the function is the answer, in the form that [mx_post()] has for it: text,
#' tables, plots, files ([mx_file()]), several of these in a list. Texts are sent as
#' notices. For `NULL`, or an invisible value, there is no answer, only the reaction
#' `done`. A function may return a promise; the next event waits until it is resolved. A
#' function with arguments `event` and `client` can also call [mx_react()] or
#' [mx_send_text()] itself.
#'
#' If a function fails, the bot answers with a sentence that holds nothing of the error. The
#' error and its backtrace are logged. To tell the sender more, return a text or use
#' `on_error`.
#'
#' @section Who may use it:
#' The default `trust`, `"signed"`, needs an encrypted room, and a device that its owner has
#' signed: nobody else, and no server, can give commands in the name of a user. In rooms
#' without encryption only the servers vouch for the sender, so a bot answers there
#' only with `trust = "none"`. Even then it accepts no unencrypted message in
#' an encrypted room. Within this, `allow` and `rooms` limit who may use it, and where. By
#' default these are all members of all its rooms, so take care who can invite others.
#'
#' Commands beyond `limit` are refused with one sentence, then without a word. What was refused
#' is logged.
#'
#' @section At least once:
#' Commands that came while the bot was not running are answered when it runs again, unless
#' `skip_older` says otherwise. Those from before its first run with this store are not. If R is
#' killed at work, the command runs again; after three times it is given up. Its answer
#' is not sent twice: each message has a transaction id that follows from the command and from its
#' place in the answer. Of an answer of several messages, the new run adds those that are missing;
#' the others stay as they were. Servers remember transaction ids for a limited time, Synapse for a
#' day. A file may be uploaded twice.
#'
#' @section Running it:
#' One process can run the bot at a time with one store (`mx_error_listening`).
#' `mx_bot_run()` ends with SIGTERM, as sent by systemd and Docker, and with Ctrl-C, after
#' it has finished the current command; a second SIGTERM or Ctrl-C ends it at once. While
#' the server does not respond, it keeps trying. An error that will not pass, such as a
#' login that has ended, is raised. On Windows there is no SIGTERM.
#'
#' `heartbeat` is a file that the bot touches after each successful sync: at the latest every
#' `poll` seconds and 5 more, unless a command computes for longer. A supervisor can restart a bot
#' whose file is too old, for example with `find heartbeat -mmin -3 | grep -q .` as the
#' health check of a container.
#'
#' @param client A client from [mx_client_configure()] or [mx_client_load()].
#' @param commands A named list of functions, or of commands made by [mx_command()].
#' @param prefix What commands begin with, or `NULL` if the bot must be mentioned.
#' @param allow Who may give commands: user ids, servers as `":example.org"`, a function of
#'   the event that returns `TRUE`, or `NULL` for all members.
#' @param trust The least trust in a message, such as `"none"`, `"signed"` or `"verified"`:
#'   see [mx_events].
#' @param rooms Where commands are accepted, or `NULL` for all rooms: names, aliases or
#'   ids.
#' @param invited_by Whose invitations are accepted: user ids or servers as
#'   `":example.org"`, or `NULL` to accept none. The others are logged.
#' @param reply How to answer: with a `"reply"`, in a `"thread"`, or with a plain
#'   `"message"`. A command within a thread is always answered there.
#' @param direct Whether in a room of two members the prefix may be left out.
#' @param done,refused Reactions (emoji) to commands that returned nothing, and to those that were
#'   refused, or `NULL` for none.
#' @param limit The most commands per minute: one number for each sender, or two, of which
#'   the second is for all senders together.
#' @param skip_older Commands that are skipped because they are old: `FALSE` for none but those
#'   from before the first run, `TRUE` for those that were sent before the bot was started, or
#'   a number of seconds that is the greatest age. The time is what the sender's server
#'   reports.
#' @param on_error A function of the error and the event whose value is the answer if a command
#'   fails, or `NULL`. `function(condition, event) condition` shows the error and its backtrace.
#' @param log A function of a level (`"INFO"`, `"WARN"` or `"ERROR"`) and a text, or `NULL` to
#'   write to standard error, with the time in UTC. What users write is not logged. For
#'   'logger': `function(level, text) logger::log_level(level, logger::skip_formatter(text))`.
#' @param heartbeat The path of a file that the bot touches while it works, or `NULL`.
#' @param describe Whether to describe the commands to clients by state events in its rooms
#'   (MSC4391, unstable), as far as the bot may send them.
#' @param consumer A name for this bot: see [mx_listen()].
#' @param poll,on_verification As for [mx_listen()].
#' @return `mx_bot()`: an object of class `mx_bot`. `mx_bot_start()`: an object like that of
#'   `mx_listen_start()`, with `stop()` and `status()`. `mx_bot_run()`: why it ended,
#'   invisibly: `"SIGTERM"`, `"interrupt"`, `"stopped"` or `"time"`.
#' @section Errors:
#' Raised at the start: `mx_error_argument`; `mx_error_room` if one of `rooms` does
#' not exist; `mx_error_signed_out` and others of the login; `mx_error_listening` if another process
#' runs this bot with the same store; `mx_error_file` if the heartbeat cannot be written;
#' `mx_error_package` if 'later' or 'promises' is missing. A server that cannot be
#' reached is no error, unless a name in `rooms` must be looked up there.
#' @references MSC4391, "Simplified in-room bot commands":
#'   <https://github.com/matrix-org/matrix-spec-proposals/pull/4391>
#' @family bots
#' @examplesIf rlang::is_installed(c("later", "promises"))
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' robot <- mx_demo_client(homeserver, "robot")
#' room <- mx_room_create(alice, invite = robot$user_id)
#'
#' bot <- mx_bot(
#'   robot,
#'   commands = list(
#'     status = function() "All is well.",
#'     rows = mx_command(
#'       function(n = 3L, table = c("cars", "iris")) {
#'         head(get(table, "package:datasets"), n)
#'       },
#'       help = "The first rows of a table"
#'     )
#'   ),
#'   allow = alice$user_id,
#'   invited_by = alice$user_id
#' )
#' bot
#' mx_bot_run(bot, seconds = 1)
#' mx_send_text(alice, room, c("!status", "!rows 2 table=iris", "!help"))
#' mx_bot_run(bot, seconds = 2)
#' events <- mx_sync(alice)
#' cat(events$body[events$msgtype %in% "m.notice"], sep = "\n")
#' @export
mx_bot <- function(
  client,
  commands,
  prefix = "!",
  allow = NULL,
  trust = "signed",
  rooms = NULL,
  invited_by = NULL,
  reply = c("reply", "thread", "message"),
  direct = FALSE,
  done = NULL,
  refused = NULL,
  limit = c(10, 100),
  skip_older = FALSE,
  on_error = NULL,
  log = NULL,
  heartbeat = NULL,
  describe = FALSE,
  consumer = "mx_bot",
  poll = 30,
  on_verification = NULL
) {
  check_client(client)
  commands <- check_commands(commands)
  prefix <- check_prefix(prefix)
  allow <- check_allow(allow)
  trust <- check_choice(trust, trust_levels)
  if (!is.null(rooms)) {
    rooms <- check_strings(rooms)
  }
  if (!is.null(invited_by)) {
    invited_by <- check_people(invited_by, "invited_by", "or NULL")
  }
  reply <- check_choice(reply, c("reply", "thread", "message"))
  check_flag(direct)
  done <- check_string(done, null = TRUE)
  refused <- check_string(refused, null = TRUE)
  limit <- check_limit(limit)
  check_skip_older(skip_older)
  if (!is.null(on_error)) {
    check_function(on_error)
  }
  if (!is.null(log)) {
    check_function(log)
  }
  heartbeat <- check_path(heartbeat, null = TRUE)
  check_flag(describe)
  consumer <- check_string(consumer)
  poll <- check_number(poll)
  if (!is.null(on_verification)) {
    check_function(on_verification)
  }
  structure(
    list(
      client = client,
      commands = commands,
      prefix = prefix,
      allow = allow,
      trust = trust,
      rooms = rooms,
      invited_by = invited_by,
      reply = reply,
      direct = direct,
      done = done,
      refused = refused,
      limit = limit,
      skip_older = skip_older,
      on_error = on_error,
      log = log %||% log_to_stderr,
      heartbeat = heartbeat,
      describe = describe,
      consumer = consumer,
      poll = poll,
      on_verification = on_verification,
      state = new_bot_state(client)
    ),
    class = "mx_bot"
  )
}

# What a bot learns while it runs.
new_bot_state <- function(client) {
  state <- new.env(parent = emptyenv())
  state[["names"]] <- client[["user_id"]]
  state[["oldest"]] <- .POSIXct(-Inf)
  state[["answered"]] <- 0
  state
}

check_prefix <- function(prefix, call = caller_env()) {
  prefix <- check_string(prefix, null = TRUE, call = call)
  if (
    !is.null(prefix) && (grepl("[[:space:]]", prefix) || nchar(prefix) > 20L)
  ) {
    argument_abort("prefix", "short, and without spaces", call)
  }
  prefix
}

check_skip_older <- function(skip_older, call = caller_env()) {
  is_age <- is.numeric(skip_older) &&
    length(skip_older) == 1L &&
    isTRUE(skip_older >= 0)
  if (!is_age && !rlang::is_bool(skip_older)) {
    argument_abort(
      "skip_older",
      "TRUE, FALSE or a number of seconds",
      call
    )
  }
}

check_bot <- function(bot, call = caller_env()) {
  if (!inherits(bot, "mx_bot")) {
    argument_abort("bot", "a bot, made by mx_bot()", call)
  }
  bot
}

#' @export
print.mx_bot <- function(x, ...) {
  allow <- x[["allow"]]
  allowed <- if (is.null(allow)) {
    "all members"
  } else if (is.function(allow)) {
    "decided by a function"
  } else {
    first_names(printable(allow))
  }
  invited_by <- x[["invited_by"]]
  inviters <- if (is.null(invited_by)) {
    "nobody"
  } else {
    first_names(printable(invited_by))
  }
  usages <- vapply(names(x[["commands"]]), function(name) usage(x, name), "")
  print_lines(c(
    paste("<mx_bot>", printable(x[["client"]][["user_id"]])),
    paste0("  ", vapply(usages, shown_text, ""), recycle0 = TRUE),
    paste0("trust:      at least ", x[["trust"]]),
    paste0("allowed:    ", allowed),
    paste0("invited by: ", inviters)
  ))
  invisible(x)
}

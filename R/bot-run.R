# Runs a bot: what is checked and prepared at the start, what is done between events, and
# how it ends.

#' @rdname mx_bot
#' @param bot A bot made by `mx_bot()`.
#' @export
mx_bot_start <- function(bot) {
  start_bot(check_bot(bot))
}

#' @rdname mx_bot
#' @param seconds How long to run.
#' @export
mx_bot_run <- function(bot, seconds = Inf) {
  check_bot(bot)
  check_number(seconds)
  core(termination_watch(TRUE))
  on.exit(core(termination_watch(FALSE)))
  listener <- start_bot(bot)
  on.exit(
    {
      # The second one does not wait for an event at work.
      listener[["stop"]]()
      listener[["stop"]]()
      log_bot(
        bot,
        "INFO",
        "stopped after ",
        plural(bot[["state"]][["answered"]], "command")
      )
    },
    add = TRUE,
    after = FALSE
  )
  reason <- until_stopped(bot, listener, monotonic_time() + seconds)
  status <- listener[["status"]]()
  if (status[["state"]] == "failed") {
    log_failure(bot, "the bot has ended", status[["last_error"]])
    raise(status[["last_error"]])
  }
  flush_outbox(bot)
  invisible(reason)
}

# Lets the event loop run until the listener has ended. The first Ctrl-C and SIGTERM let the
# event at work end.
until_stopped <- function(bot, listener, end) {
  state <- bot[["state"]]
  state[["reason"]] <- NULL
  ask <- function(reason) {
    if (is.null(state[["reason"]])) {
      state[["reason"]] <- reason
      log_bot(bot, "INFO", "stopping: ", reason)
      listener[["stop"]]()
    }
  }
  state[["stop_if_asked"]] <- function() {
    if (core(termination_came())) {
      ask("SIGTERM")
    }
  }
  state[["interrupted"]] <- function(condition) {
    if (is.null(state[["reason"]])) {
      ask("interrupt")
      tryInvokeRestart("resume")
    }
  }
  on.exit({
    state[["stop_if_asked"]] <- NULL
    state[["interrupted"]] <- NULL
  })
  is_running <- function() listener[["status"]]()[["state"]] == "running"
  tryCatch(
    withCallingHandlers(
      while (is_running()) {
        later::run_now(0)
        state[["stop_if_asked"]]()
        # `later` would wait by the clock of the system: until it says a time that may be far away
        # once it is set back.
        core(monotonic_sleep(round(1000 * min(later::next_op_secs(), 0.05))))
        if (monotonic_time() >= end) {
          ask("time")
        }
      },
      interrupt = state[["interrupted"]]
    ),
    interrupt = function(condition) ask("interrupt")
  )
  state[["reason"]] %||% "stopped"
}

# What an outage left in the outbox, once more. It is kept if it does not go out now.
flush_outbox <- function(bot) {
  client <- bot[["client"]]
  tryCatch(
    if (core(machine_waiting_to_send(machine_of(client))) > 0) {
      rlang::local_options(mxcrypt.max_tries = 1)
      pump(client, flush = TRUE)
    },
    mx_error = function(condition) {
      log_bot(
        bot,
        "WARN",
        "messages wait in the outbox for the next start: ",
        conditionMessage(condition)
      )
    }
  )
}

# The start ---------------------------------------------------------------------

start_bot <- function(bot, call = caller_env()) {
  check_package("later", call)
  check_package("promises", call)
  client <- bot[["client"]]
  machine_of(client, call = call)
  bot[["heartbeat"]] <- touch_heartbeat(bot[["heartbeat"]], call)
  check_bot_login(bot, call)
  state <- bot[["state"]]
  state[["rooms"]] <- resolve_rooms(client, bot[["rooms"]], call)
  state[["oldest"]] <- oldest_command(bot, call)
  state[["answered"]] <- 0
  state[["sizes"]] <- NULL
  state[["failed_joins"]] <- NULL
  state[["left_invitations"]] <- NULL
  handler <- bot_handler(bot)
  until_interrupted <- function(event, client) {
    # `later` ends a callback at an interrupt, if nothing within it is faster.
    done <- withCallingHandlers(
      handler(event, client),
      interrupt = function(condition) {
        if (is.function(state[["interrupted"]])) {
          state[["interrupted"]](condition)
        }
      }
    )
    if (is.function(state[["stop_if_asked"]])) {
      state[["stop_if_asked"]]()
    }
    done
  }
  rules <- listener_rules(
    client,
    until_interrupted,
    types = c("m.room.message", "m.room.encrypted", "m.room.member"),
    own = FALSE,
    poll = bot[["poll"]],
    consumer = bot[["consumer"]],
    unsigned = match(bot[["trust"]], trust_levels) <
      match("signed", trust_levels),
    on_verification = bot[["on_verification"]],
    on_error = "retry",
    call = call
  )
  listen <- function() {
    start_listener(
      client,
      rules,
      bot[["poll"]],
      bot[["on_verification"]],
      on_warning = function(condition) {
        log_bot(bot, "WARN", conditionMessage(condition))
      },
      call = call
    )
  }
  listener <- tryCatch(listen(), mx_error_listening = function(condition) {
    mx_abort(
      c(
        paste0(
          "A bot listens as \"",
          bot[["consumer"]],
          "\" with this store already, here or in another process."
        ),
        i = "Stop it, or give this bot a name of its own: `consumer` of mx_bot().",
        i = "Bots of two names both answer each command."
      ),
      "mx_error_listening",
      call = call
    )
  })
  is_started <- FALSE
  on.exit(if (!is_started) listener[["stop"]]())
  log_bot(
    bot,
    "INFO",
    "started as ",
    client[["user_id"]],
    ", device ",
    client[["device_id"]]
  )
  accept_invitations(bot)
  describe_commands(bot)
  keep_house(bot, listener)
  is_started <- TRUE
  listener
}

# A login that was ended is an error now, a server that is away is none. The display name is
# what people may call the bot.
check_bot_login <- function(bot, call) {
  rlang::local_options(mxcrypt.max_tries = 1)
  client <- bot[["client"]]
  tryCatch(
    {
      http_json(client, "GET", api_path("account", "whoami"), call = call)
      name <- mx_profile(client)[["display_name"]]
      # A name of one or two letters begins many sentences.
      if (!is.na(name) && nchar(name) > 2L) {
        bot[["state"]][["names"]] <- c(client[["user_id"]], name)
      }
    },
    mx_error = function(condition) {
      if (!is_outage(condition)) {
        raise(condition)
      }
      log_bot(
        bot,
        "WARN",
        "the server does not respond: ",
        conditionMessage(condition)
      )
    }
  )
}

# What is older than the first run with this store was answered by another device, or was
# never meant for a bot.
oldest_command <- function(bot, call) {
  machine <- machine_of(bot[["client"]], call = call)
  began <- core(machine_consumer_began(machine, bot[["consumer"]]), call = call)
  if (isTRUE(bot[["skip_older"]])) {
    return(Sys.time())
  }
  .POSIXct(began / 1000)
}

unwritable_abort <- function(path, condition, call) {
  mx_abort(
    c(
      paste0("The file ", printable(path), " cannot be written."),
      x = conditionMessage(condition)
    ),
    "mx_error_file",
    call = call
  )
}

# Between events ------------------------------------------------------------------

# Touches the heartbeat after each successful sync, and tries invitations again.
keep_house <- function(bot, listener) {
  loop <- later::current_loop()
  touched <- .POSIXct(NA_real_)
  tried <- monotonic_time()
  tick <- function() {
    status <- listener[["status"]]()
    if (status[["state"]] != "running") {
      return(invisible())
    }
    last_sync <- status[["last_sync"]]
    if (!is.na(last_sync) && !identical(last_sync, touched)) {
      touched <<- last_sync
      tryCatch(
        touch_heartbeat(bot[["heartbeat"]], NULL),
        mx_error = function(condition) {
          log_bot(bot, "ERROR", conditionMessage(condition))
        }
      )
    }
    if (monotonic_time() - tried > 300) {
      tried <<- monotonic_time()
      accept_invitations(bot)
    }
    later::later(tick, heartbeat_seconds, loop = loop)
  }
  later::later(tick, 1, loop = loop)
}

heartbeat_seconds <- 5

# Sets the time of a file. That works on a full disk, too, once the file is there.
touch_heartbeat <- function(path, call) {
  if (is.null(path)) {
    return(NULL)
  }
  done <- tryCatch(
    (file.exists(path) || file.create(path)) &&
      Sys.setFileTime(path, Sys.time()),
    warning = identity,
    error = identity
  )
  if (inherits(done, "condition")) {
    unwritable_abort(path, done, call)
  }
  if (!isTRUE(done)) {
    unwritable_abort(path, simpleError("Its time cannot be set."), call)
  }
  path
}

# Invitations -------------------------------------------------------------------

handle_membership <- function(bot, event) {
  state <- bot[["state"]]
  state[["sizes"]][[event[["room_id"]]]] <- NULL
  is_own <- identical(event[["state_key"]], bot[["client"]][["user_id"]])
  membership <- json_at(event[["content"]], "membership")
  # Who may not invite must not have all invitations looked at, again and again.
  is_welcome <- is_listed(event[["sender"]], bot[["invited_by"]])
  if (is_own && identical(membership, "invite") && is_welcome) {
    accept_invitations(bot)
  }
}

most_joins <- 3L

# Joins the rooms to which somebody of `invited_by` invites. A room that cannot be joined is
# tried three times in all, and stops nothing.
accept_invitations <- function(bot) {
  people <- bot[["invited_by"]]
  client <- bot[["client"]]
  state <- bot[["state"]]
  rooms <- data.frame(core(machine_rooms(machine_of(client))))
  rooms <- rooms[rooms[["membership"]] == "invite", , drop = FALSE]
  rlang::local_options(mxcrypt.max_tries = 2)
  for (i in seq_len(nrow(rooms))) {
    room_id <- rooms[["room_id"]][[i]]
    inviter <- rooms[["inviter"]][[i]]
    failed <- state[["failed_joins"]][[room_id]] %||% 0L
    if (failed >= most_joins) {
      next
    }
    what <- paste0("the invitation of ", inviter, " to ", room_id)
    if (!is_listed(inviter, people)) {
      if (!what %in% state[["left_invitations"]]) {
        state[["left_invitations"]] <- c(state[["left_invitations"]], what)
        log_bot(bot, "WARN", "ignored ", what, ": see `invited_by`")
      }
      next
    }
    tryCatch(
      {
        mx_room_join(client, room_id)
        log_bot(bot, "INFO", "accepted ", what)
        describe_commands(bot, room_id)
      },
      error = function(condition) {
        state[["failed_joins"]][[room_id]] <- failed + 1L
        log_bot(bot, "WARN", what, " failed: ", error_text(condition))
      }
    )
  }
}

# From an event to a command that runs: which messages are commands, whether the sender may
# give them, and what follows from their value.

# The handler of a bot, for mx_listen() and mx_listen_start(). Warnings of commands go to
# its log.
bot_handler <- function(bot) {
  function(event, client) {
    withCallingHandlers(
      if (!is.na(event[["utd_reason"]])) {
        handle_unreadable(bot, event)
      } else {
        switch(
          event[["type"]],
          m.room.message = handle_message(bot, event),
          m.room.member = handle_membership(bot, event)
        )
      },
      warning = function(condition) {
        log_bot(bot, "WARN", conditionMessage(condition))
        rlang::cnd_muffle(condition)
      }
    )
  }
}

# One that waits for its key comes again.
handle_unreadable <- function(bot, event) {
  if (identical(event[["utd_reason"]], "unsigned_sender")) {
    log_bot(
      bot,
      "WARN",
      "ignored ",
      event_name(event),
      ": its sender did not sign the device"
    )
  }
}

handle_message <- function(bot, event) {
  line <- command_line(bot, event)
  if (is.null(line) || is_too_old(bot, event)) {
    return(invisible())
  }
  words <- tryCatch(
    line[["words"]] %||% split_words(line[["text"]]),
    mx_error_command = identity
  )
  first <- first_word(line, words)
  name <- if (!is.null(first)) command_named(bot, first)
  if (is.null(name) && !line[["addressed"]]) {
    return(invisible())
  }
  what <- paste0("`", name %||% "?", "` of ", event_name(event))
  if (is_admitted(bot, event, name, what)) {
    if (is.null(name)) {
      answer_sentence(bot, event, unknown_answer(bot, first))
    } else {
      run_command(bot, event, name, words, what)
    }
  }
}

# Which command a line means that cannot be split is known all the same.
first_word <- function(line, words) {
  if (inherits(words, "condition")) {
    sub("\\s.*$", "", substr(line[["text"]], 1L, 100L), perl = TRUE)
  } else if (length(words[["text"]]) > 0L) {
    words[["text"]][[1]]
  }
}

# Whether a command may run, by permissions and limits. What follows otherwise is done
# here: a reaction, a sentence, a line in the log, or, in a flood, nothing.
is_admitted <- function(bot, event, name, what) {
  command <- bot[["commands"]][[name %||% "help"]]
  refusal <- refusal_of(bot, event, command)
  verdict <- limit_verdict(bot, event, is.null(refusal))
  if (verdict == "over") {
    return(FALSE)
  }
  if (!is.null(refusal)) {
    log_bot(bot, "WARN", "refused ", what, ": ", refusal)
    if (verdict == "ok") {
      react_to(bot, event, bot[["refused"]])
    }
    return(FALSE)
  }
  if (verdict == "first") {
    log_bot(bot, "WARN", "too many commands, silent from now on: ", what)
    answer_sentence(bot, event, "Too many commands. Try again in a minute.")
  }
  verdict == "ok"
}

unknown_answer <- function(bot, first) {
  help <- paste0("`", call_sign(bot), "help` lists what I can do.")
  if (is.null(first)) {
    help
  } else {
    paste0("I do not know `", shown_text(first, 40L), "`. ", help)
  }
}

# What was refused is counted apart: nobody can use up what another may ask for.
limit_verdict <- function(bot, event, permitted) {
  state <- bot[["state"]]
  limit <- bot[["limit"]]
  key <- paste(permitted, event[["sender"]])
  verdict <- count_one(state, key, limit[[1]])
  if (verdict != "ok" || !permitted) {
    return(verdict)
  }
  count_one(state, "all", limit[[2]])
}

is_too_old <- function(bot, event) {
  sent <- event[["origin_server_ts"]]
  age <- bot[["skip_older"]]
  oldest <- bot[["state"]][["oldest"]]
  if (is.numeric(age)) {
    oldest <- max(oldest, Sys.time() - age)
  }
  if (is.na(sent) || sent >= oldest) {
    return(FALSE)
  }
  log_bot(
    bot,
    "INFO",
    "skipped ",
    event_name(event),
    ": sent ",
    format(sent, "%Y-%m-%dT%H:%M:%SZ", tz = "UTC")
  )
  TRUE
}

# What is a command -------------------------------------------------------------

# The text of a command without prefix or mention, and whether the bot is surely meant; or
# NULL where the message is none.
command_line <- function(bot, event) {
  is_text <- identical(event[["msgtype"]], "m.text") &&
    !is.na(event[["body"]])
  if (is_text && !is_edit(event)) {
    invoked_command(bot, event) %||% written_command(bot, event)
  }
}

written_command <- function(bot, event) {
  body <- own_words(event)
  prefix <- bot[["prefix"]]
  if (!is.null(prefix) && startsWith(body, prefix)) {
    text <- substr(body, nchar(prefix) + 1L, nchar(body))
    return(list(text = text, addressed = FALSE))
  }
  text <- after_mention(bot, event, body)
  if (is.null(text) && bot[["direct"]] && is_room_of_two(bot, event)) {
    text <- body
  }
  if (!is.null(text)) list(text = text, addressed = TRUE)
}

# Also one that is not valid.
is_edit <- function(event) {
  !is.na(event[["replaces"]]) ||
    identical(json_at(event[["relates_to"]], "rel_type"), "m.replace")
}

# What a message says, without the message to which it replies. Specification: "Fallbacks
# for rich replies", which older clients send.
own_words <- function(event) {
  body <- event[["body"]]
  if (!is.null(json_at(event[["relates_to"]], "m.in_reply_to"))) {
    lines <- strsplit(body, "\n", fixed = TRUE)[[1]]
    quoted <- cumprod(startsWith(lines, ">")) == 1
    body <- paste(lines[!quoted], collapse = "\n")
  }
  without_outer_spaces(body)
}

# A pattern that ends in `$` would be tried at each of the thousands of spaces that somebody
# may send, up to the end of them: half a minute for one message.
without_outer_spaces <- function(text) {
  inner <- which(!utf8ToInt(text) %in% word_spaces)
  if (length(inner) == 0L) {
    return("")
  }
  substr(text, inner[[1]], inner[[length(inner)]])
}

# The text behind a name of the bot that it begins with. Only what is surely meant as a
# name needs no punctuation: `Rob status` may be a sentence.
after_mention <- function(bot, event, body) {
  names <- bot[["state"]][["names"]]
  user_id <- bot[["client"]][["user_id"]]
  is_mentioned <- user_id %in% event[["mentions"]]
  if (is_mentioned) {
    names <- c(names, pill_text(bot, event))
  }
  for (name in names[order(-nchar(names))]) {
    if (!startsWith(lower_case(body), lower_case(name))) {
      next
    }
    rest <- substr(body, nchar(name) + 1L, nchar(body))
    # The name must end there: `@bot:example.org` is not `@bot:example.organic`.
    is_surely <- is_mentioned || name == user_id
    end <- if (is_surely) "^([:,]|\\s|$)" else "^[:,]"
    if (grepl(end, rest, perl = TRUE)) {
      return(sub("^[:,]?\\s*", "", rest, perl = TRUE))
    }
  }
  NULL
}

# The name of the bot in a room, as it is in a mention at the beginning.
pill_text <- function(bot, event) {
  html <- event[["formatted_body"]]
  if (is.na(html) || nchar(html) > 10000L) {
    return(NULL)
  }
  link <- "^\\s*(?:<p>)?\\s*<a href=[\"']https://matrix\\.to/#/([^\"'<>]+)[\"'][^<>]*>([^<>]+)</a>"
  found <- regmatches(html, regexec(link, html, perl = TRUE))[[1]]
  if (length(found) == 3L) {
    # What is encoded may be no text.
    user_id <- tryCatch(
      decode_link(found[[2]], found[[2]], call = NULL),
      mx_error = function(condition) NULL
    )
    if (identical(user_id, bot[["client"]][["user_id"]])) found[[3]]
  }
}

is_room_of_two <- function(bot, event) {
  room_id <- event[["room_id"]]
  sizes <- bot[["state"]][["sizes"]]
  size <- sizes[[room_id]]
  if (is.null(size)) {
    size <- tryCatch(
      {
        path <- api_path("rooms", room_id, "joined_members")
        length(http_json(bot[["client"]], "GET", path)[["joined"]])
      },
      mx_error = function(condition) 0L
    )
    sizes[[room_id]] <- size
    bot[["state"]][["sizes"]] <- sizes
  }
  size == 2L
}

# Running ------------------------------------------------------------------------

run_command <- function(bot, event, name, words, what) {
  command <- bot[["commands"]][[name]]
  arguments <- tryCatch(
    {
      if (inherits(words, "condition")) {
        raise(words)
      }
      if (is.null(words[["arguments"]])) {
        bind_words(command, lapply(words, `[`, -1L))
      } else {
        bind_invocation(command, words[["arguments"]])
      }
    },
    mx_error_command = identity
  )
  if (inherits(arguments, "condition")) {
    log_bot(bot, "INFO", "arguments do not fit, ", what)
    return(answer_usage(bot, event, name, arguments))
  }
  given <- list(event = event, client = bot[["client"]], bot = bot)
  arguments <- c(given[command[["filled_in"]]], arguments)
  when_ready(
    call_command(command[["fun"]], arguments),
    function(value) {
      # A promise does not tell whether its value is visible.
      if (!inherits(value, "mx_bot_value")) {
        value <- list(value = value, visible = TRUE)
      }
      answer_value(bot, event, value, what)
    },
    function(condition) {
      if (inherits(condition, "mx_error_command")) {
        return(answer_usage(bot, event, name, condition))
      }
      command_failed(bot, event, condition, what)
    }
  )
}

# The value and whether it is visible, or a promise. An error gets the backtrace of the
# command.
call_command <- function(fun, arguments) {
  # Backtraces begin here.
  rlang::local_options(rlang_trace_top_env = environment())
  called <- withCallingHandlers(
    withVisible(do.call(fun, arguments, quote = TRUE)),
    error = function(condition) {
      has_trace <- is.list(condition) &&
        inherits(unclass(condition)[["trace"]], "rlang_trace")
      if (!has_trace) {
        # Where the stack is full, there is none.
        attr(condition, "bot_trace") <- tryCatch(
          rlang::trace_back(bottom = raising_frame()),
          error = function(e) NULL
        )
        raise(condition)
      }
    }
  )
  value <- called[["value"]]
  if (is_promising(value)) {
    return(value)
  }
  structure(called, class = "mx_bot_value")
}

# The frame that raised the error which the calling handler deals with: what is behind it are
# R's own calls.
raising_frame <- function() {
  is_own <- function(i) {
    any(call_name(sys.call(i)) %in% c("stop", ".handleSimpleError"))
  }
  behind <- Position(is_own, seq_len(sys.nframe() - 1L), right = TRUE)
  while (!is.na(behind) && behind > 1L && is_own(behind)) {
    behind <- behind - 1L
  }
  if (is.na(behind)) parent.frame() else sys.frame(behind)
}

answer_value <- function(bot, event, value, what) {
  is_nothing <- !value[["visible"]] ||
    is.null(value[["value"]]) ||
    identical(value[["value"]], "")
  finished <- when_ready(
    if (is_nothing) FALSE else send_answer(bot, event, value[["value"]]),
    function(sent) if (sent) TRUE else react_to(bot, event, bot[["done"]]),
    function(condition) {
      when_ready(
        command_failed(bot, event, condition, what),
        function(sent) NULL,
        raise
      )
    }
  )
  when_ready(
    finished,
    function(done) {
      state <- bot[["state"]]
      if (!is.null(done)) {
        state[["answered"]] <- state[["answered"]] + 1
        log_bot(bot, "INFO", "did ", what)
      }
    },
    raise
  )
}

command_failed <- function(bot, event, condition, what) {
  log_failure(bot, paste("failed:", what), condition)
  on_error <- bot[["on_error"]]
  answer <- NULL
  if (!is.null(on_error)) {
    answer <- tryCatch(
      list(on_error(condition, event)),
      error = function(e) {
        log_failure(bot, "`on_error` failed", e)
        NULL
      }
    )
  }
  sentence <- "This failed. The reason is in the log of the bot."
  when_ready(
    send_answer(bot, event, if (is.null(answer)) sentence else answer[[1]]),
    identity,
    function(condition) {
      log_failure(bot, "the answer cannot be sent", condition)
      answer_sentence(bot, event, sentence)
    }
  )
}

answer_usage <- function(bot, event, name, condition) {
  shown <- usage(bot, name)
  sentence <- condition_text(condition)
  html <- paste0(
    escape_html(sentence),
    "<br>Usage: <code>",
    escape_html(shown),
    "</code>"
  )
  text <- paste0(sentence, "\nUsage: ", shown)
  answer_sentence(bot, event, mx_message(text, html))
}

# A short answer. If even that cannot be sent, the next event has its turn.
answer_sentence <- function(bot, event, sentence) {
  when_ready(
    send_answer(bot, event, sentence),
    identity,
    function(condition) {
      log_failure(bot, paste("no answer to", event_name(event)), condition)
    }
  )
}

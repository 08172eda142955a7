#' Send texts, tables and other events
#'
#' `mx_send()` sends any event, `mx_send_text()` a text message,
#' `mx_send_table()` a data frame as a table. In an encrypted room they are
#' encrypted for every device of every member that its owner has signed (see
#' [mx_isolation_mode()]). If a room was never seen to be encrypted, a request finds out
#' first whether it is now.
#'
#' A message is saved before it is sent. If the network fails, or R is killed, it
#' stays in the outbox and is sent, once, by the next call that makes requests.
#' [mx_outbox()] lists these messages. Only a response of the homeserver
#' ends a message: the error page of a proxy, a rate limit or an unknown error
#' code does not.
#'
#' The name of a room is looked up among the rooms that this device knows; it
#' syncs first only if it knows none of that name.
#'
#' @inheritParams mx_room
#' @param content The content of the event: a list for [mxc_json()], or JSON
#'   text. For several events, a list of lists or several texts.
#' @param type The type of the event. An `m.room.redaction` has the event that it
#'   redacts as `redacts` in its content, and is never encrypted; see
#'   [mx_redact()]. Reactions of `mx_send()` are encrypted, those of [mx_react()]
#'   are not.
#' @param transaction_id Your own id for this event, or one for each. Sending
#'   again with the same id sends no second event.
#' @param text One or more texts; each is a message. None may be empty. Where
#'   there are more than five, a message (of class `mx_message_many`) says so, and
#'   a progress bar shows how far it is.
#' @param collapse `NULL`, or what to put between the elements of `text` to send
#'   them as one message: `"\n"` makes lines of them.
#' @param markdown Whether the texts are Markdown.
#' @param mentions User ids to mention.
#' @param reply_to The id of an event to reply to, or a link to it, or `NULL`.
#' @param thread The id of the first event of a thread to send to, or a link to it, or
#'   `NULL`.
#' @param msgtype `m.text`, `m.notice` (from a bot, not to be answered by bots)
#'   or `m.emote`. [mx_send()] sends others.
#' @param x A data frame or a matrix.
#' @param title A line above the table or the caption of the file, or `NULL`.
#' @param max_rows How many rows are sent at most; a line says how many are missing.
#'   `NULL` is 50, and all rows for a file.
#' @param row_names Whether to send row names.
#' @return The event id of each event sent, invisibly.
#' @section Size:
#' Servers accept events of at most 65,536 bytes, with everything around the content.
#' Encryption and Base64 make a content a third larger, so that about 46,900 bytes
#' of JSON fit into an event of an encrypted room, and about 62,900 into one of
#' another. With `markdown` or `mentions` the text is sent twice: as it is, and as
#' HTML. An edit holds the new text twice.
#' @section Errors:
#' `mx_error_too_large` when an event is larger than that: nothing is sent then.
#' `size` and `largest` are, for each content, how many bytes it has, and may have.
#' `mx_error_refused` when the server will never accept an event (of several: `NA`
#' in its place, and a warning of class `mx_warning_refused`). `mx_error_network`
#' and `mx_error_http` when it was not reached, or gave no final response: the event
#' stays in the outbox. Such a condition has `numbers`, those of [mx_outbox()], and
#' `event_ids`, with `NA` for each event that was not sent; that of
#' `M_CONSENT_NOT_GIVEN` has the `consent_uri` where the terms are to be agreed to.
#' The failure of a request that the event does not need is a warning of class
#' `mx_warning_pump` at most, once an hour for each kind.
#' A warning of class `mx_warning_unreached` names devices that could not be
#' given the key (those whose keys are refused are among them: see [mx_devices()]),
#' one of class `mx_warning_withheld` those that the isolation mode
#' ([mx_isolation_mode()]) left out; their `devices` is a data frame. One of class
#' `mx_warning_unsigned_device` says, once, that [mx_crypto_setup()] was not run.
#' @references Client-server API, "`m.room.message` msgtypes", "Rich replies",
#'   "Threading", "User and room mentions":
#'   <https://spec.matrix.org/v1.19/client-server-api/#instant-messaging>
#' @family sending
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, name = "Pipeline")
#'
#' id <- mx_send_text(alice, "Pipeline", "the **eagle** lands", markdown = TRUE)
#' mx_send_text(alice, room, "at noon", reply_to = id)
#' mx_send_text(alice, room, c("one message", "of two lines"), collapse = "\n")
#' mx_send_table(alice, room, head(cars, 3), title = "Cars")
#' mx_send_table(alice, room, cars, as = "file")
#' mx_send(alice, room, list(answer = 42), type = "org.example.result")
#' @export
mx_send <- function(
  client,
  room,
  content,
  type = "m.room.message",
  transaction_id = NULL
) {
  check_client(client)
  check_string(type)
  refuse_table(content, "content", "a list or JSON text")
  texts <- contents(content)
  machine <- machine_of(client)
  check_sizes(client, room, type, texts, machine = machine)
  sent <- and_then(resolve_room(client, room), function(room_id) {
    send_events(
      client,
      room_id,
      type,
      texts,
      transaction_id,
      machine = machine
    )
  })
  invisible(sent)
}

# JSON texts of what may be one event or several.
contents <- function(content) {
  if (is.character(content)) {
    return(unclass(content))
  }
  several <- is.list(content) && is.null(names(content)) && length(content) > 0L
  several <- several && all(vapply(content, is.list, NA))
  if (several) vapply(content, as_json_text, "") else as_json_text(content)
}

# Refuses what is too large before anything is asked. A room that is named, and
# not given by its id, counts as not encrypted until its id is known: the core
# checks each event again when it is queued.
check_sizes <- function(
  client,
  room,
  type,
  contents,
  text = NULL,
  help = "Send less in one event.",
  call = caller_env(),
  machine = machine_of(client, call = call)
) {
  room <- if (is.null(room)) unclass(client)[["room_id"]] else room
  if (!is.null(check_string(room, "room", null = TRUE, call = call))) {
    room <- room_of_link(room, call)
  }
  room_id <- if (!is.null(room) && startsWith(room, "!")) room
  sizes <- machine_content_sizes(machine, room_id, type, contents)
  sizes <- core(sizes, call = call)
  bad <- which(!sizes[["fits"]])
  if (length(bad) == 0L) {
    return(invisible())
  }
  first <- bad[[1]]
  size <- sizes[["size"]][[first]]
  largest <- sizes[["largest"]][[first]]
  if (!is.null(text)) {
    bytes <- nchar(text[[first]], "bytes")
    about <- floor(bytes * largest / size / 100) * 100
    help <- paste(
      "Split the text: about",
      format_count(about),
      "bytes of it fit into one message."
    )
  }
  mx_abort(
    c(
      if (length(contents) == 1L) {
        "The event is too large. Nothing was sent."
      } else {
        paste0(
          "Event ",
          first,
          " of ",
          length(contents),
          " is too large. Nothing was sent."
        )
      },
      x = paste0(
        "Its content has ",
        format_count(size),
        " bytes of JSON",
        if (!is.null(text)) {
          paste0(" for a text of ", format_count(bytes), " bytes")
        },
        ". At most ",
        format_count(largest),
        " fit into an event of this room."
      ),
      i = help
    ),
    "mx_error_too_large",
    size = sizes[["size"]],
    largest = sizes[["largest"]],
    call = call
  )
}

# Queues events in the outbox, sends them, and returns their ids.
send_events <- function(
  client,
  room_id,
  type,
  contents,
  transaction_id = NULL,
  demand_encryption = FALSE,
  audience = NULL,
  call = caller_env(),
  machine = machine_of(client, call = call)
) {
  numbers <- core(
    machine_send(
      machine,
      room_id,
      rep_len(type, length(contents)),
      contents,
      transaction_id,
      demand_encryption,
      audience
    ),
    call = call
  )
  tell_unsigned <- !demand_encryption
  see_them_sent(client, machine, room_id, numbers, call, tell_unsigned)
}

# Strict clients show nothing of what an unsigned device says: its owner should
# not have to find out from them.
# `settled` is what machine_settle() returns.
warn_unsigned_device <- function(client, settled) {
  is_signed <- settled[["identity"]][["device_signed"]]
  if (is_signed || settled[["isolation"]] != "signed") {
    return(invisible())
  }
  if (!client[["store_dir"]] %in% the[["unsigned_told"]]) {
    the[["unsigned_told"]] <- c(the[["unsigned_told"]], client[["store_dir"]])
    mx_warn(
      c(
        "This device is not signed by you: clients may not show what it sends.",
        i = "Run mx_crypto_setup() at the start of your program."
      ),
      "mx_warning_unsigned_device"
    )
  }
}

# With `keep`, what is refused stays in the outbox: nobody else has it. With `tell_unsigned`
# the user hears it if this device is not signed.
see_them_sent <- function(
  client,
  machine,
  room_id,
  numbers,
  call,
  tell_unsigned = FALSE,
  keep = FALSE
) {
  outcomes <- function() core(machine_outcomes(machine, numbers), call = call)
  is_waiting <- function(outcome) outcome[["state"]] == "waiting"
  all_done <- function() !any(vapply(outcomes(), is_waiting, NA))
  seen <- FALSE
  # A bar of a call in the background would be drawn over what the user types.
  shows <- length(numbers) >= many_messages && is.null(client[["driver"]])
  progress <- if (shows) {
    send_progress(machine, length(numbers))
  } else {
    function() NULL
  }
  send_all <- function() {
    on_failure(
      pump(
        client,
        until = all_done,
        room_id = room_id,
        progress = progress,
        call = call,
        machine = machine
      ),
      function(condition) {
        raise(unsent_condition(condition, numbers, outcomes()))
      }
    )
  }
  finish <- function(pumped) {
    settled <- core(machine_settle(machine, room_id, numbers), call = call)
    outcomes <- settled[["outcomes"]]
    warn_own_identity(settled[["identity"]])
    warn_upgraded(client, room_id, settled[["successor"]])
    seen <<- TRUE
    refused <- numbers[vapply(outcomes, was_refused, NA)]
    if (length(refused) > 0L) {
      release <- if (keep) machine_keep_refused else machine_forget
      core(release(machine, refused), call = call)
    }
    report_refusals(client, room_id, outcomes, call)
    place <- paste(client[["store_dir"]], room_id)
    report_left_out(outcomes, "unreached", place, warn_unreached)
    report_left_out(outcomes, "withheld", place, warn_withheld)
    if (tell_unsigned) {
      warn_unsigned_device(client, settled)
    }
    id <- function(outcome) outcome[["event_id"]] %||% NA_character_
    vapply(outcomes, id, "")
  }
  # What becomes of them later is told by events.
  with_cleanup(
    and_then(send_all(), finish),
    function() if (!seen) machine_leave(machine, numbers)
  )
}

# Shows how many messages have left the outbox, until `frame` is done.
send_progress <- function(machine, total, frame = caller_env()) {
  bar <- cli::cli_progress_bar("Sending", total = total, .envir = frame)
  shown <- 0
  function() {
    done <- total - core(machine_waiting_to_send(machine))
    # A bar that has reached its end is gone, and what waited before may still wait.
    if (done > shown) {
      shown <<- done
      # A batch is long enough to be shown, however soon it comes.
      cli::cli_progress_update(set = done, id = bar, force = TRUE)
    }
  }
}

was_refused <- function(outcome) outcome[["state"]] == "refused"

report_refusals <- function(client, room_id, outcomes, call) {
  refused <- Filter(was_refused, outcomes)
  if (length(refused) == 0L) {
    return(invisible())
  }
  code <- error_code(refused[[1]][["code"]])
  text <- printable(refused[[1]][["message"]])
  devices <- refused_devices(client, room_id, code)
  if (length(outcomes) == 1L) {
    mx_abort(
      c(
        "The message will never be sent.",
        x = paste0(code, ": ", text),
        i = refusal_help(code)
      ),
      c(
        paste0("mx_error_", code),
        if (code == "M_TOO_LARGE") "mx_error_too_large",
        "mx_error_refused"
      ),
      errcode = code,
      devices = devices,
      call = call
    )
  }
  mx_warn(
    c(
      paste(
        length(refused),
        "of",
        length(outcomes),
        if (length(refused) == 1L) {
          "messages was refused."
        } else {
          "messages were refused."
        }
      ),
      x = paste0(code, ": ", text),
      i = refusal_help(code)
    ),
    "mx_warning_refused",
    devices = devices
  )
}

# The devices that made the isolation mode refuse a message.
refused_devices <- function(client, room_id, code) {
  if (code %in% c("MXCRYPT_ONLY_UNSIGNED", "MXCRYPT_UNSIGNED_DEVICES")) {
    data.frame(core(machine_withheld(machine_of(client), room_id)))
  }
}

refusal_help <- function(code) {
  if (code %in% c("MXCRYPT_ONLY_UNSIGNED", "MXCRYPT_UNSIGNED_DEVICES")) {
    paste(
      "Have the owners verify these devices, accept a new identity with",
      "mx_user_pin(), or see mx_isolation_mode()."
    )
  }
}

# Each device is told of once a room: a bot that sends every minute would drown in
# it.
report_left_out <- function(outcomes, which, place, warn) {
  # They come with one of the messages of a room.
  some <- function(x) length(x[[which]][["user_id"]]) > 0L
  outcomes <- Filter(some, outcomes)
  if (length(outcomes) == 0L) {
    return(invisible())
  }
  rows <- lapply(outcomes, function(x) data.frame(x[[which]]))
  devices <- unique(do.call(rbind, rows))
  names <- paste(devices[["user_id"]], devices[["device_id"]])
  keys <- paste(which, place, names)
  news <- !keys %in% the[["left_out"]]
  if (any(news)) {
    # A user may have any number of devices, and a bot may run for years.
    the[["left_out"]] <- last_of(c(the[["left_out"]], keys[news]), 50000L)
    warn(devices[news, , drop = FALSE], first_names(names[news]))
  }
}

# The first of some names, and how many others there are.
first_names <- function(names, most = 5L) {
  shown <- paste(names[seq_len(min(most, length(names)))], collapse = ", ")
  others <- length(names) - most
  if (others > 0L) paste(shown, "and", others, "more") else shown
}

warn_left_out <- function(devices, names, why, help, class) {
  mx_warn(
    c(plural(nrow(devices), "device", "devices", why), x = names, i = help),
    class,
    devices = devices
  )
}

warn_unreached <- function(devices, names) {
  warn_left_out(
    devices,
    names,
    "could not be given the key, and cannot read this:",
    paste(
      "They offer no valid keys, or no valid one-time key. They are tried again",
      "for a week, and can read this then. See mx_devices()."
    ),
    "mx_warning_unreached"
  )
}

warn_withheld <- function(devices, names) {
  warn_left_out(
    devices,
    names,
    if (nrow(devices) == 1L) {
      "is not signed by its owner, and cannot read this:"
    } else {
      "are not signed by their owners, and cannot read this:"
    },
    "Have them verified, or see mx_isolation_mode().",
    "mx_warning_withheld"
  )
}

#' Send events
#'
#' `mx_send()` sends any event, `mx_send_text()` a text message,
#' `mx_send_table()` a data frame as a table. In an encrypted room they are
#' encrypted for every device of every member that its owner has signed (see
#' [mx_isolation_mode()]); in a room that was never seen to
#' be encrypted, the server is asked first.
#'
#' A message is saved before it is sent. If the network fails, or R is killed, it
#' stays in the outbox and is sent, once, by the next call that talks to the
#' server.
#'
#' @inheritParams mx_room
#' @param content The content of the event: a list for [mxc_json()], or JSON
#'   text. For several events, a list of lists or several texts.
#' @param type The type of the event.
#' @param transaction_id Your own id for this event, or one for each. Sending
#'   again under the same id gives the same event.
#' @param text One or more texts; each is a message.
#' @param markdown Whether the texts are Markdown.
#' @param mentions User ids to mention.
#' @param reply_to The id of an event to reply to, or `NULL`.
#' @param thread The id of the first event of a thread to send to, or `NULL`.
#' @param msgtype `m.text`, `m.notice` (from a bot, not to be answered by bots)
#'   or `m.emote`.
#' @param x A data frame or a matrix.
#' @param title A line above the table, or `NULL`.
#' @param max_rows Rows beyond this are not sent; a line says how many.
#' @param row_names Whether to send row names.
#' @return The event id of each event sent, invisibly.
#' @section Errors:
#' `mx_error_refused` when the server will never take an event (of several: `NA`
#' in its place, and a warning of class `mx_warning_refused`). `mx_error_network`
#' and `mx_error_http` when it was not reached: the event stays in the outbox.
#' A warning of class `mx_warning_unreached` names devices that could not be
#' given the key, one of class `mx_warning_withheld` those that the isolation mode
#' ([mx_isolation_mode()]) left out; their `devices` is a data frame. One of class
#' `mx_warning_unsigned_device` says, once, that [mx_crypto_setup()] was not run.
#' @references Client-server API, "`m.room.message` msgtypes", "Rich replies",
#'   "Threading", "User and room mentions":
#'   <https://spec.matrix.org/v1.19/client-server-api/#instant-messaging>
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, name = "Pipeline")
#'
#' id <- mx_send_text(alice, "Pipeline", "the **eagle** lands", markdown = TRUE)
#' mx_send_text(alice, room, "at noon", reply_to = id)
#' mx_send_table(alice, room, head(cars, 3), title = "Cars")
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
  room_id <- resolve_room(client, room)
  invisible(send_events(
    client,
    room_id,
    type,
    contents(content),
    transaction_id
  ))
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

# Puts events in the outbox, has them sent, and says their ids.
send_events <- function(
  client,
  room_id,
  type,
  contents,
  transaction_id = NULL,
  demand_encryption = FALSE,
  audience = NULL,
  call = caller_env()
) {
  machine <- machine_of(client, call = call)
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
  ids <- see_them_sent(client, machine, room_id, numbers, call)
  if (!demand_encryption) {
    warn_unsigned_device(client, machine)
  }
  ids
}

# Strict clients show nothing of what an unsigned device says: its owner should
# not have to find out from them.
warn_unsigned_device <- function(client, machine) {
  told <- client[["store_dir"]] %in% the[["unsigned_told"]]
  if (told || core(machine_isolation(machine, NULL)) != "signed") {
    return(invisible())
  }
  if (!core(machine_identity_status(machine))[["device_signed"]]) {
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

see_them_sent <- function(client, machine, room_id, numbers, call) {
  outcomes <- function() core(machine_outcomes(machine, numbers), call = call)
  is_waiting <- function(outcome) outcome[["state"]] == "waiting"
  all_done <- function() !any(vapply(outcomes(), is_waiting, NA))
  pump(client, until = all_done, call = call)
  warn_own_identity(client)
  outcomes <- outcomes()
  core(machine_forget(machine, numbers), call = call)
  report_refusals(client, room_id, outcomes, call)
  place <- paste(client[["store_dir"]], room_id)
  report_left_out(outcomes, "unreached", place, warn_unreached)
  report_left_out(outcomes, "withheld", place, warn_withheld)
  id <- function(outcome) outcome[["event_id"]] %||% NA_character_
  vapply(outcomes, id, "")
}

report_refusals <- function(client, room_id, outcomes, call) {
  refused <- Filter(function(x) x[["state"]] == "refused", outcomes)
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
      c(paste0("mx_error_", code), "mx_error_refused"),
      errcode = code,
      devices = devices,
      call = call
    )
  }
  mx_warn(
    c(
      paste(length(refused), "of", length(outcomes), "messages were refused."),
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
      "mx_identity_pin(), or see mx_isolation_mode()."
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
    the[["left_out"]] <- c(the[["left_out"]], keys[news])
    warn(devices[news, , drop = FALSE], paste(names[news], collapse = ", "))
  }
}

warn_left_out <- function(devices, names, why, help, class) {
  mx_warn(
    c(paste(nrow(devices), "devices", why), x = names, i = help),
    class,
    devices = devices
  )
}

warn_unreached <- function(devices, names) {
  warn_left_out(
    devices,
    names,
    "could not be given the key, and cannot read this:",
    "They offer no valid one-time key. They are tried again later.",
    "mx_warning_unreached"
  )
}

warn_withheld <- function(devices, names) {
  warn_left_out(
    devices,
    names,
    "are not signed by their owners, and cannot read this:",
    "Have them verified, or see mx_isolation_mode().",
    "mx_warning_withheld"
  )
}

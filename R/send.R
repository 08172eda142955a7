#' Send events
#'
#' `mx_send()` sends any event, `mx_send_text()` a text message,
#' `mx_send_table()` a data frame as a table. In an encrypted room they are
#' encrypted for every device of every member; in a room that was never seen to
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
#' given the key; its `devices` is a data frame.
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
  see_them_sent(client, machine, numbers, call)
}

see_them_sent <- function(client, machine, numbers, call) {
  outcomes <- function() core(machine_outcomes(machine, numbers), call = call)
  is_waiting <- function(outcome) outcome[["state"]] == "waiting"
  all_done <- function() !any(vapply(outcomes(), is_waiting, NA))
  pump(client, until = all_done, call = call)
  outcomes <- outcomes()
  core(machine_forget(machine, numbers), call = call)
  report_refusals(outcomes, call)
  report_unreached(outcomes)
  id <- function(outcome) outcome[["event_id"]] %||% NA_character_
  vapply(outcomes, id, "")
}

report_refusals <- function(outcomes, call) {
  refused <- Filter(function(x) x[["state"]] == "refused", outcomes)
  if (length(refused) == 0L) {
    return(invisible())
  }
  code <- error_code(refused[[1]][["code"]])
  text <- printable(refused[[1]][["message"]])
  if (length(outcomes) == 1L) {
    mx_abort(
      c("The message will never be sent.", x = paste0(code, ": ", text)),
      c(paste0("mx_error_", code), "mx_error_refused"),
      errcode = code,
      call = call
    )
  }
  mx_warn(
    c(
      paste(length(refused), "of", length(outcomes), "messages were refused."),
      x = paste0(code, ": ", text)
    ),
    "mx_warning_refused"
  )
}

report_unreached <- function(outcomes) {
  # Told with one of the messages of a room.
  some <- function(outcome) length(outcome[["unreached_users"]]) > 0L
  outcomes <- Filter(some, outcomes)
  if (length(outcomes) == 0L) {
    return(invisible())
  }
  devices <- unique(do.call(rbind, lapply(outcomes, unreached_devices)))
  names <- paste(devices[["user_id"]], devices[["device_id"]])
  # Once for each device: a bot that sends every minute would drown in it.
  news <- !names %in% the[["unreached"]]
  devices <- devices[news, , drop = FALSE]
  names <- names[news]
  if (length(names) == 0L) {
    return(invisible())
  }
  the[["unreached"]] <- c(the[["unreached"]], names)
  mx_warn(
    c(
      paste(
        nrow(devices),
        "devices could not be given the key, and cannot read this:"
      ),
      x = paste(names, collapse = ", "),
      i = "They offer no valid one-time key. They are tried again later."
    ),
    "mx_warning_unreached",
    devices = devices
  )
}

unreached_devices <- function(outcome) {
  data.frame(
    user_id = as.character(outcome[["unreached_users"]]),
    device_id = as.character(outcome[["unreached_devices"]])
  )
}

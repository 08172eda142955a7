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
  invisible(send_events(client, room_id, type, contents(content), transaction_id))
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
  code <- refused[[1]][["code"]]
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
      paste(nrow(devices), "devices could not be given the key, and cannot read this:"),
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

#' @rdname mx_send
#' @export
mx_send_text <- function(
  client,
  room,
  text,
  markdown = FALSE,
  mentions = character(),
  reply_to = NULL,
  thread = NULL,
  msgtype = "m.text",
  transaction_id = NULL
) {
  check_client(client)
  check_strings(text)
  check_flag(markdown)
  check_strings(mentions)
  relation <- relation_to(
    check_string(reply_to, null = TRUE),
    check_string(thread, null = TRUE)
  )
  content <- function(text) {
    text_content(text, check_string(msgtype), markdown, mentions, relation)
  }
  texts <- vapply(text, function(x) as_json_text(content(x)), "", USE.NAMES = FALSE)
  room_id <- resolve_room(client, room)
  invisible(send_events(client, room_id, "m.room.message", texts, transaction_id))
}

text_content <- function(text, msgtype, markdown, mentions, relation) {
  content <- list(msgtype = msgtype, body = text)
  html <- if (markdown) markdown_html(text) else escape_html(text)
  pilled <- add_pills(html, mentions)
  if (markdown || pilled != html) {
    content[["format"]] <- "org.matrix.custom.html"
    content[["formatted_body"]] <- pilled
  }
  # Always there, so that old clients do not search the text for mentions.
  content[["m.mentions"]] <- if (length(mentions) > 0L) {
    list(user_ids = I(mentions))
  } else {
    structure(list(), names = character())
  }
  content[["m.relates_to"]] <- relation
  content
}

# Specification: "Rich replies" and "Threading". A message of a thread that
# replies to nothing falls back to the thread's beginning.
relation_to <- function(reply_to, thread) {
  if (is.null(thread)) {
    if (is.null(reply_to)) {
      return(NULL)
    }
    return(list("m.in_reply_to" = list(event_id = reply_to)))
  }
  list(
    rel_type = "m.thread",
    event_id = thread,
    is_falling_back = is.null(reply_to),
    "m.in_reply_to" = list(event_id = reply_to %||% thread)
  )
}

#' @rdname mx_send
#' @export
mx_send_table <- function(
  client,
  room,
  x,
  title = NULL,
  max_rows = 50,
  row_names = FALSE,
  transaction_id = NULL
) {
  check_client(client)
  check_string(title, null = TRUE)
  check_number(max_rows, least = 1)
  check_flag(row_names)
  if (!is.data.frame(x) && !is.matrix(x)) {
    argument_abort("x", "a data frame or a matrix", caller_env())
  }
  content <- table_content(as.data.frame(x), title, max_rows, row_names)
  room_id <- resolve_room(client, room)
  texts <- as_json_text(content)
  invisible(send_events(client, room_id, "m.room.message", texts, transaction_id))
}

#' React, and take back
#'
#' `mx_react()` adds a reaction to an event. `mx_redact()` takes an event back:
#' servers delete its content. Someone may have read it, and copies may remain.
#'
#' In an encrypted room a reaction is encrypted, but the event it is about and
#' the reaction itself stand outside, so that servers can count reactions. A
#' redaction and its reason are never encrypted.
#'
#' @inheritParams mx_room
#' @param event_id The event.
#' @param key The reaction: an emoji.
#' @param reason Why the event is taken back, for all to read, or `NULL`.
#' @return The id of the new event, invisibly.
#' @references Client-server API, "Event annotations and reactions" and
#'   "Redactions": <https://spec.matrix.org/v1.19/client-server-api/#redactions>
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' id <- mx_send_text(alice, room, "done")
#' mx_react(alice, room, id, "\U0001f44d")
#' mx_redact(alice, room, id, reason = "not done")
#' @export
mx_react <- function(client, room, event_id, key) {
  check_client(client)
  content <- list(
    "m.relates_to" = list(
      rel_type = "m.annotation",
      event_id = check_string(event_id),
      key = check_string(key)
    )
  )
  room_id <- resolve_room(client, room)
  invisible(send_events(client, room_id, "m.reaction", as_json_text(content)))
}

#' @rdname mx_react
#' @export
mx_redact <- function(client, room, event_id, reason = NULL) {
  machine <- machine_of(check_client(client))
  check_string(event_id)
  check_string(reason, null = TRUE)
  room_id <- resolve_room(client, room)
  content <- as_object(Filter(Negate(is.null), list(reason = reason)))
  text <- as_json_text(content)
  number <- core(machine_redact(machine, room_id, event_id, text))
  invisible(see_them_sent(client, machine, number, caller_env()))
}

#' Send a file
#'
#' Files can only be sent to rooms that are not encrypted: encrypted attachments
#' are not built yet, and a file that is sent in the clear into an encrypted room
#' would be read by whoever runs its servers.
#'
#' @inheritParams mx_room
#' @param path The file.
#' @param body What to call it.
#' @param content_type Its media type.
#' @return The event id, invisibly.
#' @section Errors:
#' `mx_error_media_unencrypted` when the room is, or was once seen, encrypted.
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' file <- tempfile(fileext = ".csv")
#' write.csv(cars, file)
#' try(mx_send_media(alice, room, file))
#' @export
mx_send_media <- function(
  client,
  room,
  path,
  body = basename(path),
  content_type = "application/octet-stream"
) {
  check_client(client)
  check_string(path)
  check_string(body)
  check_string(content_type)
  room_id <- resolve_room(client, room)
  if (room_is_encrypted(client, room_id)) {
    mx_abort(
      c(
        "Files cannot be sent to encrypted rooms yet.",
        x = "In the clear, whoever runs the room's servers would read it.",
        i = "Send a table with mx_send_table(), or text with mx_send_text()."
      ),
      "mx_error_media_unencrypted"
    )
  }
  size <- file.size(path)
  bytes <- readBin(path, "raw", size)
  uploaded <- http_json(
    client,
    "POST",
    paste0("/_matrix/media/v3/upload?filename=", encode_segment(body)),
    content = list(bytes = bytes, type = content_type)
  )
  content <- list(
    msgtype = media_msgtype(content_type),
    body = body,
    url = uploaded[["content_uri"]],
    info = list(mimetype = content_type, size = size)
  )
  mx_send(client, room_id, content)
}

media_msgtype <- function(content_type) {
  kind <- sub("/.*$", "", content_type)
  if (kind %in% c("image", "audio", "video")) paste0("m.", kind) else "m.file"
}

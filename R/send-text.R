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
  transaction_id = NULL,
  collapse = NULL
) {
  check_client(client)
  check_flag(markdown)
  check_user_ids(mentions)
  check_msgtype(msgtype)
  relation <- relation_to(
    event_id_of(client, room, reply_to, "reply_to"),
    event_id_of(client, room, thread, "thread")
  )
  text <- check_texts(text, collapse)
  content <- function(text) {
    text_content(text, msgtype, markdown, mentions, relation)
  }
  contents <- vapply(
    text,
    function(x) as_json_text(content(x)),
    "",
    USE.NAMES = FALSE
  )
  type <- "m.room.message"
  machine <- machine_of(client)
  check_sizes(client, room, type, contents, text = text, machine = machine)
  sent <- and_then(resolve_room(client, room), function(room_id) {
    tell_of_many(length(text))
    send_events(
      client,
      room_id,
      type,
      contents,
      transaction_id,
      machine = machine
    )
  })
  invisible(sent)
}

# A vector of so many elements may have been meant as one message.
many_messages <- 6L

tell_of_many <- function(n) {
  if (n >= many_messages) {
    inform(
      c(
        paste("Sending", n, "messages, one per element of `text`."),
        i = "To send one message, use `collapse = \"\\n\"`."
      ),
      class = "mx_message_many"
    )
  }
}

# Texts of which each becomes a message.
check_texts <- function(
  text,
  collapse = NULL,
  name = "text",
  call = caller_env()
) {
  refuse_table(text, name, "text", call)
  text <- check_strings(text, name, call)
  if (!is.null(collapse)) {
    if (!is_string(collapse)) {
      argument_abort("collapse", "NULL or one string", call)
    }
    text <- paste(text, collapse = collapse)
  }
  empty <- which(!nzchar(text))
  if (length(empty) > 0L) {
    found <- if (length(text) == 1L) {
      "it is \"\""
    } else {
      paste0("element ", empty[[1]], " of ", length(text), " is \"\"")
    }
    argument_abort(name, paste0("text that is not empty: ", found), call)
  }
  text
}

refuse_table <- function(x, name, wanted, call = caller_env()) {
  if (is.data.frame(x) || is.matrix(x)) {
    mx_abort(
      c(
        paste0("`", name, "` must be ", wanted, ", and not a table."),
        i = "mx_send_table() sends a data frame or a matrix as a table."
      ),
      "mx_error_argument",
      call = call
    )
  }
}

check_msgtype <- function(msgtype, call = caller_env()) {
  if (is_string(msgtype)) {
    checked_text(msgtype, "msgtype", call)
  }
  if (!is_string(msgtype) || !msgtype %in% c("m.text", "m.notice", "m.emote")) {
    found <- if (is_string(msgtype)) paste0(", and not \"", msgtype, "\"")
    mx_abort(
      c(
        paste0(
          "`msgtype` must be \"m.text\", \"m.notice\" or \"m.emote\"",
          found,
          "."
        ),
        i = "mx_send() sends messages of other types."
      ),
      "mx_error_argument",
      call = call
    )
  }
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
  content[["m.mentions"]] <- mentioned(mentions)
  content[["m.relates_to"]] <- relation
  content
}

mentioned <- function(user_ids) {
  if (length(user_ids) > 0L) {
    list(user_ids = I(user_ids))
  } else {
    structure(list(), names = character())
  }
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

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
  check_user_ids(mentions)
  relation <- relation_to(
    check_string(reply_to, null = TRUE),
    check_string(thread, null = TRUE)
  )
  content <- function(text) {
    text_content(text, check_string(msgtype), markdown, mentions, relation)
  }
  texts <- vapply(
    text,
    function(x) as_json_text(content(x)),
    "",
    USE.NAMES = FALSE
  )
  room_id <- resolve_room(client, room)
  invisible(send_events(
    client,
    room_id,
    "m.room.message",
    texts,
    transaction_id
  ))
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

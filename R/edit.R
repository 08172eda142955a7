#' Edit messages
#'
#' Replaces the text of messages that you sent. Everybody who saw the old text may
#' have kept it.
#'
#' What is edited is the first event of a message, never one of its edits. Its reply
#' or thread stays what it was. In an encrypted room the new text is encrypted; which
#' event it replaces stands outside, so that servers can find the newest edit.
#'
#' [mx_sync()] and [mx_listen()] return an edit as an event of its own, with the id of
#' the old event in `replaces`; [mx_messages()] returns old events with
#' their newest text. An edit counts only if it has the same sender, room and type
#' as the event it replaces, has a new content, replaces no edit and no state, and is
#' encrypted if that event was. An edit that does not count has `NA` in `replaces`, and an
#' `edit_reason`:
#'   * `unknown_original`: this device has not read the event that it replaces, so it
#'     cannot be checked. [mx_messages()] may find it.
#'   * `other_sender`, `other_type`, `edit_of_edit`, `state_event`,
#'     `no_new_content`: it breaks that rule.
#'   * `not_encrypted`: it is not encrypted, and the event that it replaces is. Anybody
#'     with access to a server could have written it.
#'   * `unrelated`: the server returned it as an edit of an event that it does not replace.
#'   * a `utd_reason`: the edit cannot be decrypted.
#'
#' Which event an edit replaces is not authenticated: a server can have it replace
#' another message of the same sender.
#'
#' @inheritParams mx_send
#' @param event_id The ids of the events to edit, or links to them.
#' @param text The new text of each.
#' @param mentions User ids that the new text mentions.
#' @param notify Those of them to notify of the edit: users that the text before it
#'   did not mention.
#' @return The event id of each edit, invisibly.
#' @section Errors:
#' `mx_error_edit` when an event is known not to be editable by you; nothing is sent
#' then. Its `reasons` are as above, `NA` where nothing speaks against an edit. The
#' others are those of [mx_send()].
#' @references Client-server API, "Event replacements":
#'   <https://spec.matrix.org/v1.19/client-server-api/#event-replacements>
#' @family sending
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' id <- mx_send_text(alice, room, "the eagle lands at noon")
#' mx_edit(alice, room, id, "the eagle lands at **one**", markdown = TRUE)
#' mx_messages(alice, room, limit = 2)[c("body", "edited", "replaces")]
#' @export
mx_edit <- function(
  client,
  room,
  event_id,
  text,
  markdown = FALSE,
  mentions = character(),
  notify = character(),
  msgtype = "m.text",
  transaction_id = NULL
) {
  check_client(client)
  check_strings(event_id)
  text <- check_texts(text)
  check_flag(markdown)
  check_user_ids(mentions)
  check_user_ids(notify)
  check_msgtype(msgtype)
  if (length(event_id) != length(text)) {
    argument_abort("text", "as long as `event_id`", caller_env())
  }
  if (!all(notify %in% mentions)) {
    argument_abort("notify", "among `mentions`", caller_env())
  }
  event_id <- event_ids_of(client, room, event_id, "event_id")
  contents <- Map(
    function(event_id, text) {
      content <- text_content(text, msgtype, markdown, mentions, NULL)
      as_json_text(edit_content(event_id, content, notify))
    },
    event_id,
    text
  )
  contents <- as.character(unlist(contents))
  check_sizes(client, room, "m.room.message", contents, text = text)
  room_id <- resolve_room(client, room)
  check_editable(client, room_id, event_id)
  invisible(send_events(
    client,
    room_id,
    "m.room.message",
    contents,
    transaction_id
  ))
}

# Around the new content is a fallback for clients that do not know edits.
edit_content <- function(event_id, new, notify) {
  old <- new
  for (name in intersect(c("body", "formatted_body"), names(new))) {
    old[[name]] <- paste("*", new[[name]])
  }
  old[["m.mentions"]] <- mentioned(notify)
  old[["m.new_content"]] <- new
  old[["m.relates_to"]] <- list(rel_type = "m.replace", event_id = event_id)
  old
}

check_editable <- function(client, room_id, event_id, call = caller_env()) {
  machine <- machine_of(client, call = call)
  reasons <- machine_edit_refusals(machine, room_id, event_id)
  reasons <- core(reasons, call = call)
  bad <- !is.na(reasons)
  if (any(bad)) {
    first <- reasons[bad][[1]]
    mx_abort(
      c(
        "This cannot be edited: nobody would be shown the new text.",
        x = paste0(printable(event_id[bad][[1]]), ": ", first),
        i = edit_help(first)
      ),
      "mx_error_edit",
      reasons = reasons,
      call = call
    )
  }
}

edit_help <- function(reason) {
  switch(
    reason,
    other_sender = "Only who sent a message can edit it.",
    edit_of_edit = "Edit the message itself, and not an edit of it.",
    "Only text messages can be edited."
  )
}

#' Outbox: messages that were not sent
#'
#' `mx_outbox()` lists the messages that are saved on this device and not on the
#' server: those that wait because the server was not reached, and those that it
#' refused while no call waited for them. `mx_outbox_retry()` sends some again,
#' `mx_outbox_discard()` deletes some.
#'
#' [mx_send()] and its relatives save a message before they send it. If the call
#' ends with an error such as `mx_error_network`, the message stays here and is sent
#' by the next call that reaches the server. The messages of a room go out in order,
#' so one that keeps failing holds up those behind it. If the server refuses a
#' message then, [mx_sync()] and [mx_listen()] return an event of type
#' `mxcrypt.send_failed`. Its `body` is a sentence; its `content` has the `number`,
#' the `event_type` and the `content` of the message, the `errcode` and the `error`.
#'
#' @inheritParams mx_client_session
#' @param numbers The `number`s of messages.
#' @return `mx_outbox()`: a data frame with a row for each message, oldest first:
#'   `number`; `room_id`; `type`; `queued_at` (POSIXct); `state` (`queued`,
#'   `sending`: it was tried and may have arrived, or `refused`); `attempts`;
#'   `errcode` and `reason` (why it was refused, or what it waits for; `NA` where
#'   nothing has failed); `body`; and `content` (a list), as it was before
#'   encryption. Up to 1000 refused messages are kept.
#'
#'   `mx_outbox_retry()`: the event ids, as from [mx_send()], in the order of
#'   `numbers`, invisibly. One that is refused again stays in the outbox.
#'   `mx_outbox_discard()`: the numbers, invisibly.
#' @section Errors:
#' `mx_error_argument` when a number is not in the outbox; nothing is done then.
#' `mx_outbox_retry()` also has those of [mx_send()].
#' @family sending
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' mx_send_text(alice, room, "hello")
#'
#' # Everything was sent.
#' mx_outbox(alice)[c("number", "type", "state", "reason")]
#' mx_outbox_retry(alice, mx_outbox(alice)$number)
#' @export
mx_outbox <- function(client) {
  columns <- core(machine_unsent(machine_of(client)))
  contents <- lapply(columns[["content"]], json_decode)
  body <- function(content) {
    if (is_string(content[["body"]])) content[["body"]] else NA_character_
  }
  rows <- data.frame(columns[setdiff(names(columns), "content")])
  rows[["queued_at"]] <- as.POSIXct(
    rows[["queued_at"]] / 1000,
    origin = "1970-01-01",
    tz = "UTC"
  )
  rows[["body"]] <- vapply(contents, body, "")
  rows[["content"]] <- contents
  rows
}

#' @rdname mx_outbox
#' @export
mx_outbox_retry <- function(client, numbers) {
  machine <- machine_of(client)
  check_outbox_numbers(numbers)
  unsent <- core(machine_unsent(machine))
  core(machine_retry(machine, numbers))
  rooms <- unsent[["room_id"]][match(numbers, unsent[["number"]])]
  ids <- rep(NA_character_, length(numbers))
  call <- environment()
  # One room that fails does not keep the others from being tried.
  failed <- NULL
  for (room_id in unique(rooms)) {
    here <- which(rooms == room_id)
    sent <- tryCatch(
      see_them_sent(client, machine, room_id, numbers[here], call, keep = TRUE),
      mx_error = identity
    )
    if (inherits(sent, "mx_error")) {
      failed <- failed %||% sent
    } else {
      ids[here] <- sent
    }
  }
  if (!is.null(failed)) {
    raise(failed)
  }
  invisible(ids)
}

#' @rdname mx_outbox
#' @export
mx_outbox_discard <- function(client, numbers) {
  machine <- machine_of(client)
  check_outbox_numbers(numbers)
  files <- core(machine_waiting_files(machine))
  core(machine_discard(machine, numbers))
  delete_files(files_dir(client), machine, files)
  invisible(numbers)
}

check_outbox_numbers <- function(numbers, call = caller_env()) {
  if (!is.numeric(numbers) || anyNA(numbers) || anyDuplicated(numbers) > 0L) {
    argument_abort("numbers", "numbers of mx_outbox(), each once", call)
  }
}

# The error of a call that waited for messages. Where they are kept, it says so,
# and has their `numbers`, and the `event_ids` of all messages of the call: `NA`
# where one was not sent.
unsent_condition <- function(condition, numbers, outcomes) {
  is_waiting <- vapply(outcomes, function(x) x[["state"]] == "waiting", NA)
  n <- sum(is_waiting)
  if (n == 0L) {
    return(condition)
  }
  id <- function(outcome) outcome[["event_id"]] %||% NA_character_
  what <- if (n == 1L) "The message stays" else paste(n, "messages stay")
  it <- if (n == 1L) "is" else "are"
  lines <- c(
    i = paste(
      what,
      "in the outbox and",
      it,
      "sent by the next call that reaches the server."
    ),
    i = "mx_outbox() shows what waits; mx_outbox_discard() deletes it."
  )
  fields <- c("status", "errcode", "body", "consent_uri")
  fields <- unclass(condition)[intersect(fields, names(condition))]
  if (inherits(condition, "rlang_error")) {
    # rlang's own `body`, which is part of the message.
    fields[["body"]] <- NULL
  }
  message <- paste(
    c(conditionMessage(condition), rlang::format_error_bullets(lines)),
    collapse = "\n"
  )
  arguments <- list(
    message = message,
    class = setdiff(class(condition), c("rlang_error", "error", "condition")),
    call = condition[["call"]],
    numbers = numbers[is_waiting],
    event_ids = vapply(outcomes, id, "")
  )
  do.call(errorCondition, c(arguments, fields), quote = TRUE)
}

# Messages of scripts that must neither fail nor hang because of the network.

#' Notify a room from a script
#'
#' Posts texts, tables, plots and errors like [mx_post()], in one line:
#' `mx_notify("Run finished")`. A server that is not reached is no error, and the time
#' is limited: the message waits in the outbox, and is sent by the next call that
#' reaches the server.
#'
#' From a shell: `Rscript -e 'mxcrypt::mx_notify("done")'`. The command `mxcrypt` does
#' the same for files and standard input, see [mx_cli()].
#'
#' An alias of a room, such as `#ops:example.org`, is looked up at the server. If that
#' is not reached, the message waits for the room that the alias led to the last time.
#' `#ops` is an alias of your own server.
#'
#' @inheritParams mx_post
#' @param room A room, as in [mx_send()]. `NULL` is that of the environment variable
#'   `MXCRYPT_ROOM`, or else the room of the client (see [mx_client_configure()]).
#' @param client A client. `NULL` loads it with [mx_client_load()].
#' @param mentions User ids to mention in the first message.
#' @param thread The id of the event that an existing thread begins with, or `NULL`.
#' @param timeout How many seconds all requests may take together. A file may take
#'   longer while its bytes move.
#' @return Whether all was sent, invisibly: `FALSE` if something waits, and if there was
#'   nothing to post.
#' @section Errors:
#' If the server is not reached, or fails for a time, that is a warning of class
#' `mx_warning_notification`. Its `cause` is the error, and it has the `numbers` of the
#' messages that wait (see [mx_outbox()]); none, if they cannot wait because the room
#' is not known. All else is an error: wrong arguments and objects that cannot be posted
#' (`mx_error_argument`), a missing configuration (`mx_error_config`), an unknown room
#' (`mx_error_room`), a login that ended (`mx_error_signed_out`), a message that the server
#' refuses (`mx_error_refused`). See [mx_post()].
#' @family sending
#' @seealso [with_mx_notification()] for how long something took, and how it ended.
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, name = "Pipeline")
#'
#' mx_notify("Run finished", head(cars, 3), client = alice, room = room)
#'
#' # What a script has that was configured once with a room of its own.
#' Sys.setenv(MXCRYPT_MATRIX_CONFIG = alice$path, MXCRYPT_ROOM = "Pipeline")
#' mx_notify("Run finished")
#' Sys.unsetenv(c("MXCRYPT_MATRIX_CONFIG", "MXCRYPT_ROOM"))
#' @export
mx_notify <- function(
  ...,
  room = NULL,
  client = NULL,
  mentions = character(),
  thread = NULL,
  timeout = 15
) {
  call <- environment()
  check_dots_names(...names(), call, "mx_notify()", c("reply_to", "text"))
  check_user_ids(mentions)
  check_string(thread, null = TRUE)
  timeout <- check_seconds(timeout)
  objects <- rlang::dots_list(..., .ignore_empty = "all")
  check_no_client(objects, call)
  client <- notifying_client(client, call)
  room <- notified_name(client, room, call)
  messages <- posted_messages(objects, call)
  tell_how_many(length(messages), length(objects))
  if (length(messages) == 0L) {
    return(invisible(FALSE))
  }
  sent <- deliver(client, room, messages, thread, mentions, timeout, call)
  failure <- sent[["failure"]]
  if (!is.null(failure)) {
    warn_not_notified(failure)
  }
  # Of several, some may be refused, with a warning.
  invisible(is.null(failure) && !anyNA(sent[["ids"]]))
}

# The other functions that send begin with the client and the room.
check_no_client <- function(objects, call) {
  if (any(vapply(objects, inherits, NA, c("mx_client", "mx_session")))) {
    mx_abort(
      c(
        "A client is no message.",
        i = "Name it: mx_notify(\"done\", client = client, room = room)."
      ),
      "mx_error_argument",
      call = call
    )
  }
}

check_seconds <- function(
  x,
  name = rlang::caller_arg(x),
  call = caller_env()
) {
  min(check_number(x, name, 0.1, call), 24 * 60 * 60)
}

notifying_client <- function(client, call) {
  if (is.null(client)) mx_client_load() else check_client(client, call)
}

# The room as somebody named it. No request is made.
notified_name <- function(client, room, call) {
  check_string(room, "room", null = TRUE, call = call)
  room <- room %||% env_value("MXCRYPT_ROOM") %||% unclass(client)[["room_id"]]
  if (is.null(room)) {
    mx_abort(
      c(
        "No room is given, and the client has none of its own.",
        i = "Give `room`, or set the environment variable MXCRYPT_ROOM."
      ),
      "mx_error_argument",
      call = call
    )
  }
  room <- room_of_link(check_string(room, "room", call = call), call)
  if (grepl("^#[^:]+$", room)) {
    room <- paste0(room, ":", sub("^[^:]*:", "", client[["user_id"]]))
  }
  room
}

# Sends messages within `seconds`. Returns their `ids`, or the `failure` that will pass:
# it has `numbers` if they wait in the outbox. Anything else is raised.
deliver <- function(
  client,
  room,
  messages,
  thread,
  mentions,
  seconds,
  call
) {
  # Somebody waits for the end of the script, and the outbox tries again.
  rlang::local_options(mxcrypt.max_tries = min(http_tries(), 3))
  send <- function() {
    room_id <- notified_room(client, room, call)
    ids <- send_messages(
      client,
      room_id,
      messages,
      thread,
      mentions,
      reply_to = NULL,
      call = call
    )
    list(ids = ids)
  }
  within_seconds(
    seconds,
    tryCatch(send(), mx_error = function(condition) {
      if (!is_passing(condition)) {
        raise(condition)
      }
      list(failure = condition)
    })
  )
}

warn_not_notified <- function(failure) {
  mx_warn(
    c("The room was not notified.", x = conditionMessage(failure)),
    "mx_warning_notification",
    cause = failure,
    numbers = failure[["numbers"]]
  )
}

# The id of a room. Where the server is not reached, an alias leads where it led before:
# the message can wait, and is not lost.
notified_room <- function(client, room, call) {
  if (!startsWith(room, "#")) {
    return(resolve_room(client, room, call = call))
  }
  known <- known_aliases(client)
  room_id <- tryCatch(
    resolve_room(client, room, call = call),
    mx_error = function(condition) {
      if (!is_passing(condition) || !is_room_id(known[[room]])) {
        raise(condition)
      }
      known[[room]]
    }
  )
  if (!identical(known[[room]], room_id)) {
    known[[room]] <- room_id
    remember_aliases(client, known)
  }
  room_id
}

# A list of room ids by alias. It is a help, and no more: a file that cannot be read is
# an empty one.
known_aliases <- function(client) {
  path <- aliases_path(client)
  known <- if (file.exists(path)) {
    tryCatch(
      json_decode(checked_json(rawToChar(read_file(path)))),
      error = identity
    )
  }
  is_usable <- is.list(known) &&
    !inherits(known, c("condition", "mxcrypt_failure"))
  if (is_usable) Filter(is_room_id, known) else list()
}

remember_aliases <- function(client, known) {
  text <- unclass(mxc_json(last_of(known, 100L)))
  # Without a store there is no directory either.
  private_file_write(aliases_path(client), text)
}

aliases_path <- function(client) {
  file.path(beside_store(client[["store_dir"]]), "aliases.json")
}

# Any objects as messages of a room: all are prepared (as-message.R) and queued before
# the first one is sent.

#' Post any object
#'
#' Posts texts, numbers, data frames, plots, files and errors, each in the form
#' that fits it and in the order given. An object that cannot be posted is an error
#' before anything is sent.
#'
#' | Object | What the room gets |
#' |---|---|
#' | text | A text message. The elements of a character vector are its lines. |
#' | number, logical, factor, date, time | The text that the console shows, without `[1]`. |
#' | data frame, matrix | A table of up to 50 rows, as from [mx_send_table()]. |
#' | ggplot, lattice plot, grob, recorded plot, HTML widget | A picture, as from [mx_send_plot()]. |
#' | error, warning, other condition | Its message and class, and the backtrace of an rlang error. |
#' | [mx_file()], a path of package fs | The file. |
#' | [mx_message()] | Text with HTML of your own. |
#' | list | Each of its elements, also of lists within it. |
#' | `NULL` | Nothing. |
#' | anything else, such as a model | What [print()] shows, as a code block. |
#'
#' Text is never a path. `mx_post(client, room, "~/.ssh/id_rsa")` posts these
#' characters and not the file; [mx_file()] posts files.
#'
#' Base graphics return no plot: `mx_post(client, room, plot(cars))` draws on your
#' screen and posts nothing. Use [mx_send_plot()] for code that draws.
#'
#' What is too long for a message is posted as a file: a table as CSV, text as
#' `output.txt`. Functions, bare environments, connections and raw vectors are
#' refused, and so are other objects of HTML, such as tables of gt, which must be saved
#' to a file first. Other packages can add methods for [mx_as_message()].
#'
#' Everything is saved in the outbox at once: if the network fails, the next call
#' that reaches the server sends the rest, in order (see [mx_outbox()]). With
#' `thread = TRUE` this begins when the server has taken the first message, whose
#' id the others need.
#'
#' @inheritParams mx_send
#' @param ... The objects. A name becomes the title of a message, or the caption of a
#'   picture or file. The name of a list stands before those of its elements.
#' @param thread `FALSE`; `TRUE` to begin a thread with the first message and post
#'   the others in it; or the id of the event that an existing thread begins with.
#' @param mentions User ids to mention in the first message.
#' @param reply_to The id of an event that the first message replies to, or `NULL`.
#' @return The event id of each message, invisibly: a character vector, empty if
#'   there was nothing to post.
#' @section Errors:
#' `mx_error_argument` when an object cannot be posted, `mx_error_plot` when a plot
#' cannot be drawn, `mx_error_package` when the package that draws it is missing. The
#' message names the object, `parent` is the reason, and nothing
#' was sent. `mx_error_too_large` when a message or a file is larger than the server
#' accepts; nothing was sent. For errors of sending see [mx_send()].
#' @family sending
#' @seealso [mx_as_message()] for methods of your own classes.
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, name = "Pipeline")
#'
#' mx_post(alice, room, "The model is fitted.", lm(dist ~ speed, cars))
#' mx_post(alice, room, Finished = Sys.time(), Cars = head(cars), thread = TRUE)
#'
#' failed <- tryCatch(stop("no data today"), error = identity)
#' mx_post(alice, room, Nightly = failed)
#' # Nothing is sent: a function is no content.
#' try(mx_post(alice, room, "before", mean))
#' @export
mx_post <- function(
  client,
  room,
  ...,
  thread = FALSE,
  mentions = character(),
  reply_to = NULL
) {
  call <- environment()
  check_cut_names(rlang::names2(sys.call()), call)
  check_client(client)
  check_room(client, room)
  check_user_ids(mentions)
  check_string(reply_to, null = TRUE)
  check_thread(thread)
  check_dots_names(...names(), call)
  objects <- rlang::dots_list(..., .ignore_empty = "all")
  messages <- posted_messages(objects, call)
  tell_how_many(length(messages), length(objects))
  if (length(messages) == 0L) {
    return(invisible(character()))
  }
  invisible(send_messages(
    client,
    room,
    messages,
    thread,
    mentions,
    reply_to,
    call = call
  ))
}

check_thread <- function(thread, call = caller_env()) {
  # `NULL` is no thread in the other functions that send.
  if (!is.null(thread) && !is_string(thread) && !is.logical(thread)) {
    argument_abort("thread", "TRUE, FALSE or the id of an event", call)
  }
  if (is.logical(thread)) {
    check_flag(thread, call = call)
  } else {
    check_string(thread, null = TRUE, call = call)
  }
}

# R takes `r = 0.5` for `room`, and the room for an object.
check_cut_names <- function(names, call) {
  cut <- names[nzchar(names) & !names %in% c("client", "room")]
  cut <- cut[startsWith("client", cut) | startsWith("room", cut)]
  if (length(cut) > 0L) {
    mx_abort(
      c(
        paste0(
          "The name `",
          cut[[1]],
          "` is too short: R takes it for `client` or `room`."
        ),
        i = paste0("Use list(", cut[[1]], " = ...).")
      ),
      "mx_error_argument",
      call = call
    )
  }
}

# Arguments of mx_send_text() that would be sent as text.
check_dots_names <- function(names, call, fun = "mx_post()", more = NULL) {
  others <- c("markdown", "mention", "msgtype", "reply", "transaction_id")
  unknown <- intersect(names, c(others, more))
  if (length(unknown) > 0L) {
    mx_abort(
      c(
        paste0(fun, " has no argument `", unknown[[1]], "`."),
        i = "To post an object under this name, put it in a list."
      ),
      "mx_error_argument",
      call = call
    )
  }
}

# All objects as messages that are ready to be sent.
posted_messages <- function(objects, call) {
  messages_of_list(objects, function(x, place) {
    tryCatch(
      lapply(one_or_several(mx_as_message(x)), ready_message, call),
      error = function(condition) {
        not_posted_abort(condition, place, call)
      }
    )
  })
}

# Reads the size and type of a file: one that is not there is found out now.
ready_message <- function(message, call) {
  file <- message[["file"]]
  if (!is.null(file)) {
    message[["file"]] <- files_of(
      file[["source"]],
      file[["name"]],
      file[["type"]],
      NULL,
      call
    )[[1]]
  }
  message
}

not_posted_abort <- function(condition, place, call) {
  own <- grep("^mx_error_", class(condition), value = TRUE)
  mx_abort(
    paste0(place, " cannot be posted. Nothing was sent."),
    if (length(own) > 0L) own else "mx_error_argument",
    parent = condition,
    call = call
  )
}

tell_how_many <- function(messages, objects) {
  if (messages == 0L) {
    inform(
      c(
        "Nothing was posted: no object, or every one is NULL.",
        i = "mx_send_plot() sends what code like `plot(cars)` draws."
      ),
      class = "mx_message_nothing"
    )
  } else if (messages >= many_messages && messages > objects) {
    # A parsed response may be a list of hundreds.
    inform(
      c(
        paste("Posting", messages, "messages: each element of a list is one."),
        i = "To post a list as one message, use `mx_message(format(x))`."
      ),
      class = "mx_message_many"
    )
  }
}

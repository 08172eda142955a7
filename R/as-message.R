# Objects as messages: the generic, what its methods return, and the methods.
# post.R sends them.

#' Turn an object into a message
#'
#' `mx_as_message()` turns an object into what [mx_post()] sends for it. Write a method
#' for a class of your own to decide how it looks in a room. A method returns a
#' message made by `mx_message()` or `mx_file()`, a list of them, or `NULL` for
#' nothing.
#'
#' A package needs no dependency on mxcrypt to offer a method. It registers the
#' method when mxcrypt is loaded, with
#' `S3method(mxcrypt::mx_as_message, my_class)` in its NAMESPACE (roxygen2:
#' `@exportS3Method mxcrypt::mx_as_message`) and mxcrypt in Suggests.
#'
#' The default method sends what [print()] shows as a code block, `width` and
#' `max.print` included. An S4 object is shown by its `show()` method. Calls in errors
#' and backtraces lose their arguments, which may be passwords. What a `print()` method
#' shows, such as the fields of an R6 object, is sent as it is.
#'
#' @param x An object.
#' @param ... For methods.
#' @param text The text of the message: what clients show that show no HTML.
#'   Several elements are its lines.
#' @param html The message in HTML, or `NULL`. It is sent as it is: escape what is not
#'   yours. The specification lists the tags that clients show.
#' @param msgtype `m.text`, `m.notice` or `m.emote`.
#' @param path The path of one file, or a raw vector.
#' @param caption Text to show with the file, or `NULL`.
#' @param name What to call the file, with its extension. By default the file's own
#'   name; a raw vector needs one.
#' @param type The media type, such as `"text/csv"`. By default it is found out.
#' @return `mx_message()` and `mx_file()`: a message, of class `mx_message`. It is sent
#'   by [mx_post()] only. `mx_as_message()`: a message, a list of messages, or `NULL`.
#' @section Errors:
#' `mx_error_argument` when an object or an argument does not fit, or a file cannot be
#' read. `mx_error_plot` when a plot cannot be drawn.
#' @family sending
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#'
#' # A class of your own:
#' mx_as_message.job <- function(x, ...) {
#'   mx_message(
#'     paste("Job", x$id, x$state),
#'     paste0("Job <b>", x$id, "</b> ", x$state),
#'     msgtype = "m.notice"
#'   )
#' }
#' .S3method("mx_as_message", "job", mx_as_message.job)
#' mx_post(alice, room, structure(list(id = 7, state = "done"), class = "job"))
#'
#' file <- tempfile(fileext = ".csv")
#' write.csv(cars, file)
#' mx_post(alice, room, mx_file(file, caption = "All cars", name = "cars.csv"))
#' mx_as_message(summary(cars$speed))
#' @export
mx_as_message <- function(x, ...) {
  UseMethod("mx_as_message")
}

#' @rdname mx_as_message
#' @export
mx_message <- function(text, html = NULL, msgtype = "m.text") {
  text <- paste(check_strings(text), collapse = "\n")
  if (!nzchar(text)) {
    argument_abort("text", "text that is not empty", caller_env())
  }
  html <- check_string(html, null = TRUE)
  check_msgtype(msgtype)
  new_message(text, html, msgtype)
}

#' @rdname mx_as_message
#' @export
mx_file <- function(path, caption = NULL, name = NULL, type = NULL) {
  if (is.character(path) && length(path) != 1L) {
    argument_abort("path", "one path: `lapply(paths, mx_file)`", caller_env())
  }
  caption <- check_string(caption, null = TRUE)
  check_string(name, null = TRUE)
  file <- files_of(path, name, type, NULL, environment())[[1]]
  message <- new_message(caption, NULL, "m.file")
  # Size and type are read again when it is posted.
  message[["file"]] <- list(
    source = file[["source"]],
    name = file[["name"]],
    type = type
  )
  class(message) <- c("mx_file", "mx_message")
  message
}

new_message <- function(text, html, msgtype) {
  structure(
    list(text = text, html = html, msgtype = msgtype, title = NULL),
    class = "mx_message"
  )
}

# The content of the event, but for what a file brings with it.
message_content <- function(message, mentions, relation) {
  title <- message[["title"]]
  text <- message[["text"]]
  name <- message[["file"]][["name"]]
  if (is.null(message[["html"]])) {
    words <- titled(title, text, in_line = is.null(name))
    if (!is.null(name)) {
      content <- caption_content(name, words, FALSE, mentions, relation)
      return(content)
    }
    return(text_content(
      words,
      message[["msgtype"]],
      FALSE,
      mentions,
      relation
    ))
  }
  heading <- if (!is.null(title)) {
    add_pills(paste0("<p>", escape_html(title), "</p>"), mentions)
  }
  content <- list(
    msgtype = if (is.null(name)) message[["msgtype"]],
    body = titled(title, text, in_line = FALSE),
    format = "org.matrix.custom.html",
    formatted_body = paste0(heading, message[["html"]]),
    "m.mentions" = mentioned(mentions),
    "m.relates_to" = relation,
    filename = name
  )
  Filter(Negate(is.null), content)
}

titled <- function(title, text, in_line) {
  if (is.null(title) || is.null(text)) {
    return(title %||% text)
  }
  is_line <- in_line && !grepl("\n", text, fixed = TRUE)
  paste(title, text, sep = if (is_line) ": " else "\n")
}

# The messages of a list, also of lists within it. `convert` turns an object into a
# list of messages; `place` says to people which object it is.
messages_of_list <- function(
  x,
  convert,
  place = NULL,
  title = NULL,
  depth = 1L
) {
  if (depth > most_list_depth) {
    argument_abort("...", "lists that are nested less deeply", caller_env())
  }
  names <- rlang::names2(x)
  parts <- lapply(seq_along(x), function(i) {
    name <- names[[i]]
    own <- if (!is.na(name) && nzchar(name)) checked_text(name, "name", NULL)
    here <- place_of(place, i, own)
    full <- if (length(c(title, own)) > 0L) {
      paste(c(title, own), collapse = ": ")
    }
    if (is_plain_list(x[[i]])) {
      return(messages_of_list(x[[i]], convert, here, full, depth + 1L))
    }
    lapply(convert(x[[i]], here), function(message) {
      message[["title"]] <- titled(full, message[["title"]], TRUE)
      message
    })
  })
  unlist(parts, recursive = FALSE)
}

# The stack of R ends at some thousands.
most_list_depth <- 100L

place_of <- function(place, i, name) {
  place <- if (is.null(place)) {
    paste("Object", i)
  } else {
    paste0(place, "[[", i, "]]")
  }
  if (is.null(name)) place else paste0(place, " (`", printable(name), "`)")
}

# A list that is no object of a class, nor a matrix.
is_plain_list <- function(x) is.list(x) && !is.object(x) && is.null(dim(x))

# What a method returned, as a list of messages.
one_or_several <- function(messages, call = caller_env()) {
  if (inherits(messages, "mx_message")) {
    return(list(messages))
  }
  is_message <- function(x) inherits(x, "mx_message")
  all_are <- is.null(messages) || is_plain_list(messages)
  if (!all_are || !all(vapply(messages, is_message, NA))) {
    mx_abort(
      c(
        paste0(
          "A method of mx_as_message() returned an object of class ",
          class(messages)[[1]],
          "."
        ),
        i = "It must return what mx_message() or mx_file() makes, or a list of these."
      ),
      "mx_error_argument",
      call = call
    )
  }
  unname(as.list(messages))
}

# Bytes of JSON that text and HTML of one message may have. An event of an encrypted
# room has about 46,900 for everything.
most_text_bytes <- 40000

fits_in_event <- function(...) {
  sum(nchar(as_json_text(list(...)), "bytes")) <= most_text_bytes
}

# Text as a message, or as a file where it is too long for one.
text_or_file <- function(text, html = NULL) {
  if (fits_in_event(text, html)) {
    return(new_message(text, html, "m.text"))
  }
  mx_file(charToRaw(enc2utf8(text)), name = "output.txt")
}

code_message <- function(lines) {
  text_or_file(paste(lines, collapse = "\n"), code_block(lines))
}

#' @export
print.mx_message <- function(x, ...) {
  file <- x[["file"]]
  what <- if (is.null(file)) {
    html <- if (is.null(x[["html"]])) "" else ", with HTML"
    paste0(plural(nchar(x[["text"]]), "character"), " of text", html)
  } else {
    paste("the file", printable(file[["name"]]))
  }
  text <- if (!is.null(x[["text"]])) shorten(x[["text"]], 70L)
  print_lines(c(paste("<mx_message>", what), text))
  invisible(x)
}

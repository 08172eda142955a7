# How objects become messages.

#' @export
mx_as_message.mx_message <- function(x, ...) x

#' @export
mx_as_message.NULL <- function(x, ...) NULL

#' @export
mx_as_message.list <- function(x, ...) {
  if (!is_plain_list(x)) {
    return(mx_as_message.default(x))
  }
  messages_of_list(x, function(x, place) one_or_several(mx_as_message(x)))
}

#' @export
mx_as_message.character <- function(x, ...) {
  # Only print() shows names.
  if (!is.null(names(x)) || !is.null(dim(x)) || isS4(x) || length(x) == 0L) {
    return(code_message(printed(x, quote = FALSE)))
  }
  x <- checked_text(as.character(x), "x", environment())
  x[is.na(x)] <- "NA"
  text <- cli::ansi_strip(paste(x, collapse = "\n"))
  if (!nzchar(text)) {
    argument_abort("x", "text that is not empty", environment())
  }
  text_or_file(text)
}

# Paths of package fs.
#' @export
mx_as_message.fs_path <- function(x, ...) {
  lapply(as.character(x), mx_file)
}

#' @export
mx_as_message.numeric <- function(x, ...) {
  if (is.object(x)) code_message(printed(x)) else values_message(x)
}

#' @export
mx_as_message.logical <- mx_as_message.numeric

#' @export
mx_as_message.complex <- mx_as_message.numeric

#' @export
mx_as_message.Date <- function(x, ...) values_message(x)

#' @export
mx_as_message.difftime <- mx_as_message.Date

#' @export
mx_as_message.POSIXt <- function(x, ...) values_message(x, usetz = TRUE)

#' @export
mx_as_message.factor <- function(x, ...) {
  # Without the line of the levels: they may be many.
  values_message(as.character(x), empty = "factor(0)")
}

# So many values are shown, and the others counted.
most_values <- 1000L

# The values of a vector in a line.
values_message <- function(x, ..., empty = paste0(class(x)[[1]], "(0)")) {
  if (!is.null(names(x)) && !inherits(x, "POSIXlt") || !is.null(dim(x))) {
    return(code_message(printed(x)))
  }
  if (length(x) == 0L) {
    return(new_message(empty, NULL, "m.text"))
  }
  shown <- utils::head(x, most_values)
  text <- if (is.character(x)) shown else format(shown, trim = TRUE, ...)
  left_out <- length(x) - length(shown)
  more <- if (left_out > 0) {
    paste("\u2026 and", plural(left_out, "more value", "more values"))
  }
  text_or_file(paste(c(enc2utf8(text), more), collapse = " "))
}

#' @export
mx_as_message.data.frame <- function(x, ...) {
  # R's own numbers of rows say nothing.
  table_message(x, row_names = is.character(attr(x, "row.names")))
}

#' @export
mx_as_message.matrix <- function(x, ...) {
  table_message(x, row_names = !is.null(rownames(x)))
}

# Their table has columns that nobody reads.
#' @export
mx_as_message.mx_events <- function(x, ...) code_message(printed(x))

table_message <- function(x, row_names) {
  x <- as.data.frame(x)
  if (ncol(x) == 0L) {
    return(code_message(printed(x)))
  }
  message <- table_text_message(x, 50, row_names)
  if (fits_in_event(message[["text"]], message[["html"]])) {
    return(message)
  }
  # More would take minutes, and memory that may not be there.
  csv_message(x, 1e5, row_names)
}

plot_message <- function(x, ...) {
  canvas <- canvas_of(7, 5, 150, "white")
  dir <- private_dir()
  on.exit(unlink(dir, recursive = TRUE))
  mx_file(read_file(draw_plot(x, dir, canvas)), name = "plot.png")
}

#' @export
mx_as_message.ggplot <- plot_message

#' @export
mx_as_message.trellis <- plot_message

#' @export
mx_as_message.grob <- plot_message

#' @export
mx_as_message.gList <- plot_message

#' @export
mx_as_message.recordedplot <- plot_message

#' @export
mx_as_message.default <- function(x, ...) code_message(printed(x))

# Without the address of its environment.
#' @export
mx_as_message.formula <- function(x, ...) {
  code_message(printed(x, showEnv = FALSE))
}

# The lines that print() shows, without colours.
printed <- function(x, ..., call = caller_env()) {
  old <- options(cli.num_colors = 1L, crayon.enabled = FALSE)
  on.exit(options(old))
  lines <- tryCatch(
    utils::capture.output(print(x, ...)),
    error = function(condition) {
      mx_abort(
        paste0("print() fails for `x`, of class ", class(x)[[1]], "."),
        "mx_error_argument",
        parent = condition,
        call = call
      )
    }
  )
  lines <- cli::ansi_strip(enc2utf8(lines))
  if (!any(nzchar(lines))) {
    mx_abort(
      c(
        paste0("print() shows no text for `x`, of class ", class(x)[[1]], "."),
        i = "mx_send_plot() sends what code draws: `mx_send_plot(client, room, x)`."
      ),
      "mx_error_argument",
      call = call
    )
  }
  lines
}

#' @export
mx_as_message.function <- function(x, ...) {
  # Often a variable that was misspelt, like `df`.
  refuse_object(x, "a function", "mx_send_plot() sends what a function draws.")
}

#' @export
mx_as_message.environment <- function(x, ...) {
  # R6 and reference objects are environments, too.
  if (is.object(x)) {
    return(code_message(printed(x)))
  }
  refuse_object(x, "an environment", "as.list() makes a list of it.")
}

#' @export
mx_as_message.connection <- function(x, ...) {
  refuse_object(x, "a connection", "Give the text, or mx_file() with its path.")
}

#' @export
mx_as_message.externalptr <- function(x, ...) {
  refuse_object(x, "a pointer", "It has no content that R can show.")
}

#' @export
mx_as_message.raw <- function(x, ...) {
  refuse_object(
    x,
    "a raw vector",
    "mx_file(x, name = \"x.bin\") makes a file of it."
  )
}

#' @export
mx_as_message.htmlwidget <- plot_message

# Printing one opens a browser.
#' @export
mx_as_message.gt_tbl <- function(x, ...) {
  refuse_object(
    x,
    paste("HTML of class", class(x)[[1]]),
    paste(
      "Save it to a file with a function of its package, such as",
      "gt::gtsave(), then use mx_file()."
    )
  )
}

#' @export
mx_as_message.flextable <- mx_as_message.gt_tbl

#' @export
mx_as_message.shiny.tag <- mx_as_message.gt_tbl

#' @export
mx_as_message.shiny.tag.list <- mx_as_message.gt_tbl

refuse_object <- function(x, what, help, call = caller_env()) {
  mx_abort(
    c(paste0("`x` is ", what, ", which cannot be a message."), i = help),
    "mx_error_argument",
    call = call
  )
}

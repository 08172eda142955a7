#' @param as How to send the table. `"html"` is a table where clients show HTML
#'   tables, and aligned text where they do not. `"code"` is aligned text in a code
#'   block, which clients on phones show too. `"image"` is a picture of the table, of
#'   at most 200 rows, with cells of at most 60 letters. The aligned text is its
#'   caption, as far as it fits: clients show it below, and screen readers read it.
#'   `"file"` is a CSV file (UTF-8, comma, decimal point, an empty cell for `NA`),
#'   with `title` as its caption.
#' @param digits How many significant digits numbers have at least, as in
#'   [print()]. `NULL` is `getOption("digits")`. A file has all digits.
#' @param csv Whether to send the whole table as a CSV file too, right after the
#'   message and in the same thread: also the rows that `max_rows` leaves out. Its
#'   transaction id is `transaction_id` with `-1`. With `as = "file"` it changes
#'   nothing.
#' @rdname mx_send
#' @export
mx_send_table <- function(
  client,
  room,
  x,
  title = NULL,
  max_rows = NULL,
  row_names = FALSE,
  as = c("html", "code", "image", "file"),
  mentions = character(),
  reply_to = NULL,
  thread = NULL,
  transaction_id = NULL,
  digits = NULL,
  csv = FALSE
) {
  check_client(client)
  title <- check_string(title, null = TRUE)
  as <- check_choice(as, c("html", "code", "image", "file"))
  if (is.null(max_rows)) {
    # A file has room for all of them.
    max_rows <- if (as == "file") Inf else 50
  }
  check_number(max_rows, least = 1)
  check_flag(row_names)
  check_digits(digits)
  check_flag(csv)
  check_user_ids(mentions)
  check_string(reply_to, null = TRUE)
  check_string(thread, null = TRUE)
  check_room(client, room)
  check_string(transaction_id, null = TRUE)
  if (!is.data.frame(x) && !is.matrix(x)) {
    argument_abort("x", "a data frame or a matrix", caller_env())
  }
  x <- as.data.frame(x)
  # With `as = "file"` it would be the same file twice.
  file <- if (csv && as != "file") csv_name
  message <- switch(
    as,
    file = csv_message(x, max_rows, row_names),
    image = table_picture_message(x, max_rows, row_names, digits, file),
    table_text_message(x, max_rows, row_names, as, digits, file)
  )
  message[["title"]] <- title
  messages <- list(message)
  if (!is.null(file)) {
    messages <- c(messages, list(csv_message(x, Inf, row_names)))
    transaction_id <- if (!is.null(transaction_id)) {
      paste0(transaction_id, c("", "-1"))
    }
  }
  invisible(send_messages(
    client,
    room,
    lapply(messages, ready_message, environment()),
    thread,
    mentions,
    reply_to,
    transaction_id,
    help = "Send fewer rows or columns, or a file with `as = \"file\"`."
  ))
}

# What the file is called, here and in the message beside it.
csv_name <- "table.csv"

csv_message <- function(x, max_rows, row_names) {
  mx_file(
    table_csv(utils::head(x, floor(max_rows)), row_names),
    caption = rows_left_out(x, max_rows),
    name = csv_name
  )
}

# As format() takes them.
check_digits <- function(digits, call = caller_env()) {
  if (is.null(digits)) {
    return(invisible())
  }
  is_number <- is.numeric(digits) && length(digits) == 1L && !is.na(digits)
  if (!is_number || digits < 1 || digits > 22) {
    argument_abort("digits", "NULL or a number from 1 to 22", call)
  }
}

# A data frame as a message: HTML, and columns of text where HTML is not shown. `file`
# is the name of a file that has all rows, or NULL.
table_text_message <- function(
  x,
  max_rows,
  row_names,
  as = "html",
  digits = NULL,
  file = NULL
) {
  more <- rows_left_out(x, max_rows, file)
  format_column <- function(column) format_cells(column, digits)
  shown <- utils::head(x, floor(max_rows))
  cells <- table_cells(shown, row_names, format_column)
  plain <- plain_table(cells)
  html <- paste0(
    if (as == "code") code_block(plain) else html_table(cells),
    if (!is.null(more)) paste0("<p>", escape_html(more), "</p>")
  )
  new_message(paste(c(plain, more), collapse = "\n"), html, "m.text")
}

rows_left_out <- function(x, max_rows, file = NULL) {
  left_out <- nrow(x) - floor(max_rows)
  if (left_out > 0) {
    more <- paste("\u2026 and", plural(left_out, "more row", "more rows"))
    paste0(more, see_file(file))
  }
}

see_file <- function(file) if (!is.null(file)) paste0(": see ", file)

# A matrix of texts, with the names of the columns.
table_cells <- function(x, row_names, format_column = format_cells) {
  cells <- matrix(
    unlist(lapply(x, format_column), use.names = FALSE) %||% character(),
    nrow = nrow(x),
    ncol = ncol(x),
    dimnames = list(NULL, names(x))
  )
  if (row_names) {
    cells <- cbind(" " = rownames(x), cells)
  }
  cells
}

# What is missing is an empty cell. Text is taken as it is: format() would write
# it in the locale's encoding.
format_cells <- function(column, digits = NULL) {
  if (length(column) == 0L) {
    return(character())
  }
  # A matrix or data frame as a column.
  if (length(dim(column)) == 2L) {
    column <- apply(as.matrix(column), 1, toString)
  }
  # Times as POSIXlt, and records of vctrs, are lists of their parts.
  if (inherits(column, "POSIXlt")) {
    column <- as.POSIXct(column)
  }
  if (is.list(column) && !is_record(column)) {
    column <- unclass(column)
    return(vapply(column, function(x) toString(format_cells(x, digits)), ""))
  }
  text <- if (is.character(column) || is.factor(column)) {
    as.character(column)
  } else if (is.numeric(column)) {
    trimws(format(column, trim = TRUE, digits = digits))
  } else {
    # Of times, digits would be those of seconds.
    trimws(format(column, trim = TRUE))
  }
  if (is.atomic(column)) {
    text[is.na(column)] <- ""
  }
  enc2utf8(as.character(text))
}

is_record <- function(column) {
  inherits(column, "vctrs_rcrd") || length(unclass(column)) != length(column)
}

html_table <- function(cells) {
  row <- function(cells, tag) {
    open <- paste0("<", tag, ">")
    close <- paste0("</", tag, ">")
    inside <- paste0(open, escape_html(cells), close, recycle0 = TRUE)
    paste0("<tr>", paste(inside, collapse = ""), "</tr>")
  }
  rows <- apply(cells, 1, row, tag = "td")
  paste0(
    "<table><thead>",
    row(colnames(cells), "th"),
    "</thead><tbody>",
    paste(rows, collapse = ""),
    "</tbody></table>"
  )
}

plain_table <- function(cells) {
  lines <- rbind(colnames(cells), cells)
  padded <- apply(lines, 2, function(column) {
    column <- gsub("[[:space:]]+", " ", column)
    width <- nchar(column, "width")
    paste0(column, strrep(" ", max(width) - width))
  })
  padded <- matrix(padded, nrow = nrow(lines))
  trimws(apply(padded, 1, paste, collapse = "  "), "right")
}

# Clients show it in letters of one width, also those that show no tables.
code_block <- function(lines) {
  text <- escape_html(paste(lines, collapse = "\n"))
  paste0("<pre><code>", text, "\n</code></pre>")
}

# RFC 4180, but with the line ends of R. It is not left to write.csv(), which
# escapes what the locale cannot say.
table_csv <- function(x, row_names) {
  cells <- table_cells(x, row_names, csv_cells)
  header <- enc2utf8(as.character(colnames(cells)))
  if (row_names) {
    header[[1]] <- ""
  }
  columns <- lapply(seq_along(header), function(i) {
    quote_csv(c(header[[i]], cells[, i]))
  })
  if (length(columns) == 1L) {
    # Readers skip a line that is empty.
    columns[[1]][!nzchar(columns[[1]])] <- "\"\""
  }
  rows <- do.call(paste, c(columns, sep = ","))
  charToRaw(paste0(rows, "\n", collapse = ""))
}

quote_csv <- function(text) {
  needed <- grepl("[\",\r\n]|^[[:space:]]|[[:space:]]$", text)
  doubled <- gsub("\"", "\"\"", text[needed], fixed = TRUE)
  text[needed] <- paste0("\"", doubled, "\"")
  text
}

# Numbers for programs: all digits that a double keeps, and none of the locale's
# marks.
csv_cells <- function(column) {
  if (!is.numeric(column) || is.object(column) || !is.null(dim(column))) {
    return(format_cells(column))
  }
  text <- formatC(
    # Minus zero is zero.
    as.double(column) + 0,
    digits = 15,
    width = 1,
    format = "g",
    decimal.mark = "."
  )
  text[is.na(column) & !is.nan(column)] <- ""
  text
}

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
  invisible(send_events(
    client,
    room_id,
    "m.room.message",
    texts,
    transaction_id
  ))
}

# A data frame as a message: HTML, and columns of text where HTML is not shown.
table_content <- function(x, title, max_rows, row_names) {
  left_out <- max(0, nrow(x) - max_rows)
  x <- utils::head(x, max_rows)
  cells <- matrix(
    unlist(lapply(x, format_cells), use.names = FALSE) %||% character(),
    nrow = nrow(x),
    ncol = ncol(x),
    dimnames = list(NULL, names(x))
  )
  if (row_names) {
    cells <- cbind(" " = rownames(x), cells)
  }
  more <- if (left_out > 0) paste("\u2026 and", left_out, "more rows")
  list(
    msgtype = "m.text",
    body = paste(c(title, plain_table(cells), more), collapse = "\n"),
    format = "org.matrix.custom.html",
    formatted_body = paste0(
      if (!is.null(title)) paste0("<p>", escape_html(title), "</p>"),
      html_table(cells),
      if (!is.null(more)) paste0("<p>", more, "</p>")
    )
  )
}

# What is missing is an empty cell. Text is taken as it is: format() would write
# it in the locale's encoding.
format_cells <- function(column) {
  if (length(column) == 0L) {
    return(character())
  }
  # A matrix or data frame as a column.
  if (length(dim(column)) == 2L) {
    column <- apply(as.matrix(column), 1, toString)
  }
  if (is.list(column)) {
    return(vapply(column, function(x) toString(format_cells(x)), ""))
  }
  text <- if (is.character(column) || is.factor(column)) {
    as.character(column)
  } else {
    trimws(format(column, trim = TRUE))
  }
  text[is.na(column)] <- ""
  enc2utf8(as.character(text))
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

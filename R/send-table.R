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
  cells <- vapply(x, format_cells, character(nrow(x)))
  cells <- matrix(cells, nrow = nrow(x), dimnames = list(NULL, names(x)))
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

format_cells <- function(column) {
  text <- if (is.list(column)) {
    vapply(column, function(cell) paste(format(cell), collapse = ", "), "")
  } else {
    format(column, trim = TRUE)
  }
  text <- enc2utf8(as.character(text))
  text[is.na(column) & !is.list(column)] <- ""
  text
}

html_table <- function(cells) {
  row <- function(cells, tag) {
    inside <- paste0("<", tag, ">", escape_html(cells), "</", tag, ">")
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
  widths <- apply(lines, 2, function(column) max(nchar(column)))
  padded <- vapply(
    seq_along(widths),
    function(i) formatC(lines[, i], width = -widths[[i]]),
    character(nrow(lines))
  )
  trimws(
    apply(matrix(padded, nrow = nrow(lines)), 1, paste, collapse = "  "),
    "right"
  )
}

# HTML for the `formatted_body` of messages.

escape_html <- function(text) {
  text <- gsub("&", "&amp;", text, fixed = TRUE)
  text <- gsub("<", "&lt;", text, fixed = TRUE)
  text <- gsub(">", "&gt;", text, fixed = TRUE)
  gsub("\"", "&quot;", text, fixed = TRUE)
}

markdown_html <- function(text) {
  html <- commonmark::markdown_html(text, hardbreaks = TRUE, extensions = TRUE)
  html <- sub("\n$", "", html)
  # A single paragraph needs no frame.
  paragraphs <- gregexpr("<p>", html, fixed = TRUE)[[1]]
  if (length(paragraphs) == 1L && grepl("^<p>.*</p>$", html)) {
    html <- substr(html, 4L, nchar(html) - 4L)
  }
  html
}

# User ids that are mentioned become links, which clients show as pills.
add_pills <- function(html, mentions) {
  for (user_id in mentions) {
    shown <- escape_html(user_id)
    href <- paste0("https://matrix.to/#/", encode_segment(user_id))
    link <- paste0("<a href=\"", href, "\">", shown, "</a>")
    html <- gsub(shown, link, html, fixed = TRUE)
  }
  html
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
  trimws(apply(matrix(padded, nrow = nrow(lines)), 1, paste, collapse = "  "), "right")
}

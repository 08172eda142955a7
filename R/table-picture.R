# Tables as pictures: measured on the device that draws them, since only that knows how
# wide its letters are.

# Sizes in inches.
table_font_size <- 11
table_row_height <- 0.26
table_padding <- 0.1
table_margin <- 0.1

# A screen shows no more, and a phone none of it.
most_picture_rows <- 200L
most_picture_width <- 30
most_cell_letters <- 60L

# `file` is the name of a file that has all rows, or NULL.
table_picture_message <- function(
  x,
  max_rows,
  row_names,
  digits,
  file,
  call = caller_env()
) {
  max_rows <- min(max_rows, most_picture_rows)
  shown <- utils::head(x, floor(max_rows))
  more <- rows_left_out(x, max_rows, file)
  cells <- table_cells(shown, row_names, function(column) {
    format_cells(column, digits)
  })
  is_number <- c(if (row_names) FALSE, vapply(shown, is_number_column, NA))
  message <- mx_file(
    table_picture(cells, is_number, more, call),
    name = "table.png"
  )
  message[c("text", "html")] <- table_words(cells, more, file)
  message
}

is_number_column <- function(column) {
  is.numeric(column) && is.null(dim(column))
}

# The table in text, for those who cannot see the picture, or search for a word: as many
# rows as fit into an event as text and as HTML.
table_words <- function(cells, more, file) {
  lines <- plain_table(cells)
  bytes <- function(lines) {
    nchar(vapply(lines, function(x) as_json_text(list(x)), ""), "bytes")
  }
  fitting <- cumsum(bytes(lines) + bytes(escape_html(lines))) < most_text_bytes
  if (!all(fitting)) {
    more <- paste0("\u2026", see_file(file))
  }
  lines <- lines[fitting]
  list(
    text = paste(c(lines, more), collapse = "\n"),
    html = code_block(c(lines, more))
  )
}

# The bytes of a PNG picture of a table.
table_picture <- function(cells, is_number, more, call) {
  if (ncol(cells) == 0L) {
    argument_abort("x", "a table with columns, to be sent as a picture", call)
  }
  cells <- shown_cells(cells)
  dir <- private_dir()
  on.exit(unlink(dir, recursive = TRUE))
  layout <- table_layout(cells, is_number, more, dir, call)
  canvas <- canvas_of(layout[["width"]], layout[["height"]], 150, "white", call)
  pages <- draw_pages(
    draw_table(cells, is_number, more, layout),
    file.path(dir, "table"),
    canvas,
    call
  )
  read_file(pages[[1]])
}

# Each cell is one line.
shown_cells <- function(cells) {
  one_line <- function(text) {
    shorten(gsub("[[:space:]]+", " ", as.vector(text)), most_cell_letters)
  }
  matrix(
    one_line(cells),
    nrow(cells),
    ncol(cells),
    dimnames = list(NULL, one_line(colnames(cells)))
  )
}

# The left edges and widths of the columns, and the size of the picture.
table_layout <- function(cells, is_number, more, dir, call) {
  measured <- NULL
  measure <- function() {
    widest <- function(text, bold = FALSE) max(0, text_widths(text, bold))
    measured <<- list(
      header = vapply(colnames(cells), text_widths, 0, bold = TRUE),
      cells = apply(cells, 2, widest),
      more = widest(more %||% "")
    )
  }
  canvas <- canvas_of(1, 1, 150, "white", call)
  draw_pages(measure(), file.path(dir, "measure"), canvas, call)
  widths <- pmax(measured[["header"]], measured[["cells"]]) + 2 * table_padding
  width <- max(sum(widths), measured[["more"]] + 2 * table_padding)
  if (width > most_picture_width) {
    mx_abort(
      c(
        "The table is too wide for a picture. Nothing was sent.",
        x = paste0(
          "It has ",
          plural(ncol(cells), "column"),
          ", and would be ",
          ceiling(width * 150),
          " pixels wide."
        ),
        i = "Send fewer columns, or a file with `as = \"file\"`."
      ),
      "mx_error_argument",
      call = call
    )
  }
  lines <- 1L + nrow(cells) + !is.null(more)
  list(
    widths = widths,
    left = table_margin + cumsum(c(0, widths))[seq_along(widths)],
    width = width + 2 * table_margin,
    height = lines * table_row_height + 2 * table_margin
  )
}

# In inches, on the current device.
text_widths <- function(text, bold = FALSE) {
  if (length(text) == 0L) {
    return(numeric())
  }
  grid::pushViewport(grid::viewport(gp = table_font(bold)))
  on.exit(grid::popViewport())
  grid::convertWidth(
    grid::unit(rep(1, length(text)), "strwidth", as.list(text)),
    "inches",
    valueOnly = TRUE
  )
}

table_font <- function(bold = FALSE, colour = "black") {
  grid::gpar(
    fontsize = table_font_size,
    fontface = if (bold) "bold" else "plain",
    col = colour
  )
}

draw_table <- function(cells, is_number, more, layout) {
  grid::grid.newpage()
  # The middle of each line, from the top: header, rows, and what is missing.
  middle <- function(line) {
    layout[["height"]] - table_margin - (line - 0.5) * table_row_height
  }
  rows <- seq_len(nrow(cells)) + 1L
  draw_stripes(middle(rows[c(FALSE, TRUE)]), layout)
  for (i in seq_along(layout[["widths"]])) {
    column <- function(text, line, font) {
      draw_column(text, middle(line), layout, i, is_number[[i]], font)
    }
    column(colnames(cells)[[i]], 1, table_font(bold = TRUE))
    if (length(rows) > 0L) {
      column(cells[, i], rows, table_font())
    }
  }
  draw_rule(middle(1.5), layout)
  if (!is.null(more)) {
    font <- table_font(colour = "grey40")
    draw_column(more, middle(nrow(cells) + 2), layout, 1L, FALSE, font)
  }
}

draw_column <- function(text, y, layout, i, to_right, font) {
  left <- layout[["left"]][[i]] + table_padding
  right <- layout[["left"]][[i]] + layout[["widths"]][[i]] - table_padding
  grid::grid.text(
    text,
    x = grid::unit(if (to_right) right else left, "inches"),
    y = grid::unit(y, "inches"),
    hjust = if (to_right) 1 else 0,
    gp = font
  )
}

draw_stripes <- function(y, layout) {
  if (length(y) > 0L) {
    grid::grid.rect(
      x = grid::unit(table_margin, "inches"),
      y = grid::unit(y, "inches"),
      width = grid::unit(layout[["width"]] - 2 * table_margin, "inches"),
      height = grid::unit(table_row_height, "inches"),
      hjust = 0,
      gp = grid::gpar(fill = "grey95", col = NA)
    )
  }
}

draw_rule <- function(y, layout) {
  ends <- c(table_margin, layout[["width"]] - table_margin)
  grid::grid.lines(
    x = grid::unit(ends, "inches"),
    y = grid::unit(y, "inches"),
    gp = grid::gpar(col = "grey30", lwd = 1.2)
  )
}

# What the pictures of this package are drawn with: a page whose coordinates are inches,
# text that fits its place on any device, and marks that mean the same by colour, by line
# and by shape. The callers restore par().

# The colours of Okabe and Ito, which most colour-blind people tell apart, darkened where
# thin lines lie on white.
drawing_colours <- c(
  paper = "#FFFFFF",
  ink = "#1A1A1A",
  faint = "#666666",
  rule = "#D9D9D9",
  box = "#F5F5F5",
  good = "#00795A",
  bad = "#B84600"
)

# Begins a page, and returns its width and height. A white ground makes the ink readable on
# a dark one.
new_drawing <- function() {
  graphics::plot.new()
  size <- graphics::par("pin")
  graphics::plot.window(
    c(0, size[[1]]),
    c(0, size[[2]]),
    xaxs = "i",
    yaxs = "i"
  )
  graphics::rect(
    0,
    0,
    size[[1]],
    size[[2]],
    col = drawing_colours[["paper"]],
    border = NA
  )
  size
}

# All text of the pictures goes through here. `align` is the part of the text that lies
# left of `x`.
draw_text <- function(
  x,
  y,
  label,
  cex = 1,
  font = 1L,
  align = 0,
  colour = drawing_colours[["ink"]]
) {
  drawn <- !is.na(label) & nzchar(label)
  if (any(drawn)) {
    graphics::text(
      rep_len(x, length(label))[drawn],
      rep_len(y, length(label))[drawn],
      label[drawn],
      adj = c(align, 0.5),
      cex = cex,
      font = font,
      col = colour,
      srt = 0
    )
  }
}

text_width <- function(label, cex = 1, font = 1L) {
  graphics::strwidth(label, units = "inches", cex = cex, font = font)
}

line_height <- function(cex = 1) {
  1.9 * graphics::strheight("M", units = "inches", cex = cex)
}

# Text of others as the device can draw it, and without what steers it. A device without
# Unicode warns when it measures a character that it lacks, which "?" stands for.
drawable <- function(text) {
  text <- iconv(as_utf8(as.character(text)), "UTF-8", "UTF-8", sub = "?")
  text <- without_direction(printable(shortened(text, 300L)))
  can <- vapply(text, device_has, NA, USE.NAMES = FALSE)
  text[!can] <- vapply(
    strsplit(text[!can], ""),
    function(letters) {
      has <- vapply(letters, device_has, NA)
      paste(ifelse(has, letters, "?"), collapse = "")
    },
    ""
  )
  text
}

device_has <- function(text) {
  fails <- function(condition) FALSE
  tryCatch(
    is.na(text) || is.finite(text_width(text)),
    warning = fails,
    error = fails
  )
}

# Text without its middle, where it is too wide: ids of one server differ at the front, and
# keys anywhere.
fitted_text <- function(text, width, cex = 1, font = 1L) {
  fits <- function(one) text_width(one, cex, font) <= width
  fit <- function(one) {
    if (is.na(one) || fits(one)) {
      return(one)
    }
    cut <- function(keep) {
      front <- ceiling(keep * 0.6)
      paste0(
        substr(one, 1L, front),
        "...",
        substr(one, nchar(one) - (keep - front) + 1L, nchar(one))
      )
    }
    low <- 0L
    high <- nchar(one)
    while (high - low > 1L) {
      middle <- (low + high) %/% 2L
      if (fits(cut(middle))) low <- middle else high <- middle
    }
    if (fits(cut(low))) cut(low) else ""
  }
  vapply(as.character(text), fit, "", USE.NAMES = FALSE)
}

# How large text may be that must not be shortened. Widths do not grow evenly with it.
fitting_cex <- function(text, width, cex, font = 1L) {
  while (cex > 0.1 && max(text_width(text, cex, font)) > width) {
    cex <- 0.95 * cex
  }
  cex
}

# Text in lines, none of them wider than `width`.
wrapped_text <- function(text, width, cex = 1, font = 1L) {
  lines <- character()
  for (word in strsplit(text, " +")[[1]]) {
    last <- length(lines)
    longer <- paste(lines[last], word)
    if (last > 0L && text_width(longer, cex, font) <= width) {
      lines[[last]] <- longer
    } else {
      lines <- c(lines, fitted_text(word, width, cex, font))
    }
  }
  lines
}

# What a mark looks like: "good", "bad", "alarm" (something changed), or "none".
mark_look <- function(mark) {
  switch(
    mark,
    good = list(colour = drawing_colours[["good"]], lty = 1L, pch = 19L),
    bad = list(colour = drawing_colours[["bad"]], lty = 2L, pch = 4L),
    alarm = list(colour = drawing_colours[["bad"]], lty = 2L, pch = 17L),
    none = list(colour = drawing_colours[["faint"]], lty = 3L, pch = 1L)
  )
}

draw_mark <- function(x, y, mark, cex = 1) {
  look <- mark_look(mark)
  graphics::points(
    x,
    y,
    pch = look[["pch"]],
    col = look[["colour"]],
    cex = cex,
    lwd = max(0.8, 2 * cex * graphics::par("cex"))
  )
}

draw_line <- function(x, y, mark, arrow = FALSE, cex = 1) {
  look <- mark_look(mark)
  graphics::lines(
    x,
    y,
    col = look[["colour"]],
    lty = look[["lty"]],
    lwd = 1.5
  )
  if (arrow) {
    # The last part goes down. Its head is a triangle, whatever the line.
    size <- 0.35 * line_height(cex)
    end <- length(x)
    graphics::polygon(
      x[[end]] + size * c(0, -0.5, 0.5),
      y[[end]] + size * c(0, 1, 1),
      col = look[["colour"]],
      border = NA
    )
  }
}

# The places of the items of a legend from the left, in as many rows as they need: `x`, and
# `row` from 1.
legend_places <- function(labels, width, cex, sign) {
  needs <- sign + text_width(labels, cex) + 1.2 * line_height(cex)
  x <- numeric(length(labels))
  row <- integer(length(labels))
  at <- 0
  rows <- 1L
  for (i in seq_along(labels)) {
    if (at > 0 && at + needs[[i]] > width) {
      at <- 0
      rows <- rows + 1L
    }
    x[[i]] <- at
    row[[i]] <- rows
    at <- at + needs[[i]]
  }
  list(x = x, row = row, rows = rows)
}

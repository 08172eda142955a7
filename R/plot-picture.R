# Draws a plot to a PNG file. Whatever the code does, the user's graphics devices are
# as before afterwards, and no picture is blank or one of several.

# Draws `plot` and returns the path of the picture. `plot` is a promise: it must not
# be touched before the device is open, since then the code runs.
draw_plot <- function(plot, dir, canvas, call = caller_env()) {
  result <- NULL
  draw <- function() {
    tryCatch(
      result <<- run_plot(plot, canvas, call),
      error = function(condition) raise_plot_error(condition, call)
    )
  }
  pages <- draw_pages(draw(), file.path(dir, "plot"), canvas, call)
  check_one_page(pages, call)
  if (!is_blank(pages, dir, canvas, call)) {
    return(pages)
  }
  value <- result[["value"]]
  if (is_widget(value) && result[["visible"]]) {
    return(widget_picture(value, dir, canvas, call))
  }
  plot_abort(
    c(
      "Nothing was drawn. Nothing was sent.",
      x = if (!is.null(value)) {
        paste0("The value of `plot` has the class ", class(value)[[1]], ".")
      },
      i = plot_help(value)
    ),
    call
  )
}

raise_plot_error <- function(condition, call) {
  # Errors of this file say already what is wrong.
  if (inherits(condition, c("mx_error_plot", "mx_error_package"))) {
    raise(condition)
  }
  plot_abort(
    "The plot could not be drawn. Nothing was sent.",
    call,
    parent = condition
  )
}

# Runs the code as the console would: a plot that it returns visibly is drawn. Returns
# the value, and whether it is visible.
run_plot <- function(plot, canvas, call) {
  result <- withVisible(plot)
  if (is.function(result[["value"]])) {
    # Errors show this name.
    draw <- result[["value"]]
    result <- withVisible(draw())
  }
  if (result[["visible"]]) {
    draw_object(result[["value"]], canvas, call)
  }
  result
}

# Draws a plot that is an object, and nothing for any other value.
draw_object <- function(value, canvas, call) {
  if (inherits(value, "recordedplot")) {
    grDevices::replayPlot(with_background(value, canvas))
  } else if (inherits(value, c("grob", "gList"))) {
    grid::grid.draw(value)
  } else if (inherits(value, c("ggplot", "gg"))) {
    print_of("ggplot2", value, call)
  } else if (inherits(value, "trellis")) {
    print_of("lattice", value, call)
  }
}

# A screen is transparent over white paper, and so is what was recorded from it: the
# device cairo would make a transparent picture, whatever its own background. A first
# entry in the recording sets the colour.
with_background <- function(recorded, canvas) {
  background <- on_null_device(canvas, {
    suppressWarnings(grDevices::replayPlot(recorded))
    graphics::par("bg")
  })
  if (background == "transparent") {
    first <- on_null_device(canvas, {
      graphics::par(bg = canvas[["background"]])
      grDevices::recordPlot()[[1]]
    })
    entries <- c(as.list(first), as.list(recorded[[1]]))
    recorded[[1]] <- as.pairlist(entries)
  }
  recorded
}

# Runs code on a device that writes nothing, and records.
on_null_device <- function(canvas, code) {
  current <- grDevices::dev.cur()
  grDevices::pdf(NULL, canvas[["width"]], canvas[["height"]])
  device <- grDevices::dev.cur()
  on.exit({
    grDevices::dev.off(device)
    grDevices::dev.set(current)
  })
  grDevices::dev.control("enable")
  force(code)
}

# Without its package a plot from a file would be printed as a list.
print_of <- function(package, value, call) {
  check_package(package, call = call)
  print(value)
}

is_plot_object <- function(value) {
  plots <- c("ggplot", "gg", "trellis", "grob", "gList", "recordedplot")
  inherits(value, plots)
}

# What to do with a value that drew nothing.
plot_help <- function(value) {
  if (is_plot_object(value)) {
    "Print the plot in your code: `print(p)`."
  } else if (is.data.frame(value) || is.matrix(value)) {
    "mx_send_table() sends a data frame or a matrix as a table."
  } else if (is_string(value)) {
    "mx_send_image() sends a picture that is a file."
  } else if (is_widget(value)) {
    "End your code with the HTML widget itself, as at the console."
  } else if (is.list(value) && any(vapply(value, is_plot_object, NA))) {
    "Send each plot by its own call."
  } else {
    "Give code that draws, like `plot(cars)`, a ggplot, or a function that draws."
  }
}

check_one_page <- function(pages, call) {
  if (length(pages) > 1L) {
    plot_abort(
      c(
        paste(
          "The code drew",
          length(pages),
          "pages, and a picture is one page. Nothing was sent."
        ),
        i = "Use `par(mfrow = c(2, 2))` for one page, or one call per page."
      ),
      call
    )
  }
}

# Some devices write no file for an empty page, others a blank one: it has the bytes
# of a page that is known to be blank.
is_blank <- function(page, dir, canvas, call) {
  if (length(page) == 0L) {
    return(TRUE)
  }
  empty <- file.path(dir, "empty")
  blank <- draw_pages(grid::grid.newpage(), empty, canvas, call)
  bytes <- function(file) readBin(file, "raw", file.size(file))
  identical(bytes(page), bytes(blank))
}

# Runs code that draws, and returns the files of its pages.
draw_pages <- function(code, dir, canvas, call) {
  dir.create(dir)
  # Devices take the name for a format.
  file <- file.path(gsub("%", "%%", dir, fixed = TRUE), "%06d.png")
  draw_on_canvas(code, file, canvas, call)
  list.files(dir, full.names = TRUE)
}

draw_on_canvas <- function(code, file, canvas, call) {
  current <- grDevices::dev.cur()
  before <- grDevices::dev.list()
  # R opens the device of this option for code that closed ours: a window, or
  # Rplots.pdf. What the code drew there would be missing from the picture.
  old <- options(device = function(...) {
    plot_abort(
      c(
        "The code opened or closed a graphics device. Nothing was sent.",
        i = "Leave out dev.new() and dev.off(): mx_send_plot() does both."
      ),
      call
    )
  })
  on.exit({
    options(old)
    for (device in setdiff(grDevices::dev.list(), before)) {
      grDevices::dev.off(device)
    }
    if (current %in% grDevices::dev.list()) {
      grDevices::dev.set(current)
    }
  })
  open_canvas(file, canvas, call)
  force(code)
}

# Opens the best PNG device of this R. Devices that are compiled in may still fail,
# by a warning: where there is no display, or a library is missing.
open_canvas <- function(file, canvas, call) {
  before <- grDevices::dev.cur()
  for (open in png_devices()) {
    failed <- function(condition) NULL
    tryCatch(open(file, canvas), error = failed, warning = failed)
    if (grDevices::dev.cur() != before) {
      return(invisible())
    }
  }
  plot_abort(
    c(
      "This R has no PNG device that works. Nothing was sent.",
      i = "Run install.packages(\"ragg\")."
    ),
    call
  )
}

png_devices <- function() {
  png_of <- function(...) {
    function(file, canvas) {
      grDevices::png(
        file,
        canvas[["width"]],
        canvas[["height"]],
        units = "in",
        res = canvas[["dpi"]],
        bg = canvas[["background"]],
        ...
      )
    }
  }
  c(
    if (requireNamespace("ragg", quietly = TRUE)) ragg_png,
    if (capabilities("cairo")) png_of(type = "cairo"),
    png_of()
  )
}

ragg_png <- function(file, canvas) {
  ragg::agg_png(
    file,
    canvas[["width"]],
    canvas[["height"]],
    units = "in",
    res = canvas[["dpi"]],
    background = canvas[["background"]]
  )
}

plot_abort <- function(message, call, ...) {
  mx_abort(message, "mx_error_plot", ..., call = call)
}

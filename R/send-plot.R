# Plots as pictures: the plot is drawn on a PNG device of our own, then sent as an
# image (send-file.R). The user's graphics devices stay as they are.

#' Send a plot
#'
#' Draws a plot as a PNG picture and sends it. The plot may be code that draws, a
#' ggplot, or what the graphics device shows now. In an encrypted room the
#' picture is encrypted before it is uploaded.
#'
#' `plot` can be:
#' * code that draws, as a call or in braces: `plot(cars)`,
#'   `{ plot(cars); abline(h = 3) }`. It runs once, where you wrote it, and draws on
#'   the picture and not on your screen.
#' * a ggplot, a lattice plot, a grid grob, or a plot that
#'   [grDevices::recordPlot()] recorded. As at the console, code that ends with one
#'   draws it.
#' * an HTML widget, such as one of plotly, DT or leaflet. The packages htmlwidgets and
#'   webshot2 draw it, with Chrome or Chromium; the picture shows `width` by `height`
#'   inches of its page.
#' * a function without arguments that draws, or returns such a plot.
#' * left out: the plot that the current graphics device shows, else the last
#'   ggplot. A plot from a device is scaled to the new size. To have it laid out for
#'   `width` and `height`, give the code or the ggplot itself.
#'
#' A picture is one page. Code that draws several pages, such as `plot()` of a
#' linear model, needs `par(mfrow = c(2, 2))`, or one call per page. Leave out
#' `dev.new()` and `dev.off()`. A device that the code opens itself is closed
#' afterwards. The package ragg draws the picture if it is installed, else
#' [grDevices::png()] does.
#'
#' @inheritParams mx_send
#' @param plot What to draw: code, a plot or a function. By default the plot that
#'   was drawn last.
#' @param name The name of the file. `.png` is added if it is missing.
#' @param caption Text below the picture, or `NULL`.
#' @param alt What the picture shows, for people who cannot see it, or `NULL`.
#'   Matrix has no stable field for alternative text yet (it is proposed as
#'   MSC3552). Until then `alt` is sent as the caption, or as a paragraph below
#'   the caption. Everybody sees it, and screen readers read it.
#' @param markdown Whether `caption` is Markdown. `alt` alone never is.
#' @param width,height The size in inches.
#' @param dpi Pixels per inch. Text grows with it. A picture has at most 20,000
#'   pixels in each direction, and 100 million in all.
#' @param background The colour behind the plot. A `"transparent"` one may be
#'   unreadable in clients with a dark theme.
#' @param transaction_id Your own id for this event. Sending again under the same
#'   id gives the same event.
#' @return The event id, invisibly.
#' @section Errors:
#' `mx_error_plot` when there is no picture to send: the code failed (`parent` is
#' its error), drew nothing, drew several pages or closed the graphics device; the
#' value is not a plot; or no PNG device works here. `mx_error_package` when the package
#' that draws the plot is missing. `mx_error_argument` when
#' another argument does not fit: no plot code runs then. Nothing was sent in either
#' case. For errors of sending see [mx_send_image()].
#' @family sending
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#'
#' mx_send_plot(alice, room, plot(cars), caption = "Stopping distances")
#' mx_send_plot(alice, room, width = 5, height = 5, {
#'   hist(cars$speed, main = "Speed")
#'   abline(v = mean(cars$speed), col = "red")
#' })
#' try(mx_send_plot(alice, room, plot(no_such_data)))
#' @export
mx_send_plot <- function(
  client,
  room,
  plot = NULL,
  name = "plot.png",
  caption = NULL,
  alt = NULL,
  markdown = FALSE,
  mentions = character(),
  reply_to = NULL,
  thread = NULL,
  width = 7,
  height = 5,
  dpi = 150,
  background = "white",
  transaction_id = NULL
) {
  check_client(client)
  check_room(client, room)
  name <- picture_name(check_string(name))
  file_names(list(name), name, 1L, caller_env())
  check_string(caption, null = TRUE)
  check_string(alt, null = TRUE)
  check_flag(markdown)
  check_user_ids(mentions)
  check_string(reply_to, null = TRUE)
  check_string(thread, null = TRUE)
  check_transaction_ids(transaction_id, 1L, caller_env())
  canvas <- canvas_of(width, height, dpi, background)
  dir <- private_dir()
  on.exit(unlink(dir, recursive = TRUE))
  # `plot` is not touched before: as a promise, it is code that has not run.
  if (missing(plot) || is.null(substitute(plot))) {
    plot <- last_plot()
  }
  path <- draw_plot(plot, dir, canvas)
  invisible(mx_send_image(
    client,
    room,
    path,
    name = name,
    caption = caption_with_alt(caption, alt),
    markdown = markdown && !is.null(caption),
    mentions = mentions,
    reply_to = reply_to,
    thread = thread,
    transaction_id = transaction_id
  ))
}

# Which room is meant is known only after the plot was drawn: that it is named can
# be told before.
check_room <- function(client, room, call = caller_env()) {
  if (is.null(room) && is.null(unclass(client)[["room_id"]])) {
    argument_abort("room", "given: the client has no room of its own", call)
  }
  if (!is.null(check_string(room, "room", null = TRUE, call = call))) {
    room_of_link(room, call)
  }
}

caption_with_alt <- function(caption, alt) {
  if (is.null(caption)) alt else paste(c(caption, alt), collapse = "\n\n")
}

picture_name <- function(name, call = caller_env()) {
  if (grepl("[/\\\\]", name)) {
    argument_abort("name", "the name of a file, without directories", call)
  }
  if (grepl("[.]png$", name, ignore.case = TRUE)) name else paste0(name, ".png")
}

# What png() would take, and a graphics device could be asked to allocate.
canvas_of <- function(width, height, dpi, background, call = caller_env()) {
  check_number(width, call = call)
  check_number(height, call = call)
  check_number(dpi, call = call)
  check_colour(background, call = call)
  pixels <- c(width, height) * dpi
  refuse <- function(limit) {
    inches <- format(c(width, height), trim = TRUE)
    mx_abort(
      c(
        paste0("A picture must have ", limit, "."),
        x = paste0(
          paste(inches, collapse = " by "),
          " inches at ",
          format(dpi),
          " dots per inch are ",
          paste(vapply(pixels, format_count, ""), collapse = " by "),
          " pixels."
        ),
        i = "`width` and `height` are inches, `dpi` is pixels per inch."
      ),
      "mx_error_argument",
      call = call
    )
  }
  if (anyNA(pixels) || any(pixels < 1 | pixels > 20000)) {
    refuse("1 to 20,000 pixels in each direction")
  }
  if (prod(pixels) > 1e8) {
    refuse("at most 100,000,000 pixels")
  }
  list(width = width, height = height, dpi = dpi, background = background)
}

check_colour <- function(
  x,
  name = rlang::caller_arg(x),
  call = caller_env()
) {
  refuse <- function(condition) {
    wanted <- "a colour, like \"white\" or \"#FFFFFF\""
    argument_abort(name, wanted, call, if (is_string(x)) x)
  }
  if (!is_string(x)) {
    refuse()
  }
  tryCatch(grDevices::col2rgb(checked_text(x, name, call)), error = refuse)
  x
}

private_dir <- function() {
  dir <- tempfile("mxcrypt-plot-")
  dir.create(dir, mode = "0700")
  dir
}

# What the user sees comes first: the last ggplot may be older than that.
last_plot <- function(call = caller_env()) {
  recorded <- recorded_plot()
  if (!is.null(recorded)) {
    return(recorded)
  }
  if (isNamespaceLoaded("ggplot2")) {
    last <- ggplot2::last_plot()
    if (!is.null(last)) {
      return(last)
    }
  }
  plot_abort(
    c(
      "There is no last plot to send.",
      i = "Give the plot: `mx_send_plot(client, room, plot(cars))`."
    ),
    call
  )
}

# Devices for files, such as that of Rplots.pdf, record nothing.
recorded_plot <- function() {
  # recordPlot() fails where no device is open.
  if (grDevices::dev.cur() == 1L) {
    return(NULL)
  }
  recorded <- tryCatch(grDevices::recordPlot(), error = function(condition) {
    NULL
  })
  if (length(recorded[[1]]) > 0L) recorded
}

# Pictures of HTML widgets (plotly, DT, leaflet): webshot2 shows the page in a browser
# without a window, and saves what it looks like.

is_widget <- function(value) inherits(value, "htmlwidget")

# Writes the picture of a widget to `dir`, and returns its path.
widget_picture <- function(widget, dir, canvas, call) {
  check_widget_packages(call)
  page <- file.path(dir, "widget.html")
  picture <- file.path(dir, "widget.png")
  tryCatch(
    {
      save_widget(widget, page, canvas[["background"]])
      screenshot(page, picture, canvas)
    },
    error = function(condition) {
      plot_abort(
        "The HTML widget could not be drawn. Nothing was sent.",
        call,
        parent = condition
      )
    }
  )
  if (!file.exists(picture)) {
    plot_abort(
      "webshot2 made no picture of the HTML widget. Nothing was sent.",
      call
    )
  }
  picture
}

check_widget_packages <- function(call) {
  check_package("htmlwidgets", call = call)
  if (!has_webshot2()) {
    mx_abort(
      c(
        "The package webshot2 is needed to send an HTML widget as a picture.",
        i = "Run install.packages(\"webshot2\"). It needs Chrome or Chromium.",
        i = paste(
          "Or save it with htmlwidgets::saveWidget(): mx_send_file() sends the",
          "page, and so does mx_post() with mx_file()."
        )
      ),
      "mx_error_package",
      call = call
    )
  }
}

has_webshot2 <- function() requireNamespace("webshot2", quietly = TRUE)

# The page has its scripts beside it: one file of all would need pandoc.
save_widget <- function(widget, page, background) {
  colour <- as.list(grDevices::col2rgb(background, alpha = TRUE) / 255)
  htmlwidgets::saveWidget(
    widget,
    page,
    selfcontained = FALSE,
    background = do.call(grDevices::rgb, colour)
  )
}

# An inch has 96 CSS pixels (CSS Values and Units, section 6.2).
screenshot <- function(page, picture, canvas) {
  suppressMessages(webshot2::webshot(
    page,
    picture,
    vwidth = canvas[["width"]] * 96,
    vheight = canvas[["height"]] * 96,
    cliprect = "viewport",
    zoom = canvas[["dpi"]] / 96
  ))
}

# webshot2 needs a browser. In its place stands a function that looks at the page as it
# was saved, and writes a picture of its own.

a_widget <- function(title = "secret figures") {
  skip_if_not_installed("htmlwidgets")
  # The package of the widget gives the scripts, of which a page can have none.
  structure(
    list(
      x = list(title = title),
      width = NULL,
      height = NULL,
      sizingPolicy = htmlwidgets::sizingPolicy(),
      dependencies = list(),
      elementId = "it",
      preRenderHook = NULL,
      jsHooks = list()
    ),
    class = c("shown", "htmlwidget"),
    package = "mxcrypt"
  )
}

# What the stand-in was given.
local_screenshot <- function(
  screenshot = function(page, picture, canvas) {
    seen$page <- paste(readLines(page), collapse = "\n")
    seen$mode <- format(file.mode(dirname(page)))
    seen$canvas <- canvas
    png::writePNG(matrix(0.5, 3, 4), picture)
  },
  .local_envir = parent.frame()
) {
  skip_if_not_installed("png")
  seen <- new.env()
  environment(screenshot) <- list2env(
    list(seen = seen),
    environment(screenshot)
  )
  local_replaced("has_webshot2", function() TRUE, .local_envir)
  local_replaced("screenshot", screenshot, .local_envir)
  seen
}

left_pictures <- function() list.files(tempdir(), "^mxcrypt-plot-")

test_that("a widget is sent as a picture of its page", {
  pair <- demo_pair()
  seen <- local_screenshot()
  send <- function(plot, ...) {
    mx_send_plot(pair$alice, pair$room, plot, ...)
    new_content(pair$bob)
  }
  widget <- a_widget()
  content <- send(widget, caption = "Figures", width = 6, dpi = 192)
  expect_equal(content[["msgtype"]], "m.image")
  expect_equal(content[["body"]], "Figures")
  expect_equal(content[["info"]][["w"]], 4)
  expect_match(seen$page, "secret figures", fixed = TRUE)
  expect_match(seen$page, "rgba(255,255,255,1", fixed = TRUE)
  expect_equal(seen$canvas[["width"]], 6)
  expect_equal(seen$canvas[["dpi"]], 192)
  expect_null(grDevices::dev.list())
  expect_length(left_pictures(), 0)
  # Code and functions may return one.
  expect_equal(
    send({
      x <- 1
      a_widget()
    })[["info"]][["w"]],
    4
  )
  expect_equal(send(function() widget)[["info"]][["w"]], 4)
  send(widget, background = "#FF000080")
  expect_match(seen$page, "rgba(255,0,0,0.5", fixed = TRUE)
  skip_on_os("windows")
  expect_equal(seen$mode, "700")
})

test_that("a widget is posted as a picture", {
  pair <- demo_pair()
  local_screenshot()
  mx_post(pair$alice, pair$room, Figures = a_widget())
  content <- new_content(pair$bob)
  expect_equal(content[["msgtype"]], "m.image")
  expect_equal(content[["filename"]], "plot.png")
  expect_equal(content[["body"]], "Figures")
  expect_length(left_pictures(), 0)
})

test_that("a widget that cannot be drawn is an error, and leaves no page behind", {
  pair <- demo_pair()
  fails <- function(class, message) {
    for (send in list(
      function() mx_send_plot(pair$alice, pair$room, a_widget()),
      function() mx_post(pair$alice, pair$room, "before", a_widget())
    )) {
      asked <- requests_during(condition <- catch(send()))
      expect_length(asked, 0)
      expect_s3_class(condition, class)
      expect_match(conditionMessage(condition), message)
      expect_length(left_pictures(), 0)
    }
  }
  local({
    local_screenshot(function(page, picture, canvas) stop("no browser"))
    fails("mx_error_plot", "no browser")
  })
  local({
    local_screenshot(function(page, picture, canvas) NULL)
    fails("mx_error_plot", "no picture")
  })
  local_replaced("has_webshot2", function() FALSE)
  fails("mx_error_package", "install.packages\\(\"webshot2\"\\).*mx_file\\(\\)")
})

test_that("a plot is drawn, and the widget after it is not", {
  local_screenshot(function(page, picture, canvas) stop("not needed"))
  draw <- get("draw_plot", asNamespace("mxcrypt"))
  canvas <- canvas_of(4, 3, 50, "white")
  path <- draw(
    {
      plot(cars)
      a_widget()
    },
    withr::local_tempdir(),
    canvas
  )
  expect_no_match(path, "widget")
  condition <- catch(draw(
    invisible(a_widget()),
    withr::local_tempdir(),
    canvas
  ))
  expect_s3_class(condition, "mx_error_plot")
  expect_match(conditionMessage(condition), "End your code with")
})

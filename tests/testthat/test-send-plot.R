# What is drawn is tested without a room; what arrives, with one.

# Draws as mx_send_plot() does, and returns the bytes of the picture.
picture <- function(plot, width = 4, height = 3, background = "white") {
  dir <- private_dir()
  on.exit(unlink(dir, recursive = TRUE))
  canvas <- canvas_of(width, height, 50, background)
  path <- draw_plot(plot, dir, canvas)
  readBin(path, "raw", file.size(path))
}

# PNG specification, "IHDR": width and height follow the name of the first chunk.
png_size <- function(bytes) {
  expect_identical(bytes[2:4], charToRaw("PNG"))
  big_endian <- function(x) sum(as.integer(x) * 256^(3:0))
  c(big_endian(bytes[17:20]), big_endian(bytes[21:24]))
}

# An R user's session: a device that keeps what it shows.
local_screen <- function(.local_envir = parent.frame()) {
  grDevices::pdf(NULL)
  grDevices::dev.control("enable")
  screen <- grDevices::dev.cur()
  withr::defer(
    if (screen %in% grDevices::dev.list()) grDevices::dev.off(screen),
    envir = .local_envir
  )
  screen
}

expect_no_picture <- function(plot, message) {
  asked <- requests_during({
    condition <- catch(picture(plot))
    expect_s3_class(condition, "mx_error_plot")
    expect_match(conditionMessage(condition), message)
  })
  expect_length(asked, 0)
  invisible(condition)
}

cars_picture <- function() picture(plot(cars))

test_that("code is drawn at the size that was asked for", {
  bytes <- picture(plot(cars), width = 6, height = 4)
  expect_equal(png_size(bytes), c(300, 200))
  expect_identical(picture(plot(cars), width = 6, height = 4), bytes)
  expect_false(identical(picture(plot(cars, pch = 2), 6, 4), bytes))
})

test_that("code runs once, where it was written", {
  data <- cars
  runs <- 0
  bytes <- picture({
    runs <- runs + 1
    plot(data, xlab = "speed", ylab = "dist")
  })
  expect_identical(bytes, cars_picture())
  expect_equal(runs, 1)
  # Also through functions of the user.
  theirs <- function(what) picture(what)
  expect_identical(theirs(plot(cars)), cars_picture())
})

test_that("a function draws, or returns a plot", {
  expect_identical(picture(function() plot(cars)), cars_picture())
  draw <- function() plot(cars)
  expect_identical(picture(draw), cars_picture())
  expect_no_picture(function(x) plot(x), "could not be drawn")
})

test_that("a recorded plot is drawn", {
  local_screen()
  plot(cars)
  recorded <- grDevices::recordPlot()
  expect_identical(picture(recorded), cars_picture())
})

test_that("a plot recorded from a screen has the background that was asked for", {
  local_screen()
  # As that of a window, the paper of this device is transparent.
  expect_identical(par("bg"), "transparent")
  plot(cars)
  recorded <- grDevices::recordPlot()
  # Of png(): ragg paints the paper anyway.
  local_replaced("png_devices", function() tail(png_devices(), 2)[1])
  draw <- get("draw_plot", asNamespace("mxcrypt"))
  bytes <- function(plot, background) {
    canvas <- canvas_of(4, 3, 50, background)
    path <- draw(plot, withr::local_tempdir(), canvas)
    readBin(path, "raw", file.size(path))
  }
  for (background in c("white", "red", "transparent")) {
    expect_identical(
      bytes(recorded, background),
      bytes(plot(cars), background)
    )
  }
  par(bg = "yellow")
  plot(cars)
  own <- grDevices::recordPlot()
  expect_identical(bytes(own, "white"), bytes(plot(cars), "yellow"))
})

test_that("grid grobs are drawn", {
  circle <- grid::circleGrob()
  bytes <- picture(circle)
  expect_identical(picture(grid::grid.circle()), bytes)
  expect_identical(picture(grid::gTree(children = grid::gList(circle))), bytes)
  expect_identical(picture(grid::gList(circle)), bytes)
})

test_that("a lattice plot is drawn", {
  skip_if_not_installed("lattice")
  plot <- lattice::xyplot(dist ~ speed, cars)
  bytes <- picture(plot)
  expect_identical(picture(print(plot)), bytes)
  expect_identical(picture(lattice::xyplot(dist ~ speed, cars)), bytes)
  expect_no_picture(not_shown <- plot, "Print the plot")
})

test_that("a ggplot is drawn", {
  skip_if_not_installed("ggplot2")
  plot <- ggplot2::ggplot(cars, ggplot2::aes(speed, dist)) +
    ggplot2::geom_point()
  bytes <- picture(plot)
  expect_identical(picture(print(plot)), bytes)
  expect_identical(picture(function() plot), bytes)
  expect_identical(
    picture({
      x <- plot
      x
    }),
    bytes
  )
  expect_no_picture(not_shown <- plot, "Print the plot")
  # Its errors come when it is drawn.
  broken <- plot + ggplot2::aes(colour = no_such_column)
  condition <- expect_no_picture(broken, "no_such_column")
  expect_s3_class(condition$parent, "error")
})

test_that("without ggplot2 a ggplot is a classed error", {
  dir <- withr::local_tempdir()
  check_package <- function(package, call) {
    mx_abort(package, "mx_error_package", call = call)
  }
  local_replaced("check_package", check_package)
  plot <- structure(list(), class = c("gg", "ggplot"))
  # What the tests see of the package is a copy.
  draw <- get("draw_plot", asNamespace("mxcrypt"))
  expect_error(
    draw(plot, dir, canvas_of(4, 3, 50, "white")),
    class = "mx_error_package"
  )
  expect_null(grDevices::dev.list())
})

test_that("the last plot is what the device shows", {
  if (isNamespaceLoaded("ggplot2")) {
    ggplot2::set_last_plot(NULL)
  }
  screen <- local_screen()
  expect_error(last_plot(), "no last plot", class = "mx_error_plot")
  plot(cars)
  last <- last_plot()
  expect_identical(picture(last), cars_picture())
  grDevices::dev.off(screen)
  expect_error(last_plot(), "no last plot", class = "mx_error_plot")
})

test_that("the last plot is the last ggplot where no device shows one", {
  skip_if_not_installed("ggplot2")
  plot <- ggplot2::ggplot(cars, ggplot2::aes(speed, dist)) +
    ggplot2::geom_point()
  withr::defer(ggplot2::set_last_plot(NULL))
  ggplot2::set_last_plot(plot)
  expect_identical(last_plot(), plot)
  local_screen()
  expect_identical(last_plot(), plot)
  # A ggplot may be older than what the user sees.
  plot(cars)
  expect_s3_class(last_plot(), "recordedplot")
})

test_that("what is no plot is never sent as a blank picture", {
  values <- list(
    cars,
    3,
    letters,
    NA,
    list(1),
    as.raw(1),
    quote(plot(cars)),
    expression(plot(cars)),
    new.env(),
    Sys.time(),
    function() 3,
    function() NULL
  )
  for (value in values) {
    expect_no_picture(value, "Nothing was drawn")
  }
  expect_no_picture(invisible(NULL), "Nothing was drawn")
  expect_no_picture(plot.new(), "Nothing was drawn")
  expect_no_picture(grid::grid.newpage(), "Nothing was drawn")
  expect_no_picture(par(mfrow = c(1, 2)), "Nothing was drawn")
})

test_that("a value that is no plot gets the call that sends it", {
  expect_no_picture(cars, "mx_send_table\\(\\)")
  expect_no_picture("plot.png", "mx_send_image\\(\\)")
  widget <- structure(list(), class = c("plotly", "htmlwidget"))
  expect_no_picture(not_shown <- widget, "End your code with")
  circles <- list(grid::circleGrob(), grid::circleGrob())
  expect_no_picture(circles, "its own call")
})

test_that("a plot that fails shows its error, and leaves nothing open", {
  screen <- local_screen()
  plot(cars)
  old <- options()
  seed <- get0(".Random.seed", globalenv())
  user_par <- par(c("mfrow", "mar", "usr"))
  condition <- expect_no_picture(
    {
      par(mfrow = c(2, 2), mar = c(0, 0, 0, 0))
      plot(cars)
      stop("{no} such %s data")
    },
    "\\{no\\} such %s data"
  )
  expect_identical(conditionMessage(condition$parent), "{no} such %s data")
  expect_identical(grDevices::dev.cur(), screen)
  expect_length(grDevices::dev.list(), 1)
  expect_identical(options(), old)
  expect_identical(par(c("mfrow", "mar", "usr")), user_par)
  expect_identical(get0(".Random.seed", globalenv()), seed)
  # The plot of the user is still there.
  last <- last_plot()
  expect_identical(picture(last), cars_picture())
})

test_that("several pages are an error and not the last page", {
  condition <- expect_no_picture(
    {
      plot(cars)
      plot(cars)
    },
    "2 pages"
  )
  expect_no_picture(plot(lm(dist ~ speed, cars)), "4 pages")
  side_by_side <- picture({
    par(mfrow = c(1, 2), mar = c(2, 2, 0, 0))
    plot(cars)
    plot(cars)
  })
  expect_equal(png_size(side_by_side), c(200, 150))
})

test_that("devices of the code do not outlive it", {
  file <- withr::local_tempfile(fileext = ".png")
  expect_no_picture(
    {
      grDevices::png(file)
      plot(cars)
    },
    "Nothing was drawn"
  )
  expect_null(grDevices::dev.list())
  expect_identical(
    picture({
      grDevices::pdf(NULL)
      plot(cars, pch = 3)
      grDevices::dev.off()
      plot(cars)
    }),
    cars_picture()
  )
  expect_no_picture(
    {
      grDevices::dev.new()
      plot(cars)
    },
    "Leave out dev.new\\(\\)"
  )
})

test_that("code may close the device when it has drawn, and not before", {
  screen <- local_screen()
  grDevices::dev.off(screen)
  expect_identical(
    picture({
      plot(cars)
      grDevices::dev.off()
    }),
    cars_picture()
  )
  expect_no_picture(
    {
      grDevices::dev.off()
      plot(cars)
    },
    "dev.off\\(\\)"
  )
  expect_null(grDevices::dev.list())
})

test_that("a plot within a plot leaves both whole", {
  inner <- NULL
  outer <- picture({
    plot(cars)
    inner <- picture(plot(cars, pch = 3))
    points(10, 60, pch = 19)
  })
  expect_identical(inner, picture(plot(cars, pch = 3)))
  expect_identical(
    outer,
    picture({
      plot(cars)
      points(10, 60, pch = 19)
    })
  )
  # The error of the inner one says what is wrong; it needs no second one around it.
  condition <- expect_no_picture(picture(3), "Nothing was drawn")
  expect_null(condition$parent)
})

test_that("the code may return from the function around it", {
  theirs <- function() {
    picture(return("early"))
  }
  expect_identical(theirs(), "early")
  expect_null(grDevices::dev.list())
})

test_that("every kind of device draws, and one of them must work", {
  draw <- get("draw_plot", asNamespace("mxcrypt"))
  canvas <- canvas_of(4, 3, 50, "white")
  failing <- function(file, canvas) warning("no display")
  # The last one, png() without cairo, needs a display.
  for (device in png_devices()[-length(png_devices())]) {
    local_replaced("png_devices", function() list(failing, device))
    path <- draw(plot(cars), withr::local_tempdir(), canvas)
    expect_equal(png_size(readBin(path, "raw", 100)), c(200, 150))
    for (blank in list(quote(plot.new()), quote(par(mar = rep(1, 4))), NULL)) {
      expect_error(
        draw(eval(blank), withr::local_tempdir(), canvas),
        class = "mx_error_plot"
      )
    }
  }
  local_replaced("png_devices", function() list(failing))
  expect_error(
    draw(plot(cars), withr::local_tempdir(), canvas),
    "ragg",
    class = "mx_error_plot"
  )
})

test_that("a temporary directory may have a per cent sign", {
  dir <- file.path(withr::local_tempdir(), "100%d")
  dir.create(dir)
  path <- draw_plot(plot(cars), dir, canvas_of(4, 3, 50, "white"))
  expect_equal(png_size(readBin(path, "raw", 100)), c(200, 150))
})

test_that("other arguments are checked before the code runs", {
  pair <- demo_pair()
  refused <- function(..., room = pair$room) {
    ran <- FALSE
    asked <- requests_during(
      expect_error(
        mx_send_plot(pair$alice, room, ran <- TRUE, ...),
        class = "mx_error_argument"
      )
    )
    expect_false(ran)
    expect_length(asked, 0)
  }
  refused(room = 3)
  refused(name = "")
  refused(name = "a/b.png")
  refused(name = "a\\b.png")
  refused(caption = 3)
  refused(alt = c("a", "b"))
  refused(markdown = NA)
  refused(mentions = "bob")
  refused(reply_to = 3)
  refused(thread = "")
  refused(transaction_id = 3)
  refused(width = "a")
  refused(width = NA_real_)
  refused(width = -1)
  refused(height = 0)
  refused(height = Inf)
  refused(width = 1050, height = 750)
  refused(width = 100, height = 100)
  refused(dpi = 0.01)
  refused(background = "no colour")
  refused(background = c("red", "blue"))
  refused(background = 3)
})

test_that("a size in pixels is told that sizes are inches", {
  condition <- catch(canvas_of(1050, 750, 150, "white"))
  expect_s3_class(condition, "mx_error_argument")
  message <- conditionMessage(condition)
  expect_match(message, "1050 by 750 inches", fixed = TRUE)
  expect_match(message, "157,500 by 112,500 pixels", fixed = TRUE)
})

test_that("the file is named as a picture", {
  expect_equal(picture_name("cars"), "cars.png")
  expect_equal(picture_name("cars.PNG"), "cars.PNG")
  expect_equal(picture_name("cars.jpg"), "cars.jpg.png")
})

test_that("alternative text is sent with the caption", {
  expect_null(caption_with_alt(NULL, NULL))
  expect_equal(caption_with_alt("Cars", NULL), "Cars")
  expect_equal(caption_with_alt(NULL, "A cloud"), "A cloud")
  expect_equal(caption_with_alt("Cars", "A cloud"), "Cars\n\nA cloud")
})

test_that("a script without a display leaves no Rplots.pdf", {
  skip_on_cran()
  found <- in_other_r(
    function() {
      dir <- tempfile("script")
      dir.create(dir)
      setwd(dir)
      draw <- function(plot) {
        canvas <- canvas_of(4, 3, 50, "white")
        tryCatch(
          basename(draw_plot(plot, private_dir(), canvas)),
          mx_error_plot = function(condition) "refused"
        )
      }
      results <- c(
        draw(plot(cars)),
        draw({
          par(mar = rep(1, 4))
          stop("no data")
        }),
        draw({
          grDevices::dev.off()
          plot(cars)
        }),
        draw(tryCatch(last_plot(), error = function(condition) 3))
      )
      list(results, list.files(dir), grDevices::dev.list())
    },
    env = c(DISPLAY = "")
  )
  expect_equal(found[[1]][-1], rep("refused", 3))
  expect_match(found[[1]][[1]], "[.]png$")
  expect_length(found[[2]], 0)
  expect_null(found[[3]])
})

test_that("in a knitr document the plot is sent and not shown", {
  skip_if_not_installed("knitr")
  dir <- withr::local_tempdir()
  withr::local_dir(dir)
  document <- c(
    "```{r}",
    "first <- picture(plot(cars))",
    "```",
    "```{r, fig.show = 'hide'}",
    "plot(cars)",
    "last <- last_plot()",
    "shown <- picture(last)",
    "```"
  )
  here <- environment()
  text <- knitr::knit(text = document, envir = here, quiet = TRUE)
  expect_no_match(text, "!\\[|Error")
  expect_identical(first, cars_picture())
  expect_identical(shown, cars_picture())
  # The chunk that drew has a figure, the one that sent has none.
  expect_length(list.files(dir, "[.]png$", recursive = TRUE), 1)
})

test_that("the picture arrives as it was drawn", {
  pair <- demo_pair()
  root <- mx_send_text(pair$alice, pair$room, "a thread")
  id <- expect_invisible(mx_send_plot(
    pair$alice,
    pair$room,
    plot(cars),
    name = "cars",
    caption = "**Stopping**",
    alt = "Distances grow with speed",
    markdown = TRUE,
    mentions = pair$bob$user_id,
    thread = root,
    width = 4,
    height = 3,
    dpi = 50
  ))
  events <- mx_sync(pair$bob)
  event <- events[events$event_id %in% id, ]
  content <- event$content[[1]]
  expect_equal(content[["msgtype"]], "m.image")
  expect_equal(content[["filename"]], "cars.png")
  expect_equal(content[["body"]], "**Stopping**\n\nDistances grow with speed")
  expect_match(content[["formatted_body"]], "<strong>Stopping</strong>")
  expect_equal(content[["info"]][["w"]], 200)
  expect_equal(content[["info"]][["h"]], 150)
  expect_equal(content[["m.relates_to"]][["event_id"]], root)
  got <- mx_media_download(pair$bob, event, withr::local_tempdir())
  bytes <- readBin(got$path, "raw", file.size(got$path))
  expect_identical(bytes, cars_picture())
  expect_length(list.files(tempdir(), "^mxcrypt-plot-"), 0)
})

test_that("the last plot is sent where none is given", {
  pair <- demo_pair()
  local_screen()
  plot(cars)
  id <- mx_send_plot(pair$alice, pair$room, width = 4, height = 3, dpi = 50)
  mx_send_plot(pair$alice, pair$room, NULL, alt = "*A cloud*", markdown = TRUE)
  events <- messages(mx_sync(pair$bob))
  got <- mx_media_download(pair$bob, events[1, ], withr::local_tempdir())
  bytes <- readBin(got$path, "raw", file.size(got$path))
  expect_identical(bytes, cars_picture())
  expect_equal(events$body, c("plot.png", "*A cloud*"))
  expect_null(events$content[[2]][["formatted_body"]])
})

test_that("a plot that fails sends nothing", {
  pair <- demo_pair()
  asked <- requests_during({
    condition <- catch(mx_send_plot(pair$alice, pair$room, plot(no_such_data)))
    expect_s3_class(condition, "mx_error_plot")
    expect_match(conditionMessage(condition), "no_such_data")
    expect_identical(conditionCall(condition), quote(mx_send_plot()))
    expect_error(
      mx_send_plot(pair$alice, pair$room, cars),
      class = "mx_error_plot"
    )
  })
  expect_length(asked, 0)
  expect_length(new_bodies(pair$bob), 0)
})

test_that("a name or an id that does not fit is refused before the code runs", {
  pair <- demo_pair()
  ran <- FALSE
  draw <- function() {
    ran <<- TRUE
    plot(cars)
  }
  send <- function(...) catch(mx_send_plot(pair$alice, pair$room, draw(), ...))
  expect_s3_class(send(name = strrep("a", 253)), "mx_error_argument")
  expect_s3_class(send(transaction_id = c("a", "b")), "mx_error_argument")
  expect_false(ran)
})

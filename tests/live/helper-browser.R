# Chromium, as a person uses it:
#
#   browser <- live_browser()
#   page <- browser$open(app$url, view = "phone", dark = TRUE)
#   page$fill("hello", label = "Message")
#   page$click("button", "Send")
#   page$expect_text("hello", css = ".mx-room-log")
#   page$screenshot("room-phone-dark")     # .tools/screenshots/room-phone-dark.png
#   page$expect_accessible()
#
# A place on the page is given by role and name, or by `label`, `text` or `css`;
# `within` is the CSS of what it is in, `nth` one of several. Names, labels and texts
# are whole ones unless `exact = FALSE`. All that acts waits for its place. What fails
# says what the page shows. browser/driver.mjs is the process behind it.

# Stopped when `.local_envir` ends. `camera` is a file of camera_shows(), which the
# camera of each page shows; `flags` are more flags of Chromium.
live_browser <- function(
  camera = NULL,
  flags = character(),
  .local_envir = parent.frame()
) {
  driver <- foreign_process("tests/live/browser/driver.mjs", "browser")
  withr::defer(foreign_stop(driver), envir = .local_envir)
  driver$call("start", camera = camera, flags = as.list(flags), timeout = 60)
  list(
    open = function(url, view = "desktop", dark = FALSE) {
      number <- driver$call("open", url = url, view = view, dark = dark)
      browser_page(driver, number)
    },
    # The pages that are open, with those that pages opened by themselves.
    pages = function() {
      tabs <- driver$call("tabs")
      lapply(tabs, function(tab) browser_page(driver, tab[["page"]]))
    },
    process = driver[["process"]]
  )
}

browser_page <- function(driver, number) {
  on_page <- function(op, ..., timeout = 60) {
    driver$call(op, page = number, ..., timeout = timeout)
  }
  act <- function(op, ...) invisible(on_page(op, ...))
  list(
    # --- what a person does
    click = function(...) act("click", where = place(...)),
    fill = function(value, ...) act("fill", value = value, where = place(...)),
    # A key at a place, or where the focus is: "Enter", "Shift+Tab".
    press = function(key, ...) {
      act("press", key = key, where = if (...length() > 0L) place(...))
    },
    type = function(value) act("type", value = value),
    check = function(..., checked = TRUE) {
      act("check", checked = checked, where = place(...))
    },
    select = function(value, ...) {
      act("select", value = value, where = place(...))
    },
    upload = function(paths, ...) {
      paths <- as.list(normalizePath(paths))
      act("upload", paths = paths, where = place(...))
    },
    # Saves what a click downloads, and returns the name that the page gave it.
    download = function(path, ...) {
      path <- normalizePath(path, mustWork = FALSE)
      on_page("download", path = path, where = place(...))
    },
    # Presses Tab, and says what has the focus then: role, name, description.
    tab = function(key = "Tab") {
      on_page("press", key = key)
      on_page("focused")
    },
    focused = function() on_page("focused"),
    go = function(url) act("go", url = url),
    reload = function() act("reload"),
    close = function() act("close"),
    # All pages with this view lose the network, or get it back.
    offline = function(offline = TRUE) act("offline", offline = offline),

    # --- what there is
    expect_text = function(value, ..., seconds = 20) {
      act(
        "waitForText",
        value = value,
        where = place(...),
        timeoutMs = 1000 * seconds
      )
      testthat::succeed()
    },
    expect_no_text = function(value, ..., seconds = 20) {
      act(
        "waitForText",
        value = value,
        gone = TRUE,
        where = place(...),
        timeoutMs = 1000 * seconds
      )
      testthat::succeed()
    },
    expect = function(..., seconds = 20) {
      act("waitFor", where = place(...), timeoutMs = 1000 * seconds)
      testthat::succeed()
    },
    expect_gone = function(..., seconds = 20) {
      act(
        "waitFor",
        where = place(...),
        state = "hidden",
        timeoutMs = 1000 * seconds
      )
      testthat::succeed()
    },
    text = function(...) {
      paste(unlist(on_page("texts", where = place(...))), collapse = "\n")
    },
    texts = function(...) {
      as.character(unlist(on_page("texts", where = place(...))))
    },
    count = function(...) on_page("count", where = place(...)),
    value = function(...) on_page("value", where = place(...)),
    # The attribute `of` a place, or NULL.
    attribute = function(of, ...) {
      on_page("attribute", name = of, where = place(...))
    },
    is_checked = function(...) on_page("isChecked", where = place(...)),
    is_enabled = function(...) on_page("isEnabled", where = place(...)),
    # The value of an expression in JavaScript.
    evaluate = function(code) on_page("evaluate", code = code),

    # --- whether it is in order
    # The whole page as a picture, to be looked at.
    screenshot = function(name) {
      dir <- file.path(repo_root, ".tools", "screenshots")
      dir.create(dir, showWarnings = FALSE)
      path <- file.path(dir, paste0(name, ".png"))
      on_page("screenshot", path = path)
      invisible(path)
    },
    # What axe-core finds, a row for each element.
    violations = function(css = NULL) {
      rows_of(
        on_page("axeViolations", css = css),
        c("id", "impact", "help", "html", "why")
      )
    },
    expect_accessible = function(css = NULL) {
      found <- on_page("axeViolations", css = css)
      expect_none(vapply(found, fault_of_axe, ""))
    },
    # That nobody must scroll sideways.
    expect_fits = function() expect_none(unlist(on_page("overflow"))),
    # Errors and warnings of the console, exceptions, requests that failed, responses
    # that are errors, dialogs.
    faults = function() rows_of(on_page("faults"), c("kind", "text", "url")),
    # The addresses of all requests.
    requests = function() as.character(unlist(on_page("requests")))
  )
}

# browser/lib/places.mjs
place <- function(
  role = NULL,
  name = NULL,
  label = NULL,
  text = NULL,
  css = NULL,
  within = NULL,
  nth = NULL,
  exact = NULL
) {
  given <- list(
    role = role,
    name = name,
    label = label,
    text = text,
    css = css,
    within = within,
    nth = nth,
    exact = exact
  )
  where <- Filter(Negate(is.null), given)
  # The page.
  if (length(where) == 0L) list(css = "body") else where
}

rows_of <- function(objects, names) {
  columns <- lapply(names, function(name) {
    vapply(objects, function(object) as.character(object[[name]]), "")
  })
  names(columns) <- names
  as.data.frame(columns)
}

fault_of_axe <- function(fault) {
  sprintf("%s: %s\n%s", fault[["id"]], fault[["html"]], fault[["why"]])
}

# One expectation, whose failure says all that was found.
expect_none <- function(found) {
  if (length(found) > 0L) {
    testthat::fail(paste(found, collapse = "\n"))
  } else {
    testthat::succeed()
  }
}

# --- the camera --------------------------------------------------------------

# Writes a file for live_browser(camera = ), which shows this picture: a PNG file, or a
# matrix of brightness (0 to 1) or of dark modules (logical), as a QR code is. A page
# reads the file when it turns the camera on, so that it may be written after the start.
camera_shows <- function(path, picture) {
  width <- 640L
  height <- 480L
  light <- picture_light(picture)
  # Each pixel becomes a square of the same size, in the middle of a white sheet.
  scale <- min(c(width, height) * 0.9 / rev(dim(light)))
  scale <- if (scale > 1) floor(scale) else scale
  size <- floor(dim(light) * scale)
  rows <- ceiling(seq_len(size[[1]]) / scale)
  columns <- ceiling(seq_len(size[[2]]) / scale)
  sheet <- matrix(1, height, width)
  top <- (height - size[[1]]) %/% 2
  left <- (width - size[[2]]) %/% 2
  sheet[top + seq_len(size[[1]]), left + seq_len(size[[2]])] <-
    light[rows, columns]

  # Brightness from 16 to 235, row by row; then both colours, at half the size.
  brightness <- as.raw(round(16 + 219 * t(sheet)))
  grey <- rep(as.raw(128L), width * height / 2)
  file <- file(path, "wb")
  on.exit(close(file))
  writeBin(
    charToRaw(sprintf("YUV4MPEG2 W%d H%d F10:1 Ip A1:1 C420\n", width, height)),
    file
  )
  for (i in 1:2) {
    writeBin(c(charToRaw("FRAME\n"), brightness, grey), file)
  }
  invisible(path)
}

# A matrix of brightness, with the first row on top.
picture_light <- function(picture) {
  if (is.logical(picture)) {
    return(1 - picture)
  }
  if (is.matrix(picture)) {
    return(picture)
  }
  pixels <- png::readPNG(picture)
  if (is.matrix(pixels)) {
    return(pixels)
  }
  # Without what says how transparent it is.
  colours <- if (dim(pixels)[[3]] < 3L) 1L else 1:3
  apply(pixels, 1:2, function(pixel) mean(pixel[colours]))
}

# The harness itself: a page of which all is known.

page_url <- function() {
  paste0("file://", file.path(repo_root, "tests/live/browser/page.html"))
}

test_that("a person uses a page, and reads what it says", {
  page <- live_browser()$open(page_url())
  page$expect("heading", "A page")
  expect_equal(page$count(css = "#said:visible"), 0)
  page$fill("Alice & \u00e9\U1F436", label = "Name")
  expect_equal(page$value(label = "Name"), "Alice & \u00e9\U1F436")
  page$click("button", "Greet")
  page$expect_text("Hello, Alice & \u00e9\U1F436", css = "#said")
  page$expect_no_text("Bob")
  page$check("checkbox", "Agree")
  expect_true(page$is_checked("checkbox", "Agree"))
  page$select("Large", "combobox", "Size")
  expect_equal(page$value("combobox", "Size"), "l")
  expect_false(page$is_enabled("button", "Leave"))
  expect_equal(page$attribute("download", "link", "Save"), "hello.txt")
  path <- withr::local_tempfile(lines = "from a file")
  page$upload(path, label = "File")
  page$expect_text("from a file")
  page$reload()
  page$expect_gone(css = "#said")
  expect_equal(page$text("heading"), "A page")
})

test_that("what is downloaded is saved", {
  page <- live_browser()$open(page_url())
  path <- withr::local_tempfile()
  expect_equal(page$download(path, "link", "Save"), "hello.txt")
  expect_equal(readLines(path, warn = FALSE), "hello")
})

test_that("the keyboard alone reaches all, and the focus has a name", {
  page <- live_browser()$open(page_url())
  names <- vapply(1:5, function(i) page$tab()[["name"]], "")
  expect_equal(names, c("Name", "Agree", "Size", "File", "Greet"))
  expect_equal(page$focused()[["role"]], "button")
  page$press("Enter")
  page$expect_text("Hello,")
  expect_equal(page$tab("Shift+Tab")[["name"]], "File")
})

test_that("an error says what the page shows", {
  page <- live_browser()$open(page_url())
  page$evaluate("console.error('not well')")
  expect_error(
    page$expect_text("never there", seconds = 0.1),
    "never there.*The page file:.*Agree.*error: not well"
  )
  expect_error(page$click("button"), "strict mode violation.*Agree")
  expect_error(page$fill("x", css = "h1"), "The page file:")
})

test_that("faults of a page are seen", {
  browser <- live_browser()
  page <- browser$open(page_url(), view = "phone")
  page$expect_accessible()
  page$expect_fits()
  expect_equal(nrow(page$faults()), 0L)
  page$evaluate(
    "document.querySelector('main').insertAdjacentHTML('beforeend',
       '<p class=wide>wide</p><img src=nowhere.png>')"
  )
  expect_true("image-alt" %in% page$violations()[["id"]])
  expect_failure(page$expect_accessible(), "image-alt.*nowhere")
  expect_failure(page$expect_fits(), "class=\"wide\"")
  page$evaluate("setTimeout(() => { alert('here'); throw Error('thrown') })")
  page$expect_text("wide")
  faults <- page$faults()
  expect_setequal(faults$kind, c("request", "error", "dialog", "exception"))
  expect_match(faults$text[faults$kind == "dialog"], "here")
  expect_match(page$requests(), "nowhere", all = FALSE)
})

test_that("views, colours, tabs and the network", {
  browser <- live_browser()
  page <- browser$open(page_url())
  width <- "window.innerWidth"
  touch <- "navigator.maxTouchPoints > 0"
  is_dark <- "matchMedia('(prefers-color-scheme: dark)').matches"
  expect_equal(page$evaluate(width), 1280)
  expect_false(page$evaluate(touch))
  expect_false(page$evaluate(is_dark))
  dark <- browser$open(page_url(), view = "phone", dark = TRUE)
  expect_equal(dark$evaluate(width), 390)
  expect_true(dark$evaluate(touch))
  expect_true(dark$evaluate(is_dark))
  page$offline()
  expect_false(page$evaluate("navigator.onLine"))
  expect_true(dark$evaluate("navigator.onLine"))
  page$offline(FALSE)
  expect_true(page$evaluate("navigator.onLine"))
  expect_length(browser$pages(), 2)
  page$close()
  expect_length(browser$pages(), 1)
  picture <- png::readPNG(dark$screenshot("browser-dark"))
  expect_equal(dim(picture)[1:2], c(1688, 780))
  # The ground.
  expect_equal(picture[1600, 700, 1:3], c(0, 0, 0))
})

test_that("the camera shows a picture, and the next one when it is turned on again", {
  path <- withr::local_tempfile(fileext = ".y4m")
  page <- live_browser(camera = path)$open(page_url())
  quarters <- rbind(c(TRUE, FALSE), c(FALSE, FALSE))
  camera_shows(path, quarters)
  dark <- function() {
    seen <- vapply(
      c(
        "brightness(0.4, 0.4)",
        "brightness(0.6, 0.4)",
        "brightness(0.4, 0.6)",
        "brightness(0.01, 0.01)"
      ),
      function(code) as.numeric(page$evaluate(code)),
      0
    )
    unname(seen) < 100
  }
  expect_equal(dark(), c(TRUE, FALSE, FALSE, FALSE))
  picture <- withr::local_tempfile(fileext = ".png")
  png::writePNG(1 - quarters[, 2:1], picture)
  camera_shows(path, picture)
  page$reload()
  expect_equal(dark(), c(FALSE, TRUE, FALSE, FALSE))
})

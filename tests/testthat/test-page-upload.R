# Files that come to a page in pieces.

pieces <- function(dir, most = 100) {
  file <- rlang::env(number = NULL, size = NULL, done = 0)
  path <- file.path(dir, "upload")
  list(
    take = function(number, size, at, text) {
      piece <- list(
        number = number,
        size = size,
        at = at,
        bytes = charToRaw(text)
      )
      take_piece(file, piece, path, most)
    },
    text = function() readChar(path, file.size(path))
  )
}

test_that("pieces are put together in their order, and no others", {
  upload <- pieces(withr::local_tempdir())
  expect_equal(upload$take(1, 6, 0, "abc"), 3)
  # Again, out of order, and beyond the end.
  expect_equal(upload$take(1, 6, 0, "abc"), 3)
  expect_equal(upload$take(1, 6, 5, "f"), 3)
  expect_equal(upload$take(1, 6, 3, "defg"), 3)
  expect_equal(upload$take(1, 6, 3, "def"), 6)
  expect_equal(upload$text(), "abcdef")
  # Another file was chosen.
  expect_equal(upload$take(2, 2, 0, "xy"), 2)
  expect_equal(upload$text(), "xy")
  expect_equal(upload$take(3, 101, 0, "x"), -1)
  expect_equal(upload$text(), "xy")
})

test_that("what is no piece is left out", {
  good <- list(number = 1, size = 3, at = 0, data = "YWJj")
  expect_equal(read_piece(good)$bytes, charToRaw("abc"))
  for (name in names(good)) {
    for (bad in list(NULL, "x", NA, -1, c(1, 2), list(), Inf)) {
      piece <- good
      piece[[name]] <- bad
      if (!(name == "data" && identical(bad, "x"))) {
        expect_null(read_piece(piece))
      }
    }
  }
  for (bad in list(NULL, "x", 1, list())) {
    expect_null(read_piece(bad))
  }
})

test_that("Shiny takes no upload of anybody while a page is served", {
  skip_if_not_installed("shiny")
  old <- getOption("shiny.maxRequestSize")
  app <- mx_security_page(mx_demo_client(mx_demo_homeserver(), "alice"))
  expect_identical(app$onStart, refuse_uploads)
  expect_identical(getOption("shiny.maxRequestSize"), old)
})

test_that("the address is given to the browser in a file of this user alone", {
  skip_if_not_installed("shiny")
  path <- leading_file("http://127.0.0.1:1/?token=A&b=\"")
  withr::defer(unlink(path))
  if (.Platform$OS.type == "unix") {
    expect_equal(format(file.info(path)$mode), "600")
  }
  html <- readLines(path)
  expect_match(
    html,
    "url=http://127.0.0.1:1/?token=A&amp;b=&quot;",
    fixed = TRUE
  )
})

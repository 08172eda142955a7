bytes <- as.raw(c(0:255, 13, 10, 0))

# What a drawing in text holds, each module a pixel.
scan_drawn <- function(lines, invert = FALSE) {
  cells <- do.call(rbind, strsplit(lines, ""))
  ink <- if (any(cells == "#")) {
    (cells == "#")[, c(TRUE, FALSE)]
  } else {
    upper <- matrix(cells %in% c("\u2580", "\u2588"), nrow(cells))
    lower <- matrix(cells %in% c("\u2584", "\u2588"), nrow(cells))
    rbind(upper, lower)[order(rep(seq_len(nrow(cells)), 2)), ]
  }
  dark <- xor(ink, invert)
  mxc_qr_scan(kronecker(!dark, matrix(1, 4, 4)))
}

test_that("a symbol is a square of modules, which an image of it gives back", {
  symbol <- mxc_qr_symbol(bytes)
  expect_s3_class(symbol, "mxc_qr_symbol")
  expect_equal(nrow(symbol), ncol(symbol))
  expect_type(symbol, "logical")
  expect_error(mxc_qr_symbol(raw(2954)), class = "mxc_error_qr_code")
})

test_that("it is drawn with and without UTF-8, on light and dark ground", {
  symbol <- mxc_qr_symbol(bytes)
  for (invert in c(FALSE, TRUE)) {
    for (utf8 in c(FALSE, TRUE)) {
      drawn <- format(symbol, utf8 = utf8, invert = invert)
      expect_identical(scan_drawn(drawn, invert), list(bytes))
      expect_length(unique(nchar(drawn, "chars")), 1)
    }
  }
  ascii <- format(symbol, utf8 = FALSE)
  expect_equal(nchar(ascii[[1]]), 2 * (ncol(symbol) + 8))
  expect_true(all(validUTF8(ascii)) && !any(grepl("[^# ]", ascii)))
})

test_that("it prints in black on white where there are colours", {
  skip_without_utf8()
  symbol <- mxc_qr_symbol(bytes)
  withr::local_options(cli.num_colors = 1L, cli.unicode = TRUE)
  plain <- capture.output(print(symbol))
  expect_identical(scan_drawn(plain), list(bytes))
  expect_identical(plain, capture.output(symbol))
  dark <- capture.output(print(symbol, invert = TRUE))
  expect_identical(scan_drawn(dark, invert = TRUE), list(bytes))
  withr::local_options(cli.num_colors = 256L)
  coloured <- capture.output(print(symbol))
  expect_true(all(cli::ansi_has_any(coloured)))
  expect_identical(cli::ansi_strip(coloured), plain)
})

test_that("it is plotted, and the device is left as it was", {
  file <- withr::local_tempfile(fileext = ".pdf")
  symbol <- mxc_qr_symbol(bytes)
  withr::with_pdf(file, {
    before <- graphics::par("mar")
    expect_identical(withVisible(plot(symbol))$visible, FALSE)
    expect_identical(graphics::par("mar"), before)
  })
  expect_gt(file.size(file), 1000)
  if (capabilities("png") && requireNamespace("png", quietly = TRUE)) {
    file <- withr::local_tempfile(fileext = ".png")
    withr::with_png(file, plot(symbol))
    expect_identical(mxc_qr_scan(file), list(bytes))
  }
})

test_that("it is written to a file without a device, and read from one", {
  skip_if_not_installed("png")
  file <- withr::local_tempfile(fileext = ".png")
  symbol <- mxc_qr_symbol(bytes)
  for (scale in c(2, 8)) {
    mxc_qr_png(symbol, file, scale = scale)
    expect_identical(mxc_qr_scan(file), list(bytes))
  }
  expect_equal(dim(png::readPNG(file)), 8 * (dim(symbol) + 8))
  grey <- png::readPNG(file)
  skip_if_not_installed("jpeg")
  jpeg::writeJPEG(grey, file)
  expect_identical(mxc_qr_scan(file), list(bytes))
})

test_that("an image may be coloured or transparent, and hold several codes", {
  skip_if_not_installed("png")
  file <- withr::local_tempfile(fileext = ".png")
  mxc_qr_png(mxc_qr_symbol(bytes), file)
  grey <- png::readPNG(file)
  size <- dim(grey)
  white <- matrix(1, size[[1]], size[[2]])
  images <- list(
    array(c(grey, white), c(size, 2)),
    array(c(grey, grey, white), c(size, 3)),
    # Black on nothing.
    array(c(0 * white, 1 - grey), c(size, 2)),
    array(c(0 * white, 0 * white, 0 * white, 1 - grey), c(size, 4))
  )
  for (image in images) {
    expect_identical(mxc_qr_scan(image), list(bytes))
  }
  mxc_qr_png(mxc_qr_symbol(charToRaw("other")), file, scale = 4)
  other <- png::readPNG(file)
  below <- matrix(1, nrow(other), ncol(grey))
  below[, seq_len(ncol(other))] <- other
  found <- mxc_qr_scan(rbind(grey, below))
  expect_setequal(
    vapply(found, function(x) paste(x, collapse = ""), ""),
    c(paste(bytes, collapse = ""), paste(charToRaw("other"), collapse = ""))
  )
})

test_that("what is no image of a code is an error", {
  skip_if_not_installed("png")
  skip_if_not_installed("jpeg")
  file <- withr::local_tempfile(lines = "no image")
  expect_error(mxc_qr_scan(file), class = "mx_error_argument")
  writeBin(as.raw(c(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a)), file)
  expect_error(mxc_qr_scan(file), class = "mx_error_argument")
  writeBin(as.raw(c(0xff, 0xd8, 0xff, 0xe0)), file)
  expect_error(mxc_qr_scan(file), class = "mx_error_argument")
  expect_error(mxc_qr_scan("/nowhere"), class = "mx_error_argument")
  expect_error(mxc_qr_scan(matrix(1, 50, 50)), class = "mxc_error_qr_code")
  for (image in list(matrix(2), matrix(NA_real_), array(0, c(1, 1, 5)), 1)) {
    expect_error(mxc_qr_scan(image), class = "mx_error_argument")
  }
  expect_error(
    mxc_qr_png(mxc_qr_symbol(bytes), tempdir()),
    class = "mx_error_argument"
  )
  expect_error(mxc_qr_png(matrix(TRUE), file), class = "mx_error_argument")
})

test_that("without the packages png and jpeg, the error says what to install", {
  local_replaced("check_package", function(package, call = caller_env()) {
    mx_abort(package, "mx_error_package", call = call)
  })
  file <- withr::local_tempfile()
  symbol <- mxc_qr_symbol(bytes)
  expect_error(mxc_qr_png(symbol, file), class = "mx_error_package")
  writeBin(as.raw(c(0x89, 0x50, 0x4e, 0x47)), file)
  expect_error(mxc_qr_scan(file), class = "mx_error_package")
  # An image that is no file needs neither.
  image <- kronecker(!quiet_zone(symbol), matrix(1, 4, 4))
  expect_identical(mxc_qr_scan(image), list(bytes))
})

# A large picture with something to see, as PNG. Noise makes its file large.
a_large_picture <- function(
  width = 1700,
  height = 900,
  opacity = NULL,
  .local_envir = parent.frame()
) {
  skip_if_not_installed("png")
  file <- withr::local_tempfile(fileext = ".png", .local_envir = .local_envir)
  png::writePNG(large_pixels(width, height, opacity), file)
  file
}

# Red grows to the right, green to the bottom, blue is noise.
large_pixels <- function(width, height, opacity = NULL) {
  n <- width * height
  noise <- withr::with_seed(1, stats::runif(n))
  right <- rep(seq(0, 1, length.out = width), each = height)
  down <- rep(seq(0, 1, length.out = height), width)
  channels <- c(right, down, noise, if (!is.null(opacity)) rep(opacity, n))
  array(channels, c(height, width, length(channels) / n))
}

channel <- function(pixels, i) asplit(pixels, 3)[[i]]

file_at <- function(source, name = NULL) {
  files_of(source, name, NULL, NULL, NULL)[[1]]
}

thumbnail_pixels <- function(thumbnail) {
  read <- if (thumbnail[["type"]] == "image/png") {
    png::readPNG
  } else {
    jpeg::readJPEG
  }
  read(thumbnail[["source"]])
}

test_that("a large picture gets a thumbnail that looks like it", {
  thumbnail <- made_thumbnail(file_at(a_large_picture()))
  expect_equal(thumbnail[["width"]], 800)
  expect_equal(thumbnail[["height"]], 423)
  pixels <- thumbnail_pixels(thumbnail)
  expect_equal(dim(pixels), c(423, 800, 3))
  # Columns and rows are where they were, and the noise is averaged.
  expect_equal(
    pixels[200, c(100, 400, 700), 1],
    c(1, 4, 7) / 8,
    tolerance = 0.03
  )
  expect_equal(pixels[c(100, 300), 400, 2], c(100, 300) / 423, tolerance = 0.03)
  expect_equal(mean(channel(pixels, 3)), 0.5, tolerance = 0.03)
  # A tall one keeps its shape, too.
  thumbnail <- made_thumbnail(file_at(a_large_picture(700, 1200)))
  expect_equal(thumbnail[["width"]], 350)
  expect_equal(thumbnail[["height"]], 600)
})

test_that("a JPEG picture gets a thumbnail", {
  skip_if_not_installed("jpeg")
  bytes <- jpeg::writeJPEG(large_pixels(1600, 1200), raw(), quality = 0.95)
  thumbnail <- made_thumbnail(file_at(bytes, "x.jpg"))
  expect_equal(c(thumbnail[["width"]], thumbnail[["height"]]), c(800, 600))
  expect_equal(thumbnail[["type"]], "image/jpeg")
  expect_equal(thumbnail_pixels(thumbnail)[300, 200, 1], 0.25, tolerance = 0.1)
  # One that is grey, as well.
  grey <- jpeg::writeJPEG(
    channel(large_pixels(1600, 1200), 3),
    raw(),
    quality = 1
  )
  expect_equal(made_thumbnail(file_at(grey, "x.jpg"))[["width"]], 800)
})

test_that("a JPEG picture of four inks goes without a thumbnail", {
  skip_if_not_installed("jpeg")
  inks <- large_pixels(1000, 700, opacity = 0.5)
  bytes <- jpeg::writeJPEG(inks, raw(), 0.95, color.space = "CMYK")
  file <- file_at(bytes, "x.jpg")
  expect_true(needs_thumbnail(file))
  expect_null(made_thumbnail(file))
})

test_that("averaging keeps the mean, and what is transparent has no colour", {
  x <- matrix(c(0, 0, 3, 0, 0, 6), 3)
  expect_equal(average_rows(x, 1), matrix(c(1, 2), 1))
  expect_equal(average_rows(x, 2), rbind(c(0, 0), c(2, 4)))
  expect_equal(average_rows(x, 3), x)
  # A red point beside one that is green, and cannot be seen.
  pixels <- writeBin(
    as.integer(c(-16776961, 65280)),
    raw(),
    endian = "little"
  )
  pixels <- matrix(readBin(pixels, 1L, 2, endian = "little"), 2)
  expect_equal(unlist(shrink(pixels, c(1, 1))), c(1, 0, 0, 0.5))
  # This black is R's NA.
  expect_equal(shrink(matrix(NA_integer_), c(1, 1))[[4]], matrix(128 / 255))
})

test_that("strips of a picture are put together", {
  file <- a_large_picture(1700, 900)
  whole <- made_thumbnail(file_at(file))
  make <- get("made_thumbnail", asNamespace("mxcrypt"))
  local_replaced("strip_pixels", 10000)
  expect_identical(make(file_at(file))[["source"]], whole[["source"]])
})

test_that("a transparent picture stays so", {
  file <- a_large_picture(1000, 700, opacity = 102 / 255)
  thumbnail <- made_thumbnail(file_at(file))
  expect_equal(thumbnail[["type"]], "image/png")
  pixels <- thumbnail_pixels(thumbnail)
  expect_equal(dim(pixels)[[3]], 4)
  expect_equal(range(channel(pixels, 4)), c(0.4, 0.4))
  expect_equal(pixels[300, 400, 1], 0.5, tolerance = 0.03)
})

test_that("a picture goes without a thumbnail where none is needed or can be made", {
  without <- function(source, name = NULL) {
    expect_null(made_thumbnail(file_at(source, name)))
  }
  without(a_large_picture(800, 600))
  # Few bytes.
  without(a_picture(3000, 2))
  without(charToRaw(strrep("x", 2e5)), "x.png")
  large <- a_large_picture()
  bytes <- readBin(large, "raw", file.size(large))
  without(c(utils::head(bytes, 2e5), raw(1e5)), "x.png")
  # A text that is said to be a picture, and a picture that is said to be none.
  file <- files_of(charToRaw(strrep("x", 2e5)), "x", "image/png", NULL, NULL)[[
    1
  ]]
  expect_null(made_thumbnail(file))
  file <- files_of(bytes, "x", "application/zip", NULL, NULL)[[1]]
  expect_null(made_thumbnail(file))
  file <- files_of(bytes, "x", "image/jpeg", NULL, NULL)[[1]]
  expect_null(made_thumbnail(file))
  # It would take more memory than there may be.
  huge <- file_at(large)
  huge[c("width", "height")] <- c(8000, 5001)
  expect_false(needs_thumbnail(huge))
  huge[c("width", "height")] <- c(8000, 5000)
  expect_true(needs_thumbnail(huge))
  # One with more bytes than the picture.
  small <- file_at(a_large_picture(1000, 700, opacity = 102 / 255))
  small[["size"]] <- 100001
  expect_null(made_thumbnail(small))
  # Without its package.
  make <- get("made_thumbnail", asNamespace("mxcrypt"))
  local_replaced("png_reader", function() NULL)
  expect_null(make(file_at(large)))
})

# A JPEG picture with an Exif segment of one entry, in the order of bytes given.
turned_jpeg <- function(
  orientation,
  endian = "big",
  tag = 0x0112,
  picture = jpeg::writeJPEG(large_pixels(1000, 700), raw(), 0.95)
) {
  skip_if_not_installed("jpeg")
  number <- function(x, size) {
    writeBin(as.integer(x), raw(), size = size, endian = endian)
  }
  tiff <- c(
    charToRaw(if (endian == "big") "MM" else "II"),
    number(42, 2),
    number(8, 4),
    number(1, 2),
    number(tag, 2),
    number(3, 2),
    number(1, 4),
    number(orientation, 2),
    number(0, 2)
  )
  exif <- c(charToRaw("Exif"), raw(2), tiff)
  size <- writeBin(length(exif) + 2L, raw(), size = 2, endian = "big")
  c(picture[1:2], as.raw(c(0xff, 0xe1)), size, exif, picture[-(1:2)])
}

test_that("a picture that is to be turned has the size that is shown, and no thumbnail", {
  skip_if_not_installed("jpeg")
  picture <- jpeg::writeJPEG(large_pixels(1000, 700), raw(), 0.95)
  for (endian in c("big", "little")) {
    for (orientation in 1:8) {
      bytes <- turned_jpeg(orientation, endian, picture = picture)
      expect_equal(jpeg_orientation(bytes), orientation)
      file <- file_at(bytes, "x.jpg")
      shown <- if (orientation >= 5) c(700, 1000) else c(1000, 700)
      expect_equal(c(file[["width"]], file[["height"]]), shown)
      expect_equal(is.null(made_thumbnail(file)), orientation != 1)
    }
  }
  path <- withr::local_tempfile()
  writeBin(turned_jpeg(6), path)
  expect_equal(jpeg_orientation(path), 6)
  expect_equal(jpeg_orientation(tempfile()), 1)
  for (odd in list(turned_jpeg(9), turned_jpeg(0), turned_jpeg(6, tag = 1))) {
    expect_equal(jpeg_orientation(odd), 1)
  }
})

test_that("a header that is damaged is no error", {
  bytes <- utils::head(turned_jpeg(6), 100)
  for (n in 0:60) {
    expect_true(jpeg_orientation(utils::head(bytes, n)) %in% c(1, 6))
  }
  withr::local_seed(1)
  found <- vapply(1:500, FUN.VALUE = 0, function(i) {
    broken <- bytes
    broken[sample(60, 3)] <- as.raw(sample(0:255, 3))
    jpeg_orientation(broken)
  })
  expect_true(all(found %in% 1:8))
  # Segments of no length, to the end.
  expect_equal(
    jpeg_orientation(as.raw(c(0xff, 0xd8, rep(c(0xff, 0xe0, 0, 0), 1e5)))),
    1
  )
})

test_that("a thumbnail is sent with a picture, and encrypted", {
  pair <- demo_pair()
  file <- a_large_picture(1000, 700)
  bytes <- made_thumbnail(file_at(file))[["source"]]
  sent <- function(...) {
    mx_send_image(pair$alice, pair$room, file, ...)
    new_content(pair$bob)[["info"]]
  }
  for (info in list(sent(), sent(thumbnail = TRUE))) {
    expect_equal(info[["thumbnail_info"]][["w"]], 800)
    expect_equal(info[["thumbnail_info"]][["h"]], 560)
    expect_equal(info[["thumbnail_info"]][["size"]], length(bytes))
    expect_identical(opened(pair$bob, info, "thumbnail_file"), bytes)
  }
  expect_null(sent(thumbnail = FALSE)[["thumbnail_info"]])
  small <- a_picture(30, 40)
  expect_equal(sent(thumbnail = small)[["thumbnail_info"]][["w"]], 30)
  mx_post(pair$alice, pair$room, mx_file(file))
  info <- new_content(pair$bob)[["info"]]
  expect_identical(opened(pair$bob, info, "thumbnail_file"), bytes)
  # Of several, each has its own.
  other <- a_large_picture(900, 900)
  mx_send_image(pair$alice, pair$room, c(file, other, small))
  contents <- messages(mx_sync(pair$bob))$content
  infos <- lapply(contents, function(x) x[["info"]][["thumbnail_info"]])
  expect_equal(infos[[1]][["h"]], 560)
  expect_equal(infos[[2]][["h"]], 600)
  expect_null(infos[[3]])
  expect_length(waiting_files(pair$alice), 0)
  for (bad in list(NA, c(TRUE, TRUE), list(TRUE))) {
    expect_error(
      mx_send_image(pair$alice, pair$room, file, thumbnail = bad),
      class = "mx_error_argument"
    )
  }
})

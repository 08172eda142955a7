# Thumbnails of large pictures: read with the packages png and jpeg, made smaller by
# averaging, and written as whichever format is smaller. Where one cannot be made, the
# picture is sent without it: that is never an error.

# Specification: "Thumbnails", the largest of the recommended sizes.
thumbnail_width <- 800
thumbnail_height <- 600

# A smaller file is soon fetched.
least_thumbnail_bytes <- 1e5

# A pixel takes 4 bytes, and more while it is averaged.
most_thumbnail_pixels <- 4e7

# Pixels that are averaged at a time.
strip_pixels <- 1e6

# A thumbnail of a file as in files_of(), or NULL.
made_thumbnail <- function(file) {
  if (!needs_thumbnail(file)) {
    return(NULL)
  }
  # A broken picture is for those who see it to judge.
  bytes <- suppressWarnings(tryCatch(
    thumbnail_bytes(file[["source"]], file[["type"]]),
    error = function(condition) NULL
  ))
  if (is.null(bytes) || length(bytes) >= file[["size"]]) {
    return(NULL)
  }
  files_of(bytes, "thumbnail", NULL, "image", NULL)[[1]]
}

needs_thumbnail <- function(file) {
  size <- c(file[["width"]], file[["height"]])
  length(size) == 2L &&
    file[["size"]] > least_thumbnail_bytes &&
    any(size > c(thumbnail_width, thumbnail_height)) &&
    prod(size) <= most_thumbnail_pixels
}

thumbnail_bytes <- function(source, type) {
  # Its pixels would have to be turned, too.
  if (type == "image/jpeg" && jpeg_orientation(source) != 1) {
    return(NULL)
  }
  pixels <- read_pixels(source, type)
  if (is.null(pixels)) {
    return(NULL)
  }
  size <- dim(pixels)
  scale <- min(1, thumbnail_width / size[[1]], thumbnail_height / size[[2]])
  smallest_picture(shrink(pixels, pmax(1, floor(size * scale))))
}

# The pixels as integers of four bytes, with a row of the matrix for each column of the
# picture; or NULL.
read_pixels <- function(source, type) {
  read <- switch(type, "image/png" = png_reader(), "image/jpeg" = jpeg_reader())
  if (is.null(read)) {
    return(NULL)
  }
  pixels <- read(source, native = TRUE)
  # Four channels of a JPEG are inks.
  if (type == "image/jpeg" && attr(pixels, "channels") > 3L) {
    return(NULL)
  }
  matrix(as.vector(unclass(pixels)), ncol(pixels), nrow(pixels))
}

png_reader <- function() {
  if (requireNamespace("png", quietly = TRUE)) png::readPNG
}

jpeg_reader <- function() {
  if (requireNamespace("jpeg", quietly = TRUE)) jpeg::readJPEG
}

# Red, green, blue and the opacity between 0 and 1, as matrices like `pixels`. Colours
# are multiplied by their opacity while they are averaged: what cannot be seen has none.
shrink <- function(pixels, size) {
  strips <- split(
    seq_len(ncol(pixels)),
    (seq_len(ncol(pixels)) * nrow(pixels)) %/% strip_pixels
  )
  narrow <- lapply(strips, function(columns) {
    channels <- channels_of(pixels[, columns, drop = FALSE])
    lapply(channels, average_rows, size[[1]])
  })
  channels <- lapply(1:4, function(i) {
    whole <- do.call(cbind, lapply(narrow, `[[`, i))
    t(average_rows(t(whole), size[[2]]))
  })
  opacity <- channels[[4]]
  divided <- lapply(channels[1:3], function(x) x / pmax(opacity, 1e-9))
  lapply(c(divided, list(opacity)), function(x) pmin(pmax(x, 0), 1))
}

# Red, green and blue, each times the opacity, and the opacity. By way of bytes, since
# one of the integers is R's NA.
channels_of <- function(pixels) {
  bytes <- writeBin(as.vector(pixels), raw(), endian = "little")
  bytes <- array(as.integer(bytes), c(4L, dim(pixels))) / 255
  channel <- function(i) array(bytes[i, , ], dim(pixels))
  opacity <- channel(4)
  c(lapply(1:3, function(i) channel(i) * opacity), list(opacity))
}

# Averages the rows of a matrix to `n` rows. Each covers the same share of the old
# ones, whose parts count as much as they overlap.
average_rows <- function(x, n) {
  sums <- rbind(0, matrix(apply(x, 2, cumsum), nrow(x)))
  edges <- seq(0, nrow(x), length.out = n + 1)
  whole <- floor(edges)
  below <- sums[whole + 1, , drop = FALSE]
  above <- sums[pmin(whole + 1, nrow(x)) + 1, , drop = FALSE]
  diff(below + (edges - whole) * (above - below)) * n / nrow(x)
}

# The bytes of the PNG or of the JPEG picture. JPEG knows no transparency.
smallest_picture <- function(channels) {
  is_opaque <- all(channels[[4]] > 1 - 1e-6)
  shown <- lapply(if (is_opaque) channels[1:3] else channels, t)
  picture <- array(unlist(shown), c(dim(shown[[1]]), length(shown)))
  made <- list(
    if (requireNamespace("png", quietly = TRUE)) png::writePNG(picture),
    if (is_opaque && requireNamespace("jpeg", quietly = TRUE)) {
      jpeg::writeJPEG(picture, raw(), quality = 0.8)
    }
  )
  made <- Filter(Negate(is.null), made)
  made[[which.min(lengths(made))]]
}

#' Draw and scan QR codes
#'
#' `mxc_qr_symbol()` makes the symbol that holds some bytes. Printing draws it in
#' a terminal: in half blocks where it can show UTF-8, and in `#` where it cannot,
#' with two columns for each module. `plot()` draws it on a graphics device, and
#' `mxc_qr_png()` writes it to a file, for which no device is needed.
#' `mxc_qr_scan()` finds symbols in an image.
#'
#' @param bytes A raw vector of at most 2953 bytes, as from [mxc_qr_encode()].
#' @param symbol,x A symbol.
#' @param path The file to write; one that is there is overwritten.
#' @param scale How many pixels wide a module is.
#' @param utf8 Draw half blocks.
#' @param invert Swap dark and light, for a terminal with light text on dark
#'   ground. Where there are colours, the ground is made white instead.
#' @param ... Ignored.
#' @param image A file, PNG or JPEG; or an image as `png::readPNG()` gives it: a
#'   matrix of greys from 0 to 1, or an array with planes of colours.
#' @return `mxc_qr_symbol()`: a matrix of class `mxc_qr_symbol`, `TRUE` where a
#'   module is dark, without the quiet zone around it, which is drawn.
#'   `mxc_qr_png()`: `path`, invisibly. `mxc_qr_scan()`: a list of raw vectors, one
#'   for each symbol that could be read.
#' @section Errors:
#' `mxc_error_qr_code` when there are too many bytes, or no symbol can be read in
#' the image; `mx_error_argument`. Files need the packages png and jpeg.
#' @references Client-server API, "QR code format":
#'   <https://spec.matrix.org/v1.19/client-server-api/#qr-codes>
#' @family cryptographic primitives
#' @examples
#' symbol <- mxc_qr_symbol(charToRaw("hello"))
#' symbol
#' plot(symbol)
#' if (requireNamespace("png", quietly = TRUE)) {
#'   file <- mxc_qr_png(symbol, tempfile(fileext = ".png"))
#'   rawToChar(mxc_qr_scan(file)[[1]])
#' }
#' @export
mxc_qr_symbol <- function(bytes) {
  dark <- primitive(qr_modules(bytes))
  width <- sqrt(length(dark))
  structure(matrix(dark, width, byrow = TRUE), class = "mxc_qr_symbol")
}

#' @rdname mxc_qr_symbol
#' @export
mxc_qr_png <- function(symbol, path, scale = 8) {
  check_symbol(symbol)
  path <- check_path(path)
  if (check_number(scale, least = 1) > 100) {
    argument_abort("scale", "100 at most", caller_env())
  }
  check_package("png")
  tryCatch(
    suppressWarnings(writeBin(qr_png(symbol, scale), path)),
    error = function(condition) {
      argument_abort("path", "a file that can be written", caller_env(), path)
    }
  )
  invisible(path)
}

#' @rdname mxc_qr_symbol
#' @export
mxc_qr_scan <- function(image) {
  grey <- grey_of(if (is.character(image)) read_image(image) else image)
  primitive(qr_scan(as.raw(round(t(grey) * 255)), ncol(grey)))
}

#' @rdname mxc_qr_symbol
#' @export
format.mxc_qr_symbol <- function(
  x,
  utf8 = cli::is_utf8_output(),
  invert = FALSE,
  ...
) {
  ink <- xor(quiet_zone(x), invert)
  if (!utf8) {
    return(apply(ifelse(ink, "##", "  "), 1, paste, collapse = ""))
  }
  # Two rows of modules a line.
  ink <- rbind(ink, if (nrow(ink) %% 2L) invert)
  upper <- ink[c(TRUE, FALSE), ]
  lower <- ink[c(FALSE, TRUE), ]
  blocks <- c(" ", "\u2580", "\u2584", "\u2588")
  drawn <- matrix(blocks[1L + upper + 2L * lower], nrow(upper))
  apply(drawn, 1, paste, collapse = "")
}

#' @rdname mxc_qr_symbol
#' @export
print.mxc_qr_symbol <- function(x, ..., invert = FALSE) {
  drawn <- format(x, ..., invert = invert)
  # Without colours these say nothing.
  print_lines(if (invert) drawn else cli::bg_br_white(cli::col_black(drawn)))
  invisible(x)
}

#' @rdname mxc_qr_symbol
#' @export
plot.mxc_qr_symbol <- function(x, ...) {
  old <- graphics::par(mar = rep(0, 4))
  on.exit(graphics::par(old))
  graphics::plot.new()
  graphics::plot.window(c(0, 1), c(0, 1), asp = 1)
  draw_symbol(x, 0, 0, 1)
  invisible(x)
}

# A symbol as a square of this side, from its lower left.
draw_symbol <- function(symbol, left, bottom, side) {
  picture <- grDevices::as.raster(!quiet_zone(symbol) + 0)
  graphics::rasterImage(
    picture,
    left,
    bottom,
    left + side,
    bottom + side,
    interpolate = FALSE
  )
}

# The bytes of a PNG file.
qr_png <- function(symbol, scale) {
  light <- !kronecker(quiet_zone(symbol), matrix(TRUE, scale, scale))
  png::writePNG(light + 0)
}

# Four light modules all around, without which no scanner finds the symbol.
quiet_zone <- function(symbol) {
  width <- nrow(symbol)
  dark <- matrix(FALSE, width + 8L, width + 8L)
  dark[4L + seq_len(width), 4L + seq_len(width)] <- symbol
  dark
}

check_symbol <- function(symbol, call = caller_env()) {
  square <- is.matrix(symbol) && is.logical(symbol) && !anyNA(symbol)
  if (!square || !inherits(symbol, "mxc_qr_symbol")) {
    argument_abort("symbol", "a symbol, from mxc_qr_symbol()", call)
  }
}

read_image <- function(image, call = caller_env()) {
  bytes <- read_file(check_path(image, call = call), "image", call)
  begins <- function(...) identical(bytes[seq_len(...length())], as.raw(c(...)))
  unreadable <- function(condition) {
    argument_abort("image", "a PNG or JPEG file that can be read", call, image)
  }
  if (begins(0x89, 0x50, 0x4e, 0x47)) {
    check_package("png", call)
    tryCatch(png::readPNG(bytes), error = unreadable)
  } else if (begins(0xff, 0xd8)) {
    check_package("jpeg", call)
    tryCatch(jpeg::readJPEG(bytes), error = unreadable)
  } else {
    unreadable()
  }
}

# A matrix of greys; what is transparent lies on white.
grey_of <- function(image, call = caller_env()) {
  dims <- dim(image)
  count <- if (length(dims) == 3L) dims[[3]] else 1L
  is_image <- is.numeric(image) && length(dims) %in% 2:3 && count %in% 1:4
  if (!is_image || !all(is.finite(image) & image >= 0 & image <= 1)) {
    argument_abort("image", "a file, or what png::readPNG() gives", call)
  }
  planes <- matrix(image, ncol = count)
  colours <- seq_len(if (count < 3L) 1L else 3L)
  grey <- rowMeans(planes[, colours, drop = FALSE])
  alpha <- if (count %in% c(2L, 4L)) planes[, count] else 1
  matrix(grey * alpha + 1 - alpha, nrow(image))
}

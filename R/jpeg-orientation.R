# How a JPEG picture is to be turned before it is shown (Exif 2.32, "Orientation"): 1 is
# not at all, 5 to 8 include a quarter turn. Cameras write it, and clients follow it.

# Exif is a segment of at most 64 kB near the beginning.
jpeg_start <- 2^18

exif_name <- c(as.integer(charToRaw("Exif")), 0L, 0L)

# 1 where the file does not say otherwise, is no JPEG, or cannot be read.
jpeg_orientation <- function(source) {
  start <- if (is.raw(source)) {
    utils::head(source, jpeg_start)
  } else {
    # R cannot open each path in each locale.
    suppressWarnings(tryCatch(
      readBin(source, "raw", jpeg_start),
      error = function(condition) raw()
    ))
  }
  tiff <- exif_of(as.integer(start))
  orientation <- if (!is.null(tiff)) tiff_orientation(tiff)
  if (isTRUE(orientation %in% 2:8)) orientation else 1
}

# The TIFF structure within the Exif segment, or NULL. Segments are a marker and a
# length (ISO/IEC 10918-1, annex B).
exif_of <- function(bytes) {
  if (!identical(utils::head(bytes, 2), c(0xffL, 0xd8L))) {
    return(NULL)
  }
  at <- 3
  while (at + 9 <= length(bytes) && bytes[[at]] == 0xff) {
    if (bytes[[at + 1]] == 0xe1 && identical(bytes[at + 4:9], exif_name)) {
      return(bytes[(at + 10):length(bytes)])
    }
    at <- at + 2 + max(2, big_endian(bytes[at + 2:3]))
  }
  NULL
}

# TIFF 6.0, section 2: the byte order, the place of the first directory, its entries
# of 12 bytes each. A structure that ends early gives NULL.
tiff_orientation <- function(tiff) {
  little <- identical(tiff[1:2], c(0x49L, 0x49L))
  number <- function(at, n) {
    bytes <- tiff[at + seq_len(n)]
    big_endian(if (little) rev(bytes) else bytes)
  }
  directory <- number(4, 4)
  entries <- number(directory, 2)
  if (is.na(entries)) {
    return(NULL)
  }
  for (i in seq_len(min(entries, 500))) {
    at <- directory + 2 + 12 * (i - 1)
    if (identical(number(at, 2), 0x0112)) {
      return(number(at + 8, 2))
    }
  }
  NULL
}

# The number that bytes are, or NA where one of them is missing.
big_endian <- function(bytes) {
  bytes <- as.integer(bytes)
  sum(bytes * 256^(rev(seq_along(bytes)) - 1))
}

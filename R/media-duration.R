# How long sounds and videos are, as their containers say: WAV, MP4 (and M4A, MOV) and
# Ogg. Headers are read, and no media data. A header that does not fit gives no duration.

# Parts of a file that are looked at, and bytes at the end of an Ogg file.
most_media_parts <- 300L
ogg_end <- 2^17

# A number of milliseconds above this, 24 days, is an error of the file.
longest_duration <- 2^31 - 1

# The duration in whole milliseconds, or NULL. Headers that end early are errors on the
# way.
media_duration <- function(source) {
  seconds <- suppressWarnings(tryCatch(
    with_reader(source, container_seconds),
    error = function(condition) NULL
  ))
  milliseconds <- round(seconds * 1000)
  if (isTRUE(milliseconds >= 1 && milliseconds <= longest_duration)) {
    milliseconds
  }
}

# Calls `code` with a function that reads `n` bytes at an offset, as integers and fewer at
# the end of the file, and with the size of the file.
with_reader <- function(source, code) {
  if (is.raw(source)) {
    read <- function(at, n) {
      as.integer(source[at + seq_len(max(0, min(n, length(source) - at)))])
    }
    return(code(read, length(source)))
  }
  connection <- file(source, "rb")
  on.exit(close(connection))
  read <- function(at, n) {
    seek(connection, at)
    as.integer(readBin(connection, "raw", n))
  }
  code(read, file.size(source))
}

container_seconds <- function(read, size) {
  start <- read(0, 12)
  if (is_text(start[1:4], "RIFF") && is_text(start[9:12], "WAVE")) {
    wav_seconds(read, size)
  } else if (is_text(start[5:8], "ftyp")) {
    mp4_seconds(read, size)
  } else if (is_text(start[1:4], "OggS")) {
    ogg_seconds(read, size)
  }
}

is_text <- function(bytes, text) {
  identical(bytes, as.integer(charToRaw(text)))
}

little_endian <- function(bytes) big_endian(rev(bytes))

# Chunks are a name, a size, and content of an even number of bytes. The bytes of sound
# by the bytes of a second; a recorder that was stopped has written another size.
wav_seconds <- function(read, size) {
  at <- 12
  rate <- NULL
  for (i in seq_len(most_media_parts)) {
    header <- read(at, 8)
    content <- little_endian(header[5:8])
    if (is_text(header[1:4], "fmt ")) {
      rate <- little_endian(read(at + 16, 4))
    }
    if (is_text(header[1:4], "data")) {
      return(min(content, size - at - 8) / rate)
    }
    at <- at + 8 + content + content %% 2
  }
}

# ISO/IEC 14496-12, "Movie Header Box": within `moov`, the units of a second, and how
# many of them.
mp4_seconds <- function(read, size) {
  movie <- mp4_box(read, "moov", 0, size)
  header <- if (!is.null(movie)) {
    mp4_box(read, "mvhd", movie[[1]], movie[[2]])
  }
  if (is.null(header)) {
    return(NULL)
  }
  bytes <- read(header[[1]], 32)
  long <- bytes[[1]] == 1
  units <- big_endian(bytes[if (long) 21:24 else 13:16])
  duration <- bytes[if (long) 25:32 else 17:20]
  # All ones are "not known".
  if (any(duration != 255)) big_endian(duration) / units
}

# Where the content of the first box of a type begins and ends, or NULL.
mp4_box <- function(read, type, from, to) {
  at <- from
  for (i in seq_len(most_media_parts)) {
    header <- read(at, 16)
    size <- big_endian(header[1:4])
    content <- at + 8
    if (size == 1) {
      size <- big_endian(header[9:16])
      content <- at + 16
    } else if (size == 0) {
      size <- to - at
    }
    end <- at + size
    if (end < content || end > to) {
      return(NULL)
    }
    if (is_text(header[5:8], type)) {
      return(c(content, end))
    }
    at <- end
  }
}

# RFC 3533, section 6: the position that the last page of the same stream ends with. Opus
# (RFC 7845) counts 48,000 a second after those of "pre-skip", Vorbis as its header says.
ogg_seconds <- function(read, size) {
  first <- read(0, 64)
  packet <- first[-seq_len(27 + first[[27]])]
  if (is_text(packet[1:8], "OpusHead")) {
    rate <- 48000
    skipped <- little_endian(packet[11:12])
  } else if (is_text(packet[2:7], "vorbis")) {
    rate <- little_endian(packet[13:16])
    skipped <- 0
  } else {
    return(NULL)
  }
  from <- max(0, size - ogg_end)
  end <- read(from, ogg_end)
  pages <- which(end == utf8ToInt("O"))
  is_last <- vapply(pages, FUN.VALUE = NA, function(at) {
    is_text(end[at + 0:3], "OggS") && identical(end[at + 14:17], first[15:18])
  })
  last <- max(pages[is_last])
  (little_endian(end[last + 6:13]) - skipped) / rate
}

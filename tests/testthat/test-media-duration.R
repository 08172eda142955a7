# Files are made here, byte by byte, as the specifications of their containers say.

little <- function(x, size = 4) as.raw(x %/% 256^(seq_len(size) - 1) %% 256)

big <- function(x, size = 4) rev(little(x, size))

chunk <- function(name, content) {
  c(
    charToRaw(name),
    little(length(content)),
    content,
    raw(length(content) %% 2)
  )
}

# A second has 8,000 bytes.
a_wav <- function(seconds = 1.5, before = chunk("LIST", raw(5)), size = NULL) {
  format <- c(little(1, 2), little(1, 2), little(8000), little(8000), raw(4))
  data <- chunk("data", raw(seconds * 8000))
  if (!is.null(size)) {
    data[5:8] <- little(size)
  }
  chunks <- c(chunk("fmt ", format), before, data)
  c(charToRaw("RIFF"), little(length(chunks) + 4), charToRaw("WAVE"), chunks)
}

box <- function(type, ...) {
  content <- c(...)
  c(big(length(content) + 8), charToRaw(type), content)
}

movie_header <- function(duration, units = 600, version = 0) {
  n <- if (version == 1) 8 else 4
  box(
    "mvhd",
    c(
      as.raw(version),
      raw(3),
      raw(2 * n),
      big(units),
      big(duration, n),
      raw(80)
    )
  )
}

an_mp4 <- function(
  header = movie_header(1500),
  before = box("mdat", raw(1e4))
) {
  c(box("ftyp", charToRaw("isom")), before, box("moov", box("free"), header))
}

page <- function(position, content, serial = 7) {
  c(
    charToRaw("OggS"),
    raw(2),
    little(position, 8),
    little(serial),
    raw(8),
    as.raw(1),
    as.raw(length(content)),
    content
  )
}

an_opus <- function(position = 48000 * 2.5 + 312) {
  head <- c(charToRaw("OpusHead"), as.raw(c(1, 2)), little(312, 2), raw(7))
  c(page(0, head), page(48000, raw(200)), page(position, raw(100)))
}

# Of the bytes, and of a file.
duration <- function(bytes) {
  path <- withr::local_tempfile()
  writeBin(bytes, path)
  found <- media_duration(path)
  expect_identical(media_duration(bytes), found)
  found
}

test_that("a WAV file has the duration of its sound", {
  expect_equal(duration(a_wav()), 1500)
  expect_equal(duration(a_wav(0.25, before = raw())), 250)
  # What a recorder writes that does not know how long it will last.
  expect_equal(duration(a_wav(size = 2^32 - 1)), 1500)
})

test_that("an MP4 file has the duration of its header", {
  expect_equal(duration(an_mp4()), 2500)
  expect_equal(duration(an_mp4(movie_header(1500, 1000, version = 1))), 1500)
  # A box whose size needs 64 bits, and one to the end of the file.
  wide <- c(big(1), charToRaw("mdat"), big(16 + 100, 8), raw(100))
  expect_equal(duration(an_mp4(before = wide)), 2500)
  open <- an_mp4(before = raw())
  open[13:16] <- raw(4)
  expect_equal(duration(open), 2500)
  # "Not known", and that of a film in fragments.
  expect_null(duration(an_mp4(movie_header(2^32 - 1))))
  expect_null(duration(an_mp4(movie_header(2^32 - 1, units = 1e6))))
  expect_null(duration(an_mp4(movie_header(0))))
  # A header behind the box that it should be in.
  beyond <- an_mp4(c(big(16), charToRaw("free")))
  expect_null(duration(c(beyond, raw(8), movie_header(1500))))
})

test_that("an Ogg file has the duration of its last page", {
  expect_equal(duration(an_opus()), 2500)
  vorbis <- c(as.raw(1), charToRaw("vorbis"), raw(4), as.raw(2), little(44100))
  expect_equal(duration(c(page(0, vorbis), page(22050, raw(9)))), 500)
  # The page of another stream in the file.
  expect_equal(duration(c(an_opus(), page(9e6, raw(9), serial = 8))), 2500)
  other <- page(0, charToRaw("fishead"))
  expect_null(duration(c(other, page(48000, raw(9)))))
})

test_that("other and damaged files have none, and are no error", {
  expect_null(duration(raw()))
  expect_null(duration(charToRaw("ID3 and so on, a sound of another kind")))
  expect_null(media_duration(tempfile()))
  expect_null(duration(an_mp4(movie_header(1500, units = 0))))
  expect_null(duration(an_mp4(movie_header(2^32 - 2, units = 1))))
  # Boxes that are too small, that go beyond the end, and too many.
  expect_null(duration(an_mp4(before = c(big(7), charToRaw("mdat")))))
  expect_null(duration(an_mp4(before = c(big(1e6), charToRaw("mdat")))))
  expect_null(duration(an_mp4(before = rep(box("free", raw(1)), 400))))
  expect_null(duration(a_wav(before = rep(chunk("LIST", raw(2)), 400))))
  withr::local_seed(1)
  for (bytes in list(a_wav(0.1), an_mp4(before = raw()), an_opus())) {
    for (n in seq(0, length(bytes), length.out = 40)) {
      expect_error(media_duration(utils::head(bytes, n)), NA)
    }
    found <- lapply(1:300, function(i) {
      bytes[sample(min(length(bytes), 120), 3)] <- as.raw(sample(0:255, 3))
      media_duration(bytes)
    })
    found <- unlist(found)
    expect_true(all(found >= 1 & found <= longest_duration & found %% 1 == 0))
  }
})

test_that("no media data is read", {
  skip_on_os("windows")
  path <- withr::local_tempfile()
  # A file of 3 GB that has no blocks on the disk.
  connection <- file(path, "wb")
  writeBin(
    c(box("ftyp", charToRaw("isom")), big(1), charToRaw("mdat")),
    connection
  )
  writeBin(big(3e9, 8), connection)
  seek(connection, 12 + 3e9, rw = "write")
  writeBin(box("moov", movie_header(1500)), connection)
  close(connection)
  expect_gt(file.size(path), 3e9)
  read <- 0
  real <- get("container_seconds", asNamespace("mxcrypt"))
  local_replaced("container_seconds", function(take, size) {
    counting <- function(at, n) {
      read <<- read + n
      take(at, n)
    }
    real(counting, size)
  })
  duration <- get("media_duration", asNamespace("mxcrypt"))
  expect_equal(duration(path), 2500)
  expect_gt(read, 0)
  expect_lt(read, 1e5)
})

test_that("the duration is sent with a sound or a video, and with no other file", {
  pair <- demo_pair()
  info <- function(send, ...) {
    send(pair$alice, pair$room, ...)
    new_content(pair$bob)[["info"]]
  }
  expect_equal(info(mx_send_audio, a_wav(), name = "x.wav")[["duration"]], 1500)
  expect_equal(
    info(mx_send_video, an_mp4(), name = "x.mp4")[["duration"]],
    2500
  )
  sent <- mx_file(an_opus(), name = "x.ogg")
  expect_equal(info(mx_post, sent)[["duration"]], 2500)
  plain <- info(mx_send_file, a_wav(), name = "x.bin")
  expect_false("duration" %in% names(plain))
  unknown <- info(mx_send_audio, charToRaw("x"), name = "x.mp3")
  expect_false("duration" %in% names(unknown))
})

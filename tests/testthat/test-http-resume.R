# webfakes cannot cut a response short, so these tests have a server of their own.

skip_on_cran()
skip_if_not_installed("callr")
withr::local_options(mxcrypt.pause = 0.001, .local_envir = teardown_env())

# Answers one request after the other with `replies`, each on a connection of its own,
# and saves the lines of each request in `dir`. A line dies when the client has taken
# the `parts` of a reply that it can take: curl drops what it holds then.
reply_in_order <- function(replies, dir) {
  listening <- NULL
  while (is.null(listening)) {
    port <- sample(20000:40000, 1)
    listening <- tryCatch(serverSocket(port), error = function(e) NULL)
  }
  saveRDS(port, file.path(dir, "port.part"))
  file.rename(file.path(dir, "port.part"), file.path(dir, "port"))
  for (i in seq_along(replies)) {
    connection <- socketAccept(listening, blocking = TRUE, open = "r+b")
    lines <- character()
    while (!identical(line <- readLines(connection, 1), "")) {
      lines <- c(lines, line)
    }
    saveRDS(lines, file.path(dir, paste0("request", i)))
    taken <- function() length(list.files(dir, "^part"))
    before <- taken()
    # The client may have enough before the end.
    try(writeBin(as.vector(replies[[i]]), connection), silent = TRUE)
    parts <- attr(replies[[i]], "parts")
    end <- Sys.time() + 60
    while (!is.null(parts) && taken() < before + parts && Sys.time() < end) {
      Sys.sleep(0.01)
    }
    close(connection)
  }
}

# Such a server: its `url`, and `header(name)`, what each request had there.
reply_server <- function(replies, .local_envir = parent.frame()) {
  dir <- withr::local_tempdir(.local_envir = .local_envir)
  process <- callr::r_bg(reply_in_order, list(replies, dir))
  withr::defer(process$kill(), envir = .local_envir)
  wait_for(function() file.exists(file.path(dir, "port")))
  real <- get("stream", asNamespace("mxcrypt"))
  confirmed <- function(url, take, handle) {
    confirm <- function(bytes) {
      more <- take(bytes)
      file.create(tempfile("part", dir))
      more
    }
    real(url, confirm, handle)
  }
  local_replaced("stream", confirmed, .local_envir)
  requests <- function() {
    count <- length(list.files(dir, "^request"))
    lapply(seq_len(count), function(i) {
      readRDS(file.path(dir, paste0("request", i)))
    })
  }
  header <- function(name) {
    start <- paste0("^", name, ": ")
    vapply(
      requests(),
      function(lines) {
        found <- grep(start, lines, value = TRUE, ignore.case = TRUE)
        if (length(found) == 0L) "" else sub(start, "", found)
      },
      ""
    )
  }
  list(
    url = paste0("http://127.0.0.1:", readRDS(file.path(dir, "port"))),
    header = header
  )
}

reply <- function(status, headers, body = raw()) {
  head <- c(
    paste("HTTP/1.1", status, "Any"),
    "Connection: close",
    if (length(headers) > 0L) paste0(names(headers), ": ", headers),
    "",
    ""
  )
  c(charToRaw(paste(head, collapse = "\r\n")), body)
}

tag <- "\"version-1\""

# The first `cut` bytes of `bytes`, and then the line is dead.
cut_off <- function(bytes, cut, etag = tag, ranges = "bytes") {
  headers <- c(
    "Content-Length" = length(bytes),
    "Accept-Ranges" = ranges,
    ETag = etag
  )
  structure(reply(200, headers, bytes[seq_len(cut)]), parts = cut %/% part)
}

whole <- function(bytes) cut_off(bytes, length(bytes))

# What a server has of `bytes` from `from` on, and what it calls that.
rest <- function(
  bytes,
  from,
  etag = tag,
  range = sprintf("bytes %d-%d/%d", from, length(bytes) - 1L, length(bytes)),
  cut = length(bytes)
) {
  headers <- c(
    "Content-Length" = length(bytes) - from,
    "Content-Range" = range,
    ETag = etag
  )
  rest <- reply(206, headers, bytes[seq(from + 1, cut)])
  structure(rest, parts = if (cut < length(bytes)) (cut - from) %/% part)
}

# stream() reads so many bytes at once.
part <- 65536L
old <- rep_len(as.raw(c(0:255, 7)), 4 * part)
new <- rev(old)

# What a download from `server` saves.
got_from <- function(server, resume = "etag", ...) {
  to <- withr::local_tempfile()
  session <- list(server = server[["url"]], token = "secret")
  http_perform(session, "GET", "/file", file = to, resume = resume, ...)
  readBin(to, "raw", file.size(to))
}

test_that("a download continues where it ended, as often as it must", {
  server <- reply_server(list(
    cut_off(old, 2 * part),
    rest(old, 2 * part, cut = 3 * part),
    reply(502, NULL),
    rest(old, 3 * part)
  ))
  expect_identical(got_from(server), old)
  range <- c("", "bytes=131072-", "bytes=196608-", "bytes=196608-")
  expect_identical(server[["header"]]("Range"), range)
  expect_identical(server[["header"]]("If-Range"), c("", tag, tag, tag))
})

test_that("nothing is resumed that may be another file", {
  firsts <- list(
    cut_off(old, 2 * part, etag = NULL),
    cut_off(old, 2 * part, etag = paste0("W/", tag)),
    # Synapse sends this with every file.
    cut_off(old, 2 * part, etag = "1"),
    cut_off(old, 2 * part, etag = "\"version-1"),
    cut_off(old, 2 * part, etag = paste0(tag, ", ", tag)),
    cut_off(old, 2 * part, ranges = NULL),
    cut_off(old, 2 * part, ranges = "none"),
    cut_off(old, 2 * part, ranges = "\xff"),
    # How long the file is to become is not known.
    structure(
      reply(
        200,
        c(
          "Transfer-Encoding" = "chunked",
          "Accept-Ranges" = "bytes",
          ETag = tag
        ),
        c(charToRaw("20000\r\n"), old[seq_len(2 * part)])
      ),
      parts = 2
    ),
    # Not even one part came.
    cut_off(old, 10)
  )
  replies <- lapply(firsts, list, whole(new))
  server <- reply_server(unlist(replies, recursive = FALSE))
  for (first in firsts) {
    expect_identical(got_from(server), new)
  }
  asked <- rep("", 2 * length(firsts))
  expect_identical(server[["header"]]("Range"), asked)
  expect_identical(server[["header"]]("If-Range"), asked)

  server <- reply_server(list(cut_off(old, 2 * part), whole(new)))
  expect_identical(got_from(server, "never"), new)
  expect_identical(server[["header"]]("Range"), c("", ""))
})

test_that("a whole file in place of the rest replaces what was there", {
  short <- new[seq_len(part)]
  for (file in list(new, short, raw())) {
    server <- reply_server(list(cut_off(old, 2 * part), whole(file)))
    expect_identical(got_from(server), file)
    expect_identical(server[["header"]]("Range"), c("", "bytes=131072-"))
  }
  # The next try asks for the rest of the new one.
  other <- "\"version-2\""
  server <- reply_server(list(
    cut_off(old, 2 * part),
    cut_off(new, part, etag = other),
    rest(new, part, etag = other)
  ))
  expect_identical(got_from(server), new)
  expect_identical(server[["header"]]("If-Range"), c("", tag, other))
})

test_that("what is not exactly the rest is not appended", {
  range <- function(text) rest(new, 2 * part, range = text)
  chunked <- function(bytes) {
    headers <- c(
      "Content-Range" = "bytes 131072-262143/262144",
      "Transfer-Encoding" = "chunked",
      ETag = tag
    )
    size <- charToRaw(sprintf("%x\r\n", length(bytes)))
    reply(206, headers, c(size, bytes, charToRaw("\r\n0\r\n\r\n")))
  }
  seconds <- list(
    range("bytes 131071-262143/262144"),
    range("bytes 131073-262143/262144"),
    range("bytes 131072-262142/262144"),
    range("bytes 131072-262143/262145"),
    range("bytes 131072-262143/*"),
    range("131072-262143/262144"),
    range("\xff"),
    range(NULL),
    rest(new, 2 * part, etag = "\"version-2\""),
    rest(new, 2 * part, etag = NULL),
    # Less, and more, than it announces.
    chunked(new[seq_len(part)]),
    chunked(new),
    reply(416, c("Content-Range" = "bytes */131072"))
  )
  cut <- cut_off(old, 2 * part)
  replies <- lapply(seconds, function(second) list(cut, second, whole(new)))
  server <- reply_server(unlist(replies, recursive = FALSE))
  # The third request is no other try.
  withr::local_options(mxcrypt.max_tries = 2)
  for (second in seconds) {
    expect_identical(got_from(server), new)
  }
  asked <- rep(c("", "bytes=131072-", ""), length(seconds))
  expect_identical(server[["header"]]("Range"), asked)
  # Nor what nobody asked for.
  server <- reply_server(list(rest(new, 2 * part)))
  to <- withr::local_tempfile()
  session <- list(server = server[["url"]])
  answer <- http_perform(session, "GET", "/", file = to, resume = "hash")
  expect_identical(answer[["status"]], 206L)
  expect_false(file.exists(to))
})

test_that("all bytes count for the largest size", {
  more <- reply(
    206,
    c("Content-Range" = "bytes 131072-262143/262144", ETag = tag),
    new
  )
  server <- reply_server(list(cut_off(old, 2 * part), more))
  expect_error(
    got_from(server, max_size = 4 * part),
    class = "mx_error_too_large"
  )
})

test_that("a resumed download is redirected again, without the token", {
  there <- reply(307, c(Location = "/cdn"))
  server <- reply_server(list(
    there,
    cut_off(old, 2 * part),
    there,
    rest(old, 2 * part)
  ))
  expect_identical(got_from(server, follow = TRUE), old)
  range <- server[["header"]]("Range")
  expect_identical(range, rep(c("", "bytes=131072-"), each = 2))
  expect_identical(
    server[["header"]]("Authorization"),
    rep(c("Bearer secret", ""), 2)
  )
})

test_that("the bar continues where the download ended", {
  bars <- list()
  local_replaced("transfer_bar", function(name, size) {
    i <- length(bars) + 1L
    bars[[i]] <<- list(size = size, done = numeric())
    list(
      set = function(done) bars[[i]]$done <<- c(bars[[i]]$done, done),
      done = function() NULL
    )
  })
  server <- reply_server(list(cut_off(old, 2 * part), rest(old, 2 * part)))
  got_from(server)
  expect_identical(lapply(bars, `[[`, "size"), list(4 * part, 4 * part))
  expect_equal(bars[[1]]$done, c(1, 2) * part)
  expect_equal(bars[[2]]$done, c(3, 4) * part)
})

# An attachment of some parts, encrypted: its content, and what the server has.
encrypted_attachment <- function() {
  to <- withr::local_tempfile()
  made <- core(attachment_encrypt_file(old, to))
  file <- json_decode(made[["file"]])
  file[["url"]] <- "mxc://demo/file1"
  list(
    content = list(msgtype = "m.file", body = "x", file = file),
    bytes = readBin(to, "raw", file.size(to))
  )
}

# Downloads from `server` as a client of the demo homeserver.
saved_from <- function(server, content) {
  bob <- demo_pair()[["bob"]]
  real <- get("http_once", asNamespace("mxcrypt"))
  local_replaced("http_once", function(session, ...) {
    real(list(server = server[["url"]], token = "secret"), ...)
  })
  path <- mx_media_download(bob, content)[["path"]]
  readBin(path, "raw", file.size(path))
}

test_that("the hash of an encrypted file decides where there is no tag", {
  made <- encrypted_attachment()
  bytes <- made[["bytes"]]
  server <- reply_server(list(
    cut_off(bytes, 2 * part, etag = NULL),
    rest(bytes, 2 * part, etag = NULL)
  ))
  expect_identical(saved_from(server, made[["content"]]), old)
  expect_identical(server[["header"]]("Range"), c("", "bytes=131072-"))
  expect_identical(server[["header"]]("If-Range"), c("", ""))
  # Nothing else shows whether the parts of a plain file belong together.
  plain <- list(msgtype = "m.file", body = "x", url = "mxc://demo/file1")
  server <- reply_server(list(cut_off(old, 2 * part, etag = NULL), whole(old)))
  expect_identical(saved_from(server, plain), old)
  expect_identical(server[["header"]]("Range"), c("", ""))
  server <- reply_server(list(cut_off(old, 2 * part), rest(old, 2 * part)))
  expect_identical(saved_from(server, plain), old)
  expect_identical(server[["header"]]("Range"), c("", "bytes=131072-"))
})

test_that("a file whose hash fails after it was resumed is read once more, whole", {
  made <- encrypted_attachment()
  bytes <- made[["bytes"]]
  wrong <- rev(bytes)
  cut <- cut_off(bytes, 2 * part)
  glued <- rest(wrong, 2 * part)
  server <- reply_server(list(cut, glued, whole(bytes)))
  expect_identical(saved_from(server, made[["content"]]), old)
  expect_identical(server[["header"]]("Range"), c("", "bytes=131072-", ""))
  # That one is not resumed, and is refused where its hash fails again.
  server <- reply_server(list(cut, glued, cut, whole(wrong)))
  expect_error(
    saved_from(server, made[["content"]]),
    class = "mx_error_attachment"
  )
  expect_identical(server[["header"]]("Range"), c("", "bytes=131072-", "", ""))
  # A file that came whole is refused at once.
  server <- reply_server(list(whole(wrong), whole(bytes)))
  expect_error(
    saved_from(server, made[["content"]]),
    class = "mx_error_attachment"
  )
  expect_length(server[["header"]]("Range"), 1)
})

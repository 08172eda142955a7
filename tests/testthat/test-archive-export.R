exported <- function(client, ending, ..., .local_envir = parent.frame()) {
  file <- withr::local_tempfile(fileext = ending, .local_envir = .local_envir)
  mx_archive_export(client, file, ...)
}

archived_pair <- function(texts) {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, texts)
  mx_archive(pair$bob, pair$room)
  pair
}

odd_texts <- c("a \"b\",\nc", "NA", " x ", "\u00fc \U1F600", "{\"a\":1}")

test_that("an export holds what the archive has, part by part", {
  local_replaced("archive_part_size", 2)
  pair <- archived_pair(odd_texts)
  expected <- as.data.frame(mx_archive_read(pair$bob), flat = TRUE)
  csv <- read.csv(
    exported(pair$bob, ".csv"),
    na.strings = character(),
    encoding = "UTF-8"
  )
  expect_equal(names(csv), names(expected))
  expect_equal(csv$event_id, expected$event_id)
  is_message <- csv$type == "m.room.message"
  expect_equal(csv$body[is_message], odd_texts)
  expect_equal(csv$trust, as.character(expected$trust))
  expect_equal(csv$content, expected$content)
  times <- as.POSIXct(csv$origin_server_ts, "%Y-%m-%dT%H:%M:%OSZ", tz = "UTC")
  expect_lt(
    max(abs(as.numeric(times) - as.numeric(expected$origin_server_ts))),
    0.01
  )

  lines <- readLines(exported(pair$bob, ".jsonl"), encoding = "UTF-8")
  rows <- lapply(lines, jsonlite::fromJSON, simplifyVector = FALSE)
  expect_length(rows, nrow(expected))
  expect_equal(vapply(rows, `[[`, "", "event_id"), expected$event_id)
  bodies <- unlist(lapply(rows[is_message], `[[`, "body"))
  expect_equal(bodies, odd_texts)
  contents <- lapply(rows, `[[`, "content")
  expect_equal(contents, lapply(expected$content, json_decode))
  # What is missing is left out.
  expect_null(rows[[1]][["utd_reason"]])
  expect_type(rows[[1]][["encrypted"]], "logical")
})

test_that("an export is yours alone, and replaces nothing by itself", {
  pair <- archived_pair("one")
  file <- exported(pair$bob, ".csv")
  if (.Platform$OS.type == "unix") {
    expect_equal(as.character(file.mode(file)), "600")
  }
  expect_error(mx_archive_export(pair$bob, file), class = "mx_error_argument")
  expect_equal(mx_archive_export(pair$bob, file, overwrite = TRUE), file)
  wrong <- withr::local_tempfile(fileext = ".xlsx")
  expect_error(mx_archive_export(pair$bob, wrong), class = "mx_error_argument")
  expect_error(
    mx_archive_export(pair$bob, wrong, format = "xlsx"),
    class = "mx_error_argument"
  )
  expect_false(file.exists(wrong))
})

test_that("an export that fails leaves nothing behind", {
  pair <- archived_pair("one")
  dir <- withr::local_tempdir()
  file <- file.path(dir, "x.csv")
  local_replaced("csv_lines", function(...) stop("disk full"))
  expect_error(mx_archive_export(pair$bob, file))
  expect_equal(list.files(dir, all.files = TRUE, no.. = TRUE), character())
  gone <- file.path(dir, "no", "x.jsonl")
  expect_error(mx_archive_export(pair$bob, gone), class = "mx_error_file")
})

test_that("a disk that is full while it writes is an error, and no file", {
  skip_if_not(file.exists("/dev/full"))
  pair <- archived_pair("one")
  dir <- withr::local_tempdir()
  target <- file.path(dir, "x.csv")
  writeLines("before", target)
  # R tells of a full disk by a warning, or not at all.
  real <- get("export_writer", asNamespace("mxcrypt"))
  local_replaced("export_writer", function(format, path) {
    unlink(path)
    file.symlink("/dev/full", path)
    real(format, path)
  })
  expect_error(
    mx_archive_export(pair$bob, target, overwrite = TRUE),
    class = "mx_error_file"
  )
  expect_equal(readLines(target), "before")
})

test_that("what a killed export left is replaced by the next", {
  pair <- archived_pair("one")
  dir <- withr::local_tempdir()
  writeLines("left", file.path(dir, ".x.csv.part"))
  file <- mx_archive_export(pair$bob, file.path(dir, "x.csv"))
  expect_equal(list.files(dir, all.files = TRUE, no.. = TRUE), "x.csv")
  expect_false("left" %in% readLines(file))
})

test_that("an export of nothing is a file with a header", {
  pair <- archived_pair("one")
  file <- exported(pair$bob, ".csv", since = Sys.time() + 60)
  expect_equal(nrow(read.csv(file)), 0)
  expect_true("event_id" %in% names(read.csv(file)))
  file <- exported(pair$bob, ".jsonl", since = Sys.time() + 60)
  expect_equal(file.size(file), 0)
})

test_that("Parquet needs a package", {
  skip_if(requireNamespace("nanoparquet", quietly = TRUE))
  skip_if(requireNamespace("arrow", quietly = TRUE))
  pair <- archived_pair("one")
  expect_error(
    exported(pair$bob, ".parquet"),
    "nanoparquet",
    class = "mx_error_package"
  )
})

test_that("Parquet is written part by part", {
  # Neither package is in Debian: a stand-in for what both are asked to do.
  local_replaced("archive_part_size", 2)
  parts <- list()
  stand_in <- function(path) {
    list(
      write = function(rows) {
        parts[[length(parts) + 1L]] <<- parquet_columns(rows)
      },
      close = function() NULL,
      is_whole = function() TRUE
    )
  }
  local_replaced("parquet_writer", stand_in)
  local_replaced("check_package", function(package, call) NULL)
  pair <- archived_pair(c("one", "two", "three"))
  exported(pair$bob, ".parquet")
  expect_gt(length(parts), 2)
  rows <- do.call(rbind, parts)
  expect_equal(rows$event_id, mx_archive_read(pair$bob)$event_id)
  # Columns of one type each.
  types <- unique(lapply(parts, function(part) lapply(part, class)))
  expect_length(types, 1)
  expect_false(any(vapply(rows, is.list, NA)))
})

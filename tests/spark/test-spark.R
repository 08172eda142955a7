# mx_decrypt() in R processes that the workers of a real Spark start, and in spark_apply() of
# sparklyr.

test_that("R processes that Spark starts for its partitions read what one process reads", {
  archive <- spark_archive()
  expected <- mx_decrypt(in_order(archive$events), archive$keys, flat = TRUE)
  reasons <- c("malformed_event", "replayed", "state_event")
  expect_setequal(stats::na.omit(expected$utd_reason), reasons)

  sets <- split(archive$keys, archive$keys$room_id)
  keys <- data.frame(
    room_id = names(sets),
    keys = vapply(
      sets,
      function(set) gsub("\n", "", jsonlite::base64_enc(serialize(set, NULL))),
      ""
    )
  )
  local_spark()
  # Of the package of Python.
  withr::local_envvar(SPARK_HOME = NA)
  out <- tempfile()
  done <- processx::run(
    file.path(tools, "spark/bin/python"),
    c(
      "lib/driver.py",
      as_json_lines(archive$events),
      as_json_lines(keys),
      out,
      3,
      normalizePath("lib/worker.R")
    ),
    timeout = 600
  )
  expect_match(done$stdout, "Spark [34]")
  read <- of_json_lines(list.files(out, "^part-", full.names = TRUE))
  again <- of_json_lines(as_json_lines(expected))
  columns <- intersect(names(expected), names(again))
  expect_setequal(
    setdiff(names(read), names(expected)),
    c("pid", "rooms_of_keys")
  )
  expect_identical(as.list(read[columns]), as.list(again[columns]))

  # More than one process, each with the keys of its rooms alone.
  given <- unique(read[c("pid", "rooms_of_keys")])
  expect_gt(nrow(given), 1L)
  expect_identical(anyDuplicated(given$pid), 0L)
  of_keys <- strsplit(given$rooms_of_keys, " ", fixed = TRUE)
  of_keys <- stats::setNames(lapply(of_keys, sort), given$pid)
  of_rows <- lapply(split(read$room_id, read$pid), function(x) sort(unique(x)))
  expect_identical(of_rows[names(of_keys)], of_keys)
})

test_that("spark_apply() of sparklyr reads what one process reads", {
  skip_if_not_installed("sparklyr")
  archive <- spark_archive()
  expected <- mx_decrypt(in_order(archive$events), archive$keys, flat = TRUE)
  local_spark()
  # Where Spark keeps its tables.
  withr::local_dir(withr::local_tempdir())
  config <- sparklyr::spark_config()
  config[["spark.ui.enabled"]] <- "false"
  for (name in c("gateway.start", "connect")) {
    config[[paste0("sparklyr.", name, ".timeout")]] <- 300
  }
  sc <- sparklyr::spark_connect(
    "local[2]",
    spark_home = spark_home(),
    config = config
  )
  withr::defer(sparklyr::spark_disconnect(sc))
  types <- vapply(archive$events, function(column) class(column)[[1]], "")
  events <- sparklyr::spark_read_json(
    sc,
    "events",
    as_json_lines(archive$events),
    columns = as.list(sub("numeric", "double", types))
  )
  read <- as.data.frame(sparklyr::spark_apply(
    events,
    function(part, keys) {
      part <- part[order(part$origin_server_ts), ]
      read <- mxcrypt::mx_decrypt(part, keys, flat = TRUE, threads = 1)
      # sparklyr 1.8 changes fractions of seconds of a time.
      read$origin_server_ts <- as.numeric(read$origin_server_ts)
      read
    },
    context = archive$keys,
    group_by = "room_id",
    packages = FALSE
  ))
  # The room is there twice: as the group, and as it is in each part.
  expect_identical(read[[2]], read$room_id)
  read <- read[-2]
  expected$origin_server_ts <- as.numeric(expected$origin_server_ts)
  sorted <- function(x) as.list(x[order(x$room_id, x$event_id), ])
  expect_identical(sorted(read), sorted(expected))
})

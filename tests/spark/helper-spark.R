# Events for Spark, and what comes back.

tools <- normalizePath("../../.tools")
for (file in c("decrypt", "conditions")) {
  source(sprintf("../testthat/helper-%s.R", file), local = TRUE)
}

# Four rooms, with what a hostile exporter puts into an archive.
spark_archive <- function() {
  archive <- small_archive(4, 200)
  events <- archive$events
  copy <- events[c(5, 405), ]
  copy$event_id <- c("$copy1", "$copy2")
  copy$origin_server_ts <- copy$origin_server_ts + 1e6
  odd <- events[c(10, 11, 12, 13, 14), ]
  odd$event_id <- paste0("$odd", seq_along(odd$event_id))
  odd$content[[1]] <- "{"
  odd$content[[2]] <- paste0("{\"x\":", strrep("[", 1e4), strrep("]", 1e4), "}")
  odd$content[[3]] <- "{\"body\":\"a \\u0000 \\ud83d\\ude00 \u00e9\u4e16 \\t\"}"
  odd$type[[3]] <- "m.room.message"
  odd$sender[[4]] <- NA
  odd$origin_server_ts <- c(NA, 1.8e12 + 1:4)
  events <- rbind(events, copy, odd)
  events$state_key <- NA_character_
  events$state_key[[length(events$state_key)]] <- ""
  events$redacted <- FALSE
  events$redacted[[20]] <- TRUE
  list(events = events, keys = archive$keys)
}

# As the driver sorts the rows of a room.
in_order <- function(events) {
  events[order(events$room_id, events$origin_server_ts), ]
}

as_json_lines <- function(table) {
  path <- tempfile(fileext = ".json")
  jsonlite::stream_out(
    table,
    file(path),
    verbose = FALSE,
    digits = NA,
    POSIXt = "epoch"
  )
  path
}

of_json_lines <- function(paths) {
  lines <- unlist(lapply(paths, readLines, encoding = "UTF-8"))
  read <- jsonlite::stream_in(
    textConnection(lines, encoding = "UTF-8"),
    verbose = FALSE
  )
  read[order(read$room_id, read$event_id), ]
}

# Spark's own files are in the package of Python.
spark_home <- function() {
  home <- Sys.getenv("SPARK_HOME")
  found <- Sys.glob(file.path(tools, "spark/lib/python*/site-packages/pyspark"))
  if (nzchar(home)) home else found[[1]]
}

local_spark <- function(env = parent.frame()) {
  withr::local_envvar(
    SPARK_LOCAL_IP = "127.0.0.1",
    R_LIBS = paste(.libPaths(), collapse = .Platform$path.sep),
    .local_envir = env
  )
}

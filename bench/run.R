# Runs the workloads, each in a process of its own, bare vodozemac and package
# in turn, and writes the table to bench/results.md. See README.md.

raw <- file.path(
  Sys.getenv("CARGO_TARGET_DIR", "bench/raw/target"),
  "release",
  "raw"
)
fixtures <- ".tools/bench"
runs <- as.integer(Sys.getenv("BENCH_RUNS", "3"))

# --- What is compared with what -------------------------------------------------

# `id` is the line an R process prints, `process` the workload that prints it
# (see workloads.R), `raw` what it is compared with.
row <- function(id, process, raw, workload, note = "") {
  data.frame(id, process, raw, workload, note)
}
usual <- c("1,000", "10,000", "100,000")
each_size <- function(id, raw, workload, note, group = "w5", sizes = usual) {
  number <- gsub(",", "", sizes)
  do.call(
    rbind,
    Map(
      row,
      paste(id, number),
      paste0(group, "-", number),
      raw,
      paste(workload, "at", sizes, "sessions"),
      note
    )
  )
}

rows <- rbind(
  row(
    "w1-ratchet",
    "w1-ratchet",
    "w1-ratchet",
    "W1 encrypt 10,000: `mxc_megolm_encrypt()`"
  ),
  row(
    "w1-events",
    "w1-events",
    "w1-events",
    "W1 encrypt 10,000: `mx_send_text()`",
    "store, outbox, a request each"
  ),
  row(
    "w2-ratchet",
    "w2-ratchet",
    "w2-ratchet",
    "W2 decrypt 10,000, 1 session: `mxc_megolm_decrypt()`"
  ),
  row(
    "w2-one",
    "w2-one",
    "w2-one",
    "W2 decrypt 10,000, 1 session: `mx_sync()`",
    "store, replay table, inbox, data frame"
  ),
  row(
    "w2-thousand",
    "w2-thousand",
    "w2-thousand",
    "W2 decrypt 10,000, 1,000 sessions: `mx_sync()`",
    "as before"
  ),
  row(
    "w2-process",
    "w2-process",
    "w2-one",
    "W2 decrypt 10,000, 1 session: `mx_crypto_process_sync()`",
    "as before, a list an event"
  ),
  row(
    "w3-share",
    "w3",
    "w3-share",
    "W3 share a key with 1,000 new devices: `mx_send_text()`",
    "store, members, judgement"
  ),
  row(
    "w3-again",
    "w3",
    "w3-again",
    "W3 the next key for the same 1,000 devices",
    "store"
  ),
  row(
    "w3-next",
    "w3",
    "w5-send",
    "W3 one more message to the 1,000 devices",
    "store"
  ),
  each_size("w5-send", "w5-send", "W5 send one", "store"),
  each_size("w5-receive", "w5-receive", "W5 receive one", "store"),
  each_size("w5-open", NA, "W5 open the store", "", sizes = c("0", usual)),
  each_size(
    "w6-export",
    NA,
    "W6 `mx_keys_export()`",
    "store, 500,000 rounds",
    "w6"
  ),
  each_size(
    "w6-import",
    NA,
    "W6 `mx_keys_import()`",
    "the same, judgement, data frame",
    "w6"
  ),
  row(
    "w7-verify",
    "w7-verify",
    "w7-verify",
    "W7 verify 10,000: `mxc_verify_device_keys()`",
    "all cores"
  ),
  each_size("w9-backup", NA, "W9 `mx_backup_upload()`", "store", "w9"),
  each_size(
    "w9-restore",
    NA,
    "W9 `mx_backup_restore()`",
    "the same, judgement, data frame",
    "w9"
  ),
  row(
    "w10-archive 100000",
    "w10-100000",
    NA,
    "W10 `mx_archive()` of 100,000 messages",
    "history, 1,000 sessions, store"
  ),
  row(
    "w10-export 100000",
    "w10-100000",
    NA,
    "W10 `mx_archive_export()` of 100,000 messages",
    "trust, CSV"
  ),
  row(
    "w10-search 100000",
    "w10-100000",
    NA,
    "W10 `mx_search()` in 100,000 messages",
    "all cores"
  ),
  row(
    "w10-search 1000000",
    "w10-1000000",
    NA,
    "W10 `mx_search()` in 1,000,000 messages",
    "all cores"
  )
)

wanted <- commandArgs(TRUE)
if (length(wanted) > 0L) {
  rows <- rows[sub("-.*", "", rows$process) %in% wanted, ]
}

# --- Fixtures ---------------------------------------------------------------------

# They are made anew when what makes them, or how a store looks, has changed.
prepare <- function() {
  sources <- list.files(
    c("bench/raw/src", "src/rust/core/src/store", "src/rust/core/src/machine"),
    recursive = TRUE,
    full.names = TRUE
  )
  sources <- c(sources, "bench/fixtures.R", "bench/harness.R")
  stamp <- paste(sources, tools::md5sum(sources))
  stamp_file <- file.path(fixtures, "stamp")
  if (file.exists(stamp_file) && identical(readLines(stamp_file), stamp)) {
    return(invisible())
  }
  message("making fixtures, which takes a minute")
  unlink(fixtures, recursive = TRUE)
  dir.create(fixtures, recursive = TRUE)
  lines_of("Rscript", "bench/fixtures.R", fixtures, raw)
  writeLines(stamp, stamp_file)
}

lines_of <- function(command, ...) {
  lines <- system2(command, shQuote(c(...)), stdout = TRUE)
  if (!is.null(attr(lines, "status"))) {
    stop(command, " ", paste(..., sep = " "), " failed")
  }
  grep("^\\{", lines, value = TRUE)
}

# --- Measuring ----------------------------------------------------------------------

read_lines <- function(side, lines) {
  read <- function(line) {
    line <- jsonlite::fromJSON(line)
    id <- line$workload
    if (!is.null(line$size)) {
      id <- paste(id, line$size)
    }
    number <- function(name) if (is.null(line[[name]])) NA else line[[name]]
    data.frame(
      side,
      id,
      cpu = number("cpu"),
      wall = number("wall"),
      rss_mb = number("rss_mb"),
      store_kb = number("store_kb"),
      bytes_per_event = number("bytes_per_event")
    )
  }
  do.call(rbind, lapply(lines, read))
}

measure_all <- function() {
  measured <- list()
  keep <- function(side, lines) {
    measured[[length(measured) + 1L]] <<- read_lines(side, lines)
  }
  for (run in seq_len(runs)) {
    message("run ", run, " of ", runs)
    for (process in unique(rows$process)) {
      of_process <- rows[rows$process == process, ]
      for (workload in stats::na.omit(unique(of_process$raw))) {
        keep("raw", lines_of(raw, "run", workload, fixtures))
      }
      keep("r", lines_of("Rscript", "bench/workloads.R", process, fixtures))
    }
  }
  if (any(startsWith(rows$process, "w5"))) {
    message("growth of the store")
    growth <- lines_of("Rscript", "bench/workloads.R", "w5-growth", fixtures)
    keep("r", growth)
  }
  do.call(rbind, measured)
}

# --- The table --------------------------------------------------------------------

median_of <- function(measured, side, id, column) {
  found <- measured[measured$side == side & measured$id == id, column]
  if (length(found) == 0L) NA else stats::median(found)
}

shown <- function(x, digits = 3) {
  format(signif(x, digits), scientific = FALSE, drop0trailing = TRUE)
}

table_row <- function(row, measured) {
  ours <- function(column) median_of(measured, "r", row$id, column)
  limit <- median_of(measured, "raw", row$raw, "cpu")
  kb <- ours("store_kb")
  note <- c(
    if (nzchar(row$note)) row$note,
    if (!is.na(kb)) paste(shown(kb / 1024), "MB of store")
  )
  cells <- c(
    row$workload,
    if (is.na(limit)) "" else shown(limit),
    shown(ours("cpu")),
    if (is.na(limit)) "" else shown(ours("cpu") / limit, 2),
    shown(ours("wall")),
    shown(ours("rss_mb")),
    paste(note, collapse = "; ")
  )
  paste0("| ", paste(cells, collapse = " | "), " |")
}

growth_line <- function(measured) {
  grows <- function(kind) {
    found <- median_of(
      measured,
      "r",
      paste0("w5-growth-", kind),
      "bytes_per_event"
    )
    shown(found)
  }
  paste0(
    "An event that was handed over leaves ",
    grows("one"),
    " bytes in the store (that it is known and its index taken), ",
    grows("thousand"),
    " where 1,000 sessions take turns."
  )
}

machine <- function() {
  cpu <- grep("^model name", readLines("/proc/cpuinfo"), value = TRUE)
  version <- function(command) trimws(system2(command, "--version", TRUE)[[1]])
  lock <- readLines("src/rust/Cargo.lock")
  vodozemac <- lock[grep('^name = "vodozemac"', lock) + 1L]
  commit <- system2("git", c("rev-parse", "--short", "HEAD"), TRUE)
  paste0(
    format(Sys.time(), "%Y-%m-%d %H:%M", tz = "UTC"),
    " UTC, ",
    length(cpu),
    " x ",
    sub(".*: ", "", cpu[[1]]),
    ", ",
    version("rustc"),
    ", R ",
    getRversion(),
    ", vodozemac ",
    gsub('version = |"', "", vodozemac),
    ", mxcrypt ",
    utils::packageVersion("mxcrypt"),
    " at ",
    commit,
    ". Medians of ",
    runs,
    "."
  )
}

prepare()
measured <- measure_all()
table <- vapply(
  split(rows, seq_len(nrow(rows))),
  table_row,
  "",
  measured = measured
)
report <- c(
  "# mxcrypt beside bare vodozemac",
  "",
  machine(),
  "Written by `make bench`; README.md says what is measured.",
  "",
  paste0(
    "| workload | raw cpu s | mxcrypt cpu s | ratio | wall s ",
    "| peak RSS MB | what mxcrypt does beside |"
  ),
  "|---|--:|--:|--:|--:|--:|---|",
  unname(table),
  if (any(startsWith(rows$process, "w5"))) c("", growth_line(measured))
)
writeLines(report)
# A part of the workloads is no result.
if (length(wanted) == 0L) {
  writeLines(report, "bench/results.md")
}

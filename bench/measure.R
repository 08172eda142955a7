# Has fixtures made and workloads run, each in a process of its own.

binary <- function(name) {
  target <- Sys.getenv("CARGO_TARGET_DIR", file.path("bench", name, "target"))
  file.path(target, "release", name)
}
with_sdk <- Sys.getenv("BENCH_SDK", "1") != "0"

lines_of <- function(command, ...) {
  lines <- system2(command, shQuote(c(...)), stdout = TRUE)
  if (!is.null(attr(lines, "status"))) {
    stop(command, " ", paste(..., sep = " "), " failed")
  }
  grep("^\\{", lines, value = TRUE)
}

# They are made when there are none, or when what makes them, or how a store looks,
# has changed. `core` is the source of the package.
prepare <- function(fixtures, core = "src/rust/core/src", sdk = with_sdk) {
  largest <- if (quick) "10000" else "100000"
  sources <- list.files(
    c("bench/raw/src", "bench/sdk/src", file.path(core, c("store", "machine"))),
    recursive = TRUE,
    full.names = TRUE
  )
  sources <- c(sources, "bench/fixtures.R", "bench/harness.R")
  made <- c(paste(sources, tools::md5sum(sources)), largest, sdk)
  stamp <- file.path(fixtures, "stamp")
  if (file.exists(stamp)) {
    found <- readLines(stamp)
    n <- length(sources)
    # What a whole run has made will do for a quick one, and with the SDK without it.
    enough <- length(found) == n + 2 &&
      identical(found[1:n], made[1:n]) &&
      found[[n + 1]] %in% c(largest, "100000") &&
      found[[n + 2]] %in% c(sdk, TRUE)
    if (enough) {
      return(invisible())
    }
  }
  message("making fixtures, which takes a few minutes")
  unlink(fixtures, recursive = TRUE)
  dir.create(fixtures, recursive = TRUE)
  sdk <- if (sdk) binary("sdk") else "-"
  lines_of("Rscript", "bench/fixtures.R", fixtures, binary("raw"), sdk, largest)
  writeLines(made, stamp)
}

# Runs one process of a contender, and returns a row for each line it prints. `counted`:
# under strace, which tells how often it flushed, and slows it down.
run_process <- function(contender, process, fixtures, counted = FALSE) {
  command <- switch(
    contender,
    limit = c(binary("raw"), "run", process, fixtures),
    sdk = c(binary("sdk"), "run", process, file.path(fixtures, "sdk")),
    c("Rscript", "bench/workloads.R", process, fixtures)
  )
  if (counted) {
    file <- tempfile("flushes-")
    file.create(file)
    Sys.setenv(BENCH_FLUSHES = file)
    on.exit({
      Sys.unsetenv("BENCH_FLUSHES")
      unlink(file)
    })
    strace <- c("strace", "-f", "--seccomp-bpf", "-qq", "-e", "signal=none")
    strace <- c(strace, "-e", "trace=fsync,fdatasync", "-o", file)
    command <- c(strace, command)
  }
  lines <- do.call(lines_of, as.list(command))
  columns <- c(
    "wall",
    "cpu",
    "rss_mb",
    "idle_mb",
    "flushes",
    "store_kb",
    "bytes_per_event"
  )
  read <- function(line) {
    line <- jsonlite::fromJSON(line)
    numbers <- lapply(line[columns], function(x) {
      if (is.null(x)) NA_real_ else x
    })
    names(numbers) <- columns
    data.frame(contender, process, workload = line$workload, numbers)
  }
  read_all <- do.call(rbind, lapply(lines, read))
  if (counted) {
    read_all[c("wall", "cpu", "rss_mb", "idle_mb")] <- NA_real_
  }
  read_all
}

can_count <- function() nzchar(Sys.which("strace"))

# The median of what was measured for a row, or NA.
figure <- function(measured, contender, row, column) {
  process <- switch(contender, limit = row$raw, sdk = row$sdk, row$process)
  found <- measured$contender == contender & measured$process %in% process
  found <- measured[found, ]
  # A process of the limit may be named for another workload than the row.
  if (row$workload %in% found$workload) {
    found <- found[found$workload == row$workload, ]
  }
  values <- found[[column]][!is.na(found[[column]])]
  if (length(values) == 0L) NA_real_ else stats::median(values)
}

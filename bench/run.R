# Runs the workloads, limit, SDK and package in turn, and writes the results. See
# README.md.

source("bench/rows.R")
source("bench/measure.R")
source("bench/report.R")

fixtures <- ".tools/bench"
runs <- as.integer(Sys.getenv("BENCH_RUNS", if (quick) "1" else "3"))
wanted <- commandArgs(TRUE)
rows <- rows_of(wanted)

# A part of the workloads, or a quick run, is no result.
whole <- length(wanted) == 0L && !quick
results <- if (whole) "bench" else ".tools/bench-results"

# The contenders of a process, in turn. What takes longest is only timed, and once.
measure_beside <- function(of_process, run, keep) {
  if (any(of_process$once) && run != 1) {
    return(invisible())
  }
  for (raw in stats::na.omit(unique(of_process$raw))) {
    keep("limit", raw, run == 0)
  }
  for (sdk in stats::na.omit(unique(of_process$sdk))) {
    if (with_sdk) keep("sdk", sdk, run == 0)
  }
  keep("mxcrypt", of_process$process[[1]], run == 0)
}

measure_all <- function() {
  measured <- list()
  keep <- function(contender, process, counted) {
    found <- run_process(contender, process, fixtures, counted)
    measured[[length(measured) + 1L]] <<- found
  }
  # The first run counts flushes, and is not timed.
  for (run in seq(if (can_count()) 0 else 1, runs)) {
    message(if (run == 0) "counting flushes" else paste("run", run, "of", runs))
    for (process in unique(rows$process)) {
      measure_beside(rows[rows$process == process, ], run, keep)
    }
  }
  if (any(startsWith(rows$process, "w5"))) {
    message("growth of the store")
    keep("mxcrypt", "w5-growth", FALSE)
  }
  do.call(rbind, measured)
}

prepare(fixtures)
measured <- measure_all()
dir.create(results, showWarnings = FALSE)
report <- report_lines(rows, measured, runs)
writeLines(report)
writeLines(report, file.path(results, "results.md"))
csv <- csv_rows(rows, measured)
write.csv(
  csv,
  file.path(results, "results.csv"),
  row.names = FALSE,
  quote = FALSE,
  na = ""
)
draw_curves(rows, measured, file.path(results, "curves.png"))
message("written to ", results)

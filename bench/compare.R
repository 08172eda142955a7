# Compares the package that is installed with one that was built from another
# revision: Rscript compare.R <revision> [w1 w3 ...]. Called by compare.sh.

arguments <- commandArgs(TRUE)
base <- arguments[[1]]
# The fixtures of the quick form, and none for the SDK.
Sys.setenv(BENCH_QUICK = "1", BENCH_SDK = "0")
source("bench/rows.R")
source("bench/measure.R")

most <- 1.15
runs <- as.integer(Sys.getenv("BENCH_RUNS", "5"))
rows <- rows_of(arguments[-1])
here <- file.path(".tools/compare", base)
sides <- list(
  base = list(
    library = file.path(here, "library"),
    core = file.path(here, "source/src/rust/core/src"),
    fixtures = file.path(here, "fixtures")
  ),
  head = list(
    library = character(),
    core = "src/rust/core/src",
    fixtures = ".tools/bench"
  )
)

# With the library of a side before the others.
on_side <- function(side, work) {
  old <- Sys.getenv("R_LIBS")
  on.exit(Sys.setenv(R_LIBS = old))
  libraries <- c(normalizePath(side$library), old)
  Sys.setenv(R_LIBS = paste(libraries, collapse = ":"))
  work(side)
}

# Stores of one revision may be too new for the other: each has its own.
for (side in sides) {
  on_side(side, function(side) prepare(side$fixtures, side$core, sdk = FALSE))
}

measured <- list()
# In turn, and each time the other first: what the machine does meanwhile meets both.
measure_both <- function(process, run, counted = FALSE) {
  order <- if (run %% 2 == 0) c("head", "base") else c("base", "head")
  for (name in order) {
    found <- tryCatch(
      on_side(sides[[name]], function(side) {
        run_process("mxcrypt", process, side$fixtures, counted)
      }),
      error = function(condition) {
        # What the older revision cannot do yet is not compared.
        if (name == "head") {
          stop(condition)
        }
        message(process, ": not in ", base)
      }
    )
    if (!is.null(found)) {
      measured[[length(measured) + 1L]] <<- cbind(side = name, found)
    }
  }
}

figures <- function(row, side, column) {
  all <- do.call(rbind, measured)
  found <- all$side == side &
    all$process == row$process &
    all$workload == row$workload
  values <- all[[column]][found]
  values[!is.na(values)]
}

# Of CPU seconds the median and the least must both be above: noise only adds, so
# that the least of several runs has the least of it. Flushes are counted, not timed.
judge <- function(row) {
  ratio <- function(column, of) {
    base <- figures(row, "base", column)
    head <- figures(row, "head", column)
    if (length(base) == 0L || length(head) == 0L) NA else of(head) / of(base)
  }
  # Clocks tick in milliseconds, and less than one flush is a checkpoint.
  short <- isTRUE(min(figures(row, "base", "cpu"), Inf) * repeated(row) < 0.02)
  flushes <- ratio("flushes", function(x) max(1, x))
  median <- ratio("cpu", stats::median)
  least <- ratio("cpu", min)
  slower <- !short && isTRUE(median > most) && isTRUE(least > most)
  data.frame(
    workload = row$workload,
    size = row$size,
    median = round(median, 2),
    least = round(least, 2),
    flushes = round(flushes, 2),
    verdict = if (slower || isTRUE(flushes > most)) {
      "WORSE"
    } else if (is.na(median)) {
      "not compared"
    } else if (short) {
      "too short"
    } else {
      ""
    }
  )
}

# W5 prints what one of a hundred costs.
repeated <- function(row) {
  if (grepl("^w5|next", row$workload)) 100 else 1
}

judge_all <- function() {
  verdicts <- lapply(seq_len(nrow(rows)), function(i) judge(rows[i, ]))
  do.call(rbind, verdicts)
}

for (run in seq(if (can_count()) 0 else 1, runs)) {
  message(if (run == 0) "counting flushes" else paste("run", run, "of", runs))
  for (process in unique(rows$process)) {
    measure_both(process, run, counted = run == 0)
  }
}
verdicts <- judge_all()
# What looks worse is measured as often again, and then judged by all runs.
for (process in unique(rows$process[verdicts$verdict == "WORSE"])) {
  message("again: ", process)
  for (run in seq_len(runs)) {
    measure_both(process, run)
  }
}
verdicts <- judge_all()
print(verdicts, row.names = FALSE)
worse <- sum(verdicts$verdict == "WORSE")
message(worse, " of ", nrow(rows), " rows are above ", most, " of ", base)
quit(status = if (worse > 0L) 1 else 0)

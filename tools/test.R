# Runs all tests and sums them up: cargo (the core, its simulation and attacks,
# the model homeserver, properties), testthat (the package), and live ones
# (Synapse, a foreign client). The last line is what CI reads.

tests <- list()

# Runs a program, shows what it prints, and says its lines.
run <- function(command, args, env = character()) {
  lines <- character()
  keep <- function(line, process) {
    cat(line, "\n", sep = "")
    lines <<- c(lines, line)
  }
  result <- processx::run(
    command,
    args,
    env = c("current", env),
    stderr = "2>&1",
    stdout_line_callback = keep,
    error_on_status = FALSE
  )
  list(status = result[["status"]], lines = lines)
}

count <- function(name, passed, failed, skipped) {
  tests[[name]] <<- c(passed = passed, failed = failed, skipped = skipped)
}

run_cargo <- function(name, manifest, packages) {
  message("\n== ", name)
  # In release, because the simulation is many runs.
  args <- c("test", "--release", "--manifest-path", manifest, packages)
  seeds <- Sys.getenv("SIMULATION_SEEDS", "800")
  ran <- run("cargo", args, c(SIMULATION_SEEDS = seeds))
  results <- grep("^test result:", ran[["lines"]], value = TRUE)
  number <- function(word) {
    found <- regmatches(results, regexpr(paste0("[0-9]+ ", word), results))
    sum(as.integer(sub(" .*", "", found)))
  }
  failed <- number("failed")
  # What did not build has run no tests, and must not look like success.
  broken <- ran[["status"]] != 0L && failed == 0L
  count(name, number("passed"), failed + broken, number("ignored"))
}

run_testthat <- function(name, dir) {
  message("\n== ", name)
  out <- tempfile(fileext = ".rds")
  code <- sprintf(
    "options(cli.dynamic = FALSE)
     results <- testthat::test_dir(%s, package = 'mxcrypt', stop_on_failure = FALSE,
       load_package = 'installed', reporter = testthat::SummaryReporter$new())
     saveRDS(as.data.frame(results)[c('test', 'failed', 'skipped', 'error')], %s)",
    deparse(dir),
    deparse(out)
  )
  ran <- run("Rscript", c("-e", code), c(NOT_CRAN = "true"))
  if (!file.exists(out)) {
    # R died, or a helper did: that is a failure, not an empty suite.
    return(count(name, 0L, 1L, 0L))
  }
  results <- readRDS(out)
  failed <- results[["failed"]] > 0L | results[["error"]]
  skipped <- results[["skipped"]] & !failed
  count(name, sum(!failed & !skipped), sum(failed), sum(skipped))
}

run_cargo(
  "core",
  "src/rust/Cargo.toml",
  c("-p", "mxcrypt-core", "-p", "mxcrypt-model-server")
)
if (file.exists("tests/rust/Cargo.toml")) {
  run_cargo("properties", "tests/rust/Cargo.toml", character())
}
run_testthat("package", "tests/testthat")
run_testthat("live", "tests/live")

all <- do.call(rbind, tests)
cat("\n")
print(all)
sums <- colSums(all)
cat(
  sprintf("\n%d passed, %d failed", sums[["passed"]], sums[["failed"]]),
  if (sums[["skipped"]] > 0) sprintf(", %d skipped", sums[["skipped"]]),
  "\n",
  sep = ""
)
quit(status = as.integer(sums[["failed"]] > 0))

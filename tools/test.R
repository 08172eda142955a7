# Runs all tests and sums them up: cargo (the core, its simulation and attacks,
# the model homeserver, properties), testthat (the package), and live ones
# (Synapse, a foreign client). The last line is what CI reads.

tests <- list()
# What failed, said again above the sums: a log is often read by its end.
failures <- character()

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
  # In release, because the simulation is many runs. What fails must not hide what is
  # in the binaries after it.
  args <- c(
    "test",
    "--release",
    "--no-fail-fast",
    "--manifest-path",
    manifest,
    packages
  )
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
  names <- grep("^test .* FAILED$", ran[["lines"]], value = TRUE)
  failures <<- c(failures, sub("^test (.*) \\.\\.\\. FAILED$", "\\1", names))
  count(name, number("passed"), failed + broken, number("ignored"))
}

# What broke in one test of testthat: file, test, and what was expected.
failures_of <- function(test) {
  broken <- Filter(
    function(result) {
      inherits(result, c("expectation_failure", "expectation_error"))
    },
    test[["results"]]
  )
  vapply(
    broken,
    function(result) {
      told <- utils::head(strsplit(conditionMessage(result), "\n")[[1L]], 4L)
      paste0(
        test[["file"]],
        ": ",
        test[["test"]],
        "\n    ",
        paste(told, collapse = "\n    ")
      )
    },
    ""
  )
}

run_testthat <- function(name, dir) {
  message("\n== ", name)
  out <- tempfile(fileext = ".rds")
  code <- sprintf(
    "options(cli.dynamic = FALSE)
     results <- testthat::test_dir(%s, package = 'mxcrypt', stop_on_failure = FALSE,
       load_package = 'installed', reporter = testthat::SummaryReporter$new())
     saveRDS(results, %s)",
    deparse(dir),
    deparse(out)
  )
  ran <- run("Rscript", c("-e", code), c(NOT_CRAN = "true"))
  if (!file.exists(out)) {
    # R died, or a helper did: that is a failure, not an empty suite.
    failures <<- c(failures, paste0(name, ": ended before its results"))
    return(count(name, 0L, 1L, 0L))
  }
  # For as.data.frame() of its results.
  loadNamespace("testthat")
  found <- readRDS(out)
  failures <<- c(failures, unlist(lapply(found, failures_of)))
  results <- as.data.frame(found)
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
if (length(failures) > 0L) {
  cat("failed:\n", paste0("  ", failures, "\n"), "\n", sep = "")
}
print(all)
sums <- colSums(all)
cat(
  sprintf("\n%d passed, %d failed", sums[["passed"]], sums[["failed"]]),
  if (sums[["skipped"]] > 0) sprintf(", %d skipped", sums[["skipped"]]),
  "\n",
  sep = ""
)
quit(status = as.integer(sums[["failed"]] > 0))

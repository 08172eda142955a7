# Runs all tests and sums them up: cargo (the core, its simulation and attacks,
# the model homeserver, properties), testthat (the package), and live ones
# (Synapse, a foreign client). The last line is what CI reads.

tests <- list()
postgres_feature <- c("--features", "mxcrypt-core/postgres")
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
    env = if (length(env) > 0L) c("current", env),
    stderr = "2>&1",
    stdout_line_callback = keep,
    error_on_status = FALSE
  )
  list(status = result[["status"]], lines = lines)
}

# A PostgreSQL server of these tests, and what tells them where it is.
start_postgres <- function() {
  dir <- tempfile("postgres-", "/tmp")
  dir.create(dir)
  out <- run("tools/postgres.sh", c("start", dir))
  settings <- grep("^[A-Z_]+=", out[["lines"]], value = TRUE)
  if (out[["status"]] != 0L || length(settings) < 3L) {
    stop("PostgreSQL does not start: see ", dir)
  }
  pairs <- regmatches(settings, regexpr("=", settings), invert = TRUE)
  values <- lapply(pairs, `[[`, 2L)
  names(values) <- vapply(pairs, `[[`, "", 1L)
  do.call(Sys.setenv, c(values, list(MXCRYPT_TEST_POSTGRES_DIR = dir)))
  dir
}

count <- function(name, passed, failed, skipped) {
  tests[[name]] <<- c(passed = passed, failed = failed, skipped = skipped)
}

run_cargo <- function(name, manifest, packages, env = character()) {
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
  env <- c(env, SIMULATION_SEEDS = seeds)
  ran <- run("cargo", args, env[!duplicated(names(env))])
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

message("\n== a server")
postgres <- start_postgres()
run_cargo(
  "core",
  "src/rust/Cargo.toml",
  c("-p", "mxcrypt-core", "-p", "mxcrypt-model-server", postgres_feature)
)
# What the machine must do, it must do there as well: some of the attacks, and some seeds.
on_postgres <- function(test, ...) {
  run_cargo(
    paste(test, "on PostgreSQL"),
    "src/rust/Cargo.toml",
    c("-p", "mxcrypt-core", postgres_feature, "--test", test, "--", ...),
    c(MXCRYPT_TEST_DISK = "postgres", SIMULATION_SEEDS = "10")
  )
}
on_postgres("simulation")
attacks <- c(
  "messages",
  "to_device",
  "olm_sessions",
  "rotation",
  "rooms",
  "listeners",
  "uploads"
)
do.call(on_postgres, as.list(c("attacks", paste0(attacks, "::"))))
if (file.exists("tests/rust/Cargo.toml")) {
  run_cargo("properties", "tests/rust/Cargo.toml", character())
}
run_testthat("package", "tests/testthat")
run_testthat("live", "tests/live")
run("tools/postgres.sh", c("stop", postgres))
unlink(postgres, recursive = TRUE)

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

# What README shows of signing in where there are no passwords: a person at a terminal,
# and a job that nobody watches. The homeserver is Synapse, the OAuth server npm's
# oidc-provider; the person with the browser is played over HTTP.
#
#   Rscript tools/demo-sign-in.R > .tools/demo-sign-in.txt

source("tests/live/helper-synapse.R", chdir = FALSE)
source("tests/live/helper-people.R")
source("tests/live/helper-oauth.R")

show <- function(...) cat(..., sep = "")

# Runs R code in a process of its own, gives each line that it prints to `seen`, and
# shows it.
run <- function(code, dir, seen, person = FALSE) {
  show("> ", code, "\n")
  script <- file.path(dir, "script.R")
  writeLines(
    c(
      sprintf("options(rlang_interactive = %s)", person),
      "options(browser = function(url) NULL)",
      sprintf("Sys.setenv(R_USER_CONFIG_DIR = %s)", deparse(dir)),
      sprintf("Sys.setenv(R_USER_DATA_DIR = %s)", deparse(dir)),
      "library(mxcrypt)",
      code
    ),
    script
  )
  processx::run(
    "Rscript",
    script,
    error_on_status = FALSE,
    stderr = "2>&1",
    env = c("current", RLANG_TRACEBACK = "none", MXCRYPT_PASSWORD = ""),
    stdout_line_callback = function(line, process) {
      seen(line)
      if (!grepl("^(Execution halted|Backtrace:)|^ +([0-9.]+ |\u2586)", line)) {
        show(line, "\n")
      }
    }
  )
  show("\n")
}

main <- function() {
  oauth <- live_oauth()
  dir <- tempfile("sign-in-")
  dir.create(dir)
  on.exit(unlink(dir, recursive = TRUE))
  code_in <- function(line) {
    found <- regmatches(
      line,
      regexpr("[A-Z]{4}-[A-Z]{4}(?=, until)", line, perl = TRUE)
    )
    if (length(found) == 1L) found
  }
  call <- sprintf("mx_client_configure(\"%s\")", oauth$url)
  show("# At a terminal\n")
  terminal <- file.path(dir, "terminal")
  dir.create(terminal)
  run(
    call,
    terminal,
    function(line) {
      code <- code_in(line)
      if (!is.null(code)) {
        oauth$approve(code, "ada")
      }
    },
    person = TRUE
  )
  show("# A job without one: its first run\n")
  job <- file.path(dir, "job")
  dir.create(job)
  waiting <- NULL
  keep <- function(line) waiting <<- c(waiting, code_in(line))
  run(call, job, keep)
  oauth$approve(waiting[[1]], "nightly")
  show("# and its next\n")
  run(call, job, identity)
}

main()

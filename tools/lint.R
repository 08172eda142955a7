# lintr over all R code of the repository. `$` on parsed JSON matches partially
# (`x$file` finds `filename`), so in R/ elements are taken with `[[`.

suppressMessages(library(lintr))

ours <- linters_with_defaults(
  line_length_linter = line_length_linter(100L),
  # air decides on layout.
  commented_code_linter = NULL,
  brace_linter = NULL,
  object_usage_linter = NULL,
  object_name_linter = NULL,
  object_length_linter = NULL
)
package <- modifyList(
  ours,
  list(
    extraction_operator_linter = extraction_operator_linter(),
    undesirable_function_linter = undesirable_function_linter(c(
      stop = "raise a classed condition: mx_abort()",
      warning = "raise a classed condition: mx_warn()",
      sample = "randomness comes from the core",
      set.seed = "randomness comes from the core",
      sapply = "use vapply()",
      system = "the package starts no other program",
      system2 = "the package starts no other program"
    ))
  )
)

lints <- c(
  lint_dir("R", linters = package, exclusions = list("R/extendr-wrappers.R")),
  # The code of mx.client's vignette is run as it is written.
  lint_dir(
    "tests",
    linters = modifyList(ours, list(cyclocomp_linter = NULL)),
    exclusions = list("tests/live/compat")
  ),
  lint_dir("tools", linters = ours),
  lint_dir("inst", linters = ours),
  lint_dir("vignettes", linters = ours),
  if (dir.exists("bench")) lint_dir("bench", linters = ours)
)
for (found in lints) {
  print(found)
}

# All files of R/ share one namespace: of two functions of one name the last one counts, and
# whoever calls the other gets it without a word.
code <- unlist(lapply(list.files("R", "[.]R$", full.names = TRUE), readLines))
assigned <- regmatches(
  code,
  regexpr("^[A-Za-z.][A-Za-z0-9_.]*(?= <- )", code, perl = TRUE)
)
twice <- unique(assigned[duplicated(assigned)])
if (length(twice) > 0L) {
  cat("Assigned in R/ more than once:", twice, sep = "\n  ")
}
quit(status = as.integer(length(lints) + length(twice) > 0L))

# Work that is done part by part: at the console with a bar, and on a page between which it
# serves its browser (run_parts() in page-elements.R).

# `next_part()` does the next part, and returns how much of `total` is done then; NULL when
# nothing is left. `result()` is what came of it. `end()` cleans up, at any time.
new_parts <- function(
  next_part,
  result,
  end = function() NULL,
  total = 100
) {
  list(next_part = next_part, result = result, end = end, total = total)
}

# Does all of it now, and returns the result.
do_parts <- function(parts, name, format = NULL) {
  on.exit(parts[["end"]]())
  bar <- cli::cli_progress_bar(
    name,
    total = parts[["total"]],
    format = format,
    auto_terminate = FALSE
  )
  while (!is.null(done <- parts[["next_part"]]())) {
    cli::cli_progress_update(set = done, id = bar)
  }
  cli::cli_progress_done(id = bar)
  parts[["result"]]()
}

# What print() writes, and what the console completes behind `$`.

# Signs of this package's own, and what stands for them where the session has no UTF-8: R
# would write <U+2026>.
plain_signs <- c("\u2026" = "...", "\u2022" = "*", "\u2013" = "-")

# Prints lines. What format() returns does not depend on the session.
print_lines <- function(lines) {
  if (!cli::is_utf8_output()) {
    for (sign in names(plain_signs)) {
      lines <- gsub(sign, plain_signs[[sign]], lines, fixed = TRUE)
    }
  }
  cat(lines, sep = "\n")
}

# A line of str().
str_line <- function(lines) {
  print_lines(paste0(" ", paste(lines, collapse = " ")))
}

# A pointer is of no use to anybody, the address of a demo homeserver is not one of the
# network, and keys are secrets: the console offers none of them.
complete_nothing <- function(x, pattern = "") character()

#' @rawNamespace S3method(utils::.DollarNames, mxc_handle)
.DollarNames.mxc_handle <- complete_nothing

#' @rawNamespace S3method(utils::.DollarNames, mx_demo_homeserver)
.DollarNames.mx_demo_homeserver <- complete_nothing

#' @rawNamespace S3method(utils::.DollarNames, mx_keys)
.DollarNames.mx_keys <- complete_nothing

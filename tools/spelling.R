# Checks the spelling (en-GB) of help pages, vignettes, README, NEWS and DESCRIPTION, and of the
# documents beside them. Words that no dictionary has are in inst/WORDLIST. Prints what is wrong.

suppressMessages(library(spelling))

options(width = 100)
known <- readLines("inst/WORDLIST", encoding = "UTF-8")
# The spelling package reads inst/WORDLIST itself.
package <- spell_check_package(".", vignettes = TRUE)
# Not tests/README.md, which lists tests of other projects by name.
documents <- c(
  "README.Rmd",
  "ARCHITECTURE.md",
  "CONTRIBUTING.md",
  "DECISIONS.md",
  "SECURITY.md",
  "cran-comments.md",
  "bench/README.md"
)
documents <- documents[file.exists(documents)]
beside <- spell_check_files(documents, ignore = known, lang = "en_GB")

found <- function(x) {
  places <- vapply(x[["found"]], paste, "", collapse = ", ")
  sprintf("%s: %s", x[["word"]], substr(places, 1L, 200L))
}
wrong <- sort(unique(c(found(package), found(beside))))
if (length(wrong) > 0L) {
  cat(wrong, sep = "\n")
  cat(
    "Correct them. A word that is right, and that others know, goes into inst/WORDLIST.\n"
  )
}
twice <- known[duplicated(known)]
if (length(twice) > 0L) {
  cat("Twice in inst/WORDLIST:", twice, sep = "\n  ")
}
quit(status = as.integer(length(wrong) + length(twice) > 0L))

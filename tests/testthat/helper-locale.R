# For tests whose own code has text that only UTF-8 can hold: as names of a list, or in
# stop(). R makes it text of the locale there. CRAN checks in one of ISO-8859-15.
skip_without_utf8 <- function() {
  skip_if_not(l10n_info()[["UTF-8"]], "no UTF-8")
}

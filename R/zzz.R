.onLoad <- function(libname, pkgname) {
  # R CMD check allows two cores.
  limit <- Sys.getenv("_R_CHECK_LIMIT_CORES_", "false")
  if (!tolower(limit) %in% c("", "false")) {
    core_limit_threads(2L)
  }
}

.onLoad <- function(libname, pkgname) {
  reg.finalizer(the, close_stores, onexit = TRUE)
  # R CMD check allows two cores.
  limit <- Sys.getenv("_R_CHECK_LIMIT_CORES_", "false")
  if (!tolower(limit) %in% c("", "false")) {
    core_limit_threads(2L)
  }
}

.onUnload <- function(libpath) {
  close_stores()
}

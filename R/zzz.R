# What is done once all functions are there: when the package is built, and when it
# is loaded.

# Puts check_present() in front of each function for users that has arguments without
# a default, so that none is forgotten.
add_argument_checks <- function(namespace) {
  for (name in setdiff(
    ls(namespace, pattern = "^mxc?_"),
    c("mx_abort", "mx_warn")
  )) {
    fun <- get(name, namespace)
    is_required <- vapply(formals(fun), rlang::is_missing, NA)
    required <- setdiff(names(formals(fun))[is_required], "...")
    if (length(required) > 0L) {
      body(fun) <- call("{", call("check_present", required), body(fun))
      assign(name, fun, namespace)
    }
  }
}

add_argument_checks(environment())

.onLoad <- function(libname, pkgname) {
  the[["loaded_in"]] <- Sys.getpid()
  the[["loaded_at"]] <- as.numeric(Sys.time())
  reg.finalizer(the, close_stores, onexit = TRUE)
  # R CMD check allows two cores.
  limit <- Sys.getenv("_R_CHECK_LIMIT_CORES_", "false")
  if (!tolower(limit) %in% c("", "false")) {
    core_limit_threads(2L)
  }
}

.onUnload <- function(libpath) {
  end_listeners()
  flush_logs()
  close_stores()
}

# The error that code ends in, or NULL.
catch <- function(code) {
  rlang::catch_cnd(code, "error")
}

# Runs a function in another R, with this package and these helpers, which is
# killed when it hangs.
in_other_r <- function(fun, args = list(), timeout = 60, env = character()) {
  skip_if_not_installed("callr")
  environment(fun) <- globalenv()
  run <- function(fun, args, dir) {
    helpers <- new.env(parent = asNamespace("mxcrypt"))
    for (file in list.files(dir, "^helper-.*[.]R$", full.names = TRUE)) {
      sys.source(file, helpers)
    }
    environment(fun) <- helpers
    do.call(fun, args)
  }
  callr::r(
    run,
    list(fun, args, normalizePath(test_path("."))),
    timeout = timeout,
    env = c(callr::rcmd_safe_env(), env)
  )
}

# What forked children of this R make of `fun`.
forked <- function(fun, n = 1) {
  children <- lapply(seq_len(n), function(i) parallel::mcparallel(fun(i)))
  results <- parallel::mccollect(children)
  for (result in results) {
    if (inherits(result, "try-error")) {
      stop(result)
    }
  }
  unname(results)
}

elapsed <- function(code) {
  system.time(code)[["elapsed"]]
}

wait_for <- function(condition, seconds = 120) {
  end <- Sys.time() + seconds
  while (!condition()) {
    if (Sys.time() > end) {
      stop("waited too long")
    }
    Sys.sleep(0.01)
  }
}

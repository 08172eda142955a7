# The error that code ends in, or NULL.
catch <- function(code) {
  rlang::catch_cnd(code, "error")
}

# Runs a function in another R, which has this package and nothing else, and is
# killed when it hangs.
in_other_r <- function(fun, args = list(), timeout = 60, env = character()) {
  skip_if_not_installed("callr")
  environment(fun) <- globalenv()
  callr::r(fun, args, timeout = timeout, env = c(callr::rcmd_safe_env(), env))
}

elapsed <- function(code) {
  system.time(code)[["elapsed"]]
}

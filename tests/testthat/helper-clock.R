# The system clock, which tests set.

# A function that sets the clock of R, against that of the machine, until the caller is done.
local_clock <- function(.local_envir = parent.frame()) {
  real <- Sys.time
  put <- function(value) {
    unlockBinding("Sys.time", baseenv())
    assign("Sys.time", value, baseenv())
    lockBinding("Sys.time", baseenv())
  }
  withr::defer(put(real), envir = .local_envir)
  function(seconds) put(function() real() + seconds)
}

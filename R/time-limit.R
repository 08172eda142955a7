# A limit for all requests of a call together. The transport asks how much is left: of
# each request and each pause (http-request.R), and of the waits for other processes.

# Runs `code`, for which requests and pauses have `seconds` altogether. What needs no
# network is done in any case: a message is saved in the outbox, however late it is.
within_seconds <- function(seconds, code) {
  before <- the[["ends_at"]]
  on.exit(the[["ends_at"]] <- before)
  the[["ends_at"]] <- min(before, monotonic_time() + seconds)
  code
}

# Infinite without a limit.
time_left <- function() {
  ends_at <- the[["ends_at"]]
  if (is.null(ends_at)) Inf else max(0, ends_at - monotonic_time())
}

# In seconds. Limits are measured by it: proc.time() follows the clock of the system, which may
# be set.
monotonic_time <- function() core(monotonic_seconds())

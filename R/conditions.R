# Conditions. Every error has class `mx_error`; what the core refuses and what
# the server answers have classes below it. Messages may hold text of a server:
# they are never formatted, neither by sprintf() nor by cli or glue.

mx_abort <- function(message, class, ..., call = caller_env()) {
  abort(
    message,
    class = c(class, "mx_error"),
    ...,
    call = bare_call(call),
    trace = bare_trace(caller_env())
  )
}

# Errors hold calls without their arguments, among which may be a password.
bare_trace <- function(bottom) {
  trace <- rlang::trace_back(bottom = bottom)
  trace[["call"]] <- lapply(trace[["call"]], bare)
  trace
}

bare_call <- function(frame) {
  bare(rlang::frame_call(frame))
}

bare <- function(call) {
  if (is.call(call)) as.call(list(call[[1]])) else NULL
}

# Raises a condition that is classed already, as it is: rlang would format it.
raise <- function(condition) {
  stop(condition) # nolint
}

mx_warn <- function(message, class, ...) {
  warn(message, class = c(class, "mx_warning"), ...)
}

# The value of a glue function, or the condition for what it could not do.
core <- function(value, call = caller_env()) {
  if (!inherits(value, "mxcrypt_failure")) {
    return(value)
  }
  code <- value[["code"]]
  group <- if (startsWith(code, "store_")) "mx_error_store"
  mx_abort(value[["message"]], c(paste0("mx_error_", code), group), call = call)
}

# The same for the primitives, whose conditions have their own classes too.
primitive <- function(value, call = caller_env()) {
  if (!inherits(value, "mxcrypt_failure")) {
    return(value)
  }
  class <- c(paste0("mxc_error_", value[["code"]]), "mxc_error")
  mx_abort(value[["message"]], class, call = call)
}

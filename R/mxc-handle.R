# Handles: lists with an external pointer that is never shown bare. The core
# checks type, process and life of the pointer before each use.

new_handle <- function(pointer, class) {
  structure(list(pointer = pointer), class = c(class, "mxc_handle"))
}

pointer <- function(
  x,
  class,
  name = rlang::caller_arg(x),
  call = caller_env()
) {
  if (is_stored(x)) {
    mx_abort(
      c(
        paste0("`", name, "` is kept in a store."),
        i = "A store's ratchets are advanced by the machine alone: use mx_send() and mx_sync()."
      ),
      c("mxc_error_stored", "mxc_error"),
      call = call
    )
  }
  if (!inherits(x, class) || !is.list(x)) {
    mx_abort(
      paste0("`", name, "` must be an object of class ", class, "."),
      c("mxc_error_handle", "mxc_error"),
      call = call
    )
  }
  unclass(x)[["pointer"]]
}

# What is kept in a store is a reference to it, and never a copy of a ratchet.
is_stored <- function(x) {
  inherits(x, "mx_stored")
}

#' @export
print.mxc_handle <- function(x, ...) {
  print_lines(format(x, ...))
  invisible(x)
}

#' @export
format.mxc_handle <- function(x, ...) {
  held <- handle_describe(unclass(x)[["pointer"]])
  title <- paste0("<", class(x)[[1]], ">")
  if (inherits(held, "mxcrypt_failure")) {
    return(paste(title, "empty: it was saved and read again"))
  }
  c(title, describe(x))
}

# What can be told of a handle without telling a secret.
describe <- function(x) {
  UseMethod("describe")
}

#' @export
describe.default <- function(x) character()

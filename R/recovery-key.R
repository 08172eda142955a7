#' Save a recovery key
#'
#' `mx_recovery_key_write()` writes a new recovery key to a file that only you can read;
#' `mx_recovery_key_forget()` is for a key that you saved in another way. Until one of them
#' is called, the key is kept, sealed, in the store: a process that is killed loses
#' nothing. Afterwards it cannot be read from the store any more.
#'
#' @param key A recovery key, from [mx_crypto_setup()] or
#'   [mx_recovery_key_change()]. It prints masked; `format(key, reveal = TRUE)` is
#'   its text.
#' @param path The file, which must not be there yet.
#' @return The path, or `NULL`, invisibly.
#' @section Errors:
#' `mx_error_recovery_key` when there is none any more; `mx_error_store` when the
#' file cannot be written.
#' @family identity and recovery
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
#' setup <- mx_crypto_setup(alice)
#' setup$recovery_key
#' mx_recovery_key_write(setup$recovery_key, tempfile())
#' @export
mx_recovery_key_write <- function(key, path) {
  check_path(path)
  text <- reveal_recovery_key(key)
  if (file.exists(path)) {
    argument_abort("path", "a file that is not there yet", caller_env(), path)
  }
  core(private_file_write(path, paste0(text, "\n")))
  mx_recovery_key_forget(key)
  invisible(path)
}

#' @rdname mx_recovery_key_write
#' @export
mx_recovery_key_forget <- function(key) {
  check_recovery_key(key)
  core(machine_forget_recovery_key(stored_machine(attr(key, "stored"))))
  invisible()
}

# The object itself is only the mask, so that nothing can print the key. A reference to
# the store, which keeps the key, is an attribute.
new_recovery_key <- function(client) {
  stored <- new_stored(client[["store_dir"]], "mx_recovery_key")
  structure(masked(12), class = class(stored), stored = unclass(stored))
}

# That there is one must not depend on whether somebody looks at the result.
tell_recovery_key <- function() {
  file <- "recovery-key.txt"
  cli::cli_alert_warning(paste0(
    "A new recovery key was created. It restores your identity and your message keys ",
    "when all devices are lost. Save it:"
  ))
  cli::cli_verbatim(sprintf(
    "  mx_recovery_key_write(mx_crypto_setup(client)$recovery_key, \"%s\")",
    file
  ))
}

check_recovery_key <- function(key, call = caller_env()) {
  if (!inherits(key, "mx_recovery_key") || is.null(attr(key, "stored"))) {
    argument_abort("key", "a recovery key, from mx_crypto_setup()", call)
  }
}

reveal_recovery_key <- function(key, call = caller_env()) {
  check_recovery_key(key, call)
  machine <- stored_machine(attr(key, "stored"))
  text <- core(machine_recovery_key(machine), call = call)
  if (is.null(text)) {
    mx_abort(
      "The recovery key was saved, and is not kept here any more.",
      "mx_error_recovery_key",
      call = call
    )
  }
  text
}

#' @export
format.mx_recovery_key <- function(x, ..., reveal = FALSE) {
  if (isTRUE(reveal)) {
    return(reveal_recovery_key(x))
  }
  c("<mx_recovery_key>", masked(12))
}

#' @export
as.character.mx_recovery_key <- function(x, ...) masked(12)

#' @rawNamespace S3method(utils::str, mx_recovery_key)
str.mx_recovery_key <- function(object, ...) {
  str_line(format(object))
}

masked <- function(groups) {
  paste(rep("\u2022\u2022\u2022\u2022", groups), collapse = " ")
}

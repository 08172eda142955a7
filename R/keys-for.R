# Sets of room keys that other processes can be given.

#' @rdname mx_decrypt
#' @export
mx_keys_for <- function(events, from, passphrase = NULL) {
  sessions <- if (!is.null(events)) needed_sessions(event_columns(events))
  if (inherits(from, "mx_keys")) {
    return(keys_among(from, sessions))
  }
  if (is_string(from)) {
    path <- check_path(from)
    check_export_file(path)
    passphrase <- check_string(passphrase, null = TRUE) %||% old_passphrase()
    return(keys_of_export(path, passphrase, sessions))
  }
  if (!inherits(from, "mx_client")) {
    wanted <- "a client, the path of a key export, or a set of keys"
    argument_abort("from", wanted, caller_env())
  }
  machine <- machine_of(check_client(from))
  new_keys(core(machine_session_keys(machine, sessions)))
}

# Rooms and sessions, each once.
needed_sessions <- function(columns, call = caller_env()) {
  parts <- over_rows(columns, function(part) {
    core(events_sessions(part), call = call)
  })
  bind_columns(parts)
}

new_keys <- function(columns) structure(columns, class = "mx_keys")

keys_among <- function(keys, sessions) {
  if (is.null(sessions)) {
    return(keys)
  }
  # No id contains a line break.
  place <- function(x) paste(x[["room_id"]], x[["session_id"]], sep = "\n")
  keys[place(unclass(keys)) %in% place(sessions)]
}

keys_of_export <- function(path, passphrase, sessions, call = caller_env()) {
  force(call)
  import <- core(key_import_open(path, passphrase), call = call)
  found <- list()
  refused <- 0
  reason <- NULL
  parts <- new_parts(
    function() {
      part <- core(key_import_sessions(import, sessions), call = call)
      if (is.null(part)) {
        return(NULL)
      }
      found <<- c(found, list(new_keys(part[["keys"]])))
      refused <<- refused + part[["refused"]]
      reason <<- if (part[["refused"]] > 0) part[["reason"]] else reason
      100 * part[["progress"]]
    },
    function() do.call(c, found)
  )
  keys <- do_parts(parts, "Reading keys")
  if (refused > 0) {
    mx_warn(
      c(
        paste0(plural(refused, "key"), " of the export cannot be used."),
        x = reason
      ),
      "mx_warning_key_export"
    )
  }
  keys
}

# Bytes of a Megolm session key: version, index, ratchet, public key.
exported_length <- 1 + 4 + 128 + 32

#' @export
length.mx_keys <- function(x) length(unclass(x)[["session_id"]])

#' @export
`[.mx_keys` <- function(x, i) {
  if (missing(i)) {
    return(x)
  }
  at <- tryCatch(seq_along(x)[i], error = function(condition) NA)
  if (anyNA(at)) {
    argument_abort("i", "sessions that are in the set", caller_env())
  }
  columns <- unclass(x)
  if (length(columns[["key"]]) != length(x) * exported_length) {
    wanted <- "a set of keys as mx_keys_for() returned it"
    argument_abort("keys", wanted, caller_env(), "a damaged one")
  }
  bytes <- matrix(columns[["key"]], ncol = length(x))
  columns <- lapply(columns[names(columns) != "key"], `[`, at)
  columns[["key"]] <- as.vector(bytes[, at])
  new_keys(columns)
}

#' @export
c.mx_keys <- function(...) {
  sets <- list(...)
  if (!all(vapply(sets, inherits, NA, "mx_keys"))) {
    argument_abort("...", "sets of keys", caller_env())
  }
  new_keys(bind_columns(lapply(sets, unclass)))
}

#' @export
unique.mx_keys <- function(x, incomparables = FALSE, ...) {
  columns <- unclass(x)
  bytes <- matrix(as.integer(columns[["key"]]), ncol = length(x))
  columns[["key"]] <- NULL
  x[!duplicated(cbind(as.data.frame(columns), t(bytes)))]
}

#' @export
format.mx_keys <- function(x, ...) {
  rooms <- length(unique(unclass(x)[["room_id"]]))
  paste(
    "<mx_keys>",
    plural(length(x), "session"),
    "of",
    plural(rooms, "room"),
    "(secret: it decrypts their messages)"
  )
}

#' @export
print.mx_keys <- function(x, ...) {
  print_lines(format(x))
  invisible(x)
}

#' @export
as.character.mx_keys <- function(x, ...) format(x)

#' @rawNamespace S3method(utils::str, mx_keys)
str.mx_keys <- function(object, ...) {
  str_line(format(object))
}

#' @export
summary.mx_keys <- function(object, ...) object

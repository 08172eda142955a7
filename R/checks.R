# Checks of arguments, with messages that name the argument.

# `found` is the value, where it helps to see it: a path.
argument_abort <- function(name, wanted, call, found = NULL) {
  mx_abort(
    c(
      paste0("`", name, "` must be ", wanted, "."),
      x = if (!is.null(found)) {
        paste(
          "Found:",
          if (identical(found, "")) "an empty text" else printable(found)
        )
      }
    ),
    "mx_error_argument",
    call = call
  )
}

# Each function for users begins with this check (see zzz.R): R's own error about a
# missing argument has no class, and comes late.
check_present <- function(names) {
  frame <- parent.frame()
  for (name in names) {
    if (eval(call("missing", as.name(name)), frame)) {
      mx_abort(
        paste0("`", name, "` is missing, and has no default."),
        "mx_error_argument",
        call = frame
      )
    }
  }
}

is_string <- function(x) {
  is.character(x) && length(x) == 1L && !is.na(x)
}

check_string <- function(
  x,
  name = rlang::caller_arg(x),
  null = FALSE,
  call = caller_env()
) {
  if (null && is.null(x)) {
    return(NULL)
  }
  if (!is_string(x) || !nzchar(x)) {
    argument_abort(name, "one string that is not empty", call)
  }
  checked_text(x, name, call)
}

check_strings <- function(
  x,
  name = rlang::caller_arg(x),
  call = caller_env()
) {
  if (!is.character(x) || anyNA(x)) {
    argument_abort(name, "a character vector without missing values", call)
  }
  checked_text(x, name, call)
}

# Specification: appendices, "User identifiers".
check_user_ids <- function(
  x,
  name = rlang::caller_arg(x),
  call = caller_env()
) {
  check_strings(x, name, call)
  if (!all(grepl("^@[^:]+:.+$", x) & nchar(x, "bytes") <= 255L)) {
    argument_abort(name, "user ids like `@alice:example.org`", call)
  }
  x
}

# Text in UTF-8, whatever the encoding it came in.
checked_text <- function(x, name, call) {
  is_bytes <- Encoding(x) == "bytes"
  x <- as_utf8(x)
  if (any(is_bytes) || !all(validUTF8(x))) {
    argument_abort(name, "valid text in its encoding", call)
  }
  x
}

# enc2utf8() makes text like "<c3><a9>" of bytes that the locale does not know: of all
# that are no UTF-8, and in the locale C, where cron runs scripts, of every letter that
# is not ASCII.
as_utf8 <- function(x) {
  is_utf8 <- l10n_info()[["UTF-8"]] ||
    Sys.getlocale("LC_CTYPE") %in% c("C", "POSIX")
  unmarked <- Encoding(x) == "unknown"
  if (is_utf8 && any(unmarked)) {
    Encoding(x)[unmarked] <- "UTF-8"
  }
  enc2utf8(x)
}

# The name of a program, which becomes a directory of its own.
check_app <- function(app, call = caller_env()) {
  app <- check_string(app, "app", call = call)
  if (!grepl("^[[:alnum:]_][[:alnum:]_.-]*$", app)) {
    argument_abort("app", "a name of letters, digits, `.`, `_` and `-`", call)
  }
  app
}

# A path that means the same wherever R goes.
check_path <- function(
  x,
  name = rlang::caller_arg(x),
  null = FALSE,
  call = caller_env()
) {
  path <- check_string(x, name, null, call)
  if (is.null(path)) {
    return(NULL)
  }
  if (nchar(path) > 4000L) {
    argument_abort(name, "shorter than 4,000 characters", call)
  }
  if (has_scheme(path)) {
    argument_abort(name, "a path, and no address", call)
  }
  path <- path.expand(path)
  absolute <- grepl("^([/\\\\]|[A-Za-z]:)", path)
  if (absolute) path else file.path(getwd(), path)
}

# Whether a text is an address, such as https://example.org. It would be a path below the
# working directory, which is named after the password in it. C:/ is a drive.
has_scheme <- function(x) {
  grepl("^[[:alpha:]][[:alnum:]+.-]+:/", x, useBytes = TRUE)
}

# Whether a path is that of a file that has an end. A pipe or a device would be read for
# ever.
is_file <- function(path) {
  !inherits(attachment_size(path), "mxcrypt_failure")
}

check_flag <- function(x, name = rlang::caller_arg(x), call = caller_env()) {
  if (!is.logical(x) || length(x) != 1L || is.na(x)) {
    argument_abort(name, "TRUE or FALSE", call)
  }
  x
}

# One of several texts. The default is all of them, as the help page shows it, and
# means the first.
check_choice <- function(
  x,
  choices,
  name = rlang::caller_arg(x),
  call = caller_env()
) {
  if (identical(x, choices)) {
    return(choices[[1]])
  }
  if (!is_string(x) || !x %in% choices) {
    quoted <- paste0("\"", choices, "\"")
    last <- length(quoted)
    wanted <- paste(
      paste(quoted[-last], collapse = ", "),
      quoted[[last]],
      sep = " or "
    )
    argument_abort(name, wanted, call, if (is_string(x)) x)
  }
  x
}

check_number <- function(
  x,
  name = rlang::caller_arg(x),
  least = 0,
  call = caller_env()
) {
  if (!is.numeric(x) || length(x) != 1L || is.na(x) || x < least) {
    argument_abort(name, paste("a number of at least", least), call)
  }
  as.numeric(x)
}

# A time for the server and curl to wait, in milliseconds.
check_timeout <- function(
  x,
  name = rlang::caller_arg(x),
  call = caller_env()
) {
  min(check_number(x, name, call = call), 24 * 60 * 60 * 1000)
}

check_function <- function(
  x,
  name = rlang::caller_arg(x),
  call = caller_env()
) {
  if (!is.function(x)) {
    argument_abort(name, "a function", call)
  }
  x
}

# A package that is only suggested.
check_package <- function(package, call = caller_env()) {
  if (!requireNamespace(package, quietly = TRUE)) {
    mx_abort(
      c(
        paste0("The package ", package, " is needed for this."),
        i = paste0("Run install.packages(\"", package, "\").")
      ),
      "mx_error_package",
      call = call
    )
  }
}

#' Check the installation, the login and the store
#'
#' `mx_doctor()` looks at everything that usually is the reason when something does
#' not work: versions, locale, secrets, proxy, server, login, clock, identity, key
#' backup and store. Its print is made to be pasted into an issue. It has no token,
#' key or password in it; it has your user id, your device id, the server and paths.
#'
#' No check changes anything, sends a message or key, or renews a login; a file is made
#' beside the store to try locks, and deleted. What is said of identity and key backup
#' is what this device knows; [mx_crypto_status()] asks the server. A check that fails
#' is a line of the result, and stops no other check.
#'
#' @param client A client, from [mx_client_load()]. `NULL` means that of the app
#'   `mxcrypt` if it has signed in; if not, only this machine is looked at.
#' @return A data frame of class `mx_doctor` with a row for each thing that was
#'   looked at: `what`, `state` (`"ok"`, `"warning"` or `"failure"`), `found`, and
#'   `remedy` (what to do; empty where all is well).
#' @section Errors:
#' `mx_error_argument`, if `client` is none. Nothing else.
#' @family sign-in
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' checked <- mx_doctor(alice)
#' checked
#' checked[checked$state != "ok", c("what", "remedy")]
#' @export
mx_doctor <- function(client = NULL) {
  if (!is.null(client)) {
    check_client(client)
  }
  # One try, and not for long: a server that is away is what is to be found out.
  old <- options(
    mxcrypt.max_tries = 1,
    mxcrypt.timeout = min(http_timeout(), 15)
  )
  on.exit(options(old))
  x <- new.env(parent = emptyenv())
  x[["client"]] <- client
  lines <- run_checks(machine_checks, x)
  lines <- c(lines, run_checks(configuration_checks, x))
  if (!is.null(x[["client"]])) {
    lines <- c(lines, run_checks(client_checks, x))
  }
  new_doctor(lines, known_secrets(x[["client"]]))
}

# Each check is a function of `x`, what the checks before it have found: `client`, and
# whether the server is `reached`. It returns a line, a list of lines, or NULL.
run_checks <- function(checks, x) {
  lines <- lapply(names(checks), function(what) {
    # R's own warnings are about what the line says anyhow.
    found <- tryCatch(suppressWarnings(checks[[what]](x)), error = failed_check)
    if (is.character(found)) {
      found <- stats::setNames(list(found), what)
    }
    found
  })
  do.call(c, lines)
}

failed_check <- function(condition) {
  remedy <- condition[["remedy"]] %||%
    if (inherits(condition, "mx_error")) {
      "See ?mxcrypt_conditions."
    } else {
      "This check failed itself. Please report it."
    }
  doctor_line("failure", first_words(condition), remedy)
}

# What is wrong, without the hints that follow it.
first_words <- function(condition) {
  lines <- strsplit(cli::ansi_strip(conditionMessage(condition)), "\n")[[1]]
  lines <- sub("^[x!*\u2716\u2022] ", "", lines)
  is_hint <- grepl("^[i\u2139] ", lines)
  paste(trimws(lines[!is_hint]), collapse = " ")
}

doctor_line <- function(state, found, remedy = "") {
  c(state = state, found = paste(found, collapse = ", "), remedy = remedy)
}

fine <- function(...) doctor_line("ok", paste0(...))

# For a check that cannot go on.
check_abort <- function(found, remedy) {
  raise(errorCondition(
    found,
    class = c("mxcrypt_check", "mx_error"),
    remedy = remedy
  ))
}

new_doctor <- function(lines, secrets) {
  column <- function(name) {
    text <- unname(vapply(lines, `[[`, "", name))
    vapply(text, scrubbed, "", secrets, USE.NAMES = FALSE)
  }
  structure(
    data.frame(
      what = names(lines),
      state = column("state"),
      found = column("found"),
      remedy = column("remedy")
    ),
    class = c("mx_doctor", "data.frame"),
    checked_at = format(Sys.time(), "%Y-%m-%d %H:%M UTC", tz = "UTC")
  )
}

# No check puts a secret into a line. Text of a server or of a library could repeat
# one that it was given.
scrubbed <- function(text, secrets) {
  # What the environment holds need not be text in its encoding.
  text <- iconv(enc2utf8(text), "UTF-8", "UTF-8", sub = "byte")
  text <- shortened(printable(text))
  for (secret in secrets) {
    text <- gsub(secret, "<secret>", text, fixed = TRUE)
  }
  text
}

known_secrets <- function(client) {
  config <- if (!is.null(client)) {
    tryCatch(read_config(client[["path"]]), error = function(e) NULL)
  }
  variables <- vapply(secret_places, `[[`, "", "variable")
  found <- c(
    unlist(config[c("token", "refresh_token")]),
    Sys.getenv(variables)
  )
  # In place of a short one, the mark would stand where everybody knows the word.
  unique(unname(found[nchar(found, "bytes") >= 12L]))
}

#' @export
print.mx_doctor <- function(x, ...) {
  columns <- c("what", "state", "found", "remedy")
  if (!all(columns %in% names(x))) {
    # Some of its columns.
    print(structure(x, class = "data.frame"))
    return(invisible(x))
  }
  cat(format(x, ...), sep = "\n")
  invisible(x)
}

#' @export
format.mx_doctor <- function(x, ...) {
  states <- c(ok = "ok", warning = "WARNING", failure = "FAILURE")
  colours <- list(
    ok = cli::col_green,
    warning = cli::col_yellow,
    failure = cli::col_red
  )
  width <- max(nchar(x[["what"]]), 0L)
  lines <- lapply(seq_len(nrow(x)), function(i) {
    state <- x[["state"]][[i]]
    c(
      paste0(
        colours[[state]](formatC(states[[state]], width = -7)),
        "  ",
        formatC(x[["what"]][[i]], width = -width),
        "  ",
        x[["found"]][[i]]
      ),
      if (nzchar(x[["remedy"]][[i]])) {
        paste0(strrep(" ", 9L), "-> ", x[["remedy"]][[i]])
      }
    )
  })
  count <- function(state) sum(x[["state"]] == state)
  c(
    paste("<mx_doctor>", attr(x, "checked_at")),
    unlist(lines),
    paste0(
      plural(count("failure"), "failure"),
      ", ",
      plural(count("warning"), "warning"),
      "."
    )
  )
}

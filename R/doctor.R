#' Diagnose problems with installation, login and store
#'
#' `mx_doctor()` checks the usual reasons why something does not work: versions, locale,
#' secrets, proxy, server, login, clock, identity, key backup and store. Paste what it
#' prints into an issue: it holds no token, key or password, but your user id, your
#' device id, the server and paths.
#'
#' No check changes anything, sends a message or key, or renews a login; a file is created
#' beside the store to test locks, and deleted. Identity and key backup are reported as
#' this device knows them; [mx_crypto_status()] requests them from the server. A check
#' that fails is a line of the result, and stops no other check.
#'
#' @param client A client, from [mx_client_load()]. `NULL` means that of the app
#'   `mxcrypt` if it has signed in; if not, only this machine is checked.
#' @return A data frame of class `mx_doctor` with a row for each check: `what`, `state`
#'   (`"ok"`, `"warning"` or `"failure"`), `found`, and `remedy` (what to do; empty if
#'   nothing is wrong).
#' @section Errors:
#' `mx_error_argument`, if `client` is not a client. Nothing else.
#' @seealso [mx_crypto_status()], [mxcrypt_network], [mxcrypt_conditions]
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
  # One short try: a server that cannot be reached is a finding, and not worth a wait.
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
    local_ca_file(x[["client"]][["ca_file"]])
    lines <- c(lines, run_checks(client_checks, x))
  }
  new_doctor(lines, known_secrets(x[["client"]]))
}

# Each check is a function of `x`, what the checks before it have found: `client`, and
# whether the server is `reached`. It returns a line, a list of lines, or NULL.
run_checks <- function(checks, x) {
  lines <- lapply(names(checks), function(what) {
    # R's own warnings repeat what the line says.
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

# Ends a check with a failure and its remedy.
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

# No check puts a secret into a line. But text from a server or a library may repeat a
# secret that was sent to it.
scrubbed <- function(text, secrets) {
  # What the environment holds need not be text in its encoding.
  text <- printable(as_valid(text))
  # Before it is shortened: half a secret is none that can be found.
  for (secret in unique(printable(as_valid(secrets)))) {
    text <- gsub(secret, "<secret>", text, fixed = TRUE)
  }
  shortened(text)
}

as_valid <- function(text) {
  iconv(enc2utf8(text), "UTF-8", "UTF-8", sub = "byte")
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
  # A short secret may be a common word: masking it everywhere would reveal it.
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
  print_lines(format(x, ...))
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

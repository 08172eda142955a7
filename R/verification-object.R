# A verification, as a user holds it: a reference to the record in the store, and what
# that said when it was looked at.

new_verification <- function(client, status) {
  structure(c(list(client = client), status), class = "mx_verification")
}

check_verification <- function(verification, call = caller_env()) {
  if (!is_verification(verification)) {
    argument_abort(
      "verification",
      "a verification, from mx_verification_request() or mx_verifications()",
      call
    )
  }
  verification
}

is_verification <- function(x) {
  inherits(x, "mx_verification") &&
    is.list(x) &&
    is.numeric(x[["number"]]) &&
    all(vapply(unclass(x)[c("user_id", "state")], is_string, NA))
}

client_of <- function(verification, call = caller_env()) {
  check_client(check_verification(verification, call)[["client"]], call)
}

# The same, as the store knows it now. One that the store has forgotten is over.
current_verification <- function(verification) {
  known <- mx_verifications(verification[["client"]])
  is_it <- function(other) other[["number"]] == verification[["number"]]
  found <- Filter(is_it, known)
  if (length(found) > 0L) found[[1]] else verification
}

# Whether the next step is the user's.
is_your_turn <- function(verification) {
  switch(
    verification[["state"]],
    requested = !verification[["requested_here"]],
    ready = verification[["requested_here"]] && !verification[["shows_code"]],
    compare = TRUE,
    scanned = TRUE,
    done = TRUE,
    cancelled = TRUE,
    FALSE
  )
}

#' @rdname mx_verification_request
#' @export
mx_verification_emojis <- function(verification, language = NULL) {
  check_verification(verification)
  check_string(language, null = TRUE)
  emoji <- verification[["emoji"]]
  if (is.null(emoji)) {
    return(NULL)
  }
  table <- sas_emoji()[emoji + 1L]
  data.frame(
    emoji = vapply(table, function(row) row[["emoji"]], ""),
    name = emoji_names(table, language %||% session_language())
  )
}

# The table of the specification, with its translations.
sas_emoji <- function() {
  if (is.null(the[["sas_emoji"]])) {
    file <- system.file("sas-emoji.json", package = "mxcrypt", mustWork = TRUE)
    the[["sas_emoji"]] <- jsonlite::read_json(file)
  }
  the[["sas_emoji"]]
}

emoji_names <- function(table, language) {
  name <- function(row) {
    translated <- row[["translated_descriptions"]]
    known <- intersect(c(language, sub("_.*", "", language)), names(translated))
    found <- unlist(translated[known])
    if (length(found) > 0L) found[[1]] else row[["description"]]
  }
  vapply(table, name, "")
}

# As in "de" or "pt_BR", for messages.
session_language <- function() {
  locale <- c(
    strsplit(Sys.getenv("LANGUAGE"), ":", fixed = TRUE)[[1]],
    Sys.getenv(c("LC_ALL", "LC_MESSAGES", "LANG"))
  )
  locale <- sub("[.@].*", "", locale[nzchar(locale)])
  switch(
    c(locale, "en")[[1]],
    zh_TW = ,
    zh_HK = "zh_Hant",
    zh_CN = ,
    zh_SG = "zh_Hans",
    c(locale, "en")[[1]]
  )
}

#' @export
print.mx_verification <- function(x, ...) {
  print_lines(format(x, ...))
  invisible(x)
}

#' @export
format.mx_verification <- function(x, ...) {
  x <- current_verification(x)
  device <- x[["device_id"]]
  c(
    paste0("<mx_verification> ", printable(x[["user_id"]])),
    if (!is.null(device)) paste0("device: ", printable(device)),
    if (!is.null(x[["room_id"]])) paste0("room:   ", printable(x[["room_id"]])),
    paste0("state:  ", x[["state"]], ", ", state_sentence(x)),
    next_calls(x),
    strings_to_compare(x)
  )
}

state_sentence <- function(x) {
  switch(
    x[["state"]],
    requested = if (x[["requested_here"]]) {
      "the other side must accept"
    } else {
      "the other side waits for you"
    },
    ready = if (x[["shows_code"]]) {
      "the other side may scan your code"
    } else {
      "both sides agreed to verify"
    },
    started = "the other side has the next step",
    compare = "does the other side show the same?",
    scanned = "does the other device say that it scanned your code?",
    confirmed = "the other side must confirm",
    done = if (x[["identity_proven"]]) {
      "the identity is verified"
    } else {
      "the device is verified"
    },
    cancelled = why_cancelled(x)
  )
}

why_cancelled <- function(x) {
  code <- printable(x[["code"]])
  if (code == "m.timeout") {
    return("it timed out")
  }
  if (code == "m.user") {
    return(if (x[["cancelled_here"]]) "by you" else "by the other side")
  }
  by <- if (x[["cancelled_here"]]) "by this device" else "by the other side"
  reason <- printable(x[["reason"]] %||% "no known reason")
  paste0(by, ": ", reason, " (", code, ")")
}

# What the user can call now, a line each.
next_calls <- function(x) {
  calls <- switch(
    x[["state"]],
    requested = if (!x[["requested_here"]]) {
      c("mx_verification_accept()", "mx_verification_cancel() refuses")
    },
    ready = if (!x[["shows_code"]]) {
      ways <- c(
        m.sas.v1 = "mx_verification_start() compares emoji",
        m.qr_code.show.v1 = "mx_verification_qr() shows a QR code",
        m.qr_code.scan.v1 = "mx_verification_scan() scans the other side's"
      )
      ways[names(ways) %in% x[["methods"]]]
    },
    compare = ,
    scanned = c(
      "mx_verification_confirm(same = TRUE)",
      "mx_verification_confirm(same = FALSE) if not"
    )
  )
  calls <- unname(calls)
  if (length(calls) > 0L) {
    paste0(c("next:   ", rep("        ", length(calls) - 1L)), calls)
  }
}

# The emoji with their names, and the numbers, a line each. Where the session has no
# UTF-8 the English names and the numbers are enough to compare.
strings_to_compare <- function(x) {
  if (is.null(x[["decimals"]])) {
    return(NULL)
  }
  emojis <- if (cli::is_utf8_output()) {
    found <- mx_verification_emojis(x)
    if (!is.null(found)) paste0("  ", found[["emoji"]], "  ", found[["name"]])
  } else {
    paste0("  ", mx_verification_emojis(x, language = "en")[["name"]])
  }
  c(emojis, paste0("  ", paste(x[["decimals"]], collapse = " - ")))
}

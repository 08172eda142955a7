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
  cat(format(x, ...), sep = "\n")
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
    strings_to_compare(x)
  )
}

state_sentence <- function(x) {
  asked_by_you <- x[["requested_here"]]
  switch(
    x[["state"]],
    requested = if (asked_by_you) {
      "the other side is asked"
    } else {
      "you are asked: mx_verification_accept() or mx_verification_cancel()"
    },
    ready = ready_sentence(x),
    started = "the other side has the next step",
    compare = "compare, then mx_verification_confirm()",
    scanned = paste(
      "if the other device says that it scanned your code,",
      "mx_verification_confirm()"
    ),
    confirmed = "the other side is to confirm",
    done = if (x[["identity_proven"]]) {
      "the identity is verified"
    } else {
      "the device is verified"
    },
    cancelled = paste0(
      printable(x[["code"]]),
      if (x[["cancelled_here"]]) " (here)" else " (by the other side)"
    )
  )
}

ready_sentence <- function(x) {
  if (x[["shows_code"]]) {
    return("the other side may scan your code")
  }
  ways <- c(
    m.sas.v1 = "mx_verification_start() compares",
    m.qr_code.show.v1 = "mx_verification_qr() shows a code",
    m.qr_code.scan.v1 = "mx_verification_scan() scans one"
  )
  ways <- ways[names(ways) %in% x[["methods"]]]
  paste0("both agreed: ", paste(ways, collapse = ", "))
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

# Events as a data frame.

#' Events: columns, trust, and reasons
#'
#' [mx_sync()], [mx_messages()] and [mx_undecrypted()] return events as a data frame
#' of class `mx_events`, one row per event. Handlers of [mx_listen()] get a list
#' with the same names.
#'
#' @section Columns:
#' | Column | Type | What it holds |
#' |---|---|---|
#' | `room_id`, `event_id`, `type`, `sender` | character | The event, as the server returned it. |
#' | `origin_server_ts` | POSIXct | When it was sent, as the sender's server reports it. |
#' | `body`, `msgtype` | character | The text, and `m.text`, `m.notice`, `m.image` and so on. |
#' | `formatted_body` | character | The text as HTML, as its sender wrote it: see [mx_html()]. |
#' | `filename`, `mimetype` | character | Of a file: its name and its type, as its sender says. |
#' | `size` | numeric | Its size in bytes, as its sender says. |
#' | `caption` | character | The text that was sent with it. |
#' | `content`, `relates_to` | list | The content, decrypted, and its relation to another event. |
#' | `encrypted`, `decrypted` | logical | Whether it came encrypted, and whether it could be read. |
#' | `utd_reason` | character | Why it cannot be read; `NA` if it can. See below. |
#' | `utd_message`, `utd_help` | character | The reason as a sentence, and what helps. |
#' | `trust` | ordered factor | How well the sending device is known. See below. |
#' | `sender_verified` | logical | Whether `trust` is `verified`. |
#' | `session_id` | character | The Megolm session that it was encrypted with. |
#' | `key_source` | character | Where its key came from. See below. |
#' | `forwarder` | character | Your device that forwarded it, or the user who sent a bundle. |
#' | `is_self` | logical | Whether it is from your own user. |
#' | `mentions` | list | The user ids it mentions. |
#' | `state_key` | character | The state key of a state event. |
#' | `redacted` | logical | Whether it was redacted. |
#' | `redacts` | character | The event that a redaction redacts. |
#' | `replaces` | character | The event that it edits, if the edit is valid: see [mx_edit()]. |
#' | `edited` | logical | Whether it is shown with its newest text ([mx_messages()] only). |
#' | `edit_reason` | character | Why an edit is not valid. |
#' | `thread` | character | The event that its thread begins with. |
#' | `thread_latest` | list | The newest message of its thread ([mx_messages()] only). |
#' | `reactions` | list | How many users reacted with each key (with `reactions = TRUE` only). |
#'
#' A key came from its creator (`direct`), was created here (`own`), or was `forwarded`,
#' `imported`, read from the `backup`, or came in a `bundle` with an invitation (see
#' [mx_room_invite()]).
#'
#' Text of others is not cleaned. It may hold anything but NUL, which is shown as
#' U+FFFD. The attribute `problems` holds parts of the response that could not be
#' read. Printing shows times in the time zone of the session, and says how many
#' rows could not be read. [as.data.frame()][as.data.frame.mx_events] with
#' `flat = TRUE` makes a data frame for [write.csv()]. [plot()][plot.mx_events] draws
#' messages over time by room and trust.
#'
#' @section Trust:
#' From low to high: `none` (not encrypted, or not decrypted), `blocked` (you
#' blocked the device), `key_changed` (the server returned another key for a known
#' device), `unknown_device`, `identity_changed` (its owner has another identity
#' than before), `unsigned` (its owner did not sign the device), `not_guaranteed`
#' (the key did not come from its creator), `signed` (by its owner's identity) and
#' `verified` (you verified that identity, or the device).
#'
#' @section Why an event cannot be read:
#' Events that wait for a key are read later, see [mx_undecrypted()]:
#'
#' * `unknown_session`: No key has come.
#' * `unknown_index`: The key that came reads later messages only.
#' * `before_join`, `before_device`: Sent before you joined, or before this device
#'   was signed in.
#' * `no_backup`, `backup_locked`, `backup_pending`, `backup_malformed`: The same,
#'   and: there is no key backup; its key is not on this device; the key is being
#'   fetched; what the backup holds cannot be used.
#' * `withheld_unverified`, `withheld_blacklisted`, `withheld_unauthorised`,
#'   `withheld_unavailable`, `withheld_history_not_shared`, `withheld_other`: The
#'   sender refused you the key.
#' * `sender_mismatch`: The key belongs to another user than the server names as the
#'   sender.
#' * `wrong_key`: The key does not decrypt it, and did not come from its sender.
#'
#' These stay unreadable:
#'
#' * `replayed`: The message was already received as another event.
#' * `room_mismatch`: It was encrypted for another room.
#' * `bad_message`: It cannot be decrypted.
#' * `malformed_event`, `payload_not_json`: The event, or what was encrypted, is not
#'   what the specification asks for.
#' * `state_event`: State is never encrypted.
#' * `unknown_algorithm`: It is encrypted in an unknown way.
#' * `gap`, `inbox_overflow`: Events are missing here: the server left them out, or
#'   too many waited. [mx_messages()] reads them.
#' * `unsigned_sender`: Its sender did not sign the device; see
#'   [mx_isolation_mode()]. [mx_messages()] reads it with `unsigned = TRUE`.
#' @name mx_events
#' @family receiving
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' mx_send_text(alice, room, "hello")
#' events <- mx_messages(alice, room)
#' str(events[c("type", "body", "trust", "utd_reason")])
NULL

trust_levels <- c(
  "none",
  "blocked",
  "key_changed",
  "unknown_device",
  "identity_changed",
  "unsigned",
  "not_guaranteed",
  "signed",
  "verified"
)

as_trust <- function(levels) {
  structure(
    factor(levels, levels = trust_levels, ordered = TRUE),
    class = c("mx_trust", "ordered", "factor")
  )
}

# The core builds the data frames of events (src/rust/src/events.rs). This one is of none.
no_events <- function() core(events_none())

# Columns of several of them, as a data frame again.
as_events <- function(columns) {
  columns[["trust"]] <- as_trust(trust_levels[as.integer(columns[["trust"]])])
  n <- length(columns[["event_id"]])
  structure(
    columns,
    row.names = .set_row_names(n),
    class = c("mx_events", "data.frame")
  )
}

# The columns that a line of print() is made of.
printed_columns <- c(
  "room_id",
  "origin_server_ts",
  "type",
  "sender",
  "body",
  "encrypted",
  "utd_reason"
)

# Rows of events are events. A part of the columns is a data frame like any other.
#' @export
`[.mx_events` <- function(x, ...) {
  part <- NextMethod()
  if (is.data.frame(part)) without_class_if_cut(part) else part
}

without_class_if_cut <- function(x) {
  if (!all(printed_columns %in% names(x))) {
    class(x) <- "data.frame"
  }
  x
}

#' @export
print.mx_events <- function(x, ..., n = 20L) {
  # Columns can be taken away by other ways than `[`.
  whole <- without_class_if_cut(x)
  if (!inherits(whole, "mx_events")) {
    print(whole, ...)
    return(invisible(x))
  }
  print_lines(format(x, n = n))
  invisible(x)
}

#' @export
format.mx_events <- function(x, ..., n = 20L) {
  whole <- without_class_if_cut(x)
  if (!inherits(whole, "mx_events")) {
    return(format(whole, ...))
  }
  shown <- min(check_number(n), nrow(x))
  lines <- paste0("# ", plural(nrow(x), "event"))
  if (nrow(x) > 0L) {
    lines <- c(
      paste0(lines, ", times in ", time_zone_name()),
      event_lines(x[seq_len(shown), ])
    )
  }
  if (nrow(x) > shown) {
    lines <- c(lines, paste0("# and ", nrow(x) - shown, " more"))
  }
  unreadable <- sum(!is.na(x[["utd_reason"]]))
  if (unreadable > 0L) {
    lines <- c(
      lines,
      paste0(
        "# ",
        unreadable,
        " could not be read: see `utd_reason`, `utd_help`"
      )
    )
  }
  problems <- length(attr(x, "problems"))
  if (problems > 0L) {
    lines <- c(
      lines,
      paste0(
        "# ",
        plural(problems, "part"),
        " of the response could not be read: attr(x, \"problems\")"
      )
    )
  }
  lines
}

# The name of the session's time zone, as a place where there is one: abbreviations
# change with the season. Sys.timezone() starts a program that fails, with noise, in
# containers without systemd.
time_zone_name <- function() {
  name <- sub("^:", "", Sys.getenv("TZ"))
  if (!nzchar(name)) {
    link <- Sys.readlink("/etc/localtime")
    name <- if (grepl("/zoneinfo/", link)) {
      sub("^.*/zoneinfo/", "", link)
    } else {
      ""
    }
  }
  if (nzchar(name)) name else format(Sys.time(), "%Z")
}

#' Convert events to a plain data frame
#'
#' What [mx_sync()], [mx_messages()] and [mx_undecrypted()] return is a data frame
#' already, in which some columns are lists. With `flat = TRUE` every column is a
#' vector, so that [write.csv()] and databases take it.
#'
#' @param x Events.
#' @param row.names,optional,... As for [as.data.frame()].
#' @param flat Whether to make vectors of the columns that are lists. `content`,
#'   `relates_to` and `reactions` become JSON text, `mentions` a JSON array of user ids, and
#'   `thread_latest` the event id of that message. Where there is nothing, and where
#'   an element cannot be written as JSON, is `NA`. Times stay POSIXct in UTC.
#' @return A data frame without the class `mx_events`, and without the attributes
#'   `problems`, `end` and `failed`.
#' @family receiving
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' mx_send_text(alice, room, c("one", "two"))
#' events <- mx_messages(alice, room)
#' file <- tempfile(fileext = ".csv")
#' write.csv(as.data.frame(events, flat = TRUE), file, row.names = FALSE)
#' read.csv(file)[c("type", "body", "content")]
#' @export
as.data.frame.mx_events <- function(
  x,
  row.names = NULL,
  optional = FALSE,
  ...,
  flat = FALSE
) {
  check_flag(flat)
  class(x) <- "data.frame"
  attr(x, "problems") <- NULL
  attr(x, "end") <- NULL
  attr(x, "failed") <- NULL
  if (flat) {
    for (name in names(x)[vapply(x, is.list, NA)]) {
      x[[name]] <- flat_column(x[[name]], name)
    }
  }
  as.data.frame(x, row.names = row.names, optional = optional, ...)
}

# One event with an odd content must not cost the others.
flat_column <- function(column, name) {
  json <- function(value) {
    if (name == "thread_latest") {
      return(value[["event_id"]])
    }
    if (name == "reactions" && length(value) == 0L) {
      return(NULL)
    }
    text <- json_encode(switch(
      name,
      mentions = I(value),
      reactions = as.list(value),
      value
    ))
    if (!inherits(text, "mxcrypt_failure")) text
  }
  vapply(
    column,
    function(value) {
      text <- if (!is.null(value)) json(value)
      if (is.null(text)) NA_character_ else text
    },
    "",
    USE.NAMES = FALSE
  )
}

# One line an event: when, where if there are several rooms, who, whether it was
# encrypted (and could not be read), and what.
event_lines <- function(x) {
  columns <- list(
    time = format(x[["origin_server_ts"]], "%Y-%m-%d %H:%M:%S", tz = ""),
    room = if (length(unique(x[["room_id"]])) > 1L) {
      shorten(x[["room_id"]], 14L)
    },
    sender = shorten(x[["sender"]], 24L),
    " " = ifelse(
      !is.na(x[["utd_reason"]]),
      "!",
      ifelse(x[["encrypted"]], "e", "")
    )
  )
  columns <- Filter(Negate(is.null), columns)
  fixed <- do.call(paste, c(Map(pad, names(columns), columns), sep = "  "))
  width <- max(20L, getOption("width") - nchar(fixed[[1]]) - 2L)
  paste(fixed, c("body", shorten(event_text(x), width)), sep = "  ")
}

pad <- function(title, cells) {
  cells[is.na(cells)] <- ""
  formatC(c(title, cells), width = -max(nchar(c(title, cells))))
}

# What an event says, in a line: its text, the reason why there is none, or its
# type.
event_text <- function(x) {
  text <- x[["body"]]
  is_message <- x[["type"]] == "m.room.message" |
    startsWith(x[["type"]], "mxcrypt.")
  text[is.na(text) | !is_message] <- paste0("<", x[["type"]], ">")[
    is.na(text) | !is_message
  ]
  edited <- x[["edited"]] %in% TRUE
  text[edited] <- paste("(edited)", text[edited])
  unreadable <- !is.na(x[["utd_reason"]])
  text[unreadable] <- paste0("(", x[["utd_reason"]][unreadable], ")")
  text
}

shorten <- function(text, width) {
  text <- printable(text)
  long <- !is.na(text) & nchar(text) > width
  text[long] <- paste0(substr(text[long], 1L, width - 1L), "\u2026")
  text
}

# Events as a data frame.

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

new_events <- function(columns) {
  lists <- c("content", "relates_to", "mentions", "thread_latest")
  events <- data.frame(columns[setdiff(names(columns), lists)])
  for (name in lists) {
    events[[name]] <- columns[[name]]
  }
  events[["thread_latest"]] <- lapply(
    events[["thread_latest"]],
    function(latest) if (!is.null(latest)) new_events(latest)
  )
  milliseconds <- events[["origin_server_ts"]]
  events[["origin_server_ts"]] <- as.POSIXct(
    milliseconds / 1000,
    origin = "1970-01-01",
    tz = "UTC"
  )
  events[["trust"]] <- as_trust(events[["trust"]])
  events[["sender_verified"]] <- events[["trust"]] == "verified"
  events <- events[c(
    "room_id",
    "event_id",
    "type",
    "sender",
    "origin_server_ts",
    "body",
    "msgtype",
    "content",
    "relates_to",
    "encrypted",
    "decrypted",
    "utd_reason",
    "trust",
    "sender_verified",
    "session_id",
    "is_self",
    "mentions",
    "state_key",
    "redacted",
    "utd_message",
    "utd_help",
    "key_source",
    "forwarder",
    "replaces",
    "edited",
    "edit_reason",
    "thread",
    "thread_latest"
  )]
  class(events) <- c("mx_events", "data.frame")
  events
}

#' @export
print.mx_events <- function(x, ..., n = 20L) {
  # A part of the columns is a data frame like any other.
  if (!all(c("room_id", "sender", "body", "encrypted") %in% names(x))) {
    class(x) <- "data.frame"
    print(x, ...)
    return(invisible(x))
  }
  cat(format(x, n = n), sep = "\n")
  invisible(x)
}

#' @export
format.mx_events <- function(x, ..., n = 20L) {
  lines <- paste0("# ", nrow(x), " event", if (nrow(x) != 1L) "s")
  if (nrow(x) > 0L) {
    lines <- c(lines, event_lines(x[seq_len(min(n, nrow(x))), ]))
  }
  if (nrow(x) > n) {
    lines <- c(lines, paste0("# and ", nrow(x) - n, " more"))
  }
  problems <- length(attr(x, "problems"))
  if (problems > 0L) {
    lines <- c(
      lines,
      paste0("# ", problems, " part(s) could not be read: attr(, \"problems\")")
    )
  }
  lines
}

# One line an event: when, where if there are several rooms, who, whether it was
# encrypted (and could not be read), and what.
event_lines <- function(x) {
  columns <- list(
    time = format(x[["origin_server_ts"]], "%Y-%m-%d %H:%M:%S"),
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

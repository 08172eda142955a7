# What a page shows of messages: edits and deletions are applied, and what is left becomes
# HTML in which all text of others is escaped.

# The messages of events, with edits and deletions applied.
conversation <- function(events) {
  edits <- which(!is.na(events[["replaces"]]))
  targets <- match(events[["replaces"]][edits], events[["event_id"]])
  for (i in which(!is.na(targets))) {
    events <- with_edit(events, targets[[i]], edits[[i]])
  }
  is_deleted <- events[["redacted"]] |
    events[["event_id"]] %in% stats::na.omit(events[["redacts"]])
  events[["redacted"]] <- is_deleted
  is_message <- is.na(events[["replaces"]]) &
    events[["type"]] != "m.room.redaction"
  events[is_message, ]
}

with_edit <- function(events, target, edit) {
  content <- events[["content"]][[edit]]
  new <- function(name) string_or_na(json_at(content, "m.new_content", name))
  body <- new("body")
  if (is.na(body) || events[["redacted"]][[edit]]) {
    return(events)
  }
  is_html <- new("format") %in% "org.matrix.custom.html"
  html <- if (is_html) new("formatted_body") else NA_character_
  events[["body"]][[target]] <- body
  events[["formatted_body"]][[target]] <- html
  events[["edited"]][[target]] <- TRUE
  events[["trust"]][[target]] <- min(events[["trust"]][c(target, edit)])
  events
}

# HTML -------------------------------------------------------------------------

message_html <- function(messages, names) {
  if (nrow(messages) == 0L) {
    return(character())
  }
  sender <- messages[["sender"]]
  mark <- trust_marks(messages)
  paste0(
    "<article class=\"mx-message mx-",
    mark[["class"]],
    "\"><p class=\"mx-head\">",
    ifelse(
      nzchar(sender),
      paste0(
        "<bdi class=\"mx-name\">",
        escape_html(ifelse(is.na(names), plain_line(sender), names)),
        "</bdi> <bdi class=\"mx-user\">",
        ifelse(is.na(names), "", escape_html(plain_line(sender))),
        "</bdi> "
      ),
      ""
    ),
    time_html(messages[["origin_server_ts"]]),
    mark[["html"]],
    "</p><div class=\"mx-body\" dir=\"auto\">",
    content_html(messages),
    "</div></article>"
  )
}

# room.js shows the time of the reader's clock.
time_html <- function(time) {
  machine <- format(time, "%Y-%m-%dT%H:%M:%SZ", tz = "UTC")
  people <- format(time, "%Y-%m-%d %H:%M UTC", tz = "UTC")
  html <- paste0("<time datetime=\"", machine, "\">", people, "</time>")
  ifelse(is.na(time), "", html)
}

# What a page says of the trust in a message. Below `signed`, in words that all can see.
trust_sentences <- c(
  none = "Not encrypted.",
  blocked = "Sent from a device that this account has blocked.",
  key_changed = "The server returned another key for the sender's device than before.",
  unknown_device = "Sent from an unknown device.",
  identity_changed = "The sender's identity is another one than before.",
  unsigned = "Sent from a device that its owner has not signed.",
  not_guaranteed = paste(
    "It is not certain who wrote this: its key did not come from the sender."
  ),
  signed = "Sent from a device that its owner has signed.",
  verified = "This account has verified the sender."
)

trust_marks <- function(messages) {
  level <- as.character(messages[["trust"]])
  sentence <- trust_sentences[level]
  # What was not read or is gone has nothing to trust, nor has what this device reports.
  has_none <- is_unreadable(messages) |
    messages[["redacted"]] |
    !nzchar(messages[["sender"]])
  is_good <- level %in% c("signed", "verified")
  good <- paste0(
    " <span class=\"mx-mark\" title=\"",
    escape_html(sentence),
    "\"><span aria-hidden=\"true\">",
    ifelse(level == "verified", "\u2714\u2714", "\u2714"),
    "</span><span class=\"mx-unseen\">",
    escape_html(sentence),
    "</span></span>"
  )
  bad <- paste0(
    " <span class=\"mx-mark\"><span aria-hidden=\"true\">\u26a0</span> ",
    escape_html(sentence),
    "</span>"
  )
  list(
    class = ifelse(has_none, "unmarked", level),
    html = ifelse(has_none, "", ifelse(is_good, good, bad))
  )
}

is_unreadable <- function(messages) !is.na(messages[["utd_reason"]])

# What a message says, bounded: a member can write messages of 64 kB.
content_html <- function(messages) {
  text <- text_html(bounded_text(messages[["body"]]))
  msgtype <- messages[["msgtype"]]
  is_text <- msgtype %in% c("m.text", "m.notice", "m.emote")
  html <- cleaned_html(ifelse(is_text, messages[["formatted_body"]], NA))
  html <- ifelse(is.na(html), text, html)
  html <- ifelse(msgtype %in% "m.emote", paste("*", html), html)
  is_file <- !is.na(messages[["filename"]])
  html[is_file] <- file_html(messages[is_file, ])
  is_edited <- messages[["edited"]] %in% TRUE
  html[is_edited] <- paste(html[is_edited], "<small>(edited)</small>")
  is_empty <- is.na(html)
  html[is_empty] <- paste0(
    "<em>",
    escape_html(plain_line(messages[["type"]][is_empty])),
    "</em>"
  )
  is_bad <- is_unreadable(messages)
  html[is_bad] <- paste0(
    "<em>This cannot be read. ",
    escape_html(messages[["utd_message"]][is_bad]),
    "</em>"
  )
  html[messages[["redacted"]]] <- "<em>Deleted.</em>"
  html
}

most_shown <- 4000L

bounded_text <- function(text) {
  end <- "\u2026\n(The rest of this long message is not shown.)"
  shortened(text, most_shown, end)
}

# Pictures are named like other files: the page downloads nothing.
file_html <- function(messages) {
  kind <- c(
    m.file = "File",
    m.image = "Picture",
    m.video = "Video",
    m.audio = "Sound"
  )
  size <- vapply(
    messages[["size"]],
    function(size) {
      if (is.na(size)) "" else paste0(" (", size_text(size), ")")
    },
    ""
  )
  name <- messages[["filename"]]
  name[is.na(name)] <- "without a name"
  caption <- text_html(bounded_text(messages[["caption"]]))
  paste0(
    "<em>",
    kind[messages[["msgtype"]]],
    ": ",
    escape_html(plain_line(name, 200L)),
    size,
    "</em>",
    ifelse(is.na(caption), "", paste0("<br>", caption))
  )
}

# Cleaned HTML, or NA where the plain text is to be shown: of a message that is long, or
# where xml2 is missing. A page of formatted messages can take seconds, in which the
# app would answer nobody: after a while the rest is left for the next round.
cleaned_html <- function(html) {
  is_fit <- !is.na(html) & nchar(html) <= 2L * most_shown
  if (!any(is_fit) || !requireNamespace("xml2", quietly = TRUE)) {
    return(rep(NA_character_, length(html)))
  }
  known <- the[["cleaned_html"]] %||% character()
  keys <- rep(NA_character_, length(html))
  keys[is_fit] <- vapply(html[is_fit], rlang::hash, "")
  end <- monotonic_time() + 0.1
  for (i in rev(which(is_fit & !keys %in% names(known)))) {
    if (monotonic_time() > end) {
      shiny::invalidateLater(50)
      break
    }
    known[[keys[[i]]]] <- as.character(mx_html(html[[i]]))
  }
  the[["cleaned_html"]] <- last_of(known, 2000L)
  unname(known[keys])
}

# Text of others in a line.
plain_line <- function(text, most = 255L) {
  text <- without_direction(printable(text))
  shortened(trimws(gsub("[[:space:]]+", " ", text)), most, "\u2026")
}

# The view of messages that cannot be read: why, and what helps.

unreadable_view <- function() {
  tags <- shiny::tags
  page_view(
    "unreadable",
    "Unreadable messages",
    tags[["p"]](
      "A message cannot be read if this device does not have its key. The key may ",
      "still come: from its sender, from another device of yours, from the key backup ",
      "or from a file."
    ),
    page_place("unreadable_list"),
    page_form(
      "unreadable_look",
      button = "Look for the keys again",
      busy = "Looking\u2026"
    )
  )
}

unreadable_server <- function(page) {
  client <- page[["client"]]
  events <- followed(page, 2000, function() unreadable_events(client))
  page_output(page, "unreadable_list", function() {
    unreadable_html(events(), known_rooms(client))
  })
  on_form(page, "unreadable_look", function(fields) {
    before <- nrow(mx_undecrypted(client))
    # Brings what was sent to this device, asks other devices, and searches the backup.
    sync_once(client, timeout = 0)
    pump_or_warn(client)
    looked_sentence(before, nrow(mx_undecrypted(client)))
  })
}

unreadable_events <- function(client) {
  events <- mx_undecrypted(client)
  data.frame(unclass(events)[c("room_id", "utd_reason", "utd_message")])
}

looked_sentence <- function(before, after) {
  if (after == 0L && before == 0L) {
    "Nothing is unreadable."
  } else if (after < before) {
    paste(
      plural(before - after, "message"),
      "can be read now,",
      format_count(after),
      "still cannot."
    )
  } else {
    "No key has come yet. Keep your other devices open: they may give it."
  }
}

# A row for each room and reason. `rooms` are titles by ids.
unreadable_html <- function(events, rooms) {
  tags <- shiny::tags
  if (nrow(events) == 0L) {
    return(tags[["p"]](
      class = "mx-summary",
      page_mark("good", "Nothing is unreadable.")
    ))
  }
  key <- paste(events[["room_id"]], events[["utd_reason"]])
  first <- !duplicated(key)
  counts <- tabulate(match(key, key[first]))
  rows <- events[first, ]
  ids <- rows[["room_id"]]
  titles <- unname(rooms[ids])
  titles[is.na(titles)] <- plain_line(ids[is.na(titles)], 100L)
  reasons <- rows[["utd_reason"]]
  page_card(
    paste(plural(nrow(events), "message"), "cannot be read"),
    page_table(
      "Messages that cannot be read, by room and reason",
      list(
        Room = lapply(titles, function(title) tags[["bdi"]](title)),
        Messages = format_counts(counts),
        Why = plain_line(rows[["utd_message"]]),
        "What helps" = lapply(reasons, remedy_html)
      )
    )
  )
}

format_counts <- function(counts) {
  vapply(counts, format_count, "")
}

# The sentence, and the view that does it.
remedy_html <- function(reason) {
  remedy <- remedies[[reason]] %||% list("Ask the sender to say it again.")
  shiny::tagList(
    remedy[[1]],
    lapply(remedy[-1], function(view) {
      shiny::tagList(" ", view_link(view, remedy_links[[view]]))
    })
  )
}

remedy_links <- c(
  backup = "Restore from key backup.",
  verify = "Verify this device with another one.",
  recovery = "Verify this device with the recovery key.",
  keys = "Import a key file.",
  people = "See who is verified."
)

# What this page can do against a reason; ?mx_undecrypted has them all.
remedies <- list(
  unknown_session = list(
    "The key may still come: look for it again below, with your other devices open.",
    "backup",
    "keys"
  ),
  unknown_index = list(
    "The key that came opens later messages only. A better one may come.",
    "backup",
    "keys"
  ),
  before_join = list(
    "Keys of what was said before you joined are not given. Ask a member to say it again."
  ),
  before_device = list(
    "The key backup or another device of yours may have the key.",
    "backup",
    "verify",
    "keys"
  ),
  no_backup = list(
    "There is no key backup. Another device of yours may have the key.",
    "verify",
    "keys"
  ),
  backup_locked = list(
    "The key backup needs your recovery key or passphrase.",
    "backup",
    "recovery"
  ),
  backup_pending = list(
    "It is being looked for in the key backup: look again in a moment."
  ),
  backup_malformed = list(
    "The key in the backup cannot be used. Another device of yours may have it.",
    "verify",
    "keys"
  ),
  withheld_unverified = list(
    "Others give this device keys once it is verified.",
    "recovery",
    "verify"
  ),
  withheld_blacklisted = list("Ask the sender to unblock this device."),
  sender_mismatch = list(
    "Do not trust it: the server, or somebody on the way, has changed something."
  ),
  wrong_key = list(
    "The key that came is not that of the sender. The right one may still come.",
    "backup",
    "keys"
  )
)

# How often events were reacted to, by what of the history was read.
#
# Specification: client-server API, "Event annotations and reactions". Counts of a server
# are not used: it could state any.

# For each event: how many users reacted with each key, the most frequent first.
reaction_counts <- function(events) {
  counts <- rep(list(integer()), nrow(events))
  reactions <- valid_reactions(events)
  # A user who reacts twice in the same way counts once.
  reactions <- unique(reactions[!is.na(reactions[["row"]]), ])
  by_event <- split(reactions[["key"]], reactions[["row"]])
  counts[as.integer(names(by_event))] <- lapply(by_event, count_keys)
  counts
}

# Who reacted to the event in which row, and how. Only an event of type m.reaction is a
# reaction, whatever others relate to.
valid_reactions <- function(events) {
  text <- function(name) {
    vapply(
      events[["relates_to"]],
      function(relation) string_or_na(json_at(relation, name)),
      ""
    )
  }
  key <- text("key")
  is_valid <- events[["type"]] %in%
    "m.reaction" &
    is.na(events[["state_key"]]) &
    !events[["redacted"]] &
    text("rel_type") %in% "m.annotation" &
    !is.na(key) &
    nzchar(key)
  row <- match_events(events, related_ids(events))
  columns <- data.frame(row = row, sender = events[["sender"]], key = key)
  columns[is_valid, ]
}

count_keys <- function(keys) {
  found <- unique(keys)
  counts <- tabulate(match(keys, found), length(found))
  names(counts) <- found
  counts[order(-counts)]
}

# Which events belong to threads.
#
# Specification: client-server API, "Threading". An event that relates to a message of
# a thread in another way, as an edit or a reaction, belongs to the thread as well.

check_threads <- function(threads, call = caller_env()) {
  is_flag <- is.logical(threads) && length(threads) == 1L && !is.na(threads)
  if (is.null(threads) || is_flag) {
    return(threads)
  }
  is_ids <- is.character(threads) && length(threads) > 0L && !anyNA(threads)
  if (!is_ids) {
    argument_abort("threads", "TRUE, FALSE, event ids, or NULL", call)
  }
  checked_text(threads, "threads", call)
}

is_in_threads <- function(events, threads) {
  if (is.null(threads)) {
    return(rep(TRUE, nrow(events)))
  }
  target <- related_ids(events)
  own <- events[["thread"]]
  thread <- ifelse(is.na(own), own[match_events(events, target)], own)
  if (isFALSE(threads)) {
    return(is.na(thread))
  }
  begins <- !vapply(events[["thread_latest"]], is.null, NA)
  roots <- if (isTRUE(threads)) {
    c(stats::na.omit(thread), events[["event_id"]][begins])
  } else {
    threads
  }
  thread %in% roots | events[["event_id"]] %in% roots | target %in% roots
}

# The event that each event relates to.
related_ids <- function(events) {
  vapply(
    events[["relates_to"]],
    function(relation) string_or_na(json_at(relation, "event_id")),
    ""
  )
}

# The row of the event with each id, in the room of the event that names it. Servers
# other than the room's own could give an event of another room the same id.
match_events <- function(events, ids) {
  in_room <- function(ids) paste(events[["room_id"]], ids)
  match(in_room(ids), in_room(events[["event_id"]]))
}

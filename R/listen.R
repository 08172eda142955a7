#' @rdname mx_sync
#' @param handler A function of an event (a list with the columns of
#'   `mx_sync()`) and the client. If it fails, listening ends with its error, and
#'   the event comes again the next time.
#' @param types The types of events to hand over, or `NULL` for all.
#' @param own Whether to hand over events of your own user.
#' @param seconds How long to listen; `0` hands over what is there.
#' @param consumer A name for this listener. Each has its own place in the
#'   stream of events, and goes on from there.
#' @return `mx_listen()`: the number of events handed over, invisibly.
#' @export
mx_listen <- function(
  client,
  handler,
  types = NULL,
  own = FALSE,
  seconds = Inf,
  timeout = 30000,
  consumer = "mx_listen"
) {
  check_client(client)
  check_function(handler)
  check_flag(own)
  check_number(seconds)
  check_number(timeout)
  check_string(consumer)
  if (!is.null(types)) {
    check_strings(types)
  }
  wanted <- function(event) {
    (own || !event[["is_self"]]) &&
      (is.null(types) || event[["type"]] %in% types)
  }
  end <- Sys.time() + seconds
  handed <- 0
  repeat {
    left <- max(0, as.numeric(difftime(end, Sys.time(), units = "secs")))
    sync_once(client, min(timeout, left * 1000))
    pump_or_warn(client)
    handed <- handed + hand_over(client, handler, wanted, consumer)
    if (Sys.time() >= end) {
      return(invisible(handed))
    }
  }
}

# Gives each event to the handler; it is dealt with when the handler returned.
hand_over <- function(client, handler, wanted, consumer) {
  machine <- machine_of(client)
  handed <- 0
  repeat {
    columns <- core(machine_take(machine, consumer, 100))
    numbers <- columns[["number"]]
    if (length(numbers) == 0L) {
      return(handed)
    }
    events <- new_events(columns)
    for (i in seq_along(numbers)) {
      event <- event_at(events, i)
      if (wanted(event)) {
        handler(event, client)
        handed <- handed + 1
      }
      core(machine_acknowledge(machine, consumer, numbers[[i]]))
    }
  }
}

event_at <- function(events, i) {
  row <- lapply(unclass(events), function(column) column[[i]])
  attributes(row) <- list(names = names(events))
  row
}

#' @rdname mx_sync
#' @param handler A function of an event (a list with the columns of
#'   `mx_sync()`) and the client. If it fails, listening ends with its error, and
#'   the event comes again the next time.
#' @param types The types of events to hand over, or `NULL` for all.
#' @param own Whether to hand over events of your own user.
#' @param seconds How long to listen; `0` hands over what is there. While there is
#'   time left, a server that does not answer is a warning of class
#'   `mx_warning_network`, and is asked again.
#' @param consumer A name for this listener. Each has its own place in the
#'   stream of events, and goes on from there.
#' @param on_verification A function of a [verification][mx_verification_request()], or
#'   `NULL` to leave them alone. It is asked whether to agree to one that somebody asks
#'   for (its `state` is `requested`), whether what is to be compared is the same on both
#'   sides (`compare`, with `emoji` and `decimals`), and whether it was the other side that
#'   scanned a QR code which was shown here (`scanned`): `TRUE`, `FALSE`, or `NULL` for
#'   later. One that fails is a warning of class
#'   `mx_warning_verification`.
#' @return `mx_listen()`: the number of events handed over, invisibly.
#' @export
mx_listen <- function(
  client,
  handler,
  types = NULL,
  own = FALSE,
  seconds = Inf,
  timeout = 30000,
  consumer = "mx_listen",
  unsigned = FALSE,
  on_verification = NULL
) {
  check_client(client)
  check_function(handler)
  check_flag(own)
  check_number(seconds)
  check_number(timeout)
  check_string(consumer)
  check_flag(unsigned)
  if (!is.null(types)) {
    check_strings(types)
  }
  if (!is.null(on_verification)) {
    check_function(on_verification)
  }
  wanted <- function(event) {
    (own || !event[["is_self"]]) &&
      (is.null(types) || event[["type"]] %in% types)
  }
  end <- Sys.time() + seconds
  handed <- 0
  repeat {
    left <- max(0, as.numeric(difftime(end, Sys.time(), units = "secs")))
    sync_patiently(client, min(timeout, left * 1000), end)
    pump_or_warn(client)
    handed <- handed + hand_over(client, handler, wanted, consumer, unsigned)
    if (!is.null(on_verification)) {
      decide_verifications(client, on_verification)
    }
    if (Sys.time() >= end) {
      return(invisible(handed))
    }
  }
}

# A server that is away for a while does not end a listener that has time left.
sync_patiently <- function(client, timeout, end) {
  pause <- 1
  repeat {
    trouble <- tryCatch(
      {
        sync_once(client, timeout)
        return(invisible())
      },
      mx_error_network = identity,
      mx_error_http = identity
    )
    if (!is_passing(trouble) || Sys.time() + pause >= end) {
      raise(trouble)
    }
    mx_warn(
      c("Listening goes on.", x = conditionMessage(trouble)),
      "mx_warning_network"
    )
    Sys.sleep(pause)
    pause <- min(2 * pause, 60)
  }
}

is_passing <- function(trouble) {
  is_no_answer(trouble) || isTRUE(trouble[["status"]] %in% c(429L, 500:599))
}

# Gives each event to the handler; it is dealt with when the handler returned.
hand_over <- function(client, handler, wanted, consumer, unsigned) {
  machine <- machine_of(client)
  handed <- 0
  repeat {
    columns <- core(machine_take(machine, consumer, 100, unsigned))
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

#' Dead man's switch: a message if you do not report back
#'
#' `mx_heartbeat()` gives the server a message to send later. The server sends it when
#' the time is over, unless it hears from you before: `mx_heartbeat_restart()` starts the
#' time again, `mx_heartbeat_stop()` cancels the message. So people learn that a pipeline, a
#' cron job or a machine died (a dead man's switch).
#'
#' A heartbeat belongs to the store, not to the process. One process starts it, another
#' finds it by its `name` and stops it: `mx_heartbeat_stop(client, name = "nightly")`.
#' Starting one of the same name replaces the old message. The old one is restarted first,
#' the new one is given to the server, and then the old one is cancelled. So there is an
#' alarm at every moment. If R is killed in between, the next call of any process on this
#' store cancels the old one; only if none ever comes, both are sent.
#'
#' `mx_heartbeat_restart()` returns once an alarm is set, or fails. If the message was
#' sent already, or the server lost it, it starts the heartbeat again and warns.
#'
#' @section Time:
#' The time counts from when the server takes the message, or the restart; a server may
#' be up to 30 seconds late. The message is given to the server while the call lasts, and
#' not later: if the server is not reached, the call fails and no message waits
#' in the outbox. Then no alarm is set, except where a response was lost: the error says
#' so, [mx_heartbeats()] shows the state `unknown`, and the next call of any function that
#' makes requests asks the server what it has. A restart has the same length of time, also
#' where `after` was a point in time. Signing out stops no heartbeat.
#'
#' @section Encryption:
#' In an encrypted room the message is encrypted when the heartbeat starts, for the devices
#' that are there then. A device that signs in later, or a member who joins later, cannot
#' read it, and a restart does not change that: start a heartbeat again by its name
#' now and then if it runs for long. The room may use newer keys meanwhile; who
#' could read the message can still read it.
#'
#' @section What the server can do:
#' The server can send the message earlier, later or never, and it sees when you restart
#' or stop. It cannot change an encrypted message. It checks when it sends whether you
#' may write in the room: if you left, nothing is sent. `sent` in [mx_heartbeats()] means
#' that the message came back with a sync.
#'
#' @section Servers:
#' The server must have delayed events
#' ([MSC4140](https://github.com/matrix-org/matrix-spec-proposals/pull/4140)). Synapse has
#' them once its `homeserver.yaml` has a line such as `max_event_delay_duration: 7d`, which is
#' also the longest time. Synapse keeps at most 100 for each user.
#'
#' @inheritParams mx_room
#' @param text The message: one text.
#' @param after When it is sent: a number of seconds, a `difftime`, or a point in time
#'   (`POSIXct`).
#' @param name A name to find it again, or `NULL`.
#' @param markdown,mentions As in [mx_send_text()].
#' @param beat A heartbeat, or a client: then `name` says which.
#' @return `mx_heartbeat()` and `mx_heartbeat_restart()`: an object of class `mx_heartbeat`
#'   with `name`, `room_id`, `text`, `state`, `after` (seconds), `since` and `due`
#'   (`POSIXct`), `event_id` and `sent_at`; that of the restart invisibly. Printing it shows
#'   the current state.
#'
#'   `mx_heartbeat_stop()`: `TRUE`, invisibly, or `FALSE` where the message had been sent
#'   before.
#'
#'   `mx_heartbeats()`: a list of them, named by `name`. The `state` is one of
#'   * `armed`: the server sends the message when the time is over,
#'   * `due`: the time is over, and no sync has brought the message yet,
#'   * `sent`: it was sent,
#'   * `gone`: the server does not have it any more, and has not shown it,
#'   * `refused`: the server did not take it,
#'   * `unknown`: a response was lost, and the server may have it,
#'   * `starting`: another call is giving it to the server.
#'
#'   Those that are over stay until they are stopped or started again; up to 100 are kept.
#' @section Errors:
#' `mx_error_unsupported` when the server has no delayed events, or not for so long;
#' `max_after` is the longest time in seconds, or `NA`. `mx_error_heartbeat` when there is
#' no such heartbeat, or the server sent the message at once. `mx_error_refused` when the
#' server refuses the message. `mx_error_network` and `mx_error_http` as in [mx_send()].
#' A warning of class `mx_warning_heartbeat` says that the message had been sent.
#' @family sending
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, name = "Pipeline")
#'
#' # In the evening:
#' beat <- mx_heartbeat(alice, room, "No report by 07:00", 8 * 3600, name = "nightly")
#' beat
#' mx_heartbeat_restart(beat)
#'
#' # In the morning, in another process:
#' names(mx_heartbeats(alice))
#' mx_heartbeat_stop(alice, name = "nightly")
#' @export
mx_heartbeat <- function(
  client,
  room,
  text,
  after,
  name = NULL,
  markdown = FALSE,
  mentions = character()
) {
  check_client(client)
  text <- check_string(text)
  delay <- check_delay(after)
  name <- check_heartbeat_name(name)
  check_flag(markdown)
  check_user_ids(mentions)
  content <- text_content(text, "m.text", markdown, mentions, NULL)
  content <- as_json_text(content)
  check_sizes(client, room, "m.room.message", content, text = text)
  room_id <- resolve_room(client, room)
  stable <- delayed_events_form(client, delay)
  if (!is.null(name)) {
    keep_waiting(client, name)
  }
  start_heartbeat(client, NULL, name, room_id, content, delay, stable)
}

#' @rdname mx_heartbeat
#' @export
mx_heartbeat_restart <- function(beat, name = NULL) {
  found <- heartbeat_of(beat, name)
  client <- found[["client"]]
  id <- found[["id"]]
  row <- current_heartbeat(client, id)
  if (row[["state"]] == "unknown") {
    pump(client, kinds = "list_delayed")
    row <- current_heartbeat(client, id) %||% row
  }
  if (!restart_message(client, row[["number"]])) {
    start_again(client, row)
  } else {
    cancel_old_messages(client)
  }
  invisible(new_heartbeat(client, current_heartbeat(client, id)))
}

#' @rdname mx_heartbeat
#' @export
mx_heartbeat_stop <- function(beat, name = NULL) {
  found <- heartbeat_of(beat, name)
  client <- found[["client"]]
  id <- found[["id"]]
  machine <- machine_of(client)
  was_sent <- sent_row(client, id)
  core(machine_heartbeat_stop(machine, id))
  call <- environment()
  tryCatch(
    pump(
      client,
      until = function() !any(states_of(client, id) == "armed"),
      kinds = c("list_delayed", "cancel_delayed"),
      call = call
    ),
    mx_error = function(condition) {
      line <- "The next call that reaches the server stops it, unless the message was sent before."
      raise(saying_more(condition, line))
    }
  )
  if (any(states_of(client, id) == "unknown")) {
    mx_abort(
      c(
        "It is not known whether the server has the message.",
        x = "Another process may still be giving it to the server.",
        i = "Stop the heartbeat again in a few minutes."
      ),
      "mx_error_heartbeat"
    )
  }
  if (any(states_of(client, id) == "gone")) {
    see_what_was_sent(client)
    was_sent <- was_sent %||% sent_row(client, id)
  }
  core(machine_heartbeat_stop(machine, id))
  if (!is.null(was_sent)) {
    warn_heartbeat(was_sent, "The heartbeat was stopped too late.")
  }
  invisible(is.null(was_sent))
}

#' @rdname mx_heartbeat
#' @export
mx_heartbeats <- function(client) {
  check_client(client)
  rows <- heartbeat_rows(client)
  ids <- unique(vapply(rows, function(row) row[["id"]], ""))
  beats <- lapply(ids, function(id) {
    new_heartbeat(client, current_heartbeat(client, id, rows))
  })
  names(beats) <- vapply(
    beats,
    function(beat) string_or_empty(beat[["name"]]),
    ""
  )
  beats
}

# Milliseconds until a message is sent.
check_delay <- function(after, call = caller_env()) {
  wanted <- "seconds, a difftime or a point in time (POSIXct)"
  if (length(after) != 1L) {
    argument_abort("after", paste("one number of", wanted), call)
  }
  seconds <- if (inherits(after, "POSIXct")) {
    as.numeric(after) - as.numeric(Sys.time())
  } else if (inherits(after, "difftime")) {
    as.numeric(after, units = "secs")
  } else if (is.numeric(after) && !is.object(after)) {
    as.numeric(after)
  } else {
    argument_abort("after", wanted, call)
  }
  if (is.na(seconds) || seconds <= 0) {
    argument_abort("after", "in the future", call, format(after))
  }
  if (seconds > longest_delay) {
    argument_abort("after", "less than 10 years", call, format(after))
  }
  max(1, round(seconds * 1000))
}

longest_delay <- 10 * 366 * 24 * 60 * 60

check_heartbeat_name <- function(name, null = TRUE, call = caller_env()) {
  name <- check_string(name, "name", null = null, call = call)
  if (!is.null(name) && nchar(name, "bytes") > 255L) {
    argument_abort("name", "shorter than 256 bytes", call)
  }
  name
}

#' Receive
#'
#' `mx_sync()` asks the server what is new and returns it, decrypted.
#' `mx_listen()` does so for as long as it should, and gives each event to a
#' function.
#'
#' Nothing is lost when R is killed: keys, decrypted events and the place in the
#' server's stream are saved together. What `mx_sync()` returned counts as dealt
#' with at its next call; an event counts as dealt with by a listener when the
#' handler has returned.
#'
#' That the trust in a user or a device changed is an event too, of type
#' `mxcrypt.user_trust` or `mxcrypt.device_trust`: it belongs to no room and has no
#' sender; its `state_key` is the user, its `body` a sentence, and its `content`
#' what holds now. A login of your own that is new is one of them.
#'
#' An event that cannot be read yet comes with a `utd_reason`. It is kept, and
#' comes again, with the same event id, as soon as its key has come; verified
#' devices of your own are asked for it. [mx_undecrypted()] lists what waits.
#'
#' @inheritParams mx_client_session
#' @param timeout How long the server may wait for something new, in
#'   milliseconds.
#' @param limit The most events to return; the rest comes with the next call.
#' @param unsigned Whether to hand over what devices say that their owner did not
#'   sign. In the isolation mode `"signed"`, the default (see
#'   [mx_isolation_mode()]), such a row has the `utd_reason` `unsigned_sender`
#'   otherwise, and [mx_messages()] can read it later.
#' @return `mx_sync()`: a data frame of class `mx_events`, with a row for each
#'   event of the timelines of your rooms, and for each invitation:
#'   `room_id`, `event_id`, `type`, `sender`, `origin_server_ts` (POSIXct, what
#'   the sender's server says), `body`, `msgtype`, `content` (a list),
#'   `relates_to` (a list), `encrypted`, `decrypted`, `utd_reason` (why it cannot
#'   be read, `NA` if it can), `trust` (an ordered factor), `sender_verified`,
#'   `session_id`, `is_self` (from your own user), `mentions` (a list of user
#'   ids), `state_key`, `redacted`, `utd_message` (the reason as a sentence),
#'   `utd_help` (what would help), `key_source` (how the key came: `direct`, from
#'   its maker, `own`; or `forwarded`, `imported` or from the `backup`, when the trust
#'   is `not_guaranteed` at most), `forwarder` (the device of yours that handed it
#'   on), `replaces` (the
#'   event that this one edits, if it counts: see [mx_edit()]), `edited` (only of
#'   [mx_messages()]), `edit_reason` (why an edit does not count), `thread` (the
#'   event that its thread begins with) and `thread_latest` (a list, only of
#'   [mx_messages()]). Text of others is not cleaned: it may hold anything but
#'   NUL, which is shown as U+FFFD. The attribute `problems` holds what of the
#'   answer could not be read.
#' @section Errors:
#' `mx_error_network`, `mx_error_http`, `mx_error_answer` (no sync at all; nothing
#' has changed). What could not be done after the answer was saved, such as
#' asking for devices, is a warning of class `mx_warning_pump`, and is done by
#' the next call. One of class `mx_warning_own_identity` comes on each call while the
#' server shows another identity of yours than this device knows.
#' @references Client-server API, "Syncing":
#'   <https://spec.matrix.org/v1.19/client-server-api/#syncing>
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' bob <- mx_demo_client(homeserver, "bob")
#' room <- mx_room_create(alice, invite = bob$user_id)
#'
#' mx_sync(bob)[c("type", "sender", "room_id")]
#' mx_room_join(bob, room)
#' mx_send_text(alice, room, c("one", "two"))
#' events <- mx_sync(bob)
#' events[events$type == "m.room.message", c("sender", "body", "trust")]
#'
#' mx_send_text(alice, room, "three")
#' mx_listen(
#'   bob,
#'   function(event, client) cat(event$sender, "says", event$body, "\n"),
#'   types = "m.room.message",
#'   seconds = 0
#' )
#' @export
mx_sync <- function(client, timeout = 0, limit = 1000, unsigned = FALSE) {
  check_client(client)
  check_number(timeout)
  check_number(limit, least = 1)
  check_flag(unsigned)
  report <- sync_once(client, timeout)
  pump_or_warn(client)
  take_events(client, "mx_sync", limit, unsigned, report[["problems"]])
}

# Asks for what is new and has it taken in, whole or not at all. If another
# process was faster, its answer stands, and this one is thrown away.
sync_once <- function(client, timeout, call = caller_env()) {
  machine <- machine_of(client, call = call)
  since <- core(machine_sync_token(machine), call = call)
  path <- api_path(
    "sync",
    query = list(since = since, timeout = timeout, filter = sync_filter)
  )
  answer <- http_perform(client, "GET", path, timeout = timeout, call = call)
  if (answer[["status"]] != 200L) {
    http_abort(answer, call = call)
  }
  report <- machine_receive_sync(machine, since, answer[["body"]])
  report <- core(report, call = call)
  report[["first_run"]] <- is.null(since)
  report
}

# Members are fetched when a message needs them, not all of them for a start.
sync_filter <- paste0(
  "{\"room\":{\"state\":{\"lazy_load_members\":true},",
  "\"timeline\":{\"limit\":50}}}"
)

# What was received is saved already: trouble with what comes after it must not
# keep it from the user.
pump_or_warn <- function(client) {
  on.exit(warn_own_identity(client))
  tryCatch(pump(client), mx_error = function(condition) {
    mx_warn(
      c(
        "Something is left to do for the next call.",
        x = conditionMessage(condition)
      ),
      "mx_warning_pump",
      cause = condition
    )
  })
}

take_events <- function(client, consumer, limit, unsigned, problems) {
  machine <- machine_of(client)
  columns <- core(machine_take(machine, consumer, limit, unsigned))
  events <- new_events(columns)
  attr(events, "problems") <- problems
  if (nrow(events) > 0L) {
    last <- max(columns[["number"]])
    core(machine_handed(machine, consumer, last))
  }
  events
}

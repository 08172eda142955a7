#' Sync and receive events
#'
#' `mx_sync()` receives new events from the server and returns them, decrypted.
#' `mx_listen()` keeps receiving, and gives each event to a function.
#'
#' Nothing is lost when R is killed: keys, decrypted events and the position in the
#' server's stream are saved together. Events that `mx_sync()` returned count as
#' processed at the next call with the same `consumer`. An event counts as processed by
#' a listener when the handler has returned, or when it was set aside after several
#' failures.
#'
#' Each consumer has its own position in the stream of events. Two viewers of one store,
#' such as two Shiny apps, both see all events if each has a name of its own:
#' `mx_sync(client, consumer = "dashboard")`. A new name begins with the oldest event
#' that is kept. Events are kept until every name that was ever used has processed
#' them, at most the last 100,000: do not make up a name for each run.
#'
#' Of several processes with one store, one waits at the server at a time. The others wait for
#' it, and get what it received at once.
#'
#' A change of trust in a user or a device is an event too, of type
#' `mxcrypt.user_trust` or `mxcrypt.device_trust`: it belongs to no room and has no
#' sender; its `state_key` is the user, its `body` a sentence, and its `content`
#' the current trust. A new login of your own is such an event. An event of type
#' `mxcrypt.send_failed` reports that a message from the outbox was refused; see
#' [mx_outbox()]. If another user sends an event of a type that begins with `mxcrypt.`,
#' its type here begins with `remote.mxcrypt.`.
#'
#' An event that cannot be decrypted yet has a `utd_reason`. It is kept, and delivered
#' again, with the same event id, as soon as its key has come; the key is requested from
#' verified devices of your own. [mx_undecrypted()] lists these events.
#'
#' @inheritParams mx_client_session
#' @param timeout How long the server may wait for something new, in
#'   milliseconds.
#' @param limit The most events to return; the rest comes with the next call.
#' @param unsigned Whether to return the content of events of devices that their owner
#'   did not sign. In the isolation mode `"signed"`, the default (see
#'   [mx_isolation_mode()]), such a row has the `utd_reason` `unsigned_sender`
#'   otherwise, and [mx_messages()] can read it later.
#' @return `mx_sync()`: a data frame of class `mx_events`, with a row for each
#'   event of the timelines of your rooms, and for each invitation. [mx_events]
#'   has its columns.
#' @section Errors:
#' `mx_error_network`, `mx_error_http`, `mx_error_answer` (no sync at all; nothing
#' has changed). If a request fails after the response was saved, such as a query for
#' devices, that is a warning of class `mx_warning_pump`, once an hour for each
#' kind of request. Later calls try again, after longer and longer pauses. The warning has
#' the `kind`s of the requests, and `status` and `errcode` of the first. A warning of class
#' `mx_warning_own_identity` comes on each call while the server returns another
#' identity of yours than this device knows.
#'
#' `mx_error_listening` when another process listens as the same `consumer` with this
#' store. Processes that call `mx_sync()` with one store and the same `consumer` share what
#' it returns.
#' @references Client-server API, "Syncing":
#'   <https://spec.matrix.org/v1.19/client-server-api/#syncing>
#' @family receiving
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
mx_sync <- function(
  client,
  timeout = 0,
  limit = 1000,
  unsigned = FALSE,
  consumer = "mx_sync"
) {
  check_client(client)
  timeout <- check_timeout(timeout)
  check_number(limit, least = 1)
  check_flag(unsigned)
  check_string(consumer)
  machine <- machine_of(client)
  news <- is_due(machine, consumer, unsigned)
  synced <- sync_once(client, timeout, has_news = news, machine = machine)
  and_then(synced, function(report) {
    pumped <- pump_or_warn(client, flush = TRUE, machine = machine)
    and_then(pumped, function(pumped) {
      take_events(machine, consumer, limit, unsigned, report[["problems"]])
    })
  })
}

# Syncs once, and has the response processed as a whole or not at all. If another
# process was faster, its response counts, and this one is discarded. Of the processes that
# would wait for news at the server, one does: the others wait for it (see sync_turn()).
#
# `has_news` says whether there is something to deliver already, which another process or
# another call has received: the server would keep the caller waiting for something else.
sync_once <- function(
  client,
  timeout,
  call = caller_env(),
  has_news = function() FALSE,
  machine = machine_of(client, call = call)
) {
  # Before the token is read: a sync of another process that comes between counts.
  seen <- core(machine_last_sync(machine), call = call)
  since <- core(machine_sync_token(machine), call = call)
  # After the token is read: what comes later is new for the server.
  if (timeout > 0 && has_news()) {
    timeout <- 0
  }
  turn <- sync_turn(client, machine, seen, timeout, call)
  and_then(turn, function(turn) {
    if (turn[["whose"]] == "came") {
      return(overtaken_sync(since))
    }
    lease <- turn[["lease"]]
    with_cleanup(
      ask_for_news(client, machine, since, turn[["timeout"]], call),
      function() {
        if (!is.null(lease)) {
          core(machine_release_sync(machine, lease), call = call)
        }
      }
    )
  })
}

# Waits until nobody else asks the server for news. Says whether that is over because they
# `came`, by the sync of another process; otherwise it is `ours` to ask, and the server may
# wait for as long as is left of `timeout`, in milliseconds. When nothing is, the server is asked
# what there is: what has the lease may hang, or have been killed.
sync_turn <- function(client, machine, seen, timeout, call) {
  end <- monotonic_time() + timeout / 1000
  # Only a call that R does not wait for can wait for one in this process.
  beside <- is.null(client[["driver"]])
  repeat_steps(function() {
    if (timeout <= 0 || time_left() <= 0) {
      return(list(whose = "ours", timeout = 0))
    }
    turn <- core(
      machine_lease_sync(machine, seen, ceiling(timeout), beside),
      call = call
    )
    turn[["timeout"]] <- timeout
    if (turn[["whose"]] != "theirs") {
      return(turn)
    }
    waited <- wait_for_commit(client, machine, min(timeout / 1000, 0.2))
    and_then(waited, function(waited) {
      timeout <<- floor(max(0, end - monotonic_time()) * 1000)
      again
    })
  })
}

# Waits for another process, in parts so short that R stays responsive.
wait_for_commit <- function(client, machine, seconds) {
  at_work <- Filter(is_at_work, the[["engines"]])
  if (is.null(client[["driver"]]) && length(at_work) == 0L) {
    core(machine_wait_for_commit(machine, ceiling(seconds * 1000)))
  } else {
    pause_for(client, min(seconds, 0.1))
  }
}

# What is said of a sync that another process has made.
overtaken_sync <- function(since) {
  list(
    stale = TRUE,
    first = 1,
    last = 0,
    problems = character(),
    first_run = is.null(since)
  )
}

ask_for_news <- function(client, machine, since, timeout, call) {
  path <- paste0(
    sync_path,
    "&timeout=",
    query_text(timeout),
    if (!is.null(since)) paste0("&since=", encode_segment(since))
  )
  answer <- http_perform(client, "GET", path, timeout = timeout, call = call)
  and_then(answer, function(answer) {
    if (answer[["status"]] != 200L) {
      http_abort(answer, call = call)
    }
    report <- machine_receive_sync(machine, since, answer[["body"]])
    report <- core(report, call = call)
    report[["first_run"]] <- is.null(since)
    report
  })
}

# Whether there is an event behind `seen`, the last one when a listener looked for events.
has_come <- function(client, seen) {
  function() last_event(client) > seen
}

last_event <- function(client) {
  core(machine_last_event(machine_of(client)))
}

# Whether `consumer` has something to be given. It is not given it by this.
is_due <- function(machine, consumer, unsigned) {
  function() {
    due <- core(machine_take(machine, consumer, 1, unsigned))
    length(due[["numbers"]]) > 0L
  }
}

# Members are fetched when a message needs them, not all of them for a start.
sync_filter <- paste0(
  "{\"room\":{\"state\":{\"lazy_load_members\":true},",
  "\"timeline\":{\"limit\":50}}}"
)

sync_path <- api_path("sync", query = list(filter = sync_filter))

# What was received is saved already: a failure of what comes after it must not
# keep it from the user.
pump_or_warn <- function(client, ..., machine = machine_of(client)) {
  force(machine)
  pumped <- with_cleanup(
    on_failure(pump(client, ..., machine = machine), function(condition) {
      mx_warn(
        c(
          "Something is left to do for the next call.",
          x = conditionMessage(condition)
        ),
        "mx_warning_pump",
        cause = condition
      )
    }),
    function() warn_own_identity(core(machine_identity_status(machine)))
  )
  invisible(pumped)
}

take_events <- function(machine, consumer, limit, unsigned, problems) {
  taken <- core(machine_take(machine, consumer, limit, unsigned))
  numbers <- taken[["numbers"]]
  events <- taken[["events"]] %||% no_events()
  attr(events, "problems") <- problems
  if (length(numbers) > 0L) {
    core(machine_handed(machine, consumer, max(numbers)))
  }
  events
}

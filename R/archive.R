#' Keep an archive of rooms
#'
#' `mx_archive()` keeps the events of rooms that this device can read in the store, sealed
#' like everything there: the history back to the beginning, read
#' page by page, and from then on the events of each sync. No room is
#' archived unless you name it. `mx_archive_forget()` deletes the archive again.
#'
#' Call it again to continue, for example every night: it reads the missing parts of
#' the history, looks again for keys of events that could not be decrypted (in the key
#' backup, for example), and returns the current state. It can be interrupted at any time.
#'
#' @inheritParams mx_client_session
#' @param rooms Rooms: ids, aliases or exact names. `mx_archive()` archives them from
#'   now on; `NULL` are those that are archived already. For `mx_archive_forget()`,
#'   `NULL` are all.
#' @param retention How many days events are kept, by the time at which they were
#'   sent; `Inf` for ever. `NULL` leaves it as it is; for ever, at first. Each sync
#'   deletes older events.
#' @param media Whether files of messages are kept too: `TRUE` for those of up to
#'   100 MB, `FALSE` for none, or the largest size in bytes. `NULL` leaves it as it is;
#'   `FALSE`, at first.
#' @details
#' Each event is kept once. The first version that could be read stays, whatever the
#' server returns later under its id; only a redaction deletes its content, together
#' with its edits. Events that cannot be decrypted are kept encrypted, with the
#' reason, and are decrypted as soon as their key comes.
#'
#' If a sync left out events that the server did not return afterwards, the next call
#' reads the history of that room once more. After you left a room and came
#' back, events from in between are read if the server returns them.
#'
#' Files are fetched by `mx_archive()`, not by a sync, the oldest first, and kept
#' encrypted in a directory beside the store. [mx_media_download()] takes them from
#' there for the events of [mx_archive_read()], also when the server has deleted them.
#' A file that fails does not stop the others. The next call tries again; a file that the
#' server does not have is tried three times. Thumbnails are not kept, nor are files
#' that an edit puts in the place of another. With `media = FALSE`, files that are kept
#' stay as long as their events.
#'
#' What `mx_archive_forget()` deletes is overwritten in the store, and deleted from
#' SQLite's log unless another process is reading. What a redaction or the retention
#' deletes stays in the log until that is written again. An export, a backup of the disk
#' or a snapshot of the file system that was made before still has it. The keys of files
#' are deleted with their events, and the files themselves by the next `mx_archive()`.
#'
#' With a longer `retention`, the history is read again.
#'
#' @return `mx_archive()`: a data frame with a row for each of the rooms: `room_id`,
#'   `events` (how many are kept), `unread` (how many of them wait for a key),
#'   `complete` (whether the history was read back to its beginning, or as far as the
#'   server shows it), `retention` (in days), `files` (how many files of messages are
#'   kept), `files_missing` (how many are not: they are too large, are gone, could not be
#'   fetched yet, or `media` is `FALSE`), and `reason` (why its history could not
#'   be read now, otherwise `NA`). `mx_archive_forget()`: how many events were
#'   deleted, invisibly.
#' @section Errors:
#' `mx_error_room` (there is no such room), `mx_error_archive` (no room is archived),
#' and those of [mx_sync()]. One room that cannot be read does not stop the others:
#' its `reason` is why, with a warning of class `mx_warning_archive`.
#' @references Client-server API, "`GET /rooms/{roomId}/messages`":
#'   <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages>
#' @family receiving
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' mx_send_text(alice, room, c("The disk is full.", "Solved."))
#'
#' mx_archive(alice, room, retention = 365)
#' mx_archive_read(alice, since = Sys.Date(), types = "m.room.message")
#' mx_search(alice, "disk")
#'
#' file <- file.path(tempdir(), "cars.csv")
#' write.csv(cars, file)
#' mx_send_file(alice, room, file)
#' mx_archive(alice, media = TRUE)$files
#' mx_archive_forget(alice, room)
#' @export
mx_archive <- function(
  client,
  rooms = NULL,
  retention = NULL,
  media = NULL
) {
  machine <- machine_of(check_client(client))
  retention <- check_retention(retention)
  media <- check_media(media)
  if (is.null(rooms)) {
    room_ids <- archived_rooms(client, NULL)
  } else {
    check_rooms(rooms, "rooms")
    room_ids <- resolve_rooms(client, rooms)
  }
  # First, so that nothing falls between the history and what is new.
  for (room_id in room_ids) {
    core(machine_archive(machine, room_id, retention, media))
  }
  sync_once(client, timeout = 0)
  reasons <- vapply(room_ids, archive_or_say_why, "", client = client)
  pump_or_warn(client, kinds = "keys_query")
  for (room_id in room_ids) {
    keep_files(client, room_id)
  }
  sweep_archive(client, machine)
  warn_not_archived(reasons)
  status <- archive_status(machine)
  status <- status[match(room_ids, status[["room_id"]]), , drop = FALSE]
  status[["reason"]] <- unname(reasons)
  rownames(status) <- NULL
  status
}

#' @rdname mx_archive
#' @param before Only what was sent before: a time, a date, or text such as
#'   `"2026-11-28"`. `NULL` deletes all of it, and the rooms are archived no longer.
#' @export
mx_archive_forget <- function(client, rooms = NULL, before = NULL) {
  machine <- machine_of(check_client(client))
  before <- check_time(before)
  forgotten <- 0
  for (room_id in archived_rooms(client, rooms)) {
    milliseconds <- if (!is.null(before)) floor(before * 1000)
    deleted <- core(machine_forget_archive(machine, room_id, milliseconds))
    forgotten <- forgotten + deleted
  }
  sweep_archive(client, machine)
  invisible(forgotten)
}

# Milliseconds; NA for ever, NULL as it was.
check_retention <- function(retention, call = caller_env()) {
  if (is.null(retention)) {
    return(NULL)
  }
  check_number(retention, call = call)
  # Beyond any time that there is.
  if (retention > 1e5) NA_real_ else round(retention * 24 * 60 * 60 * 1000)
}

archive_status <- function(machine, call = caller_env()) {
  rooms <- data.frame(core(machine_archived_rooms(machine), call = call))
  days <- rooms[["retention"]] / (24 * 60 * 60 * 1000)
  rooms[["retention"]] <- ifelse(is.na(days), Inf, days)
  columns <- c("room_id", "events", "unread", "complete", "retention")
  rooms[c(columns, "files", "files_missing")]
}

# The ids of the archived rooms among `rooms`, or all of them; there is one at least.
archived_rooms <- function(client, rooms, call = caller_env()) {
  machine <- machine_of(client, call = call)
  known <- core(machine_archived_ids(machine), call = call)
  if (is.null(rooms)) {
    wanted <- known
  } else {
    check_rooms(rooms, "rooms", call)
    wanted <- vapply(rooms, archived_room_id, "", client, known, call)
  }
  if (length(known) == 0L || !all(wanted %in% known)) {
    missing <- printable(setdiff(wanted, known))
    mx_abort(
      c(
        if (length(missing) == 0L) {
          "No room is archived yet."
        } else {
          paste0(missing[[1]], " is not archived.")
        },
        i = "Archive rooms with mx_archive(client, rooms)."
      ),
      "mx_error_archive",
      call = call
    )
  }
  unique(unname(wanted))
}

# Archived rooms have their names also after they were left, and without a network.
archived_room_id <- function(room, client, known, call) {
  room <- room_of_link(room, call)
  # A room can bear the id of another as its name.
  if (substr(room, 1L, 1L) %in% c("!", "#")) {
    return(resolve_room(client, room, call))
  }
  rooms <- data.frame(core(machine_rooms(machine_of(client)), call = call))
  is_it <- rooms[["room_id"]] %in% known & rooms[["name"]] %in% room
  if (sum(is_it) == 1L) {
    return(rooms[["room_id"]][is_it])
  }
  resolve_room(client, room, call)
}

# Reads the history of a room as far as it is not there, or says why it cannot be read.
archive_or_say_why <- function(room_id, client) {
  tryCatch(
    archive_history(client, room_id),
    mx_error = function(condition) {
      if (inherits(condition, login_errors)) {
        raise(condition)
      }
      conditionMessage(condition)
    }
  )
}

archive_history <- function(client, room_id) {
  machine <- machine_of(client)
  if (core(machine_search_archived_keys(machine, room_id)) > 0) {
    pump_or_warn(client)
  }
  show <- history_progress()
  is_one_too_many <- page_guard()
  malformed <- 0
  repeat {
    room <- core(machine_archived_room(machine, room_id))
    # Another process may have forgotten it.
    if (is.null(room) || room[["complete"]]) {
      return(malformed_reason(malformed))
    }
    page <- archive_page(client, machine, room_id, room[["next"]])
    show(page)
    if (is_one_too_many(page)) {
      return("The server answers with the same pages, or with empty ones.")
    }
    malformed <- malformed + page[["malformed"]]
  }
}

# Has the page that begins at `from` kept.
archive_page <- function(client, machine, room_id, from) {
  call <- caller_env()
  page <- history_page(client, room_id, 500, from, call)
  body <- page[["body"]]
  core(machine_track_senders(machine, body), call = call)
  kept <- machine_archive_page(machine, room_id, from, body)
  kept <- core(kept, call = call)
  if (isTRUE(kept[["unread"]] > 0)) {
    # Their keys are looked for before there are too many to be remembered.
    pump_or_warn(client)
  }
  c(page, malformed = kept[["malformed"]] %||% 0)
}

# A function that returns whether a page is one too many: it was requested before, or it
# is one of many empty ones. Reading may start again where another process found that
# events are missing.
page_guard <- function() {
  asked <- character()
  restarts <- 0
  empty <- 0
  function(page) {
    from <- string_or_empty(page[["from"]])
    if (from == "" && length(asked) > 0L && restarts < 3) {
      asked <<- character()
      restarts <<- restarts + 1
    }
    is_known <- from %in% asked
    asked <<- c(asked, from)
    empty <<- if (page[["n"]] == 0) empty + 1 else 0
    is_known || empty > 20
  }
}

malformed_reason <- function(malformed) {
  if (malformed == 0) {
    return(NA_character_)
  }
  paste(
    plural(malformed, "event"),
    "of the server could not be kept: what it returned is no event."
  )
}

warn_not_archived <- function(reasons, call = caller_env()) {
  failed <- reasons[!is.na(reasons)]
  if (length(failed) == 0L) {
    return(invisible())
  }
  lines <- paste0(printable(names(failed)), ": ", printable(failed))
  mx_warn(
    c(
      paste(
        "The history of",
        plural(length(failed), "room"),
        "could not be read whole."
      ),
      stats::setNames(
        utils::head(lines, 5L),
        rep("x", min(5L, length(failed)))
      ),
      i = "Call mx_archive() again: it goes on where it ended."
    ),
    "mx_warning_archive",
    call = call
  )
}

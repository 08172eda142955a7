#' Read and export the archive
#'
#' `mx_archive_read()` returns what [mx_archive()] keeps as a data frame.
#' `mx_archive_export()` writes it to a file, part by part, so that memory does not
#' grow with it. Neither makes a request, unless a room is named by an alias.
#'
#' @inheritParams mx_archive
#' @param rooms Rooms: ids, aliases or exact names. `NULL` are all that are archived.
#' @param since,until,types As for [mx_messages()]. Only this part of the store is read.
#' @param unsigned,edits As for [mx_messages()].
#' @param path The file.
#' @param format `"csv"`; `"jsonl"`, a JSON object on each line; or `"parquet"`, for
#'   which the package nanoparquet is needed, or arrow. By default the extension of the
#'   file decides.
#' @param overwrite Whether to replace an existing file.
#' @details
#' Rooms come one after the other, in the order of `rooms`, each with its oldest event
#' first. An event keeps the time that the server first reported. Events without a time
#' come first, and are left out if `since` is given.
#'
#' Trust is determined now: if a device was deleted from the server, nothing is known of it
#' any more.
#'
#' An export is not encrypted; only you can open the file (mode 0600). It is written to a
#' hidden file beside it, and renamed when it is complete. If R is killed, the hidden file
#' stays until the next export to the same name. In `"csv"`, text of others may begin with
#' `=`, which a spreadsheet takes for a formula.
#'
#' Its columns are those of [mx_events] in the form of
#' [as.data.frame(flat = TRUE)][as.data.frame.mx_events], with times in UTC.
#' In `"jsonl"`, `content` is JSON, and what is `NA` is left out.
#'
#' @return `mx_archive_read()`: a data frame as from [mx_messages()].
#'   `mx_archive_export()`: the path, invisibly.
#' @section Errors:
#' `mx_error_archive` (a room is not archived), `mx_error_room`, `mx_error_file` (the
#' file cannot be written), `mx_error_package`.
#' @family receiving
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' mx_send_text(alice, room, c("one", "two"))
#' mx_archive(alice, room)
#'
#' events <- mx_archive_read(alice, types = "m.room.message")
#' events[c("sender", "body", "trust")]
#'
#' file <- mx_archive_export(alice, tempfile(fileext = ".csv"))
#' table(read.csv(file)$type)
#' @export
mx_archive_read <- function(
  client,
  rooms = NULL,
  since = NULL,
  until = NULL,
  types = NULL,
  unsigned = FALSE,
  edits = TRUE
) {
  wanted <- archive_range(client, rooms, since, until, types, unsigned, edits)
  parts <- list()
  walk_archive(client, wanted, function(events) {
    parts[[length(parts) + 1L]] <<- events
  })
  as_events(bind_columns(parts))
}

# What is wanted of the archive, as checked arguments.
archive_range <- function(
  client,
  rooms,
  since,
  until,
  types = NULL,
  unsigned = FALSE,
  edits = TRUE,
  call = caller_env()
) {
  check_client(client, call = call)
  since <- check_time(since, name = "since", call = call)
  until <- check_time(until, end_of_day = TRUE, name = "until", call = call)
  if (!is.null(types)) {
    check_strings(types, "types", call)
  }
  list(
    room_ids = archived_rooms(client, rooms, call),
    since = if (!is.null(since)) ceiling(since * 1000),
    until = if (!is.null(until)) ceiling(until * 1000),
    types = types,
    unsigned = check_flag(unsigned, "unsigned", call),
    edits = check_flag(edits, "edits", call)
  )
}

# Calls `take` with the events of each part. There is one part at least,
# which may be empty.
walk_archive <- function(client, wanted, take, call = caller_env()) {
  machine <- machine_of(client, call = call)
  for (room_id in wanted[["room_ids"]]) {
    part <- list()
    repeat {
      part <- machine_archived_part(
        machine,
        room_id,
        archive_part(wanted, part, archive_part_size),
        wanted[["unsigned"]],
        wanted[["edits"]]
      )
      part <- core(part, call = call)
      events <- part[["events"]]
      kept <- is_wanted(events, NULL, NULL, wanted[["types"]])
      take(as_events(lapply(events, `[`, kept)))
      if (is.null(part[["after_time"]])) {
        break
      }
    }
  }
}

# What the core is asked for: the part after `part`.
archive_part <- function(wanted, part, size) {
  numbers <- list(
    wanted[["since"]],
    wanted[["until"]],
    part[["after_time"]],
    part[["after_number"]],
    size
  )
  vapply(numbers, function(number) as.numeric(number %||% NA), 0)
}

# Events that are read at once.
archive_part_size <- 5000

#' Get keys from the key backup
#'
#' Keys that an event waits for come from the backup by themselves, with
#' [mx_sync()] and [mx_messages()]. `mx_backup_restore()` gets all of them, those of
#' a room, or that of one session: before the server is left, or to export them.
#'
#' A server can put keys of its own into the backup. What they read is
#' `not_guaranteed` at most (see `trust` in [mx_sync()]). A key that is here is never
#' replaced by one that reads less.
#'
#' @inheritParams mx_room
#' @param room The room; `NULL` for all. A room id may be one that this device has
#'   left.
#' @param session_id The session; `NULL` for all of the room.
#' @return A data frame with a row for each key in the backup: `room_id`,
#'   `session_id`, `restored` (logical) and `reason` (why not; `NA` if it was).
#'   Invisibly.
#' @section Errors:
#' `mx_error_key_backup` (there is no backup, or its key is not on this device: run
#' [mx_crypto_setup()] with the recovery key), `mx_error_answer` (the server's answer
#' is none), `mx_error_network`, `mx_error_http`.
#' @references Client-server API, "Server-side key backups":
#'   <https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups>
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' mx_send_text(alice, room, "hello")
#' mx_backup_upload(alice)
#'
#' bot <- mx_demo_client(homeserver, "alice")
#' keys <- mx_backup_restore(bot)
#' keys[c("room_id", "restored")]
#' @export
mx_backup_restore <- function(client, room = NULL, session_id = NULL) {
  machine <- machine_of(check_client(client))
  check_string(session_id, null = TRUE)
  if (is.null(room) && !is.null(session_id)) {
    argument_abort("room", "given together with `session_id`", caller_env())
  }
  room_id <- if (!is.null(room)) resolve_room(client, room)
  status <- backup_now(client, machine)
  if (!status[["key_held"]]) {
    mx_abort(
      c(
        if (is.null(status[["version"]])) {
          "There is no key backup."
        } else {
          "The key of the key backup is not on this device."
        },
        i = "Run mx_crypto_setup() with the recovery key."
      ),
      "mx_error_key_backup"
    )
  }
  keys <- restore_keys(client, machine, status, room_id, session_id)
  pump_or_warn(client)
  invisible(keys)
}

# Keys of the backup whose `status` this is.
restore_keys <- function(
  client,
  machine,
  status,
  room_id,
  session_id = NULL,
  call = caller_env()
) {
  query <- list(version = status[["version"]])
  path <- api_path("room_keys", "keys", room_id, session_id, query = query)
  # An answer may be as large as the history of an account: it goes to a file.
  file <- tempfile("keys")
  on.exit(unlink(file))
  answer <- http_perform(client, "GET", path, file = file, call = call)
  if (answer[["status"]] != 200L) {
    http_abort(answer, call = call)
  }
  restore_from(machine, file, room_id, session_id, call)
}

# Each part is committed by itself: an interrupt loses nothing, and a second call
# finds what is there.
restore_from <- function(
  machine,
  file,
  room_id,
  session_id,
  call
) {
  parts <- tempfile("keys")
  on.exit(unlink(parts))
  total <- key_backup_parts(file, room_id, session_id, parts)
  bar <- cli::cli_progress_bar(
    "Restoring keys",
    total = core(total, call = call),
    format = backup_bar
  )
  lines <- file(parts, "r", encoding = "UTF-8")
  on.exit(close(lines), add = TRUE, after = FALSE)
  none <- list(
    room_id = character(),
    session_id = character(),
    reason = character()
  )
  rows <- list(none)
  while (length(line <- readLines(lines, 1L, encoding = "UTF-8")) > 0L) {
    taken <- core(machine_restore_keys(machine, line), call = call)
    count <- length(taken[["session_id"]])
    taken[["room_id"]] <- rep(taken[["room_id"]], count)
    rows <- c(rows, list(taken))
    cli::cli_progress_update(inc = count, id = bar)
  }
  cli::cli_progress_done(id = bar)
  keys <- bind_columns(rows)
  data.frame(
    keys[c("room_id", "session_id")],
    restored = is.na(keys[["reason"]]),
    reason = keys[["reason"]]
  )
}

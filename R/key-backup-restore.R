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
  query <- list(version = status[["version"]])
  path <- api_path("room_keys", "keys", room_id, session_id, query = query)
  answer <- http_perform(client, "GET", path)
  if (answer[["status"]] != 200L) {
    http_abort(answer)
  }
  parts <- if (is.null(room_id)) {
    core(key_backup_parts(answer[["body"]]))
  } else {
    list(room_id = room_id, keys = 1, body = list(answer[["body"]]))
  }
  rm(answer)
  keys <- restore_parts(machine, parts, session_id)
  pump_or_warn(client)
  invisible(keys)
}

# Each part is committed by itself: an interrupt loses nothing, and a second call
# finds what is there.
restore_parts <- function(machine, parts, session_id, call = caller_env()) {
  bar <- cli::cli_progress_bar(
    "Restoring keys",
    total = sum(parts[["keys"]]),
    format = backup_bar
  )
  keys <- lapply(seq_along(parts[["room_id"]]), function(i) {
    room_id <- parts[["room_id"]][[i]]
    body <- parts[["body"]][[i]]
    taken <- core(
      machine_restore_keys(machine, room_id, session_id, body),
      call = call
    )
    cli::cli_progress_update(inc = parts[["keys"]][[i]], id = bar)
    data.frame(
      room_id = rep(room_id, length(taken[["session_id"]])),
      session_id = taken[["session_id"]],
      restored = is.na(taken[["reason"]]),
      reason = taken[["reason"]]
    )
  })
  cli::cli_progress_done(id = bar)
  none <- data.frame(
    room_id = character(),
    session_id = character(),
    restored = logical(),
    reason = character()
  )
  do.call(rbind, c(list(none), keys))
}

#' Restore room keys from key backup
#'
#' Downloads all keys of the backup, those of a room, or that of one session: before you
#' leave the server, or to export them. Keys that an event waits for are downloaded
#' automatically by [mx_sync()] and [mx_messages()].
#' If the key of the backup is not on this device, it is read from secret
#' storage, or `passphrase` or `recovery_key` is that of the backup itself: backups
#' from before secret storage have one. If secret storage holds
#' the key of an older version of the backup, the keys of that version are restored.
#'
#' A server can put keys of its own into the backup. The trust of what they decrypt is
#' `not_guaranteed` at most (see `trust` in [mx_sync()]). A key on this device is never
#' replaced by one that decrypts fewer messages.
#'
#' @inheritParams mx_room
#' @inheritParams mx_backup_enable
#' @param room The room; `NULL` for all. A room id may be one that this device has
#'   left.
#' @param session_id The session; `NULL` for all of the room.
#' @return A data frame with a row for each key in the backup: `room_id`,
#'   `session_id`, `restored` (logical) and `reason` (why not; `NA` if it was).
#'   Invisibly.
#' @section Errors:
#' `mx_error_key_backup` (there is no backup, its key was not found, or the
#' server does not return the backup), `mx_error_recovery_key` (mistyped, or of
#' another account), `mx_error_answer` (the response is invalid), `mx_error_network`,
#' `mx_error_http`.
#' @references Client-server API, "Server-side key backups":
#'   <https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups>
#' @family key backup
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
mx_backup_restore <- function(
  client,
  room = NULL,
  session_id = NULL,
  recovery_key = NULL,
  passphrase = NULL
) {
  machine <- machine_of(check_client(client))
  given <- check_given(recovery_key, passphrase)
  check_string(session_id, null = TRUE)
  if (is.null(room) && !is.null(session_id)) {
    argument_abort("room", "given together with `session_id`", caller_env())
  }
  room_id <- if (!is.null(room)) resolve_room(client, room)
  restore <- restore_parts(client, machine, given, room_id, session_id)
  keys <- do_parts(restore, "Restoring keys", backup_bar)
  pump_or_warn(client)
  invisible(keys)
}

restore_parts <- function(
  client,
  machine,
  given,
  room_id = NULL,
  session_id = NULL,
  call = caller_env()
) {
  force(call)
  status <- working_backup(client, machine, call)
  begin <- if (status[["key_held"]]) begin_restore else begin_restore_with
  begin(
    client,
    machine,
    status,
    room_id,
    session_id,
    given = given,
    call = call
  )
}

# Where the key of the backup is not here: it is taken, or else that of an older
# version.
begin_restore_with <- function(
  client,
  machine,
  status,
  room_id,
  session_id,
  given,
  call = caller_env()
) {
  given <- secret_at_hand(client, given, call)
  if (is.null(status[["version"]]) || is.null(given)) {
    mx_abort(
      if (is.null(status[["version"]])) {
        "There is no key backup."
      } else {
        c(
          "The key of the key backup is not on this device.",
          i = "Give the recovery key or the passphrase.",
          bullets(unread_backup_help(status))
        )
      },
      "mx_error_key_backup",
      call = call
    )
  }
  storage <- secret_storage(client, call)
  joined <- tryCatch(
    join_backup(client, machine, storage, given, call),
    mx_error_key_backup = identity
  )
  if (is.null(joined)) {
    if (is.null(storage[["default_key"]])) {
      offer_secret_storage()
    }
    return(begin_restore(
      client,
      machine,
      status,
      room_id,
      session_id,
      call = call
    ))
  }
  keys <- restore_older(client, machine, call)
  if (nrow(keys) == 0L) {
    raise(joined)
  }
  keys <- keys[is.null(room_id) | keys[["room_id"]] %in% room_id, ]
  keys <- keys[is.null(session_id) | keys[["session_id"]] %in% session_id, ]
  # They are all here by now.
  new_parts(function() NULL, function() keys)
}

offer_secret_storage <- function() {
  cli::cli_alert_info(paste(
    "Only you know what opens this key backup. mx_crypto_setup() keeps its key in",
    "secret storage, where one recovery key opens all; for an identity without it",
    "see mx_recovery_key_change()."
  ))
}

# Keys of older versions of the backup that a key which is here opens, each version
# once. The server may fail: nothing waits for them.
restore_older <- function(client, machine, call = caller_env()) {
  rows <- list(no_keys)
  for (version in core(machine_older_backups(machine), call = call)) {
    keys <- tryCatch(
      restore_version(client, machine, version, call),
      mx_error_http = function(condition) NULL,
      mx_error_network = function(condition) NULL,
      mx_error_answer = function(condition) NULL
    )
    rows <- c(rows, list(keys))
  }
  do.call(rbind, rows)
}

restore_version <- function(client, machine, version, call) {
  path <- api_path("room_keys", "version", version)
  answer <- http_perform(client, "GET", path, call = call)
  if (answer[["status"]] != 200L) {
    return(NULL)
  }
  record <- answer[["body"]]
  if (!core(machine_opens_backup(machine, record), call = call)) {
    return(NULL)
  }
  status <- list(version = version)
  keys <- restore_keys(
    client,
    machine,
    status,
    NULL,
    older = record,
    call = call
  )
  core(machine_older_backup_restored(machine, version), call = call)
  keys
}

no_keys <- data.frame(
  room_id = character(),
  session_id = character(),
  restored = logical(),
  reason = character()
)

# Keys of the backup whose `status` this is; of an `older` version, what the server
# returned of it.
restore_keys <- function(
  client,
  machine,
  status,
  room_id,
  older = NULL,
  call = caller_env()
) {
  restore <- begin_restore(
    client,
    machine,
    status,
    room_id,
    older = older,
    call = call
  )
  do_parts(restore, "Restoring keys", backup_bar)
}

begin_restore <- function(
  client,
  machine,
  status,
  room_id,
  session_id = NULL,
  older = NULL,
  given = NULL,
  call = caller_env()
) {
  query <- list(version = status[["version"]])
  path <- api_path("room_keys", "keys", room_id, session_id, query = query)
  # A response may be as large as the history of an account: it goes to a file.
  file <- tempfile("keys")
  on.exit(unlink(file))
  answer <- http_perform(client, "GET", path, file = file, call = call)
  if (answer[["status"]] != 200L) {
    http_abort(answer, call = call)
  }
  restore_from(machine, file, room_id, session_id, older, call)
}

# Each part is committed by itself: an interrupt loses nothing, and a second call
# finds what is there.
restore_from <- function(
  machine,
  file,
  room_id,
  session_id,
  older,
  call
) {
  parts <- tempfile("keys")
  is_begun <- FALSE
  on.exit(if (!is_begun) unlink(parts))
  total <- key_backup_parts(file, room_id, session_id, parts)
  total <- core(total, call = call)
  lines <- file(parts, "r", encoding = "UTF-8")
  is_begun <- TRUE
  none <- list(
    room_id = character(),
    session_id = character(),
    reason = character()
  )
  rows <- list(none)
  done <- 0
  new_parts(
    function() {
      line <- readLines(lines, 1L, encoding = "UTF-8")
      if (length(line) == 0L) {
        return(NULL)
      }
      taken <- core(machine_restore_keys(machine, line, older), call = call)
      count <- length(taken[["session_id"]])
      taken[["room_id"]] <- rep(taken[["room_id"]], count)
      rows <<- c(rows, list(taken))
      done <<- done + count
      done
    },
    function() {
      keys <- bind_columns(rows)
      data.frame(
        keys[c("room_id", "session_id")],
        restored = is.na(keys[["reason"]]),
        reason = keys[["reason"]]
      )
    },
    function() {
      close(lines)
      unlink(parts)
    },
    total = total
  )
}

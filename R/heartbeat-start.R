# Giving the message of a heartbeat to the server, and having it wait again.

# How long a message may wait until it is given to the server, in milliseconds. After
# that no process sends it any more.
start_within <- 60 * 1000

# The message of a name must not be sent while its successor is prepared. One that the
# server does not have any more is none.
keep_waiting <- function(client, name, call = caller_env()) {
  for (row in heartbeat_rows(client)) {
    is_current <- identical(row[["name"]], name) && !row[["cancel"]]
    if (is_current && row[["state"]] == "armed") {
      restart_message(client, row[["number"]], call)
    }
  }
}

start_heartbeat <- function(
  client,
  id,
  name,
  room_id,
  content,
  delay,
  stable,
  call = caller_env()
) {
  machine <- machine_of(client, call = call)
  number <- machine_heartbeat_start(
    machine,
    id,
    name,
    room_id,
    content,
    delay,
    stable,
    start_within
  )
  number <- core(number, call = call)
  # Also after an interrupt: what waits no more must not be sent later.
  on.exit(machine_heartbeat_abandon(machine, number))
  tryCatch(
    pump(
      client,
      until = function() !identical(state_of(client, number), "starting"),
      room_id = room_id,
      call = call
    ),
    mx_error = function(condition) {
      core(machine_heartbeat_abandon(machine, number), call = call)
      raise_not_started(client, number, condition, call)
    }
  )
  row <- heartbeat_row(client, number)
  if (!identical(row[["state"]], "armed")) {
    abort_not_armed(client, machine, row, call)
  }
  settled <- core(machine_settle(machine, room_id, numeric()), call = call)
  warn_own_identity(settled[["identity"]])
  warn_upgraded(client, room_id, settled[["successor"]])
  warn_unsigned_device(client, settled)
  left_out <- list(core(machine_left_out(machine, room_id), call = call))
  place <- paste(client[["store_dir"]], room_id)
  report_left_out(left_out, "unreached", place, warn_unreached)
  report_left_out(left_out, "withheld", place, warn_withheld)
  cancel_old_messages(client)
  new_heartbeat(client, row)
}

raise_not_started <- function(client, number, condition, call) {
  if (inherits(condition, "mx_error_M_UNRECOGNIZED")) {
    abort_without_delays(call)
  }
  line <- if (is.null(heartbeat_row(client, number))) {
    "No alarm was set, and nothing waits to be sent."
  } else {
    paste(
      "Whether the alarm is set is not known: the server may have the message.",
      "Start it again, or mx_heartbeat_stop() it."
    )
  }
  raise(saying_more(condition, line))
}

# The server took a message in another way than it was asked to, or not at all.
abort_not_armed <- function(client, machine, row, call) {
  state <- row[["state"]] %||% "stopped"
  if (state == "sent") {
    core(machine_heartbeat_stop(machine, row[["id"]]), call = call)
    mx_abort(
      c(
        "The server sent the message at once.",
        x = "It reports support for delayed events, and does not delay them.",
        i = "Redact it with mx_redact(), and report this to the server's administrator."
      ),
      "mx_error_heartbeat",
      event_id = row[["event_id"]],
      call = call
    )
  }
  if (state == "stopped") {
    mx_abort(
      "Another process stopped the heartbeat while it was started.",
      "mx_error_heartbeat",
      call = call
    )
  }
  code <- error_code(row[["errcode"]])
  if (state == "refused") {
    forget_refused(client, machine, row, call)
    if (code %in% too_long_codes) {
      abort_too_long(NA_real_, call)
    }
  }
  mx_abort(
    c(
      "No alarm was set: the message was refused.",
      x = paste0(code, ": ", printable(string_or_empty(row[["error"]]))),
      i = refusal_help(code)
    ),
    c(paste0("mx_error_", code), "mx_error_refused"),
    errcode = code,
    devices = refused_devices(client, row[["room_id"]], code),
    call = call
  )
}

# Where another message of the heartbeat is still there, that one goes on.
forget_refused <- function(client, machine, row, call) {
  if (length(states_of(client, row[["id"]])) == 1L) {
    core(machine_heartbeat_stop(machine, row[["id"]]), call = call)
  }
}

# Whether the server waits again. FALSE if it does not have the message.
restart_message <- function(client, number, call = caller_env()) {
  machine <- machine_of(client, call = call)
  path <- core(machine_heartbeat_restart_path(machine, number), call = call)
  if (is.null(path)) {
    return(FALSE)
  }
  answer <- http_perform(client, "POST", path, "{}", call = call)
  code <- errcode_of(json_body(answer))
  is_gone <- answer[["status"]] == 409L &&
    !is.null(code) ||
    answer[["status"]] == 404L && identical(code, "M_NOT_FOUND")
  if (answer[["status"]] >= 400L && !is_gone) {
    http_abort(answer, call = call)
  }
  if (!is_gone && !is_json_object(answer)) {
    answer_abort("The response to the restart", answer, call)
  }
  core(machine_heartbeat_restarted(machine, number, !is_gone), call = call)
  !is_gone
}

start_again <- function(client, row, call = caller_env()) {
  if (row[["state"]] %in% c("armed", "gone")) {
    see_what_was_sent(client)
    row <- heartbeat_row(client, row[["number"]]) %||% row
  }
  delay <- row[["delay"]]
  stable <- delayed_events_form(client, delay, call)
  start_heartbeat(
    client,
    row[["id"]],
    if (!is.na(row[["name"]])) row[["name"]],
    row[["room_id"]],
    row[["content"]],
    delay,
    stable,
    call = call
  )
  warn_heartbeat(row, "The heartbeat was started again.")
}

# A message that the server has sent comes with a sync.
see_what_was_sent <- function(client) {
  tryCatch(sync_once(client, timeout = 0), mx_error = function(condition) NULL)
}

# Old messages are cancelled by any call that makes requests. A failure is no concern of
# the caller: the message that counts is there.
cancel_old_messages <- function(client) {
  is_old <- function(row) row[["cancel"]] || row[["state"]] == "unknown"
  if (any(vapply(heartbeat_rows(client), is_old, NA))) {
    pump_or_warn(client)
  }
}

warn_heartbeat <- function(row, consequence) {
  is_sent <- row[["state"]] == "sent"
  mx_warn(
    c(
      consequence,
      x = if (is_sent) {
        paste0(
          "The server had sent its message at ",
          time_text(row[["sent_at"]]),
          "."
        )
      } else {
        "The server did not have its message any more: it was sent, cancelled or lost."
      }
    ),
    "mx_warning_heartbeat",
    event_id = row[["event_id"]]
  )
}

# The pump: performs the requests of the machine until none is left.
#
# The machine decides which requests are made, in which order, when one that failed is
# made again, and what a response means. This file only carries them to the server and
# back.

# A caller may wait for something: with `until` until that is true, also while
# another process is at work on the same store, for at most `wait` seconds without
# progress; for the messages of `room_id`, the devices of `users`, all requests of
# `kinds`, and what is in the outbox after the number `queued_after`. Those are tried
# at once, and their failure is raised; where another process makes one of `users` or
# `kinds` already, its response is waited for. Anything else that fails is no concern of
# the caller: it is a warning at most. With `flush`, what messages of any room wait
# for is tried at once too. With `settle`, it also waits while another is at work, for at
# most so many seconds, and fails at nothing. `progress` is called after each round of requests.
# `machine` is that of the client, where the caller has it already.
pump <- function(
  client,
  until = NULL,
  room_id = NULL,
  users = character(),
  kinds = character(),
  queued_after = Inf,
  flush = FALSE,
  wait = 60,
  settle = -Inf,
  progress = function() NULL,
  call = caller_env(),
  machine = machine_of(client, call = call)
) {
  force(machine)
  tried <- c(kinds, if (flush) "messages")
  since <- NULL
  next_requests <- function() {
    due <- machine_requests(machine, room_id, users, tried, since)
    due <- core(due, call = call)
    # While this call has only waited, what failed meanwhile failed in another process.
    if (length(due[["requests"]]) > 0L) {
      since <<- due[["since"]]
    }
    due
  }
  is_done <- function() is.null(until) || until()
  pumped <- pump_rounds(
    client,
    machine,
    next_requests,
    is_done,
    wait,
    progress,
    call,
    settle
  )
  waits <- length(c(users, kinds)) > 0L || queued_after < Inf
  pumped <- and_then(pumped, function(pumped) {
    failed <- pumped[["failed"]]
    if (!pumped[["done"]] && (pumped[["under_way"]] || !is_done())) {
      raise(why_not_done(failed, pumped[["held_up"]], room_id, call))
    }
    ended_early <- pumped[["ended"]] && waits
    raise_awaited(failed, kinds, queued_after, ended_early)
    warn_side_requests(client, failed)
    NULL
  })
  invisible(pumped)
}

# Performs what is due until nothing is, or nothing more can be done now. Returns
# what failed, by subject, what that holds up, whether it ended early, and whether it was
# done when nothing was due any more.
pump_rounds <- function(
  client,
  machine,
  next_requests,
  is_done,
  wait,
  progress,
  call,
  settle = -Inf
) {
  failed <- list()
  ended <- FALSE
  done <- FALSE
  in_vain <- FALSE
  syncs <- 0
  idle_since <- monotonic_time()
  due <- NULL
  perform_due <- function() {
    round <- perform_all(client, machine, due[["requests"]], call)
    and_then(round, function(round) {
      ended <<- any(ended, round[["ended"]])
      in_vain <<- is_in_vain(round, due, failed)
      syncs <<- syncs_since_send(syncs, in_vain, due)
      failed[names(round[["failed"]])] <<- round[["failed"]]
      progress()
      idle_since <<- monotonic_time()
      goes_on()
    })
  }
  sync_now <- function() {
    syncs <<- syncs + 1
    and_then(sync_for_messages(client, call), function(failure) {
      failed[["sync"]] <<- failure
      ended <<- !is.null(failure)
    })
  }
  goes_on <- function() {
    if (is_of_use(ended, in_vain, due)) again
  }
  rounds <- repeat_steps(function() {
    done <<- FALSE
    due <<- next_requests()
    sync_first <- is_sync_due(due, syncs)
    and_then(if (sync_first) sync_now(), function(synced) {
      if (length(due[["requests"]]) > 0L) {
        return(perform_due())
      }
      if (sync_first) {
        return(goes_on())
      }
      done <<- !due[["under_way"]] && is_done()
      patience <- if (done) settle else wait
      if (is_worth_waiting(due, idle_since, patience)) {
        and_then(pause_for(client, 0.2), function(waited) again)
      }
    })
  })
  and_then(rounds, function(rounds) {
    list(
      failed = failed,
      held_up = due[["held_up"]],
      under_way = due[["under_way"]],
      ended = ended,
      done = done
    )
  })
}

# A sync that tells nothing new is not made for ever.
is_sync_due <- function(due, syncs) {
  due[["sync_first"]] && syncs < 3
}

# What is sent after a sync may take until the next one is needed.
syncs_since_send <- function(syncs, in_vain, due) {
  kind <- function(request) request[["kind"]]
  kinds <- vapply(due[["requests"]], kind, "")
  if (!in_vain && "send" %in% kinds) 0 else syncs
}

is_of_use <- function(ended, in_vain, due) {
  !ended && (!in_vain || due[["under_way"]])
}

# Whether all that was due only failed again. It is left to the next call: a request
# whose pause is shorter than the others take would be made for ever.
is_in_vain <- function(round, due, failed) {
  repeated <- names(round[["failed"]]) %in% names(failed)
  sum(repeated) == length(due[["requests"]])
}

# Another process is at work, and does not take too long.
is_worth_waiting <- function(due, idle_since, wait) {
  due[["busy"]] && monotonic_time() - idle_since <= wait && time_left() > 0
}

# What a message needs to know of its readers may be too old.
sync_for_messages <- function(client, call) {
  on_failure(
    and_then(
      sync_once(client, timeout = 0, call = call),
      function(report) NULL
    ),
    function(condition) {
      list(subject = "sync", kind = "sync", condition = condition)
    }
  )
}

# Raises the failure of what a caller waited for. Where the rest was not tried, any
# failure is the reason.
raise_awaited <- function(failed, kinds, queued_after, ended_early) {
  is_awaited <- function(failure) {
    subject <- failure[["subject"]]
    failure[["kind"]] %in%
      kinds ||
      subject == "keys_query caller" ||
      queued_number(subject) > queued_after
  }
  awaited <- Filter(is_awaited, failed)
  if (length(awaited) == 0L && ended_early) {
    awaited <- failed
  }
  if (length(awaited) > 0L) {
    raise(awaited[[1]][["condition"]])
  }
}

# Performs requests in order. One that fails keeps back only what must come after it
# in its lane. Two without a response in a row, or a login that is over, end it;
# what was not tried is said to be so, also after an interrupt by the user.
perform_all <- function(client, machine, requests, call) {
  n <- length(requests)
  status <- rep(-1L, n)
  body <- rep(list(raw()), n)
  conditions <- vector("list", n)
  numbers <- vapply(requests, function(request) request[["number"]], 0)
  report <- function() {
    core(machine_replies(machine, numbers, status, body), call = call)
  }
  reported <- FALSE
  stopped <- character()
  silent <- 0
  i <- 0
  note_reply <- function(reply) {
    status[[i]] <<- reply[["status"]]
    body[[i]] <<- reply[["body"]]
    conditions[i] <<- list(reply[["condition"]])
    if (status[[i]] != 200L) {
      stopped <<- c(stopped, requests[[i]][["lane"]])
    }
    # An upload that stalls says nothing of the way to the server.
    if (is.null(requests[[i]][["file"]])) {
      silent <<- if (status[[i]] == 0L) silent + 1 else 0
    }
    silent > 1 || is_signed_out(status[[i]], body[[i]])
  }
  # Returns whether that was the end of it, before all were tried.
  perform_next <- function() {
    i <<- i + 1
    if (i > n) {
      return(FALSE)
    }
    lane <- requests[[i]][["lane"]]
    if (!is.null(lane) && lane %in% stopped) {
      return(again)
    }
    status[[i]] <<- 0L
    and_then(perform(client, machine, requests[[i]], call), function(reply) {
      if (note_reply(reply)) TRUE else again
    })
  }
  finish <- function(ended) {
    reported <<- TRUE
    troubles <- report()
    uploaded <- lapply(requests, function(request) request[["file"]])
    delete_files(files_dir(client), machine, unlist(uploaded))
    failed <- lapply(troubles, function(trouble) {
      i <- match(trouble[["number"]], numbers)
      condition <- conditions[[i]]
      if (is.null(condition)) {
        condition <- trouble_condition(trouble, body[[i]], call)
      }
      failure_of(trouble, condition)
    })
    names(failed) <- vapply(failed, function(x) x[["subject"]], "")
    list(failed = failed, ended = ended)
  }
  with_cleanup(
    and_then(repeat_steps(perform_next), finish),
    function() if (!reported) report()
  )
}

# The status and body of a response, or the condition for one that is an error: its
# status is 0 where there was no response.
perform <- function(client, machine, request, call) {
  content <- upload_body(client, machine, request)
  if (!is.null(content)) {
    fetch_from_others(client, machine, content)
  }
  if (!is.null(content) && !is_whole(content)) {
    return(file_gone())
  }
  answer <- on_failure(
    http_perform(
      client,
      request[["method"]],
      request[["path"]],
      request[["body"]],
      content = content,
      call = call
    ),
    identity
  )
  and_then(answer, reply_of)
}

# What a response, or the condition for one that is an error, is to the machine.
reply_of <- function(answer) {
  if (!inherits(answer, "condition")) {
    return(answer[c("status", "body")])
  }
  # It was there, and cannot be read.
  if (inherits(answer, "mx_error_file")) {
    return(file_gone())
  }
  if (is_no_answer(answer) || !is.numeric(answer[["status"]])) {
    return(list(status = 0L, body = raw(), condition = answer))
  }
  list(
    status = as.integer(answer[["status"]]),
    body = error_body(answer),
    condition = answer
  )
}

# The body of a failure as the machine reads it.
error_body <- function(condition) {
  fields <- list(
    errcode = condition[["errcode"]],
    error = json_at(condition[["body"]], "error")
  )
  charToRaw(as_json_text(Filter(is_string, fields)))
}

is_signed_out <- function(status, body) {
  codes <- c("M_UNKNOWN_TOKEN", "M_MISSING_TOKEN")
  status == 401L &&
    isTRUE(json_body(list(body = body))[["errcode"]] %in% codes)
}

# The number in the outbox of what a request was to send.
queued_number <- function(subject) {
  if (startsWith(subject, "send ")) as.numeric(sub("send ", "", subject)) else 0
}

failure_of <- function(trouble, condition) {
  list(
    subject = trouble[["subject"]],
    kind = trouble[["kind"]],
    room_id = trouble[["room_id"]],
    condition = condition
  )
}

# What a failed request would have been raised as.
trouble_condition <- function(trouble, body = raw(), call = caller_env()) {
  if (trouble[["status"]] == 0) {
    return(errorCondition(
      paste("No response from the server:", printable(trouble[["message"]])),
      class = c("mx_error_network", "mx_error"),
      call = bare_call(call)
    ))
  }
  tryCatch(
    matrix_abort(
      trouble[["code"]],
      trouble[["message"]],
      trouble[["status"]],
      json_body(list(body = body)),
      call = call
    ),
    mx_error = identity
  )
}

# The condition for a caller whose messages were not sent: the failure that holds up the
# messages of the room, else the first failure.
why_not_done <- function(failed, held_up, room_id, call) {
  of_room <- function(x) identical(x[["room_id"]], room_id)
  held_up <- Filter(of_room, held_up)
  if (length(held_up) > 0L) {
    trouble <- held_up[[1]]
    known <- failed[[trouble[["subject"]]]]
    condition <- if (is.null(known)) {
      trouble_condition(trouble, call = call)
    } else {
      known[["condition"]]
    }
    return(naming_the_file(condition, trouble))
  }
  if (length(failed) > 0L) {
    return(failed[[1]][["condition"]])
  }
  message <- c(
    "Another process makes the requests that this call needs, and does not finish.",
    i = "What is to be sent stays in the outbox and is sent by the next call."
  )
  errorCondition(
    rlang::format_error_bullets(message),
    class = c("mx_error_store_locked", "mx_error_store", "mx_error"),
    call = bare_call(call)
  )
}

# That a file is in the way of a text is not obvious.
naming_the_file <- function(condition, trouble) {
  if (trouble[["kind"]] != "upload") {
    return(condition)
  }
  number <- sub("upload ", "", trouble[["subject"]], fixed = TRUE)
  help <- paste0(
    "A file cannot be uploaded yet, and what was sent to the room after it waits: ",
    "number ",
    number,
    " of mx_outbox()."
  )
  condition[["message"]] <- paste(
    c(conditionMessage(condition), rlang::format_error_bullets(c(i = help))),
    collapse = "\n"
  )
  condition
}

side_requests <- c(
  keys_upload = "Publishing one-time keys",
  keys_query = "Asking for devices",
  keys_claim = "Claiming one-time keys",
  encryption = "Asking whether a room is encrypted",
  history_visibility = "Asking for the history visibility of a room",
  members = "Asking for the members of a room",
  gap = "Fetching events that a sync left out",
  signature = "Uploading a signature",
  backup_version = "Asking for the key backup",
  back_up = "Backing up keys",
  backed_up_key = "Looking for a key in the key backup",
  key_bundle = "Fetching shared history",
  upload = "Uploading a file that belongs to another call",
  send = "Sending what belongs to another call",
  cancel_delayed = "Taking back a message that the server was to send later",
  list_delayed = "Asking what the server is to send later",
  sync = "Syncing"
)

# Seconds until the failure of one kind of request is a warning again.
side_warning_pause <- 3600

# Requests that nobody waits for failed. They are made again by themselves: a bot
# that syncs each minute is told once.
warn_side_requests <- function(client, failed) {
  if (length(failed) == 0L) {
    return(invisible())
  }
  kinds <- vapply(failed, function(x) x[["kind"]], "")
  failed <- failed[!duplicated(kinds)]
  keys <- paste(client[["store_dir"]], unique(kinds))
  now <- monotonic_time()
  told <- the[["side_told"]] %||% numeric()
  news <- is.na(told[keys]) | now - told[keys] > side_warning_pause
  if (!any(news)) {
    return(invisible())
  }
  told[keys[news]] <- now
  the[["side_told"]] <- told
  failed <- failed[news]
  kinds <- vapply(failed, function(x) x[["kind"]], "")
  reasons <- vapply(failed, function(x) conditionMessage(x[["condition"]]), "")
  cause <- failed[[1]][["condition"]]
  lines <- paste0(side_requests[kinds], " failed: ", reasons)
  mx_warn(
    c(
      "The server did not do all that this device needs. Your call is not affected.",
      stats::setNames(lines, rep("x", length(lines))),
      i = "Later calls try again by themselves, after ever longer pauses."
    ),
    "mx_warning_pump",
    kind = unname(kinds),
    status = cause[["status"]],
    errcode = cause[["errcode"]],
    cause = cause
  )
}

# Messages of code that must not wait long and cannot act on an error: lines of a log,
# and webhooks. A message is saved in the outbox first, which needs no network. Then it is
# tried for some seconds to send it; where that fails, the next tries come after ever
# longer pauses, and the message waits in the outbox.

# `room_id` is an id: a relay makes no request until it sends.
new_relay <- function(client, room_id) {
  relay <- new.env(parent = emptyenv())
  relay[["client"]] <- client
  relay[["room_id"]] <- room_id
  relay[["pause"]] <- 0
  relay[["failed_at"]] <- -Inf
  relay[["is_scheduled"]] <- FALSE
  relay[["is_waiting"]] <- FALSE
  relay
}

relay_machine <- function(relay) machine_of(relay[["client"]])

# Saves a message in the outbox. The result is its number.
relay_stage <- function(relay, content, transaction_id = NULL) {
  machine <- relay_machine(relay)
  content <- fitting_content(machine, relay[["room_id"]], content)
  core(machine_send(
    machine,
    relay[["room_id"]],
    "m.room.message",
    content,
    transaction_id,
    FALSE,
    NULL
  ))
}

# Tries to send what waits. The result is "sent", "refused" or "waiting", with `async` a
# promise of it. With `force` it is tried also where it just failed.
relay_send <- function(relay, number, force = FALSE, async = FALSE) {
  machine <- relay_machine(relay)
  relay[["is_waiting"]] <- TRUE
  tried <- if (force || !is_pausing(relay)) relay_pump(relay, async)
  and_then(tried, function(value) {
    outcome <- relay_outcome(machine, number)
    if (outcome == "waiting") {
      core(machine_leave(machine, number))
      relay_failed(relay)
    } else {
      core(machine_forget(machine, number))
      relay_succeeded(relay)
    }
    outcome
  })
}

# Seconds after which an attempt ends.
longest_attempt <- 10

# The requests of the machine, in bounded time: also where a slow server answers each of
# many. What fails is tried again by itself.
relay_pump <- function(relay, async = FALSE) {
  client <- relay[["client"]]
  room_id <- relay[["room_id"]]
  if (async) {
    driver <- async_driver()
    end_timer <- later::later(driver[["cancel"]], longest_attempt)
    pumped <- pump_promise(client, room_id = room_id, driver = driver)
    return(promises::then(
      pumped,
      function(value) end_timer(),
      function(condition) end_timer()
    ))
  }
  old <- options(
    mxcrypt.timeout = min(http_timeout(), 10),
    mxcrypt.connect_timeout = min(getOption("mxcrypt.connect_timeout", 10), 3),
    mxcrypt.max_tries = 1
  )
  on.exit(options(old))
  quietly(tryCatch(
    within_seconds(longest_attempt, pump(client, room_id = room_id)),
    mx_error = function(condition) NULL
  ))
}

# What this package says in passing would be logged by logger::log_warnings() and
# logger::log_messages(), and come back as lines to post.
quietly <- function(code) {
  withCallingHandlers(
    code,
    warning = function(condition) tryInvokeRestart("muffleWarning"),
    message = function(condition) tryInvokeRestart("muffleMessage")
  )
}

relay_outcome <- function(machine, number) {
  outcome <- core(machine_outcomes(machine, number))[[1]]
  # Another process sent it.
  is_gone <- identical(outcome[["code"]], "MXCRYPT_DISCARDED")
  if (is_gone) "sent" else outcome[["state"]]
}

is_pausing <- function(relay) {
  monotonic_time() - relay[["failed_at"]] < relay[["pause"]]
}

first_relay_pause <- 15
longest_relay_pause <- 900

relay_succeeded <- function(relay) {
  relay[["pause"]] <- 0
  relay[["is_waiting"]] <- FALSE
}

relay_failed <- function(relay) {
  if (!is_pausing(relay)) {
    longer <- max(2 * relay[["pause"]], first_relay_pause)
    relay[["pause"]] <- min(longer, longest_relay_pause)
    relay[["failed_at"]] <- monotonic_time()
  }
  relay_schedule(relay)
}

# Where an event loop runs, what waits is sent without another call. Where none runs, the
# next call of this client does it.
relay_schedule <- function(relay) {
  if (relay[["is_scheduled"]] || !requireNamespace("later", quietly = TRUE)) {
    return(invisible())
  }
  relay[["is_scheduled"]] <- TRUE
  pid <- Sys.getpid()
  later::later(delay = relay[["pause"]], function() {
    relay[["is_scheduled"]] <- FALSE
    # A forked process has the callbacks of its parent.
    if (pid == Sys.getpid()) {
      relay_again(relay, async = has_promises())
    }
  })
}

has_promises <- function() {
  requireNamespace("later", quietly = TRUE) &&
    requireNamespace("promises", quietly = TRUE)
}

relay_again <- function(relay, async = FALSE) {
  tried <- and_then(relay_pump(relay, async), function(value) {
    if (core(machine_waiting_to_send(relay_machine(relay))) > 0) {
      relay_failed(relay)
    } else {
      relay_succeeded(relay)
    }
  })
  on_failure(tried, function(condition) relay_failed(relay))
  invisible()
}

# A content as JSON text that the server accepts: without its HTML where it is too large
# with it, and cut where it still is.
fitting_content <- function(machine, room_id, content) {
  fits <- function(text) {
    sizes <- machine_content_sizes(machine, room_id, "m.room.message", text)
    core(sizes)[["fits"]]
  }
  text <- as_json_text(content)
  if (!fits(text)) {
    content[c("format", "formatted_body")] <- NULL
    text <- as_json_text(content)
  }
  while (!fits(text)) {
    content[["body"]] <- shortened(
      content[["body"]],
      nchar(content[["body"]]) %/% 2L
    )
    text <- as_json_text(content)
  }
  text
}

# Text of others as lines that show what they are: no escape sequences, no control
# characters, none that change the direction of what follows, and no bytes that are not
# UTF-8. It is cut first, so that the rest costs little.
clean_text <- function(text, most) {
  text <- as.character(text)
  if (length(text) == 0L) {
    return(text)
  }
  text[is.na(text)] <- "NA"
  is_bytes <- Encoding(text) == "bytes"
  Encoding(text)[is_bytes] <- "unknown"
  is_valid <- validUTF8(as_utf8(text))
  text[is_valid] <- as_utf8(text[is_valid])
  text[!is_valid] <- iconv(text[!is_valid], "UTF-8", "UTF-8", sub = "?")
  text <- shortened(text, most)
  text <- gsub("\u001b\\[[0-9;:]*[A-Za-z]", "", text)
  text <- gsub("\r\n?", "\n", text)
  without_direction(text)
}

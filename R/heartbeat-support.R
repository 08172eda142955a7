# Whether a server can send messages later, and for how long (MSC4140).

# Whether the server has the endpoints of the accepted proposal, or those before it.
# It is asked each time: to one that does not know delays, a request in the old form is
# that of an ordinary message.
delayed_events_form <- function(client, delay, call = caller_env()) {
  versions <- http_json(client, "GET", "/_matrix/client/versions", call = call)
  has <- function(feature) {
    isTRUE(json_at(versions, "unstable_features", feature))
  }
  stable <- has("org.matrix.msc4140.stable")
  if (!stable && !has("org.matrix.msc4140")) {
    abort_without_delays(call)
  }
  longest <- longest_delay_of(client, call)
  if (isTRUE(delay > longest)) {
    abort_too_long(longest, call)
  }
  stable
}

# Milliseconds, or NA where the server does not say.
longest_delay_of <- function(client, call) {
  answer <- tryCatch(
    http_json(client, "GET", api_path("capabilities"), call = call),
    mx_error_http = function(condition) NULL
  )
  for (name in c("m.delayed_events", "org.matrix.msc4140.delayed_events")) {
    longest <- json_at(answer, "capabilities", name, "max_delay_ms")
    if (is.numeric(longest) && length(longest) == 1L) {
      return(as.numeric(longest))
    }
  }
  NA_real_
}

abort_without_delays <- function(call) {
  mx_abort(
    c(
      "The server has no delayed events, so it cannot send a message for you later.",
      i = paste(
        "Synapse has them once its homeserver.yaml sets `max_event_delay_duration`.",
        "Nothing was sent."
      )
    ),
    "mx_error_unsupported",
    max_after = NA_real_,
    call = call
  )
}

abort_too_long <- function(longest, call) {
  mx_abort(
    c(
      if (is.na(longest)) {
        "`after` is longer than the server allows."
      } else {
        paste0(
          "`after` is longer than the server allows: at most ",
          format_count(floor(longest / 1000)),
          " seconds."
        )
      },
      i = paste(
        "Restart the heartbeat more often. For Synapse the limit is",
        "`max_event_delay_duration` in its homeserver.yaml. Nothing was sent."
      )
    ),
    "mx_error_unsupported",
    max_after = longest / 1000,
    call = call
  )
}

too_long_codes <- c(
  "M_MAX_DELAY_EXCEEDED",
  "ORG.MATRIX.MSC4140_MAX_DELAY_EXCEEDED",
  "ORG.MATRIX.MSC4140_DELAY_TOO_LARGE"
)

# What a command returned, as an answer in its room.

# Sends `value` as the answer to an event; TRUE, or a promise of it, once the server or the
# outbox has it. The ids of the answer follow from the event: after a crash it is the
# same answer for the server, which accepts it once.
send_answer <- function(bot, event, value, call = caller_env()) {
  messages <- posted_messages(list(value), call)
  if (length(messages) == 0L) {
    return(FALSE)
  }
  messages <- lapply(messages, as_notice)
  thread <- event[["thread"]]
  # Whatever a sender calls a thread.
  if (!is_string(thread) || !startsWith(thread, "$")) {
    thread <- NULL
  }
  id <- event[["event_id"]]
  sent <- run_async(bot[["client"]], function(client) {
    send_messages(
      client,
      event[["room_id"]],
      messages,
      if (bot[["reply"]] == "thread") thread %||% id else thread,
      mentions = character(),
      reply_to = if (bot[["reply"]] == "reply") id,
      transaction_id = answer_ids(bot, event, length(messages)),
      call = call
    )
  })
  when_ready(
    sent,
    function(ids) TRUE,
    function(condition) not_sent(bot, event, condition)
  )
}

# Other bots do not answer notices.
as_notice <- function(message) {
  if (is.null(message[["file"]]) && message[["msgtype"]] == "m.text") {
    message[["msgtype"]] <- "m.notice"
  }
  message
}

answer_ids <- function(bot, event, n) {
  hash <- rlang::hash(list(bot[["consumer"]], event[["event_id"]]))
  paste0("mxcrypt-bot-", hash, "-", seq_len(n))
}

# What stays in the outbox is sent later; what the server refuses is refused for ever.
not_sent <- function(bot, event, condition) {
  if (
    !inherits(condition, "mx_error") || inherits(condition, "mx_error_argument")
  ) {
    raise(condition)
  }
  refused <- inherits(condition, c("mx_error_refused", "mx_error_room"))
  if (!refused && !is_outage(condition)) {
    raise(condition)
  }
  log_bot(
    bot,
    if (refused) "ERROR" else "WARN",
    if (refused) "no answer to " else "the answer waits in the outbox, to ",
    event_name(event),
    ": ",
    conditionMessage(condition)
  )
  TRUE
}

# A reaction. It may be there already: after a crash the command runs again.
react_to <- function(bot, event, key) {
  if (is.null(key)) {
    return(FALSE)
  }
  when_ready(
    run_async(bot[["client"]], function(client) {
      mx_react(client, event[["room_id"]], event[["event_id"]], key)
    }),
    function(id) TRUE,
    function(condition) {
      if (inherits(condition, "mx_error_M_DUPLICATE_ANNOTATION")) {
        return(TRUE)
      }
      not_sent(bot, event, condition)
    }
  )
}

# Values that may be promises --------------------------------------------------

is_promising <- function(x) {
  # Most values are none, and need no package to find out.
  is.object(x) &&
    requireNamespace("promises", quietly = TRUE) &&
    promises::is.promising(x)
}

# `step` of a value, now or once it is there. `value` is evaluated here, so that its errors
# reach `otherwise`.
when_ready <- function(value, step, otherwise) {
  value <- tryCatch(value, error = identity)
  if (inherits(value, "error")) {
    return(otherwise(value))
  }
  if (!is_promising(value)) {
    return(step(value))
  }
  promises::then(
    value,
    onFulfilled = step,
    onRejected = function(reason) otherwise(as_condition(reason))
  )
}

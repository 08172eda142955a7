# What a bot logs: who did what, and what failed. Never what a message says, which is
# encrypted elsewhere.

log_bot <- function(bot, level, ..., lines = NULL) {
  text <- paste(c(shown_text(paste0(...)), lines), collapse = "\n")
  tryCatch(bot[["log"]](level, text), error = function(condition) {
    log_to_stderr("ERROR", paste("`log` failed:", error_text(condition)))
    log_to_stderr(level, text)
  })
  invisible()
}

# Containers and systemd keep what is written there.
log_to_stderr <- function(level, text) {
  time <- format(Sys.time(), "%Y-%m-%dT%H:%M:%SZ", tz = "UTC")
  cat(time, " ", level, " ", text, "\n", sep = "", file = stderr())
}

# An event, as the log names it.
event_name <- function(event) {
  paste0(
    event[["sender"]],
    " in ",
    event[["room_id"]],
    " (",
    event[["event_id"]],
    ")"
  )
}

# A condition, with its backtrace: calls without their arguments.
log_failure <- function(bot, what, condition) {
  lines <- tryCatch(
    {
      own <- if (is.list(condition)) unclass(condition)[["trace"]]
      trace_lines(list(trace = own %||% attr(condition, "bot_trace")))
    },
    error = function(e) NULL
  )
  lines <- vapply(as.character(lines), shown_text, "", USE.NAMES = FALSE)
  log_bot(
    bot,
    "ERROR",
    what,
    ": ",
    error_text(condition),
    lines = if (length(lines) > 0L) paste0("    ", lines)
  )
}

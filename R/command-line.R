# The command `mxcrypt`, for shells, cron and CI. exec/mxcrypt calls mx_cli().
#
# What a program reads goes to the standard output, all else to the standard error. It
# asks nothing, and ends in bounded time, but for a program whose output it reads.

# Rows of tables are long.
# nolint start: line_length_linter.
#' Command for shells, cron and CI
#'
#' The package installs a command `mxcrypt`, which posts text, standard input and files
#' to a room, without a line of R. `mx_cli()` is what it calls.
#'
#' ```sh
#' ./backup.sh 2>&1 | mxcrypt send '#ops:example.org' - --code
#' mxcrypt send Pipeline "Run finished" --mention @alice:example.org
#' mxcrypt send Pipeline --file report.pdf --file cars.csv
#' mxcrypt outbox --retry
#' ```
#'
#' It uses the configuration that [mx_client_configure()] wrote once, or the file that
#' `--config` or the environment variable `MXCRYPT_MATRIX_CONFIG` names. `mxcrypt --help`
#' lists all options. `mxcrypt doctor` shows what [mx_doctor()] finds, `mxcrypt status`
#' whose the device is and what waits, without a request.
#'
#' @section Installing the command:
#' Link it to a directory of the `PATH`:
#' ```sh
#' ln -s "$(Rscript -e 'cat(system.file("exec", "mxcrypt", package = "mxcrypt"))')" \
#'   ~/.local/bin/mxcrypt
#' ```
#' On Windows, or without a link, call `Rscript -e "quit(status = mxcrypt::mx_cli())"`
#' with the same arguments behind it.
#'
#' @section Standard input:
#' `-` in place of the text is the standard input, read to its end before anything is
#' sent: the program that writes it is never stopped by a failure here. What is longer
#' than a message, or is no text in UTF-8, is posted as a file. After 100 MB the rest is
#' left out, which the message says. If there is no input, nothing is sent, and that is a
#' success: a quiet job stays quiet. A terminal is refused.
#'
#' @section Exit status:
#' | Status | What happened |
#' |---|---|
#' | 0 | It was sent; its event ids are on the standard output. Or there was nothing to send. |
#' | 1 | It was not sent, and never will be: the server refuses it, or the room is not known. `doctor`: something fails. |
#' | 2 | The arguments are wrong, or a file cannot be read. |
#' | 69 | The server was not reached, and the message cannot wait, because the room or its encryption is not known yet. |
#' | 75 | The server was not reached. The message waits in the outbox, and is sent by the next call that reaches the server. `outbox`: something waits, or was refused. |
#' | 78 | There is no login, or no usable configuration or store. |
#' | 130 | It was interrupted (Ctrl-C). |
#'
#' All requests together take at most 15 seconds, those of `doctor` 60, or `--timeout`; a
#' file takes longer while its bytes move.
#'
#' @param args The arguments of the command, as the shell has split them.
#' @return The exit status, a number.
#' @section Errors:
#' None: they are the exit status, and lines on the standard error.
#' @family sending
#' @seealso [mx_notify()] for scripts in R.
#' @examples
#' mx_cli("--version")
#'
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, name = "Pipeline")
#' mx_cli(c("send", "Pipeline", "Run finished", "--config", alice$path))
#' mx_cli(c("send", "--config", alice$path))
#' @export
# nolint end
mx_cli <- function(args = commandArgs(trailingOnly = TRUE)) {
  status <- tryCatch(
    withCallingHandlers(
      {
        args <- check_strings(args)
        run_subcommand(parse_command_line(args))
      },
      warning = function(condition) {
        say("Warning: ", conditionMessage(condition))
        invokeRestart("muffleWarning")
      },
      message = function(condition) {
        say(sub("\n$", "", conditionMessage(condition)))
        invokeRestart("muffleMessage")
      }
    ),
    mxcrypt_usage = function(condition) {
      say("mxcrypt: ", conditionMessage(condition))
      say("See `mxcrypt --help`.")
      exit_usage
    },
    interrupt = function(condition) 130L,
    error = function(condition) {
      say("mxcrypt: ", conditionMessage(condition))
      status_of_error(condition)
    }
  )
  as.integer(status)
}

# Those of sysexits.h, where it has one.
exit_failed <- 1L
exit_usage <- 2L
exit_unavailable <- 69L
exit_waits <- 75L
exit_config <- 78L

status_of_error <- function(condition) {
  if (is_passing(condition)) {
    return(
      if (is.null(condition[["numbers"]])) exit_unavailable else exit_waits
    )
  }
  logins <- c(
    "mx_error_config",
    "mx_error_M_MISSING_TOKEN",
    "mx_error_M_UNKNOWN_TOKEN",
    "mx_error_password",
    "mx_error_renewal",
    "mx_error_secret",
    "mx_error_signed_out",
    "mx_error_store"
  )
  if (inherits(condition, logins)) {
    return(exit_config)
  }
  is_usage <- inherits(condition, c("mx_error_argument", "mx_error_attachment"))
  if (is_usage) exit_usage else exit_failed
}

# As UTF-8, also where the locale cannot say it. If nobody reads it any more, as behind
# `| head -1`, that changes neither what is done nor the exit status.
write_text <- function(lines, to) {
  tryCatch(
    writeLines(enc2utf8(lines), to, useBytes = TRUE),
    error = function(condition) NULL
  )
}

say <- function(...) write_text(paste0(...), stderr())

put <- function(lines) write_text(lines, stdout())

# Arguments ----------------------------------------------------------------------

# Which options a command has, and whether they take a value.
command_options <- list(
  send = c(
    code = FALSE,
    markdown = FALSE,
    notice = FALSE,
    file = TRUE,
    mention = TRUE,
    thread = TRUE,
    config = TRUE,
    timeout = TRUE
  ),
  outbox = c(retry = FALSE, config = TRUE, timeout = TRUE),
  doctor = c(config = TRUE, timeout = TRUE),
  status = c(config = TRUE)
)

# A list of `command`, `options` (a list; of `file` and `mention` there may be several),
# `words`, what is no option, and `is_piped`, whether the text is the standard input.
parse_command_line <- function(args) {
  if (length(args) == 0L) {
    usage_abort("No command is given.")
  }
  # After `--` nothing is an option.
  end <- match("--", args, length(args) + 1L)
  before <- utils::head(args, end - 1L)
  if (any(before %in% c("--help", "-h")) || args[[1]] == "help") {
    return(list(command = "help"))
  }
  if (args[[1]] == "--version") {
    return(list(command = "version"))
  }
  if (!args[[1]] %in% names(command_options)) {
    usage_abort(
      "There is no command `",
      printable(args[[1]]),
      "`. To post, begin with `send`."
    )
  }
  parsed <- parse_options(args[[1]], before[-1])
  # After `--` a dash is text, too.
  parsed[["is_piped"]] <- identical(utils::head(parsed[["words"]], 2L)[-1], "-")
  parsed[["words"]] <- c(
    parsed[["words"]],
    args[-seq_len(min(end, length(args)))]
  )
  parsed
}

parse_options <- function(command, args) {
  options <- list()
  words <- character()
  while (length(args) > 0L) {
    word <- args[[1]]
    args <- args[-1]
    if (word == "-" || !startsWith(word, "-")) {
      words <- c(words, word)
      next
    }
    option <- parse_option(command, word, args)
    name <- option[["name"]]
    if (!is.null(options[[name]]) && !name %in% c("file", "mention")) {
      usage_abort("`--", name, "` is given twice.")
    }
    options[[name]] <- c(options[[name]], option[["value"]])
    if (option[["takes_next"]]) {
      args <- args[-1]
    }
  }
  list(command = command, options = options, words = words)
}

# An option, `--name`, `--name=value` or `--name value`.
parse_option <- function(command, word, rest) {
  known <- command_options[[command]]
  name <- sub("^--([^=]*)(=.*)?$", "\\1", word)
  if (!startsWith(word, "--") || !name %in% names(known)) {
    usage_abort(
      "`",
      command,
      "` has no option `",
      printable(word),
      "`. Put `--` before a text that begins with a dash."
    )
  }
  has_value <- grepl("=", word, fixed = TRUE)
  if (!known[[name]]) {
    if (has_value) {
      usage_abort("`--", name, "` takes no value.")
    }
    return(list(name = name, value = TRUE, takes_next = FALSE))
  }
  if (!has_value && length(rest) == 0L) {
    usage_abort("`--", name, "` needs a value.")
  }
  value <- if (has_value) sub("^[^=]*=", "", word) else rest[[1]]
  if (!nzchar(value)) {
    usage_abort("`--", name, "` needs a value that is not empty.")
  }
  list(name = name, value = value, takes_next = !has_value)
}

usage_abort <- function(...) {
  raise(errorCondition(paste0(...), class = c("mxcrypt_usage", "mx_error")))
}

command_help <- c(
  "Usage: mxcrypt COMMAND [ARGUMENTS]",
  "",
  "  mxcrypt send ROOM TEXT...    Post text to a room: its id, alias or name",
  "  mxcrypt send ROOM -          Post standard input",
  "  mxcrypt send ROOM --file F   Post a file, also with text before it",
  "  mxcrypt outbox               List the messages that wait to be sent",
  "  mxcrypt doctor               Check the login, the network and the store",
  "  mxcrypt status               Show the device, and how much waits",
  "",
  "Options of send:",
  "  --code          The text is code: show it in letters of one width",
  "  --markdown      The text is Markdown",
  "  --notice        Post a notice, for which phones do not ring",
  "  --file F        A file; may be given several times",
  "  --mention USER  Mention a user id; may be given several times",
  "  --thread EVENT  Post to the thread of this event",
  "  --              What follows is text, also if it begins with a dash",
  "",
  "Option of outbox:",
  "  --retry         Send what waits, and what was refused",
  "",
  "Options:",
  "  --config PATH   The configuration file of mx_client_configure()",
  "  --timeout S     Seconds for all requests together (15; doctor: 60)",
  "  --help, --version",
  "",
  "Exit status: 0 sent (event ids on standard output), 1 failed for good,",
  "2 wrong arguments, 69 server not reached, 75 server not reached and the",
  "message waits in the outbox, 78 not signed in. See ?mxcrypt::mx_cli in R."
)

# Commands -----------------------------------------------------------------------

run_subcommand <- function(parsed) {
  switch(
    parsed[["command"]],
    help = put(command_help),
    version = put(paste("mxcrypt", utils::packageVersion("mxcrypt"))),
    send = return(command_send(
      parsed[["options"]],
      parsed[["words"]],
      parsed[["is_piped"]]
    )),
    outbox = return(command_outbox(parsed[["options"]], parsed[["words"]])),
    doctor = return(command_doctor(parsed[["options"]], parsed[["words"]])),
    status = command_status(parsed[["options"]], parsed[["words"]])
  )
  0L
}

command_client <- function(options) {
  mx_client_load(path = options[["config"]])
}

command_seconds <- function(options, default = "15") {
  text <- options[["timeout"]] %||% default
  seconds <- suppressWarnings(as.numeric(text))
  if (is.na(seconds)) {
    usage_abort(
      "`--timeout` must be a number of seconds, and not ",
      printable(text),
      "."
    )
  }
  check_seconds(seconds, "--timeout", NULL)
}

check_no_words <- function(words) {
  if (length(words) > 0L) {
    usage_abort(
      "What is `",
      printable(words[[1]]),
      "`? This command takes options only."
    )
  }
}

command_send <- function(options, words, is_piped) {
  call <- environment()
  check_send_words(words, options, is_piped)
  text <- words[-1]
  seconds <- command_seconds(options)
  mentions <- as.character(options[["mention"]])
  check_user_ids(mentions, "--mention")
  thread <- check_string(options[["thread"]], "--thread", null = TRUE)
  # Before anything else can fail: the program that writes it is to reach its end.
  input <- if (is_piped) read_standard_input()
  on.exit(unlink(input[["dir"]], recursive = TRUE))
  # That program may have made them.
  files <- lapply(as.character(options[["file"]]), mx_file)
  client <- command_client(options)
  room <- notified_name(client, words[[1]], call)
  messages <- if (is_piped) {
    input_message(input, options)
  } else if (length(text) > 0L) {
    list(command_message(check_strings(paste(text, collapse = " ")), options))
  }
  messages <- lapply(c(messages, files), ready_message, call)
  if (length(messages) == 0L) {
    say("There was no input. Nothing was sent.")
    return(0L)
  }
  sent <- deliver(client, room, messages, thread, mentions, seconds, call)
  failure <- sent[["failure"]]
  if (!is.null(failure)) {
    raise(failure)
  }
  ids <- sent[["ids"]]
  put(ids[!is.na(ids)])
  # Of several, some may be refused: a warning has said why.
  if (anyNA(ids)) exit_failed else 0L
}

check_send_words <- function(words, options, is_piped) {
  if (length(words) == 0L) {
    usage_abort("No room is given.")
  }
  text <- words[-1]
  if (length(text) == 0L && is.null(options[["file"]])) {
    usage_abort(
      "There is no text to send to `",
      printable(words[[1]]),
      "`. `-` sends the standard input."
    )
  }
  if (is_piped && length(text) > 1L) {
    usage_abort("`-`, the standard input, is posted without other text.")
  }
  if (sum(c("code", "markdown") %in% names(options)) > 1L) {
    usage_abort("Text is either code or Markdown.")
  }
}

command_message <- function(text, options) {
  if (!nzchar(text)) {
    usage_abort("The text is empty.")
  }
  html <- if (!is.null(options[["code"]])) {
    code_block(text)
  } else if (!is.null(options[["markdown"]])) {
    markdown_html(text)
  }
  message <- text_or_file(text, html)
  if (!is.null(options[["notice"]]) && is.null(message[["file"]])) {
    message[["msgtype"]] <- "m.notice"
  }
  message
}

command_outbox <- function(options, words) {
  check_no_words(words)
  seconds <- command_seconds(options)
  client <- command_client(options)
  waiting <- mx_outbox(client)
  if (!is.null(options[["retry"]]) && nrow(waiting) > 0L) {
    rlang::local_options(mxcrypt.max_tries = min(http_tries(), 3))
    ids <- within_seconds(seconds, mx_outbox_retry(client, waiting[["number"]]))
    put(ids[!is.na(ids)])
    waiting <- mx_outbox(client)
  }
  if (nrow(waiting) == 0L) {
    return(0L)
  }
  shown <- waiting[c(
    "number",
    "room_id",
    "queued_at",
    "state",
    "reason",
    "body"
  )]
  for (name in c("reason", "body")) {
    text <- ifelse(is.na(shown[[name]]), "", printable(shown[[name]]))
    shown[[name]] <- shortened(text, 60L)
  }
  shown[["queued_at"]] <- format(
    shown[["queued_at"]],
    "%Y-%m-%dT%H:%M:%SZ",
    tz = "UTC"
  )
  put(do.call(paste, c(unname(lapply(shown, as.character)), sep = "\t")))
  exit_waits
}

command_doctor <- function(options, words) {
  check_no_words(words)
  # It makes many requests, and one that is too late would be a finding.
  seconds <- command_seconds(options, "60")
  found <- within_seconds(seconds, mx_doctor(command_client(options)))
  put(cli::ansi_strip(format(found)))
  if (any(found[["state"]] == "failure")) exit_failed else 0L
}

command_status <- function(options, words) {
  check_no_words(words)
  client <- command_client(options)
  waiting <- mx_outbox(client)
  room <- unclass(client)[["room_id"]]
  put(c(
    format(client)[-1],
    paste0("user:   ", client[["user_id"]]),
    if (!is.null(room)) paste0("room:   ", room),
    paste0("outbox: ", plural(nrow(waiting), "message"))
  ))
}

# Standard input -------------------------------------------------------------------

# The rest is read, and left out: a program whose output is not read is stopped.
most_input_bytes <- 1e8

# What came: the path of a `file` in a `dir` of its own, its `size`, and whether it was
# `cut`.
read_standard_input <- function() {
  # R asks this of the file descriptor, whatever its connections are.
  if (isatty(stdin())) {
    usage_abort("The standard input is a terminal: pipe something into it.")
  }
  input <- tryCatch(
    suppressWarnings(file("stdin", "rb")),
    error = function(condition) NULL
  )
  dir <- private_dir()
  path <- file.path(dir, "input")
  to <- file(path, "wb")
  on.exit(close(to))
  size <- 0
  cut <- FALSE
  if (!is.null(input)) {
    on.exit(close(input), add = TRUE)
    repeat {
      bytes <- readBin(input, "raw", 65536L)
      if (length(bytes) == 0L) {
        break
      }
      kept <- utils::head(bytes, most_input_bytes - size)
      cut <- cut || length(kept) < length(bytes)
      writeBin(kept, to)
      size <- size + length(kept)
    }
  }
  list(dir = dir, path = path, size = size, cut = cut)
}

# Text that fits is a message, and everything else a file.
input_message <- function(input, options) {
  if (input[["size"]] == 0) {
    return(list())
  }
  caption <- if (input[["cut"]]) {
    paste("Cut after", size_text(input[["size"]]))
  }
  as_file <- function(name, type) {
    list(mx_file(input[["path"]], caption, name, type))
  }
  if (input[["size"]] > most_text_bytes) {
    head <- readBin(input[["path"]], "raw", 65536L)
    is_text <- !any(head == as.raw(0))
    return(
      if (is_text) {
        as_file("output.txt", "text/plain")
      } else {
        as_file("output.bin", "application/octet-stream")
      }
    )
  }
  bytes <- readBin(input[["path"]], "raw", input[["size"]])
  if (any(bytes == as.raw(0))) {
    return(as_file("output.bin", "application/octet-stream"))
  }
  text <- rawToChar(bytes)
  Encoding(text) <- "UTF-8"
  if (!validUTF8(text)) {
    return(as_file("output.txt", "text/plain"))
  }
  # A terminal's colours are no text, and every line has an end.
  text <- sub("[\r\n]+$", "", cli::ansi_strip(text))
  if (grepl("^[[:space:]]*$", text)) {
    return(list())
  }
  list(command_message(text, options))
}

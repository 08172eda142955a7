# A bot in a process of its own, under a supervisor as systemd or Docker is one.
#
#   bot <- supervised_bot(robot, commands, options, password)
#   bot$until(function() ...)   # waits, and restarts the bot where that is needed
#   bot$set_clock(3600)         # its clock, against that of the machine
#
# `commands` is an expression, whose value is the list of commands. There it has `dir`, for files,
# `note(file, line)`, which adds a line to one, and `client`.

supervised_bot <- function(
  robot,
  commands,
  ...,
  password = NULL,
  .local_envir = parent.frame()
) {
  dir <- withr::local_tempdir(.local_envir = .local_envir)
  script <- file.path(dir, "bot.R")
  writeLines(bot_script(commands, list(...)), script)
  writeBin(integer(2), file.path(dir, "clock"))
  bot <- new.env()
  bot[["starts"]] <- 0L
  bot[["statuses"]] <- integer()
  # How many seconds the heartbeat may stand still.
  bot[["patience"]] <- 120
  arguments <- c(script, robot$path, dir)
  environment <- c(
    "current",
    CLOCK_SHIFT = file.path(dir, "clock"),
    LD_PRELOAD = shifted_clock(),
    MXCRYPT_PASSWORD = password
  )
  bot$start <- function() {
    bot[["starts"]] <- bot[["starts"]] + 1L
    bot[["beat"]] <- heartbeat_of(dir)
    bot[["process"]] <- processx::process$new(
      file.path(R.home("bin"), "Rscript"),
      arguments,
      stdout = file.path(dir, paste0("output-", bot[["starts"]])),
      stderr = "2>&1",
      env = environment,
      cleanup = TRUE,
      supervise = TRUE
    )
  }
  bot$lines <- function(file = "log") {
    path <- file.path(dir, file)
    if (file.exists(path)) readLines(path, warn = FALSE) else character()
  }
  bot$until <- function(condition, what, seconds = 90) {
    end <- proc.time()[["elapsed"]] + seconds
    while (!isTRUE(condition())) {
      tend(bot, dir)
      if (proc.time()[["elapsed"]] > end) {
        stop(bot_report(bot, dir, what), call. = FALSE)
      }
      Sys.sleep(0.1)
    }
  }
  # Until a line comes into a file after `code` has run.
  bot$logs <- function(pattern, code, file = "log") {
    force(pattern)
    before <- length(bot$lines(file))
    force(code)
    bot$until(
      function() any(grepl(pattern, utils::tail(bot$lines(file), -before))),
      paste(pattern, "in", file)
    )
  }
  bot$kill <- function() {
    bot$process$kill()
    bot$start()
  }
  bot$set_clock <- function(seconds) {
    # In place, because the process has it in its memory.
    connection <- file(file.path(dir, "clock"), "r+b")
    writeBin(as.integer(c(seconds, if (seconds < 0) -1 else 0)), connection)
    close(connection)
  }
  withr::defer(bot$process$kill(), envir = .local_envir)
  bot$start()
  bot
}

# Starts a bot that has ended, and kills one whose heartbeat stands still.
tend <- function(bot, dir) {
  process <- bot[["process"]]
  beat <- heartbeat_of(dir)
  if (!process$is_alive()) {
    bot[["statuses"]] <- c(bot[["statuses"]], process$get_exit_status())
    bot$start()
  } else if (!identical(beat[["file"]], bot[["beat"]][["file"]])) {
    bot[["beat"]] <- beat
  } else if (beat[["seen"]] - bot[["beat"]][["seen"]] > bot[["patience"]]) {
    process$kill()
  }
}

# By the clock of the supervisor: that of the bot may be set.
heartbeat_of <- function(dir) {
  list(
    file = file.mtime(file.path(dir, "heartbeat")),
    seen = proc.time()[["elapsed"]]
  )
}

bot_report <- function(bot, dir, what) {
  output <- lapply(max(1, bot$starts - 1):bot$starts, function(i) {
    utils::tail(bot$lines(paste0("output-", i)), 4)
  })
  lines <- c(
    paste("not", what, "after", bot$starts, "starts"),
    utils::tail(bot$lines(), 6),
    unlist(output)
  )
  paste(substr(lines, 1, 200), collapse = "\n")
}

bot_script <- function(commands, options) {
  code <- substitute(
    {
      library(mxcrypt)
      options(mxcrypt.pause = 0.05)
      dir <- commandArgs(TRUE)[[2]]
      note <- function(file, ...) {
        cat(..., "\n", file = file.path(dir, file), append = TRUE)
      }
      client <- mx_client_load(path = commandArgs(TRUE)[[1]])
      bot <- do.call(
        mx_bot,
        c(
          list(
            client,
            COMMANDS,
            heartbeat = file.path(dir, "heartbeat"),
            log = function(level, text) note("log", level, text)
          ),
          OPTIONS
        )
      )
      mx_bot_run(bot)
    },
    list(COMMANDS = commands, OPTIONS = options)
  )
  deparse(code)
}

# The library for a process whose clock is set by a file: clock/shift.c.
shifted_clock <- function() {
  if (is.null(live[["clock"]])) {
    dir <- tempfile("clock-")
    dir.create(dir)
    withr::defer(unlink(dir, recursive = TRUE), envir = live_end())
    source <- file.path(dir, "shift.c")
    file.copy(file.path(repo_root, "tests/live/clock/shift.c"), source)
    processx::run(
      file.path(R.home("bin"), "R"),
      c("CMD", "SHLIB", "shift.c", "-ldl"),
      wd = dir
    )
    live[["clock"]] <- file.path(dir, "shift.so")
  }
  live[["clock"]]
}

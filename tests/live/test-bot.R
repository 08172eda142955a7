# A bot in a process of its own, in an encrypted room with matrix-js-sdk.

# The process of the bot: its script, its log, and what it returned.
start_bot <- function(robot, dir, ...) {
  script <- file.path(dir, "bot.R")
  if (!file.exists(script)) {
    code <- substitute({
      library(mxcrypt)
      dir <- commandArgs(TRUE)[[2]]
      client <- mx_client_load(path = commandArgs(TRUE)[[1]])
      bot <- mx_bot(
        client,
        list(
          status = function(what = "all") c("status of", what, Sys.getpid()),
          two = function() list("part one", "part two"),
          plot = function() mx_file(charToRaw("a,b"), name = "t.csv"),
          slow = function() {
            promises::promise(function(resolve, reject) {
              later::later(function() resolve("slow done"), 3)
            })
          }
        ),
        invited_by = commandArgs(TRUE)[[3]],
        limit = 6,
        poll = 5,
        heartbeat = file.path(dir, "heartbeat"),
        log = function(level, text) {
          cat(level, text, "\n", file = file.path(dir, "log"), append = TRUE)
          # The answer is sent, and the event not yet acknowledged.
          crash <- file.path(dir, "crash")
          if (startsWith(text, "did `two`") && file.exists(crash)) {
            unlink(crash)
            tools::pskill(Sys.getpid(), tools::SIGKILL)
          }
        }
      )
      cat("ended by", mx_bot_run(bot), "\n")
    })
    writeLines(deparse(code), script)
  }
  processx::process$new(
    "Rscript",
    c(script, robot$path, dir, ...),
    stdout = "|",
    stderr = "|",
    cleanup = TRUE
  )
}

bot_log <- function(dir) {
  file <- file.path(dir, "log")
  if (file.exists(file)) readLines(file, warn = FALSE) else character()
}

wait_for_log <- function(dir, pattern, process = NULL) {
  end <- Sys.time() + 40
  while (!any(grepl(pattern, bot_log(dir)))) {
    if (Sys.time() > end || (!is.null(process) && !process$is_alive())) {
      stop("no ", pattern, " in the log: ", toString(bot_log(dir)))
    }
    Sys.sleep(0.1)
  }
}

test_that("a bot answers in an encrypted room, once, whatever happens to its process", {
  robot <- live_client(isolation = "signed")
  mx_crypto_setup(robot)
  them <- live_foreign()
  them$call("bootstrapCrossSigning")
  unsigned <- live_client()
  room <- new_room(them, invite = c(robot$user_id, unsigned$user_id))
  mx_room_join(unsigned, room)
  stranger_room <- mx_room_create(unsigned, invite = robot$user_id)
  dir <- withr::local_tempdir()
  process <- start_bot(robot, dir, them$user_id)
  wait_for_log(dir, "accepted the invitation", process)
  sees_member(them, room, robot$user_id, "join")

  ask <- function(text) them$call("sendText", roomId = room, body = text)
  answers <- function() {
    events <- them$call("messages", roomId = room)
    from_robot <- Filter(function(x) x[["sender"]] == robot$user_id, events)
    unlist(lapply(from_robot, function(x) x[["body"]]))
  }
  sees <- function(body) them$call("waitForMessage", roomId = room, body = body)
  ask("!status what=\u201call of it\u201d")
  sees(paste("status of", "all of it", process$get_pid(), sep = "\n"))
  ask("!plot")
  sees("t.csv")

  # A device that nobody signed, and a server, could be anybody.
  mx_send_text(unsigned, room, "!status")
  wait_for_log(dir, "WARN (ignored|refused)")

  # Killed when the answer was sent, before that was noted.
  file.create(file.path(dir, "crash"))
  ask("!two")
  process$wait(20000)
  expect_equal(process$get_exit_status(), -9L)
  process <- start_bot(robot, dir, them$user_id)
  wait_for_log(dir, "did `two`.*", process)
  ask("!slow")
  wait_for_log(dir, "started")
  sees("slow done")
  expect_equal(sum(answers() == "part one"), 1)
  expect_equal(sum(answers() == "part two"), 1)
  expect_length(grep("did `two`", bot_log(dir)), 2)

  # A flood is answered up to its limit.
  for (i in 1:9) {
    ask("!status")
  }
  sees("Too many commands. Try again in a minute.")
  # SIGTERM: the exit status is that of success.
  process$signal(tools::SIGTERM)
  process$wait(20000)
  expect_equal(process$get_exit_status(), 0L, info = process$read_all_error())
  expect_match(process$read_all_output(), "ended by SIGTERM")
  expect_lte(sum(startsWith(answers(), "status of")), 7)
  expect_equal(sum(startsWith(answers(), "Too many")), 1)
  expect_lt(
    difftime(
      Sys.time(),
      file.mtime(file.path(dir, "heartbeat")),
      units = "secs"
    ),
    60
  )

  rooms <- mx_rooms(robot)
  membership <- rooms$membership[rooms$room_id == stranger_room]
  expect_equal(membership, "invite")
})

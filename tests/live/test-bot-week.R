# A week of a bot's life: everything that happens to a process, a server and a disk, and in
# the end each question has one answer.

inner <- asNamespace("mxcrypt")

# What the tests ask. `die` kills R as a fault in a package would.
week_commands <- quote(list(
  echo = function(n) {
    note("ran", n)
    paste("echo", n)
  },
  add = function(x = 1L) paste("sum", x + 1L),
  slow = function(n) {
    note("ran", n)
    promises::promise(function(resolve, reject) {
      later::later(function() resolve(paste("echo", n)), 1.5)
    })
  },
  count = function(answer = NULL) {
    note("ran", "count")
    answer
  },
  fail = function() stop("a secret"),
  die = function() {
    note("ran", "die")
    tools::pskill(Sys.getpid(), tools::SIGKILL)
    Sys.sleep(60)
  }
))

# A room with the bot, with somebody who asks, and with somebody who does harm.
week <- function(
  url = live_synapse()[["url"]],
  store_dir = NULL,
  limit = 1e6,
  .local_envir = parent.frame()
) {
  user <- live_user("robot")
  people <- lapply(1:2, function(i) {
    client <- live_client(isolation = "signed", .local_envir = .local_envir)
    suppressMessages(mx_crypto_setup(client))
    client
  })
  alice <- people[[1]]
  mallory <- people[[2]]
  dir <- withr::local_tempdir(.local_envir = .local_envir)
  robot <- mx_client_configure(
    url,
    user$user,
    password = user$password,
    path = file.path(dir, "matrix.json"),
    store_dir = if (is.null(store_dir)) file.path(dir, "crypto") else store_dir
  )
  suppressMessages(mx_crypto_setup(robot))
  room <- mx_room_create(alice, invite = c(robot$user_id, mallory$user_id))
  mx_room_join(mallory, room)
  bot <- supervised_bot(
    robot,
    week_commands,
    invited_by = alice$user_id,
    limit = limit,
    poll = 2,
    password = user$password,
    .local_envir = .local_envir
  )
  bot$until(
    function() any(grepl("accepted the invitation", bot$lines())),
    "in the room"
  )
  mx_sync(alice)
  mx_sync(mallory)
  self <- new.env()
  self[["asked"]] <- 0L
  self[["heard"]] <- character()
  ask <- function(n = 1, command = "!echo") {
    numbers <- self[["asked"]] + seq_len(n)
    self[["asked"]] <- self[["asked"]] + n
    for (text in paste(command, numbers)) {
      mx_send_text(alice, room, text)
    }
  }
  list(
    bot = bot,
    robot = robot,
    alice = alice,
    mallory = mallory,
    room = room,
    ask = ask,
    asked = function() self[["asked"]],
    # What the bot said, as Alice reads it.
    heard = function() {
      events <- mx_sync(alice)
      events <- events[
        events$sender == robot$user_id & events$type == "m.room.message",
      ]
      self[["heard"]] <- c(self[["heard"]], events$body)
      self[["heard"]]
    },
    devices = function() {
      query <- "select device_id from devices where user_id = '%s' and not hidden"
      synapse_sql(live_synapse(), sprintf(query, robot$user_id))$device_id
    },
    # All that the bot sent, as the server has it: nothing can hide in a gap of a sync.
    sent = function() {
      query <- "select count(*) n from events where sender = '%s' and room_id = '%s'
        and type = 'm.room.encrypted'"
      synapse_sql(live_synapse(), sprintf(query, robot$user_id, room))$n
    }
  )
}

expect_answered <- function(week) {
  expected <- paste("echo", seq_len(week$asked()))
  week$bot$until(
    function() all(expected %in% week$heard()),
    paste("answered:", toString(setdiff(expected, week$heard())))
  )
}

# As a fault of a client, or a person with bad intentions, sends it.
send_raw <- function(client, room, type, content) {
  id <- paste0("raw-", rlang::hash(list(content, type)))
  path <- inner$api_path("rooms", room, "send", type, id)
  inner$http_json(client, "PUT", path, content)
}

megolm <- "m.megolm.v1.aes-sha2"
poison <- list(
  list(algorithm = 1),
  list(algorithm = megolm),
  list(algorithm = "m.none", ciphertext = "AAAA"),
  list(algorithm = megolm, session_id = "x", ciphertext = list(a = 1)),
  list(
    algorithm = megolm,
    session_id = strrep("A", 43),
    sender_key = 7,
    device_id = "\u202e",
    ciphertext = strrep("A", 30000),
    "m.relates_to" = list(rel_type = list(), event_id = "!echo 1")
  )
)

test_that("a week of a bot's life: each question has one answer", {
  skip_on_os(c("mac", "windows"))
  proxy <- live_proxy()
  # More than Alice asks in a minute, and less than a flood.
  week <- week(proxy$url, limit = c(60, 1000))
  bot <- week$bot
  devices <- week$devices()

  # Monday: outages. The answer is lost, and the way to the server, and the server.
  week$ask(2)
  proxy$lose_answer("PUT .*/send/", times = 1)
  week$ask()
  expect_answered(week)
  bot$logs("Listening goes on", proxy$block("/"))
  week$ask(2)
  live_restart()
  week$ask()
  proxy$clear()
  expect_answered(week)

  # Tuesday: killed before the server has the answer, after that, and at any time.
  for (before in c(TRUE, FALSE)) {
    proxy$delay("PUT .*/send/", before = before)
    week$ask()
    proxy$wait("PUT .*/send/", seconds = 60)
    bot$kill()
    proxy$release()
    expect_answered(week)
  }
  for (pause in c(0.1, 0.3)) {
    week$ask(2)
    Sys.sleep(pause)
    bot$kill()
    expect_answered(week)
  }

  # Wednesday: SIGTERM in the middle of a command, which ends first.
  starts <- bot$starts
  bot$logs(paste0("^", week$asked() + 1, " $"), week$ask(1, "!slow"), "ran")
  bot$process$signal(tools::SIGTERM)
  week$ask()
  bot$until(function() bot$starts > starts, "ended")
  expect_answered(week)
  expect_equal(bot$starts, starts + 1L)
  expect_equal(utils::tail(bot$statuses, 1), 0L)
  expect_length(grep(paste0("^", week$asked() - 1, " $"), bot$lines("ran")), 1)

  # Thursday: the clock is set, ten days ahead, and back to before it began.
  for (seconds in c(864000, -3600, 0)) {
    bot$set_clock(seconds)
    week$ask()
    expect_answered(week)
  }
  expect_equal(bot$starts, starts + 1L)

  # Friday: poison.
  starts <- bot$starts
  for (content in poison) {
    send_raw(week$mallory, week$room, "m.room.encrypted", content)
  }
  clear <- list(msgtype = "m.text", body = "!echo clear")
  send_raw(week$mallory, week$room, "m.room.message", clear)
  mx_send_text(week$alice, week$room, paste("!add", strrep("1", 30000)))
  mx_send_text(week$alice, week$room, c("!add one", "!add 1 2", "!fail"))
  mx_send_text(week$alice, week$room, "!die")
  week$ask()
  expect_answered(week)
  expect_equal(bot$starts, starts + 3L)
  expect_equal(sum(bot$lines("ran") == "die "), 3)
  bot$process$signal(tools::SIGSTOP)
  mx_send_text(week$mallory, week$room, paste("!add", 1:200))
  week$ask()

  # Saturday: it hangs, and the supervisor notices.
  bot[["patience"]] <- 5
  bot$until(function() bot$starts == starts + 4L, "killed")
  bot[["patience"]] <- 120
  expect_answered(week)

  # Sunday: the login is ended, and the device with it.
  config <- jsonlite::fromJSON(week$robot$path)
  session <- list(server = week$robot$server, token = config[["token"]])
  proxy$clear()
  inner$http_json(session, "POST", inner$api_path("logout"), list())
  bot$until(
    function() 200L %in% proxy$seen("keys/upload")$status,
    "there again, with its keys"
  )
  mx_sync(week$alice)
  week$ask()
  expect_answered(week)
  expect_equal(bot$starts, starts + 4L)

  # Nothing lost, and nothing twice.
  heard <- week$heard()
  echoes <- heard[startsWith(heard, "echo")]
  expect_setequal(echoes, paste("echo", seq_len(week$asked())))
  expect_equal(anyDuplicated(echoes), 0L)
  expect_equal(
    sum(heard == "This failed. The reason is in the log of the bot."),
    1
  )
  expect_equal(sum(startsWith(heard, "Too many commands")), 1)
  expect_equal(sum(grepl("too long|must be|Too many arguments", heard)), 3)
  expect_equal(sum(startsWith(heard, "sum")), 60)
  expect_equal(anyDuplicated(heard), 0L)
  expect_equal(week$sent(), length(heard))
  expect_setequal(week$devices(), devices)
})

# A file system of a few megabytes, or NULL where nobody may mount one.
small_disk <- function(.local_envir = parent.frame()) {
  dir <- withr::local_tempdir(.local_envir = .local_envir)
  run <- function(...) {
    tryCatch(
      processx::run(..., error_on_status = FALSE)[["status"]] == 0L,
      error = function(condition) FALSE
    )
  }
  if (!run("mount", c("-t", "tmpfs", "-o", "size=8m", "none", dir))) {
    return(NULL)
  }
  withr::defer(run("umount", c("-l", dir)), envir = .local_envir)
  dir
}

test_that("a disk that is full delays answers, and loses none", {
  skip_on_os(c("mac", "windows"))
  disk <- small_disk()
  skip_if(is.null(disk), "only root may mount a small disk")
  week <- week(store_dir = file.path(disk, "crypto"))
  bot <- week$bot
  week$ask()
  expect_answered(week)

  ballast <- file.path(disk, "ballast")
  bot$logs("disk of the store is full", {
    processx::run(
      "dd",
      c("if=/dev/zero", paste0("of=", ballast), "bs=4k"),
      error_on_status = FALSE
    )
    week$ask(3)
  })
  expect_false("echo 4" %in% week$heard())
  # It ends with the error, and cannot start either.
  starts <- bot$starts
  bot$until(function() bot$starts > starts + 1L, "restarted")
  unlink(ballast)
  expect_answered(week)
  expect_equal(anyDuplicated(week$heard()), 0L)
  expect_equal(week$sent(), 4)
})

# 2,000 commands take minutes: MXCRYPT_BOT_COMMANDS=2000 asks that many.
test_that("the memory of a bot does not grow with its commands", {
  skip_on_os(c("mac", "windows"))
  n <- as.integer(Sys.getenv("MXCRYPT_BOT_COMMANDS", "200"))
  week <- week()
  bot <- week$bot
  resident <- function() {
    lines <- readLines(file.path("/proc", bot$process$get_pid(), "status"))
    as.numeric(gsub("[^0-9]", "", grep("VmRSS", lines, value = TRUE))) / 1024
  }
  # Every fourth one is answered.
  run <- function(n) {
    done <- function() sum(bot$lines("ran") == "count ")
    before <- done()
    commands <- rep_len(c("!count", "!count", "!count", "!count answer"), n)
    suppressMessages(mx_send_text(week$alice, week$room, commands))
    bot$until(function() done() == before + n, paste(n, "commands"), n)
  }
  run(n / 4)
  first <- resident()
  run(3 * n / 4)
  last <- resident()
  if (n >= 2000) {
    message("MB resident after a quarter: ", first, ", at the end: ", last)
  }
  expect_lt(last - first, 10)
  expect_equal(bot$starts, 1L)
})

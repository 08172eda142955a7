skip_if_not_installed("later")
skip_if_not_installed("promises")

# A room of alice and a bot. What the bot logs is kept.
bot_room <- function(commands, ..., encrypted = TRUE, verified = TRUE) {
  pair <- demo_pair(encrypted = encrypted, verified = verified)
  pair[["log"]] <- new.env()
  pair[["bot"]] <- mx_bot(
    pair$bob,
    commands,
    poll = 0,
    log = function(level, text) {
      pair[["log"]][["lines"]] <- c(
        pair[["log"]][["lines"]],
        paste(level, text)
      )
    },
    ...
  )
  start <- mx_bot_start(pair[["bot"]])
  start$stop()
  mx_sync(pair$alice)
  pair
}

# Says something in the room, lets the bot run until it has nothing to do, and returns what
# it answered.
say <- function(pair, text, ..., from = pair$alice, bot = pair$bot) {
  for (one in text) {
    mx_send_text(from, pair$room, one, ...)
  }
  run_until_idle(bot)
  events <- mx_sync(pair$alice)
  events <- events[events$sender == pair$bob$user_id, ]
  events[events$type %in% c("m.room.message", "m.reaction"), ]
}

# The listener handles what is there before it waits again.
run_until_idle <- function(bot) {
  listener <- mx_bot_start(bot)
  on.exit(listener$stop())
  synced <- function() listener$status()$last_sync
  end <- Sys.time() + 20
  seen <- list()
  # A second sync begins when the events of the first are dealt with.
  while (length(seen) < 2L && Sys.time() < end) {
    later::run_now(0.1)
    if (!is.na(synced()) && !any(vapply(seen, identical, NA, synced()))) {
      seen <- c(seen, list(synced()))
    }
  }
}

test_that("a function is a command, and its value the answer", {
  pair <- bot_room(
    list(
      status = function() "All is well.",
      add = function(a = 1, b = 2) a + b,
      nothing = function() NULL,
      silent = function() invisible("secret"),
      who = function(event, client, bot) {
        c(event[["sender"]], client[["user_id"]], class(bot))
      },
      both = function() list("one", "two")
    ),
    done = "\u2705"
  )
  ids <- mx_send_text(pair$alice, pair$room, "!status")
  got <- say(pair, c("!add 5 b=3", "!Nothing", "!who"))
  expect_equal(
    got$body[got$type == "m.room.message"],
    c(
      "All is well.",
      "8",
      paste("@alice:demo", "@bob:demo", "mx_bot", sep = "\n")
    )
  )
  expect_equal(unique(got$msgtype[got$type == "m.room.message"]), "m.notice")
  expect_equal(json_at(got$relates_to[[1]], "m.in_reply_to", "event_id"), ids)
  expect_equal(
    json_at(got$relates_to[got$type == "m.reaction"][[1]], "key"),
    "\u2705"
  )
  got <- say(pair, c("!silent", "!both"))
  expect_equal(got$body[got$type == "m.room.message"], c("one", "two"))
})

test_that("what is no command is left alone", {
  called <- 0
  pair <- bot_room(list(status = function() {
    called <<- called + 1
    NULL
  }))
  id <- mx_send_text(pair$alice, pair$room, "hello")
  mx_edit(pair$alice, pair$room, id, "!status")
  say(
    pair,
    c("status", "a !status", "!unknown", "!", "alice: status", "bob status")
  )
  mx_send_text(pair$alice, pair$room, "!status", msgtype = "m.notice")
  # Its own messages are none either, whoever had it say them.
  mx_send_text(pair$bob, pair$room, "!status")
  expect_equal(say(pair, "!!status")$body, "!status")
  expect_equal(called, 0)
  # An edit of a command is not the command again.
  id <- mx_send_text(pair$alice, pair$room, "!status")
  mx_edit(pair$alice, pair$room, id, "!status now")
  # Other clients may leave the asterisk out.
  new <- list(msgtype = "m.text", body = "!status")
  relation <- list(rel_type = "m.replace", event_id = id)
  edit <- c(new, list("m.new_content" = new, "m.relates_to" = relation))
  mx_send(pair$alice, pair$room, edit)
  say(pair, "!status")
  expect_equal(called, 2)
  run_until_idle(pair$bot)
  expect_equal(called, 2)
})

test_that("a mention addresses the bot, also without a prefix", {
  pair <- bot_room(list(status = function() "well"), prefix = NULL)
  mx_profile_set(pair$bob, "Robbie the bot")
  texts <- c(
    "!status",
    "@bob:demo: status",
    "@bob:demoted status",
    "robbie the bot, status",
    "@bob:demo unknown {stop()}"
  )
  got <- say(pair, texts)
  expect_equal(got$body[1:2], c("well", "well"))
  expect_match(got$body[[3]], "do not know `unknown`", fixed = TRUE)
  expect_equal(nrow(got), 3)
})

test_that("the name of a mention in HTML counts as far as it is the bot's", {
  bot <- list(
    client = list(user_id = "@bot:demo"),
    state = list(names = "@bot:demo")
  )
  event <- function(body, user = "@bot:demo", mentions = user) {
    list(
      body = body,
      mentions = mentions,
      formatted_body = paste0(
        "<a href=\"https://matrix.to/#/",
        user,
        "\">Bo</a> x"
      )
    )
  }
  after <- function(event) after_mention(bot, event, event[["body"]])
  expect_equal(after(event("Bo: status")), "status")
  expect_null(after(event("Bo: status", "@eve:demo")))
  expect_null(after(event("Bo: status", mentions = "@eve:demo")))
  expect_null(after(event("Boring: status")))
})

test_that("arguments that do not fit are answered with the usage", {
  pair <- bot_room(list(
    rows = mx_command(function(n = 10L) "called", "Shows rows")
  ))
  got <- say(pair, c("!rows ten", "!rows 'a", "!rows \u202e{stop()}"))
  expect_match(got$body, "Usage: !rows [n=10]", fixed = TRUE)
  expect_match(got$body[[1]], "whole number")
  expect_match(got$body[[2]], "not closed")
  expect_no_match(got$body[[3]], "\u202e")
})

test_that("help is made of the commands that the sender may use", {
  pair <- bot_room(list(
    rows = mx_command(function(n = 10L, table) NULL, help = "First rows"),
    secret = mx_command(function() NULL, allow = "@eve:demo")
  ))
  got <- say(pair, c("!help", "!help rows", "!help nope", "!help secret"))
  expect_match(
    got$body[[1]],
    "!rows [n=10] <table> \u2013 First rows",
    fixed = TRUE
  )
  expect_no_match(got$body[[1]], "secret")
  expect_match(got$body[[2]], "First rows")
  expect_match(got$body[[3]], "no command `nope`")
  expect_match(got$body[[4]], "no command `secret`")
})

test_that("a command that fails is answered without the error, which is logged", {
  skip_without_utf8()
  fails <- function() {
    inner <- function(password) stop("the password is xyz {1 + 1}\u202e")
    inner("xyz")
  }
  pair <- bot_room(list(
    fails = fails,
    odd = function() mean,
    well = function() "well"
  ))
  got <- say(pair, c("!fails", "!odd", "!well"))
  expect_length(got$body, 3)
  expect_no_match(got$body[1:2], "password|function")
  expect_equal(got$body[[3]], "well")
  log <- grep("^ERROR", pair$log$lines, value = TRUE)
  expect_match(log[[1]], "the password is xyz (1 + 1) ", fixed = TRUE)
  expect_match(log[[1]], "inner()", fixed = TRUE)
  expect_no_match(log[[1]], "\u202e|\\{")
  shown <- bot_room(
    list(fails = fails),
    on_error = function(condition, event) conditionMessage(condition)
  )
  expect_match(say(shown, "!fails")$body, "the password is")
})

test_that("warnings of the listener are in the log", {
  pair <- bot_room(list(echo = function(x) x))
  fault <- function(...) stop("a fault of the package")
  local_replaced("run_command", fault)
  local_replaced("most_tries", 1)
  expect_no_warning(say(pair, "!echo 1"))
  expect_match(pair$log$lines, "^WARN The handler failed", all = FALSE)
})

test_that("a promise is waited for, in order, and its failure is one of the command", {
  later_value <- function(value, fails = FALSE) {
    promises::promise(function(resolve, reject) {
      later::later(function() if (fails) reject(value) else resolve(value), 0.2)
    })
  }
  pair <- bot_room(list(
    slow = function() later_value("slow"),
    fast = function() "fast",
    bad = function() later_value("reason", fails = TRUE)
  ))
  got <- say(pair, c("!slow", "!fast", "!bad"))
  expect_equal(got$body[1:2], c("slow", "fast"))
  expect_match(got$body[[3]], "failed")
  expect_match(pair$log$lines, "reason", all = FALSE)
})

test_that("only messages of signed devices are commands, unless it is said", {
  skip_on_cran()
  pair <- bot_room(
    list(status = function() "well"),
    verified = FALSE,
    refused = "\u274c"
  )
  mx_isolation_mode(pair$alice, "all")
  expect_equal(nrow(say(pair, "!status")), 0)
  expect_match(pair$log$lines, "did not sign|trust", all = FALSE)
  pair <- bot_room(
    list(status = function() "well"),
    encrypted = FALSE,
    refused = "\u274c"
  )
  got <- say(pair, "!status")
  expect_equal(got$type, "m.reaction")
  expect_match(pair$log$lines, "it is not encrypted", all = FALSE)
  pair <- bot_room(
    list(status = function() "well"),
    encrypted = FALSE,
    trust = "none"
  )
  expect_equal(say(pair, "!status")$body, "well")
  # In an encrypted room a server could say anything in the name of anybody.
  expect_match(
    refusal_of(
      pair$bot,
      list(
        room_id = mx_room_create(pair$bob, encrypted = TRUE),
        trust = as_trust("none"),
        encrypted = FALSE,
        sender = "@alice:demo"
      ),
      list()
    ),
    "the message is not"
  )
})

test_that("users, servers, functions and rooms decide who may use it", {
  event <- list(sender = "@alice:demo", room_id = "!a:demo")
  bot <- list(log = function(level, text) NULL)
  expect_true(is_allowed(bot, NULL, event))
  expect_true(is_allowed(bot, c("@eve:demo", "@alice:demo"), event))
  expect_true(is_allowed(bot, ":demo", event))
  expect_false(is_allowed(bot, ":emo", event))
  expect_false(is_allowed(bot, character(), event))
  expect_false(is_allowed(bot, "@alice:demo2", event))
  for (odd in list("@x:evil:demo", "@alice", "", NA_character_, NULL)) {
    expect_false(is_allowed(bot, c(":demo", "@alice:demo"), list(sender = odd)))
  }
  expect_true(is_allowed(bot, function(event) TRUE, event))
  for (fun in list(function(e) NA, function(e) "yes", function(e) stop("x"))) {
    expect_false(is_allowed(bot, fun, event))
  }
  pair <- bot_room(list(status = function() "well"), allow = "@eve:demo")
  expect_equal(nrow(say(pair, "!status")), 0)
  expect_match(pair$log$lines, "does not list", all = FALSE)
})

test_that("a flood is answered once, and hurts nobody else", {
  state <- new.env()
  verdicts <- function(key, n, now) {
    vapply(seq_len(n), function(i) count_one(state, key, 3, now), "")
  }
  expect_equal(verdicts("a", 6, 100), c(rep("ok", 3), "first", "over", "over"))
  expect_equal(verdicts("b", 1, 100), "ok")
  # While it goes on, nothing is answered.
  expect_equal(verdicts("a", 2, 150), c("over", "over"))
  expect_equal(verdicts("a", 1, 155), "over")
  expect_equal(verdicts("a", 1, 300), "ok")
  for (i in 1:500) {
    count_one(state, paste("user", i), 3, 1000 + i)
  }
  expect_lt(length(state[["times"]]), 100)
  pair <- bot_room(list(n = function() "answer"), limit = 2)
  got <- say(pair, rep("!n", 5))
  expect_equal(got$body[1:2], c("answer", "answer"))
  expect_match(got$body[-(1:2)], "Too many")
  expect_equal(nrow(got), 3)
})

test_that("a clock that is set lifts no limit of commands", {
  state <- new.env()
  set_clock <- local_clock()
  expect_equal(count_one(state, "a", 1), "ok")
  set_clock(86400)
  expect_equal(count_one(state, "a", 1), "first")
  set_clock(-86400)
  expect_equal(count_one(state, "a", 1), "over")
})

test_that("invitations of listed people are accepted, and no others", {
  homeserver <- mx_demo_homeserver()
  robot <- mx_demo_client(homeserver, "robot")
  alice <- mx_demo_client(homeserver, "alice")
  eve <- mx_demo_client(homeserver, "eve")
  mine <- mx_room_create(alice, invite = robot$user_id)
  other <- mx_room_create(eve, invite = robot$user_id)
  log <- character()
  bot <- mx_bot(
    robot,
    list(a = function() "a"),
    invited_by = alice$user_id,
    log = function(level, text) log <<- c(log, text)
  )
  broken <- function(client, room, ...) {
    mx_abort("No such server.", "mx_error_http")
  }
  local({
    local_replaced("mx_room_join", broken)
    run_until_idle(bot)
  })
  expect_match(log, "failed: No such server", all = FALSE)
  run_until_idle(bot)
  rooms <- mx_rooms(robot)
  expect_equal(rooms$room_id[rooms$membership == "join"], mine)
  expect_equal(rooms$room_id[rooms$membership == "invite"], other)
  # Once a run, of which there were two.
  expect_length(grep("ignored the invitation of @eve", log), 2)
})

test_that("what is older than the first run, or than asked, is skipped", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "!a")
  log <- character()
  keep <- function(level, text) log <<- c(log, text)
  new_bot <- function(...) {
    mx_bot(pair$bob, list(a = function() "a"), log = keep, ...)
  }
  Sys.sleep(0.01)
  expect_equal(nrow(say(pair, character(), bot = new_bot())), 0)
  # While it was away.
  expect_equal(say(pair, "!a", bot = new_bot())$body, "a")
  mx_send_text(pair$alice, pair$room, "!a")
  Sys.sleep(0.01)
  got <- say(pair, character(), bot = new_bot(skip_older = TRUE))
  expect_equal(nrow(got), 0)
  expect_match(log, "skipped", all = FALSE)
  bot <- new_bot(skip_older = 60)
  bot$state$oldest <- .POSIXct(0)
  sent <- function(age) list(origin_server_ts = Sys.time() - age)
  expect_false(is_too_old(bot, sent(50)))
  expect_true(is_too_old(bot, sent(70)))
})

test_that("the answer to one event has the same transaction ids whenever it is sent", {
  bot <- list(consumer = "mx_bot")
  ids <- answer_ids(bot, list(event_id = "$a"), 2)
  expect_identical(answer_ids(bot, list(event_id = "$a"), 2), ids)
  others <- c(
    answer_ids(bot, list(event_id = "$b"), 2),
    answer_ids(list(consumer = "other"), list(event_id = "$a"), 2)
  )
  expect_equal(anyDuplicated(c(ids, others)), 0)
  # A process that died before it noted that it had answered.
  pair <- bot_room(list(a = function() "a"))
  handler <- bot_handler(pair$bot)
  id <- mx_send_text(pair$alice, pair$room, "!a")
  event <- event_at(utils::tail(mx_messages(pair$bob, pair$room), 1), 1)
  expect_equal(event$event_id, id)
  for (i in 1:2) {
    done <- FALSE
    promises::then(handler(event, pair$bob), function(value) done <<- TRUE)
    while (!done) {
      later::run_now(1)
    }
  }
  events <- mx_sync(pair$alice)
  expect_equal(sum(events$body %in% "a"), 1)
})

test_that("an answer goes to the thread of its command, or begins one", {
  pair <- bot_room(list(a = function() "a"))
  root <- mx_send_text(pair$alice, pair$room, "root")
  expect_equal(say(pair, "!a", thread = root)$thread, root)
  pair <- bot_room(list(a = function() "a"), reply = "thread")
  id <- mx_send_text(pair$alice, pair$room, "!a")
  expect_equal(say(pair, character())$thread, id)
  pair <- bot_room(list(a = function() "a"), reply = "message")
  expect_null(say(pair, "!a")$relates_to[[1]])
})

test_that("in a room of two the prefix can be left out, if it was said", {
  pair <- bot_room(list(a = function() "a"), direct = TRUE)
  expect_equal(say(pair, "a")$body, "a")
  carol <- mx_demo_client(pair$homeserver, "carol")
  mx_room_invite(pair$alice, pair$room, carol$user_id)
  mx_room_join(carol, pair$room)
  expect_equal(nrow(say(pair, "a")), 0)
})

test_that("the heartbeat is touched after a sync, and checked at the start", {
  pair <- bot_room(list(a = function() "a"))
  file <- withr::local_tempfile()
  bot <- pair$bot
  bot$heartbeat <- file
  listener <- mx_bot_start(bot)
  withr::defer(listener$stop())
  Sys.setFileTime(file, Sys.time() - 1000)
  end <- Sys.time() + 10
  is_old <- function() file.mtime(file) < Sys.time() - 500
  while (is_old() && Sys.time() < end) {
    later::run_now(0.2)
  }
  expect_false(is_old())
  bot$heartbeat <- file.path(file, "none")
  listener$stop()
  expect_error(mx_bot_start(bot), class = "mx_error_file")
})

test_that("what is wrong is an error at the start", {
  client <- mx_demo_client(mx_demo_homeserver(), "robot")
  a <- list(a = function() "a")
  refuses <- function(...) {
    expect_error(mx_bot(client, ...), class = "mx_error_argument")
  }
  for (commands in list(
    NULL,
    list(),
    list(function() 1),
    list(a = 1),
    list(`a b` = sum),
    c(a, a),
    mean
  )) {
    refuses(commands)
  }
  refuses(a, allow = "alice")
  refuses(a, allow = 5)
  refuses(a, invited_by = "demo")
  refuses(a, trust = "good")
  refuses(a, limit = 0)
  refuses(a, limit = c(1, 2, 3))
  refuses(a, prefix = "a b")
  refuses(a, skip_older = "yes")
  refuses(a, skip_older = -1)
  refuses(a, reply = "loudly")
  refuses(a, log = "file")
  expect_error(mx_bot_start(a), class = "mx_error_argument")
  expect_error(mx_bot_run(5), class = "mx_error_argument")
  expect_error(
    mx_bot_start(mx_bot(client, a, rooms = "nowhere")),
    class = "mx_error_room"
  )
  running <- mx_bot_start(mx_bot(client, a, log = function(level, text) NULL))
  withr::defer(running$stop())
  condition <- expect_error(
    mx_bot_start(mx_bot(client, a, log = function(level, text) NULL)),
    class = "mx_error_listening"
  )
  expect_match(conditionMessage(condition), "bot")
  expect_equal(as.character(conditionCall(condition)[[1]]), "mx_bot_start")
})

test_that("commands are described to clients, and understood from them", {
  pair <- bot_room(
    list(
      rows = mx_command(
        function(n = 10L, table = c("cars", "iris"), x, ...) {
          paste(n, table, x, ...)
        },
        help = "First rows"
      )
    ),
    describe = TRUE
  )
  content <- command_description("rows", pair$bot$commands$rows)
  key <- core(sha256_base64("rows@bob:demo"))
  known <- room_state(pair$alice, pair$room, description_type, key)
  expect_equal(as_json_text(known), as_json_text(content))
  expect_equal(content$command, "rows")
  expect_equal(
    vapply(content$parameters, function(x) x$key, ""),
    c("n", "table", "x", "...")
  )
  expect_equal(
    core(sha256_base64("ban@bot:demo")),
    # openssl dgst -sha256 -binary | base64
    "H5VoQrEC1vq1RrWMHxU1Iyz19FHCUmEZQe2va4KRJ5U="
  )
  invoke <- function(arguments, name = "rows") {
    mx_send(
      pair$alice,
      pair$room,
      list(
        msgtype = "m.text",
        body = "/whatever",
        "m.mentions" = list(user_ids = I(pair$bob$user_id)),
        org.matrix.msc4391.command = list(command = name, arguments = arguments)
      )
    )
    say(pair, character())$body
  }
  expect_equal(
    invoke(list(n = 5, x = "--n=3 'y", ... = list("a", "b"))),
    "5 cars --n=3 'y a b"
  )
  expect_match(invoke(list(n = list(1, 2), x = "a")), "one value")
  expect_match(invoke(list(event = "5")), "no argument `event`")
  expect_match(invoke(list(), "nope"), "do not know")
})

test_that("SIGTERM and Ctrl-C let the command at work end, and end the bot", {
  skip_on_cran()
  skip_on_os("windows")
  skip_if_not_installed("processx")
  code <- function() {
    library(mxcrypt)
    file <- commandArgs(TRUE)[[1]]
    homeserver <- mx_demo_homeserver()
    alice <- mx_demo_client(homeserver, "alice")
    robot <- mx_demo_client(homeserver, "robot")
    room <- mx_room_create(alice, invite = robot$user_id)
    mx_room_join(robot, room)
    work <- function() {
      writeLines("at work", file)
      end <- Sys.time() + 20
      while (!file.exists(paste0(file, ".go")) && Sys.time() < end) {
        Sys.sleep(0.05)
      }
      "done"
    }
    bot <- mx_bot(robot, list(work = work, next_one = function() "too late"))
    later::later(function() {
      mx_send_text(alice, room, "!work")
      mx_send_text(alice, room, "!next_one")
    })
    cat("reason", mx_bot_run(bot, seconds = 60), "\n")
    cat(mx_messages(alice, room)$body, sep = "\n")
    # SIGTERM has its usual effect again.
    cat("after\n")
    Sys.sleep(30)
  }
  script <- withr::local_tempfile(lines = deparse(body(code)), fileext = ".R")
  end_with <- function(signal) {
    file <- withr::local_tempfile()
    process <- processx::process$new(
      file.path(R.home("bin"), "Rscript"),
      c(script, file),
      stdout = "|",
      stderr = "2>&1",
      cleanup = TRUE
    )
    wait <- function(is_done) {
      end <- Sys.time() + 60
      while (!is_done() && process$is_alive() && Sys.time() < end) {
        Sys.sleep(0.05)
      }
      expect_true(is_done())
    }
    wait(function() file.exists(file))
    process$signal(signal)
    Sys.sleep(0.3)
    expect_true(process$is_alive())
    file.create(paste0(file, ".go"))
    output <- character()
    wait(function() {
      output <<- c(output, process$read_output_lines())
      "after" %in% output
    })
    process$signal(tools::SIGTERM)
    process$wait(10000)
    expect_false(process$is_alive())
    output
  }
  for (signal in c(tools::SIGTERM, tools::SIGINT)) {
    output <- end_with(signal)
    name <- if (signal == tools::SIGTERM) "SIGTERM" else "interrupt"
    expect_true(any(startsWith(output, paste("reason", name))), info = output)
    expect_true("done" %in% output)
    expect_false("too late" %in% output)
  }
})

test_that("nothing that a stranger writes makes the bot fail or wait", {
  pair <- bot_room(list(status = function() "well"))
  mx_send_text(pair$alice, pair$room, "hello")
  events <- mx_sync(pair$bob)
  event <- event_at(events, match("hello", events$body))
  event[["origin_server_ts"]] <- Sys.time()
  event[["mentions"]] <- pair$bob$user_id
  handler <- bot_handler(pair[["bot"]])
  write <- function(body, html = NA_character_) {
    event[["body"]] <- body
    event[["formatted_body"]] <- html
    system.time(handler(event, pair$bob))[["elapsed"]]
  }
  expect_no_error({
    write("\ufffe \uffff")
    write("!\uffff")
    for (id in c("%00x", "%", "%zz", "%ff")) {
      link <- paste0("<a href=\"https://matrix.to/#/", id, "\">x</a>")
      write("Robot: status", link)
    }
  })
  # A time that grows with the square of the length would be half a minute.
  expect_lt(write(paste0("a", strrep(" ", 60000), "x")), 2)
})

test_that("many invitations of strangers cost little", {
  homeserver <- mx_demo_homeserver()
  bob <- mx_demo_client(homeserver, "bob")
  people <- lapply(c("alice", "mallory"), function(name) {
    mx_demo_client(homeserver, name)
  })
  quiet <- function(level, text) NULL
  bot <- mx_bot(
    bob,
    list(a = function() "a"),
    invited_by = "@alice:demo",
    log = quiet,
    poll = 0
  )
  listener <- mx_bot_start(bot)
  withr::defer(listener$stop())
  looks <- 0
  real <- accept_invitations
  local_replaced("accept_invitations", function(...) {
    looks <<- looks + 1
    real(...)
  })
  for (i in 1:5) {
    mx_room_create(people[[2]], invite = bob$user_id)
  }
  room <- mx_room_create(people[[1]], invite = bob$user_id)
  membership <- function() {
    rooms <- mx_rooms(bob)
    rooms$membership[rooms$room_id == room]
  }
  end <- Sys.time() + 10
  while (looks == 0 && Sys.time() < end) {
    later::run_now(0.05)
  }
  expect_equal(looks, 1)
  expect_equal(membership(), "join")
})

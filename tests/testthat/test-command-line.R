# The command `mxcrypt`: its arguments, its exit status, and what it reads and writes.

# A demo client with a room, and the command with its configuration.
commanded <- function() {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  room <- mx_room_create(alice, name = "Pipeline")
  mx_sync(alice)
  list(
    client = alice,
    room = room,
    said = function() messages(mx_messages(alice, room)),
    # The exit status, and the lines of both outputs.
    run = function(command, ...) {
      out <- NULL
      err <- capture_err(
        out <- utils::capture.output(
          status <- mx_cli(c(command, "--config", alice$path, ...))
        )
      )
      list(status = status, out = out, err = err)
    }
  )
}

# What code writes to the standard error, in one text.
capture_err <- function(code) {
  file <- tempfile()
  connection <- file(file, "w")
  sink(connection, type = "message")
  on.exit({
    sink(type = "message")
    close(connection)
    unlink(file)
  })
  force(code)
  flush(connection)
  paste(readLines(file), collapse = "\n")
}

test_that("arguments are options, or words", {
  parse <- function(...) {
    parse_command_line(c("send", ...))[c("options", "words")]
  }
  expect_equal(
    parse("#ops", "-", "--code"),
    list(options = list(code = TRUE), words = c("#ops", "-"))
  )
  expect_equal(
    parse("--file", "a", "r", "--file=b=c", "--timeout", "-1", "t"),
    list(
      options = list(file = c("a", "b=c"), timeout = "-1"),
      words = c("r", "t")
    )
  )
  # After `--` nothing is an option, also no second `--`, and no `--help`.
  expect_equal(
    parse("r", "--", "-x", "--", "--help")$words,
    c("r", "-x", "--", "--help")
  )
  expect_equal(parse("r", "", "a b")$words, c("r", "", "a b"))
  expect_equal(parse("r", "--")$words, "r")
  wrong <- list(
    character(),
    "sent",
    "--code",
    c("send", "-x"),
    c("send", "--cod"),
    c("send", "--code=yes"),
    c("send", "--file"),
    c("send", "--file", "--", "x"),
    c("send", "--file="),
    c("send", "--thread", "a", "--thread", "b"),
    c("doctor", "--code")
  )
  for (args in wrong) {
    expect_error(parse_command_line(args), class = "mxcrypt_usage", info = args)
  }
  for (args in list("help", "-h", "--help", c("send", "r", "--help"))) {
    expect_equal(parse_command_line(args)$command, "help")
  }
})

test_that("every option is in the help", {
  help <- paste(command_help, collapse = "\n")
  for (command in names(command_options)) {
    expect_match(help, paste("mxcrypt", command), fixed = TRUE)
    for (option in names(command_options[[command]])) {
      expect_match(help, paste0("--", option), fixed = TRUE)
    }
  }
  expect_output(expect_equal(mx_cli("--help"), 0L), "Usage: mxcrypt")
  expect_output(expect_equal(mx_cli("--version"), 0L), "^mxcrypt [0-9.]+$")
})

test_that("text is posted in the form that is asked for", {
  at <- commanded()
  sent <- at$run("send", "Pipeline", "two", "words")
  expect_equal(sent$status, 0L)
  expect_equal(sent$err, "")
  at$run("send", at$room, "--code", "--", "--x <- 1")
  at$run("send", at$room, "*new*", "--markdown", "--notice")
  at$run(
    "send",
    at$room,
    "@bob:demo: look",
    "--mention",
    "@bob:demo",
    "--thread",
    sent$out
  )
  said <- at$said()
  expect_equal(sent$out, said$event_id[[1]])
  expect_equal(
    said$body,
    c("two words", "--x <- 1", "*new*", "@bob:demo: look")
  )
  expect_match(said$formatted_body[[2]], "<pre><code>--x &lt;- 1", fixed = TRUE)
  expect_equal(said$formatted_body[[3]], "<em>new</em>")
  expect_equal(said$msgtype, c("m.text", "m.text", "m.notice", "m.text"))
  expect_equal(said$mentions[[4]], "@bob:demo")
  expect_equal(said$thread[[4]], sent$out)
})

test_that("files follow the text, and long text is a file", {
  at <- commanded()
  file <- withr::local_tempfile(fileext = ".csv", lines = "a,b")
  sent <- at$run("send", at$room, "Both:", "--file", file, "--file", file)
  expect_length(sent$out, 3)
  at$run("send", at$room, strrep("x", 1e5))
  said <- at$said()
  expect_equal(said$msgtype, c("m.text", rep("m.file", 3)))
  expect_equal(said$filename[-1], c(rep(basename(file), 2), "output.txt"))
})

test_that("the doctor and the status are shown", {
  at <- commanded()
  found <- at$run("doctor")
  expect_match(found$out[[1]], "mx_doctor", fixed = TRUE)
  expect_true(found$status %in% c(0L, 1L))
  expect_match(
    at$run("status")$out,
    at$client$user_id,
    fixed = TRUE,
    all = FALSE
  )
})

test_that("the exit status says what is wrong, and where to look", {
  at <- commanded()
  status <- function(...) at$run(...)$status
  expect_equal(status("send"), 2L)
  expect_equal(status("send", at$room), 2L)
  expect_equal(status("send", at$room, ""), 2L)
  expect_equal(status("send", at$room, "-", "x"), 2L)
  expect_equal(status("send", "", "x"), 2L)
  expect_equal(status("send", at$room, "x", "--code", "--markdown"), 2L)
  expect_equal(status("send", at$room, "x", "--timeout", "soon"), 2L)
  expect_equal(status("send", at$room, "x", "--mention", "bob"), 2L)
  expect_equal(status("send", at$room, "--file", "no such file"), 2L)
  expect_equal(status("send", at$room, "--file", tempdir()), 2L)
  expect_equal(status("doctor", "please"), 2L)
  unknown <- at$run("send", "Pipelin", "x")
  expect_equal(unknown$status, 1L)
  expect_match(unknown$err, "Did you mean \"Pipeline\"")
  # A room that nobody here is in.
  expect_equal(status("send", "!none:demo", "x"), 1L)
  expect_equal(nrow(at$said()), 0)
  capture_err(no_config <- mx_cli(c("send", "r", "x", "--config", tempfile())))
  expect_equal(no_config, 78L)
  mx_logout(at$client, ask = FALSE)
  expect_equal(status("send", at$room, "x"), 78L)
})

test_that("without a network, what can wait does, and goes with the next", {
  skip_without_utf8()
  at <- commanded()
  expect_equal(at$run("outbox"), list(status = 0L, out = character(), err = ""))
  real <- http_once
  is_there <- FALSE
  local_replaced("http_once", function(...) {
    if (is_there) real(...) else network_error("No response.")
  })
  withr::local_options(mxcrypt.pause = 0)
  waits <- at$run("send", "Pipeline", "one\ttext\nof d\u00e9j\u00e0")
  expect_equal(waits$status, 75L)
  expect_match(waits$err, "stays in the outbox")
  expect_equal(waits$out, character())
  expect_equal(at$run("send", "#new:demo", "x")$status, 69L)
  listed <- at$run("outbox")
  expect_equal(listed$status, 75L)
  expect_match(
    listed$out,
    "^[0-9]+\t!.*\tqueued\t.*\tone text of d\u00e9j\u00e0$"
  )
  expect_equal(at$run("outbox", "--retry")$status, 75L)
  expect_match(at$run("status")$out, "outbox: 1 message", all = FALSE)
  is_there <- TRUE
  sent <- at$run("outbox", "--retry")
  expect_equal(sent$status, 0L)
  expect_equal(at$said()$event_id, sent$out)
})

test_that("what is refused for good fails", {
  at <- commanded()
  real <- http_once
  refuses <- TRUE
  local_replaced("http_once", function(session, method, path, ...) {
    if (!grepl("/send/m.room.", path) || !refuses) {
      return(real(session, method, path, ...))
    }
    refuses <<- FALSE
    body <- "{\"errcode\":\"M_FORBIDDEN\",\"error\":\"no\"}"
    list(status = 403L, body = charToRaw(body))
  })
  expect_equal(at$run("send", at$room, "x")$status, 1L)
  # One of several.
  refuses <- TRUE
  file <- withr::local_tempfile(lines = "x")
  some <- at$run("send", at$room, "x", "--file", file)
  expect_equal(some$status, 1L)
  expect_match(some$err, "1 of 2 messages was refused")
  expect_equal(some$out, utils::tail(at$said()$event_id, 1))
})

# What the command makes of bytes on its standard input.
posted_input <- function(
  bytes,
  ...,
  most = most_input_bytes,
  options = list()
) {
  dir <- withr::local_tempdir()
  path <- file.path(dir, "input")
  writeBin(utils::head(bytes, most), path)
  input <- list(
    dir = dir,
    path = path,
    size = file.size(path),
    cut = length(bytes) > most
  )
  messages <- input_message(input, options)
  lapply(messages, ready_message, environment())
}

test_that("standard input is a message where it can be one, and a file otherwise", {
  text <- function(x, ...) posted_input(charToRaw(x), ...)[[1]]
  expect_equal(text("one\n two \r\n\n")$text, "one\n two ")
  expect_equal(text("\033[31mred\033[0m")$text, "red")
  expect_equal(text("d\u00e9j\u00e0")$text, "d\u00e9j\u00e0")
  expect_match(
    text("a<b", options = list(code = TRUE))$html,
    "<pre><code>a&lt;b"
  )
  expect_length(posted_input(raw()), 0)
  expect_length(posted_input(charToRaw(" \n\n")), 0)
  name <- function(...) posted_input(...)[[1]]$file$name
  expect_equal(name(as.raw(c(0x61, 0xff))), "output.txt")
  expect_equal(name(as.raw(c(0x61, 0))), "output.bin")
  expect_equal(name(charToRaw(strrep("x\n", 1e5))), "output.txt")
  expect_equal(name(raw(1e5)), "output.bin")
  # Text that is too long only with its HTML.
  code <- list(code = TRUE)
  expect_equal(name(charToRaw(strrep("<", 3e4)), options = code), "output.txt")
  cut <- posted_input(charToRaw(strrep("x", 60000)), most = 50000)[[1]]
  expect_equal(cut$file$size, 50000)
  expect_equal(cut$text, "Cut after 50,000 bytes")
})

# Runs the installed command in a process of its own, with a server that is not there.
# Returns its status, both outputs and the seconds that it took.
run_command_alone <- function(
  args,
  input = NULL,
  env = character(),
  stdin = "|"
) {
  skip_on_cran()
  skip_on_os("windows")
  skip_if_not_installed("processx")
  command <- system.file("exec", "mxcrypt", package = "mxcrypt")
  skip_if(command == "" || file.access(command, 1) != 0, "not installed")
  process <- processx::process$new(
    command,
    args,
    stdin = stdin,
    stdout = "|",
    stderr = "|",
    env = c("current", R_LIBS = paste(.libPaths(), collapse = ":"), env)
  )
  withr::defer(process$kill())
  if (identical(stdin, "|")) {
    while (length(input) > 0L) {
      input <- process$write_input(input)
    }
    close(process$get_input_connection())
  }
  took <- system.time(process$wait(60000))[["elapsed"]]
  list(
    status = process$get_exit_status(),
    out = process$read_all_output(),
    err = process$read_all_error(),
    took = took
  )
}

test_that("the exit status is right also if nobody reads the output", {
  skip_on_cran()
  skip_on_os("windows")
  skip_if_not_installed("processx")
  command <- system.file("exec", "mxcrypt", package = "mxcrypt")
  skip_if(command == "" || file.access(command, 1) != 0, "not installed")
  status <- function(call) {
    line <- paste0("( \"$0\" ", call, " 2>&1; echo $? >&3 ) 3>&2 | true")
    ran <- processx::run(
      "sh",
      c("-c", line, command),
      env = c("current", R_LIBS = paste(.libPaths(), collapse = ":"))
    )
    trimws(ran$stderr)
  }
  expect_equal(status("--version"), "0")
  # It is the standard error whose reader is gone.
  expect_equal(status("bogus"), "2")
})

test_that("after two dashes a dash is text", {
  at <- commanded()
  expect_equal(at$run("send", "Pipeline", "--", "-")$status, 0L)
  expect_equal(at$run("send", "--", "Pipeline", "-", "x")$status, 0L)
  expect_equal(at$said()$body, c("-", "- x"))
})

test_that("the installed command neither hangs nor loses what it was given", {
  at <- commanded()
  config <- read_config(at$client$path)
  config$server <- "http://127.0.0.1:1"
  write_config(config, at$client$path)
  run <- function(args, ...) {
    args <- append(args, c("--config", at$client$path), 1)
    run_command_alone(args, ...)
  }
  c_locale <- c(LC_ALL = "C")
  # 200 kB: more than a pipe holds. It is read to its end.
  long <- charToRaw(strrep("d\u00e9j\u00e0 vu\n", 2e4))
  waits <- run(c("send", "Pipeline", "-", "--timeout", "5"), long, c_locale)
  expect_equal(waits$status, 75L)
  expect_lt(waits$took, 30)
  words <- run(
    c("send", "Pipeline", "d\u00e9j\u00e0", "--", "-e", ""),
    env = c_locale
  )
  expect_equal(words$status, 75L)
  nothing <- run(c("send", "Pipeline", "-"), stdin = NULL)
  expect_equal(nothing[c("status", "out")], list(status = 0L, out = ""))
  expect_match(nothing$err, "Nothing was sent")
  expect_equal(mx_outbox(at$client)$body, c("output.txt", "d\u00e9j\u00e0 -e "))
  listed <- run("outbox", env = c_locale)
  expect_match(listed$out, "d\u00e9j\u00e0 -e", fixed = TRUE, useBytes = TRUE)
})

# Notifications against the real server: of jobs, of scripts, and by the command
# `mxcrypt`, with and without a network.

# The installed command, started. With `input` NULL its standard input is empty.
start_command <- function(path, args, input = NULL, env = character()) {
  process <- processx::process$new(
    system.file("exec", "mxcrypt", package = "mxcrypt"),
    append(args, c("--config", path), 1),
    stdin = if (is.null(input)) NULL else "|",
    stdout = "|",
    stderr = "|",
    env = c("current", R_LIBS = paste(.libPaths(), collapse = ":"), env)
  )
  while (length(input) > 0L) {
    input <- process$write_input(input)
  }
  if (process$has_input_connection()) {
    close(process$get_input_connection())
  }
  process
}

ended_command <- function(process) {
  took <- system.time(process$wait(90000))[["elapsed"]]
  list(
    status = process$get_exit_status(),
    out = strsplit(process$read_all_output(), "\n")[[1]],
    err = process$read_all_error(),
    took = took
  )
}

run_command_live <- function(...) ended_command(start_command(...))

# The configuration of a client whose server is at another address.
with_server <- function(client, url) {
  config <- read_config(client$path)
  config$server <- url
  write_config(config, client$path)
  forget_open_stores()
}

test_that("a job and the command reach an encrypted room, and others read them", {
  alice <- live_client()
  bob <- live_stranger()
  alias <- paste0("ops", sample.int(1e9, 1))
  room <- mx_room_create(alice, alias = alias, invite = bob$user_id)
  bob$call("join", roomId = room)
  alice <- remember_room(alice, room)
  withr::local_envvar(MXCRYPT_MATRIX_CONFIG = alice$path)
  work <- function(secret) stop("no data today")
  error <- tryCatch(
    with_mx_notification(work("hunter2"), name = "Nightly", start = TRUE),
    error = identity
  )
  expect_equal(conditionMessage(error), "no data today")
  said <- messages(mx_messages(alice, room))
  reads(bob, room, said$body[[2]])
  expect_match(
    said$body[[2]],
    "^Nightly failed after .*\nno data today\n\n.*work\\(\\)"
  )
  expect_equal(said$thread[[2]], said$event_id[[1]])
  expect_false(any(grepl("hunter2", said$body)))

  # From a shell, in the locale of cron.
  cron <- c(LC_ALL = "C")
  input <- charToRaw("Backup d\u00e9j\u00e0 <done>\n")
  name <- paste0("#", alias)
  sent <- run_command_live(
    alice$path,
    c("send", name, "-", "--code"),
    input,
    cron
  )
  expect_equal(sent[c("status", "err")], list(status = 0L, err = ""))
  reads(bob, room, "Backup d\u00e9j\u00e0 <done>")
  line <- "mxcrypt::mx_notify('done \u00e9')"
  done <- processx::run("Rscript", c("-e", line), error_on_status = FALSE)
  expect_equal(done$status, 0L)
  reads(bob, room, "done \u00e9")

  # What is no text is a file.
  bytes <- as.raw(c(0, 255, 10))
  sent <- run_command_live(alice$path, c("send", room, "-"), bytes)
  event <- mx_messages(alice, room)
  event <- event[event$event_id == sent$out, ]
  expect_equal(event$filename, "output.bin")
  file <- mx_media_download(alice, event, withr::local_tempdir())
  expect_equal(readBin(file$path, "raw", 10), bytes)
})

test_that("while the server is away, jobs go on, and messages wait and then come", {
  alice <- live_client()
  alias <- paste0("away", sample.int(1e9, 1))
  room <- mx_room_create(alice, alias = alias)
  name <- paste0("#", alias)
  expect_true(mx_notify("before", client = alice, room = name))
  url <- read_config(alice$path)$server

  # A server that takes requests and is silent: this R waits, and answers nothing.
  port <- httpuv::randomPort()
  server <- httpuv::startServer(
    "127.0.0.1",
    port,
    list(call = function(req) NULL)
  )
  withr::defer(server$stop())
  with_server(alice, paste0("http://127.0.0.1:", port))
  alice <- mx_client_load(path = alice$path)
  took <- system.time(
    expect_warning(
      value <- with_mx_notification("fine", alice, name, timeout = 3),
      class = "mx_warning_notification"
    )
  )[["elapsed"]]
  expect_equal(value, "fine")
  # The room is looked up before, and the message sent afterwards.
  expect_lt(took, 10)
  command <- c("send", name, "by the command", "--timeout", "3")
  silent <- run_command_live(alice$path, command)
  expect_equal(silent$status, 75L)
  expect_lt(silent$took, 15)

  # Nothing is there.
  with_server(alice, "http://127.0.0.1:1")
  dead <- start_command(
    alice$path,
    c("send", name, "-"),
    charToRaw("dead port")
  )
  dead <- ended_command(dead)
  expect_equal(dead$status, 75L)
  expect_lt(dead$took, 25)

  with_server(alice, url)
  back <- run_command_live(alice$path, c("send", name, "--", "--back--"))
  expect_equal(back$status, 0L)
  bodies <- messages(mx_messages(mx_client_load(path = alice$path), room))$body
  expect_match(bodies[[2]], "finished after .*\nfine$")
  expect_equal(
    bodies[-2],
    c("before", "by the command", "dead port", "--back--")
  )
})

test_that("the command refuses a terminal, and takes a closed input for an empty one", {
  alice <- live_client()
  room <- mx_room_create(alice)
  command <- shQuote(system.file("exec", "mxcrypt", package = "mxcrypt"))
  line <- paste(
    command,
    "send --config",
    shQuote(alice$path),
    shQuote(room),
    "-"
  )
  run <- function(line) {
    env <- c("current", R_LIBS = paste(.libPaths(), collapse = ":"))
    processx::run(
      "sh",
      c("-c", line),
      error_on_status = FALSE,
      timeout = 60,
      env = env
    )
  }
  closed <- run(paste(line, "<&-"))
  expect_equal(closed$status, 0L)
  expect_match(closed$stderr, "Nothing was sent")
  skip_if(Sys.which("script") == "", "no program to make a terminal")
  terminal <- run(paste("script -qec", shQuote(line), "/dev/null"))
  expect_equal(terminal$status, 2L)
  expect_match(terminal$stdout, "is a terminal")
})

test_that("Ctrl-C ends a job as an interrupt, and the room is told", {
  alice <- live_client()
  room <- mx_room_create(alice)
  began <- withr::local_tempfile()
  process <- callr::r_bg(
    function(path, room, began) {
      client <- mxcrypt::mx_client_load(path = path)
      tryCatch(
        mxcrypt::with_mx_notification(
          {
            file.create(began)
            Sys.sleep(60)
          },
          client,
          room
        ),
        interrupt = function(condition) "interrupt"
      )
    },
    list(alice$path, room, began)
  )
  withr::defer(process$kill())
  end <- Sys.time() + 30
  while (!file.exists(began) && Sys.time() < end) {
    Sys.sleep(0.05)
  }
  process$interrupt()
  process$wait(30000)
  expect_equal(process$get_result(), "interrupt")
  expect_match(
    messages(mx_messages(alice, room))$body,
    "^Job was interrupted after"
  )
})

# A listener that does not block, against the real server: what else R does goes on, and
# nothing is lost when the server goes away or the process ends.

# Two users in a room.
live_pair <- function(..., .local_envir = parent.frame()) {
  alice <- live_client(.local_envir = .local_envir)
  bob <- live_client(..., .local_envir = .local_envir)
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  mx_sync(bob)
  list(alice = alice, bob = bob, room = room)
}

# Waits for something that another process does, or that this one does meanwhile.
wait_until <- function(condition, seconds = 60, what = "what was waited for") {
  end <- Sys.time() + seconds
  while (!condition()) {
    if (Sys.time() > end) {
      stop(what, " did not happen", call. = FALSE)
    }
    later::run_now(0.05)
  }
}

# What handlers of other processes wrote down.
heard_in <- function(file) {
  if (file.exists(file)) readLines(file) else character()
}

# An R process that serves HTTP and listens.
start_service <- function(serve, ..., .local_envir = parent.frame()) {
  port <- free_port()
  log <- withr::local_tempfile(.local_envir = .local_envir)
  environment(serve) <- globalenv()
  process <- callr::r_bg(
    serve,
    list(port, ...),
    stdout = log,
    stderr = "2>&1",
    supervise = TRUE
  )
  withr::defer(process$kill(), envir = .local_envir)
  url <- paste0("http://127.0.0.1:", port, "/")
  ping <- function() {
    handle <- curl::new_handle(proxy = "", fresh_connect = TRUE)
    curl::curl_fetch_memory(url, handle)
  }
  wait_until(
    function() {
      if (!process$is_alive()) {
        stop(paste(readLines(log), collapse = "\n"))
      }
      tryCatch(ping()[["status_code"]] == 200L, error = function(e) FALSE)
    },
    what = "a start of the service"
  )
  list(process = process, ping = ping)
}

test_that("a plumber API and a Shiny app answer while their listeners wait", {
  pair <- live_pair()
  files <- c(
    plumber = withr::local_tempfile(),
    shiny = withr::local_tempfile()
  )
  serve_plumber <- function(port, path, file) {
    listener <- mxcrypt::mx_listen_start(
      mxcrypt::mx_client_load(path = path),
      function(event) {
        cat(event$body, "\n", sep = "", file = file, append = TRUE)
      },
      types = "m.room.message",
      poll = 60,
      consumer = "plumber"
    )
    api <- plumber::pr_get(plumber::pr(), "/", function() {
      listener$status()$last_sync
    })
    plumber::pr_run(api, port = port, quiet = TRUE, docs = FALSE)
  }
  serve_shiny <- function(port, path, file) {
    mxcrypt::mx_listen_start(
      mxcrypt::mx_client_load(path = path),
      function(event) {
        cat(event$body, "\n", sep = "", file = file, append = TRUE)
      },
      types = "m.room.message",
      poll = 60,
      consumer = "shiny"
    )
    app <- shiny::shinyApp(function(request) shiny::fluidPage(), list)
    shiny::runApp(app, port = port, launch.browser = FALSE, quiet = TRUE)
  }
  services <- list(
    plumber = start_service(serve_plumber, pair$bob$path, files[["plumber"]]),
    shiny = start_service(serve_shiny, pair$bob$path, files[["shiny"]])
  )
  # From then on they wait for the server.
  mx_send_text(pair$alice, pair$room, "begin")
  for (file in files) {
    wait_until(function() "begin" %in% heard_in(file))
  }
  sent <- "begin"
  took <- list()
  for (i in 1:20) {
    if (i %% 5 == 0) {
      body <- paste("message", i)
      mx_send_text(pair$alice, pair$room, body)
      sent <- c(sent, body)
    }
    for (name in names(services)) {
      seconds <- system.time(answer <- services[[name]]$ping())[["elapsed"]]
      expect_equal(answer[["status_code"]], 200L)
      took[[name]] <- c(took[[name]], seconds)
    }
  }
  for (name in names(services)) {
    expect_lt(stats::median(took[[name]]), 0.2)
    # A machine under load may be slow once.
    expect_lt(max(took[[name]]), 2)
    # Two consumers of one store, in two processes: each is given all events.
    wait_until(function() length(heard_in(files[[name]])) >= length(sent))
    expect_equal(heard_in(files[[name]]), sent)
  }
})

test_that("an outage of the network and of the server loses nothing", {
  proxy <- live_proxy()
  pair <- live_pair(url = proxy$url)
  withr::local_options(mxcrypt.max_tries = 1)
  heard <- character()
  jobs <- 0
  job <- function() {
    jobs <<- jobs + 1
    cancel <<- later::later(job, 0.05)
  }
  cancel <- later::later(job, 0.05)
  withr::defer(cancel())
  listener <- mx_listen_start(
    pair$bob,
    function(event) heard <<- c(heard, event$body),
    types = "m.room.message",
    poll = 2
  )
  withr::defer(listener$stop())
  say <- function(text) mx_send_text(pair$alice, pair$room, text)
  say("one")
  wait_until(function() "one" %in% heard)
  before <- jobs
  # A response is lost, and then there are none.
  proxy$lose_answer("GET .*/sync", times = 1)
  say("two")
  proxy$block("GET .*/sync", times = 2)
  wait_until(function() !is.null(listener$status()$last_error))
  say("three")
  wait_until(function() "three" %in% heard)
  expect_s3_class(listener$status()$last_error, "mx_error")
  # The listener's pauses are no pauses of R.
  expect_gt(jobs - before, 10)
  live_restart()
  say("four")
  wait_until(function() "four" %in% heard, seconds = 100)
  expect_equal(heard, c("one", "two", "three", "four"))
  expect_equal(listener$status()$state, "running")
})

test_that("stop() ends a long poll at the server, and a handler may send", {
  pair <- live_pair()
  listener <- mx_listen_start(
    pair$bob,
    function(event, client) {
      mx_send_text_async(client, event$room_id, paste("re:", event$body))
    },
    types = "m.room.message",
    poll = 60
  )
  withr::defer(listener$stop())
  mx_send_text(pair$alice, pair$room, "question")
  wait_until(function() listener$status()$handled == 1)
  expect_true("re: question" %in% wait_for_bodies(pair$alice, "re: question"))
  ended <- FALSE
  promises::then(listener$stop(), function(status) ended <<- TRUE)
  took <- system.time(wait_until(function() ended))[["elapsed"]]
  expect_lt(took, 5)
  expect_equal(listener$status()$state, "stopped")
})

test_that("a process that is killed in a handler: the next one gets that event", {
  pair <- live_pair()
  file <- withr::local_tempfile()
  # The promise of the handler is never settled.
  listen <- function(path, file) {
    mxcrypt::mx_listen_start(
      mxcrypt::mx_client_load(path = path),
      function(event) {
        cat(event$body, "\n", sep = "", file = file, append = TRUE)
        if (event$body == "two") {
          promises::promise(function(resolve, reject) NULL)
        }
      },
      types = "m.room.message"
    )
    repeat {
      later::run_now(1)
    }
  }
  environment(listen) <- globalenv()
  mx_send_text(pair$alice, pair$room, c("one", "two", "three"))
  for (i in 1:4) {
    process <- callr::r_bg(listen, list(pair$bob$path, file))
    heard <- c("one", rep("two", min(i, 3)), if (i == 4) "three")
    wait_until(function() length(heard_in(file)) >= length(heard))
    process$kill()
    expect_equal(heard_in(file), heard)
  }
  # After three processes it is set aside.
  events <- mx_sync(pair$bob)
  expect_true("mxcrypt.handler_failed" %in% events$type)
})

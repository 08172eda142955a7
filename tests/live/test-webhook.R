# Webhooks and logs, each from a process of its own.

webhook_secret <- "correct horse battery"

# A room of two people, one of whom is a program.
live_ops <- function(.local_envir = parent.frame()) {
  program <- live_client(.local_envir = .local_envir)
  person <- live_client(.local_envir = .local_envir)
  room <- mx_room_create(program, invite = person$user_id)
  mx_room_join(person, room)
  mx_sync(program)
  mx_sync(person)
  list(program = program, person = person, room = as.character(room))
}

# A plumber API that posts webhooks, and what answers it gives.
live_hook <- function(ops, .local_envir = parent.frame()) {
  port <- free_port()
  file <- withr::local_tempfile(
    lines = webhook_secret,
    .local_envir = .local_envir
  )
  api <- callr::r_bg(
    function(path, room, port) {
      client <- mxcrypt::mx_client_load(path = path)
      hook <- mxcrypt::mx_webhook_handler(client, room)
      router <- plumber::pr()
      router <- plumber::pr_post(router, "/hook", hook, parsers = "octet")
      router <- plumber::pr_get(router, "/ping", function() "pong")
      plumber::pr_run(router, port = port, docs = FALSE, quiet = TRUE)
    },
    list(ops$program$path, ops$room, port),
    env = c(callr::rcmd_safe_env(), MXCRYPT_WEBHOOK_SECRET_FILE = file),
    stderr = "2>&1",
    stdout = withr::local_tempfile(.local_envir = .local_envir),
    supervise = TRUE
  )
  withr::defer(api$kill(), envir = .local_envir)
  url <- paste0("http://127.0.0.1:", port)
  end <- Sys.time() + 20
  while (!answers(paste0(url, "/ping"))) {
    if (!api$is_alive() || Sys.time() > end) {
      stop(readLines(api$get_output_file()))
    }
    Sys.sleep(0.1)
  }
  post <- function(text, ..., secret = webhook_secret) {
    headers <- c(
      "Content-Type" = "application/json",
      Authorization = paste("Bearer", secret),
      ...
    )
    handle <- curl::new_handle(
      copypostfields = text,
      httpheader = paste0(names(headers), ": ", headers)
    )
    time <- system.time(
      answer <- curl::curl_fetch_memory(paste0(url, "/hook"), handle)
    )
    list(
      status = answer$status_code,
      body = rawToChar(answer$content),
      seconds = time[["elapsed"]]
    )
  }
  list(post = post, url = url, process = api)
}

webhook_example <- function(name) {
  path <- file.path(repo_root, "tests/testthat/webhooks", paste0(name, ".json"))
  rawToChar(readBin(path, "raw", 1e6))
}

test_that("webhooks reach an encrypted room through plumber, once", {
  ops <- live_ops()
  hook <- live_hook(ops)
  alert <- webhook_example("alertmanager")

  for (secret in c("", "wrong", "correct horse batterY")) {
    refused <- hook$post(alert, secret = secret)
    expect_equal(refused$status, 401L)
    expect_no_match(refused$body, "report")
  }
  expect_equal(hook$post("not JSON")$status, 400L)
  # A body that would give other arguments to the handler.
  expect_equal(hook$post("{\"req\":1,\"res\":2,\"text\":\"odd\"}")$status, 200L)

  expect_equal(hook$post(alert)$status, 200L)
  push <- webhook_example("github-push")
  mac <- mxcrypt:::hmac_sha256(charToRaw(webhook_secret), charToRaw(push))
  signed <- function(mac) {
    headers <- c(
      "X-GitHub-Event" = "push",
      "X-GitHub-Delivery" = "72d3162e-cc78-11e3-81ab-4c9367dc0958",
      "X-Hub-Signature-256" = paste0("sha256=", mac)
    )
    hook$post(push, headers, secret = "none")$status
  }
  expect_equal(signed(chartr("0123", "1230", mac)), 401L)
  expect_equal(signed(mac), 200L)

  # All of it once more, also by a process that remembers nothing.
  hook$post(alert)
  signed(mac)
  hook$process$kill()
  hook <- live_hook(ops)
  expect_equal(hook$post(alert)$status, 200L)
  expect_equal(signed(mac), 200L)
  hook$post("{\"text\":\"the end\"}")
  bodies <- wait_for_bodies(ops$person, "the end")
  first <- sub("\n.*", "", bodies)
  expect_equal(
    first,
    c(
      "odd",
      "\U0001f525 JobLate (1 firing, 1 resolved)",
      "octo/data: alice pushed 2 commits to main",
      "the end"
    )
  )
})

test_that("webhooks are accepted while Synapse is away, and the API goes on", {
  ops <- live_ops()
  hook <- live_hook(ops)
  hook$post("{\"text\":\"before\"}")
  synapse_stop(live_synapse())
  withr::defer(if (!live_synapse()$process$is_alive()) live_restart())
  for (i in 1:3) {
    answer <- hook$post(sprintf("{\"text\":\"away %d\"}", i))
    expect_equal(answer$status, 202L)
    expect_lt(answer$seconds, 12)
    time <- system.time(expect_true(answers(paste0(hook$url, "/ping"))))
    expect_lt(time[["elapsed"]], 1)
  }
  live_restart()
  # Nobody calls the API again.
  bodies <- wait_for_bodies(ops$person, "away 3", 40)
  expect_equal(bodies, c("before", "away 1", "away 2", "away 3"))
})

test_that("what a script logs is posted, the last lines when it ends", {
  ops <- live_ops()
  script <- sprintf(
    "library(logger)
    client <- mxcrypt::mx_client_load(path = '%s')
    log_appender(mxcrypt::mx_logger_appender(client, '%s', interval = 60))
    log_layout(layout_simple)
    log_info('begin'); log_info('middle'); log_info('end')
    stop('an error ends it')",
    ops$program$path,
    ops$room
  )
  start_r(script)$wait(30000)
  posted <- character()
  end <- Sys.time() + 20
  while (!any(grepl("end$", posted)) && Sys.time() < end) {
    posted <- c(posted, messages(mx_sync(ops$person, timeout = 1000))$body)
  }
  expect_length(posted, 2)
  expect_match(posted[[1]], "^INFO .*begin$")
  expect_match(posted[[2]], "^INFO .*middle\nINFO .*end$")
})

test_that("the appender works in the process of logger::appender_async()", {
  ops <- live_ops()
  libraries <- c(txtq_library(), .libPaths())
  logging <- callr::r_session$new(callr::r_session_options(
    libpath = libraries,
    env = c(R_LIBS = paste(libraries, collapse = .Platform$path.sep))
  ))
  withr::defer(logging$close())
  logging$run(
    function(path, room) {
      library(logger)
      client <- mxcrypt::mx_client_load(path = path)
      appender <- mxcrypt::mx_logger_appender(client, room, interval = 1)
      log_appender(appender_async(appender, batch = 3, init = function() NULL))
      log_layout(layout_blank)
      log_info("line 1")
      for (i in 2:19) {
        log_info(paste("line", i))
      }
      # Nothing comes after it.
      log_info("the last line")
    },
    list(ops$program$path, ops$room)
  )
  posted <- character()
  end <- Sys.time() + 20
  while (!any(grepl("the last line", posted)) && Sys.time() < end) {
    posted <- c(posted, messages(mx_sync(ops$person, timeout = 1000))$body)
  }
  lines <- unlist(strsplit(posted, "\n"))
  expect_equal(lines, c(paste("line", 1:19), "the last line"))
  expect_lt(length(posted), 6)
  # logger shows how the appender is made, in any process.
  code <- attr(
    mx_logger_appender(ops$program, ops$room),
    "generator"
  )
  callr::r(function(code) eval(parse(text = code))("made again"), list(code))
  expect_equal(wait_for_bodies(ops$person, "made again"), "made again")
})

# The recipes of inst/recipes, as they are installed. What they run under is real where it is
# installed (sh, env, systemd-analyze, python, shiny, plumber). targets, Airflow and Slurm
# cannot be had here: stand-ins take their places, each named so below.

test_that("a job of cron posts its result in cron's short environment", {
  account <- recipe_account()
  home <- withr::local_tempdir()
  lines <- readLines(recipe("cron", "crontab"))
  line <- grep("^0 3 \\* \\* \\*", lines, value = TRUE)
  command <- sub("/srv/jobs", dirname(recipe("cron", "nightly.R")), line)
  command <- sub("^(\\S+ ){5}", "", command)
  # What crontab(5) gives a job: no locale, a PATH of two directories.
  env <- c(
    account$env,
    HOME = home,
    LOGNAME = "jobs",
    SHELL = "/bin/sh",
    PATH = "/usr/bin:/bin"
  )
  args <- c("-i", paste0(names(env), "=", env), "/bin/sh", "-c", command)
  ran <- processx::run("env", args, error_on_status = FALSE, timeout = 60)
  expect_equal(ran$status, 0L, info = ran$stderr)
  expect_match(told(account, "Nightly fit"), "Z\u00fcrich")
})

test_that("output of a shell command is posted if the command fails", {
  account <- recipe_account()
  run <- function(...) {
    run_recipe(account, "sh", c(recipe("notify", "notify.sh"), "sh", "-c", ...))
  }
  # The exit status is that of the command.
  expect_equal(run("echo fine")$status, 0L)
  expect_equal(run("echo 'no $(space) left'; exit 7")$status, 7L)
  expect_match(
    told(account, "ended with status 7"),
    "no $(space) left",
    fixed = TRUE
  )
  events <- account$them$call("messages", roomId = account$room)
  bodies <- unlist(lapply(events, function(event) event[["body"]]))
  expect_length(grep("fine", bodies), 0)
})

test_that("a job of Slurm tells how it ended, also when its time is over", {
  # Stand-in for Slurm: its variables and its signal, without Slurm.
  account <- recipe_account()
  dir <- withr::local_tempdir()
  writeLines("quit(status = 3)", file.path(dir, "fit.R"))
  job <- recipe("slurm", "job.sh")
  slurm <- c(SLURM_JOB_ID = "77", SLURM_JOB_NAME = "fit")
  ran <- run_recipe(account, "bash", c(job, "fit.R"), slurm, wd = dir)
  expect_equal(ran$status, 3L, info = ran$stderr)
  told(account, "^Job 77 \\(fit\\) on .* status 3 after")

  writeLines(
    "writeLines('', 'begun'); Sys.sleep(60)",
    file.path(dir, "slow.R")
  )
  path <- paste(account$bin, Sys.getenv("PATH"), sep = ":")
  process <- processx::process$new(
    "bash",
    c(job, "slow.R"),
    env = c("current", account$env, PATH = path, SLURM_JOB_ID = "78"),
    wd = dir,
    cleanup_tree = TRUE
  )
  wait_until(function() file.exists(file.path(dir, "begun")), process)
  process$signal(tools::SIGTERM)
  process$wait(30000)
  expect_equal(process$get_exit_status(), 143L)
  told(account, "^Job 78 .* status 143 after")
})

test_that("a DAG of Airflow tells of a task that failed", {
  # Stand-in for Airflow: its two decorators, which only note what they are given.
  account <- recipe_account()
  dir <- withr::local_tempdir()
  dir.create(file.path(dir, "airflow"))
  file.create(file.path(dir, "airflow", "__init__.py"))
  writeLines(
    c(
      "given = {}",
      "def dag(**arguments):",
      "    given.update(arguments)",
      "    return lambda function: function",
      "class task:",
      "    @staticmethod",
      "    def bash(function):",
      "        return lambda: given.update(command=function())"
    ),
    file.path(dir, "airflow", "decorators.py")
  )
  code <- c(
    "import runpy, sys, types",
    "runpy.run_path(sys.argv[1])",
    "from airflow.decorators import given",
    "assert given['command'].startswith('Rscript '), given",
    "run = types.SimpleNamespace(dag_id='nightly', task_id='fit', log_url='https://a/log')",
    "tell = given['default_args']['on_failure_callback']",
    "tell({'task_instance': run, 'exception': ValueError('--mention $(id) ' + 9000 * 'x')})"
  )
  ran <- run_recipe(
    account,
    "python3",
    c("-c", paste(code, collapse = "\n"), recipe("airflow", "mxcrypt_dag.py")),
    c(PYTHONPATH = dir, PYTHONDONTWRITEBYTECODE = "1")
  )
  expect_equal(ran$status, 0L, info = ran$stderr)
  body <- told(account, "^nightly.fit failed: ")
  expect_match(body, "--mention $(id) xxx", fixed = TRUE)
  expect_lt(nchar(body), 4100)
})

test_that("a pipeline of targets tells what came out, and which target failed", {
  # Stand-in for targets: a package that runs the targets of the script in their order.
  account <- recipe_account()
  dir <- withr::local_tempdir()
  file.copy(list.files(recipe("targets"), full.names = TRUE), dir)
  stand_in <- c(
    "tar_target <- function(name, command, ...) {",
    "  list(name = deparse(substitute(name)), command = substitute(command))",
    "}",
    "tar_make <- function() {",
    "  values <- new.env(parent = globalenv())",
    "  for (target in source('_targets.R')$value) {",
    "    value <- tryCatch(eval(target$command, values), error = identity)",
    "    if (inherits(value, 'error')) {",
    "      failed <<- data.frame(name = target$name, error = conditionMessage(value))",
    "      stop('Error running targets::tar_make()')",
    "    }",
    "    assign(target$name, value, values)",
    "  }",
    "}",
    "tar_meta <- function(fields, complete_only) failed",
    "library <- function(...) NULL"
  )
  run <- function() {
    code <- c(stand_in, "source('run.R')")
    writeLines(code, file.path(dir, "stand-in.R"))
    run_recipe(account, "Rscript", "stand-in.R", wd = dir)
  }
  ran <- run()
  expect_equal(ran$status, 0L, info = ran$stderr)
  expect_match(told(account, "Coefficients|speed")[[1]], "Coefficients|speed")
  told(account, "Pipeline")

  script <- file.path(dir, "_targets.R")
  writeLines(sub("lm\\(dist", "lm(missing_column", readLines(script)), script)
  ran <- run()
  expect_equal(ran$status, 1L)
  told(account, "model: object 'missing_column' not found")
})

test_that("units of systemd are valid", {
  skip_if(!nzchar(Sys.which("systemd-analyze")), "systemd is not installed")
  dir <- withr::local_tempdir()
  file.copy(list.files(recipe("systemd"), full.names = TRUE), dir)
  units <- list.files(dir)
  ran <- processx::run("systemd-analyze", c("verify", file.path(dir, units)))
  expect_equal(ran$stderr, "")
})

test_that("what a unit does for one that failed is posted", {
  # Stand-in for systemd: systemctl prints what it would.
  account <- recipe_account()
  writeLines(
    c("#!/bin/sh", "echo \"$*: failed\""),
    file.path(account$bin, "systemctl")
  )
  Sys.chmod(file.path(account$bin, "systemctl"), "0755")
  lines <- readLines(recipe("systemd", "mxcrypt-failed@.service"))
  start <- sub("^ExecStart=", "", grep("^ExecStart=", lines, value = TRUE))
  start <- gsub("%i", "backup.service", start)
  ran <- run_recipe(account, "sh", c("-c", start))
  expect_equal(ran$status, 0L, info = ran$stderr)
  told(account, "backup.service: failed")
})

test_that("a log posts its warnings and errors", {
  account <- recipe_account()
  ran <- run_recipe(account, "Rscript", recipe("logger", "log.R"))
  expect_equal(ran$status, 0L, info = ran$stderr)
  text <- paste(
    told(account, "No convergence|50 rows, and no more"),
    collapse = " "
  )
  told(account, "No convergence")
  expect_no_match(text, "Reading the data")
})

test_that("a report posts its figures and itself", {
  account <- recipe_account()
  dir <- withr::local_tempdir()
  file.copy(list.files(recipe("knitr"), full.names = TRUE), dir)
  ran <- run_recipe(account, "Rscript", "render.R", wd = dir)
  expect_equal(ran$status, 0L, info = ran$stderr)
  expect_length(told(account, "Stopping distances"), 2)
})

test_that("a webhook is posted, and refused without its secret", {
  account <- recipe_account()
  port <- free_port()
  url <- paste0("http://127.0.0.1:", port, "/hook")
  secret <- "correct horse battery"
  process <- start_recipe(
    account,
    recipe("webhook", "plumber.R"),
    c(PORT = port, MXCRYPT_WEBHOOK_SECRET = secret)
  )
  post <- function(secret) {
    handle <- curl::new_handle(
      postfields = '{"text": "Backup done", "host": "db-1"}',
      httpheader = c(
        "Content-Type: application/json",
        paste("Authorization: Bearer", secret)
      )
    )
    tryCatch(
      curl::curl_fetch_memory(url, handle)[["status_code"]],
      error = function(e) NA
    )
  }
  wait_until(function() !is.na(post("wrong horse battery")), process)
  expect_equal(post("wrong horse battery"), 401)
  expect_equal(post(secret), 200)
  told(account, "Backup done")
})

test_that("an app shows a room", {
  account <- recipe_account()
  port <- free_port()
  process <- start_recipe(account, recipe("shiny", "app.R"), c(PORT = port))
  page <- function() {
    tryCatch(
      rawToChar(
        curl::curl_fetch_memory(paste0("http://127.0.0.1:", port))$content
      ),
      error = function(e) ""
    )
  }
  # That the page shows and sends messages is tested with mx_room_server().
  wait_until(function() grepl("room-", page(), fixed = TRUE), process)
  expect_true(process$is_alive())
})

test_that("a bot answers its owner", {
  account <- recipe_account()
  them <- live_foreign()
  them$call("bootstrapCrossSigning", password = them[["password"]])
  process <- start_recipe(
    account,
    recipe("bot", "bot.R"),
    c(MXCRYPT_OWNER = them[["user_id"]])
  )
  room <- new_room(them, invite = account$client$user_id)
  joined <- function() {
    state <- synapse_sql(
      live_synapse(),
      sprintf(
        "select membership from room_memberships where room_id = '%s' and user_id = '%s'",
        room,
        account$client$user_id
      )
    )
    "join" %in% state[["membership"]]
  }
  wait_until(joined, process)
  sees_member(them, room, account$client$user_id, "join")
  account$room <- room
  account$them <- them
  say(them, room, "!status")
  told(account, "^Load:")
  process$signal(tools::SIGTERM)
  process$wait(20000)
  expect_equal(process$get_exit_status(), 0L)
})

test_that("a bot whose disk is wiped twice has one device, and reads what it missed", {
  bot <- bot_account()
  home <- withr::local_tempdir()
  expect_survives_wipes(bot, function(bot) {
    dir.create(home, showWarnings = FALSE)
    heartbeat <- file.path(home, "heartbeat")
    process <- start_recipe(
      list(env = bot_environment(bot, bot[["secrets"]], home, heartbeat)),
      system.file("container", "bot.R", package = "mxcrypt")
    )
    list(process = process, home = home, heartbeat = heartbeat)
  })
})

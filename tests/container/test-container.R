# The bot of inst/container in what its Dockerfile makes (tools/container.sh). It is the test of
# tests/live/test-recipes.R with another way to start the bot.

script <- file.path(repo_root, "tools", "container.sh")

test_that("a container that is wiped twice has one device, and reads what it missed", {
  bot <- bot_account()
  dir <- withr::local_tempdir()
  # Where the bot sees them.
  file.copy(bot[["secrets"]], dir, recursive = TRUE)
  file.rename(
    file.path(dir, basename(bot[["secrets"]])),
    file.path(dir, "secrets")
  )
  env <- bot_environment(bot, "/run/secrets", "/data", "/tmp/heartbeat")
  # The package is the container's own.
  env <- env[names(env) != "R_LIBS"]
  expect_survives_wipes(bot, function(bot) {
    heartbeat <- file.path(dir, "tmp", "heartbeat")
    unlink(heartbeat)
    health <- function() {
      processx::run(script, c("health", dir), error_on_status = FALSE)$status
    }
    expect_false(health() == 0L)
    process <- processx::process$new(
      script,
      c("run", dir, paste0(names(env), "=", env)),
      stdout = NULL,
      stderr = "|",
      cleanup = TRUE
    )
    wait_until(function() file.exists(heartbeat), process)
    expect_equal(health(), 0L)
    owner <- file.info(file.path(dir, "data", ".config"))[["uid"]]
    expect_equal(owner, 1000L)
    list(
      process = process,
      home = file.path(dir, "data"),
      heartbeat = heartbeat
    )
  })
})

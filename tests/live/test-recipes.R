# The recipes of inst/recipes and the bot of inst/container, as they are installed.

test_that("a bot whose disk is wiped twice has one device, and reads what it missed", {
  bot <- bot_account()
  expect_survives_wipes(bot, function(bot) {
    home <- withr::local_tempdir(.local_envir = parent.frame(2))
    heartbeat <- file.path(home, "heartbeat")
    env <- bot_environment(bot, bot[["secrets"]], home, heartbeat)
    script <- system.file("container", "bot.R", package = "mxcrypt")
    process <- processx::process$new(
      "Rscript",
      script,
      env = c("current", env),
      stdout = NULL,
      stderr = "|",
      cleanup = TRUE
    )
    list(process = process, home = home, heartbeat = heartbeat)
  })
})

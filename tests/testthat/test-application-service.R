# What needs no server that has application services. The rest: tests/live.

local_whoami <- function(env = parent.frame()) {
  fake <- fake_homeserver()
  body <- '{"user_id":"@bots:fake","device_id":"ANY"}'
  fake$fault("GET", "/account/whoami", body = body, times = 9)
  withr::defer(fake$forget(), envir = env)
  fake
}

test_that("users of other servers are refused, and nobody is registered", {
  fake <- local_whoami()
  odd <- c("@bot:example.org", "@bot:fake:8448", "bot:x", "@bot", "bot:")
  for (user in odd) {
    dir <- withr::local_tempdir()
    condition <- catch(
      mx_client_configure(
        fake$url,
        user,
        as_token = "s3cret-as-token",
        path = file.path(dir, "matrix.json"),
        store_dir = file.path(dir, "crypto")
      )
    )
    expect_s3_class(condition, "mx_error_argument")
    expect_nowhere("s3cret-as-token", condition)
  }
  expect_length(fake$seen("POST", "/register"), 0)
  session <- list(server = fake$url, token = "s3cret-as-token")
  for (user in list(NULL, "bots", "@bots:fake")) {
    expect_equal(service_user(session, user, NULL), "@bots:fake")
  }
})

test_that("a bot that was signed out is told to give its token again", {
  fake <- fake_homeserver()
  dir <- withr::local_tempdir()
  path <- file.path(dir, "matrix.json")
  config <- list(
    server = fake$url,
    user_id = "@bot:fake",
    device_id = "BOT/1 x",
    token = "s3cret-as-token",
    method = as_method,
    store_dir = file.path(dir, "crypto")
  )
  write_config(config, path)
  withr::local_envvar(MXCRYPT_ACCESS_TOKEN = NA)
  withr::local_options(mxcrypt.keyring = FALSE)
  bot <- mx_client_load(path = path)
  expect_equal(
    acting_path(bot, "/x?y=1"),
    "/x?y=1&user_id=%40bot%3Afake&device_id=BOT%2F1%20x"
  )
  fake$fault("DELETE", "/devices/BOT", body = "{}")
  suppressWarnings(mx_logout(bot, ask = FALSE))
  expect_no_match(readLines(path), "s3cret", fixed = TRUE)
  expect_error(mx_rooms(bot), class = "mx_error_signed_out")
  condition <- catch(mx_client_relogin(bot))
  expect_s3_class(condition, "mx_error_sign_in")
  expect_match(conditionMessage(condition), "as_token")
})

test_that("a redirected download says nothing of whom it is for", {
  skip_if_not_installed("webfakes")
  fake <- fake_homeserver()
  session <- list(
    server = fake$url,
    token = "s3cret-as-token",
    acts_as = list(user_id = "@bot:fake", device_id = "BOT")
  )
  elsewhere <- paste0(fake$url, "/elsewhere")
  fake$fault("GET", "/media/x", 302, "", headers = list(Location = elsewhere))
  fake$fault("GET", "/elsewhere", body = "file")
  file <- withr::local_tempfile()
  http_perform(session, "GET", "/media/x", file = file, follow = TRUE)
  asked <- fake$seen("GET", "/elsewhere")
  expect_equal(asked[[1]]$path, "/elsewhere")
  expect_equal(asked[[1]]$token, "")
  expect_match(fake$seen("GET", "/media/x")[[1]]$path, "user_id=%40bot")
})

# What mx_doctor() says of a real server, with and without it.

state_of <- function(x, what) x$state[x$what == what]
found_of <- function(x, what) x$found[x$what == what]

test_that("a device at Synapse is well, and a server that is away is said to be", {
  server <- synapse_start()
  withr::defer({
    synapse_stop(server)
    unlink(server[["dir"]], recursive = TRUE)
  })
  user <- live_user("doctor", server)
  password <- withr::local_tempfile(lines = user$password)
  withr::local_envvar(MXCRYPT_PASSWORD = NA, MXCRYPT_PASSWORD_FILE = password)
  dir <- withr::local_tempdir()
  client <- mx_client_configure(
    server$url,
    user$user,
    path = file.path(dir, "matrix.json"),
    store_dir = file.path(dir, "crypto")
  )
  suppressMessages(mx_crypto_setup(client, reset = FALSE))
  mx_sync(client)
  checked <- mx_doctor(client)
  said <- c("identity", "locale")
  bad <- checked[checked$state != "ok" & !checked$what %in% said, ]
  expect_equal(paste(bad$what, bad$found), character())
  # The recovery key was made and not saved.
  expect_equal(state_of(checked, "identity"), "warning")
  expect_match(found_of(checked, "password"), "MXCRYPT_PASSWORD_FILE")
  expect_match(found_of(checked, "sign-in offered"), "m.login.password")
  expect_match(found_of(checked, "clock"), "within a minute")
  token <- jsonlite::fromJSON(client$path)[["token"]]
  text <- c(utils::capture.output(print(checked)), deparse(checked))
  for (secret in c(token, user$password)) {
    expect_false(any(grepl(secret, text, fixed = TRUE)))
  }

  # A login that was ended elsewhere.
  config <- jsonlite::fromJSON(client$path)
  config[["token"]] <- "forgotten"
  config[["refresh_token"]] <- NULL
  jsonlite::write_json(config, client$path, auto_unbox = TRUE)
  checked <- mx_doctor(mx_client_load(path = client$path))
  expect_equal(state_of(checked, "login at the server"), "failure")
  # Nobody was signed in again for that.
  expect_equal(jsonlite::fromJSON(client$path)[["token"]], "forgotten")

  synapse_stop(server)
  checked <- mx_doctor(client)
  expect_setequal(
    checked$what[checked$state == "failure"],
    c("server", "sign-in offered", "clock", "login at the server")
  )
})

# Devices of a bot whose disk was lost, several times.

lost <- function(n = 2, name = "nightly bot", .local_envir = parent.frame()) {
  homeserver <- mx_demo_homeserver(users = "alice")
  first <- mx_demo_client(homeserver, "alice")
  key <- the[["demo_keys"]][[paste(first$server, first$user_id)]]
  start <- function(name) {
    dir <- withr::local_tempdir(.local_envir = .local_envir)
    mx_client_configure(
      homeserver,
      "alice",
      password = "demo",
      path = file.path(dir, "matrix.json"),
      store_dir = file.path(dir, "crypto"),
      device_name = name
    )
  }
  dead <- lapply(seq_len(n), function(i) start(name)$device_id)
  list(
    key = key,
    dead = unlist(dead),
    first = first,
    bot = start(name),
    start = start
  )
}

# What a set-up says.
said_by <- function(code) {
  withr::local_options(cli.default_handler = NULL)
  paste(capture_messages(code), collapse = "")
}

test_that("a program is told which devices have the name of the new one", {
  rlang::local_interactive(FALSE)
  bot <- lost()
  said <- said_by(mx_crypto_setup(bot$bot, recovery_key = bot$key))
  expect_match(said, "2 other devices are named \"nightly bot\":")
  for (id in bot$dead) {
    expect_match(said, paste0("  ", id, ", last seen 20..-..-.. ..:.. [A-Z]"))
    expect_match(said, paste0("mx_device_delete\\(client, c\\(.*\"", id, "\""))
  }
  # Other names are other programs.
  expect_no_match(said, bot$first$device_id)
  expect_true(all(bot$dead %in% signed_in_devices(bot$first)$device_id))
  # Once is enough.
  expect_no_match(said_by(mx_crypto_setup(bot$bot)), "nightly bot")
})

set_up_alone <- function(bot) {
  rlang::local_interactive(FALSE)
  suppressMessages(
    mx_crypto_setup(
      bot$bot,
      recovery_key = bot$key,
      password = "demo",
      sign_out_lost = TRUE
    )
  )
}

test_that("a bot signs its lost devices out without a person", {
  bot <- lost()
  setup <- set_up_alone(bot)
  left <- c(bot$first$device_id, bot$bot$device_id)
  expect_setequal(signed_in_devices(bot$first)$device_id, left)
  expect_true("signed out 2 lost devices" %in% setup$steps)
  # A verified device signs out no newer one.
  newer <- bot$start("nightly bot")
  set_up_alone(bot)
  listed <- signed_in_devices(bot$first)$device_id
  expect_setequal(listed, c(left, newer$device_id))
})

test_that("a bot killed while it became verified signs them out later", {
  bot <- lost()
  local({
    local_replaced("delete_devices", function(...) stop("killed"))
    expect_error(set_up_alone(bot), "killed")
  })
  expect_true(all(bot$dead %in% signed_in_devices(bot$first)$device_id))
  set_up_alone(bot)
  expect_false(any(bot$dead %in% signed_in_devices(bot$first)$device_id))
})

test_that("a wrong recovery key signs nobody out", {
  bot <- lost()
  bot$key <- lost()$key
  expect_error(set_up_alone(bot), class = "mx_error_recovery_key")
  expect_true(all(bot$dead %in% signed_in_devices(bot$first)$device_id))
})

test_that("the default name signs nobody out", {
  rlang::local_interactive(FALSE)
  bot <- lost(name = NULL)
  mx_device_rename(bot$first, bot$first$device_id, "phone")
  expect_error(
    suppressMessages(
      mx_crypto_setup(bot$bot, recovery_key = bot$key, sign_out_lost = TRUE)
    ),
    "device_name",
    class = "mx_error_argument"
  )
  expect_true(all(bot$dead %in% signed_in_devices(bot$first)$device_id))
})

test_that("without others of its name nothing is said", {
  rlang::local_interactive(FALSE)
  for (name in list("only one", NULL)) {
    bot <- lost(n = 0, name = name)
    mx_device_rename(bot$first, bot$first$device_id, "phone")
    said <- said_by(mx_crypto_setup(bot$bot, recovery_key = bot$key))
    expect_no_match(said, "other device")
  }
})

test_that("a person is asked, and their lost devices are signed out", {
  rlang::local_interactive(TRUE)
  for (n in 1:2) {
    bot <- lost(n)
    asked <- character()
    local_replaced("ask_yes", function(question) {
      asked <<- c(asked, question)
      length(asked) == 2
    })
    setup <- function(bot) {
      said_by(mx_crypto_setup(bot, recovery_key = key, password = "demo"))
    }
    key <- bot$key
    said <- setup(bot$bot)
    expect_match(said, if (n == 1) "1 other device is named" else "2 other")
    expect_no_match(said, "mx_device_delete")
    expect_true(all(bot$dead %in% signed_in_devices(bot$first)$device_id))
    # Yes, the next time.
    expect_length(asked, 1)
    suppressMessages(offer_sign_out(bot$bot, "demo"))
    left <- signed_in_devices(bot$first)$device_id
    expect_setequal(left, c(bot$first$device_id, bot$bot$device_id))
  }
})

test_that("what goes wrong with them does not stop the set-up", {
  withr::local_options(mxcrypt.max_tries = 1)
  rlang::local_interactive(FALSE)
  fake <- fake_homeserver()
  first <- fake_client(fake)
  setup <- suppressMessages(mx_crypto_setup(first, password = "secret word"))
  key <- format(setup$recovery_key, reveal = TRUE)
  dir <- withr::local_tempdir()
  second <- mx_client_configure(
    fake$url,
    first$user_id,
    "secret word",
    path = file.path(dir, "matrix.json"),
    store_dir = file.path(dir, "crypto")
  )
  fake$fault("GET", "/devices", status = 502)
  expect_warning(
    setup <- mx_crypto_setup(second, recovery_key = key),
    class = "mx_warning_devices"
  )
  expect_true("signed this device" %in% setup$steps)
  # Nor does it where nobody is asked.
  third <- mx_client_configure(
    fake$url,
    first$user_id,
    "secret word",
    path = file.path(dir, "third.json"),
    store_dir = file.path(dir, "third")
  )
  fake$fault("GET", "/devices", status = 502)
  expect_warning(
    setup <- mx_crypto_setup(third, recovery_key = key, sign_out_lost = TRUE),
    class = "mx_warning_devices"
  )
  expect_true("signed this device" %in% setup$steps)
  # What a server says is shown as text, and is no code to paste.
  evil <- paste0(
    '{"devices":[{"device_id":"%s","display_name":"x"},',
    '{"device_id":"A\\"); q(\\u001b[31m","display_name":"x"}]}'
  )
  fake$fault("GET", "/devices", body = sprintf(evil, second$device_id))
  said <- said_by(offer_sign_out(second, NULL))
  expect_match(said, "A\\\"); q( [31m\"", fixed = TRUE)
})

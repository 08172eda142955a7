# Ctrl-C, and processes that share a login, against the real server.

# An R process of `code` over the client at `path`, which returns what it ended in.
start_work <- function(path, code) {
  work <- function(path, code) {
    tryCatch(
      code(mxcrypt::mx_client_load(path = path)),
      interrupt = function(condition) "interrupt"
    )
  }
  environment(work) <- globalenv()
  environment(code) <- globalenv()
  callr::r_bg(work, list(path, code))
}

test_that("Ctrl-C ends a bot within 2 seconds, and it goes on afterwards", {
  alice <- live_client()
  bob <- live_client()
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  mx_sync(bob)
  heard <- withr::local_tempfile(lines = character())
  bot <- function(client) {
    mxcrypt::mx_listen(client, poll = 60, function(event, client) {
      cat(event$body, "\n", file = Sys.getenv("HEARD"), append = TRUE)
    })
  }
  withr::local_envvar(HEARD = heard)
  process <- start_work(bob$path, bot)
  withr::defer(process$kill())
  mx_send_text(alice, room, "hello")
  expect_true(comes_true(function() any(grepl("hello", readLines(heard)))))
  # By now it waits for the server again.
  Sys.sleep(2)
  process$interrupt()
  took <- system.time(process$wait(60000))[["elapsed"]]
  expect_lt(took, 2)
  expect_equal(process$get_result(), "interrupt")
  mx_send_text(alice, room, "again")
  events <- mx_sync(bob)
  expect_true("again" %in% events$body)
})

test_that("Ctrl-C ends the wait for a store that another process writes to", {
  alice <- live_client()
  room <- mx_room_create(alice)
  hold <- "import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute('BEGIN IMMEDIATE')
print('held', flush=True)
sys.stdin.read()"
  file <- file.path(alice$store_dir, "crypto.sqlite")
  holder <- processx::process$new(
    "python3",
    c("-c", hold, file),
    stdin = "|",
    stdout = "|"
  )
  withr::defer(holder$kill())
  holder$poll_io(20000)
  begun <- withr::local_tempfile()
  withr::local_envvar(BEGUN = begun, ROOM = room)
  process <- start_work(alice$path, function(client) {
    file.create(Sys.getenv("BEGUN"))
    mxcrypt::mx_send_text(client, Sys.getenv("ROOM"), "held up")
  })
  withr::defer(process$kill())
  expect_true(comes_true(function() file.exists(begun)))
  Sys.sleep(2)
  expect_true(process$is_alive())
  process$interrupt()
  took <- system.time(process$wait(60000))[["elapsed"]]
  expect_lt(took, 2)
  expect_equal(process$get_result(), "interrupt")
  holder$kill()
  mx_send_text(alice, room, "after")
  expect_equal(messages(mx_messages(alice, room))$body, "after")
})

test_that("processes that share an expired login renew it once", {
  alice <- live_client()
  for (round in 1:2) {
    config <- read_config(alice$path)
    expect_false(is.null(config$refresh_token))
    # To the server an unknown token is as good as an expired one.
    config$token <- paste0("expired_", config$token)
    write_config(config, alice$path)
    forget_tokens(alice$path)
    ask <- function(client) {
      for (i in 1:3) {
        mxcrypt::mx_rooms(client)
      }
      mxcrypt:::session_token(client)
    }
    processes <- lapply(1:4, function(i) start_work(alice$path, ask))
    for (process in processes) {
      process$wait(60000)
    }
    tokens <- vapply(processes, function(process) process$get_result(), "")
    expect_length(unique(tokens), 1)
    expect_equal(read_config(alice$path)$token, tokens[[1]])
    expect_equal(nrow(mx_rooms(mx_client_load(path = alice$path))), 0)
  }
})

test_that("a refresh token that was used up ends the login, and is named", {
  alice <- live_client()
  old <- read_config(alice$path)
  expect_true(refresh_token(alice))
  mx_rooms(alice)
  old$token <- "expired"
  write_config(old, alice$path)
  forget_tokens(alice$path)
  withr::local_envvar(MXCRYPT_PASSWORD = NA)
  withr::local_options(mxcrypt.keyring = FALSE)
  condition <- expect_error(mx_rooms(alice), class = "mx_error_M_UNKNOWN_TOKEN")
  expect_match(conditionMessage(condition), "mx_client_relogin")
})

test_that("a device that the server dropped is there again, and signed", {
  user <- live_user()
  alice <- live_client(user)
  mx_crypto_setup(alice)
  http_json(alice, "POST", api_path("logout"), "{}")
  withr::local_options(cli.default_handler = NULL)
  said <- testthat::capture_messages(mx_client_relogin(alice, user$password))
  expect_match(said, "published again", all = FALSE)
  # Synapse keeps the signature of a device that it deletes; others do not.
  devices <- mx_devices(alice, alice$user_id)
  expect_true(all(devices$signed_by_owner))
})

# Devices of an application service, whose registration Synapse reads at its start.

local_service <- function(env = parent.frame()) {
  dir <- withr::local_tempdir(.local_envir = env)
  file <- file.path(dir, "bots.yaml")
  writeLines(
    c(
      "id: bots",
      "url: null",
      "as_token: token-of-the-service",
      "hs_token: token-of-the-server",
      "sender_localpart: bots",
      "rate_limited: false",
      "io.element.msc4190: true",
      "namespaces:",
      "  users:",
      "    - exclusive: true",
      "      regex: '@bot_.*:.*'",
      "  rooms: []",
      "  aliases: []"
    ),
    file
  )
  server <- synapse_start(extra = list(app_service_config_files = list(file)))
  withr::defer(
    {
      synapse_stop(server)
      unlink(server[["dir"]], recursive = TRUE)
    },
    envir = env
  )
  server
}

service_bot <- function(server, user, dir, ...) {
  mx_client_configure(
    server[["url"]],
    user,
    as_token = "token-of-the-service",
    path = file.path(dir, "matrix.json"),
    store_dir = file.path(dir, "crypto"),
    ...
  )
}

test_that("a bot of a service is a verified device, and needs no login", {
  server <- local_service()
  withr::local_envvar(MXCRYPT_PASSWORD = NA)
  withr::local_options(mxcrypt.keyring = FALSE)
  dir <- withr::local_tempdir()
  bot <- service_bot(server, "bot_report", dir)
  expect_equal(bot$user_id, "@bot_report:localhost")
  mx_isolation_mode(bot, "all")
  alice <- live_client(live_user("alice", server), server = server)
  # No authentication is asked of a service.
  key <- format(
    suppressMessages(mx_crypto_setup(bot))$recovery_key,
    reveal = TRUE
  )
  expect_true(mx_crypto_status(bot)$device_signed)
  room <- mx_room_create(alice, invite = bot$user_id)
  mx_room_join(bot, room)
  mx_sync(alice)
  mx_send_text(bot, room, "from the service")
  expect_true("from the service" %in% messages(mx_sync(alice))$body)
  file <- file.path(dir, "numbers.csv")
  writeLines("a,b", file)
  sent <- mx_send_file(alice, room, file)
  events <- mx_sync(bot)
  to <- file.path(dir, "saved")
  mx_media_download(bot, events[events$event_id == sent, ], to)
  expect_equal(readLines(list.files(to, full.names = TRUE)), "a,b")
  # The same bot after its process ended.
  again <- service_bot(server, "bot_report", dir)
  expect_equal(again$device_id, bot$device_id)
  # A second device, whose disk is new, is signed with the recovery key.
  second <- service_bot(server, "bot_report", withr::local_tempdir())
  expect_false(second$device_id == bot$device_id)
  suppressMessages(mx_crypto_setup(second, recovery_key = key))
  expect_true(mx_crypto_status(second)$device_signed)
  # Signing out ends the device, and not the service.
  mx_logout(second, ask = FALSE)
  expect_false(second$device_id %in% mx_devices(bot, bot$user_id)$device_id)
  expect_equal(nrow(mx_rooms(bot)), 1)
})

test_that("a device that the server lost is made again, with its keys", {
  server <- local_service()
  bot <- service_bot(server, "bot_lost", withr::local_tempdir())
  before <- mx_devices(bot, bot$user_id)
  session <- list(
    server = server[["url"]],
    token = "token-of-the-service",
    acts_as = list(user_id = bot$user_id)
  )
  delete_service_device(session, bot$device_id)
  expect_error(mx_rooms(bot), class = "mx_error_http")
  suppressMessages(mx_client_relogin(bot))
  after <- mx_devices(bot, bot$user_id)
  expect_equal(after$device_id, before$device_id)
  expect_equal(after$fingerprint, before$fingerprint)
})

test_that("users of others, and tokens of nobody, are refused", {
  server <- local_service()
  dir <- withr::local_tempdir()
  expect_error(
    service_bot(server, "alice", dir),
    class = "mx_error_M_EXCLUSIVE"
  )
  expect_error(
    mx_client_configure(
      server[["url"]],
      "bot_report",
      as_token = "wrong",
      path = file.path(dir, "matrix.json"),
      store_dir = file.path(dir, "crypto")
    ),
    class = "mx_error_M_UNKNOWN_TOKEN"
  )
  # A device that has its keys in another store is not taken over.
  bot <- service_bot(server, "bot_one", dir)
  expect_error(
    service_bot(
      server,
      "bot_one",
      withr::local_tempdir(),
      device_id = bot$device_id
    ),
    class = "mx_error_store_missing"
  )
  expect_equal(mx_devices(bot, bot$user_id)$device_id, bot$device_id)
})

# A bot whose disk is wiped again and again. How it is started is given: as a process, or
# in a container.

# A bot account with an identity and no device, in a room of a foreign client, and the
# files of its secrets.
bot_account <- function(.local_envir = parent.frame()) {
  user <- live_user("bot")
  operator <- live_client(user, device_name = "operator")
  key <- format(mx_crypto_setup(operator)$recovery_key, reveal = TRUE)
  # The bot hears signed devices, as it does by default.
  them <- live_foreign(.local_envir)
  them$call("bootstrapCrossSigning", password = them[["password"]])
  room <- room_of(them, operator)
  suppressWarnings(mx_logout(operator), "mx_warning_keys_lost")
  secrets <- withr::local_tempdir(.local_envir = .local_envir)
  writeLines(user[["password"]], file.path(secrets, "password"))
  writeLines(key, file.path(secrets, "recovery_key"))
  list(user_id = user[["user_id"]], them = them, room = room, secrets = secrets)
}

bot_environment <- function(bot, secrets, home, heartbeat) {
  c(
    MXCRYPT_SERVER = live_synapse()[["url"]],
    MXCRYPT_USER = bot[["user_id"]],
    MXCRYPT_OWNER = bot[["them"]][["user_id"]],
    MXCRYPT_DEVICE_NAME = "container bot",
    R_LIBS = paste(.libPaths(), collapse = ":"),
    MXCRYPT_PASSWORD_FILE = file.path(secrets, "password"),
    MXCRYPT_RECOVERY_KEY_FILE = file.path(secrets, "recovery_key"),
    MXCRYPT_HEARTBEAT = heartbeat,
    HOME = home
  )
}

bot_devices <- function(bot) {
  synapse_sql(
    live_synapse(),
    sprintf(
      "select device_id from devices where user_id = '%s' and not hidden",
      bot[["user_id"]]
    )
  )[["device_id"]]
}

wait_until <- function(condition, process = NULL, seconds = 60) {
  end <- Sys.time() + seconds
  while (!condition()) {
    if (!is.null(process) && !process$is_alive()) {
      stop("The process has ended: ", process$read_all_error())
    }
    if (Sys.time() > end) {
      stop("What was waited for did not come.")
    }
    Sys.sleep(0.1)
  }
}

# `start` starts a bot on an empty disk, and returns its process and its home directory.
expect_survives_wipes <- function(bot, start, wipes = 2) {
  them <- bot[["them"]]
  away <- character()
  answers <- character()
  devices <- character()
  for (life in seq_len(wipes + 1)) {
    started <- start(bot)
    process <- started[["process"]]
    wait_until(function() file.exists(started[["heartbeat"]]), process)
    # Each life has a device of its own, which is the only one, and verified.
    device <- bot_devices(bot)
    expect_length(device, 1)
    expect_false(device %in% devices)
    devices <- c(devices, device)
    sees_devices(them, bot[["user_id"]], device)
    say(them, bot[["room"]], paste("!ping", life))
    session <- reads(them, bot[["room"]], paste("pong", life))
    expect_type(session, "character")
    answers <- c(answers, paste("pong", life))
    wait_until(function() all_sessions_backed_up(bot), process)
    process$signal(tools::SIGTERM)
    process$wait(20000)
    expect_equal(process$get_exit_status(), 0L, info = process$read_all_error())

    # What was said while it had no disk is read from the backup.
    client <- client_in(started[["home"]])
    expect_equal(client[["device_id"]], device)
    own <- mx_devices(client, client[["user_id"]])
    expect_equal(as.character(own$trust[!own$dehydrated]), "verified")
    seen <- messages(mx_messages(client, bot[["room"]]))
    expect_true(all(away %in% seen$body))
    if (length(away) > 0L) {
      expect_equal(unique(seen$key_source[seen$body %in% away]), "backup")
    }
    # Nothing was answered twice.
    pongs <- grep("^pong", seen$body, value = TRUE)
    expect_equal(pongs, answers)

    forget_open_stores()
    unlink(started[["home"]], recursive = TRUE)
    away <- c(away, paste("away", life))
    say(them, bot[["room"]], paste("away", life))
  }
}

client_in <- function(home) {
  withr::local_envvar(
    R_USER_CONFIG_DIR = file.path(home, ".config"),
    R_USER_DATA_DIR = file.path(home, ".local", "share")
  )
  mx_client_load()
}

# Whether the keys of all that was said in the room are in the backup.
all_sessions_backed_up <- function(bot) {
  said <- synapse_sql(
    live_synapse(),
    sprintf("select json from event_json where room_id = '%s'", bot[["room"]])
  )[["json"]]
  sessions <- lapply(said, function(json) {
    event <- jsonlite::fromJSON(json)
    if (event[["type"]] == "m.room.encrypted") {
      event[["content"]][["session_id"]]
    }
  })
  kept <- synapse_sql(
    live_synapse(),
    sprintf(
      "select session_id from e2e_room_keys where user_id = '%s'",
      bot[["user_id"]]
    )
  )[["session_id"]]
  all(unlist(sessions) %in% kept)
}

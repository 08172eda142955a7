# Clients of this package, signed in to the live homeserver.

library(mxcrypt)
options(cli.default_handler = function(message) invisible())

# A client of a fresh user, or of `user`, with its own configuration and store. It
# sends to all devices unless it is told otherwise: identities have their tests.
# `url` may be that of a proxy before `server`.
live_client <- function(
  user = live_user("r", server),
  ...,
  isolation = "all",
  server = live_synapse(),
  url = server[["url"]],
  .local_envir = parent.frame()
) {
  dir <- withr::local_tempdir(.local_envir = .local_envir)
  client <- mx_client_configure(
    url,
    user[["user"]],
    password = user[["password"]],
    path = file.path(dir, "matrix.json"),
    store_dir = file.path(dir, "crypto"),
    ...
  )
  mx_isolation_mode(client, isolation)
  client
}

# A foreign client of a fresh user.
live_foreign <- function(
  .local_envir = parent.frame(),
  user = live_user("foreign", server),
  server = live_synapse(),
  url = server[["url"]]
) {
  client <- foreign_client(
    user$user,
    user$password,
    url = url,
    .local_envir = .local_envir
  )
  client[["password"]] <- user$password
  client
}

# A foreign client that tests share which only need somebody else. It starts in two
# seconds.
live_stranger <- function() {
  client <- live[["stranger"]]
  if (is.null(client) || !client[["process"]]$is_alive()) {
    live[["stranger"]] <- live_foreign(.local_envir = live_end())
  }
  live[["stranger"]]
}

messages <- function(events) {
  events[events$type == "m.room.message", ]
}

# Syncs until a message with this text has come, and says the texts of all
# messages of others that came on the way.
wait_for_bodies <- function(client, body, seconds = 20) {
  end <- Sys.time() + seconds
  bodies <- character()
  while (!body %in% bodies) {
    if (Sys.time() > end) {
      stop(
        "no message ",
        body,
        "; there came: ",
        paste(bodies, collapse = ", ")
      )
    }
    events <- messages(mx_sync(client, timeout = 2000))
    events <- events[!events$is_self & is.na(events$utd_reason), ]
    bodies <- c(bodies, events$body)
  }
  bodies
}

# What a new process knows: nothing.
forget_open_stores <- function() {
  state <- asNamespace("mxcrypt")[["the"]]
  state[["stores"]] <- list()
  state[["tokens"]] <- list()
  gc()
}

# An R process that runs `code` with a client signed in from `path`.
start_process <- function(path, code) {
  load <- sprintf("client <- mxcrypt::mx_client_load(path = '%s'); ", path)
  start_r(paste0(load, code))
}

start_r <- function(code) {
  processx::process$new("Rscript", c("-e", code), stderr = "|", cleanup = TRUE)
}

# Whether something becomes true within some seconds.
comes_true <- function(condition, seconds = 60) {
  end <- Sys.time() + seconds
  while (!condition() && Sys.time() < end) {
    Sys.sleep(0.1)
  }
  condition()
}

# That a process ends by itself, without an error.
expect_ends_well <- function(process) {
  process$wait(60000)
  expect_equal(process$get_exit_status(), 0L, info = process$read_all_error())
}

# That a foreign client reads this text, and in which session it came.
reads <- function(them, room, text) {
  event <- them$call("waitForMessage", roomId = room, body = text)
  expect_null(event[["failure"]])
  event[["wire"]][["content"]][["session_id"]]
}

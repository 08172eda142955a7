# Clients of this package, signed in to the live homeserver.

library(mxcrypt)
options(cli.default_handler = function(message) invisible())

# A client of a fresh user, or of `user`, with its own configuration and store. It
# sends to all devices unless it is told otherwise: identities have their tests.
live_client <- function(
  user = live_user("r"),
  ...,
  isolation = "all",
  .local_envir = parent.frame()
) {
  dir <- withr::local_tempdir(.local_envir = .local_envir)
  client <- mx_client_configure(
    live_synapse()[["url"]],
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
live_foreign <- function(.local_envir = parent.frame()) {
  user <- live_user("foreign")
  client <- foreign_client(
    user$user,
    user$password,
    .local_envir = .local_envir
  )
  client[["password"]] <- user$password
  client
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

# A device of matrix-js-sdk in a process of its own, as another person has it.
#
#   bob <- live_user("bob")
#   phone <- foreign_client(bob[["user"]], bob[["password"]])
#   room <- phone$call("createRoom", invite = "@alice:localhost")
#   phone$call("waitForMessage", roomId = room, body = "hello")
#
# foreign-client/client.mjs says how it is spoken to; its files in lib/ are
# the list of operations. JSON objects are named lists, as jsonlite has them.

# Starts a device and signs it in. It is stopped when `.local_envir` ends, which
# is the test that called; NULL leaves it to foreign_stop() and the end of R.
foreign_client <- function(
  user,
  password,
  device_id = NULL,
  url = live_synapse()[["url"]],
  .local_envir = parent.frame()
) {
  client <- foreign_process()
  if (!is.null(.local_envir)) {
    withr::defer(foreign_stop(client), envir = .local_envir)
  }
  me <- client$call(
    "login",
    baseUrl = url,
    user = user,
    password = password,
    deviceId = device_id
  )
  client[["user_id"]] <- me[["userId"]]
  client[["device_id"]] <- me[["deviceId"]]
  client[["access_token"]] <- me[["accessToken"]]
  client[["ed25519"]] <- me[["ed25519"]]
  client[["curve25519"]] <- me[["curve25519"]]
  client
}

# Started, not signed in. helper-browser.R drives another script in the same way.
foreign_process <- function(
  script = "tests/live/foreign-client/client.mjs",
  title = "foreign client"
) {
  node <- file.path(repo_root, ".tools/node/bin/node")
  if (!file.exists(node)) {
    stop("Node is missing. Run tools/setup.sh node.", call. = FALSE)
  }
  client <- new.env()
  client[["title"]] <- title
  client[["log"]] <- tempfile("foreign-client-", fileext = ".log")
  client[["last_id"]] <- 0L
  client[["process"]] <- processx::process$new(
    node,
    file.path(repo_root, script),
    stdin = "|",
    stdout = "|",
    stderr = client[["log"]],
    encoding = "UTF-8",
    cleanup = TRUE,
    supervise = TRUE
  )
  client[["call"]] <- function(op, ..., timeout = 30) {
    foreign_call(client, op, list(...), timeout)
  }
  structure(client, class = "foreign_client")
}

foreign_call <- function(client, op, args, timeout) {
  id <- client[["last_id"]] + 1L
  client[["last_id"]] <- id
  # NULL is an argument not given, as JavaScript's undefined is.
  args <- Filter(Negate(is.null), args)
  request <- c(list(id = id, op = op), args)
  json <- jsonlite::toJSON(
    request,
    auto_unbox = TRUE,
    digits = NA,
    null = "null"
  )
  deadline <- Sys.time() + timeout
  foreign_write(client, paste0(enc2utf8(json), "\n"))
  answer <- foreign_answer(client, op, id, deadline)
  if (!is.null(answer[["error"]])) {
    stop(client[["title"]], ", ", op, ": ", answer[["error"]], call. = FALSE)
  }
  answer[["ok"]]
}

foreign_write <- function(client, text) {
  left <- charToRaw(text)
  while (length(left) > 0) {
    left <- client[["process"]]$write_input(left)
  }
}

# Answers to earlier calls that were given up are read and dropped.
foreign_answer <- function(client, op, id, deadline) {
  process <- client[["process"]]
  repeat {
    left <- as.numeric(deadline) - as.numeric(Sys.time())
    process$poll_io(as.integer(1000 * max(0, min(left, 1))))
    for (line in process$read_output_lines()) {
      answer <- jsonlite::fromJSON(line, simplifyVector = FALSE)
      if (identical(answer[["id"]], id)) {
        return(answer)
      }
    }
    if (!process$is_incomplete_output()) {
      foreign_fail(client, op, "the process has ended")
    }
    if (left <= 0) {
      foreign_fail(client, op, "no answer in time")
    }
  }
}

foreign_fail <- function(client, op, reason) {
  log <- utils::tail(readLines(client[["log"]], warn = FALSE), 5)
  stop(
    client[["title"]],
    ", ",
    op,
    ": ",
    reason,
    "\n",
    paste(substr(log, 1, 150), collapse = "\n"),
    call. = FALSE
  )
}

# Its tokens end with it only if it is asked to: call "logout" first.
foreign_stop <- function(client) {
  process <- client[["process"]]
  if (process$is_alive()) {
    # The end of its input ends it.
    close(process$get_input_connection())
    process$wait(2000)
    process$kill()
  }
  unlink(client[["log"]])
  invisible(client)
}

print.foreign_client <- function(x, ...) {
  state <- if (x[["process"]]$is_alive()) "running" else "stopped"
  cat("<foreign_client> ", x[["user_id"]], " ", x[["device_id"]], sep = "")
  cat(", ", state, "\n", sep = "")
  invisible(x)
}

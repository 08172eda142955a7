# Stores in PostgreSQL: what a cluster does with them.

# How many messages each of two processes sends. Ten thousand take a quarter of an hour.
each <- as.integer(Sys.getenv("MXCRYPT_TEST_MESSAGES", "120"))

# What a process does: sends its texts, each once however often it is killed, and writes down what
# it is given.
worker_code <- function(name, room, shown, n) {
  sprintf(
    "name <- '%s'; shown <- '%s'; n <- %d
     take <- function(timeout = 0) {
       events <- mxcrypt::mx_sync(client, timeout = timeout, consumer = name)
       mine <- events$type == 'm.room.message' & !events$is_self
       cat(events$body[mine], sep = '\\n', file = shown, append = TRUE)
       events$body[mine]
     }
     for (first in seq(1, n, 10)) {
       numbers <- first:min(first + 9, n)
       suppressMessages(mxcrypt::mx_send_text(
         client, '%s', paste(name, numbers), transaction_id = paste0(name, '-', numbers)
       ))
       take()
     }
     file.create(paste0(shown, '-sent'))
     end <- Sys.time() + 300
     while (!('the end' %%in%% readLines(shown)) && Sys.time() < end) take(2000)",
    name,
    shown,
    n,
    room
  )
}

# All that matrix-js-sdk shows of a room, from its beginning: an event for each row, with the
# index of its session that it was encrypted with.
all_of <- function(them, room) {
  events <- list()
  repeat {
    more <- them$call("messages", roomId = room, scrollback = 500)
    if (length(more) == length(events)) {
      break
    }
    events <- more
  }
  text <- function(of) {
    vapply(events, function(event) of(event) %||% NA_character_, "")
  }
  content <- function(event) event[["wire"]][["content"]]
  data.frame(
    body = text(function(event) event[["body"]]),
    failure = text(function(event) event[["failure"]][["code"]]),
    index = text(function(event) {
      message_index_of(
        content(event)[["session_id"]],
        content(event)[["ciphertext"]]
      )
    })
  )
}

# Of a Megolm message: a byte for the version, one that names the index, and the index,
# seven bits in each byte.
message_index_of <- function(session_id, ciphertext) {
  if (is.null(ciphertext)) {
    return(NULL)
  }
  bytes <- as.integer(jsonlite::base64_dec(substr(ciphertext, 1, 12)))[-(1:2)]
  length <- which(bytes < 128L)[[1L]]
  digits <- bytes[seq_len(length)] %% 128L
  paste(session_id, sum(digits * 128^(seq_len(length) - 1)))
}

test_that("processes on one device lose, double and fork nothing, whatever breaks", {
  proxy <- cutting_proxy(7)
  alice <- postgres_client(address = proxy[["address"]])
  them <- live_stranger()
  room <- mx_room_create(alice, invite = them$user_id)
  them$call("join", roomId = room)
  mx_sync(alice)
  shown <- c(a = tempfile(), b = tempfile())
  file.create(shown)
  start <- function(name) {
    code <- worker_code(name, room, shown[[name]], each)
    start_process(alice$path, code)
  }
  a <- start("a")
  b <- start("b")
  theirs <- ceiling(each / 4)
  for (i in seq_len(theirs)) {
    say(them, room, paste("theirs", i))
    if (i == ceiling(theirs / 3)) {
      b$kill()
      b <- start("b")
    }
    if (i == ceiling(theirs / 2)) {
      restart_postgres()
    }
  }
  sent <- function() all(file.exists(paste0(shown, "-sent")))
  give_up <- Sys.time() + 60 + each
  while (!sent() && a$is_alive() && b$is_alive() && Sys.time() < give_up) {
    Sys.sleep(0.5)
  }
  say(them, room, "the end")
  for (process in list(a, b)) {
    process$wait(120000)
    expect_equal(
      process$get_exit_status(),
      0L,
      info = process$read_all_error()
    )
  }

  # Read by matrix-js-sdk: each once, those of a process in their order, none under an
  # index that another message has.
  events <- all_of(them, room)
  expect_true(all(is.na(events$failure)))
  for (name in c("a", "b")) {
    mine <- events$body[startsWith(events$body, paste0(name, " ")) %in% TRUE]
    expect_equal(mine, paste(name, seq_len(each)))
  }
  expect_equal(anyDuplicated(stats::na.omit(events$index)), 0L)
  # Each consumer was given all that the other side said. One that was killed between its
  # events and writing them down was given them before.
  wanted <- paste("theirs", seq_len(theirs))
  expect_setequal(intersect(readLines(shown[["a"]]), wanted), wanted)
  given <- c(
    readLines(shown[["b"]]),
    mx_messages(alice, room, limit = 10 * each)$body
  )
  expect_true(all(wanted %in% given))
  expect_gt(proxy$cuts(), 10)
})

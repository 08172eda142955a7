# Stores in PostgreSQL: what a cluster does with them.

# How many messages each of two processes sends, and how many are sent to them meanwhile.
# Ten thousand take half an hour.
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
    more <- them$call(
      "messages",
      roomId = room,
      scrollback = 1000,
      timeout = 60 + each / 10
    )
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

wait_until_sent <- function(processes, files) {
  give_up <- Sys.time() + 60 + each
  is_alive <- function(process) process$is_alive()
  while (
    !all(file.exists(files)) &&
      all(vapply(processes, is_alive, NA)) &&
      Sys.time() < give_up
  ) {
    Sys.sleep(0.5)
  }
}

expect_ends_well <- function(process) {
  process$wait(120000)
  expect_equal(
    process$get_exit_status(),
    0L,
    info = process$read_all_error()
  )
}

# Read by matrix-js-sdk: each once, those of a process in their order, none under an
# index that another message has.
expect_sent_once <- function(events) {
  expect_true(all(is.na(events$failure)))
  for (name in c("a", "b")) {
    mine <- events$body[startsWith(events$body, paste0(name, " ")) %in% TRUE]
    expect_equal(mine, paste(name, seq_len(each)))
  }
  expect_equal(anyDuplicated(stats::na.omit(events$index)), 0L)
}

# Each consumer was given all that the other side said, once. The one that was killed is given
# again what it had from the last call, which it perhaps wrote down: these stand together.
expect_given_all <- function(shown) {
  given <- lapply(shown, function(file) {
    match(readLines(file), paste("theirs", seq_len(each)), nomatch = 0L)
  })
  for (numbers in given) {
    expect_setequal(setdiff(numbers, 0L), seq_len(each))
  }
  again <- lapply(given, function(numbers) {
    numbers[duplicated(numbers) & numbers > 0L]
  })
  expect_equal(again[["a"]], integer())
  expect_true(all(diff(again[["b"]]) == 1L))
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
  for (i in seq_len(each)) {
    say(them, room, paste("theirs", i))
    if (i == ceiling(each / 8)) {
      b$kill()
      b <- start("b")
    }
    if (i == ceiling(each / 6)) {
      restart_postgres()
    }
  }
  wait_until_sent(list(a, b), paste0(shown, "-sent"))
  say(them, room, "the end")
  lapply(list(a, b), expect_ends_well)
  expect_sent_once(all_of(them, room))
  expect_given_all(shown)
  expect_gt(proxy$cuts(), 10)
})

test_that("a bot moves to a database, and another machine goes on with it", {
  them <- live_stranger()
  proxy <- live_proxy()
  alice <- live_client(url = proxy$url)
  room <- mx_room_create(alice, invite = them$user_id)
  them$call("join", roomId = room)
  mx_sync(alice)
  mx_send_text(alice, room, "from a directory")
  dir <- withr::local_tempdir()
  key <- file.path(dir, "store.key")
  address <- paste0(live_postgres()[["address"]], "?store=moved")
  withr::local_envvar(
    PGPASSFILE = live_postgres()[["passwords"]],
    R_USER_CACHE_DIR = file.path(dir, "cache")
  )
  expect_error(
    mx_store_move(alice, address),
    "mx_store_key_write",
    class = "mx_error_store_key_missing"
  )
  mx_send_text(alice, room, "still from a directory")
  mx_store_key_write(key, alice)
  withr::local_envvar(MXCRYPT_STORE_KEY_FILE = key)
  old <- alice$store_dir
  alice <- mx_store_move(alice, address)
  expect_equal(alice$store_dir, address)
  expect_error(
    mx_store_vacuum(old),
    class = "mx_error_store_moved"
  )
  mx_send_text(alice, room, "from a database")
  expect_equal(sum(mx_store_check(alice)$damaged), 0)

  # A file that one machine was given is uploaded by another, which has no copy.
  file <- file.path(dir, "table.csv")
  writeLines("a,b", file)
  proxy$block("media/v3/upload")
  suppressWarnings(try(mx_send_file(alice, room, file), silent = TRUE))
  proxy$clear()
  expect_equal(mx_outbox(alice)$state, "queued")
  unlink(file.path(dir, "cache"), recursive = TRUE)
  forget_open_stores()
  mx_sync(alice)
  for (text in c("from a directory", "from a database", "table.csv")) {
    reads(them, room, text)
  }

  # A listener is alone as its consumer, whoever sees it from where.
  listening <- start_process(
    alice$path,
    "repeat tryCatch(
       mxcrypt::mx_listen(client, function(event) NULL, seconds = 60),
       mx_error_listening = function(condition) Sys.sleep(0.1)
     )"
  )
  is_refused <- function() {
    tryCatch(
      {
        mx_listen(alice, function(event) NULL, seconds = 0)
        FALSE
      },
      mx_error_listening = function(condition) TRUE
    )
  }
  end <- Sys.time() + 30
  while (!(refused <- is_refused()) && Sys.time() < end) {
    Sys.sleep(0.2)
  }
  expect_true(refused, info = listening$read_error())
  listening$kill()
  end <- Sys.time() + 30
  while ((refused <- is_refused()) && Sys.time() < end) {
    Sys.sleep(0.2)
  }
  expect_false(refused)

  # And back.
  alice <- mx_store_move(alice, file.path(dir, "store"))
  mx_send_text(alice, room, "from a directory again")
  reads(them, room, "from a directory again")
})

test_that("Ctrl-C ends each wait for the database, and what was sent is sent once", {
  proxy <- cutting_proxy(1000000L)
  alice <- postgres_client(address = proxy[["address"]])
  them <- live_stranger()
  room <- mx_room_create(alice, invite = them$user_id)
  them$call("join", roomId = room)
  mx_sync(alice)
  dir <- withr::local_tempdir()
  send <- function(path, room, name, file) {
    client <- mxcrypt::mx_client_load(path = path)
    i <- 0
    tryCatch(
      repeat {
        i <- i + 1
        mxcrypt::mx_send_text(client, room, paste(name, i))
        cat(i, file = file)
      },
      interrupt = function(condition) i,
      error = function(condition) conditionMessage(condition)
    )
  }
  environment(send) <- globalenv()
  # Interrupts a process that sends while `begin()` is in its way, and returns the number of the
  # message that it was at.
  interrupted <- function(name, begin) {
    file <- file.path(dir, name)
    process <- callr::r_bg(send, list(alice$path, room, name, file))
    withr::defer(process$kill())
    expect_true(comes_true(function() file.exists(file)))
    end <- begin()
    Sys.sleep(2)
    expect_true(process$is_alive())
    process$interrupt()
    took <- system.time(process$wait(60000))[["elapsed"]]
    expect_lt(took, 4)
    end()
    process$get_result()
  }
  sql <- sprintf(
    "SELECT FROM mxcrypt.store WHERE name = '%s' FOR UPDATE",
    sub(".*store=", "", alice$store_dir)
  )
  reached <- c(
    locked = interrupted("locked", function() hold_in_postgres(sql)),
    silent = interrupted("silent", function() silence_postgres()),
    away = interrupted("away", function() {
      proxy$kill()
      function() NULL
    })
  )
  expect_type(reached, "double")
  # What was saved goes out, from another process.
  direct <- read_config(alice$path)
  direct[["store_dir"]] <- paste0(
    live_postgres()[["address"]],
    "?store=",
    sub(".*store=", "", alice$store_dir)
  )
  write_config(direct, alice$path)
  alice <- mx_client_load(path = alice$path)
  mx_send_text(alice, room, "the end")
  reads(them, room, "the end")
  bodies <- all_of(them, room)$body
  for (name in names(reached)) {
    mine <- bodies[startsWith(bodies, paste0(name, " ")) %in% TRUE]
    n <- length(mine)
    expect_equal(mine, paste(name, seq_len(n)))
    # The one that it was at was saved, or was not.
    expect_true(n %in% (reached[[name]] - 1:0), info = name)
  }
  expect_equal(sum(mx_store_check(alice)$damaged), 0)
})

test_that("a wrong password of the database is tried once", {
  alice <- postgres_client()
  log <- file.path(live_postgres()[["dir"]], "server.log")
  refusals <- function() {
    sum(grepl("FATAL:  password authentication failed", readLines(log)))
  }
  before <- refusals()
  condition <- callr::r(
    function(path) {
      client <- mxcrypt::mx_client_load(path = path)
      tryCatch(mxcrypt::mx_sync(client), error = identity)
    },
    list(alice$path),
    env = c(callr::rcmd_safe_env(), PGPASSWORD = "wrong")
  )
  expect_s3_class(condition, "mx_error_store_refused")
  expect_match(conditionMessage(condition), "PGPASSWORD", fixed = TRUE)
  expect_equal(refusals(), before + 1)
})

test_that("behind a pooler all works but listening, which is refused", {
  alice <- postgres_client(address = live_postgres()[["pooler"]])
  them <- live_stranger()
  room <- mx_room_create(alice, invite = them$user_id)
  them$call("join", roomId = room)
  mx_sync(alice)
  mx_send_text(alice, room, paste("pooled", 1:20))
  reads(them, room, "pooled 20")
  say(them, room, "to a pooler")
  expect_true("to a pooler" %in% wait_for_bodies(alice, "to a pooler"))
  expect_error(
    mx_listen(alice, function(event) NULL, seconds = 0),
    class = "mx_error_store_unsupported"
  )
})

# Several R processes on one store: each takes up where another is, also in the
# middle of an Olm session, and none undoes what another did.

# What `code`, a function of a client, says in a process that has only the path.
elsewhere <- function(client, code, ...) {
  callr::r(
    function(path, code, ...) code(mxcrypt::mx_client_load(path = path), ...),
    list(client$path, code, ...)
  )
}

# Alice, whose requests go through a proxy, and a foreign client.
with_proxy <- function(..., .local_envir = parent.frame()) {
  proxy <- live_proxy(.local_envir)
  alice <- live_client(url = proxy$url, .local_envir = .local_envir)
  them <- live_stranger()
  room <- them$call("createRoom", invite = alice$user_id, ...)
  enter(alice, room, witness = them)
  mx_sync(alice)
  list(proxy = proxy, alice = alice, them = them, room = room)
}

test_that("a process that lives shortly reads what came meanwhile", {
  scene <- with_proxy()
  # What any process shows of the last events of a room.
  read <- function(client, room) mxcrypt::mx_messages(client, room)$body

  say(scene$them, scene$room, "new")
  expect_true("new" %in% elsewhere(scene$alice, read, scene$room))

  # A message of old, and more unread ones than a sync holds.
  for (i in 1:51) {
    say(scene$them, scene$room, paste("unread", i))
  }
  bodies <- elsewhere(
    scene$alice,
    function(client, room) mxcrypt::mx_messages(client, room, limit = 60)$body,
    scene$room
  )
  expect_true(all(c("new", paste("unread", 1:51)) %in% bodies))

  # In an Olm session that both sides have used.
  mx_send_text(scene$alice, scene$room, "an answer")
  reads(scene$them, scene$room, "an answer")
  scene$them$call("forceDiscardSession", roomId = scene$room)
  say(scene$them, scene$room, "by normal message")
  scene$proxy$clear()
  expect_true("by normal message" %in% elsewhere(scene$alice, read, scene$room))
  olm <- grep("m.olm.v1", scene$proxy$seen("/sync")$answer, value = TRUE)
  expect_match(olm, "\"type\":1", fixed = TRUE)

  # The process that was there all the time is shown all of it, once.
  expect_equal(
    wait_for_bodies(scene$alice, "by normal message"),
    c("new", paste("unread", 1:51), "by normal message")
  )
})

test_that("processes that take turns do not wedge their Olm sessions", {
  # A new key, and so an Olm message, for each text.
  scene <- with_proxy(rotation = list(periodMsgs = 1L))
  turn <- function(client, room, text) {
    events <- mxcrypt::mx_sync(client, timeout = 5000)
    mxcrypt::mx_send_text(client, room, text)
    events$utd_reason
  }
  for (i in 1:3) {
    for (process in c("here", "elsewhere")) {
      theirs <- paste("to", process, i)
      ours <- paste("from", process, i)
      say(scene$them, scene$room, theirs)
      trouble <- if (process == "here") {
        turn(scene$alice, scene$room, ours)
      } else {
        elsewhere(scene$alice, turn, scene$room, ours)
      }
      expect_true(all(is.na(trouble)))
      reads(scene$them, scene$room, ours)
    }
  }
  history <- messages(mx_messages(scene$alice, scene$room))
  expect_equal(nrow(history), 12)
  expect_length(unique(history$session_id), 12)
})

test_that("processes that send and receive at once do not wedge them either", {
  scene <- with_proxy(rotation = list(periodMsgs = 1L))
  code <- function(name) {
    sprintf(
      "for (n in 1:8) {
         mxcrypt::mx_sync(client)
         mxcrypt::mx_send_text(client, '%s', paste('%s', n))
       }",
      scene$room,
      name
    )
  }
  processes <- lapply(c("a", "b"), \(x) {
    start_process(scene$alice$path, code(x))
  })
  for (i in 1:10) {
    say(scene$them, scene$room, paste("theirs", i))
  }
  for (process in processes) {
    expect_ends_well(process)
  }
  ours <- c(paste("a", 1:8), paste("b", 1:8))
  for (text in ours) {
    reads(scene$them, scene$room, text)
  }
  history <- messages(mx_messages(scene$alice, scene$room))
  expect_setequal(history$body, c(ours, paste("theirs", 1:10)))
})

test_that("two processes do not upload other keys under the same names", {
  scene <- with_proxy()
  hungry <- live_client()
  device <- mx_crypto_known_devices(hungry, scene$alice$user_id)
  for (i in 1:10) {
    mx_crypto_claim_otks(hungry, device)
  }
  scene$proxy$clear()
  scene$proxy$delay("keys/upload", before = TRUE)
  process <- start_process(scene$alice$path, "mxcrypt::mx_sync(client)")
  scene$proxy$wait("keys/upload")
  # While the other's upload is under way.
  mx_sync(scene$alice)
  scene$proxy$release()
  expect_ends_well(process)
  mx_sync(scene$alice)
  uploads <- scene$proxy$seen("keys/upload")
  expect_true(all(uploads$status == 200))
  keys <- lapply(uploads$body, \(x) jsonlite::fromJSON(x)[["one_time_keys"]])
  names <- unlist(lapply(keys, names))
  values <- unlist(lapply(keys, \(x) vapply(x, `[[`, "", "key")))
  expect_gte(length(unique(names)), 10)
  expect_equal(length(unique(paste(names, values))), length(unique(names)))
})

test_that("a device that one process heard of is known to the other", {
  proxy <- live_proxy()
  scene <- unheard_device(url = proxy$url)
  # The other process hears of it, and can ask no more.
  proxy$block("keys/query")
  heard <- elsewhere(scene$alice, function(client) {
    options(mxcrypt.pause = 0.01)
    tryCatch(mxcrypt::mx_sync(client), warning = function(w) class(w)[[1]])
  })
  expect_equal(heard, "mx_warning_pump")
  proxy$clear()
  mx_send_text(scene$alice, scene$room, "for two")
  reads(scene$second, scene$room, "for two")
  expect_equal(nrow(proxy$seen("/sync")), 0)
})

# The requests that may wait for news, and how many others were under way when each began.
long_polls <- function(proxy) {
  polls <- proxy$seen("/sync\\?.*timeout=[1-9]")
  ended <- polls$ended
  ended[is.na(ended)] <- Inf
  polls$beside <- vapply(
    seq_along(polls$began),
    \(i) sum(polls$began < polls$began[[i]] & ended > polls$began[[i]]),
    0
  )
  polls
}

# A process that listens, and writes each text with the time into a file.
start_listener <- function(client, file, consumer, async = FALSE) {
  handler <- sprintf(
    "function(event) {
       at <- format(as.numeric(Sys.time()), digits = 15)
       cat(event$body, at, '\n', file = '%s', append = TRUE)
     }",
    file
  )
  start <- if (async) {
    "mxcrypt::mx_listen_start(client, %s, types = 'm.room.message', poll = 20, consumer = '%s')
     repeat later::run_now(1)"
  } else {
    "mxcrypt::mx_listen(client, %s, types = 'm.room.message', poll = 20, consumer = '%s')"
  }
  start_process(client$path, sprintf(start, handler, consumer))
}

heard <- function(file) {
  if (!file.exists(file) || file.size(file) == 0) {
    return(data.frame(text = character(), at = numeric()))
  }
  utils::read.table(file, col.names = c("text", "at"))
}

hears <- function(file, text, seconds = 60) {
  end <- Sys.time() + seconds
  while (!text %in% heard(file)$text) {
    if (Sys.time() > end) {
      stop("no message ", text, call. = FALSE)
    }
    Sys.sleep(0.05)
  }
}

test_that("one process at a time waits at the server, and all hear at once", {
  scene <- with_proxy()
  files <- file.path(withr::local_tempdir(), c("a", "b", "c"))
  names(files) <- c("a", "b", "c")
  processes <- lapply(names(files), function(name) {
    start_listener(scene$alice, files[[name]], name, async = name == "c")
  })
  withr::defer(
    for (process in processes) {
      process$kill()
    }
  )
  say(scene$them, scene$room, "ready")
  for (file in files) {
    hears(file, "ready")
  }
  scene$proxy$clear()
  Sys.sleep(1)
  for (i in 1:10) {
    text <- paste0("text", i)
    said <- as.numeric(Sys.time())
    say(scene$them, scene$room, text)
    for (file in files) {
      hears(file, text)
    }
    if (i %% 5 == 0) Sys.sleep(2)
  }
  polls <- long_polls(scene$proxy)
  expect_gt(nrow(polls), 9)
  expect_equal(max(polls$beside), 0)
  at <- lapply(files, heard)
  delays <- unlist(lapply(at, \(x) x$at - at$a$at[match(x$text, at$a$text)]))
  # Far less than the 20 seconds for which the server may wait.
  expect_lt(max(abs(delays)), 6)
  for (x in at) {
    expect_equal(sum(duplicated(x$text)), 0)
  }
})

# Of two listeners of a client, the one that waits at the server is killed.
expect_others_go_on <- function(scene) {
  files <- file.path(withr::local_tempdir(), c("a", "b"))
  has_polls <- function(n, seconds = 30) {
    end <- Sys.time() + seconds
    while (nrow(long_polls(scene$proxy)) < n && Sys.time() < end) {
      Sys.sleep(0.1)
    }
    expect_equal(nrow(long_polls(scene$proxy)), n)
  }
  one <- start_listener(scene$alice, files[[1]], "a")
  withr::defer(one$kill())
  say(scene$them, scene$room, "ready")
  hears(files[[1]], "ready")
  Sys.sleep(1)
  scene$proxy$clear()
  say(scene$them, scene$room, "again")
  hears(files[[1]], "again")
  has_polls(1)
  two <- start_listener(scene$alice, files[[2]], "b")
  withr::defer(two$kill())
  hears(files[[2]], "again")
  Sys.sleep(2)
  has_polls(1)
  one$kill()
  killed <- Sys.time()
  say(scene$them, scene$room, "after")
  hears(files[[2]], "after")
  # The lock of a listener ends with its process, long before its lease would.
  expect_lt(as.numeric(Sys.time() - killed, units = "secs"), 8)
  expect_gte(nrow(long_polls(scene$proxy)), 2)
  say(scene$them, scene$room, "later")
  hears(files[[2]], "later", 10)
}

test_that("another process goes on where the one that waits at the server is killed", {
  expect_others_go_on(with_proxy())
})

test_that("so it does in a database", {
  proxy <- live_proxy()
  alice <- postgres_client(url = proxy$url)
  them <- live_stranger()
  room <- them$call("createRoom", invite = alice$user_id)
  enter(alice, room, witness = them)
  mx_sync(alice)
  expect_others_go_on(
    list(proxy = proxy, alice = alice, them = them, room = room)
  )
})

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

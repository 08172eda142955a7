# Rounds of requests in which what `failing` gives fails: a list of character vectors
# of subjects, the last one for ever. Says how many rounds there were.
rounds_until_end <- function(due, failing) {
  n <- 0
  fake <- function(client, machine, requests, call) {
    n <<- n + 1
    if (n > 20) {
      stop("it does not end")
    }
    subjects <- failing[[min(n, length(failing))]]
    failed <- lapply(subjects, function(subject) list(subject = subject))
    names(failed) <- subjects
    list(failed = failed, ended = FALSE)
  }
  local_replaced("perform_all", fake)
  next_requests <- function() {
    requests <- if (n < length(due)) due[[n + 1]] else due[[length(due)]]
    list(
      requests = lapply(requests, function(x) list(kind = "upload")),
      sync_first = FALSE,
      busy = FALSE,
      under_way = FALSE
    )
  }
  rounds <- get("pump_rounds", asNamespace("mxcrypt"))
  rounds(NULL, NULL, next_requests, function() FALSE, 0, function() NULL, NULL)
  n
}

test_that("requests that only fail again are not made for ever in one call", {
  # Each is due again, because the others took longer than its pause.
  expect_equal(rounds_until_end(list(1:2), list(c("upload 1", "upload 2"))), 2)
  taking_turns <- list("upload 1", "upload 2", "upload 1")
  expect_equal(rounds_until_end(list(1), taking_turns), 3)
})

test_that("a call that sends for long syncs as often as it needs to", {
  # Before each of ten batches, as on a server that takes seconds for one.
  due <- function(sends) {
    n <- 0
    local_replaced("sync_for_messages", function(client, call) {
      n <<- n + 1
      NULL
    })
    local_replaced("perform_all", function(client, machine, requests, call) {
      list(failed = list(), ended = FALSE)
    })
    step <- 0
    next_requests <- function() {
      step <<- step + 1
      is_over <- step > 20
      list(
        requests = if (step %% 2 == 0 && sends) list(list(kind = "send")),
        sync_first = !is_over && step %% 2 == 1,
        busy = FALSE,
        under_way = FALSE
      )
    }
    rounds <- get("pump_rounds", asNamespace("mxcrypt"))
    rounds(NULL, NULL, next_requests, function() TRUE, 0, function() NULL, NULL)
    n
  }
  expect_equal(due(sends = TRUE), 10)
  # One that nothing follows is not made for ever.
  expect_lte(due(sends = FALSE), 3)
})

test_that("what succeeds, or fails for the first time, goes on", {
  # One of two succeeds in each round, until nothing is due.
  due <- list(1:2, 1:2, 1:2, integer())
  expect_equal(rounds_until_end(due, list("upload 1")), 3)
  news <- list("a", "b", "c", "c")
  expect_equal(rounds_until_end(list(1), news), 4)
})

test_that("a copy that is there and cannot be read is refused, and not waited for", {
  store <- withr::local_tempdir()
  dir.create(file.path(store, "files"))
  writeLines("x", file.path(store, "files", "file-1-2"))
  request <- list(
    number = 1,
    method = "POST",
    path = "/x",
    file = "file-1-2",
    file_type = "text/plain",
    file_size = 2
  )
  # Root reads every file, so the disk is a stand-in.
  local_replaced("http_perform", function(...) {
    mx_abort("A file could not be read.", "mx_error_file")
  })
  perform <- get("perform", asNamespace("mxcrypt"))
  reply <- perform(list(store_dir = store), NULL, request, NULL)
  expect_equal(reply$status, 410L)
  expect_match(rawToChar(reply$body), "MXCRYPT_FILE_GONE", fixed = TRUE)
})

test_that("a caller waits for a response that another process is about to have", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  bob <- mx_demo_client(homeserver, "bob", verified = FALSE)
  machine <- machine_of(alice)
  # Plays the other process, on the same store.
  begin <- function() {
    core(machine_refresh_devices(machine, bob$user_id))
    due <- machine_requests(machine, NULL, bob$user_id, character(), NULL)
    core(due)[["requests"]]
  }
  is_known <- function() {
    length(core(machine_outdated_users(machine, bob$user_id))) == 0L
  }
  theirs <- begin()
  waited <- 0
  local_replaced("wait", function(seconds) {
    waited <<- waited + 1
    perform_all(alice, machine, theirs, NULL)
  })
  pump(alice, users = bob$user_id)
  expect_equal(waited, 1)
  expect_true(is_known())
  # One that was begun before this call is no answer to it.
  theirs <- begin()
  expect_equal(mx_devices(alice, bob$user_id)$device_id, bob$device_id)
  expect_equal(waited, 1)
  expect_true(is_known())
})

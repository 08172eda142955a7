# A process that is killed, at any moment, loses nothing and sends nothing twice.

skip_on_os("windows")
skip_on_cran()

# Starts work in another R; the test kills it.
start <- function(fun, args) {
  skip_if_not_installed("callr")
  environment(fun) <- globalenv()
  callr::r_bg(fun, args)
}

conversation <- function(.local_envir = parent.frame()) {
  fake <- fake_homeserver()
  alice <- fake_client(fake, .local_envir = .local_envir)
  bob <- fake_client(fake, .local_envir = .local_envir)
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  list(fake = fake, alice = alice, bob = bob, room = room)
}

test_that("a sender that is killed again and again sends all, once, in order", {
  scene <- conversation()
  log <- withr::local_tempfile(lines = character())
  send <- function(path, room, log, first) {
    client <- mxcrypt::mx_client_load(path = path)
    for (i in first:1000) {
      mxcrypt::mx_send_text(client, room, paste("message", i))
      cat(i, "\n", file = log, append = TRUE)
    }
  }
  done <- function() as.integer(c("0", readLines(log)))
  first <- 1
  for (round in 1:4) {
    process <- start(send, list(scene$alice$path, scene$room, log, first))
    wait_for(function() max(done()) >= first + 3 * round)
    process$kill(grace = 0)
    # The message it was at may have been saved, or not.
    first <- max(done()) + 2
  }
  mx_send_text(scene$alice, scene$room, "the end")
  bodies <- new_bodies(scene$bob)
  expect_equal(bodies[[length(bodies)]], "the end")
  numbers <- as.integer(sub("message ", "", bodies[-length(bodies)]))
  expect_equal(anyDuplicated(numbers), 0)
  expect_false(is.unsorted(numbers))
  expect_true(all(setdiff(done(), 0) %in% numbers))
  events <- messages(mx_messages(scene$bob, scene$room, limit = 1000))
  expect_true(all(events$decrypted))
})

test_that("what was queued by a process that died is sent by the next", {
  scene <- conversation()
  queue <- function(path, room) {
    client <- mxcrypt::mx_client_load(path = path)
    numbers <- mxcrypt:::machine_send(
      mxcrypt:::machine_of(client),
      room,
      rep("m.room.message", 3),
      sprintf('{"msgtype":"m.text","body":"queued %d"}', 1:3),
      NULL,
      FALSE,
      NULL
    )
    # Once it is saved, at the moment when it is given out.
    mxcrypt:::machine_requests(
      mxcrypt:::machine_of(client),
      room,
      character(),
      character(),
      0
    )
    tools::pskill(Sys.getpid(), tools::SIGKILL)
  }
  process <- start(queue, list(scene$alice$path, scene$room))
  process$wait(120000)
  expect_equal(process$get_exit_status(), -9L)
  mx_send_text(scene$alice, scene$room, "after")
  expect_equal(
    new_bodies(scene$bob),
    c("queued 1", "queued 2", "queued 3", "after")
  )
})

test_that("a listener that is killed in its handler is given the event again", {
  scene <- conversation()
  mx_sync(scene$bob)
  mx_send_text(scene$alice, scene$room, sprintf("job %d", 1:5))
  log <- withr::local_tempfile(lines = character())
  listen <- function(path, log) {
    mxcrypt::mx_listen(
      mxcrypt::mx_client_load(path = path),
      function(event, client) {
        cat(event$body, "\n", file = log, append = TRUE)
        if (event$body == "job 3" && sum(readLines(log) == "job 3 ") == 1) {
          tools::pskill(Sys.getpid(), tools::SIGKILL)
        }
      },
      types = "m.room.message",
      seconds = 0
    )
  }
  killed <- start(listen, list(scene$bob$path, log))
  killed$wait(20000)
  expect_equal(killed$get_exit_status(), -9L)
  start(listen, list(scene$bob$path, log))$wait(20000)
  expect_equal(
    trimws(readLines(log)),
    paste("job", c(1, 2, 3, 3, 4, 5))
  )
})

test_that("keys that came to a process that died are there for the next", {
  scene <- conversation()
  mx_send_text(scene$alice, scene$room, "one")
  sync <- function(path) {
    client <- mxcrypt::mx_client_load(path = path)
    mxcrypt:::sync_once(client, 0)
    tools::pskill(Sys.getpid(), tools::SIGKILL)
  }
  process <- start(sync, list(scene$bob$path))
  process$wait(120000)
  expect_equal(process$get_exit_status(), -9L)
  scene$fake$forget()
  expect_equal(new_bodies(scene$bob), "one")
  mx_send_text(scene$alice, scene$room, "two")
  expect_equal(new_bodies(scene$bob), "two")
})

test_that("a new device whose process died while publishing is not deaf", {
  fake <- fake_homeserver()
  fake_register(fake, "newborn")
  dir <- withr::local_tempdir()
  # Killed by the time its keys are at the server and it has not heard so.
  fake$fault("POST", "/keys/upload", acts = TRUE, delay = 5)
  configure <- function(url, dir) {
    mxcrypt::mx_client_configure(
      url,
      "newborn",
      "secret word",
      path = file.path(dir, "m.json"),
      store_dir = file.path(dir, "crypto")
    )
  }
  process <- start(configure, list(fake$url, dir))
  wait_for(function() file.exists(file.path(dir, "m.json")))
  Sys.sleep(0.5)
  process$kill(grace = 0)
  newborn <- mx_client_load(path = file.path(dir, "m.json"))
  # The request of the dead process has 10 seconds.
  wait_for(function() {
    mx_sync(newborn)
    core(machine_key_upload(machine_of(newborn)))$published
  })
  uploads <- vapply(fake$seen("POST", "/keys/upload"), function(x) x$body, "")
  expect_length(unique(uploads), 1)
  mx_isolation_mode(newborn, "all")
  alice <- fake_client(fake)
  room <- mx_room_create(alice, invite = newborn$user_id)
  mx_room_join(newborn, room)
  mx_send_text(alice, room, "welcome")
  expect_equal(new_bodies(newborn), "welcome")
})

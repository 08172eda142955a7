# Of the processes of a store one waits at the server. A second open store stands in for another
# process.

another_machine <- function(client, .local_envir = parent.frame()) {
  machine <- core(machine_open(client$store_dir, NULL))
  withr::defer(machine_close(machine), envir = .local_envir)
  machine
}

# Begins a long poll that may take `seconds`, and returns its lease.
begin_poll <- function(machine, seconds = 30) {
  seen <- core(machine_last_sync(machine))
  core(machine_lease_sync(machine, seen, seconds * 1000, FALSE))
}

# The times that the server was given to wait, in milliseconds.
given_times <- function(fake) {
  paths <- vapply(fake$seen("GET", "/sync"), function(x) x[["path"]], "")
  as.numeric(sub(".*timeout=([0-9]+).*", "\\1", paths))
}

lease_scene <- function(.local_envir = parent.frame()) {
  fake <- fake_homeserver()
  alice <- fake_client(fake, .local_envir = .local_envir)
  mx_sync(alice)
  fake$forget()
  list(fake = fake, alice = alice, other = another_machine(alice, .local_envir))
}

test_that("who finds another process at the server waits, and asks when its time is over", {
  scene <- lease_scene()
  poll <- begin_poll(scene$other)
  expect_equal(poll$whose, "ours")
  # Who does not want to wait is not kept waiting.
  expect_lt(elapsed(mx_sync(scene$alice)), 5)
  expect_equal(given_times(scene$fake), 0)
  scene$fake$forget()
  took <- elapsed(mx_sync(scene$alice, timeout = 700))
  expect_gt(took, 0.6)
  expect_lt(took, 10)
  expect_equal(given_times(scene$fake), 0)
  core(machine_release_sync(scene$other, poll$lease))
  scene$fake$forget()
  mx_sync(scene$alice, timeout = 700)
  expect_equal(given_times(scene$fake), 700)
})

test_that("who waits gets what another process received, without a request", {
  scene <- lease_scene()
  room <- mx_room_create(scene$alice)
  mx_send_text(scene$alice, room, "hello")
  poll <- begin_poll(scene$other)
  since <- core(machine_sync_token(scene$other))
  path <- paste0(sync_path, "&timeout=0&since=", encode_segment(since))
  news <- http_perform(scene$alice, "GET", path)
  scene$fake$forget()
  real <- get("wait_for_commit", asNamespace("mxcrypt"))
  local_replaced("wait_for_commit", function(...) {
    core(machine_receive_sync(scene$other, since, news[["body"]]))
    real(...)
  })
  events <- mx_sync(scene$alice, timeout = 30000)
  expect_equal(messages(events)$body, "hello")
  expect_length(given_times(scene$fake), 0)
})

test_that("the lease ends with its request, and where the process ends", {
  scene <- lease_scene()
  scene$fake$fault("GET", "/sync", status = 403, body = "{}")
  expect_error(mx_sync(scene$alice, timeout = 100), class = "mx_error_http")
  scene$fake$forget()
  expect_equal(begin_poll(scene$other)$whose, "ours")
  machine_close(scene$other)
  mx_sync(scene$alice, timeout = 100)
  expect_equal(given_times(scene$fake), 100)
})

test_that("a call that R waits for does not wait for one in the background", {
  skip_without_promises()
  scene <- lease_scene()
  scene$fake$fault("GET", "/sync", delay = 3)
  driver <- async_driver()
  poll <- watched(sync_once_promise(scene$alice, 30000, driver = driver))
  wait_for(function() {
    later::run_now(0.05)
    length(given_times(scene$fake)) == 1
  })
  expect_equal(begin_poll(scene$other)$whose, "theirs")
  expect_lt(elapsed(mx_sync(scene$alice, timeout = 20000)), 15)
  # Another one in the background waits, and R goes on.
  run <- ticking(sync_once_promise(scene$alice, 700))
  expect_gt(run$ticks, 10)
  driver$cancel()
  wait_for(function() {
    later::run_now(0.05)
    poll$done
  })
  wait_for(function() {
    later::run_now()
    later::loop_empty()
  })
  expect_equal(begin_poll(scene$other)$whose, "ours")
})

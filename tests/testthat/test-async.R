expired <- '{"errcode":"M_UNKNOWN_TOKEN","error":"expired","soft_logout":true}'

# A request that hangs for a second lets a job of 20 ms run about 50 times, and none if
# R waits for it. A machine may be slow.
many_ticks <- 15

test_that("promises come to what the calls that wait return", {
  skip_without_promises()
  pair <- demo_pair()
  room <- pair$room
  # Both come to the same: the first call of a session has warnings.
  mx_send_text(pair$alice, room, "zero")
  mx_sync(pair$bob)
  ids <- settled(mx_send_text_async(pair$alice, room, c("one", "two")))
  ids <- c(ids, settled(mx_send_async(pair$alice, room, list(body = "three"))))
  posted <- mx_post_async(pair$alice, room, A = "four", cars, thread = TRUE)
  ids <- c(ids, settled(posted))
  expect_length(ids, 5)
  events <- settled(mx_sync_async(pair$bob))
  expect_s3_class(events, "mx_events")
  expect_equal(messages(events)$event_id, ids)
  expect_equal(messages(events)$body[1:3], c("one", "two", "three"))
  expect_equal(nrow(settled(mx_sync_async(pair$bob))), 0)
  expect_equal(settled(mx_post_async(pair$alice, room, NULL)), character())
})

test_that("a promise is rejected with the condition that the other call raises", {
  skip_without_promises()
  pair <- demo_pair()
  condition <- settled(mx_send_text_async(pair$alice, "nowhere", "x"))
  expect_s3_class(condition, "mx_error_room")
  expect_identical(conditionCall(condition), quote(mx_send_text_async()))
  away <- "!away:demo"
  condition <- settled(mx_send_async(pair$alice, away, list(body = "x")))
  twin <- catch(mx_send(pair$alice, away, list(body = "x")))
  expect_s3_class(twin, "mx_error")
  expect_identical(class(condition), class(twin))
  huge <- strrep("x", 70000)
  condition <- settled(mx_send_text_async(pair$alice, pair$room, huge))
  expect_s3_class(condition, "mx_error_too_large")

  mx_logout(pair$alice, ask = FALSE)
  condition <- settled(mx_sync_async(pair$alice))
  expect_s3_class(condition, "mx_error_signed_out")
  condition <- settled(mx_send_text_async(pair$alice, pair$room, "x"))
  expect_s3_class(condition, "mx_error_signed_out")
})

test_that("arguments are checked at once", {
  skip_without_promises()
  pair <- demo_pair()
  calls <- list(
    client = quote(mx_send_text_async("x", pair$room, "x")),
    text = quote(mx_send_text_async(pair$alice, pair$room, "")),
    type = quote(mx_send_async(pair$alice, pair$room, list(), type = 1)),
    timeout = quote(mx_sync_async(pair$alice, timeout = -1)),
    consumer = quote(mx_sync_async(pair$alice, consumer = "")),
    thread = quote(mx_post_async(pair$alice, pair$room, "x", thread = 1)),
    r = quote(mx_post_async(pair$alice, pair$room, r = 1))
  )
  for (name in names(calls)) {
    condition <- catch(eval(calls[[name]]))
    expect_s3_class(condition, "mx_error_argument")
    expect_match(conditionMessage(condition), name, fixed = TRUE)
    expect_identical(
      as.character(conditionCall(condition)),
      as.character(calls[[name]][[1]])
    )
  }
})

test_that("a message is in the outbox before the promise is returned", {
  skip_without_promises()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice, name = "Queue")
  mx_sync(alice)
  first <- mx_send_text_async(alice, room, "first")
  second <- mx_send_text_async(alice, "Queue", "second")
  expect_equal(nrow(mx_outbox(alice)), 2)
  expect_length(fake$seen("PUT", "/send/"), 0)
  ids <- c(settled(first), settled(second))
  expect_equal(nrow(mx_outbox(alice)), 0)
  sent <- messages(mx_sync(alice))
  expect_equal(sent$body, c("first", "second"))
  expect_equal(sent$event_id, ids)
})

test_that("jobs of later run while a request hangs", {
  skip_without_promises()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  fake$fault("GET", "/sync", status = 503, delay = 1)
  run <- ticking(sync_once_promise(alice, 0))
  expect_false(run$value$stale)
  expect_gte(run$took, 1)
  expect_gt(run$ticks, many_ticks)

  fake$forget()
  fake$fault("PUT", "/send/", status = 502, delay = 1, acts = TRUE)
  run <- ticking(mx_send_text_async(alice, room, "once"))
  expect_gt(run$ticks, many_ticks)
  # It was repeated with its transaction id.
  expect_length(fake$seen("PUT", "/send/"), 2)
  sent <- messages(mx_sync(alice))
  expect_equal(sent$body, "once")
  expect_equal(sent$event_id, run$value)

  # An alias is looked up without waiting, too.
  found <- sprintf('{"room_id":"%s"}', room)
  fake$fault("GET", "/directory/room/", body = found, delay = 1)
  run <- ticking(mx_send_text_async(alice, "#alias:fake", "named"))
  expect_gt(run$ticks, many_ticks)
  expect_type(run$value, "character")
})

test_that("a pause that the server asks for is made, and blocks nothing", {
  skip_without_promises()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  body <- '{"errcode":"M_LIMIT_EXCEEDED","error":"slow"}'
  headers <- list("Retry-After" = "1")
  fake$fault("GET", "/sync", status = 429, body = body, headers = headers)
  run <- ticking(mx_sync_async(alice))
  expect_s3_class(run$value, "mx_events")
  expect_gte(run$took, 1)
  expect_gt(run$ticks, many_ticks)

  withr::local_options(mxcrypt.max_tries = 2)
  fake$forget()
  fake$fault("GET", "/sync", status = 502, body = "<html>", times = 9)
  condition <- settled(mx_sync_async(alice))
  expect_s3_class(condition, "mx_error_http")
  expect_identical(condition[["status"]], 502L)
  expect_length(fake$seen("GET", "/sync"), 2)
})

test_that("a server that is not there rejects the promise, and keeps the message", {
  skip_without_promises()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  mx_sync(alice)
  withr::local_options(mxcrypt.max_tries = 2)
  gone <- alice
  # Nothing listens at this port.
  gone[["server"]] <- "http://127.0.0.1:1"
  condition <- settled(mx_send_text_async(gone, room, "later"))
  expect_s3_class(condition, "mx_error_network")
  expect_length(condition[["numbers"]], 1)
  expect_equal(nrow(mx_outbox(alice)), 1)
  mx_outbox_retry(alice, condition[["numbers"]])
  expect_equal(messages(mx_sync(alice))$body, "later")

  # A server that responds after the time limit.
  withr::local_options(mxcrypt.timeout = 0.5, mxcrypt.max_tries = 1)
  fake$fault("GET", "/sync", delay = 3)
  expect_s3_class(settled(mx_sync_async(alice)), "mx_error_network")
})

test_that("a login is renewed without waiting, once for two calls", {
  skip_without_promises()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  mx_sync(alice)
  old <- session_token(alice)
  fake$forget()
  fake$fault("GET", "/sync", status = 401, body = expired)
  fake$fault("PUT", "/send/", status = 401, body = expired)
  # The first response is lost, and was slow.
  fake$fault("POST", "/refresh", status = 502, acts = TRUE, delay = 1)
  sent <- mx_send_text_async(alice, room, "kept")
  run <- ticking(mx_sync_async(alice))
  expect_s3_class(run$value, "mx_events")
  expect_gt(run$ticks, many_ticks)
  expect_type(settled(sent), "character")
  expect_false(identical(session_token(alice), old))
  refreshed <- vapply(fake$seen("POST", "/refresh"), function(x) x$body, "")
  expect_length(refreshed, 2)
  expect_length(unique(refreshed), 1)
})

test_that("who waits for another process's renewal blocks nothing", {
  skip_without_promises()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  machine <- machine_of(alice)
  lease <- core(machine_lease_login(machine))
  fake$forget()
  fake$fault("GET", "/sync", status = 401, body = expired)
  later::later(function() core(machine_release_login(machine, lease)), 1)
  run <- ticking(mx_sync_async(alice))
  expect_s3_class(run$value, "mx_events")
  expect_gt(run$ticks, many_ticks)
  expect_length(fake$seen("POST", "/refresh"), 1)
})

test_that("a refresh that fails rejects the promise, and ends its lease", {
  skip_without_promises()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  withr::local_envvar(MXCRYPT_PASSWORD = NA)
  withr::local_options(mxcrypt.keyring = FALSE, mxcrypt.max_tries = 2)
  fake$fault("GET", "/sync", status = 401, body = expired)
  fake$fault("POST", "/refresh", status = 503, body = "<html>", times = 2)
  expect_s3_class(settled(mx_sync_async(alice)), "mx_error_renewal")
  # A lease lasts 30 seconds.
  fake$fault("GET", "/sync", status = 401, body = expired)
  expect_lt(elapsed(expect_s3_class(mx_sync(alice), "mx_events")), 20)
  # By password R waits, and it signs in.
  withr::local_envvar(MXCRYPT_PASSWORD = "secret word")
  fake$forget()
  fake$fault("GET", "/sync", status = 401, body = expired)
  fake$fault("POST", "/refresh", status = 401, body = expired)
  expect_s3_class(settled(mx_sync_async(alice)), "mx_events")
  expect_length(fake$seen("POST", "/login"), 1)
})

test_that("a login of OAuth is renewed ahead without waiting", {
  skip_without_promises()
  oauth <- fake_oauth()
  alice <- fake_client(oauth$fake)
  config <- read_config(alice$path)
  config[["method"]] <- "oauth"
  config[["issuer"]] <- oauth$metadata$issuer
  config[["client_id"]] <- "client-1"
  config[["expires_at"]] <- time_as_text(Sys.time() + 5)
  write_config(config, alice$path)
  alice <- mx_client_load(path = alice$path)
  # fake_client() ended what the door was told.
  oauth <- fake_oauth()
  tokens <- list(
    access_token = config[["token"]],
    refresh_token = "refresh-2",
    token_type = "bearer",
    expires_in = 300
  )
  oauth$says("token", tokens, delay = 1)
  run <- ticking(mx_sync_async(alice))
  expect_s3_class(run$value, "mx_events")
  expect_gt(run$ticks, many_ticks)
  expect_equal(read_config(alice$path)[["refresh_token"]], "refresh-2")
  expect_length(oauth$fake$seen("POST", "/oauth/token"), 1)
})

test_that("a cancelled call ends at once, and leaves no lease and no job", {
  skip_without_promises()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  mx_sync(alice)
  fake$forget()
  driver <- async_driver()
  fake$fault("GET", "/sync", delay = 30)
  poll <- watched(sync_once_promise(alice, 30000, driver = driver))
  wait_for(function() {
    later::run_now(0.05)
    length(fake$seen("GET", "/sync")) == 1
  })
  expect_false(driver$is_idle())
  took <- elapsed({
    driver$cancel()
    wait_for(function() {
      later::run_now(0.05)
      poll$done
    })
  })
  expect_lt(took, 10)
  expect_s3_class(poll$value, "mx_error_cancelled")
  expect_true(driver$is_idle())
  # Nothing of it runs on.
  wait_for(function() {
    later::run_now()
    later::loop_empty()
  })
  # What comes after it is refused, also what waits for a pause.
  again <- settled(sync_once_promise(alice, 0, driver = driver))
  expect_s3_class(again, "mx_error_cancelled")

  # A message whose request was cancelled is sent by the next call, without a wait for
  # the end of its lease.
  driver <- async_driver()
  fake$fault("PUT", "/send/", delay = 30)
  sent <- watched(run_async(
    alice,
    function(client) mx_send_text(client, room, "kept"),
    driver
  ))
  wait_for(function() {
    later::run_now(0.05)
    length(fake$seen("PUT", "/send/")) == 1
  })
  driver$cancel()
  wait_for(function() {
    later::run_now(0.05)
    sent$done
  })
  expect_s3_class(sent$value, "mx_error_cancelled")
  took <- elapsed(mx_send_text(alice, room, "next"))
  expect_lt(took, 20)
  expect_equal(messages(mx_sync(alice))$body, c("kept", "next"))
})

test_that("a call that waits goes on while a promise holds what it needs", {
  skip_without_promises()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  mx_sync(alice)
  fake$forget()
  fake$fault("PUT", "/send/", status = 502, delay = 1, acts = TRUE)
  done <- FALSE
  first <- mx_send_text_async(alice, room, "first")
  promises::then(first, function(id) done <<- TRUE)
  wait_for(function() {
    later::run_now(0.05)
    length(fake$seen("PUT", "/send/")) == 1
  })
  # Its lease on the room would last a minute.
  took <- elapsed(mx_send_text(alice, room, "second"))
  expect_lt(took, 20)
  # No job of the user ran inside of a call that waits.
  expect_false(done)
  settled(first)
  expect_true(done)
  expect_equal(messages(mx_sync(alice))$body, c("first", "second"))
})

test_that("files go out without waiting", {
  skip_without_promises()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  mx_sync(alice)
  path <- withr::local_tempfile(fileext = ".bin")
  writeBin(as.raw(rep(1:250, 4000)), path)
  fake$fault("POST", "/upload", status = 502, delay = 1)
  run <- ticking(mx_post_async(alice, room, mx_file(path)))
  expect_length(run$value, 1)
  expect_gt(run$ticks, many_ticks)
  event <- messages(mx_sync(alice))
  saved <- mx_media_download(alice, event, path = withr::local_tempdir())
  expect_identical(
    unname(tools::md5sum(saved$path)),
    unname(tools::md5sum(path))
  )
  expect_length(list.files(files_dir(alice)), 0)
})

test_that("a request under way does not keep R from ending, nor say a word", {
  skip_without_promises()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  fake$fault("GET", "/sync", delay = 30, times = 2)
  took <- elapsed({
    said <- in_other_r(
      function(path) {
        alice <- mxcrypt::mx_client_load(path = path)
        mxcrypt::mx_sync_async(alice, timeout = 30000)
        for (i in 1:10) {
          later::run_now(0.1)
        }
        length(the[["engines"]][[1]][["open"]])
      },
      list(alice$path)
    )
  })
  expect_equal(said, 1)
  expect_lt(took, 25)
})

test_that("an error that is dealt with is not reported as unhandled", {
  skip_without_promises()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  work <- function(path, room, dir) {
    options(mxcrypt.max_tries = 2, mxcrypt.pause = 0.01)
    alice <- mxcrypt::mx_client_load(path = path)
    n <- 0
    count <- function(condition) n <<- n + 1
    gone <- alice
    gone[["server"]] <- "http://127.0.0.1:1"
    promises::catch(mxcrypt::mx_sync_async(gone), count)
    promises::catch(mxcrypt::mx_send_text_async(gone, room, "x"), count)
    promises::catch(mxcrypt::mx_send_text_async(alice, "nowhere", "x"), count)
    end <- Sys.time() + 30
    while (n < 3 && Sys.time() < end) {
      later::run_now(0.1)
    }
    for (i in 1:10) {
      later::run_now(0.02)
    }
    n
  }
  environment(work) <- globalenv()
  stderr <- withr::local_tempfile()
  n <- callr::r(work, list(alice$path, room), stderr = stderr, timeout = 60)
  expect_equal(n, 3)
  said <- readLines(stderr)
  expect_equal(grep("Unhandled", said, value = TRUE), character())
})

test_that("an interrupt of a step ends the call, which cleans up", {
  skip_without_promises()
  cleaned <- FALSE
  driver <- async_driver()
  pair <- demo_pair()
  promise <- run_async(
    pair$alice,
    function(client) {
      with_cleanup(
        and_then(pause_for(client, 0.01), function(x) rlang::interrupt()),
        function() cleaned <<- TRUE
      )
    },
    driver
  )
  state <- watched(promise)
  interrupted <- 0
  wait_for(function() {
    tryCatch(later::run_now(0.05), interrupt = function(condition) {
      interrupted <<- interrupted + 1
    })
    state$done && interrupted > 0
  })
  expect_equal(interrupted, 1)
  expect_true(cleaned)
  expect_s3_class(state$value, "mx_error_cancelled")
})

test_that("a forked process goes on with none of its parent's calls", {
  skip_without_promises()
  skip_on_os("windows")
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  mx_sync(alice)
  fake$forget()
  fake$fault("PUT", "/send/", status = 502, delay = 1)
  sent <- mx_send_text_async(alice, room, "by the parent")
  wait_for(function() {
    later::run_now(0.05)
    length(fake$seen("PUT", "/send/")) == 1
  })
  # The child runs the jobs that it has inherited, and makes a call of its own.
  own <- forked(function(i) {
    for (i in 1:20) {
      later::run_now(0.1)
    }
    settled(mx_sync_async(alice, consumer = "child"))$type
  })
  expect_true(is.character(own[[1]]))
  expect_length(fake$seen("PUT", "/send/"), 1)
  expect_type(settled(sent), "character")
  expect_length(fake$seen("PUT", "/send/"), 2)
})

test_that("a call in a loop of its own runs there, and leaves nothing", {
  skip_without_promises()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  later::with_temp_loop({
    state <- watched(mx_sync_async(alice))
    wait_for(function() {
      later::run_now(0.05)
      state$done
    })
  })
  expect_s3_class(state$value, "mx_events")
  expect_s3_class(settled(mx_sync_async(alice)), "mx_events")
})

test_that("a job that an interrupt has taken out of the queue is made up for", {
  skip_without_promises()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  real <- tick
  lost <- 0
  local_replaced("tick", function(engine) {
    lost <<- lost + 1
    if (lost > 1) real(engine)
  })
  expect_s3_class(settled(mx_sync_async(alice)), "mx_events")
  expect_gt(lost, 1)

  # A call of which no job is left has an end, too.
  stuck <- run_async(
    alice,
    function(client) promises::promise(function(resolve, reject) NULL)
  )
  expect_s3_class(settled(stuck), "mx_error_cancelled")
  wait_for(function() {
    later::run_now()
    later::loop_empty()
  })
})

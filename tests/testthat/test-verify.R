# The console, with answers that stand for a person's.

# `ways` are the places of choices in the menu, `files` what is scanned.
at_console <- function(
  answers,
  ways = rep(1, 5),
  files = NULL,
  .local_envir = parent.frame()
) {
  asked <- character()
  local_replaced(
    "ask_yes",
    function(question) {
      asked <<- c(asked, question)
      answer <- answers[[1]]
      answers <<- answers[-1]
      if (is.function(answer)) answer() else answer
    },
    .local_envir
  )
  local_replaced(
    "ask_which",
    function(choices) {
      asked <<- c(asked, choices)
      way <- ways[[1]]
      ways <<- ways[-1]
      way
    },
    .local_envir
  )
  local_replaced(
    "ask_file",
    function(question) {
      file <- files[[1]]
      files <<- files[-1]
      if (is.function(file)) file() else file
    },
    .local_envir
  )
  local_replaced("check_can_ask", function(call) NULL, .local_envir)
  function() asked
}

# While one waits, the other side does what it does when it hears of something.
while_waiting <- function(other, .local_envir = parent.frame()) {
  real <- get("sync_once", asNamespace("mxcrypt"))
  busy <- FALSE
  local_replaced(
    "sync_once",
    function(...) {
      if (!busy) {
        busy <<- TRUE
        other()
        busy <<- FALSE
      }
      real(...)
    },
    .local_envir
  )
}

listening <- function(client) {
  function() {
    mx_listen(
      client,
      function(event, client) NULL,
      seconds = 0,
      on_verification = function(verification) TRUE
    )
  }
}

test_that("a person is led through, asking or asked", {
  pair <- demo_pair()
  while_waiting(listening(pair$bob))
  asked <- at_console(list(TRUE))
  withr::local_options(cli.default_handler = NULL)
  said <- capture_messages(
    done <- mx_verify(pair$alice, pair$bob$user_id, seconds = 5)
  )
  expect_equal(done$state, "done")
  expect_match(asked(), "same", all = FALSE)
  said <- paste(said, collapse = "")
  expect_match(said, "Does the other device show the same\\?\n  .+\n")
  # What is waited for, and what came of it.
  expect_match(said, "Asking @bob:demo in the room !")
  expect_match(
    said,
    "Waiting for @bob:demo to accept the request, for at most 5"
  )
  expect_match(said, "Waiting for @bob:demo to show what is to be compared")
  expect_match(said, "Verified @bob:demo\\.\n$")
})

test_that("a signature that the server took and lost is told", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake, "bob")
  suppressMessages(mx_crypto_setup(alice))
  suppressMessages(mx_crypto_setup(bob))
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  while_waiting(listening(bob))
  at_console(list(TRUE, TRUE, TRUE))
  verify <- function() {
    suppressMessages(mx_verify(alice, bob$user_id, room = room, seconds = 5))
  }
  fake$fault(
    "POST",
    "/signatures/upload",
    body = '{"failures":{}}',
    times = 2
  )
  warned <- expect_warning(done <- verify(), class = "mx_warning_not_signed")
  expect_equal(done$state, "done")
  expect_equal(warned[["user_id"]], bob$user_id)
  expect_false(mx_user_trust(alice, bob$user_id)$verified)
  # What it advises helps.
  expect_no_warning(verify())
  expect_true(mx_user_trust(alice, bob$user_id)$verified)
})

# What is said while `code` runs.
said_while <- function(code) {
  withr::local_options(cli.default_handler = NULL)
  paste(capture_messages(code), collapse = "")
}

test_that("a person's own device is named when it was verified", {
  pair <- own_devices()
  while_waiting(listening(pair$phone))
  at_console(list(TRUE))
  said <- said_while(
    mx_verify(pair$laptop, pair$laptop$user_id, seconds = 5)
  )
  expect_match(said, "Waiting for your other device to accept the request")
  end <- paste0("Verified your device ", pair$phone$device_id, ".\n")
  expect_true(endsWith(said, end))
})

test_that("a direct room is chosen before others, and created where there is none", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  bob <- mx_demo_client(homeserver, "bob")
  asked <- at_console(list(FALSE, TRUE))
  verify <- function() {
    said_while(try(mx_verify(alice, bob$user_id, seconds = 0), silent = TRUE))
  }
  said <- said_while(expect_error(
    mx_verify(alice, bob$user_id, seconds = 0),
    class = "mx_error_room"
  ))
  expect_equal(said, "")
  expect_equal(nrow(mx_rooms(alice)), 0)
  # Yes, and bob, who is only invited, is asked there.
  said <- verify()
  expect_match(
    asked(),
    "Create a direct room and invite @bob:demo\\?",
    all = FALSE
  )
  room <- mx_rooms(alice)
  expect_true(room$direct)
  expect_match(
    said,
    paste("Asking @bob:demo in the room", room$room_id),
    fixed = TRUE
  )
  for (i in 1:3) {
    other <- mx_room_create(alice, "Other", invite = bob$user_id)
    mx_room_join(bob, other)
  }
  said <- verify()
  expect_match(said, paste("in the room", room$room_id), fixed = TRUE)
  mx_set_state(alice, room$room_id, "m.room.name", list(name = "A\u001b[31m"))
  mx_sync(alice)
  said <- verify()
  expect_match(said, "in the room \"A [31m\" (!", fixed = TRUE)
  said <- said_while(try(
    mx_verify(alice, bob$user_id, room = other, seconds = 0),
    silent = TRUE
  ))
  expect_match(said, paste0("\"Other\" (", other, ")"), fixed = TRUE)
  expect_equal(nrow(mx_rooms(alice)), 4)
})

test_that("no room is created for a verification that is not possible", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  at_console(list(TRUE))
  expect_error(mx_verify(alice, "@bob:demo"), class = "mx_error_identity")
  expect_equal(nrow(mx_rooms(alice)), 0)
})

test_that("timed out, cancelled here and cancelled there are told apart", {
  pair <- demo_pair()
  verify <- function() {
    suppressMessages(expect_error(
      mx_verify(pair$alice, pair$bob$user_id, seconds = 0.2),
      class = "mx_error_verification"
    ))
  }
  at_console(list())
  late <- verify()
  expect_equal(late$code, "m.timeout")
  expect_match(
    conditionMessage(late),
    "^The verification with @bob:demo timed out\\.\n"
  )
  # The other side is told the same.
  expect_equal(newest(pair$bob)$code, "m.timeout")
  while_waiting(function() {
    mx_sync(pair$bob)
    for (one in mx_verifications(pair$bob)) {
      asked <- one$state == "requested" && !one$requested_here
      if (asked) mx_verification_cancel(one)
    }
  })
  cancelled <- verify()
  expect_equal(cancelled$code, "m.user")
  expect_identical(
    conditionMessage(cancelled),
    "The verification was cancelled by @bob:demo."
  )
  request_of(pair$bob, pair$alice)
  at_console(list(FALSE))
  expect_identical(
    conditionMessage(verify()),
    "You cancelled the verification with @bob:demo."
  )
})

# Alice and bob over HTTP, both with an identity, in a direct room.
fake_pair <- function(fake, .local_envir = parent.frame()) {
  people <- lapply(c("alice", "bob"), function(name) {
    client <- fake_client(fake, name, .local_envir = .local_envir)
    suppressMessages(mx_crypto_setup(client, password = "secret word"))
    client
  })
  room <- mx_room_create(
    people[[1]],
    invite = people[[2]]$user_id,
    direct = TRUE
  )
  mx_room_join(people[[2]], room)
  list(alice = people[[1]], bob = people[[2]], room = room)
}

test_that("a server that fails in passing is shown, and waiting goes on", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  pair <- fake_pair(fake)
  agree <- listening(pair$bob)
  broken <- FALSE
  while_waiting(function() {
    agree()
    if (!broken && length(mx_verifications(pair$alice)) > 0) {
      broken <<- TRUE
      gone <- '{"errcode":"M_UNKNOWN","error":"the database is away"}'
      fake$fault("GET", "/sync", status = 502, body = gone)
    }
  })
  at_console(list(TRUE))
  said <- said_while(
    done <- mx_verify(pair$alice, pair$bob$user_id, seconds = 5)
  )
  expect_equal(done$state, "done")
  expect_match(said, "the database is away\nThe verification goes on")
})

test_that("what the server refuses ends it, with the server's words", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  pair <- fake_pair(fake)
  no <- '{"errcode":"M_FORBIDDEN","error":"You may not speak here."}'
  at_console(list())
  fake$fault("PUT", "/send/", status = 403, body = no)
  condition <- suppressMessages(expect_error(
    mx_verify(pair$alice, pair$bob$user_id, seconds = 5),
    class = "mx_error_verification"
  ))
  expect_equal(condition$code, "M_FORBIDDEN")
  expect_match(
    conditionMessage(condition),
    "M_FORBIDDEN: You may not speak here."
  )
})

test_that("whoever sees something else says so, and whoever leaves ends it", {
  pair <- demo_pair()
  while_waiting(listening(pair$bob))
  at_console(list(FALSE))
  condition <- suppressMessages(expect_error(
    mx_verify(pair$alice, pair$bob$user_id, seconds = 5),
    class = "mx_error_verification"
  ))
  expect_equal(condition$code, "m.mismatched_sas")
  at_console(list(function() rlang::abort("gone", class = "gone")))
  suppressMessages(expect_error(
    mx_verify(pair$alice, pair$bob$user_id, seconds = 5),
    class = "gone"
  ))
  expect_equal(newest(pair$alice)$code, "m.user")
})

test_that("what was asked for elsewhere is agreed to, or refused", {
  pair <- demo_pair()
  request_of(pair$bob, pair$alice)
  asked <- at_console(list(FALSE))
  condition <- suppressMessages(expect_error(
    mx_verify(pair$alice, pair$bob$user_id, seconds = 1),
    class = "mx_error_verification"
  ))
  expect_equal(condition$code, "m.user")
  expect_match(asked(), "@bob:demo, device")
  request_of(pair$bob, pair$alice)
  while_waiting(listening(pair$bob))
  at_console(list(TRUE, TRUE))
  done <- suppressMessages(
    mx_verify(pair$alice, pair$bob$user_id, seconds = 5)
  )
  expect_equal(done$state, "done")
})

# The other side agrees, and then does what `act` does with a verification that is ready.
agreeing <- function(client, act) {
  agree <- listening(client)
  function() {
    agree()
    known <- mx_verifications(client)
    for (one in Filter(function(x) x$state == "ready", known)) {
      act(one)
    }
  }
}

test_that("a code is shown at the console, and scanned there", {
  skip_if_not_installed("png")
  pair <- demo_pair()
  file <- withr::local_tempfile(fileext = ".png")
  shown <- NULL
  real <- get("mx_verification_qr", asNamespace("mxcrypt"))
  local_replaced("mx_verification_qr", function(verification) {
    shown <<- real(verification)
  })
  while_waiting(agreeing(pair$bob, function(ready) {
    # What is shown is what bob's camera sees.
    if (!is.null(shown)) mx_verification_scan(ready, mxc_qr_png(shown, file))
  }))
  asked <- at_console(list(TRUE), ways = 2)
  printed <- capture.output(suppressMessages(
    done <- mx_verify(pair$alice, pair$bob$user_id, seconds = 5)
  ))
  expect_equal(done$state, "done")
  expect_true(all(format(shown) %in% printed))
  expect_match(asked(), "scanned your code", all = FALSE)
  expect_true(mx_user_trust(pair$alice, pair$bob$user_id)$verified)
})

test_that("a code is scanned at the console, when the file is the right one", {
  skip_if_not_installed("png")
  pair <- demo_pair()
  file <- withr::local_tempfile(fileext = ".png")
  other <- withr::local_tempfile(fileext = ".png")
  mxc_qr_png(mxc_qr_symbol(charToRaw("hello")), other)
  while_waiting(agreeing(pair$bob, function(ready) {
    mxc_qr_png(mx_verification_qr(ready), file)
  }))
  # No file, none that is there, none of a verification, and that of the other device.
  files <- list("", tempfile(), other, file)
  at_console(list(), ways = rep(3, 4), files = files)
  withr::local_options(cli.default_handler = NULL)
  said <- capture_messages(
    done <- mx_verify(pair$alice, pair$bob$user_id, seconds = 5)
  )
  expect_equal(done$state, "done")
  expect_match(said, "`image`", all = FALSE)
  expect_match(said, "no QR code of a verification", all = FALSE)
  expect_true(mx_user_trust(pair$bob, pair$alice$user_id)$verified)
})

test_that("who begins while another chooses is not disturbed", {
  pair <- demo_pair()
  while_waiting(agreeing(pair$bob, mx_verification_start))
  at_console(list(TRUE), ways = 3)
  done <- suppressMessages(
    mx_verify(pair$alice, pair$bob$user_id, seconds = 5)
  )
  expect_equal(done$state, "done")
})

test_that("who chooses no way to verify ends it", {
  pair <- demo_pair()
  while_waiting(listening(pair$bob))
  at_console(list(), ways = 0)
  condition <- suppressMessages(expect_error(
    mx_verify(pair$alice, pair$bob$user_id, seconds = 5),
    class = "mx_error_verification"
  ))
  expect_equal(condition$code, "m.user")
})

test_that("without a person at the console there is no verification", {
  pair <- demo_pair()
  rlang::local_interactive(FALSE)
  expect_error(
    mx_verify(pair$alice, pair$bob$user_id),
    class = "mx_error_verification"
  )
  expect_length(mx_verifications(pair$alice), 0)
})

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
  expect_match(said, "identity is verified")
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
    known <- mx_verification_list(client)
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
  expect_length(mx_verification_list(pair$alice), 0)
})

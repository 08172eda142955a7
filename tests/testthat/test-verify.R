# The console, with answers that stand for a person's.

at_console <- function(answers, .local_envir = parent.frame()) {
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
  expect_match(asked(), "same")
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

test_that("without a person at the console there is no verification", {
  pair <- demo_pair()
  rlang::local_interactive(FALSE)
  expect_error(
    mx_verify(pair$alice, pair$bob$user_id),
    class = "mx_error_verification"
  )
  expect_length(mx_verification_list(pair$alice), 0)
})

# One shows a code, the other scans its picture.

# What a code holds that is shown.
code_of <- function(verification) {
  code <- picture(mx_verification_qr(verification))
  mxc_qr_decode(mxc_qr_scan(code)[[1]])
}

scan <- function(both, shows) {
  code <- picture(mx_verification_qr(both[[shows]]))
  scanned <- mx_verification_scan(both[[3 - shows]], code)
  expect_equal(scanned$state, "confirmed")
  exchange(both)
}

test_that("two users verify each other by a code", {
  for (shows in 1:2) {
    pair <- demo_pair()
    both <- agreed(pair$alice, pair$bob)
    all <- c("m.qr_code.show.v1", "m.qr_code.scan.v1")
    expect_true(all(all %in% both[[1]]$methods & all %in% both[[2]]$methods))
    both <- scan(both, shows)
    expect_equal(both[[shows]]$state, "scanned")
    expect_false(mx_user_trust(pair$alice, pair$bob$user_id)$verified)
    expect_false(mx_user_trust(pair$bob, pair$alice$user_id)$verified)
    mx_verification_confirm(both[[shows]], same = TRUE)
    both <- exchange(both)
    expect_equal(states(both), c("done", "done"))
    expect_true(both[[1]]$identity_proven && both[[2]]$identity_proven)
    expect_true(mx_user_trust(pair$alice, pair$bob$user_id)$verified)
    expect_true(mx_user_trust(pair$bob, pair$alice$user_id)$verified)
  }
})

test_that("a new device is verified by a code and given its identity", {
  for (shows in 1:2) {
    pair <- own_devices()
    both <- scan(agreed(pair$laptop, pair$phone), shows)
    mx_verification_confirm(both[[shows]], same = TRUE)
    both <- exchange(both)
    expect_equal(states(both), c("done", "done"))
    expect_true(both[[1]]$identity_proven && both[[2]]$device_proven)
    for (turn in 1:2) {
      mx_sync(pair$phone)
      mx_sync(pair$laptop)
    }
    expect_true(mx_cross_signing_ready(pair$laptop))
    trust <- mx_devices(pair$phone, pair$phone$user_id)$trust
    expect_true(all(trust == "verified"))
  }
})

test_that("a code of other keys ends it, and says what may be", {
  pair <- demo_pair()
  both <- agreed(pair$alice, pair$bob)
  key <- mxc_account_identity_keys(mxc_account_new())[["ed25519"]]
  code <- mxc_qr_encode("user", "$another", key, key)
  condition <- expect_error(
    mx_verification_scan(both[[1]], code),
    class = "mx_error_verification"
  )
  expect_equal(condition$code, "m.unknown_transaction")
  both <- agreed(pair$alice, pair$bob)
  flow_id <- code_of(both[[2]])[["flow_id"]]
  code <- mxc_qr_encode("user", flow_id, key, key)
  condition <- expect_error(
    mx_verification_scan(both[[1]], code),
    class = "mx_error_verification"
  )
  expect_equal(condition$code, "m.key_mismatch")
  expect_match(conditionMessage(condition), "stand between you")
  expect_error(
    mx_verification_wait(both[[2]], seconds = 0),
    class = "mx_error_verification"
  )
})

test_that("what is no code may be scanned again, and steps out of turn are errors", {
  pair <- demo_pair()
  both <- request_of(pair$alice, pair$bob)
  refused <- "mx_error_verification"
  expect_error(mx_verification_qr(both[[2]]), class = refused)
  expect_error(mx_verification_scan(both[[2]], raw(9)), class = refused)
  both[[2]] <- mx_verification_accept(both[[2]])
  both <- exchange(both)
  expect_error(
    mx_verification_scan(both[[1]], charToRaw("hello")),
    class = "mx_error_qr_code"
  )
  expect_error(
    mx_verification_scan(both[[1]], matrix(1, 50, 50)),
    class = "mxc_error_qr_code"
  )
  expect_error(mx_verification_confirm(both[[1]], TRUE), class = refused)
  expect_equal(states(exchange(both)), c("ready", "ready"))
})

test_that("who shows a code waits for it to be scanned, and may compare all the same", {
  pair <- demo_pair()
  both <- agreed(pair$alice, pair$bob)
  expect_match(format(both[[1]]), "mx_verification_scan", all = FALSE)
  first <- mx_verification_qr(both[[1]])
  expect_identical(mx_verification_qr(both[[1]]), first)
  expect_match(format(both[[1]]), "may scan your code", all = FALSE)
  # A listener does not begin anything else meanwhile.
  nothing <- function(event, client) NULL
  yes <- function(verification) TRUE
  mx_listen(pair$alice, nothing, seconds = 0, on_verification = yes)
  expect_equal(states(exchange(both)), c("ready", "ready"))
  mx_verification_start(both[[2]])
  both <- exchange(both)
  expect_equal(states(both), c("compare", "compare"))
  expect_false(any(grepl("scan", format(both[[1]]))))
})

test_that("a listener asks its callback whether it was the other who scanned", {
  nothing <- function(event, client) NULL
  for (answer in c(TRUE, FALSE)) {
    pair <- demo_pair()
    scan(agreed(pair$alice, pair$bob), shows = 2)
    seen <- NULL
    decide <- function(verification) {
      seen <<- c(seen, verification$state)
      answer
    }
    mx_listen(pair$bob, nothing, seconds = 0, on_verification = decide)
    expect_equal(seen, "scanned")
    ended <- newest(pair$alice)
    expect_equal(ended$state, if (answer) "done" else "cancelled")
    expect_identical(ended$code, if (!answer) "m.key_mismatch")
  }
})

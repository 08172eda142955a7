# Verification, with matrix-js-sdk as the other device or the other person.

# Both ways to ask, both ways to start.
each_order <- function(code) {
  for (ask in list(ours_asks, theirs_asks)) {
    for (ours_starts in c(TRUE, FALSE)) {
      code(ask, ours_starts)
    }
  }
}

test_that("a new device of ours and a foreign one verify each other", {
  each_order(function(ask, ours_starts) {
    pair <- devices()
    verification <- come_to_compare(pair, ask(pair), ours_starts)
    verification <- mx_verification_confirm(verification, same = TRUE)
    expect_equal(verification$state, "confirmed")
    pair$theirs$call("confirmSas")
    verification <- mx_verification_wait(verification)
    expect_equal(verification$state, "done")
    pair$theirs$call("waitForPhase", phase = "Done")
    trust <- mx_devices(pair$ours, pair$ours$user_id)
    trust <- trust$trust[trust$device_id == pair$theirs$device_id]
    expect_equal(as.character(trust), "verified")
    pair$theirs$call(
      "waitForVerified",
      userId = pair$ours$user_id,
      deviceId = pair$ours$device_id
    )
    expect_true(mx_user_trust(pair$ours, pair$ours$user_id)$verified)
  })
})

test_that("we and another user verify each other in a room", {
  each_order(function(ask, ours_starts) {
    pair <- users()
    verification <- come_to_compare(pair, ask(pair), ours_starts)
    pair$theirs$call("confirmSas")
    verification <- mx_verification_confirm(verification, same = TRUE)
    verification <- mx_verification_wait(verification)
    expect_equal(verification$state, "done")
    expect_true(verification$identity_proven)
    pair$theirs$call("waitForPhase", phase = "Done")
    expect_true(mx_user_trust(pair$ours, pair$theirs$user_id)$verified)
    pair$theirs$call("waitForVerifiedUser", userId = pair$ours$user_id)
  })
})

test_that("whoever sees something else ends it, and nobody is verified", {
  for (who in c("ours", "theirs")) {
    pair <- users()
    verification <- come_to_compare(pair, ours_asks(pair), TRUE)
    if (who == "ours") {
      mx_verification_confirm(verification, same = FALSE)
      status <- pair$theirs$call("waitForEnd")
      expect_equal(status[["code"]], "m.mismatched_sas")
    } else {
      pair$theirs$call("mismatchSas")
      expect_equal(code_of(verification), "m.mismatched_sas")
    }
    expect_false(mx_user_trust(pair$ours, pair$theirs$user_id)$verified)
    status <- pair$theirs$call("userStatus", userId = pair$ours$user_id)
    expect_false(status[["verified"]])
  }
})

test_that("either side can end it at each step, and the other hears of it", {
  come_to <- list(
    requested = function(pair) {
      mx_verification_request(pair$ours, pair$theirs$user_id)
    },
    asked = function(pair) {
      pair$theirs$call("requestVerification", userId = pair$ours$user_id)
      asked_of(pair$ours)
    },
    ready = ours_asks,
    started = function(pair) mx_verification_start(ours_asks(pair)),
    compare = function(pair) come_to_compare(pair, theirs_asks(pair), FALSE),
    confirmed = function(pair) {
      verification <- come_to_compare(pair, ours_asks(pair), FALSE)
      mx_verification_confirm(verification, same = TRUE)
    }
  )
  pair <- devices()
  for (step in names(come_to)) {
    for (who in c("ours", "theirs")) {
      verification <- come_to[[step]](pair)
      if (step == "requested") {
        pair$theirs$call("waitForVerification", userId = pair$ours$user_id)
      }
      if (who == "ours") {
        ended <- mx_verification_cancel(verification)
        expect_equal(ended$code, "m.user")
        status <- pair$theirs$call("waitForEnd")
        expect_equal(status[["code"]], "m.user", info = step)
      } else {
        pair$theirs$call("cancelVerification")
        expect_equal(code_of(verification), "m.user", info = step)
      }
    }
  }
  trust <- mx_devices(pair$ours, pair$ours$user_id)$trust
  expect_false(any(trust == "verified"))
})

test_that("each step may be taken by another process", {
  each_order(function(ask, ours_starts) {
    pair <- users()
    # A client is its configuration and its store: nothing else is carried on.
    again <- function(verification) {
      force(verification)
      forget_open_stores()
      known <- mx_verifications(mx_client_load(path = pair$ours$path))
      known[[length(known)]]
    }
    verification <- again(ask(pair))
    if (ours_starts) {
      mx_verification_start(verification)
    } else {
      pair$theirs$call("startSas")
    }
    pair$theirs$call("takePart")
    repeat {
      # One sync a process, as a bot has that is run every minute.
      verification <- again(mx_verification_wait(verification, seconds = 0))
      if (verification$state == "compare") {
        break
      }
    }
    seen <- pair$theirs$call("waitForSas")
    expect_equal(as.integer(unlist(seen[["decimal"]])), verification$decimals)
    mx_verification_confirm(verification, same = TRUE)
    pair$theirs$call("confirmSas")
    verification <- mx_verification_wait(again(verification))
    expect_equal(verification$state, "done")
    pair$theirs$call("waitForPhase", phase = "Done")
    expect_true(mx_user_trust(pair$ours, pair$theirs$user_id)$verified)
  })
})

test_that("what could not be sent before a process ended is sent by the next", {
  proxy <- live_proxy()
  pair <- devices(url = proxy$url)
  verification <- ours_asks(pair)
  interrupted <- function(step) {
    proxy$block("sendToDevice")
    expect_error(step(verification), class = "mx_error_http")
    proxy$clear()
    forget_open_stores()
    mx_sync(pair$ours)
  }
  interrupted(mx_verification_start)
  pair$theirs$call("takePart")
  verification <- mx_verification_wait(verification)
  pair$theirs$call("waitForSas")
  interrupted(function(x) mx_verification_confirm(x, same = TRUE))
  pair$theirs$call("confirmSas")
  expect_equal(mx_verification_wait(verification)$state, "done")
  pair$theirs$call("waitForPhase", phase = "Done")
})

test_that("a process that is killed at a step is followed by the next", {
  proxy <- live_proxy()
  for (before in c(TRUE, FALSE)) {
    pair <- devices(url = proxy$url)
    verification <- ours_asks(pair)
    step <- "mxcrypt::mx_verification_start(v)"
    killed_at(pair, proxy, step, "start", before)
    pair$theirs$call("takePart")
    verification <- mx_verification_wait(verification)
    pair$theirs$call("waitForSas")
    step <- "mxcrypt::mx_verification_confirm(v, same = TRUE)"
    killed_at(pair, proxy, step, "mac", before)
    pair$theirs$call("confirmSas")
    expect_equal(mx_verification_wait(verification)$state, "done")
    pair$theirs$call("waitForPhase", phase = "Done")
  }
})

test_that("a bot answers through its callback", {
  pair <- users()
  code <- "mxcrypt::mx_listen(client, function(event, client) NULL, seconds = 25,
    on_verification = function(verification) TRUE)"
  bot <- start_process(pair$ours$path, code)
  pair$theirs$call(
    "requestVerification",
    userId = pair$ours$user_id,
    roomId = pair$room
  )
  pair$theirs$call("waitForPhase", phase = "Ready")
  pair$theirs$call("startSas")
  pair$theirs$call("takePart")
  pair$theirs$call("waitForSas")
  pair$theirs$call("confirmSas")
  pair$theirs$call("waitForPhase", phase = "Done")
  pair$theirs$call("waitForVerifiedUser", userId = pair$ours$user_id)
  expect_ends_well(bot)
  expect_true(mx_user_trust(pair$ours, pair$theirs$user_id)$verified)
})

test_that("a server that replaces a key is found out", {
  # A key that nobody knows: what differs would differ for any other too.
  other <- paste0(strrep("A", 42), "E")
  for (ours_starts in c(TRUE, FALSE)) {
    proxy <- live_proxy()
    pair <- devices(url = proxy$url)
    verification <- ours_asks(pair)
    proxy$rewrite(
      "/sync",
      "(\"key\": )\"[A-Za-z0-9+/]{43}\"",
      paste0("\\1\"", other, "\"")
    )
    if (ours_starts) {
      # They had committed to another key.
      mx_verification_start(verification)
      pair$theirs$call("takePart")
      expect_equal(code_of(verification), "m.mismatched_commitment")
      expect_match(pair$theirs$call("waitForEnd")[["phase"]], "Cancelled")
    } else {
      # People see that it differs.
      pair$theirs$call("startSas")
      pair$theirs$call("takePart")
      verification <- mx_verification_wait(verification)
      seen <- pair$theirs$call("waitForSas")
      seen <- as.integer(unlist(seen[["decimal"]]))
      expect_false(identical(seen, verification$decimals))
      # Should they not look, their devices do.
      pair$theirs$call("confirmSas")
      tryCatch(
        mx_verification_confirm(verification, same = TRUE),
        mx_error_verification = function(condition) NULL
      )
      expect_equal(code_of(verification), "m.key_mismatch")
    }
    trust <- mx_devices(pair$ours, user_id = pair$ours$user_id)
    expect_false(any(trust$trust == "verified"))
  }
})

# Their device asks, and says that it did so some minutes from now.
ask_at <- function(pair, id, minutes) {
  content <- list(
    from_device = pair$theirs$device_id,
    methods = list("m.sas.v1"),
    transaction_id = id,
    timestamp = round(as.numeric(Sys.time()) * 1000) + round(minutes * 60000)
  )
  to <- list(content)
  names(to) <- pair$ours$device_id
  messages <- list(to)
  names(messages) <- pair$ours$user_id
  pair$theirs$call(
    "raw",
    method = "PUT",
    path = paste0(
      "/_matrix/client/v3/sendToDevice/m.key.verification.request/",
      id
    ),
    body = list(messages = messages)
  )
}

test_that("requests of long ago, or of the future, are not shown", {
  pair <- devices()
  ask_at(pair, "past", -11)
  ask_at(pair, "future", 6)
  mx_sync(pair$ours)
  expect_length(mx_verifications(pair$ours), 0)
  ask_at(pair, "now", 0)
  expect_equal(asked_of(pair$ours)$device_id, pair$theirs$device_id)
})

test_that("a request that nobody answers runs out", {
  pair <- devices()
  ask_at(pair, "late", -10 + 5 / 60)
  verification <- asked_of(pair$ours)
  expect_equal(code_of(verification), "m.timeout")
  expect_error(
    mx_verification_accept(verification),
    class = "mx_error_verification"
  )
})

test_that("what takes the other side too long ends here, too", {
  pair <- users()
  verification <- ours_asks(pair)
  pair$theirs$call("passTime", minutes = 11)
  # Their device looks at its clock when it hears of something.
  mx_send_text(pair$ours, pair$room, "are you there?")
  expect_equal(code_of(verification), "m.timeout")
  expect_equal(pair$theirs$call("waitForEnd")[["code"]], "m.timeout")
})

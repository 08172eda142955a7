# Verification by QR codes, with matrix-js-sdk as the other device or the other person.

each_order <- function(code) {
  for (ask in list(ours_asks, theirs_asks)) {
    for (ours_shows in c(TRUE, FALSE)) {
      code(ask, ours_shows)
    }
  }
}

# What a camera sees of our code: a picture in which another program finds the bytes.
photograph <- function(verification) {
  file <- tempfile(fileext = ".png")
  on.exit(unlink(file))
  mxc_qr_png(mx_verification_qr(verification), file)
  mxc_qr_scan(file)[[1]]
}

# A picture of theirs.
their_picture <- function(pair, .local_envir = parent.frame()) {
  bytes <- jsonlite::base64_dec(pair$theirs$call("showQrCode"))
  file <- withr::local_tempfile(fileext = ".png", .local_envir = .local_envir)
  mxc_qr_png(mxc_qr_symbol(bytes), file)
}

they_scan <- function(pair, bytes) {
  bytes <- gsub("\n", "", jsonlite::base64_enc(bytes))
  pair$theirs$call("scanQrCode", bytes = bytes)
}

# Until one has scanned and the other has heard of it. `again` stands between all steps.
come_to_scanned <- function(pair, verification, ours_shows, again = identity) {
  force(verification)
  if (ours_shows) {
    they_scan(pair, photograph(verification))
    verification <- mx_verification_wait(again(verification))
    expect_equal(verification$state, "scanned")
  } else {
    verification <- mx_verification_scan(verification, their_picture(pair))
    expect_equal(verification$state, "confirmed")
    pair$theirs$call("waitForScan")
  }
  again(verification)
}

come_to_done <- function(pair, verification, ours_shows, again = identity) {
  verification <- come_to_scanned(pair, verification, ours_shows, again)
  if (ours_shows) {
    mx_verification_confirm(verification, same = TRUE)
  } else {
    pair$theirs$call("confirmScan")
    verification <- mx_verification_wait(verification)
    expect_equal(verification$state, "done")
  }
  pair$theirs$call("waitForPhase", phase = "Done")
  verification <- mx_verification_wait(again(verification))
  expect_equal(verification$state, "done")
  verification
}

mode_of <- function(bytes) mxc_qr_decode(bytes)[["mode"]]

test_that("we and another user verify each other by a code", {
  each_order(function(ask, ours_shows) {
    pair <- users()
    verification <- ask(pair)
    if (ours_shows) {
      expect_equal(mode_of(photograph(verification)), "user")
    }
    verification <- come_to_done(pair, verification, ours_shows)
    expect_true(verification$identity_proven)
    expect_true(mx_user_trust(pair$ours, pair$theirs$user_id)$verified)
    pair$theirs$call("waitForVerifiedUser", userId = pair$ours$user_id)
  })
})

# Both devices are verified, and both rely on the identity.
expect_both_verified <- function(pair) {
  user_id <- pair$ours$user_id
  for (device in c(pair$ours$device_id, pair$theirs$device_id)) {
    pair$theirs$call("waitForVerified", userId = user_id, deviceId = device)
  }
  # Their signature of our device may still be under way.
  end <- Sys.time() + 20
  trust <- function() as.character(mx_devices(pair$ours, user_id)$trust)
  while (any(trust() != "verified") && Sys.time() < end) {
    mx_sync(pair$ours, timeout = 500)
  }
  expect_equal(trust(), c("verified", "verified"))
  expect_true(mx_user_trust(pair$ours, user_id)$verified)
}

test_that("a new device of ours and a foreign one verify each other by a code", {
  each_order(function(ask, ours_shows) {
    pair <- devices()
    verification <- ask(pair)
    if (ours_shows) {
      expect_equal(mode_of(photograph(verification)), "untrusted_device")
    }
    verification <- come_to_done(pair, verification, ours_shows)
    expect_true(verification$identity_proven)
    expect_both_verified(pair)
  })
})

test_that("our device and a new foreign one verify each other by a code", {
  each_order(function(ask, ours_shows) {
    pair <- devices_with_new_foreign()
    verification <- ask(pair)
    if (ours_shows) {
      expect_equal(mode_of(photograph(verification)), "trusted_device")
    }
    verification <- come_to_done(pair, verification, ours_shows)
    expect_true(verification$device_proven)
    expect_both_verified(pair)
  })
})

test_that("either side can end it while a code is shown or scanned", {
  pair <- devices()
  steps <- c("shown", "scanned")
  for (ours_shows in c(TRUE, FALSE)) {
    for (step in steps) {
      for (who in c("ours", "theirs")) {
        verification <- ours_asks(pair)
        if (step == "scanned") {
          verification <- come_to_scanned(pair, verification, ours_shows)
        } else if (ours_shows) {
          mx_verification_qr(verification)
        } else {
          pair$theirs$call("showQrCode")
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
  }
  trust <- mx_devices(pair$ours, pair$ours$user_id)$trust
  expect_false(any(trust == "verified"))
})

test_that("who did not see the other scan says so, and nobody is verified", {
  pair <- users()
  verification <- come_to_scanned(pair, ours_asks(pair), ours_shows = TRUE)
  mx_verification_confirm(verification, same = FALSE)
  status <- pair$theirs$call("waitForEnd")
  expect_equal(status[["code"]], "m.key_mismatch")
  expect_false(mx_user_trust(pair$ours, pair$theirs$user_id)$verified)
  status <- pair$theirs$call("userStatus", userId = pair$ours$user_id)
  expect_false(status[["verified"]])
})

# The bytes of a code with something else in it.
altered <- function(bytes, ...) {
  code <- utils::modifyList(mxc_qr_decode(bytes), list(...))
  do.call(mxc_qr_encode, code)
}

test_that("a code with another key is refused by whoever scans it", {
  other <- mxc_account_identity_keys(mxc_account_new())[["ed25519"]]
  for (changes in list(list(first_key = other), list(second_key = other))) {
    pair <- users()
    verification <- ours_asks(pair)
    bytes <- jsonlite::base64_dec(pair$theirs$call("showQrCode"))
    code <- do.call(altered, c(list(bytes), changes))
    condition <- expect_error(
      mx_verification_scan(verification, code),
      class = "mx_error_verification"
    )
    expect_equal(condition$code, "m.key_mismatch")
    status <- pair$theirs$call("waitForEnd")
    expect_equal(status[["code"]], "m.key_mismatch")
    verification <- ours_asks(pair)
    code <- do.call(altered, c(list(photograph(verification)), changes))
    expect_error(they_scan(pair, code), "keys")
    expect_false(mx_user_trust(pair$ours, pair$theirs$user_id)$verified)
  }
})

test_that("a server that invents a scan is found out", {
  proxy <- live_proxy()
  pair <- devices(url = proxy$url)
  verification <- ours_asks(pair)
  code <- photograph(verification)
  proxy$rewrite(
    "/sync",
    "(\"secret\": )\"[A-Za-z0-9+/]{22}\"",
    paste0("\\1\"", strrep("A", 22), "\"")
  )
  they_scan(pair, code)
  expect_equal(code_of(verification), "m.key_mismatch")
  expect_equal(pair$theirs$call("waitForEnd")[["code"]], "m.key_mismatch")
  trust <- mx_devices(pair$ours, user_id = pair$ours$user_id)
  expect_false(any(trust$trust == "verified"))
})

test_that("each step with a code may be taken by another process", {
  each_order(function(ask, ours_shows) {
    pair <- devices()
    # A client is its configuration and its store: nothing else is carried on.
    again <- function(verification) {
      force(verification)
      forget_open_stores()
      known <- mx_verifications(mx_client_load(path = pair$ours$path))
      known[[length(known)]]
    }
    come_to_done(pair, again(ask(pair)), ours_shows, again)
    expect_both_verified(pair)
  })
})

test_that("what was scanned before a process ended is told by the next", {
  proxy <- live_proxy()
  pair <- devices(url = proxy$url)
  interrupted <- function(step) {
    proxy$block("sendToDevice")
    expect_error(step(), class = "mx_error_http")
    proxy$clear()
    forget_open_stores()
    mx_sync(pair$ours)
  }
  verification <- ours_asks(pair)
  picture <- their_picture(pair)
  interrupted(function() mx_verification_scan(verification, picture))
  pair$theirs$call("waitForScan")
  pair$theirs$call("confirmScan")
  expect_equal(mx_verification_wait(verification)$state, "done")
  pair$theirs$call("waitForPhase", phase = "Done")
  expect_both_verified(pair)
})

test_that("a process that is killed at a code is followed by the next", {
  proxy <- live_proxy()
  for (before in c(TRUE, FALSE)) {
    pair <- devices(url = proxy$url)
    verification <- ours_asks(pair)
    they_scan(pair, photograph(verification))
    verification <- mx_verification_wait(verification)
    step <- "mxcrypt::mx_verification_confirm(v, same = TRUE)"
    killed_at(pair, proxy, step, "done", before)
    pair$theirs$call("waitForPhase", phase = "Done")
    expect_equal(mx_verification_wait(verification)$state, "done")
    expect_both_verified(pair)
  }
})

test_that("emoji can be compared while codes are shown", {
  for (ours_starts in c(TRUE, FALSE)) {
    pair <- devices()
    verification <- ours_asks(pair)
    mx_verification_qr(verification)
    pair$theirs$call("showQrCode")
    if (ours_starts) {
      mx_verification_start(verification)
    } else {
      pair$theirs$call("startSas")
    }
    pair$theirs$call("takePart")
    verification <- mx_verification_wait(verification)
    expect_equal(verification$state, "compare")
    pair$theirs$call("waitForSas")
    pair$theirs$call("confirmSas")
    mx_verification_confirm(verification, same = TRUE)
    expect_equal(mx_verification_wait(verification)$state, "done")
    pair$theirs$call("waitForPhase", phase = "Done")
    expect_both_verified(pair)
  }
})

test_that("a bot is asked whether it was the other who scanned its code", {
  pair <- devices()
  verification <- ours_asks(pair)
  code <- photograph(verification)
  code_of_bot <- "mxcrypt::mx_listen(client, function(event, client) NULL,
    seconds = 20, on_verification = function(verification) {
      stopifnot(verification$state == 'scanned')
      TRUE
    })"
  bot <- start_process(pair$ours$path, code_of_bot)
  they_scan(pair, code)
  pair$theirs$call("waitForPhase", phase = "Done")
  expect_ends_well(bot)
  expect_both_verified(pair)
})

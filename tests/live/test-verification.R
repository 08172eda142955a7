# Verification, with matrix-js-sdk as the other device or the other person.

# Two devices of one user: the foreign one has the identity.
devices <- function(
  url = live_synapse()[["url"]],
  .local_envir = parent.frame()
) {
  user <- live_user("alice")
  phone <- live_foreign(.local_envir, user)
  phone$call("bootstrapCrossSigning", password = user[["password"]])
  ours <- live_client(user, url = url, .local_envir = .local_envir)
  list(ours = ours, theirs = phone)
}

# Two users in an encrypted room, each with an identity.
users <- function(.local_envir = parent.frame()) {
  bob <- live_foreign(.local_envir)
  bob$call("bootstrapCrossSigning", password = bob[["password"]])
  alice <- live_client(isolation = "signed", .local_envir = .local_envir)
  suppressMessages(mx_crypto_setup(alice))
  room <- mx_room_create(alice, invite = bob$user_id)
  bob$call("join", roomId = room)
  bob$call("waitForMember", roomId = room, userId = alice$user_id)
  mx_sync(alice)
  list(ours = alice, theirs = bob, room = room)
}

ours_asks <- function(pair) {
  verification <- mx_verification_request(pair$ours, pair$theirs$user_id)
  pair$theirs$call(
    "waitForVerification",
    userId = pair$ours$user_id,
    roomId = pair$room
  )
  pair$theirs$call("acceptVerification")
  verification <- mx_verification_wait(verification)
  expect_equal(verification$state, "ready")
  verification
}

theirs_asks <- function(pair) {
  pair$theirs$call(
    "requestVerification",
    userId = pair$ours$user_id,
    roomId = pair$room
  )
  verification <- mx_verification_accept(asked_of(pair$ours))
  pair$theirs$call("waitForPhase", phase = "Ready")
  verification
}

# The request that came.
asked_of <- function(client, seconds = 20) {
  end <- Sys.time() + seconds
  repeat {
    mx_sync(client, timeout = 1000)
    open <- Filter(
      function(x) x$state == "requested" && !x$requested_here,
      mx_verification_list(client)
    )
    if (length(open) > 0L) {
      return(open[[length(open)]])
    }
    stopifnot(Sys.time() < end)
  }
}

# Until both see something to compare, and it is the same.
come_to_compare <- function(pair, verification, ours_starts) {
  force(verification)
  if (ours_starts) {
    mx_verification_start(verification)
  } else {
    pair$theirs$call("startSas")
  }
  pair$theirs$call("takePart")
  verification <- mx_verification_wait(verification)
  seen <- pair$theirs$call("waitForSas")
  expect_equal(as.integer(unlist(seen[["decimal"]])), verification$decimals)
  emoji <- vapply(seen[["emoji"]], function(x) x[[1]], "")
  expect_equal(emoji, mx_verification_emojis(verification)$emoji)
  verification
}

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

# How it ended, which the other side may say also when it is our turn.
code_of <- function(verification) {
  end <- Sys.time() + 20
  while (Sys.time() < end) {
    ended <- tryCatch(
      {
        mx_verification_wait(verification, seconds = 1)
        NULL
      },
      mx_error_verification = identity
    )
    if (!is.null(ended)) {
      return(ended[["code"]])
    }
  }
  stop("It did not end.")
}

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
      known <- mx_verification_list(mx_client_load(path = pair$ours$path))
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

test_that("requests of long ago, or of the future, are not shown", {
  pair <- devices()
  ask_at <- function(id, minutes) {
    content <- list(
      from_device = pair$theirs$device_id,
      methods = list("m.sas.v1"),
      transaction_id = id,
      timestamp = round(as.numeric(Sys.time()) * 1000) + minutes * 60000
    )
    to <- list(content)
    names(to) <- pair$ours$device_id
    messages <- list(to)
    names(messages) <- pair$ours$user_id
    path <- paste0(
      "/_matrix/client/v3/sendToDevice/m.key.verification.request/",
      id
    )
    pair$theirs$call(
      "raw",
      method = "PUT",
      path = path,
      body = list(messages = messages)
    )
  }
  ask_at("past", -11)
  ask_at("future", 6)
  mx_sync(pair$ours)
  expect_length(mx_verification_list(pair$ours), 0)
  ask_at("now", 0)
  expect_equal(asked_of(pair$ours)$device_id, pair$theirs$device_id)
})

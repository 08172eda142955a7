# Verifications between our device, or our user, and a foreign one: a pair is a list of
# `ours`, `theirs` and, between users, `room`.

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

# The same, but ours has the identity.
devices_with_new_foreign <- function(
  url = live_synapse()[["url"]],
  .local_envir = parent.frame()
) {
  user <- live_user("alice")
  ours <- live_client(user, url = url, .local_envir = .local_envir)
  suppressMessages(mx_crypto_setup(ours))
  theirs <- live_foreign(.local_envir, user)
  # What unknown devices ask is left.
  sees_devices(theirs, ours$user_id, c(ours$device_id, theirs$device_id))
  list(ours = ours, theirs = theirs)
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
      mx_verifications(client)
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

# A process takes a step with the newest verification, `v`, and is killed while its message
# is under way. The next one sends that again, once nobody can be at it any more.
killed_at <- function(pair, proxy, step, message, before) {
  code <- paste(
    "v <- utils::tail(mxcrypt::mx_verifications(client), 1)[[1]];",
    step
  )
  start <- function() start_process(pair$ours$path, code)
  message <- paste0("verification.", message)
  kill_during(proxy, start, message, before)
  forget_open_stores()
  arrived <- function() sum(proxy$seen(message)$status %in% 200L)
  known <- arrived()
  end <- Sys.time() + 30
  while (arrived() == known) {
    stopifnot(Sys.time() < end)
    mx_sync(pair$ours, timeout = 1000)
  }
}

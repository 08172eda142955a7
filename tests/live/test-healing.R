# Sessions that break, keys that are refused, and keys that come by way of another
# device: with a foreign client on the other side.

# A room of one of ours and a foreign client, who have spoken.
conversation <- function(.local_envir = parent.frame()) {
  alice <- live_client(.local_envir = .local_envir)
  bob <- live_foreign(.local_envir = .local_envir)
  room <- mx_room_create(alice, invite = bob$user_id)
  bob$call("join", roomId = room)
  bob$call("waitForMember", roomId = room, userId = alice$user_id)
  mx_send_text(alice, room, "hello")
  bob$call("waitForMessage", roomId = room, body = "hello")
  bob$call("sendText", roomId = room, body = "hello yourself")
  expect_true("hello yourself" %in% wait_for_bodies(alice, "hello yourself"))
  list(alice = alice, bob = bob, room = room)
}

# Syncs until an event cannot be read for `reason`.
wait_for_reason <- function(client, reason, seconds = 20) {
  end <- Sys.time() + seconds
  repeat {
    mx_sync(client, timeout = 1000)
    waiting <- mx_undecrypted(client)
    if (reason %in% waiting$utd_reason || Sys.time() > end) {
      return(waiting)
    }
  }
}

# Until the caller is done, what comes to this process over Olm is damaged.
local_damage <- function(.local_envir = parent.frame()) {
  namespace <- asNamespace("mxcrypt")
  real <- get("http_once", namespace)
  damage <- function(session, method, path, ...) {
    answer <- real(session, method, path, ...)
    if (grepl("/sync", path, fixed = TRUE) && answer[["status"]] == 200L) {
      text <- rawToChar(answer[["body"]])
      # Olm bodies end with a MAC: other letters there make it another one.
      text <- gsub('("body":"[A-Za-z0-9+/]{60,})[^"]{4}"', '\\1AAAA"', text)
      answer[["body"]] <- charToRaw(text)
    }
    answer
  }
  put <- function(value) {
    unlockBinding("http_once", namespace)
    assign("http_once", value, namespace)
    lockBinding("http_once", namespace)
  }
  put(damage)
  withr::defer(put(real), envir = .local_envir)
}

test_that("a broken session is replaced, and the foreign client uses the new one", {
  here <- conversation()
  here$bob$call("forceDiscardSession", roomId = here$room)
  local({
    local_damage()
    here$bob$call("sendText", roomId = here$room, body = "lost")
    waiting <- wait_for_reason(here$alice, "unknown_session")
    expect_equal(waiting$utd_reason, "unknown_session")
    expect_match(waiting$utd_help, "syncing")
  })
  # Our m.dummy reaches them, and their next key reaches us.
  mx_sync(here$alice)
  here$bob$call("forceDiscardSession", roomId = here$room)
  here$bob$call("sendText", roomId = here$room, body = "found again")
  expect_true("found again" %in% wait_for_bodies(here$alice, "found again"))
})

test_that("a foreign client that refuses us its keys is understood", {
  here <- conversation()
  ids <- list(userId = here$alice$user_id, deviceId = here$alice$device_id)
  do.call(here$bob$call, c("blockDevice", ids))
  here$bob$call("sendText", roomId = here$room, body = "not for you")
  waiting <- wait_for_reason(here$alice, "withheld_blacklisted")
  expect_equal(waiting$utd_reason, "withheld_blacklisted")

  do.call(here$bob$call, c("verifyDevice", ids, verified = FALSE))
  here$bob$call("bootstrapCrossSigning", password = here$bob$password)
  here$bob$call("setIsolation", mode = "signed")
  here$bob$call("forceDiscardSession", roomId = here$room)
  here$bob$call("sendText", roomId = here$room, body = "nor now")
  waiting <- wait_for_reason(here$alice, "withheld_unverified")
  expect_true("withheld_unverified" %in% waiting$utd_reason)
  expect_match(waiting$utd_help, "mx_crypto_setup", all = FALSE)
})

test_that("a device of ours hands on the key of what it has read", {
  user <- live_user("alice")
  phone <- live_client(user)
  setup <- mx_crypto_setup(phone)
  key <- format(setup$recovery_key, reveal = TRUE)
  # The key would come from there sooner.
  mx_backup_delete(phone)
  bob <- live_foreign()
  room <- mx_room_create(phone, invite = bob$user_id)
  bob$call("join", roomId = room)
  bob$call("waitForMember", roomId = room, userId = phone$user_id)
  bob$call("sendText", roomId = room, body = "before the laptop")
  expect_true(
    "before the laptop" %in% wait_for_bodies(phone, "before the laptop")
  )

  laptop <- live_client(user)
  mx_crypto_setup(laptop, recovery_key = key)
  mx_sync(laptop)
  # Which it is depends on whose clock is ahead.
  reasons <- c("before_device", "unknown_session")
  expect_true(all(mx_undecrypted(laptop)$utd_reason %in% reasons))
  end <- Sys.time() + 40
  found <- NULL
  while (is.null(found) && Sys.time() < end) {
    mx_sync(phone)
    events <- mx_sync(laptop, timeout = 1000)
    if ("before the laptop" %in% events$body) {
      found <- events[events$body %in% "before the laptop", ]
    }
  }
  expect_equal(found$key_source, "forwarded")
  expect_equal(found$forwarder, phone$device_id)
  # Bob has no identity: his device vouches for itself, and the phone for the key.
  expect_equal(as.character(found$trust), "unsigned")
})

# A server that lies: about who said something, about one-time keys, and in what it
# passes on.

# A foreign client's message to ours, which comes through a proxy.
heard_by_proxy <- function(.local_envir = parent.frame()) {
  proxy <- live_proxy(.local_envir)
  alice <- live_client(url = proxy$url, .local_envir = .local_envir)
  them <- live_stranger()
  room <- new_room(them, invite = alice$user_id)
  enter(alice, room, witness = them)
  # All but what is said from now on.
  mx_sync(alice)
  list(proxy = proxy, alice = alice, them = them, room = room)
}

# Rewrites the sender of the next event of a room's timeline.
spoof_sender <- function(scene, sender) {
  # Members are sorted: that of an event stands behind its id, which to-device
  # events lack.
  before <- "(\"event_id\": \"[^\"]*\", \"origin_server_ts\": [0-9]+, \"sender\": )"
  to <- paste0("\\1\"", sender, "\"")
  scene$proxy$rewrite("/sync", paste0(before, "\"[^\"]*\""), to, times = 1)
}

# What comes until an answer was rewritten.
sync_rewritten <- function(scene) {
  come <- list()
  end <- Sys.time() + 20
  while (!any(scene$proxy$seen("/sync")$fault == "rewrite")) {
    stopifnot(Sys.time() < end)
    come <- c(come, list(mx_sync(scene$alice, timeout = 2000)))
  }
  do.call(rbind, come)
}

test_that("what one said is never shown as the words of another", {
  scene <- heard_by_proxy()
  other <- live_client()
  event <- say(scene$them, scene$room, "I owe you a beer")
  spoof_sender(scene, other$user_id)
  events <- sync_rewritten(scene)
  shown <- events[events$event_id %in% event, ]
  expect_equal(shown$sender, other$user_id)
  expect_equal(shown$utd_reason, "sender_mismatch")
  expect_true(is.na(shown$body))
  expect_false(shown$decrypted)
})

test_that("an event whose sender is no user is not read", {
  scene <- heard_by_proxy()
  for (sender in c("not a user", "@:", "")) {
    say(scene$them, scene$room, "whose words?")
    scene$proxy$clear()
    spoof_sender(scene, sender)
    events <- sync_rewritten(scene)
    shown <- events[events$sender %in% sender, ]
    expect_match(shown$utd_reason, "^(sender_mismatch|malformed_event)$")
    expect_true(is.na(shown$body))
    expect_false(any(events$decrypted))
  }
})

test_that("a one-time key that is handed out twice opens one session", {
  proxy <- live_proxy()
  alice <- live_client()
  first <- live_client(url = proxy$url)
  second <- live_client(url = proxy$url)
  rooms <- vapply(
    list(first, second),
    \(sender) mx_room_create(sender, invite = alice$user_id),
    ""
  )
  for (room in rooms) {
    mx_room_join(alice, room)
  }
  mx_send_text(first, rooms[[1]], "first")
  claim <- proxy$seen("keys/claim")
  expect_match(claim$answer, "signed_curve25519")
  proxy$answer("keys/claim", claim$answer)
  mx_send_text(second, rooms[[2]], "second")
  expect_equal(tail(proxy$seen("keys/claim")$fault, 1), "answer")

  events <- mx_sync(alice)
  expect_equal(messages(events)$body, "first")
  refused <- events[events$room_id == rooms[[2]] & events$encrypted, ]
  expect_equal(refused$utd_reason, "unknown_session")
  expect_match(attr(events, "problems"), "to-device|Olm", all = FALSE)
})

test_that("a one-time key outlives a message that was spoilt on the way", {
  scene <- heard_by_proxy()
  # The first message of an Olm session: of type 0, and with the key's name in its
  # first part. Its last part is not what was sent.
  scene$proxy$rewrite(
    "/sync",
    "(\"body\": \"[^\"]{400})[^\"]{8}([^\"]*\", \"type\": 0)",
    "\\1AAAAAAAA\\2"
  )
  say(scene$them, scene$room, "spoilt")
  events <- sync_rewritten(scene)
  expect_false(any(events$decrypted))
  scene$proxy$clear()

  scene$them$call("forceDiscardSession", roomId = scene$room)
  say(scene$them, scene$room, "sound")
  expect_equal(wait_for_bodies(scene$alice, "sound"), "sound")
})

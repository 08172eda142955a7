# Who may read what comes next: against a foreign client.

# A client of ours, and two foreign ones in its room.
a_room_of_three <- function(.local_envir = parent.frame()) {
  alice <- live_client(.local_envir = .local_envir)
  stays <- live_stranger()
  leaves <- live_foreign(.local_envir)
  room <- room_of(alice, stays, leaves)
  list(alice = alice, stays = stays, leaves = leaves, room = room)
}

# Sends state that a foreign client would not.
put_state <- function(foreign, path, body) {
  request <- httr2::request(paste0(live_synapse()[["url"]], api_path(path)))
  request <- httr2::req_method(request, "PUT")
  request <- httr2::req_auth_bearer_token(request, foreign$access_token)
  request <- httr2::req_body_raw(request, body, "application/json")
  expect_equal(httr2::resp_status(httr2::req_perform(request)), 200L)
}

test_that("a member who left has no key of what comes then", {
  scene <- a_room_of_three()
  mx_send_text(scene$alice, scene$room, "for three")
  before <- reads(scene$stays, scene$room, "for three")
  reads(scene$leaves, scene$room, "for three")
  scene$leaves$call("leave", roomId = scene$room)
  mx_sync(scene$alice)
  mx_send_text(scene$alice, scene$room, "for two")
  after <- reads(scene$stays, scene$room, "for two")
  expect_false(before == after)
  expect_false(grepl(
    after,
    scene$leaves$call("exportRoomKeys"),
    fixed = TRUE
  ))
})

# The event that bans her brings her former content along, and must not be skipped
# because of what that holds.
test_that("a banned member has no key of what comes then, whatever her content was", {
  scene <- a_room_of_three()
  deep <- paste0(strrep("[", 125), strrep("]", 125))
  put_state(
    scene$leaves,
    c("rooms", scene$room, "state", "m.room.member", scene$leaves$user_id),
    sprintf('{"membership": "join", "odd": %s}', deep)
  )
  mx_sync(scene$alice)
  mx_send_text(scene$alice, scene$room, "for three")
  before <- reads(scene$stays, scene$room, "for three")
  reads(scene$leaves, scene$room, "for three")
  ban <- list(user_id = scene$leaves$user_id)
  path <- api_path("rooms", scene$room, "ban")
  http_json(scene$alice, "POST", path, ban)
  mx_sync(scene$alice)
  mx_send_text(scene$alice, scene$room, "for two")
  after <- reads(scene$stays, scene$room, "for two")
  expect_false(before == after)
  keys <- scene$leaves$call("exportRoomKeys")
  expect_true(grepl(before, keys, fixed = TRUE))
  expect_false(grepl(after, keys, fixed = TRUE))
})

test_that("a device that signed out ends the session, a new one does not", {
  alice <- live_client()
  user <- live_user("devices")
  first <- foreign_client(user$user, user$password)
  room <- room_of(alice, first)
  mx_send_text(alice, room, "one device")
  session <- reads(first, room, "one device")

  second <- foreign_client(user$user, user$password)
  mx_sync(alice)
  mx_send_text(alice, room, "two devices")
  expect_equal(reads(first, room, "two devices"), session)
  expect_equal(reads(second, room, "two devices"), session)

  second$call("logout")
  mx_sync(alice)
  mx_send_text(alice, room, "one again")
  expect_false(reads(first, room, "one again") == session)
})

test_that("a session ends after as many messages, or as long, as the room says", {
  alice <- live_client()
  them <- live_stranger()
  room <- mx_room_create(alice, encrypted = FALSE, invite = them$user_id)
  mx_room_encrypt(alice, room, rotation_messages = 2, rotation_seconds = 2)
  them$call("join", roomId = room)
  sessions <- vapply(
    1:5,
    function(n) {
      mx_send_text(alice, room, paste("message", n))
      reads(them, room, paste("message", n))
    },
    ""
  )
  expect_equal(length(unique(sessions)), 3L)
  Sys.sleep(2.5)
  mx_send_text(alice, room, "later")
  expect_false(reads(them, room, "later") %in% sessions)
})

test_that("a restart does not end a session", {
  alice <- live_client()
  them <- live_stranger()
  room <- room_of(alice, them)
  mx_send_text(alice, room, "before")
  forget_open_stores()
  mx_send_text(mx_client_load(path = alice$path), room, "after")
  expect_equal(reads(them, room, "before"), reads(them, room, "after"))
})

test_that("a member invited a moment ago reads what is sent at once", {
  alice <- live_client()
  room <- mx_room_create(alice)
  mx_send_text(alice, room, "alone")
  them <- live_stranger()
  mx_room_invite(alice, room, them$user_id)
  mx_send_text(alice, room, "welcome")
  them$call("join", roomId = room)
  reads(them, room, "welcome")
})

test_that("one-time keys run out, and the fallback key serves", {
  alice <- live_client()
  mx_crypto_publish_keys(
    alice,
    mx_crypto_account(alice$store_dir),
    alice$store_dir,
    n_otks = 50L
  )
  claims <- function(client, n) {
    device <- mx_crypto_known_devices(client, alice$user_id)
    for (i in seq_len(n)) {
      device[[1]]$otk <- mx_crypto_claim_otks(client, device)[[1]]$otk
    }
    device[[1]]$otk
  }
  hungry <- live_client()
  room <- mx_room_create(hungry, invite = alice$user_id)
  mx_room_join(alice, room)
  claims(hungry, 50)
  expect_equal(claims(hungry, 1), claims(hungry, 1))
  # Two users open sessions with the same fallback key, and both are read.
  mx_send_text(hungry, room, "by fallback key")
  them <- live_stranger()
  mx_room_invite(hungry, room, them$user_id)
  them$call("join", roomId = room)
  them$call("sendText", roomId = room, body = "by the same")
  expect_setequal(
    wait_for_bodies(alice, "by the same"),
    c("by fallback key", "by the same")
  )
  # And the pool is filled again.
  counts <- mx_crypto_publish_keys(
    alice,
    mx_crypto_account(alice$store_dir),
    alice$store_dir
  )
  expect_equal(counts$one_time_key_counts$signed_curve25519, 50)
})

test_that("another display name does not end a session", {
  alice <- live_client()
  them <- live_stranger()
  room <- room_of(alice, them)
  mx_send_text(alice, room, "before")
  name_of <- function(who) {
    path <- "/_matrix/client/v3/profile/%s/displayname"
    body <- list(displayname = basename(tempfile()))
    path <- sprintf(path, who$user_id)
    if (is_foreign(who)) {
      who$call("raw", method = "PUT", path = path, body = body)
    } else {
      mxcrypt:::http_json(who, "PUT", path, body)
    }
  }
  name_of(them)
  name_of(alice)
  mx_sync(alice)
  mx_send_text(alice, room, "after")
  expect_equal(reads(them, room, "before"), reads(them, room, "after"))
})

# The sessions before and after `change`, as those read it who stay.
sessions_around <- function(scene, change) {
  mx_send_text(scene$alice, scene$room, "before")
  before <- reads(scene$stays, scene$room, "before")
  change()
  mx_send_text(scene$alice, scene$room, "after")
  c(before, reads(scene$stays, scene$room, "after"))
}

test_that("a device that is blocked has no key of what comes then", {
  scene <- a_room_of_three()
  blocked <- scene$leaves
  sessions <- sessions_around(scene, function() {
    reads(blocked, scene$room, "before")
    mx_device_block(scene$alice, blocked$user_id, blocked$device_id)
  })
  expect_false(sessions[[1]] == sessions[[2]])
  blocked$call("waitForUtd", roomId = scene$room, code = "MEGOLM_KEY_WITHHELD")
  keys <- blocked$call("exportRoomKeys")
  expect_true(grepl(sessions[[1]], keys, fixed = TRUE))
  expect_false(grepl(sessions[[2]], keys, fixed = TRUE))
})

# The first message of a session that a foreign client has the key of.
first_index <- function(them, session_id) {
  keys <- jsonlite::fromJSON(them$call("exportRoomKeys"))
  key <- keys$session_key[keys$session_id == session_id]
  # A version, the index in four bytes, and the ratchet.
  bytes <- as.integer(jsonlite::base64_dec(key))[2:5]
  sum(bytes * 256L^(3:0))
}

test_that("a stricter history visibility keeps later keys from who is invited", {
  alice <- live_client()
  stays <- live_stranger()
  invited <- live_foreign()
  room <- mx_room_create(alice, invite = c(stays$user_id, invited$user_id))
  stays$call("join", roomId = room)
  scene <- list(alice = alice, stays = stays, room = room)
  sessions <- sessions_around(scene, function() {
    content <- list(history_visibility = "joined")
    mx_set_state(alice, room, "m.room.history_visibility", content)
    mx_sync(alice)
  })
  expect_false(sessions[[1]] == sessions[[2]])
  invited$call("join", roomId = room)
  mx_sync(alice)
  mx_send_text(alice, room, "welcome")
  reads(invited, room, "welcome")
  expect_equal(first_index(invited, sessions[[1]]), 0L)
  # That of "welcome": it has no key of "after".
  expect_equal(first_index(invited, sessions[[2]]), 1L)
})

test_that("a session does not outlive the algorithm it was made for", {
  alice <- live_client()
  stays <- live_stranger()
  room <- room_of(alice, stays)
  scene <- list(alice = alice, stays = stays, room = room)
  sessions <- sessions_around(scene, function() {
    set <- function(algorithm) {
      content <- list(algorithm = algorithm)
      mx_set_state(alice, room, "m.room.encryption", content)
      mx_sync(alice)
    }
    set("m.megolm.v9")
    expect_error(
      mx_send_text(alice, room, "in the unknown"),
      class = "mx_error_refused"
    )
    set("m.megolm.v1.aes-sha2")
  })
  expect_false(sessions[[1]] == sessions[[2]])
})

send <- function(client, room, text, ...) {
  s <- compat(client)
  content <- list(msgtype = "m.text", body = text)
  mx_send_encrypted(client, s$account, s$sessions, room, content, s$store, ...)
}

process <- function(client, sync, ...) {
  s <- compat(client)
  curve <- mxc_account_identity_keys(s$account)$curve25519
  mx_crypto_process_sync(s$account, s$sessions, sync, curve, ...)
}

test_that("the loop of mx.client's vignette sends and receives, and loses nothing by forgetting", {
  pair <- demo_pair()
  a <- compat(pair$alice)
  b <- compat(pair$bob)
  for (text in c("one", "two")) {
    # What is returned is thrown away, as there.
    res <- mx_send_encrypted(
      pair$alice,
      a$account,
      a$sessions,
      room_id = pair$room,
      content = list(msgtype = "m.text", body = text),
      store_dir = a$store,
      member_ids = c(pair$alice$user_id, pair$bob$user_id)
    )
    expect_match(res$event_id, "^\\$")
    res <- mx_sync_update(pair$bob, timeout = 0L)
    out <- mx_crypto_process_sync(
      b$account,
      b$sessions,
      res$sync,
      mxc_account_identity_keys(b$account)$curve25519,
      self_id = pair$bob$user_id
    )
    expect_length(out$events, 1)
    expect_equal(out$events[[1]]$sender, pair$alice$user_id)
    expect_equal(out$events[[1]]$body, text)
    mx_crypto_sessions_save(out$sessions, b$store)
    forget_open_stores()
  }
  # One session, and one key for both.
  expect_length(
    unique(messages(mx_messages(pair$bob, pair$room))$session_id),
    1
  )
})

test_that("a record has what mx.client's vignette reads, and more", {
  pair <- demo_pair()
  id <- send(pair$alice, pair$room, "hello")$event_id
  mx_send_text(pair$bob, pair$room, "reply", reply_to = id)
  res <- mx_sync_update(pair$bob)
  expect_named(res, c("sync", "client", "first_run"))
  expect_true(res$first_run)
  events <- process(pair$bob, res$sync)$events
  expect_false(mx_sync_update(pair$bob)$first_run)
  expect_named(
    events[[1]],
    c(
      "room_id",
      "event_id",
      "sender",
      "sender_verified",
      "is_self",
      "body",
      "msgtype",
      "mentions",
      "ts",
      "relates_to"
    )
  )
  expect_equal(events[[1]]$event_id, id)
  expect_false(events[[1]]$is_self)
  expect_true(events[[2]]$is_self)
  expect_lt(abs(events[[1]]$ts / 1000 - as.numeric(Sys.time())), 60)
  expect_equal(events[[2]]$relates_to[["m.in_reply_to"]][["event_id"]], id)
})

test_that("members can be narrowed, and never added", {
  pair <- demo_pair()
  carol <- mx_demo_client(pair$homeserver, "carol")
  mx_room_invite(pair$alice, pair$room, carol$user_id)
  mx_room_join(carol, pair$room)
  stranger <- mx_demo_client(pair$homeserver, "stranger")
  second <- mx_demo_client(pair$homeserver, "alice")
  # A device that appeared since the last sync is not known yet.
  mx_sync(pair$alice)

  send(pair$alice, pair$room, "for all")
  some <- c(pair$bob$user_id, stranger$user_id)
  send(pair$alice, pair$room, "for bob", member_ids = some)
  send(pair$alice, pair$room, "for all again")
  expect_equal(new_bodies(pair$bob), c("for all", "for bob", "for all again"))
  expect_equal(new_bodies(second), c("for all", "for bob", "for all again"))
  expect_equal(new_bodies(carol), c("for all", NA, "for all again"))
  wires <- mx_demo_requests(pair$homeserver)
  to_device <- grep("m.olm.v1", wires, value = TRUE)
  to_device <- grep("messages", to_device, value = TRUE)
  expect_false(any(grepl(stranger$user_id, to_device, fixed = TRUE)))
})

test_that("an event that nobody could read is not sent", {
  homeserver <- mx_demo_homeserver(users = "mute")
  alice <- mx_demo_client(homeserver, "alice")
  room <- mx_room_create(alice, invite = "@mute:demo")
  # A room of one is a room; so is one whose other members have no device.
  expect_match(send(alice, room, "to myself")$event_id, "^\\$")

  bare <- list(server = demo_address(homeserver))
  login <- log_in(bare, "mute", "demo", "MUTE", NULL)
  keys <- mxc_device_keys(mxc_account_new(), "@mute:demo", "MUTE")
  demo_perform(
    the[["homeservers"]][[bare$server]],
    "POST",
    api_path("keys", "upload"),
    login$access_token,
    mxc_json(list(device_keys = keys))
  )
  mx_sync(alice)
  expect_error(send(alice, room, "to nobody"), class = "mx_error")
  expect_false(server_has_seen(homeserver, "to nobody"))
})

test_that("it is encrypted also where nothing says that the room is", {
  pair <- demo_pair(encrypted = FALSE)
  send(pair$alice, pair$room, "under the rose")
  expect_false(server_has_seen(pair$homeserver, "under the rose"))
  events <- messages(mx_sync(pair$bob))
  expect_equal(events$body, "under the rose")
  expect_true(events$encrypted)
})

test_that("recipients, other stores and odd contents are refused", {
  pair <- demo_pair()
  a <- compat(pair$alice)
  b <- compat(pair$bob)
  content <- list(msgtype = "m.text", body = "never")
  call <- function(...) {
    usual <- list(
      client = pair$alice,
      account = a$account,
      sessions = a$sessions,
      room_id = pair$room,
      content = content,
      store_dir = a$store
    )
    usual[...names()] <- list(...)
    do.call(mx_send_encrypted, usual)
  }
  for (recipients in list(list(), list(list(user_id = "@a:b")), "@a:b")) {
    expect_error(call(recipients = recipients), class = "mx_error_argument")
  }
  others <- list(
    list(client = pair$bob),
    list(account = b$account),
    list(sessions = b$sessions),
    list(store_dir = b$store)
  )
  for (other in others) {
    expect_error(do.call(call, other), class = "mx_error_store_binding")
  }
  swapped <- list(account = a$sessions, sessions = a$account)
  expect_error(do.call(call, swapped), class = "mx_error")
  for (content in list(5, NA, "x", list(1), list(a = NaN))) {
    expect_error(call(content = content), class = "mx_error")
  }
  for (ids in list(5, NA_character_, list("@a:b"))) {
    expect_error(call(member_ids = ids), class = "mx_error")
  }
  expect_false(server_has_seen(pair$homeserver, "never"))
})

test_that("a batch hands over its own events, and can be read twice", {
  pair <- demo_pair()
  mx_sync_update(pair$bob)
  send(pair$alice, pair$room, "one")
  first <- mx_sync_update(pair$bob)$sync
  expect_s3_class(first, "mx_sync_batch")
  send(pair$alice, pair$room, "two")
  second <- mx_sync_update(pair$bob)$sync
  bodies <- function(batch) {
    vapply(process(pair$bob, batch)$events, function(x) x$body, "")
  }
  expect_equal(bodies(second), "two")
  expect_equal(bodies(second), "two")
  expect_length(process(pair$bob, mx_sync_update(pair$bob)$sync)$events, 0)
  # What the next update has let go is not handed over as nothing.
  again <- tryCatch(bodies(second), mx_error_batch = function(e) "two")
  expect_equal(again, "two")
})

test_that("only a batch of this store, or JSON text, is taken", {
  pair <- demo_pair()
  send(pair$alice, pair$room, "one")
  other <- mx_sync_update(pair$alice)$sync
  expect_error(process(pair$bob, other), class = "mx_error_store_binding")
  text <- raw_sync(pair$bob)
  parsed <- jsonlite::fromJSON(text, simplifyVector = FALSE)
  for (odd in list(parsed, list(), NULL, NA, 5, c("a", "b"), NA_character_)) {
    expect_error(process(pair$bob, odd), class = "mx_error_batch")
    expect_error(
      mx_extract_text_events(odd, pair$bob$user_id),
      class = "mx_error_batch"
    )
  }
  for (text in c("", "[]", "{}", "nonsense %s%n")) {
    expect_error(process(pair$bob, text), class = "mx_error_answer")
  }
  events <- process(pair$bob, raw_sync(pair$bob))$events
  expect_equal(vapply(events, function(x) x$body, ""), "one")
})

test_that("account, key and sessions must be of one store", {
  pair <- demo_pair()
  a <- compat(pair$alice)
  b <- compat(pair$bob)
  sync <- mx_sync_update(pair$bob)$sync
  curve <- mxc_account_identity_keys(b$account)$curve25519
  expect_error(
    mx_crypto_process_sync(b$account, a$sessions, sync, curve),
    class = "mx_error_store_binding"
  )
  other <- mxc_account_identity_keys(a$account)$curve25519
  for (key in list(other, "", NULL, NA, 5)) {
    expect_error(
      mx_crypto_process_sync(b$account, b$sessions, sync, key),
      class = "mx_error_argument"
    )
  }
  expect_error(
    mx_crypto_process_sync(b$sessions, b$account, sync, curve),
    class = "mx_error"
  )
})

test_that("text events are extracted, encrypted or not, one's own too", {
  pair <- demo_pair()
  plain <- mx_room_create(pair$bob, encrypted = FALSE)
  mx_send_text(pair$alice, pair$room, "secret", mentions = pair$bob$user_id)
  mx_send_text(pair$bob, plain, "open")
  mx_send_text(pair$bob, plain, "beep", msgtype = "m.notice")
  mx_react(pair$alice, pair$room, "$x", "!")
  batch <- mx_sync_update(pair$bob)$sync
  texts <- mx_extract_text_events(batch, pair$bob$user_id)
  by_body <- function(records) vapply(records, function(x) x$body, "")
  expect_setequal(by_body(texts), c("secret", "open"))
  secret <- texts[[which(by_body(texts) == "secret")]]
  expect_equal(secret$mentions, pair$bob$user_id)
  expect_false(secret$is_self)
  notices <- mx_extract_text_events(batch, pair$bob$user_id, "m.notice")
  expect_equal(by_body(notices), "beep")
  forget_open_stores()
  expect_error(
    mx_extract_text_events(batch, pair$bob$user_id),
    class = "mx_error_store_binding"
  )
})

# The harness itself: a real server, two real clients of other people.

# Does any file of the server's data hold this text?
server_holds <- function(text) {
  dir <- live_synapse()[["dir"]]
  files <- list.files(
    dir,
    pattern = "^homeserver\\.db",
    full.names = TRUE
  )
  held <- vapply(
    files,
    function(file) {
      bytes <- readBin(file, "raw", file.size(file))
      length(grepRaw(text, bytes, fixed = TRUE)) > 0
    },
    NA
  )
  any(held)
}

# Two people, each with one device, joined to one room.
pair_in_room <- function(..., .local_envir = parent.frame()) {
  alice <- live_user("alice")
  bob <- live_user("bob")
  a <- foreign_client(
    alice[["user"]],
    alice[["password"]],
    .local_envir = .local_envir
  )
  b <- foreign_client(
    bob[["user"]],
    bob[["password"]],
    .local_envir = .local_envir
  )
  room <- a$call("createRoom", invite = bob[["user_id"]], ...)
  b$call("joinInvites")
  a$call("waitForMember", roomId = room, userId = bob[["user_id"]])
  list(a = a, b = b, room = room)
}

test_that("two foreign clients talk both ways in an encrypted room", {
  pair <- pair_in_room()
  a <- pair[["a"]]
  b <- pair[["b"]]
  room <- pair[["room"]]
  to_b <- "h\u00e9llo Bob \U1F510, 100% \"quoted\"\nsecond line"
  sent <- a$call("sendText", roomId = room, body = to_b)
  got <- b$call("waitForMessage", roomId = room, body = to_b)
  expect_identical(got[["event_id"]], sent)
  expect_identical(got[["sender"]], a[["user_id"]])
  expect_identical(got[["body"]], to_b)
  expect_true(got[["encrypted"]])
  expect_null(got[["failure"]])
  expect_identical(got[["wire"]][["type"]], "m.room.encrypted")
  # Neither has cross-signing yet, and the SDK says so.
  expect_identical(
    got[["shield"]],
    list(color = "RED", reason = "UNSIGNED_DEVICE")
  )

  sent <- b$call("sendText", roomId = room, body = "hello Alice")
  got <- a$call("waitForMessage", roomId = room, eventId = sent)
  expect_identical(got[["body"]], "hello Alice")
  expect_true(got[["encrypted"]])
})

test_that("the server holds ciphertext only", {
  pair <- pair_in_room()
  secret <- "marker-of-a-secret-4711"
  sent <- pair[["a"]]$call("sendText", roomId = pair[["room"]], body = secret)
  pair[["b"]]$call("waitForMessage", roomId = pair[["room"]], body = secret)
  # What is said in the clear is found: the search can see.
  open_room <- pair[["a"]]$call("createRoom", encrypted = FALSE)
  pair[["a"]]$call("sendText", roomId = open_room, body = "marker-in-the-open")
  expect_true(server_holds("marker-in-the-open"))
  expect_true(server_holds(sent))
  expect_false(server_holds(secret))

  rows <- synapse_sql(
    live_synapse(),
    sprintf("select json from event_json where event_id = '%s'", sent)
  )
  expect_identical(nrow(rows), 1L)
  event <- jsonlite::fromJSON(rows[["json"]])
  expect_identical(event[["type"]], "m.room.encrypted")
  expect_identical(
    event[["content"]][["algorithm"]],
    "m.megolm.v1.aes-sha2"
  )
})

test_that("clients go on after a restart of the server", {
  pair <- pair_in_room()
  a <- pair[["a"]]
  b <- pair[["b"]]
  room <- pair[["room"]]
  a$call("sendText", roomId = room, body = "before")
  b$call("waitForMessage", roomId = room, body = "before")
  url <- live_synapse()[["url"]]
  live_restart()
  expect_identical(live_synapse()[["url"]], url)
  sent <- b$call("sendText", roomId = room, body = "after")
  got <- a$call("waitForMessage", roomId = room, eventId = sent)
  expect_identical(got[["body"]], "after")
})

test_that("a device in signed mode reads signed devices only", {
  pair <- pair_in_room()
  a <- pair[["a"]]
  b <- pair[["b"]]
  room <- pair[["room"]]
  b$call("setIsolation", mode = "signed")
  sent <- a$call("sendText", roomId = room, body = "unsigned")
  got <- b$call(
    "waitForUtd",
    roomId = room,
    eventId = sent,
    code = "UNSIGNED_SENDER_DEVICE"
  )
  expect_null(got[["body"]])

  status <- a$call("bootstrapCrossSigning", password = "of no use at first")
  expect_true(status[["ready"]])
  a$call("forceDiscardSession", roomId = room)
  sent <- a$call("sendText", roomId = room, body = "signed")
  got <- b$call("waitForMessage", roomId = room, eventId = sent)
  expect_identical(got[["body"]], "signed")
  expect_identical(got[["shield"]], list(color = "NONE", reason = NULL))
  expect_true(b$call(
    "deviceStatus",
    userId = a[["user_id"]],
    deviceId = a[["device_id"]]
  )[["signedByOwner"]])
})

test_that("room keys travel to another device of the same user", {
  alice <- live_user("alice")
  first <- foreign_client(alice[["user"]], alice[["password"]])
  room <- first$call("createRoom")
  sent <- first$call("sendText", roomId = room, body = "from before")
  second <- foreign_client(alice[["user"]], alice[["password"]])
  utd <- second$call("waitForUtd", roomId = room, eventId = sent)
  expect_match(utd[["failure"]], "^HISTORICAL_MESSAGE")

  keys <- first$call("exportRoomKeys")
  second$call("importRoomKeys", keys = keys)
  got <- second$call("waitForMessage", roomId = room, eventId = sent)
  expect_identical(
    got[["shield"]],
    list(color = "GREY", reason = "AUTHENTICITY_NOT_GUARANTEED")
  )
})

test_that("cross-signing travels by secret storage", {
  alice <- live_user("alice")
  first <- foreign_client(alice[["user"]], alice[["password"]])
  first$call("bootstrapCrossSigning", password = alice[["password"]])
  key <- first$call("bootstrapSecretStorage")
  expect_match(key, "^E")

  second <- foreign_client(alice[["user"]], alice[["password"]])
  second$call("enterRecoveryKey", recoveryKey = key)
  status <- second$call("bootstrapCrossSigning", password = alice[["password"]])
  expect_true(status[["privateKeysCachedLocally"]][["selfSigningKey"]])
  own <- second$call(
    "deviceStatus",
    userId = second[["user_id"]],
    deviceId = second[["device_id"]]
  )
  expect_true(own[["crossSigningVerified"]])
})

test_that("membership, state and raw requests work", {
  pair <- pair_in_room(
    name = "the den",
    historyVisibility = "joined",
    rotation = list(periodMsgs = 1L)
  )
  a <- pair[["a"]]
  b <- pair[["b"]]
  room <- pair[["room"]]
  path <- paste0("/_matrix/client/v3/rooms/", room, "/state/")
  rule <- a$call("raw", path = paste0(path, "m.room.encryption"))
  expect_identical(rule[["rotation_period_msgs"]], 1L)
  seen <- a$call("raw", path = paste0(path, "m.room.history_visibility"))
  expect_identical(seen[["history_visibility"]], "joined")

  bodies <- c("one", "two")
  for (body in bodies) {
    b$call("sendText", roomId = room, body = body)
    a$call("waitForMessage", roomId = room, body = body)
  }
  all <- a$call("messages", roomId = room)
  texts <- Filter(\(event) event[["type"]] == "m.room.message", all)
  expect_identical(vapply(texts, `[[`, "", "body"), bodies)
  sessions <- vapply(
    texts,
    \(event) event[["wire"]][["content"]][["session_id"]],
    ""
  )
  expect_identical(anyDuplicated(sessions), 0L)

  a$call("kick", roomId = room, userId = b[["user_id"]], reason = "a test")
  a$call("invite", roomId = room, userId = b[["user_id"]])
  expect_identical(b$call("joinInvites"), list(room))
  b$call("leave", roomId = room)
  a$call(
    "waitForMember",
    roomId = room,
    userId = b[["user_id"]],
    membership = "leave"
  )
  devices <- a$call("userDevices", userId = b[["user_id"]])
  expect_identical(
    devices[[1]][["keys"]][[paste0("ed25519:", b[["device_id"]])]],
    b[["ed25519"]]
  )
})

test_that("an error of the other side is an error here", {
  alice <- live_user("alice")
  expect_error(
    foreign_client(alice[["user"]], "not the password"),
    "Invalid username or password"
  )
  a <- foreign_client(alice[["user"]], alice[["password"]])
  expect_error(a$call("dance"), "no operation 'dance'")
  expect_error(
    a$call(
      "waitForMessage",
      roomId = "!no:localhost",
      body = "",
      timeoutMs = 1
    ),
    "in vain"
  )
  expect_error(
    a$call(
      "waitForMessage",
      roomId = "!no:localhost",
      body = "",
      timeout = 0.5
    ),
    "no answer in time"
  )
  # The late answer to it is not taken for that of the next call.
  expect_false(a$call("crossSigningStatus")[["ready"]])
  a$call("stop")
  expect_error(a$call("crossSigningStatus"), "ended|pipe|write")
})

test_that("big messages pass in both directions", {
  alice <- live_user("alice")
  a <- foreign_client(alice[["user"]], alice[["password"]])
  type <- "org.example.big"
  path <- sprintf(
    "/_matrix/client/v3/user/%s/account_data/%s",
    a[["user_id"]],
    type
  )
  big <- strrep("\u00e9", 400000)
  a$call("raw", method = "PUT", path = path, body = list(text = big))
  expect_identical(a$call("raw", path = path)[["text"]], big)
})

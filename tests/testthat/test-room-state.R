test_that("state is set, by client or session, and never encrypted", {
  pair <- demo_pair()
  id <- mx_set_state(
    mx_client_session(pair$alice),
    pair$room,
    "m.room.topic",
    list(topic = "nightly")
  )
  expect_match(id, "^\\$")
  expect_equal(
    room_text(pair$bob, pair$room, "m.room.topic", "topic"),
    "nightly"
  )
  mx_set_state(pair$alice, pair$room, "org.x", '{"a":[]}', state_key = "k/%41")
  state <- room_state(pair$alice, pair$room, "org.x", "k/%41")
  expect_equal(state, list(a = list()))
  expect_null(room_state(pair$alice, pair$room, "org.x", "other"))
})

test_that("a room is found by its name, to set its state", {
  pair <- demo_pair()
  room <- mx_room_create(pair$alice, "lab")
  expect_match(
    mx_room_set_state(pair$alice, "lab", "org.x", list(n = 1), "k"),
    "^\\$"
  )
  expect_equal(room_state(pair$alice, room, "org.x", "k"), list(n = 1))
  expect_null(room_state(pair$alice, pair$room, "org.x", "k"))
})

test_that("a room that is encrypted by us is sent no plaintext from then on", {
  for (encrypt in list(
    function(client, room) mx_room_encrypt(client, room),
    function(client, room) {
      content <- list(algorithm = "m.megolm.v1.aes-sha2")
      mx_room_set_state(client, room, "m.room.encryption", content)
    },
    function(client, room) {
      mx_set_state(
        mx_client_session(client),
        room,
        "m.room.encryption",
        list(algorithm = "m.megolm.v1.aes-sha2")
      )
    }
  )) {
    pair <- demo_pair(encrypted = FALSE)
    mx_send_text(pair$alice, pair$room, "in the open")
    expect_match(encrypt(pair$alice, pair$room), "^\\$")
    mx_send_text(pair$alice, pair$room, "under the rose")
    expect_true(server_has_seen(pair$homeserver, "in the open"))
    expect_false(server_has_seen(pair$homeserver, "under the rose"))
    expect_equal(new_bodies(pair$bob), c("in the open", "under the rose"))
    # The other side has not synced since, and asks before it sends.
    mx_send_text(pair$bob, pair$room, "likewise")
    expect_false(server_has_seen(pair$homeserver, "likewise"))
  }
})

test_that("periods of rotation are told to all, and kept to", {
  pair <- demo_pair(encrypted = FALSE)
  mx_room_encrypt(
    pair$alice,
    pair$room,
    rotation_messages = 2,
    rotation_seconds = 3600
  )
  state <- room_state(pair$alice, pair$room, "m.room.encryption")
  expect_equal(state[["rotation_period_msgs"]], 2)
  expect_equal(state[["rotation_period_ms"]], 3600 * 1000)
  mx_send_text(pair$alice, pair$room, as.character(1:5))
  events <- messages(mx_sync(pair$bob))
  expect_equal(events$body, as.character(1:5))
  expect_equal(
    as.vector(table(match(events$session_id, unique(events$session_id)))),
    c(2, 2, 1)
  )
  for (period in list(0, -1, NA, "x", NaN, c(1, 2), Inf, 1.5, 1e300)) {
    expect_error(
      mx_room_encrypt(pair$alice, pair$room, rotation_messages = period),
      class = "mx_error",
      info = deparse(period)
    )
  }
  for (period in list(0, -1, NA, "x", NaN, c(1, 2), Inf, 1e300)) {
    expect_error(
      mx_room_encrypt(pair$alice, pair$room, rotation_seconds = period),
      class = "mx_error",
      info = deparse(period)
    )
  }
})

test_that("a room stays encrypted, whatever its server says later", {
  withr::local_options(mxcrypt.max_tries = 1, mxcrypt.pause = 0.001)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  mx_sync(alice)
  denials <- list(
    list(404, '{"errcode":"M_NOT_FOUND","error":"no such state"}'),
    list(200, "{}"),
    list(200, '{"algorithm":"none"}')
  )
  forget_open_stores()
  for (denial in denials) {
    fake$fault("GET", "/state/m.room.encryption", denial[[1]], denial[[2]])
    suppressWarnings(mx_send_text(alice, room, "secret still"))
    fake$forget()
  }
  without <- edit_json(raw_sync(alice), "rooms")
  hand_in(alice, without)
  mx_set_state(alice, room, "m.room.name", list(name = "x"))
  mx_send_text(alice, room, "secret still")
  mx_send_file(alice, room, charToRaw("secret still"), name = "x.txt")
  bodies <- vapply(fake$seen(), function(x) paste(x$body), "")
  expect_false(any(grepl("secret still", bodies)))
})

test_that("nothing is sent into a room encrypted in an unknown way", {
  pair <- demo_pair(encrypted = FALSE)
  mx_set_state(
    pair$alice,
    pair$room,
    "m.room.encryption",
    list(algorithm = "org.example.rot13")
  )
  for (client in list(pair$alice, pair$bob)) {
    expect_error(
      mx_send_text(client, pair$room, "plain"),
      class = "mx_error_refused"
    )
  }
  expect_false(server_has_seen(pair$homeserver, "plain\""))
})

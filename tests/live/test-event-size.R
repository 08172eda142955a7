# What is said to fit into an event is taken by a real homeserver.

test_that("the largest events that fit are taken, with and without encryption", {
  alice <- live_client()
  bob <- live_client()
  for (encrypted in c(TRUE, FALSE)) {
    room <- mx_room_create(alice, invite = bob$user_id, encrypted = encrypted)
    mx_room_join(bob, room)
    # With the longest envelope that a client can bring about: a type of 255 bytes.
    for (type in c("m.room.message", strrep("t", 255))) {
      content <- function(length) {
        empty <- nchar(mxc_json(list(msgtype = "m.text", body = "")))
        list(msgtype = "m.text", body = strrep("x", length - empty))
      }
      condition <- rlang::catch_cnd(
        mx_send(alice, room, content(1e5), type = type),
        "error"
      )
      expect_s3_class(condition, "mx_error_too_large")
      fits <- condition$largest
      expect_error(
        mx_send(alice, room, content(fits + 1), type = type),
        class = "mx_error_too_large"
      )
      id <- mx_send(alice, room, content(fits), type = type)
      events <- mx_sync(bob)
      expect_equal(
        nchar(events$body[match(id, events$event_id)]),
        nchar(content(fits)$body)
      )
    }
  }
})

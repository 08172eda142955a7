# History that is shared with those who are invited.

test_that("who is invited reads what was said before", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  bob <- mx_demo_client(homeserver, "bob")
  room <- mx_room_create(alice)
  event <- mx_send_text(alice, room, "before")
  mx_room_invite(alice, room, bob$user_id)
  mx_sync(bob)
  mx_room_join(bob, room)
  history <- mx_messages(bob, room)
  row <- history[history$event_id %in% event, ]
  expect_equal(row$body, "before")
  expect_equal(row$key_source, "bundle")
  expect_equal(row$forwarder, alice$user_id)
  expect_equal(as.character(row$trust), "not_guaranteed")
})

test_that("what only the key backup has is shared too", {
  own <- backed_up()
  bob <- mx_demo_client(own$homeserver, "bob")
  laptop <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  mx_crypto_setup(laptop, recovery_key = own$key)
  mx_sync(laptop)
  mx_room_invite(laptop, own$room, bob$user_id)
  mx_sync(bob)
  mx_room_join(bob, own$room)
  expect_equal(bodies_of(bob, own$room), c("one", "two"))
})

test_that("history is not shared where the caller does not want it", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  bob <- mx_demo_client(homeserver, "bob")
  room <- mx_room_create(alice)
  event <- mx_send_text(alice, room, "before")
  mx_room_invite(alice, room, bob$user_id, share_history = FALSE)
  mx_sync(bob)
  mx_room_join(bob, room)
  history <- mx_messages(bob, room)
  expect_true(is.na(history$body[history$event_id %in% event]))
})

test_that("who cannot be given the keys is invited all the same", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  room <- mx_room_create(alice)
  mx_send_text(alice, room, "before")
  local_replaced("upload_bytes", function(...) {
    mx_abort("The file is too large.", "mx_error_http")
  })
  expect_warning(
    mx_room_invite(alice, room, "@carol:demo"),
    class = "mx_warning_history_not_shared"
  )
  expect_true("@carol:demo" %in% mx_room_members(alice, room)$user_id)
})

test_that("an address that the server gives keys is judged", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  for (uri in c('"mxc://a/../b"', '"https://a/b"', "7")) {
    fake$fault("POST", "/upload", body = paste0("{\"content_uri\":", uri, "}"))
    expect_error(upload_bytes(alice, as.raw(1)), class = "mx_error_answer")
  }
})

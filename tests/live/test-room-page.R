# The page of a room, in Chromium, with a foreign client in the room.

test_that("a room is read and written on its page", {
  alice <- live_client()
  phone <- live_stranger()
  room <- room_of(alice, phone)
  phone$call("sendText", roomId = room, body = "from the phone <b>")
  wait_for_bodies(alice, "from the phone <b>")
  app <- security_app(alice, room = room)
  browser <- live_browser()
  page <- browser$open(app$view(""))
  page$expect_text("from the phone <b>")
  page$fill("typed here", "textbox", "Message")
  page$press("Enter", "textbox", "Message")
  reads(phone, room, "typed here")
  page$expect_text("typed here", css = ".mx-room-log")
  look_at(page, "room-page")
  expect_no_faults(page)
  for (dark in c(FALSE, TRUE)) {
    small <- browser$open(app$view(""), view = "phone", dark = dark)
    small$expect_text("typed here")
    look_at(small, paste0("room-page-phone", if (dark) "-dark"))
  }
})

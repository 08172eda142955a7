# The view of messages that cannot be read.

test_that("nothing is unreadable, and that is said", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  in_view(alice, "unreadable", {
    expect_match(shown("unreadable_list"), "Nothing is unreadable")
    expect_match(send("unreadable_look")$html, "Nothing is unreadable")
  })
})

test_that("messages are counted by room and reason, and read once a key came", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  room <- mx_room_create(alice, name = "Pipeline")
  mx_send_text(alice, room, c("one", "two"))
  file <- mx_keys_export(alice, tempfile(), "correct horse")
  late <- mx_demo_client(homeserver, "alice", verified = FALSE)
  mx_sync(late)
  in_view(late, "unreadable", {
    html <- shown("unreadable_list")
    expect_match(html, "2 messages cannot be read")
    expect_match(html, "Pipeline")
    expect_match(html, "href=\"#backup\"")
    expect_match(send("unreadable_look")$html, "still|No key has come yet")
    mx_keys_import(late, file, "correct horse")
    send("unreadable_look")
    expect_match(shown("unreadable_list"), "Nothing is unreadable")
  })
})

test_that("looking takes no event from anybody who syncs", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  bob <- mx_demo_client(homeserver, "bob")
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  mx_sync(alice)
  mx_send_text(bob, room, "for the script")
  in_view(alice, "unreadable", send("unreadable_look"))
  expect_true("for the script" %in% mx_sync(alice)$body)
})

test_that("each reason has a remedy, in words for people without R", {
  events <- data.frame(
    room_id = "!<script>:x",
    utd_reason = c(names(remedies), "withheld_other", "of_the_future"),
    utd_message = "\u202e<script>"
  )
  html <- as.character(unreadable_html(events, c()))
  expect_no_match(html, "<script|\u202e")
  expect_no_match(html, "mx_[a-z]+")
  views <- unlist(lapply(remedies, function(remedy) remedy[-1]))
  expect_true(all(views %in% names(remedy_links)))
})

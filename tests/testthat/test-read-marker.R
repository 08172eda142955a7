test_that("a room is marked as read up to an event, or the newest", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  ids <- mx_send_text(alice, room, c("one", "two"))
  marked <- function(...) {
    fake$forget()
    id <- mx_mark_read(alice, room, ...)
    body <- fake$seen("POST", "/read_markers")[[1]]$body
    list(id, json_decode(body))
  }
  one <- list("m.fully_read" = ids[[1]], "m.read" = ids[[1]])
  expect_equal(marked(ids[[1]]), list(ids[[1]], one))
  link <- paste0("https://matrix.to/#/", room, "/", ids[[1]])
  expect_equal(marked(link), list(ids[[1]], one))
  two <- list("m.fully_read" = ids[[2]], "m.read.private" = ids[[2]])
  expect_equal(marked(private = TRUE), list(ids[[2]], two))
  # A room of which the server shows nothing.
  for (page in c('{"chunk":[]}', "{}", '{"chunk":[7]}', '{"chunk":{}}')) {
    fake$fault("GET", "/messages", body = page)
    expect_equal(mx_mark_read(alice, room), NA_character_)
  }
})

test_that("typing is shown for a while, and ended", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  sent <- function(...) {
    fake$forget()
    expect_null(mx_typing(alice, room, ...))
    json_decode(fake$seen("PUT", "/typing/")[[1]]$body)
  }
  expect_equal(sent(), list(timeout = 30000, typing = TRUE))
  expect_equal(sent(seconds = 1e9), list(timeout = 3600000, typing = TRUE))
  expect_equal(sent(seconds = 0), list(typing = FALSE))
})

# Key exports, between ours and matrix-js-sdk, whose files are those of Element.

passphrase <- "correct horse p\u00e4ss \U1F511"

# Alice, on a client of ours and then on a foreign one or the other way round, in a
# room in which Bob has spoken; the second device came later.
a_room_before <- function(first, bob) {
  room <- new_room(first, bob$user_id)
  enter(bob, room, first)
  event <- say(bob, room, "before")
  expect_reads(first, room, event)
  list(room = room, event = event)
}

test_that("a foreign client reads old messages with a file of ours", {
  alice <- live_user("alice")
  first <- live_client(alice)
  before <- a_room_before(first, live_stranger())
  own <- mx_send_text(first, before$room, "own")
  file <- withr::local_tempfile()
  mx_keys_export(first, file, passphrase)

  late <- foreign_client(alice$user, alice$password)
  expect_cannot_read(late, before$room, before$event)
  late$call(
    "importKeyFile",
    file = paste(readLines(file), collapse = "\n"),
    passphrase = passphrase
  )
  expect_reads(late, before$room, before$event)
  expect_reads(late, before$room, own)
  # It says of them what we do: nobody vouches for their makers.
  event <- late$call(
    "waitForMessage",
    roomId = before$room,
    eventId = before$event
  )
  expect_equal(event[["shield"]][["reason"]], "AUTHENTICITY_NOT_GUARANTEED")
})

test_that("we read old messages with a file of a foreign client", {
  alice <- live_user("alice")
  first <- foreign_client(alice$user, alice$password)
  before <- a_room_before(first, live_stranger())
  own <- say(first, before$room, "own")
  file <- withr::local_tempfile()
  writeLines(first$call("exportKeyFile", passphrase = passphrase), file)

  late <- live_client(alice)
  expect_error(
    mx_keys_import(late, file, "another"),
    class = "mx_error_key_export"
  )
  keys <- mx_keys_import(late, file, passphrase)
  expect_identical(unique(keys$status), "imported")
  history <- mx_messages(late, before$room)
  history <- history[history$event_id %in% c(before$event, own), ]
  expect_setequal(history$body, c("before", "own"))
  expect_identical(history$key_source, rep("imported", 2))
  expect_true(all(history$trust <= "not_guaranteed"))
})

test_that("whether history is shared is kept, there and back", {
  alice <- live_user("alice")
  first <- live_client(alice)
  rooms <- vapply(
    c("shared", "joined"),
    function(visibility) {
      room <- mx_room_create(first)
      content <- list(history_visibility = visibility)
      mx_set_state(first, room, "m.room.history_visibility", content)
      mx_send_text(first, room, "hello")
      room
    },
    ""
  )
  file <- withr::local_tempfile()
  mx_keys_export(first, file, passphrase, rooms = rooms)
  there <- foreign_client(alice$user, alice$password)
  content <- paste(readLines(file), collapse = "\n")
  there$call("importKeyFile", file = content, passphrase = passphrase)
  back <- there$call("exportKeyFile", passphrase = passphrase)
  keys <- mxc_key_export_decrypt(back, passphrase)
  keys <- jsonlite::fromJSON(keys, simplifyVector = FALSE)
  flag <- "m.shared_history"
  shared <- vapply(keys, function(key) isTRUE(key[[flag]]), NA)
  expect_identical(
    shared[match(rooms, vapply(keys, `[[`, "", "room_id"))],
    c(TRUE, FALSE)
  )
})

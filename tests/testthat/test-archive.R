# Pages of two events.
small_pages <- function() {
  real <- get("history_page", asNamespace("mxcrypt"))
  function(client, room_id, limit, from, call) {
    real(client, room_id, 2, from, call)
  }
}

test_that("what was said before and after is archived once, in order", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, c("one", "two"))
  status <- mx_archive(pair$bob, pair$room)
  expect_equal(status$room_id, pair$room)
  expect_true(status$complete)
  expect_equal(status$retention, Inf)
  expect_equal(c(status$unread, status$reason), c("0", NA))
  # Nobody's events are taken away by it.
  expect_equal(new_bodies(pair$bob), c("one", "two"))
  mx_send_text(pair$alice, pair$room, "three")
  # A listener has it archived, too.
  mx_listen(pair$bob, function(event, client) NULL, seconds = 0)
  events <- messages(mx_archive_read(pair$bob))
  expect_equal(events$body, c("one", "two", "three"))
  expect_equal(as.character(events$trust), rep("signed", 3))
  mx_archive(pair$bob)
  expect_equal(messages(mx_archive_read(pair$bob))$body, events$body)
  # It is what mx_messages() returns.
  columns <- c("room_id", "event_id", "type", "body", "trust", "key_source")
  expect_equal(
    as.data.frame(mx_archive_read(pair$bob))[columns],
    as.data.frame(mx_messages(pair$bob, pair$room))[columns]
  )
})

test_that("a part of it is read by room, time and type", {
  pair <- demo_pair()
  other <- mx_room_create(pair$bob)
  mx_send_text(pair$bob, other, "other")
  mx_send_text(pair$alice, pair$room, "one")
  mx_archive(pair$bob, c(other, pair$room))
  rooms <- c(other, pair$room)
  read <- function(...) mx_archive_read(pair$bob, types = "m.room.message", ...)
  expect_setequal(read()$body, c("other", "one"))
  expect_equal(read(rooms = pair$room)$body, "one")
  expect_equal(read(rooms = c(pair$room, other))$body, c("one", "other"))
  now <- Sys.time()
  expect_equal(read(since = now + 60)$body, character())
  expect_s3_class(read(since = now + 60), "mx_events")
  expect_equal(read(until = now - 60)$body, character())
  expect_equal(
    read(rooms = rooms, since = Sys.Date() - 1, until = now + 60)$body,
    c("other", "one")
  )
})

test_that("an interrupted archive goes on where it ended", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  mx_send_text(alice, room, sprintf("%d", 1:5))
  local_replaced("history_page", small_pages())
  fake$forget()
  # The third page fails.
  fake$fault("GET", "/messages.*from=", status = 200, body = "{}", times = 1)
  expect_warning(
    status <- mx_archive(alice, room),
    class = "mx_warning_archive"
  )
  expect_false(status$complete)
  expect_match(status$reason, "page")
  before <- length(fake$seen("GET", "/messages"))
  expect_true(mx_archive(alice)$complete)
  # No page is read twice.
  paths <- vapply(fake$seen("GET", "/messages"), function(x) x$path, "")
  expect_equal(sum(duplicated(paths)), 1)
  expect_equal(messages(mx_archive_read(alice))$body, sprintf("%d", 1:5))
  expect_gt(length(paths), before)
})

test_that("one room that cannot be read does not stop the others", {
  pair <- demo_pair()
  other <- mx_room_create(pair$bob)
  mx_send_text(pair$bob, other, "other")
  expect_warning(
    status <- mx_archive(pair$bob, c("!gone:demo", other)),
    class = "mx_warning_archive"
  )
  expect_equal(status$complete, c(FALSE, TRUE))
  expect_match(status$reason[[1]], "M_|not")
  expect_equal(status$reason[[2]], NA_character_)
})

test_that("a server that leads in a circle is not followed for ever", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  page <- function(end) sprintf("{\"chunk\":[],\"end\":\"%s\"}", end)
  for (end in rep(c("a", "b"), 30)) {
    fake$fault("GET", "/messages", body = page(end))
  }
  expect_warning(
    status <- mx_archive(alice, room),
    class = "mx_warning_archive"
  )
  expect_match(status$reason, "same pages")
  expect_lt(length(fake$seen("GET", "/messages")), 10)
})

test_that("an event is read when its key comes", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  room <- mx_room_create(alice)
  mx_send_text(alice, room, "before")
  keys <- mx_keys_export(alice, withr::local_tempfile(), "word")
  late <- mx_demo_client(homeserver, "alice", verified = FALSE)
  expect_equal(mx_archive(late, room)$unread, 1)
  events <- messages(mx_archive_read(late))
  expect_false(events$decrypted)
  expect_equal(nrow(mx_search(late, "before")), 0)
  mx_keys_import(late, keys, "word")
  expect_equal(mx_archive(late)$unread, 0)
  expect_equal(messages(mx_archive_read(late, unsigned = TRUE))$body, "before")
})

test_that("keys are looked for in the backup", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  setup <- mx_crypto_setup(alice)
  recovery_key <- format(setup$recovery_key, reveal = TRUE)
  room <- mx_room_create(alice)
  mx_send_text(alice, room, c("one", "two"))
  mx_sync(alice)
  late <- mx_demo_client(homeserver, "alice", verified = FALSE)
  mx_crypto_setup(late, recovery_key = recovery_key)
  expect_equal(mx_archive(late, room)$unread, 0)
  expect_equal(
    messages(mx_archive_read(late, unsigned = TRUE))$body,
    c("one", "two")
  )
})

test_that("what is redacted and what is forgotten is gone", {
  pair <- demo_pair()
  ids <- mx_send_text(pair$alice, pair$room, c("secret", "plain"))
  mx_archive(pair$bob, pair$room)
  mx_redact(pair$alice, pair$room, ids[[1]])
  mx_sync(pair$bob)
  events <- messages(mx_archive_read(pair$bob))
  expect_equal(events$body, c(NA, "plain"))
  expect_equal(events$redacted, c(TRUE, FALSE))
  expect_equal(mx_archive_forget(pair$bob, before = "2020-01-01"), 0)
  expect_gt(mx_archive_forget(pair$bob, before = Sys.time() + 60), 2)
  expect_equal(nrow(mx_archive_read(pair$bob)), 0)
  mx_archive_forget(pair$bob, pair$room)
  expect_error(mx_archive_read(pair$bob), class = "mx_error_archive")
  mx_send_text(pair$alice, pair$room, "later")
  mx_sync(pair$bob)
  expect_error(mx_archive_read(pair$bob, pair$room), class = "mx_error_archive")
})

test_that("retention is kept to, and changed when it is given", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "one")
  expect_equal(mx_archive(pair$bob, pair$room, retention = 30)$retention, 30)
  expect_equal(mx_archive(pair$bob)$retention, 30)
  expect_equal(messages(mx_archive_read(pair$bob))$body, "one")
  mx_archive(pair$bob, retention = 0)
  expect_equal(nrow(mx_archive_read(pair$bob)), 0)
  expect_equal(mx_archive(pair$bob, retention = Inf)$retention, Inf)
})

test_that("an archive needs to be asked for", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "one")
  mx_sync(pair$bob)
  for (fun in list(mx_archive, mx_archive_read, mx_archive_forget)) {
    expect_error(fun(pair$bob), class = "mx_error_archive")
    if (!identical(fun, mx_archive)) {
      expect_error(fun(pair$bob, pair$room), class = "mx_error_archive")
    }
  }
  expect_error(mx_archive(pair$bob, "no such room"), class = "mx_error_room")
  expect_error(
    mx_archive(pair$bob, pair$room, retention = -1),
    class = "mx_error_argument"
  )
})

test_that("nothing readable of the archive is on the disk", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  mx_send_text(alice, room, "xylophone")
  mx_archive(alice, room)
  expect_equal(nrow(mx_search(alice, "xylophone")), 1)
  files <- list.files(alice[["store_dir"]], full.names = TRUE)
  expect_gt(length(files), 0)
  for (file in files) {
    bytes <- readBin(file, "raw", file.size(file))
    expect_length(grepRaw("xylophone", bytes, fixed = TRUE), 0)
  }
})

test_that("what the server returned that is no event is told", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  fake$fault("GET", "/messages", body = "{\"chunk\":[7,{\"content\":7}]}")
  expect_warning(
    status <- mx_archive(alice, room),
    class = "mx_warning_archive"
  )
  expect_match(status$reason, "2 events")
  expect_true(status$complete)
})

test_that("rooms are named, by names that they had, too", {
  pair <- demo_pair(name = "Ops")
  mx_send_text(pair$alice, pair$room, "one")
  mx_archive(pair$bob, "Ops")
  mx_room_leave(pair$bob, pair$room)
  expect_equal(messages(mx_archive_read(pair$bob, "Ops"))$body, "one")
  for (fun in list(mx_archive, mx_archive_read, mx_archive_forget)) {
    expect_error(fun(pair$bob, character()), class = "mx_error_argument")
  }
})

test_that("a room that is named like another is not taken for it", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  wanted <- mx_room_create(alice)
  other <- mx_room_create(alice, name = wanted)
  mx_send_text(alice, wanted, "wanted")
  mx_send_text(alice, other, "other")
  mx_archive(alice, c(wanted, other))
  expect_equal(messages(mx_archive_read(alice, wanted))$body, "wanted")
  mx_archive_forget(alice, other)
  expect_equal(messages(mx_archive_read(alice))$body, "wanted")
  expect_error(
    mx_archive(alice, list(1)),
    "`rooms`",
    class = "mx_error_argument"
  )
})

test_that("what is forgotten is not in the files of the store either", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  id <- mx_send_text(alice, room, "one")
  mx_archive(alice, room)
  mx_archive_forget(alice, room)
  wal <- file.path(alice[["store_dir"]], "crypto.sqlite-wal")
  expect_true(!file.exists(wal) || file.size(wal) == 0)
})

searched_pair <- function(texts) {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, texts)
  mx_archive(pair$bob, pair$room)
  pair
}

found <- function(...) mx_search(...)$body

test_that("messages are found by a pattern, or by text as it stands", {
  texts <- c("Load started", "ERROR: disk (100%) full", "Load \u00c4 ended")
  pair <- searched_pair(texts)
  expect_equal(found(pair$bob, "error"), texts[[2]])
  expect_equal(found(pair$bob, "error", ignore_case = FALSE), character())
  expect_equal(found(pair$bob, "^load .* ended$"), texts[[3]])
  expect_equal(found(pair$bob, "\u00e4"), texts[[3]])
  expect_equal(found(pair$bob, "(100%)", fixed = TRUE), texts[[2]])
  expect_equal(found(pair$bob, "LOAD", fixed = TRUE), texts[c(1, 3)])
  expect_equal(
    found(pair$bob, "LOAD", fixed = TRUE, ignore_case = FALSE),
    character()
  )
  expect_equal(found(pair$bob, ".", fixed = TRUE), character())
  expect_equal(found(pair$bob, "\\E", fixed = TRUE), character())
  expect_error(mx_search(pair$bob, "("), class = "mx_error_argument")
  expect_equal(found(pair$bob, "load", senders = pair$bob$user_id), character())
  expect_equal(
    found(pair$bob, "load", senders = pair$alice$user_id),
    texts[c(1, 3)]
  )
  expect_equal(found(pair$bob, "load", since = Sys.time() + 60), character())
})

test_that("a hit comes with what stands around it, also between parts", {
  pair <- searched_pair(sprintf("message %02d", 1:30))
  local_replaced("search_part_size", 4)
  hits <- mx_search(pair$bob, "(05|20)$", context = 3)
  expect_equal(hits$body, sprintf("message %02d", c(2:8, 17:23)))
  expect_equal(hits$body[hits$hit], c("message 05", "message 20"))
  edges <- mx_search(pair$bob, "(01|30)$", context = 2)
  expect_equal(edges$body, sprintf("message %02d", c(1:3, 28:30)))
  expect_equal(attr(hits, "searched"), 30)
})

test_that("the newest hits are shown, and how many there are", {
  pair <- searched_pair(sprintf("message %02d", 1:30))
  hits <- mx_search(pair$bob, "message", limit = 5)
  expect_equal(hits$body, sprintf("message %02d", 26:30))
  expect_equal(attr(hits, "found"), 30)
  expect_match(format(hits)[[1]], "30 hits in 30 messages, the newest 5")
})

test_that("edits are found by their newest text, and nothing that was redacted", {
  pair <- searched_pair("wrong")
  id <- messages(mx_archive_read(pair$bob))$event_id
  mx_edit(pair$alice, pair$room, id, "right")
  mx_sync(pair$bob)
  expect_equal(found(pair$bob, "right"), "right")
  expect_equal(found(pair$bob, "wrong"), character())
  mx_redact(pair$alice, pair$room, id)
  mx_sync(pair$bob)
  expect_equal(found(pair$bob, "right|wrong"), character())
})

test_that("an unsigned device neither hides nor crowds out what others say", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  bob <- mx_demo_client(homeserver, "bob")
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  id <- mx_send_text(alice, room, "needle original")
  # The server adds a device to Alice.
  stranger <- mx_demo_client(homeserver, "alice", verified = FALSE)
  mx_isolation_mode(stranger, "all")
  mx_edit(stranger, room, id, "nothing here")
  mx_send_text(stranger, room, c("needle 1", "needle 2"))
  mx_archive(bob, room)
  hits <- mx_search(bob, "needle", limit = 1)
  expect_equal(hits$body, "needle original")
  expect_equal(attr(hits, "found"), 1)
  expect_equal(found(bob, "nothing"), character())
  expect_length(found(bob, "needle", unsigned = TRUE), 2)
})

test_that("a pattern that cannot be decided is an error, and no miss", {
  pair <- searched_pair(paste0(strrep("a", 2000), "!"))
  expect_error(
    mx_search(pair$bob, "^(a+)+$"),
    class = "mx_error_argument"
  )
})

test_that("what is held back is not found", {
  pair <- demo_pair(verified = FALSE)
  mx_isolation_mode(pair$alice, "all")
  mx_send_text(pair$alice, pair$room, "who?")
  mx_archive(pair$bob, pair$room)
  mx_isolation_mode(pair$bob, "signed")
  expect_equal(found(pair$bob, "who"), character())
  expect_equal(found(pair$bob, "who", unsigned = TRUE), "who?")
})

test_that("a search prints its hits with a mark", {
  pair <- searched_pair(c(
    "before",
    paste(strrep("x ", 50), "needle", strrep("y ", 50))
  ))
  hits <- mx_search(pair$bob, "NEEDLE", context = 1)
  lines <- format(hits)
  expect_length(lines, 3)
  expect_match(lines[[3]], "^> .*[.][.][.].*x *needle *y")
  expect_match(lines[[2]], "^  .*before$")
  expect_lt(max(nchar(lines)), 130)
  expect_output(print(hits), "needle")
  # Control characters of others do not reach the terminal.
  mx_send_text(pair$alice, pair$room, "\u001b[2Jneedle")
  mx_sync(pair$bob)
  expect_no_match(format(mx_search(pair$bob, "needle")), "\u001b", fixed = TRUE)
  # Rows of it are events like others.
  expect_s3_class(hits[1, ], "mx_events")
  expect_output(print(hits[hits$hit, ]))
  expect_output(print(mx_search(pair$bob, "nothing")), "0 hits")
})

v12 <- "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"

test_that("links of both kinds are read as the specification's examples are", {
  leads_to <- function(
    link,
    room = NULL,
    event = NULL,
    via = NULL,
    user = NULL
  ) {
    found <- read_link(link)
    expect_equal(found[["room"]], room, info = link)
    expect_equal(found[["user"]], user, info = link)
    expect_equal(found[["event"]], event, info = link)
    expect_equal(found[["via"]], as.character(via), info = link)
  }
  web <- function(x) paste0("https://matrix.to/#/", x)
  room <- "!somewhere:example.org"
  leads_to(web("%23somewhere:example.org"), "#somewhere:example.org")
  leads_to(web("%23somewhere%3Aexample.org"), "#somewhere:example.org")
  # As old clients wrote it.
  leads_to(web("#somewhere:example.org"), "#somewhere:example.org")
  leads_to(
    web("!somewhere:example.org?via=elsewhere.ca"),
    room,
    via = "elsewhere.ca"
  )
  leads_to(
    web(
      "%21somewhere%3Aexample.org/%24event%3Aexample.org?via=a.b&x=1&via=c:8448"
    ),
    room,
    "$event:example.org",
    c("a.b", "c:8448")
  )
  # Event ids of room version 3 hold slashes.
  leads_to(web("!a:b/$x/y+z"), "!a:b", "$x/y+z")
  leads_to(web("!a:b/%24x%2Fy%2Bz"), "!a:b", "$x/y+z")
  leads_to(
    web("!a:b/?via=[::1]:8448&via=d"),
    "!a:b",
    via = c("[::1]:8448", "d")
  )
  leads_to(web(paste0(v12, "/$e?via=d")), v12, "$e", "d")
  leads_to(web("@alice:example.org"), user = "@alice:example.org")
  leads_to("HTTPS://Matrix.to/#/!a:b", "!a:b")

  leads_to("matrix:r/somewhere:example.org", "#somewhere:example.org")
  leads_to(
    "matrix:roomid/somewhere:example.org?via=elsewhere.ca&via=d&action=join",
    room,
    via = c("elsewhere.ca", "d")
  )
  leads_to(
    "matrix:roomid/somewhere:example.org/e/event?via=elsewhere.ca",
    room,
    "$event",
    "elsewhere.ca"
  )
  leads_to("matrix://some.where/roomid/a:b/e/x%2Fy#part", "!a:b", "$x/y")
  leads_to(paste0("matrix:roomid/", substring(v12, 2), "/e/x"), v12, "$x")
  leads_to(
    "MATRIX:u/alice:example.org?action=chat",
    user = "@alice:example.org"
  )
  leads_to("matrix:r/%E6%97%A5:b", "#\u65e5:b")
})

test_that("a link that leads nowhere is an error of its own, and no name", {
  bad <- c(
    "https://matrix.to",
    "https://matrix.to/",
    "https://matrix.to/!a:b",
    "https://matrix.to/#/",
    "https://matrix.to/#/a:b",
    "https://matrix.to/#/%2Bgroup:b",
    "https://matrix.to/#/!",
    "https://matrix.to/#/#nowhere",
    "https://matrix.to/#/!a%ZZ:b",
    "https://matrix.to/#/!a%:b",
    "https://matrix.to/#/!a%00:b",
    "https://matrix.to/#/!a%0A:b",
    "https://matrix.to/#/!a%FF:b",
    "https://matrix.to/#/!a:b/event",
    "https://matrix.to/#/@a:b/$event",
    "https://matrix.to/#/!a:b?via=",
    "https://matrix.to/#/!a:b?via=a%20b",
    "https://matrix.to/#/!a:b?via=a/b",
    paste0("https://matrix.to/#/!", strrep("a", 300), ":b"),
    # R reads no more than a million characters of some text.
    paste0("https://matrix.to/#/!", strrep("%41", 4e5), ":b"),
    paste0("https://matrix.to/#/!a:b?via=", strrep("a&via=", 4e5), "b"),
    "matrix:",
    "matrix:r",
    "matrix:r/",
    "matrix:x/a:b",
    "matrix:roomid/!a:b",
    "matrix:roomid/%21a:b",
    "matrix:roomid/a:b/e",
    "matrix:roomid/a:b/e/$x",
    "matrix:roomid/a:b/f/x",
    "matrix:u/alice",
    "matrix:u/alice:b/e/x"
  )
  alice <- mx_demo_client(mx_demo_homeserver(), "alice")
  for (link in bad) {
    condition <- expect_error(
      mx_send_text(alice, link, "x"),
      class = "mx_error_link",
      info = link
    )
    expect_s3_class(condition, "mx_error_argument")
  }
  # What only looks like one.
  for (name in c(
    "matrix: the film",
    "https://matrix.tools/#/!a:b",
    "matrix.to"
  )) {
    expect_null(read_link(name))
  }
})

test_that("a link is taken wherever a room is", {
  pair <- demo_pair(name = "Pipeline", alias = "pipeline")
  alice <- pair$alice
  for (link in c(
    paste0("https://matrix.to/#/", pair$room, "?via=demo"),
    paste0("https://matrix.to/#/", pair$room, "/$some-event"),
    "matrix:r/pipeline:demo",
    "https://matrix.to/#/%23pipeline:demo"
  )) {
    expect_equal(resolve_room(alice, link), pair$room)
    mx_send_text(alice, link, "to a link")
    expect_equal(mx_room_members(alice, link)$user_id[[1]], alice$user_id)
  }
  expect_equal(new_bodies(pair$bob), rep("to a link", 4))
  condition <- expect_error(
    mx_send_text(alice, "matrix:u/bob:demo", "x"),
    class = "mx_error_link"
  )
  expect_match(conditionMessage(condition), "mx_room_direct", fixed = TRUE)
})

test_that("a link is taken wherever an event is, if it leads into the room", {
  pair <- demo_pair()
  alice <- pair$alice
  room <- pair$room
  id <- mx_send_text(alice, room, "first")
  link <- paste0("https://matrix.to/#/", room, "/", id, "?via=demo")
  mx_edit(alice, room, link, "second")
  mx_react(alice, link, link, "+1")
  mx_react(alice, room, link, "+2", encrypt = TRUE)
  mx_send_text(alice, room, "reply", reply_to = link)
  mx_send_text(alice, room, "thread", thread = link)
  mx_send_table(alice, room, head(cars), reply_to = link)
  file <- withr::local_tempfile(lines = "x", fileext = ".txt")
  mx_send_file(alice, room, file, thread = link)
  mx_post(alice, room, "posted", thread = link)
  events <- mx_sync(pair$bob)
  related <- Filter(Negate(is.null), events$relates_to)
  targets <- vapply(
    related,
    function(x) {
      x[["event_id"]] %||% x[["m.in_reply_to"]][["event_id"]]
    },
    ""
  )
  expect_equal(unique(targets), id)
  expect_length(targets, 8)
  mx_redact(alice, room, link)

  other <- mx_room_create(alice)
  elsewhere <- paste0("https://matrix.to/#/", other, "/", id)
  for (wrong in c(elsewhere, paste0("https://matrix.to/#/", room))) {
    expect_error(mx_react(alice, room, wrong, "x"), class = "mx_error_link")
    expect_error(mx_redact(alice, room, wrong), class = "mx_error_link")
    expect_error(mx_edit(alice, room, wrong, "x"), class = "mx_error_link")
    expect_error(
      mx_send_text(alice, room, "x", reply_to = wrong),
      class = "mx_error_link"
    )
    expect_error(
      mx_send_file(alice, room, file, thread = wrong),
      class = "mx_error_link"
    )
  }
})

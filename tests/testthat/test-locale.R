# What is said survives a locale that cannot say it.

test_that("text goes out and comes in as UTF-8 in the C locale", {
  found <- in_other_r(
    function() {
      library(mxcrypt)
      homeserver <- mx_demo_homeserver()
      alice <- mx_demo_client(homeserver, "alice")
      bob <- mx_demo_client(homeserver, "bob")
      name <- "D\u00e9j\u00e0 \u65e5\u672c"
      room <- mx_room_create(alice, name = name, invite = bob$user_id)
      mx_room_join(bob, room)
      texts <- c("d\u00e9j\u00e0", "\U0001f600 e\u0301", "\u65e5\u672c\u8a9e")
      mx_send_text(alice, name, texts, markdown = TRUE)
      # As names in the source they would be symbols, which have a locale.
      named <- function(x) setNames(x, "\u00e9")
      mx_send_table(alice, room, named(data.frame("\u00fc")))
      mx_send(alice, room, named(list("\u00fc")), type = "org.x")
      mx_react(alice, room, "$x", "\U0001f44d")
      events <- mx_sync(bob)
      list(
        locale = l10n_info()[["UTF-8"]],
        bodies = lapply(
          events$body[events$type == "m.room.message"],
          charToRaw
        ),
        content = events$content[events$type == "org.x"][[1]],
        reaction = charToRaw(
          events$relates_to[events$type == "m.reaction"][[1]]$key
        ),
        name = charToRaw(mx_rooms(bob)$name),
        records = lapply(
          mx_extract_text_events(mx_sync_update(bob)$sync, bob$user_id),
          function(x) x$body
        ),
        config = readLines(bob$path, encoding = "UTF-8")
      )
    },
    env = c(LC_ALL = "C")
  )
  expect_false(found$locale)
  texts <- c("d\u00e9j\u00e0", "\U0001f600 e\u0301", "\u65e5\u672c\u8a9e")
  expect_identical(found$bodies[1:3], lapply(texts, charToRaw))
  expect_identical(found$bodies[[4]], charToRaw("\u00e9\n\u00fc"))
  expect_identical(charToRaw(found$content[[1]]), charToRaw("\u00fc"))
  expect_identical(charToRaw(names(found$content)), charToRaw("\u00e9"))
  expect_identical(found$reaction, charToRaw("\U0001f44d"))
  expect_identical(found$name, charToRaw("D\u00e9j\u00e0 \u65e5\u672c"))
})

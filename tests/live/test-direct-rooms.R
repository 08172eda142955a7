# Direct rooms, profiles and read markers, as Synapse keeps them.

inner <- asNamespace("mxcrypt")

test_that("two people have one direct room, whoever asks for it", {
  alice <- live_client()
  bob <- live_client()
  room <- mx_room_direct(alice, bob$user_id)
  expect_equal(mx_room_direct(alice, bob$user_id), room)
  expect_equal(mx_room_direct(bob, alice$user_id), room)
  expect_equal(mx_room_direct(alice, bob$user_id), room)
  mx_send_text(bob, room, "between us")
  expect_equal(wait_for_bodies(alice, "between us"), "between us")
  mx_room_leave(bob, room)
  mx_sync(alice)
  another <- mx_room_direct(alice, bob$user_id)
  expect_false(another == room)
  expect_equal(mx_room_direct(bob, alice$user_id), another)
})

test_that("a direct room is kept beside what a foreign client has, and found by it", {
  alice <- live_client()
  them <- live_stranger()
  room <- mx_room_direct(alice, them$user_id)
  them$call("join", roomId = room)
  mx_sync(alice)
  path <- inner$account_data_path(alice, "m.direct")
  content <- inner$http_json(alice, "GET", path)
  content[["@other:server"]] <- list("!a:b", 5)
  inner$http_json(alice, "PUT", path, content)
  expect_equal(mx_room_direct(alice, them$user_id), room)
  carol <- live_client()
  mx_room_direct(alice, carol$user_id)
  after <- inner$http_json(alice, "GET", path)
  expect_equal(after[["@other:server"]], list("!a:b", 5))
  expect_equal(after[[them$user_id]], list(room))
})

test_that("a profile is set, shown to others, and removed", {
  alice <- live_client()
  bob <- live_client()
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  picture <- withr::local_tempfile(fileext = ".png")
  grDevices::png(picture, 400, 400)
  graphics::plot.new()
  grDevices::dev.off()
  set <- mx_profile_set(alice, name = "Nightly", avatar = picture)
  expect_equal(mx_profile(bob, alice$user_id), set)
  expect_equal(set$display_name, "Nightly")
  expect_match(set$avatar_url, "^mxc://")
  end <- Sys.time() + 30
  while (!"Nightly" %in% mx_room_members(bob, room)$display_name) {
    stopifnot(Sys.time() < end)
    Sys.sleep(0.1)
  }
  none <- mx_profile_set(alice, name = NA, avatar = NA)
  expect_equal(none$avatar_url, NA_character_)
  expect_equal(none$display_name, NA_character_)
})

test_that("others see a read receipt that is not private, and who is typing", {
  alice <- live_client()
  bob <- live_client()
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  ids <- mx_send_text(alice, room, c("one", "two"))
  mx_sync(alice)
  # What is new for alice in the room beside its events. (Synapse caches a sync from the
  # beginning.)
  since <- NULL
  news <- function() {
    query <- list(since = since, timeout = 1000)
    sync <- inner$http_json(alice, "GET", inner$api_path("sync", query = query))
    since <<- sync[["next_batch"]]
    events <- sync[["rooms"]][["join"]][[room]][["ephemeral"]][["events"]]
    types <- vapply(events, function(event) event[["type"]], "")
    contents <- lapply(events, function(event) event[["content"]])
    stats::setNames(contents, types)
  }
  waited_for <- function(type) {
    end <- Sys.time() + 30
    repeat {
      found <- news()[[type]]
      if (!is.null(found)) {
        return(found)
      }
      stopifnot(Sys.time() < end)
    }
  }
  news()
  expect_equal(mx_mark_read(bob, room, ids[[1]]), ids[[1]])
  receipt <- waited_for("m.receipt")
  expect_named(receipt, ids[[1]])
  expect_named(receipt[[1]][["m.read"]], bob$user_id)
  expect_equal(mx_mark_read(bob, room, private = TRUE), ids[[2]])
  path <- inner$api_path(
    "user",
    bob$user_id,
    "rooms",
    room,
    "account_data",
    "m.fully_read"
  )
  expect_equal(inner$http_json(bob, "GET", path)[["event_id"]], ids[[2]])
  mx_typing(bob, room)
  found <- news()
  while (!"m.typing" %in% names(found)) {
    expect_null(found[["m.receipt"]])
    found <- news()
  }
  expect_null(found[["m.receipt"]])
  expect_equal(found[["m.typing"]][["user_ids"]], list(bob$user_id))
  mx_typing(bob, room, seconds = 0)
  expect_length(waited_for("m.typing")[["user_ids"]], 0)
})

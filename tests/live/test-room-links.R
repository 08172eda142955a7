# Ways into rooms, as Synapse has them: links with the servers to ask, knocks, and rooms
# that let in the members of another.

inner <- asNamespace("mxcrypt")

name_of <- function(server) sub("^https?://", "", server[["url"]])

wait_for_past <- function(client, room, event_id, seconds = 30) {
  end <- Sys.time() + seconds
  while (!event_id %in% mx_messages(client, room)$event_id) {
    if (Sys.time() > end) {
      stop("the server does not know ", event_id)
    }
    Sys.sleep(0.2)
  }
}

test_that("a link to a room of another server leads there by its via", {
  servers <- live_federation()
  alice <- live_client(server = servers$one)
  bob <- live_client(server = servers$two)
  room <- mx_room_create(alice, public = TRUE)
  id <- mx_send_text(alice, room, "here")
  server <- sub("^@[^:]*:", "", alice$user_id)
  withr::local_options(mxcrypt.max_tries = 2)
  expect_error(
    mx_room_join(bob, paste0("https://matrix.to/#/", room)),
    class = "mx_error_http"
  )
  link <- paste0("https://matrix.to/#/", room, "/", id, "?via=", server)
  expect_equal(mx_room_join(bob, link, reason = "by a link"), room)
  # The event is older than the join: a server knows it once it has fetched the past.
  wait_for_past(bob, room, id)
  mx_react(bob, link, link, "+1")
  mx_send_text(bob, link, "found it", reply_to = link)
  expect_equal(wait_for_bodies(alice, "found it"), "found it")
  events <- mx_messages(alice, room)
  joined <- events[
    events$type == "m.room.member" & events$sender == bob$user_id,
  ]
  expect_equal(joined$content[[1]][["reason"]], "by a link")
  # The other form of a link, and `via` by itself.
  other <- mx_room_create(alice, public = TRUE)
  uri <- paste0("matrix:roomid/", substring(other, 2), "?via=", server)
  expect_equal(mx_room_join(bob, uri), other)
  third <- mx_room_create(alice, public = TRUE)
  expect_equal(mx_room_join(bob, third, via = server), third)
})

test_that("who knocks is invited, and comes in", {
  alice <- live_client()
  bob <- live_client()
  withr::local_options(mxcrypt.max_tries = 1)
  room <- mx_room_create(alice)
  expect_error(mx_room_knock(bob, room), class = "mx_error_M_FORBIDDEN")
  mx_room_set_state(alice, room, "m.room.join_rules", list(join_rule = "knock"))
  condition <- expect_error(
    mx_room_join(bob, room),
    class = "mx_error_M_FORBIDDEN"
  )
  expect_match(conditionMessage(condition), "mx_room_knock", fixed = TRUE)
  expect_equal(mx_room_knock(bob, room, reason = "let me in"), room)
  events <- mx_sync(alice)
  knock <- events[events$sender == bob$user_id & events$room_id == room, ]
  expect_equal(knock$content[[1]][["membership"]], "knock")
  expect_equal(knock$content[[1]][["reason"]], "let me in")
  mx_sync(bob)
  mx_room_invite(alice, room, bob$user_id)
  expect_equal(mx_room_join(bob, room), room)
  mx_send_text(alice, room, "welcome")
  expect_equal(wait_for_bodies(bob, "welcome"), "welcome")
})

test_that("a restricted room lets in the members of another, and says so", {
  alice <- live_client()
  bob <- live_client()
  withr::local_options(mxcrypt.max_tries = 1)
  hall <- mx_room_create(alice, public = TRUE)
  room <- mx_room_create(alice)
  rules <- list(
    join_rule = "restricted",
    allow = list(list(type = "m.room_membership", room_id = hall))
  )
  mx_room_set_state(alice, room, "m.room.join_rules", rules)
  condition <- expect_error(
    mx_room_join(bob, room),
    class = "mx_error_M_FORBIDDEN"
  )
  expect_match(conditionMessage(condition), "room", fixed = TRUE)
  mx_room_join(bob, hall)
  expect_equal(mx_room_join(bob, room), room)
})

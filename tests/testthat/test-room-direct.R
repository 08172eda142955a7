people <- function() {
  homeserver <- mx_demo_homeserver()
  list(
    homeserver = homeserver,
    alice = mx_demo_client(homeserver, "alice"),
    bob = mx_demo_client(homeserver, "bob"),
    carol = mx_demo_client(homeserver, "carol")
  )
}

test_that("there is one direct room with a user, however often it is asked for", {
  all <- people()
  room <- mx_room_direct(all$alice, "@bob:demo")
  expect_equal(mx_room_direct(all$alice, "@bob:demo"), room)
  # Bob accepts what he is invited to, in place of a second room.
  expect_equal(mx_room_direct(all$bob, "@alice:demo"), room)
  expect_equal(mx_room_direct(all$alice, "@bob:demo"), room)
  expect_equal(direct_rooms(all$bob)$room_id, room)
  rooms <- mx_rooms(all$alice)
  expect_equal(nrow(rooms), 1)
  expect_true(rooms$encrypted && rooms$direct)
  levels <- room_state(all$alice, room, "m.room.power_levels")[["users"]]
  expect_equal(levels[["@bob:demo"]], levels[["@alice:demo"]])
  expect_false(mx_room_direct(all$alice, "@carol:demo") == room)
  mx_send_text(all$bob, room, "for alice")
  expect_true("for alice" %in% new_bodies(all$alice))
})

test_that("a room that is none of the two alone, encrypted, is not used", {
  all <- people()
  direct <- function() mx_room_direct(all$alice, "@bob:demo")
  create <- function(...) {
    mx_room_create(all$alice, invite = "@bob:demo", direct = TRUE, ...)
  }
  plain <- create(encrypted = FALSE)
  crowded <- create()
  mx_room_invite(all$alice, crowded, "@carol:demo")
  left <- create()
  mx_room_join(all$bob, left)
  mx_room_leave(all$bob, left)
  upgraded <- create()
  content <- list(body = "", replacement_room = "!other:demo")
  mx_room_set_state(all$alice, upgraded, "m.room.tombstone", content)
  gone <- create()
  mx_room_leave(all$alice, gone)
  # Not listed as a direct one.
  other <- mx_room_create(all$alice, invite = "@bob:demo")
  room <- direct()
  expect_false(room %in% c(plain, crowded, left, upgraded, gone, other))
  expect_equal(direct(), room)
  # A joined user comes before one that is only invited.
  joined <- create()
  mx_room_join(all$bob, joined)
  expect_equal(direct(), joined)
})

test_that("an invitation is accepted only if the room is as it should be", {
  all <- people()
  invite <- function(from, ...) {
    mx_room_create(from, invite = "@alice:demo", direct = TRUE, ...)
  }
  plain <- invite(all$bob, encrypted = FALSE)
  others <- invite(all$carol)
  crowded <- invite(all$bob)
  mx_room_invite(all$bob, crowded, "@carol:demo")
  asked <- requests_during(room <- mx_room_direct(all$alice, "@bob:demo"))
  expect_false(room %in% c(plain, others, crowded))
  # What the invitation itself tells is no reason to go in and out.
  was_joined <- function(room) {
    any(grepl(api_path("join", room), asked, fixed = TRUE))
  }
  expect_false(was_joined(plain) || was_joined(others))
  expect_true(was_joined(crowded))
  joined <- http_json(all$alice, "GET", api_path("joined_rooms"))
  expect_equal(unlist(joined[["joined_rooms"]]), room)
})

test_that("where the server does not say what there is, no room is made", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake, "bob")
  room <- mx_room_direct(alice, bob$user_id)
  faults <- list(
    list("GET", "/m.direct", 502, ""),
    list("GET", "/m.direct", 200, "[]"),
    list("GET", "/joined_rooms", 500, "{}"),
    list("GET", "/joined_rooms", 200, "{}"),
    list("GET", "/joined_rooms", 200, '{"joined_rooms":"!a:b"}'),
    list("GET", "/members", 200, "{}"),
    list("GET", "/members", 200, '{"chunk":[{"state_key":5}]}'),
    list("GET", "/members", 403, '{"errcode":"M_FORBIDDEN","error":"no"}')
  )
  for (fault in faults) {
    fake$forget()
    do.call(fake$fault, fault)
    expect_error(mx_room_direct(alice, bob$user_id), class = "mx_error")
    expect_length(fake$seen("POST", "/createRoom"), 0)
  }
  expect_equal(mx_room_direct(alice, bob$user_id), room)
  expect_error(
    mx_room_direct(alice, alice$user_id),
    class = "mx_error_argument"
  )
})

test_that("processes that ask at once get one room", {
  skip_if_not_installed("callr")
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake, "bob")
  ask <- function(path, user_id) {
    mxcrypt::mx_room_direct(mxcrypt::mx_client_load(path = path), user_id)
  }
  arguments <- list(alice$path, bob$user_id)
  processes <- lapply(1:3, function(i) callr::r_bg(ask, arguments))
  rooms <- vapply(
    processes,
    function(process) {
      process$wait()
      process$get_result()
    },
    ""
  )
  expect_length(unique(rooms), 1)
  expect_equal(mx_room_direct(alice, bob$user_id), rooms[[1]])
})

test_that("a process that waits for another one does not wait for ever", {
  alice <- mx_demo_client(mx_demo_homeserver(), "alice")
  asked <- 0
  local_replaced("listener_begin", function(place, name) {
    asked <<- asked + 1
    asked > 2
  })
  # Waits while another one has it.
  end_lock(lock_direct_rooms(alice))
  expect_equal(asked, 3)
  asked <- 0
  expect_error(
    lock_direct_rooms(alice, seconds = 0),
    class = "mx_error_store_locked"
  )
})

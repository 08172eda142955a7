# Rooms that Synapse upgrades, from and to the versions that it knows.

inner <- asNamespace("mxcrypt")

room_of_version <- function(client, version, invite = character(), ...) {
  body <- list(
    room_version = version,
    preset = "private_chat",
    invite = I(invite),
    initial_state = list(list(
      type = "m.room.encryption",
      state_key = "",
      content = list(algorithm = "m.megolm.v1.aes-sha2")
    )),
    ...
  )
  made <- inner$http_json(client, "POST", inner$api_path("createRoom"), body)
  made[["room_id"]]
}

upgrade <- function(client, room, version, ...) {
  path <- inner$api_path("rooms", room, "upgrade")
  body <- list(new_version = version, ...)
  inner$http_json(client, "POST", path, body)[["replacement_room"]]
}

version_of <- function(client, room) {
  inner$room_state(client, room, "m.room.create")[["room_version"]]
}

test_that("rooms are followed from each version to the next", {
  alice <- live_client()
  bob <- live_client()
  for (versions in list(
    c("9", "10"),
    c("10", "11"),
    c("11", "12"),
    c("12", "12")
  )) {
    old <- room_of_version(alice, versions[[1]], bob$user_id)
    mx_room_join(bob, old)
    expect_equal(version_of(bob, old), versions[[1]])
    mx_send_text(alice, old, "before")
    new <- upgrade(alice, old, versions[[2]])
    if (versions[[2]] == "12") {
      # The id of a room of version 12 names no server.
      expect_match(new, "^![A-Za-z0-9_-]{43}$")
    }
    events <- mx_sync(bob)
    event <- events[events$type == "m.room.tombstone" & events$room_id == old, ]
    expect_equal(event$content[[1]][["replacement_room"]], new)
    condition <- expect_warning(
      try(mx_send_text(bob, old, "too late"), silent = TRUE),
      class = "mx_warning_room_upgraded"
    )
    expect_equal(condition[["successor"]], new)
    # Synapse makes a new room invite-only where the old one was, and does not invite.
    mx_room_invite(alice, new, bob$user_id)
    expect_equal(mx_room_follow(bob, old), new)
    expect_equal(version_of(bob, new), versions[[2]])
    mx_send_text(bob, new, paste("now in", versions[[2]]))
    said <- mx_sync(alice)
    expect_true(
      paste("now in", versions[[2]]) %in% said$body[said$room_id == new]
    )
    rooms <- mx_rooms(bob)
    expect_equal(rooms$successor[rooms$room_id == old], new)
    expect_true(rooms$encrypted[rooms$room_id == new])
    # All that is done in a room works with such an id, and in a link.
    id <- mx_send_text(bob, new, "linked")
    link <- paste0("https://matrix.to/#/", new, "/", id, "?via=localhost")
    mx_react(alice, link, link, "+1")
    mx_edit(bob, link, link, "edited")
    expect_equal(utils::tail(mx_messages(alice, link)$body, 1), "* edited")
  }
})

test_that("in version 12 creators may upgrade, and others with power alone", {
  alice <- live_client()
  bob <- live_client()
  carol <- live_client()
  old <- room_of_version(
    alice,
    "12",
    c(bob$user_id, carol$user_id),
    creation_content = list(additional_creators = I(bob$user_id))
  )
  mx_room_join(bob, old)
  mx_room_join(carol, old)
  # A creator stands in no power level.
  levels <- inner$room_state(alice, old, "m.room.power_levels")
  expect_null(levels[["users"]][[bob$user_id]])
  new <- upgrade(bob, old, "12")
  mx_room_invite(bob, new, carol$user_id)
  expect_equal(mx_room_follow(carol, old), new)
})

test_that("a tombstone of a user who has no power any more is not followed", {
  alice <- live_client()
  bob <- live_client()
  old <- room_of_version(alice, "11", bob$user_id)
  mx_room_join(bob, old)
  levels <- inner$room_state(alice, old, "m.room.power_levels")
  levels[["users"]][[bob$user_id]] <- 100
  mx_room_set_state(alice, old, "m.room.power_levels", levels)
  trap <- mx_room_create(bob, invite = alice$user_id)
  content <- list(body = "moved", replacement_room = trap)
  mx_room_set_state(bob, old, "m.room.tombstone", content)
  # Bob may upgrade, but the room does not say what it replaces: left again.
  condition <- expect_error(
    mx_room_follow(alice, old),
    class = "mx_error_upgrade"
  )
  expect_equal(condition[["reason"]], "other_predecessor")
  joined <- inner$http_json(alice, "GET", inner$api_path("joined_rooms"))
  expect_false(trap %in% unlist(joined[["joined_rooms"]]))
  levels[["users"]][[bob$user_id]] <- 0
  # Bob steps down: nobody else may change the level of an equal.
  mx_room_set_state(bob, old, "m.room.power_levels", levels)
  condition <- expect_error(
    mx_room_follow(alice, old),
    class = "mx_error_upgrade"
  )
  expect_equal(condition[["reason"]], "not_allowed")
})

test_that("an upgrade on another server is followed through the upgrader's", {
  servers <- live_federation()
  alice <- live_client(server = servers$one)
  bob <- live_client(server = servers$two)
  old <- room_of_version(alice, "11", bob$user_id)
  mx_room_join(bob, old)
  public <- list(join_rule = "public")
  mx_room_set_state(alice, old, "m.room.join_rules", public)
  new <- upgrade(alice, old, "12")
  end <- Sys.time() + 60
  repeat {
    mx_sync(bob)
    rooms <- mx_rooms(bob)
    if (new %in% rooms$successor) {
      break
    }
    stopifnot(Sys.time() < end)
    Sys.sleep(0.2)
  }
  # Bob's server is not in the new room, whose id names none.
  expect_equal(mx_room_follow(bob, old), new)
  mx_send_text(bob, new, "from the other server")
  expect_equal(
    wait_for_bodies(alice, "from the other server"),
    "from the other server"
  )
})

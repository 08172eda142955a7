# Invitations, direct rooms and devices, as Synapse has them.

inner <- asNamespace("mxcrypt")

# Alice invites when the server has refused bob for the first time.
invites_in_between <- function(invite, .local_envir = parent.frame()) {
  real <- inner$http_first_pause
  invited <- FALSE
  put <- function(value) {
    unlockBinding("http_first_pause", inner)
    assign("http_first_pause", value, inner)
    lockBinding("http_first_pause", inner)
  }
  put(function() {
    if (!invited) {
      invited <<- TRUE
      invite()
    }
    real()
  })
  withr::defer(put(real), envir = .local_envir)
  function() invited
}

test_that("who joins right after an invitation is let in", {
  alice <- live_client()
  bob <- live_client()
  room <- mx_room_create(alice, name = "Pipeline", invite = bob$user_id)
  # No sync, no pause.
  expect_equal(mx_room_join(bob, "Pipeline"), room)
  # The invitation comes after the first try.
  late <- mx_room_create(alice)
  invited <- invites_in_between(function() {
    mx_room_invite(alice, late, bob$user_id)
  })
  expect_equal(mx_room_join(bob, late), late)
  expect_true(invited())
})

test_that("an invitation from another server is waited for", {
  servers <- live_federation()
  alice <- live_client(server = servers$one)
  bob <- live_client(server = servers$two)
  room <- mx_room_create(alice)
  invited <- invites_in_between(function() {
    mx_room_invite(alice, room, bob$user_id)
  })
  expect_equal(mx_room_join(bob, room), room)
  expect_true(invited())
  expect_equal(mx_rooms(bob)$membership, "join")
})

test_that("an invitation is listed without a sync, and delivered once", {
  alice <- live_client()
  user <- live_user("bob")
  for (bob in list(live_client(user), live_client(user))) {
    name <- paste("To", bob$device_id)
    mx_sync(bob)
    room <- mx_room_create(alice, name, invite = bob$user_id, direct = TRUE)
    rooms <- mx_rooms(bob)
    row <- rooms[rooms$room_id == room, ]
    expect_equal(row$membership, "invite")
    expect_equal(row$name, name)
    expect_equal(row$inviter, alice$user_id)
    expect_true(row$direct)
    invitations <- function() sum(mx_sync(bob)$room_id == room)
    expect_equal(c(invitations(), invitations()), c(1, 0))
    # The room is renamed, and another device rejects and is invited again.
    mx_set_state(alice, room, "m.room.name", list(name = "Other"))
    expect_equal(invitations(), 0)
    mx_room_leave(bob, room)
    mx_sync(bob)
    mx_room_invite(alice, room, bob$user_id)
    expect_equal(c(invitations(), invitations()), c(1, 0))
  }
})

test_that("a direct room is in m.direct, beside what another client wrote there", {
  alice <- live_client()
  them <- live_stranger()
  path <- inner$account_data_path(alice, "m.direct")
  content <- function() inner$http_json(alice, "GET", path)
  odd <- list(
    "@other:server" = list("!a:b", 5, list(x = list())),
    "@broken:server" = "!c:d"
  )
  inner$http_json(alice, "PUT", path, odd)
  before <- content()
  room <- mx_room_create(alice, invite = them$user_id, direct = TRUE)
  after <- content()
  expect_equal(after[names(before)], before)
  expect_equal(after[[them$user_id]], list(room))
  # The other one has it as a direct one too, and ours finds it to verify in.
  them$call("join", roomId = room)
  mx_sync(alice)
  expect_true(mx_rooms(alice)$direct)
  expect_equal(inner$room_with(alice, them$user_id), room)
})

test_that("the server says when and from where a device was last seen", {
  user <- live_user("alice")
  first <- live_client(user, device_name = "laptop")
  second <- live_client(user, device_name = "phone")
  devices <- mx_devices(second, second$user_id)
  expect_setequal(devices$display_name, c("laptop", "phone"))
  expect_equal(devices$device_id[devices$this_device], second$device_id)
  expect_false(anyNA(devices$last_seen_ts))
  age <- difftime(Sys.time(), devices$last_seen_ts, units = "days")
  expect_true(all(abs(age) < 1))
  expect_match(devices$last_seen_ip, "^(127\\.0\\.0\\.1|::1)$")
})

test_that("a device whose disk was lost is refused by its name, and signed out", {
  user <- live_user("bot")
  first <- live_client(user, device_id = "BOT", device_name = "bot")
  expect_error(
    live_client(user, device_id = "BOT"),
    class = "mx_error_store_missing"
  )
  # It is still signed in, and nobody else is.
  expect_equal(inner$signed_in_devices(first)$device_id, "BOT")
  setup <- mx_crypto_setup(first, password = user$password)
  key <- format(setup$recovery_key, reveal = TRUE)
  second <- live_client(user, device_name = "bot")
  withr::local_options(cli.default_handler = NULL)
  said <- capture_messages(mx_crypto_setup(second, recovery_key = key))
  expect_match(
    said,
    "mx_device_delete(client, \"BOT\")",
    fixed = TRUE,
    all = FALSE
  )
  suppressWarnings(
    mx_device_delete(second, "BOT", password = user$password, ask = FALSE)
  )
  third <- live_client(user, device_id = "BOT")
  expect_equal(third$device_id, "BOT")
})

# Everyday work with a homeserver of each kind, as bug reports tell of them (see
# tests/README.md). Everything works, or ends with a classed condition that says what
# the server lacks.

withr::local_options(mxcrypt.pause = 0.001, .local_envir = teardown_env())

# A server without a way to say that there is no backup is named in a warning.
quietly <- function(code) {
  suppressWarnings(code, classes = "mx_warning_pump")
}

# Syncs until what other workers wrote is there: the demo server lets it wait 2 seconds.
settle <- function(...) {
  for (pause in c(0, 2.2, 0)) {
    Sys.sleep(pause)
    for (client in list(...)) {
      quietly(mx_sync(client))
    }
  }
}

# A client with an identity and its recovery key, on a server that may have no way to
# say that there is no backup yet.
person <- function(homeserver, user) {
  client <- quietly(mx_demo_client(homeserver, user, verified = FALSE))
  setup <- suppressWarnings(
    suppressMessages(mx_crypto_setup(client)),
    classes = c("mx_warning_key_backup", "mx_warning_pump")
  )
  key <- format(setup$recovery_key, reveal = TRUE)
  mx_recovery_key_forget(setup$recovery_key)
  list(client = client, key = key)
}

# What another said, with the next syncs of a server that may hold something back.
heard <- function(client, from, times = 4) {
  bodies <- character()
  for (i in seq_len(times)) {
    events <- messages(quietly(mx_sync(client)))
    bodies <- c(bodies, events$body[events$sender == from$user_id])
  }
  bodies
}

walk <- function(kind, since = "the beginning") {
  homeserver <- homeserver_like(
    if (since == "the beginning") kind else "synapse"
  )
  alice <- person(homeserver, "alice")
  bob <- person(homeserver, "bob")
  room <- quietly(mx_room_create(alice$client, invite = bob$client$user_id))
  quietly(mx_sync(bob$client))
  quietly(mx_room_join(bob$client, room))
  act_like(homeserver, kind)
  settle(alice$client, bob$client)
  list(
    homeserver = homeserver,
    alice = alice$client,
    bob = bob$client,
    keys = list(alice = alice$key, bob = bob$key),
    room = room
  )
}

for (kind in homeserver_kinds) {
  test_that(paste("messages and files come once, with", kind), {
    scene <- walk(kind)
    mx_send_text(scene$alice, scene$room, c("one", "two"))
    expect_equal(heard(scene$bob, scene$alice), c("one", "two"))
    mx_send_text(scene$bob, scene$room, "three")
    expect_equal(heard(scene$alice, scene$bob), "three")
    expect_false(server_has_seen(scene$homeserver, "three"))

    file <- withr::local_tempfile(fileext = ".csv", lines = "a,b")
    mx_send_file(scene$alice, scene$room, file)
    for (i in 1:2) {
      events <- mx_sync(scene$bob)
      if (nrow(messages(events)) > 0) {
        break
      }
    }
    saved <- mx_media_download(scene$bob, events)
    expect_equal(readLines(saved$path), "a,b")
  })

  test_that(paste("two users verify each other, with", kind), {
    scene <- walk(kind)
    mine <- mx_verification_request(scene$alice, scene$bob$user_id)
    settle(scene$bob)
    theirs <- mx_verification_accept(mx_verifications(scene$bob)[[1]])
    both <- exchange(exchange(list(mine, theirs)))
    both[[1]] <- mx_verification_start(both[[1]])
    both <- exchange(exchange(both))
    for (one in both) {
      mx_verification_confirm(one, same = TRUE)
    }
    both <- exchange(exchange(both))
    expect_equal(states(both), c("done", "done"))
    settle(scene$alice, scene$bob)
    # Some Tuwunel accepts the signature and loses it. What is shown is what holds.
    expect_equal(
      mx_user_trust(scene$alice, scene$bob$user_id)$verified,
      kind != "conduit"
    )
  })

  test_that(paste("a backup begins, or that it cannot is told, with", kind), {
    scene <- walk(kind)
    mx_send_text(scene$alice, scene$room, "kept")
    if (kind %in% c("conduit", "dendrite")) {
      # It may be there all the same: another one would take its place.
      expect_error(
        mx_backup_enable(scene$alice, recovery_key = scene$keys$alice),
        "status 500|Internal server error",
        class = "mx_error_key_backup"
      )
    } else {
      quietly(mx_backup_upload(scene$alice))
      status <- mx_backup_status(scene$alice)
      expect_gt(status$keys, 0)
      expect_equal(status$backed_up, status$keys)
    }
  })

  test_that(paste("a new device reads what the backup has, with", kind), {
    scene <- walk(kind, since = "later")
    mx_send_text(scene$alice, scene$room, "kept")
    quietly(mx_backup_upload(scene$alice))
    laptop <- mx_demo_client(scene$homeserver, "alice", verified = FALSE)
    suppressMessages(mx_crypto_setup(laptop, recovery_key = scene$keys$alice))
    mx_backup_restore(laptop)
    expect_true("kept" %in% bodies_of(laptop, scene$room))

    # The old device is lost.
    mx_device_delete(laptop, scene$alice$device_id, password = "demo")
    expect_false(
      scene$alice$device_id %in% mx_devices(laptop, laptop$user_id)$device_id
    )
    mx_send_text(laptop, scene$room, "from the new one")
    settle(laptop, scene$bob)
    read <- bodies_of(scene$bob, scene$room)
    expect_true("from the new one" %in% read)
  })

  test_that(paste("direct rooms and dehydrated devices, with", kind), {
    scene <- walk(kind)
    expect_no_warning(
      mx_room_create(scene$alice, invite = scene$bob$user_id, direct = TRUE),
      class = "mx_warning_direct_room"
    )
    made <- tryCatch(
      mx_dehydrated_device_create(
        scene$alice,
        recovery_key = scene$keys$alice
      ),
      mx_error_dehydrated_device = identity
    )
    lacks <- kind %in% c("conduit", "dendrite")
    expect_equal(inherits(made, "condition"), lacks)
    if (lacks) {
      expect_match(conditionMessage(made), "does not know dehydrated devices")
    }
  })

  test_that(paste("what is too large is named so, with", kind), {
    scene <- walk(kind)
    if (kind == "synapse_workers" || kind == "conduit") {
      expect_error(
        mx_send_text(scene$alice, scene$room, strrep("long ", 20000)),
        class = "mx_error_too_large"
      )
      mx_send_text(scene$alice, scene$room, "short")
      expect_equal(utils::tail(heard(scene$bob, scene$alice), 1), "short")
    } else {
      succeed()
    }
  })
}

test_that("a pending invitation that a server forgets is kept", {
  for (kind in homeserver_kinds) {
    homeserver <- homeserver_like(kind)
    alice <- person(homeserver, "alice")$client
    bob <- person(homeserver, "bob")$client
    quietly(mx_sync(bob))
    room <- quietly(mx_room_create(alice, invite = bob$user_id))
    for (i in 1:4) {
      quietly(mx_sync(bob))
    }
    rooms <- mx_rooms(bob)
    expect_true(room %in% rooms$room_id, info = kind)
    mx_room_join(bob, room)
    for (i in 1:4) {
      quietly(mx_sync(bob))
    }
    joined <- mx_rooms(bob)
    row <- joined[joined$room_id == room, ]
    expect_equal(row$membership, "join", info = kind)
  }
})

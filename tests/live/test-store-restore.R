# A store that is made of a copy, among matrix-js-sdk and Synapse.

test_that("a device goes on from a copy, and another reads what it says", {
  alice <- live_client()
  bob <- live_stranger()
  room <- bob$call("createRoom", invite = alice$user_id)
  enter(alice, room, witness = bob)
  mx_send_text(alice, room, "before the copy")
  reads(bob, room, "before the copy")
  say(bob, room, "to the original")
  wait_for_bodies(alice, "to the original")
  dir <- withr::local_tempdir()
  mx_store_backup(alice, file.path(dir, "copy"))
  key <- file.path(dir, "key")
  file.copy(file.path(alice$store_dir, "pickle.key"), key)

  # The original goes on: it sends, is sent new keys, and uses up one-time keys.
  mx_send_text(alice, room, "after the copy")
  reads(bob, room, "after the copy")
  bob$call("forceDiscardSession", roomId = room)
  say(bob, room, "also to the original")
  wait_for_bodies(alice, "also to the original")
  core(machine_set_one_time_key_target(machine_of(alice), 80))
  mx_sync(alice)

  unlink(alice$store_dir, recursive = TRUE)
  mx_store_restore(
    file.path(dir, "copy"),
    alice$store_dir,
    original_is_gone = TRUE,
    key = key
  )
  alice <- mx_client_load(path = alice$path)
  mx_sync(alice)
  mx_send_text(alice, room, "from the copy")
  reads(bob, room, "from the copy")
  # A new key of Bob's comes over an Olm session that only he and the original know,
  # until both have another.
  bob$call("forceDiscardSession", roomId = room)
  say(bob, room, "to the copy")
  expect_true("to the copy" %in% wait_for_bodies(alice, "to the copy"))
  sent <- mx_messages(alice, room)
  expect_true(all(c("before the copy", "from the copy") %in% sent$body))
  sessions <- sent$session_id[match(
    c("before the copy", "from the copy"),
    sent$body
  )]
  expect_false(sessions[[1]] == sessions[[2]])
  expect_identical(sum(mx_store_check(alice)$damaged), 0)
})

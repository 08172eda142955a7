# People on two servers, one of which goes away.

# Alice (ours) on one server, Bob (foreign) on the other, in as many rooms.
two_people <- function(rooms = 1, .local_envir = parent.frame()) {
  servers <- live_federation()
  alice <- live_client(server = servers$one, .local_envir = .local_envir)
  bob <- live_foreign(.local_envir, server = servers$two)
  ids <- vapply(
    seq_len(rooms),
    function(i) {
      room <- mx_room_create(alice, invite = bob$user_id)
      bob$call("joinInvites")
      wait_for_member(alice, room, bob$user_id)
      room
    },
    ""
  )
  list(alice = alice, bob = bob, rooms = ids)
}

wait_for_member <- function(client, room, user_id, seconds = 20) {
  end <- Sys.time() + seconds
  repeat {
    members <- mx_room_members(client, room)
    there <- members$user_id[members$membership == "join"]
    if (user_id %in% there) {
      break
    }
    stopifnot(Sys.time() < end)
    Sys.sleep(0.05)
  }
  mx_sync(client)
}

can_read <- function(them, room, event, seconds) {
  wait <- list("waitForMessage", roomId = room, eventId = event)
  wait$timeoutMs <- 1000 * seconds
  !inherits(try(do.call(them$call, wait), silent = TRUE), "try-error")
}

test_that("people on two servers talk both ways", {
  scene <- two_people()
  mx_send_text(scene$alice, scene$rooms, "hello")
  reads(scene$bob, scene$rooms, "hello")
  scene$bob$call("sendText", roomId = scene$rooms, body = "hello Alice")
  expect_equal(wait_for_bodies(scene$alice, "hello Alice"), "hello Alice")
})

test_that("a user whose server was away reads what was sent meanwhile", {
  scene <- two_people()
  alice <- scene$alice
  carol <- live_client(server = live_federation()$one)
  mx_room_invite(alice, scene$rooms, carol$user_id)
  mx_room_join(carol, scene$rooms)
  synapse_stop(live_federation()$two)
  expect_warning(
    missed <- mx_send_text(alice, scene$rooms, "missed"),
    class = "mx_warning_unreached"
  )
  # Others are not kept waiting.
  expect_true("missed" %in% mx_messages(carol, scene$rooms)$body)
  live[["federation"]]$two <- synapse_restart(live_federation()$two)
  # It is asked again after pauses that grow, though nobody says another word.
  for (i in 1:30) {
    mx_sync(alice)
    if (can_read(scene$bob, scene$rooms, missed, seconds = 1)) {
      break
    }
  }
  reads(scene$bob, scene$rooms, "missed")
  mx_send_text(alice, scene$rooms, "next")
  reads(scene$bob, scene$rooms, "next")
})

test_that("devices that are known are sent to while their server is away", {
  scene <- two_people(rooms = 2)
  mx_send_text(scene$alice, scene$rooms[[1]], "one")
  reads(scene$bob, scene$rooms[[1]], "one")
  synapse_stop(live_federation()$two)
  # In another room, so with another key; the Olm session is of the device.
  expect_no_warning(mx_send_text(scene$alice, scene$rooms[[2]], "two"))
  live[["federation"]]$two <- synapse_restart(live_federation()$two)
  # What a server hears of another makes it try again what it holds for it.
  scene$bob$call("sendText", roomId = scene$rooms[[1]], body = "back")
  reads(scene$bob, scene$rooms[[2]], "two")
})

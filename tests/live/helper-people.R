# A person in a room, whose client is ours or a foreign one: what either does, and
# what either shows.

is_foreign <- function(who) inherits(who, "foreign_client")

new_room <- function(who, invite = character(), public = FALSE) {
  if (is_foreign(who)) {
    preset <- if (public) "public_chat" else "private_chat"
    room <- who$call("createRoom", invite = as.list(invite), preset = preset)
    for (user_id in invite) {
      sees_member(who, room, user_id, "invite")
    }
    room
  } else {
    mx_room_create(who, invite = invite, public = public)
  }
}

# Joins, and `witness` has seen it.
enter <- function(who, room, witness) {
  if (is_foreign(who)) {
    who$call("join", roomId = room)
  } else {
    mx_room_join(who, room)
  }
  sees_member(witness, room, who$user_id, "join")
}

# A room of `host`, in which the others are too.
room_of <- function(host, ...) {
  others <- list(...)
  ids <- vapply(others, function(other) other[["user_id"]], "")
  room <- new_room(host, invite = ids)
  for (other in others) {
    enter(other, room, witness = host)
  }
  room
}

# Alice has spoken to a person with one device, who then signed in on a second, of
# which she has not heard yet.
unheard_device <- function(
  ...,
  .local_envir = parent.frame()
) {
  alice <- live_client(..., .local_envir = .local_envir)
  user <- live_user("foreign")
  first <- live_foreign(.local_envir, user = user)
  room <- room_of(alice, first)
  mx_send_text(alice, room, "one device")
  mx_sync(alice)
  second <- live_foreign(.local_envir, user = user)
  list(alice = alice, first = first, second = second, room = room)
}

quit <- function(who, room, witness) {
  if (is_foreign(who)) {
    who$call("leave", roomId = room)
  } else {
    mx_room_leave(who, room)
  }
  sees_member(witness, room, who$user_id, "leave")
}

sees_member <- function(who, room, user_id, membership) {
  if (is_foreign(who)) {
    who$call(
      "waitForMember",
      roomId = room,
      userId = user_id,
      membership = membership
    )
  } else {
    mx_sync(who)
  }
}

# Waits until `who` knows that the user has these devices and no others.
sees_devices <- function(who, user_id, device_ids) {
  if (!is_foreign(who)) {
    return(mx_sync(who))
  }
  end <- Sys.time() + 20
  repeat {
    devices <- who$call("userDevices", userId = user_id)
    known <- vapply(devices, function(device) device[["deviceId"]], "")
    if (setequal(known, device_ids)) {
      break
    }
    stopifnot(Sys.time() < end)
    Sys.sleep(0.05)
  }
}

say <- function(who, room, text) {
  if (is_foreign(who)) {
    who$call("sendText", roomId = room, body = text)
  } else {
    mx_send_text(who, room, text)
  }
}

expect_reads <- function(who, room, event) {
  shown <- what_is_shown(who, room, event, "waitForMessage")
  expect_equal(shown, NA_character_)
}

# The event is there, and there is no key for it, or none from so early on.
expect_cannot_read <- function(who, room, event) {
  shown <- what_is_shown(who, room, event, "waitForUtd")
  expect_match(
    shown,
    if (is_foreign(who)) {
      "^(MEGOLM_UNKNOWN|OLM_UNKNOWN_MESSAGE_INDEX|HISTORICAL_MESSAGE)"
    } else {
      "^unknown_(session|index)$"
    }
  )
}

# Why an event cannot be read, or NA.
what_is_shown <- function(who, room, event, op) {
  if (is_foreign(who)) {
    shown <- who$call(op, roomId = room, eventId = event)
    failure <- shown[["failure"]]
    return(if (is.null(failure)) NA_character_ else failure)
  }
  # What its server has accepted is there at once.
  history <- mx_messages(who, room)
  reason <- history$utd_reason[history$event_id %in% event]
  expect_length(reason, 1)
  reason
}

# A test of two people, in which each of our clients and a foreign one is either.
each_way <- function(code) {
  code(live_client(), live_stranger())
  code(live_stranger(), live_client())
}

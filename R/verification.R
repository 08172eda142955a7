#' Verify users and devices in a program
#'
#' Verifies that no server is between two people, or between two devices of one person:
#' both devices show the same seven emoji, or three numbers, and the
#' people compare them in another way than through this server; or one device scans a QR
#' code that the other shows (see [mx_verification_qr()]). From then on the
#' other's keys are trusted, and signed, so that all your devices know it.
#'
#' [mx_verify()] leads a person through it. These functions are for programs. A
#' verification goes through the states `requested`, `ready` (both agreed),
#' `started`, `compare` or `scanned`, `confirmed` (you confirmed; the other side has
#' not yet) and `done`; or it ends as `cancelled`. Each step is saved, so that
#' another process may do the next one. A verification ends after ten minutes in all, or
#' two minutes for a request that you received. Nothing is accepted in your place.
#' [plot()][plot.mx_verification] draws what there is to scan or to compare.
#'
#' `mx_verification_request()` sends a request: to another user in a room with
#' the two of you (both need an identity, see [mx_crypto_setup()]), or to one or all of
#' your own devices. `mx_verifications()` lists verifications, also requests of others.
#' `mx_verification_accept()` accepts a request,
#' `mx_verification_start()` begins the comparison (either side can), and
#' `mx_verification_confirm()` confirms that both sides show the same, or that it was the
#' other side that scanned your code. `mx_verification_wait()` syncs until it is your turn
#' or the verification has ended.
#'
#' @inheritParams mx_client_session
#' @param user_id The user to verify; your own user id for your own devices.
#' @param device_id The device to verify, or `NULL`: a user's identity, or
#'   the first of your own devices that responds.
#' @param room The room for a request to another user: an id, alias or exact name. `NULL`
#'   finds a room of the two of you.
#' @param verification A verification, from `mx_verification_request()` or
#'   `mx_verifications()`.
#' @param same Whether both devices show the same; of a code that was `scanned`, whether the
#'   other device says that it scanned it.
#' @param language The language of the names, as in `"de"` or `"pt_BR"`; `NULL` for
#'   the session's. Names that the specification does not have are in English.
#' @param seconds How long to wait at most, in seconds; `0` only syncs once.
#' @return `mx_verifications()`: a list of objects of class `mx_verification`, oldest
#'   first. `mx_verification_emojis()`: a data frame of seven rows with `emoji` and
#'   `name`, or `NULL` where there is nothing to compare, or only numbers. The others:
#'   such an object, as it is then, invisibly: a list of `client`, `number`, `user_id`,
#'   `device_id`, `room_id`, `requested_here`, `state`, `methods` (what can begin:
#'   `"m.sas.v1"`, `"m.qr_code.show.v1"` and `"m.qr_code.scan.v1"`), `shows_code` (a QR code
#'   is shown here), `emoji` (seven places in the
#'   specification's table, from 0), `decimals` (three numbers), `identity_proven` and
#'   `device_proven` (what was verified), `code` and `reason` (why it was cancelled) and
#'   `cancelled_here`.
#' @section Errors:
#' `mx_error_verification`: a step that is not possible now, or a verification that
#' was cancelled; then its `code` is that of the specification, such as
#' `m.mismatched_sas`, `m.key_mismatch`, `m.timeout` or `m.user`, or that of your
#' server, if it refused a message. `mx_error_identity`: this
#' device cannot sign for you (see [mx_crypto_setup()]). `mx_error_room`: there is no
#' room of the two of you.
#' @references Client-server API, "Device verification":
#'   <https://spec.matrix.org/v1.19/client-server-api/#device-verification>
#' @family trust and verification
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' bob <- mx_demo_client(homeserver, "bob")
#' room <- mx_room_create(alice, invite = bob$user_id)
#' mx_room_join(bob, room)
#'
#' asked <- mx_verification_request(alice, bob$user_id, room = room)
#' mx_sync(bob)
#' received <- mx_verifications(bob)[[1]]
#' received
#' mx_verification_accept(received)
#' mx_verification_wait(asked)
#' mx_verification_start(asked)
#' mx_verification_wait(received, seconds = 0)
#' mx_verification_wait(asked, seconds = 0)
#' received <- mx_verification_wait(received)
#' mx_verification_emojis(received)
#' asked <- mx_verification_wait(asked)
#' identical(asked$emoji, received$emoji)
#'
#' mx_verification_confirm(received, same = TRUE)
#' mx_verification_confirm(asked, same = TRUE)
#' mx_verification_wait(received)
#' mx_verification_wait(asked)$state
#' mx_user_trust(alice, bob$user_id)$verified
#' @export
mx_verification_request <- function(
  client,
  user_id,
  device_id = NULL,
  room = NULL
) {
  machine <- machine_of(check_client(client))
  check_user_ids(check_string(user_id), "user_id")
  check_string(device_id, null = TRUE)
  is_own <- identical(user_id, client[["user_id"]])
  room_id <- NULL
  if (!is.null(room)) {
    room_id <- resolve_room(client, room)
  } else if (!is_own && is.null(device_id)) {
    room_id <- direct_room(client, user_id)
  }
  know_keys(client, user_id)
  before <- core(machine_last_queued(machine))
  status <- core(machine_request_verification(
    machine,
    user_id,
    device_id,
    room_id
  ))
  invisible(carried_out(client, status, before))
}

#' @rdname mx_verification_request
#' @export
mx_verifications <- function(client) {
  machine <- machine_of(check_client(client))
  lapply(
    core(machine_verifications(machine)),
    function(status) new_verification(client, status)
  )
}

#' @rdname mx_verification_request
#' @export
mx_verification_accept <- function(verification) {
  client <- client_of(verification)
  know_keys(client, verification[["user_id"]])
  invisible(verification_step(verification, machine_accept_verification))
}

#' @rdname mx_verification_request
#' @export
mx_verification_start <- function(verification) {
  check_verification(verification)
  invisible(verification_step(verification, machine_start_sas))
}

#' @rdname mx_verification_request
#' @export
mx_verification_confirm <- function(verification, same) {
  check_verification(verification)
  check_flag(same)
  status <- verification_step(
    verification,
    machine_confirm_verification,
    same,
    fails = same
  )
  invisible(status)
}

#' @rdname mx_verification_request
#' @export
mx_verification_cancel <- function(verification) {
  check_verification(verification)
  invisible(verification_step(
    verification,
    machine_cancel_verification,
    fails = FALSE
  ))
}

#' @rdname mx_verification_request
#' @export
mx_verification_wait <- function(verification, seconds = 60) {
  client <- client_of(verification)
  check_number(seconds)
  end <- monotonic_time() + seconds
  timeout <- 0
  # Another process may have received the step that is waited for.
  has_news <- function() is_your_turn(current_verification(verification))
  repeat {
    sync_once(client, timeout, has_news = has_news)
    pump_or_warn(client)
    now <- current_verification(verification)
    left <- end - monotonic_time()
    if (is_your_turn(now) || left <= 0) {
      break
    }
    timeout <- min(30000, left * 1000)
  }
  check_not_cancelled(now)
  invisible(now)
}

# A step that the user decided on, and the messages that follow from it.
verification_step <- function(
  verification,
  step,
  ...,
  fails = TRUE,
  call = caller_env()
) {
  client <- client_of(verification)
  machine <- machine_of(client, call = call)
  before <- core(machine_last_queued(machine), call = call)
  status <- core(step(machine, verification[["number"]], ...), call = call)
  carried_out(client, status, before, fails, call)
}

# What became of a step once its messages were sent, which are in the outbox after
# the number `before`. `fails = FALSE` where it was to end
# the verification.
carried_out <- function(
  client,
  status,
  before,
  fails = TRUE,
  call = caller_env()
) {
  verification <- new_verification(client, status)
  pump(client, kinds = "signature", queued_after = before, call = call)
  verification <- current_verification(verification)
  if (fails) {
    check_not_cancelled(verification, call)
  }
  verification
}

check_not_cancelled <- function(verification, call = caller_env()) {
  if (verification[["state"]] != "cancelled") {
    return(invisible())
  }
  code <- printable(verification[["code"]])
  reason <- printable(verification[["reason"]] %||% "no known reason")
  mx_abort(
    c(
      cancelled_sentence(verification),
      x = if (!code %in% c("m.user", "m.timeout")) paste0(code, ": ", reason),
      i = cancel_help(code)
    ),
    "mx_error_verification",
    code = code,
    verification = verification,
    call = call
  )
}

cancelled_sentence <- function(verification) {
  with <- other_side(verification)
  here <- verification[["cancelled_here"]]
  code <- verification[["code"]]
  if (code == "m.timeout") {
    return(paste0("The verification with ", with, " timed out."))
  }
  if (code == "m.user") {
    return(
      if (here) {
        paste0("You cancelled the verification with ", with, ".")
      } else {
        paste0("The verification was cancelled by ", with, ".")
      }
    )
  }
  by <- if (here) "this device" else with
  paste0("The verification with ", with, " was ended by ", by, ".")
}

# Another user by name, one's own other device by its id.
other_side <- function(verification) {
  user_id <- verification[["user_id"]]
  if (user_id != verification[["client"]][["user_id"]]) {
    return(printable(user_id))
  }
  device_id <- verification[["device_id"]]
  if (is.null(device_id)) {
    "your other device"
  } else {
    paste("your device", printable(device_id))
  }
}

cancel_help <- function(code) {
  switch(
    code,
    m.key_mismatch = ,
    m.mismatched_commitment = ,
    m.mismatched_sas = paste(
      "Somebody may stand between you. Nothing was verified.",
      "Try again in another network, or compare keys: see mx_user_sign()."
    ),
    m.timeout = "Ask again when the other person is there.",
    m.accepted = "Go on there."
  )
}

# What is known of the keys of a user may be old.
know_keys <- function(client, user_id, call = caller_env()) {
  machine <- machine_of(client, call = call)
  users <- unique(c(client[["user_id"]], user_id))
  core(machine_refresh_devices(machine, users), call = call)
  pump(client, users = users, call = call)
}

# A room with nobody in it but the two, who may be invited only: one that is listed
# as a direct one with that user, or any. NULL where there is none.
room_with <- function(client, user_id, call = caller_env()) {
  listed <- tryCatch(
    direct_rooms(client, call),
    mx_error = function(condition) NULL
  )
  direct <- listed[["room_id"]][listed[["user_id"]] == user_id]
  joined <- http_json(client, "GET", api_path("joined_rooms"), call = call)
  joined <- Filter(is_string, unlist(joined[["joined_rooms"]]))
  for (room_id in c(intersect(direct, joined), setdiff(joined, direct))) {
    members <- members_of(client, room_id, call)[["user_id"]]
    if (setequal(members, c(client[["user_id"]], user_id))) {
      return(room_id)
    }
  }
}

direct_room <- function(client, user_id, call = caller_env()) {
  room_id <- room_with(client, user_id, call)
  if (is.null(room_id)) {
    mx_abort(
      c(
        paste0("You are in no room with ", printable(user_id), " alone."),
        i = paste0(
          "Make one: mx_room_direct(client, \"",
          printable(user_id),
          "\"); or say which with `room`."
        )
      ),
      "mx_error_room",
      call = call
    )
  }
  room_id
}

#' Send and receive with account and sessions
#'
#' The same as [mx_send()] and [mx_sync()], for code that holds account and
#' sessions itself. Keys go to all devices of the members, and devices are
#' trusted on first use.
#'
#' @inheritParams mx_crypto_account
#' @param store_dir The directory of the store.
#' @param room_id The room's id.
#' @param content The content of an `m.room.message`: a list, or JSON text. It is
#'   encrypted even if the room is not known to be.
#' @param member_ids The members who get the key. They narrow the members of the
#'   room and never add to them; your own devices always get it. `NULL` for all.
#' @param recipients Not used: devices are found by the machine. It must be
#'   `NULL`.
#' @param timeout How long the server may wait for something new, in
#'   milliseconds.
#' @param sync_resp A batch, the `sync` of what `mx_sync_update()` returned; or
#'   the response to a sync as JSON text, which is then processed.
#' @param self_curve25519 The Curve25519 key of this device.
#' @param self_id Your user id.
#' @param msgtypes The message types to extract.
#' @return
#' * `mx_send_encrypted()`: a list of `event_id` and `sessions`.
#' * `mx_sync_update()`: a list of `sync` (an object of class `mx_sync_batch`),
#'   `client`, and `first_run`.
#' * `mx_crypto_process_sync()`: a list of `events` and `sessions`. Each event is
#'   a list of `room_id`, `event_id`, `sender`, `sender_verified`, `is_self`,
#'   `body`, `msgtype`, `mentions`, `ts` and `relates_to`: the encrypted messages
#'   of the batch that can be read.
#' * `mx_extract_text_events()`: a list of such events, encrypted or not.
#' @section Errors:
#' `mx_error_store_binding` when the arguments belong to different stores;
#' `mx_error_batch` for a sync as an R list (text that R parsed cannot be judged
#' any more); `mx_error_MXCRYPT_REACHES_NOBODY` when no device could be given the
#' key: nothing could read the message.
#' @family compatibility with mx.client
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' bob <- mx_demo_client(homeserver, "bob")
#' room <- mx_room_create(alice, invite = bob$user_id)
#' mx_room_join(bob, room)
#'
#' sent <- mx_send_encrypted(
#'   alice,
#'   mx_crypto_account(alice$store_dir),
#'   mx_crypto_sessions_load(alice$store_dir),
#'   room_id = room,
#'   content = list(msgtype = "m.text", body = "the eagle lands at noon"),
#'   store_dir = alice$store_dir
#' )
#' sent$event_id
#'
#' account <- mx_crypto_account(bob$store_dir)
#' result <- mx_sync_update(bob)
#' received <- mx_crypto_process_sync(
#'   account,
#'   mx_crypto_sessions_load(bob$store_dir),
#'   result$sync,
#'   mxc_account_identity_keys(account)$curve25519,
#'   self_id = bob$user_id
#' )
#' received$events[[1]]$body
#' @name mx_send_encrypted
NULL

#' @rdname mx_send_encrypted
#' @export
mx_send_encrypted <- function(
  client,
  account,
  sessions,
  room_id,
  content,
  store_dir,
  recipients = NULL,
  member_ids = NULL
) {
  check_client(client)
  check_string(room_id)
  if (!is.null(recipients)) {
    argument_abort(
      "recipients",
      "NULL: name members in `member_ids`",
      caller_env()
    )
  }
  if (!is.null(member_ids)) {
    check_strings(member_ids)
  }
  check_same_store(list(
    client = client,
    account = account,
    sessions = sessions,
    store_dir = store_dir
  ))
  event_id <- send_events(
    client,
    room_id,
    "m.room.message",
    as_json_text(content),
    demand_encryption = TRUE,
    audience = member_ids
  )
  list(event_id = event_id, sessions = sessions)
}

#' @rdname mx_send_encrypted
#' @export
mx_sync_update <- function(client, timeout = 0L) {
  check_client(client)
  check_number(timeout)
  machine <- machine_of(client)
  before <- core(machine_last_event(machine))
  report <- sync_once(client, timeout)
  if (report[["stale"]]) {
    # What another process has received meanwhile.
    report[["first"]] <- before + 1
  }
  pump_or_warn(client)
  batch <- new_batch(machine, report)
  list(sync = batch, client = client, first_run = report[["first_run"]])
}

# A batch is a range of the inbox. What came before it counts as dealt with.
new_batch <- function(machine, report) {
  last <- core(machine_last_event(machine))
  first <- report[["first"]]
  core(machine_acknowledge(machine, "mx_sync_update", first - 1))
  structure(
    list(
      store_id = core(machine_store_id(machine)),
      first = first,
      last = last,
      problems = report[["problems"]]
    ),
    class = "mx_sync_batch"
  )
}

#' @export
print.mx_sync_batch <- function(x, ...) {
  n <- max(0, x[["last"]] - x[["first"]] + 1)
  print_lines(paste("<mx_sync_batch>", plural(n, "event")))
  invisible(x)
}

#' @rdname mx_send_encrypted
#' @export
mx_crypto_process_sync <- function(
  account,
  sessions,
  sync_resp,
  self_curve25519,
  self_id = NULL
) {
  check_same_store(list(account = account, sessions = sessions))
  machine <- stored_machine(account)
  own <- core(machine_identity_keys(machine))[["curve25519"]]
  if (!identical(self_curve25519, own)) {
    argument_abort(
      "self_curve25519",
      "the key of this store's device",
      caller_env()
    )
  }
  batch <- as_batch(machine, sync_resp)
  events <- batch_events(machine, batch)
  readable <- events[["decrypted"]] & events[["type"]] == "m.room.message"
  list(events = event_records(events[readable, ]), sessions = sessions)
}

#' @rdname mx_send_encrypted
#' @export
mx_extract_text_events <- function(sync_resp, self_id, msgtypes = "m.text") {
  check_strings(msgtypes)
  if (!inherits(sync_resp, "mx_sync_batch")) {
    batch_abort(caller_env())
  }
  events <- batch_events(batch_machine(sync_resp), sync_resp)
  wanted <- events[["type"]] == "m.room.message" &
    events[["msgtype"]] %in% msgtypes
  event_records(events[wanted, ])
}

as_batch <- function(machine, sync_resp, call = caller_env()) {
  if (inherits(sync_resp, "mx_sync_batch")) {
    if (sync_resp[["store_id"]] != core(machine_store_id(machine))) {
      mx_abort(
        "This batch is of another store.",
        c("mx_error_store_binding", "mx_error_store"),
        call = call
      )
    }
    return(sync_resp)
  }
  if (!is_string(sync_resp)) {
    batch_abort(call)
  }
  since <- core(machine_sync_token(machine), call = call)
  body <- charToRaw(enc2utf8(sync_resp))
  report <- core(machine_receive_sync(machine, since, body), call = call)
  new_batch(machine, report)
}

batch_abort <- function(call) {
  mx_abort(
    c(
      "`sync_resp` must be a batch from mx_sync_update(), or JSON text.",
      x = "A list that R parsed has lost what signatures and checks rest on."
    ),
    c("mx_error_batch", "mx_error_argument"),
    call = call
  )
}

batch_machine <- function(batch) {
  for (machine in the[["stores"]]) {
    if (core(machine_store_id(machine)) == batch[["store_id"]]) {
      return(machine)
    }
  }
  mx_abort(
    "The store of this batch is not open.",
    c("mx_error_store_binding", "mx_error_store")
  )
}

batch_events <- function(machine, batch, call = caller_env()) {
  first <- batch[["first"]]
  last <- batch[["last"]]
  events <- core(machine_peek(machine, first, last), call = call)
  if (nrow(events) < last - first + 1) {
    mx_abort(
      c(
        "The events of this batch are gone.",
        i = "Process a batch before the next mx_sync_update()."
      ),
      c("mx_error_batch", "mx_error_argument"),
      call = call
    )
  }
  events
}

event_records <- function(events) {
  lapply(seq_len(nrow(events)), function(i) {
    event <- event_at(events, i)
    c(
      event[c("room_id", "event_id", "sender", "sender_verified", "is_self")],
      event[c("body", "msgtype", "mentions")],
      list(
        ts = as.numeric(event[["origin_server_ts"]]) * 1000,
        relates_to = event[["relates_to"]]
      )
    )
  })
}

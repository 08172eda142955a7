#' Dehydrated devices
#'
#' A dehydrated device receives room keys while none of your devices is signed in. Senders
#' give keys only to the devices that members have at that time. The dehydrated device
#' waits on the server, encrypted, and gets keys too. Your next device reads them from
#' it, with the recovery key, and with them the messages of that time.
#'
#' `mx_dehydrated_device_create()` creates one, and replaces an existing one.
#' `mx_dehydrated_device_rehydrate()` opens it and saves the keys that it was sent.
#' Then [mx_sync()] delivers events that waited for them. When all
#' keys are saved, the device is replaced by a new one, or deleted. If the call is
#' interrupted, make it again. `mx_dehydrated_device_delete()` deletes the device unread.
#'
#' The device has a limited number of one-time keys: a bot that is signed in should
#' create a new one regularly, for instance once a week. The key that it is
#' encrypted with is in secret storage: the recovery key opens it.
#' After [mx_cross_signing_reset()] create a new one: nobody gives keys to the old one.
#'
#' @inheritParams mx_secret_fetch
#' @param replace Whether a new one takes its place. If not, it is deleted.
#' @return `mx_dehydrated_device_create()`: the id of the device.
#'   `mx_dehydrated_device_rehydrate()`: a data frame with a row for each key:
#'   `room_id` and `session_id`; none where there is no such device. What the device
#'   was sent and could not be read is in its attribute `problems`.
#'   `mx_dehydrated_device_delete()`: `TRUE` if there was one, else `FALSE`. All
#'   invisibly.
#' @section Errors:
#' `mx_error_dehydrated_device` (the server does not support them, or the device does not
#' open with your key, or is not signed by you), `mx_error_identity` (the
#' key that signs devices is not here: run [mx_crypto_setup()]),
#' `mx_error_recovery_key`, `mx_error_secret_storage`, `mx_error_answer` (a response of
#' the server is invalid, or its pages never end).
#' @references MSC3814, "Dehydrated Devices with SSSS", which is not part of the
#'   specification yet:
#'   <https://github.com/matrix-org/matrix-spec-proposals/pull/3814>
#' @family identity and recovery
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' bot <- mx_demo_client(homeserver, "bot", verified = FALSE)
#' key <- format(mx_crypto_setup(bot)$recovery_key, reveal = TRUE)
#' room <- mx_room_create(alice, invite = bot$user_id)
#' mx_room_join(bot, room)
#'
#' mx_dehydrated_device_create(bot, recovery_key = key)
#' mx_logout(bot)
#' mx_sync(alice)
#' mx_send_text(alice, room, "while the bot had no device")
#'
#' bot <- mx_demo_client(homeserver, "bot", verified = FALSE)
#' mx_crypto_setup(bot, recovery_key = key)
#' keys <- mx_dehydrated_device_rehydrate(bot, recovery_key = key)
#' keys
#' events <- mx_messages(bot, room)
#' events$body[events$type == "m.room.message"]
#' @export
mx_dehydrated_device_create <- function(
  client,
  recovery_key = NULL,
  passphrase = NULL
) {
  machine <- machine_of(check_client(client))
  given <- check_given(recovery_key, passphrase)
  check_can_sign(client, machine)
  # Before a key for it is made: whether the server knows such devices.
  dehydrated_device_request(client, "GET", optional = TRUE)
  given <- storage_secret(client, given)
  made <- make_dehydrated_device(client, machine, given)
  put_dehydrated_device(client, machine, made)
  invisible(made[["device_id"]])
}

#' @rdname mx_dehydrated_device_create
#' @export
mx_dehydrated_device_rehydrate <- function(
  client,
  recovery_key = NULL,
  passphrase = NULL,
  replace = TRUE
) {
  machine <- machine_of(check_client(client))
  given <- check_given(recovery_key, passphrase)
  check_flag(replace)
  if (replace) {
    check_can_sign(client, machine)
  }
  stored <- dehydrated_device_request(client, "GET", optional = TRUE)
  none <- list(room_id = character(), session_id = character())
  if (is.null(stored)) {
    return(invisible(data.frame(none)))
  }
  given <- storage_secret(client, given)
  opened <- core(dehydrated_device_open(stored, open_storage(client, given)))
  # What could keep it from being replaced shows before anything is read.
  made <- if (replace) make_dehydrated_device(client, machine, given)
  batches <- rehydrate(client, machine, opened)
  if (replace) {
    put_dehydrated_device(client, machine, made)
  } else {
    mx_dehydrated_device_delete(client)
  }
  pump_or_warn(client)
  keys <- bind_columns(c(list(none), lapply(batches, `[`, names(none))))
  keys <- unique(data.frame(keys))
  attr(keys, "problems") <- unlist(lapply(batches, `[[`, "problems"))
  invisible(keys)
}

#' @rdname mx_dehydrated_device_create
#' @export
mx_dehydrated_device_delete <- function(client) {
  check_client(client)
  answer <- dehydrated_device_request(client, "DELETE", optional = TRUE)
  invisible(!is.null(answer))
}

# Processes the messages that it was sent, in batches. The server keeps all of them until
# the device is deleted: after an interrupt, the next call starts again.
rehydrate <- function(client, machine, opened, call = caller_env()) {
  cli::cli_progress_bar("Reading what the dehydrated device was sent")
  batches <- list()
  from <- NULL
  posts <- FALSE
  ask <- function(method, ...) {
    dehydrated_device_request(
      client,
      method,
      opened[["device_id"]],
      "events",
      ...,
      call = call
    )
  }
  repeat {
    body <- if (!posts) ask("GET", query = list(from = from), none = 405L)
    if (is.null(body)) {
      # Synapse before 1.157. There a page without events is the last.
      posts <- TRUE
      page <- as_object(Filter(Negate(is.null), list(next_batch = from)))
      body <- ask("POST", body = as_json_text(page))
    }
    handle <- opened[["handle"]]
    batch <- machine_receive_dehydrated_events(machine, handle, body)
    batch <- core(batch, call = call)
    batches <- c(batches, list(batch))
    cli::cli_progress_update(inc = length(batch[["session_id"]]))
    from <- batch[["next_batch"]]
    if (is.null(from) || posts && batch[["empty"]]) {
      return(batches)
    }
  }
}

# A new one. Its key goes to secret storage first: nobody could open it otherwise.
make_dehydrated_device <- function(
  client,
  machine,
  given,
  call = caller_env()
) {
  storage <- open_storage(client, given, call)
  key <- core(machine_seal_dehydration_key(machine, storage), call = call)
  if (!is.null(key)) {
    put_account_data(client, "org.matrix.msc3814", key, call)
    # The key that the server shows then is used, whoever put it there.
    storage <- open_storage(client, given, call)
  }
  core(machine_make_dehydrated_device(machine, storage), call = call)
}

# Success is what the server returns afterwards: to a device that is not signed there
# nobody gives a key.
put_dehydrated_device <- function(client, machine, made, call = caller_env()) {
  body <- made[["body"]]
  dehydrated_device_request(client, "PUT", body = body, call = call)
  own_identity(client, machine, call)
  devices <- core(machine_devices(machine, client[["user_id"]]), call = call)
  is_it <- devices[["device_id"]] == made[["device_id"]]
  if (!any(is_it & devices[["signed_by_owner"]] & devices[["dehydrated"]])) {
    mx_abort(
      "The server does not return the dehydrated device as signed by you.",
      "mx_error_dehydrated_device",
      call = call
    )
  }
}

check_can_sign <- function(client, machine, call = caller_env()) {
  held <- own_identity(client, machine, call)[["held"]]
  if (!"self_signing" %in% held) {
    mx_abort(
      c(
        "The key of your identity that signs devices is not on this device.",
        i = "Run mx_crypto_setup() first."
      ),
      "mx_error_identity",
      call = call
    )
  }
}

# The body of the response; with `optional` NULL where there is no such device, and
# NULL where the status is `none`.
dehydrated_device_request <- function(
  client,
  method,
  ...,
  body = NULL,
  query = NULL,
  optional = FALSE,
  none = NULL,
  call = caller_env()
) {
  path <- api_path(
    "dehydrated_device",
    ...,
    query = query,
    version = "unstable/org.matrix.msc3814.v1"
  )
  answer <- http_perform(client, method, path, body, call = call)
  if (answer[["status"]] == 200L) {
    return(answer[["body"]])
  }
  if (answer[["status"]] %in% none) {
    return(NULL)
  }
  code <- json_body(answer)[["errcode"]]
  if (
    optional && answer[["status"]] == 404L && identical(code, "M_NOT_FOUND")
  ) {
    return(NULL)
  }
  if (is_unbuilt(answer)) {
    mx_abort(
      "The server does not know dehydrated devices (MSC3814).",
      "mx_error_dehydrated_device",
      call = call
    )
  }
  http_abort(answer, call = call)
}

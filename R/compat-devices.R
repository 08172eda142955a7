#' Query devices and claim one-time keys
#'
#' What [mx_send()] does on its own, in two steps for package authors: query
#' the devices of users, and claim a one-time key of each. Keys that are not valid
#' are left out, with a warning that gives the reason.
#'
#' @inheritParams mx_client_session
#' @param user_ids User ids.
#' @param devices A list of devices, as `mx_crypto_known_devices()` returns it.
#' @param strict Whether a server that cannot be reached is an error.
#' @return A list with an element for each device: a list of `user_id`,
#'   `device_id`, `curve25519` and `ed25519`; `mx_crypto_claim_otks()` adds
#'   `otk`, if the device had a valid one-time key.
#' @section Errors:
#' `mx_error_unreachable` when `strict` and a server could not be reached.
#' @family compatibility with mx.client
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' bob <- mx_demo_client(homeserver, "bob")
#' devices <- mx_crypto_known_devices(alice, bob$user_id)
#' devices[[1]]$device_id
#' nchar(mx_crypto_claim_otks(alice, devices)[[1]]$otk)
#' @export
mx_crypto_known_devices <- function(client, user_ids, strict = FALSE) {
  machine <- machine_of(check_client(client))
  check_strings(user_ids)
  check_flag(strict)
  core(machine_refresh_devices(machine, user_ids))
  pump(client, users = user_ids)
  devices <- core(machine_devices(machine, user_ids))
  unreached <- core(machine_outdated_users(machine, user_ids))
  if (strict && length(unreached) > 0L) {
    mx_abort(
      paste(
        "The server could not reach those of:",
        paste(unreached, collapse = ", ")
      ),
      "mx_error_unreachable"
    )
  }
  names <- c("user_id", "device_id", "curve25519", "ed25519")
  lapply(seq_along(devices[["user_id"]]), function(i) {
    lapply(devices[names], function(column) column[[i]])
  })
}

#' @rdname mx_crypto_known_devices
#' @export
mx_crypto_claim_otks <- function(client, devices, strict = FALSE) {
  check_client(client)
  check_flag(strict)
  if (length(devices) == 0L) {
    return(devices)
  }
  check_devices(devices)
  column <- function(name) vapply(devices, function(x) x[[name]], "")
  users <- column("user_id")
  wanted <- lapply(split(column("device_id"), users), function(ids) {
    stats::setNames(rep(list("signed_curve25519"), length(ids)), ids)
  })
  body <- mxc_json(list(timeout = 10000, one_time_keys = wanted))
  path <- api_path("keys", "claim")
  answer <- http_perform(client, "POST", path, body)
  if (answer[["status"]] != 200L) {
    http_abort(answer)
  }
  verdicts <- core(judge_keys_claim(
    answer[["body"]],
    users,
    column("device_id"),
    column("ed25519")
  ))
  report_unclaimed(devices, verdicts, strict)
  for (i in which(is.na(verdicts[["error"]]))) {
    devices[[i]][["otk"]] <- verdicts[["key"]][[i]]
  }
  devices
}

check_devices <- function(devices, call = caller_env()) {
  fields <- c("user_id", "device_id", "ed25519")
  is_device <- function(x) {
    is.list(x) && all(vapply(x[fields], is_string, NA))
  }
  if (!is.list(devices) || !all(vapply(devices, is_device, NA))) {
    argument_abort(
      "devices",
      "a list of devices, as from mx_crypto_known_devices()",
      call
    )
  }
}

report_unclaimed <- function(devices, verdicts, strict, call = caller_env()) {
  failed <- which(!is.na(verdicts[["error"]]))
  if (length(failed) == 0L) {
    return(invisible())
  }
  names <- vapply(
    devices[failed],
    function(x) paste(x[["user_id"]], x[["device_id"]]),
    ""
  )
  lines <- paste0(names, ": ", verdicts[["error"]][failed])
  message <- c("Some devices have no usable one-time key.", lines)
  if (strict) {
    mx_abort(message, "mx_error_unreachable", call = call)
  }
  mx_warn(message, "mx_warning_unclaimed")
}

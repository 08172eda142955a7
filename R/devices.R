#' List, verify, sign, block and delete devices
#'
#' `mx_devices()` lists devices. `mx_device_verify()` trusts a device whose
#' fingerprint you compared with the one that it displays, whoever signed it;
#' `mx_device_block()` gives a device no more room keys. Both count on this device
#' only. The others are for your own devices: `mx_device_sign()` signs one after
#' you compared its fingerprint, `mx_device_rename()` renames one,
#' `mx_device_delete()` signs devices out.
#'
#' @inheritParams mx_client_session
#' @param user_ids,user_id User ids; one user id.
#' @param device_id,device_ids Device ids; of your own devices if there is no `user_id`.
#' @param fingerprint The Ed25519 key that the device displays.
#' @param blocked `FALSE` forgets that the device was blocked, or verified.
#' @param display_name What the device is called; other users see it.
#' @param password Your password, where the server asks for it; as for
#'   [mx_client_configure()].
#' @param ask Whether to ask before the last devices are deleted that have your
#'   identity, where recovery is not set up; an answer other than yes is an error of
#'   class `mx_error_declined`. Without it that is a warning of class
#'   `mx_warning_keys_lost`.
#' @return `mx_devices()`: a data frame with a row for each device: `user_id`,
#'   `device_id`, `display_name`, `ed25519` (its fingerprint), `curve25519`,
#'   `trust`, an ordered factor as in [mx_sync()], and the reasons for it:
#'   `signed_by_owner` (by the identity that the server returns now),
#'   `cross_signing_verified` (by a verified identity), `locally_verified`,
#'   `blocked`, `dehydrated` (see [mx_dehydrated_device_create()]), `key_changed`
#'   (the server returned another key for it, which was refused) and `problem`: why a
#'   device gets no room keys whatever its trust, for example because it does not
#'   support Megolm or its keys are not signed by itself. Such a device has the trust
#'   `none`. `NA` if there is no problem. At most 20 such devices of a user are
#'   listed. Of your own devices, `last_seen_ts` (POSIXct) and `last_seen_ip` are when
#'   and from where the server saw each last, and `this_device` is `TRUE` for the one
#'   you are using. Devices without encryption keys are not listed. The others `NULL`,
#'   invisibly.
#' @section Errors:
#' If the server does not return when your devices were last seen, that is a warning of
#' class `mx_warning_devices`.
#'
#' `mx_error_identity`: no such device, another fingerprint, or this device cannot
#' sign for you (see [mx_crypto_setup()]). `mx_error_approval`: the server requires
#' your approval in a browser. Open the `url` of the condition, approve the deletion,
#' and make the same call again. An approval counts only for the same devices.
#' @family trust and verification
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
#' mx_devices(alice, alice$user_id)[c("device_id", "trust")]
#' mx_crypto_setup(alice)
#' mx_devices(alice, alice$user_id)[c("device_id", "trust")]
#'
#' other <- mx_demo_client(homeserver, "alice", verified = FALSE)
#' fingerprint <- mxc_account_identity_keys(mx_crypto_account(other$store_dir))
#' mx_device_sign(alice, other$device_id, fingerprint$ed25519)
#' mx_device_rename(alice, other$device_id, "nightly bot")
#' mx_devices(alice, alice$user_id)[c("display_name", "last_seen_ts", "this_device")]
#' mx_device_delete(alice, other$device_id, password = "demo")
#'
#' bob <- mx_demo_client(homeserver, "bob", verified = FALSE)
#' device <- mx_devices(alice, bob$user_id)
#' mx_device_verify(alice, bob$user_id, device$device_id, device$ed25519)
#' mx_devices(alice, bob$user_id)[c("trust", "locally_verified")]
#' mx_device_block(alice, bob$user_id, device$device_id)
#' mx_devices(alice, bob$user_id)$trust
#' @export
mx_devices <- function(client, user_ids) {
  machine <- machine_of(check_client(client))
  check_user_ids(user_ids)
  core(machine_refresh_devices(machine, user_ids))
  pump(client, users = user_ids)
  columns <- core(machine_devices(machine, user_ids))
  devices <- data.frame(columns[c(
    "user_id",
    "device_id",
    "display_name",
    "ed25519",
    "curve25519",
    "trust",
    "signed_by_owner",
    "cross_signing_verified",
    "locally_verified",
    "blocked",
    "dehydrated",
    "key_changed"
  )])
  devices[["problem"]] <- rep(NA_character_, nrow(devices))
  refused <- data.frame(core(machine_refused_devices(machine, user_ids)))
  if (nrow(refused) > 0L) {
    rows <- devices[rep(NA_integer_, nrow(refused)), , drop = FALSE]
    rows[names(refused)] <- refused
    flags <- vapply(rows, is.logical, NA)
    rows[flags] <- FALSE
    rows[["trust"]] <- "none"
    devices <- rbind(devices, rows)
    rownames(devices) <- NULL
  }
  devices[["trust"]] <- as_trust(devices[["trust"]])
  with_last_seen(client, devices, client[["user_id"]] %in% user_ids)
}

# When the server saw our own devices last, which it tells of nobody else's.
with_last_seen <- function(client, devices, ask) {
  signed_in <- if (ask) {
    tryCatch(signed_in_devices(client), mx_error = function(condition) {
      mx_warn(
        c(
          "When your devices were last seen could not be read.",
          x = conditionMessage(condition)
        ),
        "mx_warning_devices",
        cause = condition
      )
      no_devices
    })
  } else {
    no_devices
  }
  own <- devices[["user_id"]] == client[["user_id"]]
  at <- match(devices[["device_id"]], signed_in[["device_id"]])
  at[!own] <- NA
  columns <- c("last_seen_ts", "last_seen_ip")
  devices[columns] <- lapply(signed_in[columns], function(column) column[at])
  # Nobody tells this device its own name with its keys.
  unnamed <- is.na(devices[["display_name"]])
  named <- signed_in[["display_name"]][at]
  devices[["display_name"]][unnamed] <- named[unnamed]
  devices[["this_device"]] <- own &
    devices[["device_id"]] == client[["device_id"]]
  devices
}

# Our own devices as the server lists them, also those without keys.
# Specification: client-server API, "GET /devices".
signed_in_devices <- function(client, call = caller_env()) {
  shown <- http_json(client, "GET", api_path("devices"), call = call)
  shown <- Filter(
    function(device) is_string(json_at(device, "device_id")),
    as.list(shown[["devices"]])
  )
  text <- function(name) {
    one <- function(device) {
      value <- json_at(device, name)
      if (is_string(value)) value else NA_character_
    }
    vapply(shown, one, "")
  }
  # In milliseconds since 1970; servers that do not know say nothing, or 0.
  seen <- function(device) {
    value <- json_at(device, "last_seen_ts")
    is_time <- is.numeric(value) &&
      length(value) == 1L &&
      isTRUE(value > 0 && value < 2^53)
    if (is_time) value / 1000 else NA_real_
  }
  data.frame(
    device_id = text("device_id"),
    display_name = text("display_name"),
    last_seen_ts = as.POSIXct(
      vapply(shown, seen, 0),
      origin = "1970-01-01",
      tz = "UTC"
    ),
    last_seen_ip = text("last_seen_ip")
  )
}

no_devices <- data.frame(
  device_id = character(),
  display_name = character(),
  last_seen_ts = as.POSIXct(numeric(), origin = "1970-01-01", tz = "UTC"),
  last_seen_ip = character()
)

#' @rdname mx_devices
#' @export
mx_device_verify <- function(client, user_id, device_id, fingerprint) {
  check_client(client)
  check_string(fingerprint)
  decide_on_device(client, user_id, device_id, "verified", fingerprint)
}

#' @rdname mx_devices
#' @export
mx_device_block <- function(client, user_id, device_id, blocked = TRUE) {
  check_client(client)
  check_flag(blocked)
  local <- if (blocked) "blocked" else "unset"
  decide_on_device(client, user_id, device_id, local)
}

decide_on_device <- function(
  client,
  user_id,
  device_id,
  local,
  fingerprint = NULL,
  call = caller_env()
) {
  machine <- machine_of(client, call = call)
  check_user_ids(check_string(user_id, call = call), "user_id", call)
  check_string(device_id, call = call)
  if (identical(c(user_id, device_id), own_ids(client))) {
    argument_abort("device_id", "another device than this one", call)
  }
  core(machine_refresh_devices(machine, user_id), call = call)
  pump(client, users = user_id, call = call)
  decided <- machine_set_local_trust(
    machine,
    user_id,
    device_id,
    fingerprint,
    local
  )
  core(decided, call = call)
  invisible()
}

own_ids <- function(client) c(client[["user_id"]], client[["device_id"]])

#' @rdname mx_devices
#' @export
mx_device_sign <- function(client, device_id, fingerprint) {
  machine <- machine_of(check_client(client))
  check_string(device_id)
  check_string(fingerprint)
  own_identity(client, machine)
  upload <- machine_device_signature_upload(machine, device_id, fingerprint)
  answer <- upload_signatures(client, core(upload))
  devices <- mx_devices(client, client[["user_id"]])
  trust <- devices[["trust"]][devices[["device_id"]] == device_id]
  if (!isTRUE(trust == "verified")) {
    signature_abort(paste(device_id, "does not show as signed."), answer)
  }
  invisible()
}

#' @rdname mx_devices
#' @export
mx_device_rename <- function(client, device_id, display_name) {
  check_client(client)
  path <- api_path("devices", check_string(device_id))
  body <- list(display_name = check_string(display_name))
  http_json(client, "PUT", path, body)
  invisible()
}

delete_devices <- function(client, device_ids, password, call) {
  path <- api_path("delete_devices")
  with_authentication(client, path, password, call, function(auth) {
    body <- list(devices = I(device_ids))
    body[["auth"]] <- if (!is.null(auth)) structure(auth, class = "json")
    as_json_text(body)
  })
}

#' @rdname mx_devices
#' @export
mx_device_delete <- function(
  client,
  device_ids,
  password = NULL,
  ask = rlang::is_interactive()
) {
  machine <- machine_of(check_client(client))
  check_strings(device_ids)
  check_string(password, null = TRUE)
  check_flag(ask)
  if (client[["device_id"]] %in% device_ids) {
    argument_abort(
      "device_ids",
      "other devices than this one, which mx_logout() signs out",
      caller_env()
    )
  }
  agree_to_sign_out(client, device_ids, ask, NULL)
  if (has_account_page(client)) {
    delete_on_page(client, device_ids, caller_env())
  } else {
    delete_devices(client, device_ids, password, caller_env())
  }
  own_identity(client, machine)
  left <- intersect(device_ids, signed_in_devices(client)[["device_id"]])
  if (length(left) > 0L) {
    mx_abort(
      c(
        "The server still lists devices that were signed out.",
        x = paste(printable(left), collapse = ", ")
      ),
      "mx_error_answer"
    )
  }
  invisible()
}

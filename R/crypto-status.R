#' Encryption status of this device
#'
#' `mx_crypto_status()` reports the state of this device, your identity, secret storage,
#' key backup, and messages that wait: call it first when something does not work.
#' `mx_cross_signing_status()` reports where the keys of your identity are, and
#' `mx_cross_signing_ready()` whether others can trust this device and it can sign for
#' you.
#'
#' @inheritParams mx_client_session
#' @return
#' * `mx_crypto_status()`: an object of class `mx_crypto_status`, a list of
#'   `user_id`, `device_id`, `fingerprint`, `device_signed`, `isolation`,
#'   `master_key`, `identity_changed`, `identity_refused` (why the identity that the
#'   server returns is refused, or `NULL`), `secret_storage` (whether there is any),
#'   `key_backup` (see [mx_backup_status()]), `key_storage`,
#'   `recovery_key` (whether a new one was not saved yet), `one_time_keys` (how many the
#'   server holds), `waiting_to_send`, `cross_signing`, `out_of_sync`, `devices` (your
#'   own, as in [mx_devices()]) and `users` (of whom this device remembers a verification,
#'   as in [mx_user_trust()]).
#'
#'   `key_storage` is a list: `on` (whether message keys of this device go to a key
#'   backup), `recovery` (`"set_up"` where secret storage has all that a new device
#'   needs, `"incomplete"` where it lacks some, `"not_set_up"` where there is none),
#'   `uploaded` (what leaves this device, always encrypted: `"identity"`,
#'   `"messages"`), `new_device_reads_history`, and `outlives_all_devices` (whether
#'   identity and history can be restored when all devices are lost).
#'
#'   `out_of_sync` is a data frame with a row for each problem:
#'   `problem` (`"identity_missing"`, `"identity_unfinished"`,
#'   `"identity_changed"`, `"identity_refused"`, `"private_keys_missing_here"`,
#'   `"private_keys_lost_here"`, `"private_keys_under_other_key"`,
#'   `"private_keys_not_stored"`, `"secret_storage_broken"`, `"device_unsigned"`,
#'   `"backup_missing"`, `"backup_unfinished"`, `"backup_broken"`, `"backup_refused"`,
#'   `"backup_key_missing_here"`, `"backup_key_differs"`, `"backup_unused"`,
#'   `"backup_behind"`), `message`,
#'   `repair` (what repairs it) and `mendable` (whether [mx_crypto_repair()] can).
#' * `mx_cross_signing_status()`: a list of `public_keys_on_device`,
#'   `private_keys_in_secret_storage` and `private_keys_cached` (of `master`,
#'   `self_signing`, `user_signing`), each logical.
#' * `mx_cross_signing_ready()`: `TRUE` or `FALSE`.
#' @section Errors:
#' `mx_error_network`, `mx_error_http`, `mx_error_answer`.
#' @seealso [mx_crypto_repair()], which repairs; [mx_doctor()], which also checks the
#'   installation, the network and the login; [plot()][plot.mx_crypto_status], which draws
#'   the chain of trust.
#' @family identity and recovery
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
#' mx_cross_signing_ready(alice)
#' mx_crypto_setup(alice)
#' mx_cross_signing_ready(alice)
#' mx_crypto_status(alice)
#' @export
mx_crypto_status <- function(client) {
  machine <- machine_of(check_client(client))
  now <- key_storage_now(client, machine)
  identity <- now[["identity"]]
  structure(
    list(
      user_id = client[["user_id"]],
      device_id = client[["device_id"]],
      fingerprint = core(machine_identity_keys(machine))[["ed25519"]],
      device_signed = identity[["device_signed"]],
      isolation = core(machine_isolation(machine, NULL)),
      master_key = identity[["master_key"]],
      identity_changed = identity[["changed"]],
      identity_refused = identity[["refused"]],
      secret_storage = !is.null(now[["storage"]][["default_key"]]),
      key_backup = new_backup_status(client, now),
      key_storage = describe_key_storage(now),
      recovery_key = identity[["recovery_key"]],
      one_time_keys = core(machine_key_upload(machine))[["one_time_keys"]],
      waiting_to_send = core(machine_waiting_to_send(machine)),
      cross_signing = describe_cross_signing(now),
      out_of_sync = key_storage_problems(now),
      devices = own_devices_known(client, machine),
      users = users_known(client, machine)
    ),
    class = "mx_crypto_status"
  )
}

#' @rdname mx_crypto_status
#' @export
mx_cross_signing_status <- function(client) {
  machine <- machine_of(check_client(client))
  describe_cross_signing(key_storage_now(client, machine))
}

#' @rdname mx_crypto_status
#' @export
mx_cross_signing_ready <- function(client) {
  machine <- machine_of(check_client(client))
  status <- own_identity(client, machine)
  status[["device_signed"]] && all(identity_keys %in% status[["held"]])
}

# That secret storage has the keys under its default key does not say that they
# hold: only its key can tell.
describe_cross_signing <- function(now) {
  identity <- now[["identity"]]
  list(
    public_keys_on_device = !is.null(identity[["master_key"]]) &&
      !identity[["changed"]],
    private_keys_in_secret_storage = all(stored_secrets(now)[identity_keys]),
    private_keys_cached = vapply(
      identity_keys,
      function(name) name %in% identity[["held"]],
      NA
    )
  )
}

#' @export
print.mx_crypto_status <- function(x, ...) {
  print_lines(format(x, ...))
  invisible(x)
}

#' @export
format.mx_crypto_status <- function(x, ...) {
  yes <- function(flag) if (flag) "yes" else "no"
  cross_signing <- x[["cross_signing"]]
  c(
    paste0("<mx_crypto_status> ", x[["user_id"]]),
    paste0("device:          ", x[["device_id"]]),
    paste0("  fingerprint:   ", x[["fingerprint"]]),
    paste0("  signed by you: ", yes(x[["device_signed"]])),
    paste0("  keys go to:    ", isolation_sentence(x[["isolation"]])),
    paste0("identity:        ", x[["master_key"]] %||% "none"),
    if (x[["identity_changed"]]) "  CHANGED: this device knew another one",
    if (!is.null(x[["identity_refused"]])) {
      paste0("  REFUSED: ", printable(x[["identity_refused"]]))
    },
    paste0(
      "  private keys:  ",
      sum(cross_signing[["private_keys_cached"]]),
      " of 3 on this device, ",
      if (!cross_signing[["private_keys_in_secret_storage"]]) "not ",
      "in secret storage"
    ),
    paste0("secret storage:  ", yes(x[["secret_storage"]])),
    if (x[["recovery_key"]]) {
      "  a new recovery key is not saved yet: see ?mx_recovery_key_write"
    },
    paste0(
      "key storage:     ",
      if (x[["key_storage"]][["on"]]) "on" else "off",
      ", recovery ",
      gsub("_", " ", x[["key_storage"]][["recovery"]])
    ),
    paste0("key backup:      ", describe_backup(x[["key_backup"]])),
    paste0("one-time keys:   ", x[["one_time_keys"]], " on the server"),
    paste0("waiting to send: ", plural(x[["waiting_to_send"]], "message")),
    describe_problems(x[["out_of_sync"]])
  )
}

# See mx_isolation_mode().
isolation_sentence <- function(mode) {
  switch(
    mode,
    all = "all devices",
    verified_users = "all devices, unless a verified user has an unsigned one",
    signed = "devices that their owner signed",
    mode
  )
}

describe_problems <- function(problems) {
  if (nrow(problems) > 0L) {
    c(
      "OUT OF SYNC:",
      paste0("  ", problems[["message"]]),
      if (any(problems[["mendable"]])) "Run mx_crypto_repair(client).",
      problems[["repair"]][!problems[["mendable"]]]
    )
  }
}

describe_backup <- function(backup) {
  if (!is.null(backup[["failure"]])) {
    return("BROKEN: the server does not return which one there is")
  }
  if (is.null(backup[["version"]])) {
    return("none")
  }
  paste0(
    "version ",
    printable(backup[["version"]]),
    if (!backup[["trusted"]]) {
      ", not trusted"
    } else if (!isTRUE(backup[["enabled"]])) {
      ", not used by this device"
    } else {
      paste0(
        ", ",
        backup[["backed_up"]],
        " of ",
        plural(backup[["keys"]], "key", "keys", "backed up")
      )
    },
    if (!backup[["key_held"]]) ", its key is not on this device"
  )
}

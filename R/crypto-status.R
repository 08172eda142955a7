#' What stands, when something is wrong
#'
#' `mx_crypto_status()` is the page to read first: this device, your identity,
#' secret storage, and what waits. `mx_cross_signing_status()` says where the
#' keys of your identity are, and `mx_cross_signing_ready()` whether this device
#' can be trusted by others and can sign for you.
#'
#' @inheritParams mx_client_session
#' @return
#' * `mx_crypto_status()`: an object of class `mx_crypto_status`, a list of
#'   `user_id`, `device_id`, `fingerprint`, `device_signed`, `isolation`,
#'   `master_key`, `identity_changed`, `identity_refused` (why what the server
#'   shows is no identity, or `NULL`), `secret_storage` (whether there is some),
#'   `key_backup` (see [mx_backup_status()]),
#'   `recovery_key` (whether one waits to be saved), `one_time_keys` (how many the
#'   server holds), `waiting_to_send` and `cross_signing`.
#' * `mx_cross_signing_status()`: a list of `public_keys_on_device`,
#'   `private_keys_in_secret_storage` and `private_keys_cached` (of `master`,
#'   `self_signing`, `user_signing`), each logical.
#' * `mx_cross_signing_ready()`: `TRUE` or `FALSE`.
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
  cross_signing <- mx_cross_signing_status(client)
  identity <- core(machine_identity_status(machine))
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
      secret_storage = !is.null(secret_storage(client)[["default_key"]]),
      key_backup = mx_backup_status(client),
      recovery_key = identity[["recovery_key"]],
      one_time_keys = core(machine_key_upload(machine))[["one_time_keys"]],
      waiting_to_send = core(machine_waiting_to_send(machine)),
      cross_signing = cross_signing
    ),
    class = "mx_crypto_status"
  )
}

#' @rdname mx_crypto_status
#' @export
mx_cross_signing_status <- function(client) {
  machine <- machine_of(check_client(client))
  status <- own_identity(client, machine)
  list(
    public_keys_on_device = !is.null(status[["master_key"]]) &&
      !status[["changed"]],
    private_keys_in_secret_storage = secrets_are_stored(client),
    private_keys_cached = vapply(
      identity_keys,
      function(name) name %in% status[["held"]],
      NA
    )
  )
}

#' @rdname mx_crypto_status
#' @export
mx_cross_signing_ready <- function(client) {
  machine <- machine_of(check_client(client))
  status <- own_identity(client, machine)
  status[["device_signed"]] && all(identity_keys %in% status[["held"]])
}

# Whether secret storage has the three keys under its default key. Whether they
# hold, only its key can tell.
secrets_are_stored <- function(client) {
  names <- paste0("m.cross_signing.", identity_keys)
  all(names %in% secret_storage(client)[["secrets"]])
}

#' @export
print.mx_crypto_status <- function(x, ...) {
  cat(format(x, ...), sep = "\n")
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
    paste0("  keys go to:    ", x[["isolation"]]),
    paste0("identity:        ", x[["master_key"]] %||% "none"),
    if (x[["identity_changed"]]) "  CHANGED: another one than this device knew",
    if (!is.null(x[["identity_refused"]])) {
      paste0("  REFUSED: ", printable(x[["identity_refused"]]))
    },
    paste0(
      "  private keys:  ",
      sum(cross_signing[["private_keys_cached"]]),
      " of 3 here, ",
      if (!cross_signing[["private_keys_in_secret_storage"]]) "not ",
      "in secret storage"
    ),
    paste0("secret storage:  ", yes(x[["secret_storage"]])),
    if (x[["recovery_key"]]) "  a recovery key waits to be saved",
    paste0("key backup:      ", describe_backup(x[["key_backup"]])),
    paste0("one-time keys:   ", x[["one_time_keys"]], " at the server"),
    paste0("waiting to send: ", x[["waiting_to_send"]]),
    if (!x[["device_signed"]]) {
      "Run mx_crypto_setup(): others cannot trust this device yet."
    }
  )
}

describe_backup <- function(backup) {
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
      paste0(", ", backup[["backed_up"]], " of ", backup[["keys"]], " keys")
    },
    if (!backup[["key_held"]]) ", its key is not here"
  )
}

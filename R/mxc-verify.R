#' Verify device keys and one-time keys from a server
#'
#' A homeserver returns any keys that were uploaded to it, also with signatures that
#' are not valid. `mxc_verify_device_keys()` verifies that a `device_keys` object belongs
#' to the device it was returned for and is signed by it;
#' `mxc_verify_one_time_key()` that a claimed key is signed by the device.
#'
#' @param device_keys,key_object JSON text as the server sent it, one or more
#'   strings. An R list is written with [mxc_json()] first; that is for objects
#'   made in R, because lists read from a server's JSON have lost what
#'   signatures cover.
#' @param expected_user_id,expected_device_id The names under which the object
#'   was returned, one for each object.
#' @param required_algorithms Algorithms that must be listed: `NULL` for Olm and
#'   Megolm, `character(0)` for none.
#' @param algorithm_key_id The name of the key: `signed_curve25519:…`.
#' @param signing_ed25519 The Ed25519 key of the device, verified before.
#' @return For one object: `mxc_verify_device_keys()` a list of two strings,
#'   `curve25519` and `ed25519`; `mxc_verify_one_time_key()` the key. For
#'   several: a data frame with a row for each and a column `error`, `NA` where
#'   all is well.
#' @section Errors:
#' For one object, of class `mxc_error_verification`, with the reason.
#' @references Client-server API, "Device keys" and "Key algorithms":
#'   <https://spec.matrix.org/v1.19/client-server-api/#device-keys>
#' @family cryptographic primitives
#' @examples
#' account <- mxc_account_new()
#' keys <- mxc_device_keys(account, "@alice:example.org", "ALICE")
#' mxc_verify_device_keys(keys, "@alice:example.org", "ALICE")
#' try(mxc_verify_device_keys(keys, "@alice:example.org", "MALLORY"))
#' @export
mxc_verify_device_keys <- function(
  device_keys,
  expected_user_id,
  expected_device_id,
  required_algorithms = NULL
) {
  required <- required_algorithms
  if (is.null(required)) {
    required <- c("m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2")
  }
  texts <- as_json_texts(device_keys)
  n <- length(texts)
  verdict <- judge_device_keys(
    texts,
    recycled(expected_user_id, n),
    recycled(expected_device_id, n),
    required
  )
  verdicts(primitive(verdict), c("curve25519", "ed25519"))
}

#' @rdname mxc_verify_device_keys
#' @export
mxc_verify_one_time_key <- function(
  algorithm_key_id,
  key_object,
  signing_ed25519,
  expected_user_id,
  expected_device_id
) {
  texts <- as_json_texts(key_object)
  n <- length(texts)
  verdict <- judge_one_time_keys(
    algorithm_key_id,
    texts,
    recycled(signing_ed25519, n),
    recycled(expected_user_id, n),
    recycled(expected_device_id, n)
  )
  found <- verdicts(primitive(verdict), "key")
  if (is.data.frame(found)) found else found[["key"]]
}

# Strings are JSON text each; anything else is one R value.
as_json_texts <- function(x) {
  if (is.character(x)) unclass(x) else unclass(mxc_json(x))
}

# One string stands for each of `n`; whether anything else fits, the core says.
recycled <- function(x, n) {
  if (is_string(x)) rep(x, n) else x
}

# One verdict is a value or an error, several are rows.
verdicts <- function(columns, good, call = caller_env()) {
  error <- columns[["error"]]
  if (length(error) != 1L) {
    return(data.frame(columns))
  }
  if (!is.na(error)) {
    class <- c("mxc_error_verification", "mxc_error")
    mx_abort(error, class, call = call)
  }
  columns[good]
}

#' Sign device keys and one-time keys for upload
#'
#' @inheritParams mxc_account
#' @param user_id,device_id Whose keys these are.
#' @param key A public one-time key, base64.
#' @param fallback Whether it is a fallback key, which the signature covers.
#' @return JSON text: the object, signed by the account.
#' @references Client-server API, "Uploading keys":
#'   <https://spec.matrix.org/v1.19/client-server-api/#uploading-keys>
#' @family cryptographic primitives
#' @examples
#' account <- mxc_account_new()
#' mxc_device_keys(account, "@alice:example.org", "ALICE")
#'
#' mxc_account_generate_one_time_keys(account, 1)
#' key <- mxc_account_one_time_keys(account)[[1]]
#' mxc_one_time_key(account, key, "@alice:example.org", "ALICE")
#' @export
mxc_device_keys <- function(account, user_id, device_id) {
  account <- pointer(account, "mxc_account")
  json <- primitive(account_device_keys(account, user_id, device_id))
  structure(json, class = "json")
}

#' @rdname mxc_device_keys
#' @export
mxc_one_time_key <- function(
  account,
  key,
  user_id,
  device_id,
  fallback = FALSE
) {
  account <- pointer(account, "mxc_account")
  json <- account_sign_one_time_key(account, key, fallback, user_id, device_id)
  structure(primitive(json), class = "json")
}

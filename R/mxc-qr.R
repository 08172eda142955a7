#' Encode and decode QR codes of a verification
#'
#' `mxc_qr_encode()` encodes the content of a QR code with which one device or user
#' verifies another: the keys of the side that shows it, the keys that this side knows of
#' the other, and a secret that proves that it was scanned. `mxc_qr_decode()` decodes it.
#' The side that scans a code must compare the keys in it with those it knows itself. See
#' [mxc_qr_symbol()] for the picture.
#'
#' The mode tells which two keys these are, both as the side that shows the code knows
#' them:
#'
#' * `"user"`: for another user. First the own master key, then that of the other user.
#' * `"trusted_device"`: for another device of the same user, shown by a device that trusts
#'   the user's master key. First that key, then the Ed25519 key of the other device.
#' * `"untrusted_device"`: the same, shown by a device that does not trust the master key
#'   yet. First its own Ed25519 key, then the master key.
#'
#' @param mode One of those above.
#' @param flow_id The event id of the verification request, or its transaction id.
#' @param first_key,second_key Ed25519 public keys, base64.
#' @param secret At least 8 bytes, a raw vector; `NULL`: 16 random ones.
#' @param bytes A raw vector: what a QR code holds.
#' @return `mxc_qr_encode()`: a raw vector. `mxc_qr_decode()`: a list of what is
#'   given to `mxc_qr_encode()`.
#' @section Errors:
#' Of class `mxc_error`: `mxc_error_qr_code` (not a code of a verification in
#' Matrix, of another version, cut off, too short a secret), `mxc_error_encoding`
#' (not a key), `mxc_error_argument`.
#' @references Client-server API, "QR codes":
#'   <https://spec.matrix.org/v1.19/client-server-api/#qr-codes>
#' @family cryptographic primitives
#' @examples
#' mine <- mxc_account_identity_keys(mxc_account_new())[["ed25519"]]
#' yours <- mxc_account_identity_keys(mxc_account_new())[["ed25519"]]
#' bytes <- mxc_qr_encode("user", "$request", mine, yours)
#' mxc_qr_decode(bytes)[["second_key"]] == yours
#' @export
mxc_qr_encode <- function(
  mode,
  flow_id,
  first_key,
  second_key,
  secret = NULL
) {
  primitive(qr_encode(mode, flow_id, first_key, second_key, secret))
}

#' @rdname mxc_qr_encode
#' @export
mxc_qr_decode <- function(bytes) {
  primitive(qr_decode(bytes))
}

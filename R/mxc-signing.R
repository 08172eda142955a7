#' Verify signatures, and sign JSON
#'
#' `mxc_ed25519_verify()` checks signatures of bytes. `mxc_json_sign()` and
#' `mxc_json_verify()` sign and check JSON objects: the signature covers the
#' canonical form of everything but `signatures` and `unsigned`.
#'
#' @inheritParams mxc_account
#' @param public_key One or more Ed25519 public keys, base64.
#' @param message A raw vector, or a list of raw vectors. Text is refused by
#'   `mxc_ed25519_verify()`: which bytes were signed must be known.
#' @param signature One signature, base64, for each message.
#' @param json A JSON object as text (or an R value for [mxc_json()], to sign).
#' @param entity Who signs: a user id, or a server name.
#' @param key_id With which key: `ed25519:DEVICEID`.
#' @return `mxc_ed25519_verify()`: `TRUE` or `FALSE` for each message.
#'   `mxc_json_sign()`: the object with the signature added, as canonical JSON
#'   text. `mxc_json_verify()`: `TRUE` or `FALSE`.
#' @section Errors:
#' Of class `mxc_error`: `mxc_error_encoding` (not a key, not a signature),
#' `mxc_error_json` (not an object, or not canonical), `mxc_error_argument`.
#' @references Appendices, "Signing JSON":
#'   <https://spec.matrix.org/v1.19/appendices/#signing-json>
#' @family cryptographic primitives
#' @examples
#' account <- mxc_account_new()
#' key <- mxc_account_identity_keys(account)[["ed25519"]]
#' message <- charToRaw("hello")
#' mxc_ed25519_verify(key, message, mxc_account_sign(account, message))
#'
#' signed <- mxc_json_sign('{"n": 1}', account, "@alice:example.org", "ed25519:A")
#' mxc_json_verify(signed, "@alice:example.org", "ed25519:A", key)
#' mxc_json_verify(sub("1", "2", signed), "@alice:example.org", "ed25519:A", key)
#' @export
mxc_ed25519_verify <- function(public_key, message, signature) {
  if (!is.raw(message) && !is.list(message)) {
    mx_abort(
      "`message` must be a raw vector, or a list of raw vectors.",
      c("mxc_error_argument", "mxc_error")
    )
  }
  n <- if (is.raw(message)) 1L else length(message)
  primitive(ed25519_verify(recycled(public_key, n), message, signature))
}

#' @rdname mxc_ed25519_verify
#' @export
mxc_json_sign <- function(json, account, entity, key_id) {
  json <- as_json_text(json)
  if (!inherits(account, "mx_crypto_account")) {
    account <- pointer(account, "mxc_account")
    return(primitive(json_sign(json, account, entity, key_id)))
  }
  signature <- mxc_account_sign(account, primitive(json_signed_bytes(json)))
  primitive(json_add_signature(json, entity, key_id, signature))
}

#' @rdname mxc_ed25519_verify
#' @export
mxc_json_verify <- function(json, entity, key_id, public_key) {
  primitive(json_verify(json, entity, key_id, public_key))
}

#' Olm sessions
#'
#' An Olm session encrypts between two devices. One side opens it with a
#' one-time key that it claimed and verified, the other with the first message.
#' Until it has heard back, a side sends pre-key messages (type 0); then normal
#' ones (type 1).
#'
#' @inheritParams mxc_account
#' @param peer_curve25519 The identity key of the peer's device, base64.
#' @param peer_otk A one-time or fallback key of that device, base64: verify it
#'   first with [mxc_verify_one_time_key()].
#' @param prekey_b64 The body of a pre-key message, base64, padded or not.
#' @param session A session.
#' @param plaintext A raw vector or one string.
#' @param type 0 or 1, as it came with the message.
#' @param body The body of the message, base64, padded or not.
#' @param blob A pickled session, one string.
#' @return
#' * `mxc_olm_create_outbound()`, `mxc_olm_session_unpickle()`: an object of
#'   class `mxc_olm_session`.
#' * `mxc_olm_create_inbound()`: a list of `session` and `plaintext` (raw). The
#'   account has used up the one-time key then; if it fails, it has not.
#' * `mxc_olm_encrypt()`: a list of `type` (integer) and `body` (base64 without
#'   padding).
#' * `mxc_olm_decrypt()`: a raw vector.
#' * `mxc_olm_session_id()`, `mxc_olm_session_pickle()`: one string.
#' @section Errors:
#' Of class `mxc_error`: `mxc_error_olm` (a message or a key is refused),
#' `mxc_error_encoding`, `mxc_error_handle`, `mxc_error_pickle`.
#' @references Client-server API, "`m.olm.v1.curve25519-aes-sha2`":
#'   <https://spec.matrix.org/v1.19/client-server-api/#molmv1curve25519-aes-sha2>
#' @family cryptographic primitives
#' @examples
#' alice <- mxc_account_new()
#' bob <- mxc_account_new()
#' mxc_account_generate_one_time_keys(bob, 1)
#'
#' session <- mxc_olm_create_outbound(
#'   alice,
#'   peer_curve25519 = mxc_account_identity_keys(bob)[["curve25519"]],
#'   peer_otk = mxc_account_one_time_keys(bob)[[1]]
#' )
#' message <- mxc_olm_encrypt(session, "hello")
#' message[["type"]]
#'
#' received <- mxc_olm_create_inbound(
#'   bob,
#'   peer_curve25519 = mxc_account_identity_keys(alice)[["curve25519"]],
#'   prekey_b64 = message[["body"]]
#' )
#' rawToChar(received[["plaintext"]])
#'
#' reply <- mxc_olm_encrypt(received[["session"]], "hello yourself")
#' rawToChar(mxc_olm_decrypt(session, reply[["type"]], reply[["body"]]))
#' @name mxc_olm
NULL

#' @rdname mxc_olm
#' @export
mxc_olm_create_outbound <- function(account, peer_curve25519, peer_otk) {
  account <- pointer(account, "mxc_account")
  session <- primitive(olm_outbound(account, peer_curve25519, peer_otk))
  new_handle(session, "mxc_olm_session")
}

#' @rdname mxc_olm
#' @export
mxc_olm_create_inbound <- function(account, peer_curve25519, prekey_b64) {
  account <- pointer(account, "mxc_account")
  opened <- primitive(olm_inbound(account, peer_curve25519, prekey_b64))
  opened[["session"]] <- new_handle(opened[["session"]], "mxc_olm_session")
  opened
}

#' @rdname mxc_olm
#' @export
mxc_olm_encrypt <- function(session, plaintext) {
  primitive(olm_encrypt(pointer(session, "mxc_olm_session"), plaintext))
}

#' @rdname mxc_olm
#' @export
mxc_olm_decrypt <- function(session, type, body) {
  primitive(olm_decrypt(pointer(session, "mxc_olm_session"), type, body))
}

#' @rdname mxc_olm
#' @export
mxc_olm_session_id <- function(session) {
  primitive(olm_session_id(pointer(session, "mxc_olm_session")))
}

#' @rdname mxc_olm
#' @export
mxc_olm_session_pickle <- function(session, key) {
  primitive(olm_session_pickle(pointer(session, "mxc_olm_session"), key))
}

#' @rdname mxc_olm
#' @export
mxc_olm_session_unpickle <- function(blob, key) {
  new_handle(primitive(olm_session_unpickle(blob, key)), "mxc_olm_session")
}

#' @export
describe.mxc_olm_session <- function(x) {
  paste("session id:", mxc_olm_session_id(x))
}

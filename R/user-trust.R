#' Trust in users and their identities
#'
#' `mx_user_trust()` reports whether users are verified, and whether their identity
#' changed. A user's identity is the master key that vouches for the user's devices. The
#' first one seen is pinned. If the server returns another one later, the devices
#' behind it have the trust `identity_changed`, and get no keys in the
#' isolation mode `"signed"` ([mx_isolation_mode()]); and if the user had been
#' verified, nothing is sent into a room with that user in any mode. Both end
#' when the new identity is verified, or accepted with `mx_user_pin()`.
#' `mx_user_withdraw()` is the same function, named for withdrawing a verification.
#'
#' `mx_user_sign()` signs another user's identity with yours, after you compared
#' its master key with the user, by another channel than this server. All your
#' devices then report the user as verified.
#'
#' @inheritParams mx_client_session
#' @param user_ids,user_id User ids; one user id.
#' @param master_key The master key that you compared, as the user's own client
#'   shows it.
#' @return `mx_user_trust()`: a data frame with a row for each user: `user_id`,
#'   `master_key` (`NA` for users without an identity), `verified`, `was_verified`
#'   and `needs_approval` (the server returns another identity than the pinned one). The
#'   others return the row of the user afterwards, invisibly.
#' @section Errors:
#' `mx_error_identity`: no identity, another one than you compared, or this device
#' cannot sign for you (see [mx_crypto_setup()]).
#' @references Client-server API, "Cross-signing":
#'   <https://spec.matrix.org/v1.19/client-server-api/#cross-signing>
#' @family trust and verification
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
#' bob <- mx_demo_client(homeserver, "bob", verified = FALSE)
#' mx_crypto_setup(alice)
#' shown_to_bob <- mx_crypto_setup(bob)$master_key
#'
#' mx_user_trust(alice, bob$user_id)
#' mx_user_sign(alice, bob$user_id, shown_to_bob)
#' mx_user_trust(alice, bob$user_id)$verified
#' mx_devices(alice, bob$user_id)$trust
#' @export
mx_user_trust <- function(client, user_ids) {
  machine <- machine_of(check_client(client))
  check_user_ids(user_ids)
  core(machine_refresh_devices(machine, user_ids))
  pump(client, users = user_ids)
  data.frame(core(machine_user_trust(machine, user_ids)))
}

#' @rdname mx_user_trust
#' @export
mx_user_sign <- function(client, user_id, master_key) {
  machine <- machine_of(check_client(client))
  check_user_ids(check_string(user_id), "user_id")
  check_string(master_key)
  mx_user_trust(client, user_id)
  body <- core(machine_user_signature_upload(machine, user_id, master_key))
  answer <- upload_signatures(client, body)
  trust <- mx_user_trust(client, user_id)
  if (!trust[["verified"]]) {
    signature_abort(paste(user_id, "does not show as verified."), answer)
  }
  invisible(trust)
}

#' @rdname mx_user_trust
#' @export
mx_user_pin <- function(client, user_id) {
  machine <- machine_of(check_client(client))
  check_user_ids(check_string(user_id), "user_id")
  mx_user_trust(client, user_id)
  core(machine_pin_identity(machine, user_id))
  invisible(data.frame(core(machine_user_trust(machine, user_id))))
}

#' @rdname mx_user_trust
#' @export
mx_user_withdraw <- mx_user_pin

upload_signatures <- function(client, body, call = caller_env()) {
  path <- api_path("keys", "signatures", "upload")
  http_json(client, "POST", path, body, call = call)
}

# The server responds with 200 and lists each signature that it did not accept.
signature_abort <- function(message, answer, call = caller_env()) {
  failures <- list(answer[["failures"]])
  texts <- Filter(is_string, rapply(failures, as.character, how = "unlist"))
  mx_abort(
    c(message, x = if (length(texts) > 0L) printable(toString(texts))),
    "mx_error_identity",
    call = call
  )
}

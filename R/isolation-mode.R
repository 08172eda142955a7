#' Isolation mode: which devices get room keys
#'
#' Sets or returns which devices get the keys of your messages:
#'
#' * `"all"`: all devices of the members of a room. A server that adds a device to
#'   one of them can read your messages; the device's trust is `unsigned`.
#' * `"verified_users"`: the same, but nothing is sent as long as a user you
#'   verified (or you yourself) has a device that the user did not sign.
#' * `"signed"`, the default: only devices that their owner has signed, as the specification
#'   recommends. The others are told why they get no key. A server cannot add a
#'   device that reads your messages, other than together with a whole new identity, which
#'   is noticed. Users whose client does not support cross-signing cannot read your
#'   messages.
#'
#'   Messages of unsigned devices are held back: the row has the `utd_reason`
#'   `unsigned_sender`, and `mx_messages(unsigned = TRUE)` reads them.
#'
#' The mode is kept in the store. [mx_send_encrypted()] always means all devices.
#'
#' @inheritParams mx_client_session
#' @param mode The new mode, or `NULL` to leave it.
#' @return The current mode; invisibly if it was set.
#' @section Errors:
#' Messages that a mode keeps back are errors of class
#' `mx_error_MXCRYPT_ONLY_UNSIGNED` (nobody in the room has a signed device) or
#' `mx_error_MXCRYPT_UNSIGNED_DEVICES` (a verified user has an unsigned one); their
#' `devices` is a data frame of those devices.
#' @references Client-server API, "Recommended client behaviour":
#'   <https://spec.matrix.org/v1.19/client-server-api/#recommended-client-behaviour>
#' @family trust and verification
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' bob <- mx_demo_client(homeserver, "bob", verified = FALSE)
#' room <- mx_room_create(alice, invite = bob$user_id)
#' mx_isolation_mode(alice)
#'
#' # Bob's device is not signed by him.
#' try(mx_send_text(alice, room, "for whom?"))
#' mx_crypto_setup(bob)
#' mx_sync(alice)
#' mx_send_text(alice, room, "for Bob")
#' @export
mx_isolation_mode <- function(client, mode = NULL) {
  machine <- machine_of(check_client(client))
  modes <- c("all", "verified_users", "signed")
  if (is.null(mode)) {
    return(core(machine_isolation(machine, NULL)))
  }
  check_choice(mode, modes)
  invisible(core(machine_isolation(machine, mode)))
}

#' List events that cannot be decrypted, and why
#'
#' Lists events that wait for a key, oldest first. As soon as the key has come, the event
#' is decrypted, and [mx_sync()] and [mx_listen()] deliver it again. The key may come from
#' its sender, from the key backup, or, on request, from another verified device of yours.
#'
#' @inheritParams mx_client_session
#' @return A data frame as from [mx_sync()]. `utd_reason` is the current reason:
#'   * `unknown_session`: no key has come; `unknown_index`: the key that came
#'     decrypts later messages only.
#'   * `before_join`, `before_device`: sent before you were in the room, or before
#'     this device was signed in. If the key backup could have the key, the reason is
#'     `no_backup` (there is none), `backup_locked` (its key is not on this
#'     device), `backup_pending` (the key is being looked up: call again) or
#'     `backup_malformed` (the entry in the backup cannot be used).
#'   * `withheld_unverified`, `withheld_blacklisted`, `withheld_unauthorised`,
#'     `withheld_unavailable`, `withheld_history_not_shared`, `withheld_other`:
#'     the sender reported that you get no key.
#'   * `sender_mismatch`: the key belongs to another user than the sender that the
#'     server reports.
#'   * `wrong_key`: the key does not decrypt the event, and did not come from its
#'     sender. The event waits for the sender's own key, or another that fits.
#'
#'   Events that no key can decrypt are not kept; their reasons, in the rows
#'   of [mx_sync()], are `replayed`, `room_mismatch`, `bad_message`,
#'   `malformed_event`, `payload_not_json`, `state_event`, `unknown_algorithm`,
#'   `gap` and `inbox_overflow`. `utd_message` is the reason as a sentence, `utd_help`
#'   what would help.
#' @section Errors:
#' `mx_error_store` when the store cannot be read. No request is made.
#' @seealso [mx_backup_restore()], [mx_crypto_status()]
#' @family receiving
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' mx_send_text(alice, room, "before")
#' # A device that is signed in later was not given the key.
#' late <- mx_demo_client(homeserver, "alice", verified = FALSE)
#' mx_sync(late)
#' mx_undecrypted(late)[c("utd_reason", "utd_help")]
#' @export
mx_undecrypted <- function(client) {
  machine <- machine_of(check_client(client))
  core(machine_undecrypted(machine))
}

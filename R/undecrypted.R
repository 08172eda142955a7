#' List events that cannot be decrypted, and why
#'
#' Events that wait for a key, oldest first. Each is read, and handed over by
#' [mx_sync()] and [mx_listen()] once more, as soon as its key has come: from its
#' sender, from the key backup, or from another device of yours that is verified,
#' which is asked for it.
#'
#' @inheritParams mx_client_session
#' @return A data frame as from [mx_sync()]. `utd_reason` is what holds now:
#'   * `unknown_session`: no key has come; `unknown_index`: the key that came
#'     reads later messages only.
#'   * `before_join`, `before_device`: sent before you were in the room, or before
#'     this device was signed in. Where the key backup has something to do with
#'     it: `no_backup` (there is none), `backup_locked` (its key is not on this
#'     device), `backup_pending` (the key is being looked for: call again) or
#'     `backup_malformed` (what the backup has in its place cannot be used).
#'   * `withheld_unverified`, `withheld_blacklisted`, `withheld_unauthorised`,
#'     `withheld_unavailable`, `withheld_history_not_shared`, `withheld_other`:
#'     the sender said that you get no key.
#'   * `sender_mismatch`: the key that came is of another user than the server says
#'     sent it.
#'   * `wrong_key`: the key that came does not read it, and did not come from its
#'     sender. It is read when the sender's own key comes, or another that fits.
#'
#'   Events that no key can make readable are not kept; their reasons, in the rows
#'   of [mx_sync()], are `replayed`, `room_mismatch`, `bad_message`,
#'   `malformed_event`, `payload_not_json`, `state_event`, `unknown_algorithm`,
#'   `gap` and `inbox_overflow`. `utd_message` says it in a sentence, `utd_help`
#'   what would help.
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
  new_events(core(machine_undecrypted(machine)))
}

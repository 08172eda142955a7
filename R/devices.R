#' Devices of users, and the trust in them
#'
#' @inheritParams mx_client_session
#' @param user_ids User ids.
#' @return A data frame with a row for each device: `user_id`, `device_id`,
#'   `display_name`, `ed25519` (its fingerprint), `curve25519`, and `trust`, an
#'   ordered factor as in [mx_sync()].
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' mx_devices(alice, alice$user_id)[c("device_id", "trust")]
#' mx_crypto_setup(alice)
#' mx_devices(alice, alice$user_id)[c("device_id", "trust")]
#' @export
mx_devices <- function(client, user_ids) {
  machine <- machine_of(check_client(client))
  check_user_ids(user_ids)
  core(machine_refresh_devices(machine, user_ids))
  pump(client)
  columns <- core(machine_devices(machine, user_ids))
  devices <- data.frame(columns[c(
    "user_id",
    "device_id",
    "display_name",
    "ed25519",
    "curve25519"
  )])
  devices[["trust"]] <- as_trust(columns[["trust"]])
  devices
}

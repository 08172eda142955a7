# Our own identity, as the server returns it.

identity_keys <- c("master", "self_signing", "user_signing")

# The status of our own identity, as the server returns it now.
own_identity <- function(client, machine, call = caller_env()) {
  user_id <- client[["user_id"]]
  core(machine_refresh_devices(machine, user_id), call = call)
  pump(client, users = user_id, call = call)
  core(machine_identity_status(machine), call = call)
}

# A user who did not do it must hear of it, on every call until it is settled: the
# server, or somebody with the password, may have taken the user's place.
# `status` is what machine_identity_status() returns.
warn_own_identity <- function(status) {
  refused <- status[["refused"]]
  if (!status[["changed"]] && is.null(refused)) {
    return(invisible())
  }
  mx_warn(
    c(
      if (is.null(refused)) {
        "The server returns another identity of yours than this device knows."
      } else {
        "The server returns an identity of yours that is not valid."
      },
      x = if (!is.null(refused)) printable(refused),
      i = "If you created a new one elsewhere, run mx_crypto_setup() with its recovery key.",
      i = "If you did not, somebody else may have: see mx_cross_signing_reset()."
    ),
    "mx_warning_own_identity",
    master_key = status[["master_key"]]
  )
}

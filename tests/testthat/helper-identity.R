# What a client knows of its own identity, and what another thinks of it.

identity_of <- function(client) {
  core(machine_identity_status(machine_of(client)))
}

trust_of <- function(viewer, client) {
  devices <- mx_devices(viewer, client$user_id)
  as.character(devices$trust[devices$device_id == client$device_id])
}

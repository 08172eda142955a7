# Clients, and the homeserver inside of R.
calls_client <- function(scene) {
  alice <- scene$alice
  list(
    mx_client_config_path = list(app = "a"),
    mx_client_configure = list(
      server = scene$homeserver,
      user = "alice",
      password = "demo",
      room = scene$room,
      app = "a",
      path = alice$path,
      device_id = alice$device_id,
      access_token = NULL,
      store_dir = alice$store_dir,
      device_name = "x",
      refresh_token = NULL,
      client_id = NULL,
      method = NULL,
      login_token = NULL,
      as_token = NULL,
      ca_file = NULL
    ),
    mx_sign_in_methods = list(server = scene$homeserver, ca_file = NULL),
    mx_account_url = list(
      client = alice,
      action = "devices_list",
      device_id = NULL
    ),
    mx_client_load = list(app = "a", path = alice$path),
    mx_client_relogin = list(
      client = alice,
      password = "demo",
      method = NULL,
      login_token = NULL
    ),
    mx_client_session = list(client = alice),
    mx_logout = list(
      client = mx_demo_client(scene$homeserver, "gone"),
      ask = FALSE
    ),
    mx_crypto_store_dir = list(app = "a", path = NULL),
    mx_doctor = list(client = alice),
    mx_demo_client = list(
      homeserver = scene$homeserver,
      user = "dora",
      device_id = NULL,
      verified = TRUE
    ),
    mx_demo_homeserver = list(users = "x"),
    mx_demo_requests = list(homeserver = scene$homeserver)
  )
}

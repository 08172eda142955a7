#' Sign in and configure a client
#'
#' Signs a device in, writes the configuration that [mx_client_load()] reads,
#' and publishes the device's keys. Calling it again keeps the device: its
#' identity is bound to its store, and other users remember it.
#'
#' @param server The homeserver: its address (`https://matrix.example.org`), or
#'   the server name of user ids (`example.org`), from which the address is
#'   discovered. Or a demo homeserver, from [mx_demo_homeserver()].
#' @param user The user id, or its local part.
#' @param password The password. Better leave it out: it is then read from the
#'   environment variable `MXCRYPT_PASSWORD` or the system keyring (service
#'   `mxcrypt`), or asked for. It is not written to disk.
#' @param room A room to join and remember as `client$room_id`: an id or alias.
#' @param app The name of your program; each has its own login and store.
#' @param path Where to write the configuration, instead of the app's place.
#' @param device_id The device to sign in as. Leave it out: a store that was
#'   begun keeps its device, otherwise the server names a new one. With a store that
#'   is new, a device that the server has keys of is refused: they were in another
#'   store, and other users would not recognise the device under new ones. To find
#'   that out, a second device is signed in for a moment.
#' @param access_token Sign in with this token instead of a password. The server
#'   says whose it is; the device must be the store's.
#' @param store_dir The directory of the store, instead of the app's.
#' @param device_name What other users see as the device's name.
#' @return A client, of class `mx_client`. It refers to the store and the
#'   configuration and can be thrown away at any time.
#' @section Errors:
#' `mx_error_store_binding` (the store belongs to another user or device; nobody
#' is signed in then), `mx_error_store_missing` (the device has its keys in another
#' store), `mx_error_password` (no password to be had),
#' `mx_error_M_FORBIDDEN` (a wrong one), `mx_error_discovery` (no homeserver
#' there), `mx_error_network`.
#' @references Client-server API, "Login" and "Server discovery":
#'   <https://spec.matrix.org/v1.19/client-server-api/#login>
#' @family sign-in
#' @examples
#' homeserver <- mx_demo_homeserver(users = "alice")
#' dir <- tempfile()
#' client <- mx_client_configure(
#'   homeserver,
#'   user = "alice",
#'   password = "demo",
#'   path = file.path(dir, "matrix.json"),
#'   store_dir = file.path(dir, "crypto")
#' )
#' client
#' @export
mx_client_configure <- function(
  server,
  user = NULL,
  password = NULL,
  room = NULL,
  app = "mxcrypt",
  path = NULL,
  device_id = NULL,
  access_token = NULL,
  store_dir = NULL,
  device_name = NULL
) {
  check_app(app)
  path <- check_path(path, null = TRUE) %||% mx_client_config_path(app)
  store_dir <- check_path(store_dir, null = TRUE)
  bare <- list(server = discover_server(server))
  bound <- bound_device(store_dir %||% mx_crypto_store_dir(app))
  device_id <- check_string(device_id, null = TRUE) %||% bound[["device_id"]]
  login <- if (is.null(access_token)) {
    check_string(user)
    check_same_login(user, device_id, bound)
    password <- check_string(password, null = TRUE) %||% find_password(user)
    if (is.null(bound) && !is.null(device_id)) {
      check_device_is_free(bare, user, password, device_id)
    }
    log_in(bare, user, password, device_id, device_name)
  } else {
    list(access_token = check_token(access_token))
  }
  config <- list(server = bare[["server"]], app = app, store_dir = store_dir)
  config[["room_id"]] <- known_room(path)
  client <- adopt_login(config, login, path, bound)
  if (!is.null(room)) {
    client <- remember_room(client, mx_room_join(client, room))
  }
  client
}

# The room of a configuration that is written again: it stays until another is given.
known_room <- function(path) {
  if (file.exists(path)) {
    tryCatch(read_config(path)[["room_id"]], mx_error = function(e) NULL)
  }
}

# Finds out whose login this is, binds the store to it, and saves both. A login
# that fails is ended again, unless it was given to us, or is that of the store: the
# end of a login is the end of its device.
adopt_login <- function(config, login, path, bound = NULL) {
  # It has no path: were the token bad, that of an earlier login would be taken.
  session <- list(server = config[["server"]], token = login[["access_token"]])
  client <- tryCatch(
    bind_login(session, config, path),
    error = function(condition) {
      # On another server, the same device id is another device.
      ids <- c("user_id", "device_id")
      is_bound <- identical(login[ids], unclass(bound)[ids])
      if (!is.null(login[["device_id"]]) && !is_bound) {
        try(sign_out(session), silent = TRUE)
      }
      raise(condition)
    }
  )
  config[c("user_id", "device_id")] <- client[c("user_id", "device_id")]
  keep_login(path, config, login)
  if (!is.null(bound)) {
    restore_device(client)
  } else {
    core(machine_publish_anew(machine_of(client)))
    pump(client, kinds = "keys_upload")
  }
  client
}

bind_login <- function(session, config, path) {
  who <- http_json(session, "GET", api_path("account", "whoami"))
  if (!is_string(who[["user_id"]]) || !is_string(who[["device_id"]])) {
    mx_abort(
      c(
        "The token belongs to no device.",
        i = "End-to-end encryption needs a device: sign in with a password."
      ),
      c("mx_error_store_binding", "mx_error_store")
    )
  }
  config[c("user_id", "device_id")] <- who[c("user_id", "device_id")]
  client <- new_client(config, path, config[["app"]])
  machine_of(client, session = session)
  client
}

# The user and device a store belongs to, if there is one.
bound_device <- function(store_dir) {
  if (!file.exists(file.path(store_dir, "crypto.sqlite"))) {
    return(NULL)
  }
  core(machine_binding(open_store(store_dir)))
}

# Before anybody is signed in: a login that does not fit would leave a device on
# the server that nobody uses.
check_same_login <- function(user, device_id, bound, call = caller_env()) {
  if (is.null(bound)) {
    return(invisible())
  }
  refuse <- function(owner, other) {
    mx_abort(
      c(
        paste0("This store belongs to ", owner, ", not to ", other, "."),
        i = "Give each login its own `app` or `store_dir`."
      ),
      c("mx_error_store_binding", "mx_error_store"),
      call = call
    )
  }
  owner <- bound[["user_id"]]
  localpart <- sub("^@([^:]*):.*$", "\\1", owner)
  if (!user %in% c(owner, localpart)) {
    refuse(owner, user)
  }
  if (device_id != bound[["device_id"]]) {
    refuse(
      paste("the device", bound[["device_id"]]),
      paste("the device", device_id)
    )
  }
}

# Before this device is signed in: from then on the server takes nothing from
# whoever has its store, and to end the new login would delete its keys. Only a
# login can ask for keys, so that of another device asks.
check_device_is_free <- function(
  bare,
  user,
  password,
  device_id,
  call = caller_env()
) {
  login <- log_in(bare, user, password, NULL, NULL, call = call)
  session <- list(server = bare[["server"]], token = login[["access_token"]])
  on.exit(
    try(sign_out(session), silent = TRUE)
  )
  who <- http_json(session, "GET", api_path("account", "whoami"), call = call)
  user_id <- who[["user_id"]]
  if (!is_string(user_id)) {
    mx_abort(
      "The response says of no user that it is signed in.",
      "mx_error_answer",
      call = call
    )
  }
  shown <- ask_for_device(session, user_id, call)
  if (!core(judge_known_device(shown, user_id, device_id), call = call)) {
    return(invisible())
  }
  mx_abort(
    c(
      paste0(
        "The server has keys of the device ",
        device_id,
        ", which were made in another store."
      ),
      i = "If that store is there, name it with `app` or `store_dir`.",
      i = paste0(
        "If it is lost, sign in as a new device: leave `device_id` out. Then sign ",
        "out the old one: mx_device_delete(client, \"",
        device_id,
        "\")."
      )
    ),
    c("mx_error_store_missing", "mx_error_store"),
    call = call
  )
}

remember_room <- function(client, room_id) {
  client[["room_id"]] <- room_id
  config <- read_config(client[["path"]])
  config[["room_id"]] <- room_id
  write_config(config, client[["path"]])
  client
}

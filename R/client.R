# The client: a login, a store, and the file both are described in.
#
# What a user holds names these; the token is kept apart (`the`, and the
# configuration file), so that printing, str() and saveRDS() cannot show it.

new_client <- function(config, path, app) {
  client <- list(
    user_id = config[["user_id"]],
    device_id = config[["device_id"]],
    server = config[["server"]],
    room_id = config[["room_id"]],
    app = app,
    path = path,
    store_dir = config[["store_dir"]] %||% mx_crypto_store_dir(app)
  )
  client[["ca_file"]] <- config[["ca_file"]]
  structure(client, class = "mx_client")
}

# The client that is described in a configuration file.
client_at <- function(path) {
  config <- read_config(path)
  new_client(config, path, config[["app"]] %||% "mxcrypt")
}

check_client <- function(client, call = caller_env()) {
  if (!is_described(client, "mx_client", c("app", "path", "store_dir"))) {
    argument_abort(
      "client",
      "a client, from mx_client_configure() or mx_client_load()",
      call
    )
  }
  client
}

# Whether something has the class of a client or session, and what they are made
# of.
is_described <- function(x, class, more) {
  names <- c("user_id", "device_id", "server", more)
  inherits(x, class) &&
    is.list(x) &&
    all(vapply(unclass(x)[names], is_string, NA))
}

# What a request needs to know. Sessions are taken wherever clients are.
as_session <- function(x, call = caller_env()) {
  if (is_described(x, "mx_session", "path")) {
    return(x)
  }
  if (inherits(x, "mx_client")) {
    return(mx_client_session(x))
  }
  argument_abort("client", "a client or a session", call)
}

#' Session for requests of a client
#'
#' Returns what requests to the server need, without the store. Functions that neither
#' encrypt nor decrypt accept it in place of a client.
#'
#' @param client A client, from [mx_client_configure()] or [mx_client_load()].
#' @return An object of class `mx_session`: `server`, `user_id`, `device_id`.
#'   The access token is not in it.
#' @family sign-in
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' mx_client_session(alice)
#' @export
mx_client_session <- function(client) {
  check_client(client)
  session <- unclass(client)[c("server", "user_id", "device_id", "path")]
  session[["ca_file"]] <- client[["ca_file"]]
  structure(session, class = "mx_session")
}

#' @export
print.mx_client <- function(x, ...) {
  print_lines(format(x, ...))
  invisible(x)
}

#' @export
format.mx_client <- function(x, ...) {
  c(
    paste0("<mx_client> ", x[["user_id"]]),
    paste0("device: ", x[["device_id"]]),
    paste0("server: ", x[["server"]]),
    paste0("store:  ", x[["store_dir"]]),
    paste0("config: ", x[["path"]])
  )
}

#' @export
print.mx_session <- function(x, ...) {
  print_lines(format(x, ...))
  invisible(x)
}

#' @export
format.mx_session <- function(x, ...) {
  c(
    paste0("<mx_session> ", x[["user_id"]]),
    paste0("device: ", x[["device_id"]]),
    paste0("server: ", x[["server"]])
  )
}

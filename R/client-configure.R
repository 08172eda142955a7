#' Sign in and configure a client
#'
#' Signs a device in, writes the configuration that [mx_client_load()] reads,
#' and publishes the device's keys. Calling it again keeps the device: its
#' identity is bound to its store, and other users remember it.
#'
#' The server decides how to sign in: see [mx_sign_in_methods()]. If it accepts no
#' password, or none is found, a person approves the sign-in in a browser, on any
#' device: the call shows an address and a code, and waits. A script without a console
#' raises an error of class `mx_error_approval` with `url`, `user_code` and `expires_at`.
#' When the sign-in was approved, the same call completes it, also in another process.
#' Later calls reuse the login, and its access token is renewed automatically.
#'
#' Scripts can leave passwords and tokens in the environment, in files or in the keyring:
#' see [mxcrypt_secrets]. Behind a proxy, or with a private certificate authority, see
#' [mxcrypt_network].
#'
#' @param server The homeserver: its address (`https://matrix.example.org`), or
#'   the server name of user ids (`example.org`), from which the address is
#'   discovered. Or a demo homeserver, from [mx_demo_homeserver()].
#' @param user The user id, or its local part. Without a password it can be left out:
#'   then it is the user who approves the sign-in.
#' @param password The password. Better leave it out: it is then read from the
#'   environment variable `MXCRYPT_PASSWORD` or another place of [mxcrypt_secrets], or
#'   asked for. It is not written to disk.
#' @param room A room to join and remember as `client$room_id`: an id or alias.
#' @param app The name of your program; each has its own login and store.
#' @param path Where to write the configuration, instead of the app's place.
#' @param device_id The device to sign in as. Leave it out: a store that is in use
#'   keeps its device, otherwise the device gets a new id. With a new store and a
#'   password, a device that the server has keys of is refused: its keys are in another
#'   store, and other users would not recognise the device under new ones. To find
#'   that out, a second device is signed in for a moment. Without a password, a device
#'   cannot be named for a new store.
#' @param access_token Sign in with this token instead of a password. The server
#'   returns its user and device; the device must be the store's. One in the environment
#'   (`MXCRYPT_ACCESS_TOKEN`) or another place of [mxcrypt_secrets] is used if there is
#'   nothing else to sign in with. It is not written to disk then, but looked up
#'   again for each request.
#' @param refresh_token With `access_token`: the token that renews it when it expires.
#' @param client_id With a `refresh_token` from an OAuth server: the id of the client
#'   that it was issued to.
#' @param method `"oauth"`, `"password"` or `"sso"`, to choose one: see
#'   [mx_sign_in_methods()]. By default a `password` or `login_token` that was given is
#'   used; then a password from [mxcrypt_secrets]; then what the server offers, in this
#'   order.
#' @param as_token The token of an application service on your own server, from its
#'   registration file. `user` is one of its users, who is registered if new; by default
#'   the service's own user. The device is created without a login. Needs a server of
#'   Matrix v1.17. The token is kept like an access token, and is good for all users of
#'   the service.
#' @param login_token The token that single sign-on ends with, or the address that
#'   contains it.
#' @param store_dir The directory of the store, instead of the app's; or the address of a
#'   database, such as `"postgresql://bot@db.example.org/matrix?store=bot"`: see
#'   [mxcrypt_postgresql].
#' @param device_name What other users see as the device's name.
#' @param ca_file A file of certificate authorities (PEM), where the network or the
#'   homeserver has its own: see [mxcrypt_network]. The client remembers it.
#' @return A client, of class `mx_client`. It refers to the store and the
#'   configuration and can be thrown away at any time.
#' @section Errors:
#' * `mx_error_approval`: a person must approve; make the same call again afterwards.
#' * `mx_error_oauth`: the OAuth server refused; `code` is why, such as `"access_denied"`.
#' * `mx_error_sign_in`: the server does not sign in like this; `offers` is what it offers.
#' * `mx_error_password`: no password was found. `mx_error_M_FORBIDDEN`: it is wrong.
#' * `mx_error_secret`: a place of [mxcrypt_secrets] cannot be used.
#' * `mx_error_store_binding`: the store belongs to another user or device; nobody was
#'   signed in.
#' * `mx_error_store_missing`: the device has its keys in another store.
#' * `mx_error_discovery`: there is no homeserver at the address.
#' * `mx_error_network`: no response. `mx_error_certificate` and `mx_error_proxy` are
#'   kinds of it: see [mxcrypt_network].
#' * `mx_error_argument`: arguments that do not go together.
#' @references Client-server API, "Login", "OAuth 2.0 API" and "Server discovery":
#'   <https://spec.matrix.org/v1.19/client-server-api/#login>
#' @seealso [mx_crypto_setup()], which makes the device verified.
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
  device_name = NULL,
  refresh_token = NULL,
  client_id = NULL,
  method = NULL,
  login_token = NULL,
  as_token = NULL,
  ca_file = NULL
) {
  check_app(app)
  ca_file <- check_ca_file(ca_file)
  local_ca_file(ca_file)
  path <- check_path(path, null = TRUE) %||% mx_client_config_path(app)
  store_dir <- check_store_dir(store_dir, null = TRUE)
  bare <- list(server = discover_server(server))
  bound <- bound_device(store_dir %||% mx_crypto_store_dir(app))
  device_id <- check_string(device_id, null = TRUE) %||% bound[["device_id"]]
  account <- list(
    server = bare[["server"]],
    user = check_string(user, null = TRUE),
    path = path,
    device_id = device_id,
    device_name = check_string(device_name, null = TRUE)
  )
  tokens <- list(
    access_token = access_token,
    refresh_token = refresh_token,
    client_id = client_id,
    as_token = as_token
  )
  given <- c(check_sign_in(method, password, login_token), tokens)
  check_together(given)
  check_writable(path)
  login <- if (!is.null(as_token)) {
    if (!is.null(account[["user"]])) {
      check_same_login(account[["user"]], device_id, bound)
    }
    service_login(account, check_token(as_token, name = "as_token"))
  } else if (is.null(access_token)) {
    standing_login(account, given, bound) %||%
      found_login(account, given, bound) %||%
      new_login(account, given, bound)
  } else {
    given_login(account, given)
  }
  config <- list(server = bare[["server"]], app = app, store_dir = store_dir)
  config[["room_id"]] <- known_room(path)
  config[["ca_file"]] <- ca_file
  client <- adopt_login(config, login, path, bound)
  forget_grant(account)
  if (!is.null(room)) {
    client <- remember_room(client, mx_room_join(client, room))
  }
  client
}

check_sign_in <- function(method, password, login_token, call = caller_env()) {
  if (!is.null(method) && !(is_string(method) && method %in% sign_in_methods)) {
    argument_abort("method", "\"oauth\", \"password\" or \"sso\"", call)
  }
  given <- list(
    method = method,
    password = check_string(password, null = TRUE, call = call),
    login_token = check_string(login_token, null = TRUE, call = call)
  )
  takes <- c(password = "password", login_token = "sso")
  for (name in names(takes)) {
    if (
      !is.null(given[[name]]) && (method %||% takes[[name]]) != takes[[name]]
    ) {
      wanted <- paste0("\"", takes[[name]], "\" where `", name, "` is given")
      argument_abort("method", wanted, call, method)
    }
  }
  given
}

# A token that is passed over would sign in as somebody else than was meant.
check_together <- function(given, call = caller_env()) {
  is_given <- function(name) !is.null(given[[name]])
  ways <- c("as_token", "access_token", "login_token", "password", "method")
  ways <- Filter(is_given, ways)
  # A method and what it takes are one way.
  if (identical(ways[-1], "method") && !grepl("^a", ways[[1]])) {
    ways <- ways[[1]]
  }
  if (length(ways) > 1L) {
    wanted <- paste0("left out where `", ways[[1]], "` is given")
    argument_abort(ways[[2]], wanted, call)
  }
  for (name in c("refresh_token", "client_id")) {
    if (is_given(name) && !is_given("access_token")) {
      argument_abort(name, "given together with `access_token`", call)
    }
  }
}

# Before anybody is signed in: a login that cannot be saved would leave a device on
# the server that nobody uses.
check_writable <- function(path, call = caller_env()) {
  if (dir.exists(path)) {
    argument_abort("path", "a file, and no directory", call, path)
  }
  probe <- paste0(path, ".probe")
  core(private_directory_create(dirname(path)), call = call)
  core(private_file_write(probe, ""), call = call)
  unlink(probe)
}

# The OAuth login in the configuration, if it is still good: a script that calls
# mx_client_configure() each time it runs must not need a person each time.
standing_login <- function(account, given, bound) {
  config <- tryCatch(
    read_config(account[["path"]]),
    mx_error_config = function(condition) list()
  )
  wanted <- c(account[c("server", "device_id")], method = "oauth")
  is_same <- identical(unname(config[names(wanted)]), unname(wanted))
  if (is.null(bound) || !is_same || is.null(config[["token"]])) {
    return(NULL)
  }
  if ((given[["method"]] %||% "oauth") != "oauth") {
    return(NULL)
  }
  if (!is.null(account[["user"]])) {
    check_same_login(account[["user"]], account[["device_id"]], bound)
  }
  session <- account[c("server", "path")]
  answer <- http_perform(session, "GET", api_path("account", "whoami"))
  if (answer[["status"]] != 200L) {
    return(NULL)
  }
  # It may have been renewed for this.
  config <- read_config(account[["path"]])
  config[["access_token"]] <- config[["token"]]
  config
}

# An access token that was left where a script has its secrets. It stays there: it is
# looked for again with each request (session_token()).
found_login <- function(account, given, bound, call = caller_env()) {
  ways <- given[c("method", "password", "login_token")]
  user <- account[["user"]]
  if (length(Filter(Negate(is.null), ways)) > 0L || is_granted(account)) {
    return(NULL)
  }
  if (!is.null(user) && !is.null(quiet_password(user, call))) {
    return(NULL)
  }
  whole <- if (!is.null(user) && startsWith(user, "@")) user
  owner <- bound[["user_id"]] %||% whole
  token <- find_secret("access_token", owner, call)
  if (is.null(token)) {
    return(NULL)
  }
  if (!is.null(user)) {
    check_same_login(user, account[["device_id"]], bound, call)
  }
  login <- given_login(account, list(access_token = token), call)
  login[["is_found"]] <- TRUE
  login
}

new_login <- function(account, given, bound, call = caller_env()) {
  user <- account[["user"]]
  device_id <- account[["device_id"]]
  if (!is.null(user)) {
    check_same_login(user, device_id, bound, call)
  }
  if (is.null(bound) && !is.null(device_id)) {
    password <- given[["password"]] %||%
      if (!is.null(user)) quiet_password(user)
    if (
      is.null(password) || (given[["method"]] %||% "password") != "password"
    ) {
      mx_abort(
        c(
          "A device that is named for a new store needs a password to sign in.",
          x = "Whether the server has keys of it can only be seen after a sign-in,",
          " " = "which would end the login of the one that has them.",
          i = "Leave `device_id` out: the device gets an id of its own."
        ),
        "mx_error_argument",
        call = call
      )
    }
    bare <- list(server = account[["server"]])
    check_device_is_free(bare, user, password, device_id, call)
  }
  sign_in(account, given, call)
}

# A login that was made elsewhere. OAuth 2.0 renews it only with the `client_id` that its
# refresh token was issued to.
given_login <- function(account, given, call = caller_env()) {
  refresh_token <- given[["refresh_token"]]
  client_id <- given[["client_id"]]
  login <- list(
    access_token = check_token(given[["access_token"]], call),
    method = "access_token"
  )
  login[["asked_user"]] <- account[["user"]]
  login[["asked_device"]] <- account[["device_id"]]
  if (!is.null(refresh_token)) {
    login[["refresh_token"]] <- check_token(
      refresh_token,
      call,
      "refresh_token"
    )
  }
  if (!is.null(client_id)) {
    metadata <- oauth_metadata(account[["server"]], call)
    if (is.null(metadata)) {
      mx_abort(
        c(
          paste0(account[["server"]], " has no OAuth server."),
          i = "Leave `client_id` out."
        ),
        "mx_error_argument",
        call = call
      )
    }
    login[["client_id"]] <- check_token(client_id, call, "client_id")
    login[["issuer"]] <- metadata[["issuer"]]
    login[["method"]] <- "oauth"
  }
  login
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
  if (identical(login[["method"]], as_method)) {
    session[["acts_as"]] <- login[c("user_id", "device_id")]
  }
  client <- tryCatch(
    bind_login(session, config, path, login),
    error = function(condition) {
      # On another server, the same device id is another device.
      ids <- c("user_id", "device_id")
      is_bound <- identical(login[ids], unclass(bound)[ids])
      # What a person granted stays for the next call, if this was the network.
      stays <- is_bound ||
        isFALSE(login[["is_new"]]) ||
        login[["method"]] == "oauth" && is_passing(condition)
      if (!is.null(login[["device_id"]]) && !stays) {
        try(end_login(session, login), silent = TRUE)
        forget_grant(list(path = path))
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

bind_login <- function(session, config, path, login) {
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
  check_granted(who, login)
  config[c("user_id", "device_id")] <- who[c("user_id", "device_id")]
  client <- new_client(config, path, config[["app"]])
  machine_of(client, session = session)
  client
}

# In a browser, a person may have signed in as anybody, and a token can be anybody's.
check_granted <- function(who, login, call = caller_env()) {
  user <- login[["asked_user"]]
  localpart <- sub("^@([^:]*):.*$", "\\1", who[["user_id"]])
  if (!is.null(user) && !user %in% c(who[["user_id"]], localpart)) {
    mx_abort(
      c(
        paste0("The sign-in was to be that of ", user, "."),
        x = paste0("It is that of ", printable(who[["user_id"]]), "."),
        i = "Make this call again, with a token or an approval of the right user."
      ),
      c("mx_error_store_binding", "mx_error_store"),
      call = call
    )
  }
  device_id <- login[["asked_device"]] %||%
    if (login[["method"]] == "oauth") login[["device_id"]]
  if (!is.null(device_id) && device_id != who[["device_id"]]) {
    mx_abort(
      c(
        "The login is that of another device than the one that was asked for.",
        x = paste("Asked for:", device_id),
        x = paste("Found:", printable(who[["device_id"]]))
      ),
      c("mx_error_store_binding", "mx_error_store"),
      call = call
    )
  }
}

# The user and device a store belongs to, if there is one.
bound_device <- function(store_dir) {
  if (!has_store(store_dir)) {
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

# Checked before this device is signed in: that sign-in would end the login of the
# process that has its store, and to end the new login would delete its keys. A request
# for keys needs a login, so another device is signed in to make it.
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

#' Demo homeserver inside R
#'
#' `mx_demo_homeserver()` creates a small homeserver inside this R session: no
#' network, no account, deleted when R ends. Everything else is real: all functions
#' encrypt, share keys and decrypt as with any server. `mx_demo_client()` signs a
#' user in there, with a configuration and a store in a temporary directory, and
#' has the device signed by its owner, as [mx_crypto_setup()] does.
#'
#' @param users Local parts of users to register. Their password is `demo`.
#' @param homeserver A demo homeserver.
#' @param user The local part of the user, registered if need be.
#' @param device_id A name for the device, or `NULL`.
#' @param verified Whether the device is to be signed by its owner.
#' @return `mx_demo_homeserver()`: an object of class `mx_demo_homeserver`, which
#'   [mx_client_configure()] takes as `server`. `mx_demo_client()`: a client.
#'   `mx_demo_requests()`: the body of every request the server has got, as text, in
#'   order: what somebody who runs a server sees.
#' @family sign-in
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' bob <- mx_demo_client(homeserver, "bob")
#'
#' room <- mx_room_create(alice, invite = bob$user_id)
#' mx_room_join(bob, room)
#' mx_send_text(alice, room, "the eagle lands at noon")
#' mx_sync(bob)[c("sender", "body")]
#' any(grepl("eagle", mx_demo_requests(homeserver)))
#' @export
mx_demo_homeserver <- function(users = character()) {
  check_strings(users)
  number <- length(the[["homeservers"]]) + 1L
  address <- paste0("demo:", number)
  homeservers <- the[["homeservers"]]
  homeservers[[address]] <- core(demo_new("demo"))
  the[["homeservers"]] <- homeservers
  homeserver <- structure(list(address = address), class = "mx_demo_homeserver")
  for (user in users) {
    demo_register(homeserver, user)
  }
  homeserver
}

#' @rdname mx_demo_homeserver
#' @export
mx_demo_client <- function(
  homeserver,
  user,
  device_id = NULL,
  verified = TRUE
) {
  check_homeserver(homeserver)
  check_string(user)
  check_flag(verified)
  demo_register(homeserver, user)
  dir <- tempfile(paste0("mxcrypt-", user, "-"))
  client <- mx_client_configure(
    homeserver,
    user,
    password = "demo",
    path = file.path(dir, "matrix.json"),
    store_dir = file.path(dir, "crypto"),
    device_id = device_id
  )
  if (verified) {
    demo_verify(client)
  }
  client
}

# What a person does with a recovery key: it is kept, and given to the next device.
demo_verify <- function(client) {
  keys <- the[["demo_keys"]]
  person <- paste(client[["server"]], client[["user_id"]])
  # Nobody is asked about the other devices.
  setup <- rlang::with_interactive(
    suppressMessages(mx_crypto_setup(client, recovery_key = keys[[person]])),
    value = FALSE
  )
  if (!is.null(setup[["recovery_key"]])) {
    keys[[person]] <- format(setup[["recovery_key"]], reveal = TRUE)
    the[["demo_keys"]] <- keys
    mx_recovery_key_forget(setup[["recovery_key"]])
  }
}

#' @rdname mx_demo_homeserver
#' @export
mx_demo_requests <- function(homeserver) {
  check_homeserver(homeserver)
  seen <- core(demo_requests(the[["homeservers"]][[demo_address(homeserver)]]))
  text <- vapply(seen, function(bytes) rawToChar(bytes[bytes != 0]), "")
  Encoding(text) <- "UTF-8"
  text
}

check_homeserver <- function(homeserver, call = caller_env()) {
  if (!inherits(homeserver, "mx_demo_homeserver")) {
    argument_abort("homeserver", "a demo homeserver", call)
  }
}

demo_register <- function(homeserver, user) {
  body <- list(
    username = user,
    password = "demo",
    inhibit_login = TRUE,
    auth = list(type = "m.login.dummy")
  )
  bare <- list(server = demo_address(homeserver))
  tryCatch(
    http_json(bare, "POST", api_path("register"), body),
    mx_error_M_USER_IN_USE = function(condition) NULL
  )
}

demo_address <- function(homeserver) {
  unclass(homeserver)[["address"]]
}

demo_perform <- function(homeserver, method, path, token, body) {
  bytes <- if (is.character(body)) {
    charToRaw(enc2utf8(body))
  } else {
    body %||% raw()
  }
  answer <- core(demo_handle(homeserver, method, path, token, bytes))
  answer[["status"]] <- as.integer(answer[["status"]])
  answer
}

#' @export
print.mx_demo_homeserver <- function(x, ...) {
  print_lines("<mx_demo_homeserver> inside this R session")
  invisible(x)
}

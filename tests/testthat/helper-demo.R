# Clients on the homeserver inside of R.

# Two users, signed in, in a room together.
demo_pair <- function(encrypted = TRUE, verified = TRUE, ...) {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = verified)
  bob <- mx_demo_client(homeserver, "bob", verified = verified)
  room <- mx_room_create(
    alice,
    invite = bob$user_id,
    encrypted = encrypted,
    ...
  )
  mx_room_join(bob, room)
  list(homeserver = homeserver, alice = alice, bob = bob, room = room)
}

# The kinds of homeserver that the demo homeserver can act as.
homeserver_kinds <- c("synapse", "synapse_workers", "conduit", "dendrite")

homeserver_like <- function(kind) {
  homeserver <- mx_demo_homeserver()
  act_like(homeserver, kind)
  homeserver
}

act_like <- function(homeserver, kind) {
  server <- the[["homeservers"]][[demo_address(homeserver)]]
  core(demo_behave(server, kind))
}

# Messages, read or not.
messages <- function(events) {
  events[events$type %in% c("m.room.message", "m.room.encrypted"), ]
}

# The texts of the messages that a client has not seen.
new_bodies <- function(client) {
  messages(mx_sync(client))$body
}

server_has_seen <- function(homeserver, text) {
  any(grepl(text, mx_demo_requests(homeserver), fixed = TRUE, useBytes = TRUE))
}

# What the homeserver was asked while `code` ran, as "METHOD path".
requests_during <- function(code) {
  asked <- character()
  # What stands there now: the tests see copies of the package's functions.
  real <- get("http_once", asNamespace("mxcrypt"))
  spy <- function(session, method, path, ...) {
    asked <<- c(asked, paste(method, path))
    real(session, method, path, ...)
  }
  local_replaced("http_once", spy)
  force(code)
  asked
}

# Replaces a function of the package until the caller is done.
local_replaced <- function(name, value, .local_envir = parent.frame()) {
  namespace <- asNamespace("mxcrypt")
  old <- get(name, namespace)
  put <- function(value) {
    unlockBinding(name, namespace)
    assign(name, value, namespace)
    lockBinding(name, namespace)
  }
  put(value)
  withr::defer(put(old), envir = .local_envir)
}

# What code for mx.client holds.
compat <- function(client) {
  list(
    store = client$store_dir,
    account = mx_crypto_account(client$store_dir),
    sessions = mx_crypto_sessions_load(client$store_dir)
  )
}

# What a new process knows: nothing.
forget_open_stores <- function() {
  the[["stores"]] <- list()
  the[["tokens"]] <- list()
  gc()
  invisible()
}

# The answer of the server to a sync that goes on from where `client` is, as
# JSON text; nothing is taken in.
raw_sync <- function(client) {
  since <- core(machine_sync_token(machine_of(client)))
  path <- api_path("sync", query = list(since = since, filter = sync_filter))
  rawToChar(http_perform(client, "GET", path)[["body"]])
}

# Takes in a sync as JSON text, and says what can be read of it.
hand_in <- function(client, text) {
  account <- mx_crypto_account(client$store_dir)
  mx_crypto_process_sync(
    account,
    mx_crypto_sessions_load(client$store_dir),
    text,
    mxc_account_identity_keys(account)[["curve25519"]]
  )
}

# JSON text with one part replaced; `value = NULL` takes it out.
edit_json <- function(text, path, value = NULL) {
  edit <- function(x, path) {
    if (length(path) == 1L) {
      if (is.null(value)) {
        x[[path]] <- NULL
      } else {
        x[[path]] <- value
      }
    } else {
      x[[path[[1]]]] <- edit(x[[path[[1]]]], path[-1])
    }
    x
  }
  unclass(mxc_json(edit(json_decode(text), path)))
}

# A list with one element set, or taken out.
edit <- function(x, name, value) {
  x[[name]] <- value
  x
}

# How long the server was told to wait, in each sync, in milliseconds.
noted_waits <- function(.local_envir = parent.frame()) {
  noted <- new.env()
  real <- get("http_perform", asNamespace("mxcrypt"))
  perform <- function(session, method, path, ...) {
    if (grepl("/sync[?]", path)) {
      wait <- as.numeric(sub(".*[?&]timeout=([0-9]+).*", "\\1", path))
      noted[["waits"]] <- c(noted[["waits"]], wait)
    }
    real(session, method, path, ...)
  }
  local_replaced("http_perform", perform, .local_envir)
  function() {
    waits <- noted[["waits"]]
    noted[["waits"]] <- NULL
    waits
  }
}

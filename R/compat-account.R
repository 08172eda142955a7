#' Account and sessions of a store
#'
#' For code that passes account and sessions around, as code for mx.client does. Both are
#' references to the store and never copies: nothing is lost with them. Most
#' programs need only [mx_send()] and [mx_sync()].
#'
#' @param store_dir,store The directory of a store, from
#'   [mx_crypto_store_dir()].
#' @param client A client.
#' @param account,sessions What `mx_crypto_account()` and
#'   `mx_crypto_sessions_load()` returned, of the client's own store.
#' @param n_otks How many one-time keys the server should hold: a target for the
#'   pool, not an addition to it. At most 500.
#' @return
#' * `mx_crypto_account()`: an object for [mxc_account_identity_keys()],
#'   [mxc_account_one_time_keys()] and [mxc_account_sign()]. If there is no store, it is
#'   created, with new identity keys.
#' * `mx_crypto_publish_keys()`: a list with `one_time_key_counts`, invisibly.
#' * `mx_crypto_sessions_load()`: an object that stands for all sessions.
#' * `mx_crypto_sessions_save()`: the directory, invisibly. Everything is saved
#'   when it happens; there is nothing left to save.
#' @section Errors:
#' `mx_error_store_binding` when account, sessions, directory and client belong to
#' different stores; the classes of [mx_client_configure()] for the store itself;
#' `mx_error_own_keys` when the server holds other keys for this device.
#' @family compatibility with mx.client
#' @examples
#' homeserver <- mx_demo_homeserver()
#' client <- mx_demo_client(homeserver, "alice")
#' store <- client$store_dir
#'
#' account <- mx_crypto_account(store)
#' mxc_account_identity_keys(account)$curve25519
#' mx_crypto_publish_keys(client, account, store, n_otks = 50L)
#' sessions <- mx_crypto_sessions_load(store)
#' mx_crypto_sessions_save(sessions, store)
#' @name mx_crypto_account
NULL

#' @rdname mx_crypto_account
#' @export
mx_crypto_account <- function(store_dir) {
  account <- new_stored(check_store_dir(store_dir), "mx_crypto_account")
  # Minted now, if ever, so that it is there when its keys are asked for.
  core(machine_identity_keys(stored_machine(account)))
  account
}

#' @rdname mx_crypto_account
#' @export
mx_crypto_sessions_load <- function(store) {
  new_stored(check_store_dir(store), "mx_crypto_sessions")
}

#' @rdname mx_crypto_account
#' @export
mx_crypto_sessions_save <- function(sessions, store) {
  check_same_store(list(sessions = sessions, store = store))
  invisible(store)
}

#' @rdname mx_crypto_account
#' @export
mx_crypto_publish_keys <- function(client, account, store, n_otks = 50L) {
  check_client(client)
  check_same_store(list(client = client, account = account, store = store))
  machine <- machine_of(client)
  core(machine_set_one_time_key_target(machine, n_otks))
  pump(client, kinds = "keys_upload")
  count <- core(machine_key_upload(machine))[["one_time_keys"]]
  counts <- list(signed_curve25519 = count)
  invisible(list(one_time_key_counts = counts))
}

# Client, account, sessions and directory of different stores never mix: keys of
# one would be used in the name of the other.
check_same_store <- function(things, call = caller_env()) {
  ids <- vapply(
    names(things),
    function(name) {
      store_id_of(things[[name]], name, call)
    },
    ""
  )
  if (length(unique(ids)) > 1L) {
    mx_abort(
      paste0(
        "`",
        paste(names(things), collapse = "`, `"),
        "` must all be of one store."
      ),
      c("mx_error_store_binding", "mx_error_store"),
      call = call
    )
  }
}

store_id_of <- function(x, name, call) {
  maker <- c(
    account = "mx_crypto_account",
    sessions = "mx_crypto_sessions_load"
  )
  class <- c(account = "mx_crypto_account", sessions = "mx_crypto_sessions")
  if (name %in% names(maker)) {
    if (!inherits(x, class[[name]]) || !is.list(x)) {
      argument_abort(name, paste0("what ", maker[[name]], "() returned"), call)
    }
    return(unclass(x)[["store_id"]])
  }
  dir <- if (inherits(x, "mx_client")) {
    x[["store_dir"]]
  } else {
    check_store_dir(x, name, call = call)
  }
  core(machine_store_id(open_store(dir, call = call)), call = call)
}

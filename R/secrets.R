#' Fetch and store secrets in secret storage
#'
#' Secret storage keeps texts for all your devices, encrypted on the server with
#' a key that it does not have: the private keys of your identity, and whatever
#' else you put there. `mx_secret_store()` puts a secret, `mx_secret_fetch()` gets
#' it, and `mx_secret_storage_keys()` lists the keys. Any key that a secret is
#' encrypted with fetches it; to store, the default key is needed.
#'
#' Before anything is stored, the cross-signing keys in secret storage are
#' compared with those that the server returns. If they differ, nothing is written.
#' A new value replaces the old one for all keys.
#'
#' @inheritParams mx_crypto_setup
#' @param recovery_key The recovery key. Better leave it out: it is then read from
#'   [mxcrypt_secrets].
#' @param passphrase The passphrase of secret storage, in place of a recovery key.
#' @param name The name of the secret, which is a type of account data: a name of
#'   your own looks like `org.example.token`.
#' @param value The secret, one string.
#' @return `mx_secret_fetch()`: an object of class `mx_secret`, of which
#'   `format(x, reveal = TRUE)` is the text and which prints masked; `NULL` where
#'   there is no secret of this name. `mx_secret_store()`: `TRUE` if something was
#'   written, `FALSE` if the secret was there already, invisibly.
#'   `mx_secret_storage_keys()`: a data frame with a row for each key: `key_id`,
#'   `name` (`NA` where it has none), `default` and `from_passphrase`.
#' @section Errors:
#' `mx_error_recovery_key` (not found, mistyped, of another account or an
#' older one, or not the default key), `mx_error_secret_storage` (it is missing, or
#' does not open, or holds something that is no secret), `mx_error_identity` (a
#' cross-signing key is not the one that the server returns).
#' @references Client-server API, "Secrets":
#'   <https://spec.matrix.org/v1.19/client-server-api/#secrets>
#' @family identity and recovery
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
#' setup <- mx_crypto_setup(alice)
#' key <- format(setup$recovery_key, reveal = TRUE)
#'
#' mx_secret_store(alice, "org.example.token", "correct horse", key)
#' token <- mx_secret_fetch(alice, "org.example.token", key)
#' token
#' format(token, reveal = TRUE)
#' mx_secret_storage_keys(alice)
#' @export
mx_secret_fetch <- function(
  client,
  name,
  recovery_key = NULL,
  passphrase = NULL
) {
  check_client(client)
  name <- check_string(name)
  given <- storage_secret(client, check_given(recovery_key, passphrase))
  found <- core(secret_storage_fetch(open_storage(client, given), name))
  if (!is.null(found)) new_handle(found, "mx_secret")
}

#' @rdname mx_secret_fetch
#' @export
mx_secret_store <- function(
  client,
  name,
  value,
  recovery_key = NULL,
  passphrase = NULL
) {
  machine <- machine_of(check_client(client))
  name <- check_string(name)
  value <- check_string(value)
  given <- storage_secret(client, check_given(recovery_key, passphrase))
  own_identity(client, machine)
  storage <- open_storage(client, given)
  content <- core(machine_seal_secret(machine, storage, name, value))
  put_account_data(client, if (!is.null(content)) name, content)
  invisible(!is.null(content))
}

#' @rdname mx_secret_fetch
#' @export
mx_secret_storage_keys <- function(client) {
  data.frame(secret_storage(check_client(client))[["keys"]])
}

#' @export
as.character.mx_secret <- function(x, ...) masked(4)

#' @rawNamespace S3method(utils::str, mx_secret)
str.mx_secret <- function(object, ...) {
  str_line(format(object))
}

#' @export
format.mx_secret <- function(x, ..., reveal = FALSE) {
  if (isTRUE(reveal)) {
    return(core(secret_text(unclass(x)[["pointer"]])))
  }
  c("<mx_secret>", masked(4))
}

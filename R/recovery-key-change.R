#' Set up recovery, or change the recovery key
#'
#' Replaces the recovery key, or the passphrase, of secret storage: for when somebody
#' else may know it. If the account has no secret storage, it is created for the existing
#' identity, if the private keys of that are on this device: recovery is set up, and the
#' rest does not apply.
#'
#' A new key is created and kept, sealed, in the store; every secret that the
#' old key opens is encrypted with it too; it becomes the default key; and then
#' the copies under the old key are deleted from the server. At any moment the default key
#' opens the secrets. After a crash, call again: it continues with the same new key, and
#' does not need the old one.
#'
#' Your identity stays as it is: nobody has to verify you again. Somebody who knew the
#' old key *and* could sign in as you may have read the private keys of your
#' identity, and then only a new identity helps: `mx_crypto_setup(reset = TRUE)`.
#'
#' Before anything is written, the cross-signing keys in secret storage are
#' compared with those that the server returns. If they differ, nothing is changed.
#' If you give another key than the default one, neither opens anything
#' afterwards; other keys stay.
#'
#' @inheritParams mx_secret_fetch
#' @param recovery_key,passphrase The key or passphrase that opens secret storage now.
#'   Better leave the recovery key out: it is then read from [mxcrypt_secrets].
#' @param new_passphrase The new passphrase. If left out, a random recovery key is
#'   created.
#' @return The new recovery key, for [mx_recovery_key_write()]; with a passphrase,
#'   `NULL`, invisibly.
#' @section Errors:
#' `mx_error_recovery_key` (the old one is missing, mistyped, of another account or
#' an older one; or a change to another key is under way), `mx_error_secret_storage`
#' (it is missing, a secret does not open and would be lost, or the server does not
#' keep what is uploaded), `mx_error_identity` (a cross-signing key is not the one
#' that the server returns).
#' @references Client-server API, "Secrets":
#'   <https://spec.matrix.org/v1.19/client-server-api/#secrets>
#' @family identity and recovery
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
#' setup <- mx_crypto_setup(alice)
#' old <- format(setup$recovery_key, reveal = TRUE)
#'
#' new <- mx_recovery_key_change(alice, recovery_key = old)
#' new
#' mx_recovery_key_write(new, tempfile())
#' @export
mx_recovery_key_change <- function(
  client,
  recovery_key = NULL,
  passphrase = NULL,
  new_passphrase = NULL
) {
  machine <- machine_of(check_client(client))
  given <- check_given(recovery_key, passphrase)
  check_string(new_passphrase, null = TRUE)
  status <- own_identity(client, machine)
  storage <- secret_storage(client)
  nothing_to_open <- is.null(storage[["default_key"]]) &&
    is.null(given[["handle"]])
  if (nothing_to_open || identical(status[["under_way"]], "unstored")) {
    return(set_up_recovery(client, machine, new_passphrase))
  }
  if (!core(machine_key_change_under_way(machine, storage[["handle"]]))) {
    given <- storage_secret(client, given)
  }
  opened <- with_secret(storage[["handle"]], given)
  core(machine_begin_key_change(machine, opened, new_passphrase))
  finish_key_change(client, machine)
  recovery_key_made(client, machine)
}

set_up_recovery <- function(
  client,
  machine,
  new_passphrase,
  call = caller_env()
) {
  made <- machine_make_secret_storage(machine, new_passphrase)
  core(made, call = call)
  store_identity(client, machine, call)
  core(machine_identity_published(machine), call = call)
  recovery_key_made(client, machine)
}

recovery_key_made <- function(client, machine) {
  if (core(machine_identity_status(machine))[["recovery_key"]]) {
    tell_recovery_key()
    return(new_recovery_key(client))
  }
  invisible()
}

# Each round does the next step by what the server returns then: the new key and
# its copies; the default key; what is to go. The fourth finds nothing to do, if
# no other client is at work.
finish_key_change <- function(client, machine, call = caller_env()) {
  for (round in 1:8) {
    storage <- read_storage(client, call)
    due <- core(machine_key_change_writes(machine, storage), call = call)
    if (length(due[["type"]]) == 0L) {
      return(invisible())
    }
    put_account_data(client, due[["type"]], due[["content"]], call)
  }
  mx_abort(
    c(
      "The server does not keep what secret storage is to hold.",
      i = "Nothing is lost: call again, and the change goes on."
    ),
    "mx_error_secret_storage",
    call = call
  )
}

#' Olm accounts
#'
#' An account holds the long-lived keys of a device and its one-time keys. These
#' functions work on an account in memory; what must survive is pickled. (A
#' client's own account lives in its store, see [mx_crypto_account()].)
#'
#' @param account An account, from `mxc_account_new()`, `mxc_account_unpickle()`
#'   or [mx_crypto_account()]. An account of a store can be asked for its keys
#'   and can sign; it cannot be changed or pickled.
#' @param canonical_json What to sign: one or more strings, a raw vector, or a
#'   list of raw vectors.
#' @param n How many one-time keys to make, 0 to 5000. The oldest are forgotten
#'   when there are more than 5000.
#' @param key A raw vector of 32 bytes. Use one key for one object: the
#'   initialisation vector of a pickle is derived from it.
#' @param blob A pickled account, one string.
#' @return
#' * `mxc_account_new()`, `mxc_account_unpickle()`: an object of class
#'   `mxc_account`.
#' * `mxc_account_identity_keys()`: a list of two strings of 43 characters,
#'   `curve25519` and `ed25519`.
#' * `mxc_account_sign()`: a signature of 86 characters for each message.
#' * `mxc_account_one_time_keys()`: a named list from key id to public key, of
#'   the keys that are not marked as published.
#' * `mxc_account_fallback_key()`: makes a new fallback key, and returns a list
#'   of `key_id` and `curve25519`. The account keeps the one before it until
#'   `mxc_account_forget_fallback_key()` is called.
#' * `mxc_account_forget_fallback_key()`: whether there was one to forget.
#' * `mxc_account_pickle()`: one string.
#' * The others return `NULL`, invisibly.
#' @section Errors:
#' Of class `mxc_error`: `mxc_error_handle` (not an account, or one that was
#' saved with `saveRDS()` or comes from before a fork), `mxc_error_argument`,
#' `mxc_error_pickle` (wrong key, or not a pickle).
#' @references Client-server API, "Key algorithms" and "Device keys":
#'   <https://spec.matrix.org/v1.19/client-server-api/#end-to-end-encryption>
#' @family cryptographic primitives
#' @examples
#' account <- mxc_account_new()
#' account
#' mxc_account_generate_one_time_keys(account, 2)
#' names(mxc_account_one_time_keys(account))
#' mxc_account_mark_published(account)
#' length(mxc_account_one_time_keys(account))
#'
#' key <- as.raw(0:31) # 32 random bytes in earnest
#' again <- mxc_account_unpickle(mxc_account_pickle(account, key), key)
#' stopifnot(identical(
#'   mxc_account_identity_keys(again),
#'   mxc_account_identity_keys(account)
#' ))
#' @name mxc_account
NULL

#' @rdname mxc_account
#' @export
mxc_account_new <- function() {
  new_handle(primitive(account_new()), "mxc_account")
}

#' @rdname mxc_account
#' @export
mxc_account_identity_keys <- function(account) {
  if (inherits(account, "mx_crypto_account")) {
    return(core(machine_identity_keys(stored_machine(account))))
  }
  primitive(account_identity_keys(pointer(account, "mxc_account")))
}

#' @rdname mxc_account
#' @export
mxc_account_sign <- function(account, canonical_json) {
  if (inherits(account, "mx_crypto_account")) {
    return(core(machine_sign(stored_machine(account), canonical_json)))
  }
  primitive(account_sign(pointer(account, "mxc_account"), canonical_json))
}

#' @rdname mxc_account
#' @export
mxc_account_generate_one_time_keys <- function(account, n) {
  primitive(account_generate_one_time_keys(pointer(account, "mxc_account"), n))
  invisible()
}

#' @rdname mxc_account
#' @export
mxc_account_one_time_keys <- function(account) {
  if (inherits(account, "mx_crypto_account")) {
    return(core(machine_unpublished_one_time_keys(stored_machine(account))))
  }
  primitive(account_one_time_keys(pointer(account, "mxc_account")))
}

#' @rdname mxc_account
#' @export
mxc_account_mark_published <- function(account) {
  primitive(account_mark_published(pointer(account, "mxc_account")))
  invisible()
}

#' @rdname mxc_account
#' @export
mxc_account_fallback_key <- function(account) {
  primitive(account_fallback_key(pointer(account, "mxc_account")))
}

#' @rdname mxc_account
#' @export
mxc_account_forget_fallback_key <- function(account) {
  primitive(account_forget_fallback_key(pointer(account, "mxc_account")))
}

#' @rdname mxc_account
#' @export
mxc_account_pickle <- function(account, key) {
  primitive(account_pickle(pointer(account, "mxc_account"), key))
}

#' @rdname mxc_account
#' @export
mxc_account_unpickle <- function(blob, key) {
  new_handle(primitive(account_unpickle(blob, key)), "mxc_account")
}

#' @export
describe.mxc_account <- function(x) {
  keys <- mxc_account_identity_keys(x)
  paste0(names(keys), ": ", unlist(keys))
}

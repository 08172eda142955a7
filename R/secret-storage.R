# Secret storage: where it is, and what opens it. The core opens it.

account_data_path <- function(client, type) {
  api_path("user", client[["user_id"]], "account_data", type)
}

put_account_data <- function(client, types, contents, call = caller_env()) {
  for (i in seq_along(types)) {
    path <- account_data_path(client, types[[i]])
    http_json(client, "PUT", path, contents[[i]], call = call)
  }
}

# All account data, by an initial sync of nothing else: there is no other list of the
# secrets in secret storage.
account_data <- function(client, call = caller_env()) {
  path <- api_path("sync", query = list(filter = account_data_filter()))
  answer <- http_perform(client, "GET", path, call = call)
  if (answer[["status"]] != 200L) {
    http_abort(answer, call = call)
  }
  answer[["body"]]
}

# Synapse repeats its last response to an initial sync for two minutes if the filter is
# the same, so each filter names another type.
account_data_filter <- function() {
  now <- sprintf("%.6f", as.numeric(Sys.time()))
  nothing <- list(not_types = c("*", now))
  unclass(mxc_json(list(room = list(rooms = list()), presence = nothing)))
}

# Secret storage as the server returns it now: a handle of the core.
read_storage <- function(client, call = caller_env()) {
  core(secret_storage_read(account_data(client, call)), call = call)
}

# The same, described: its `handle`, the `default_key` (NULL where there is none),
# the names of the `secrets` under it, and the `keys`.
secret_storage <- function(client, call = caller_env()) {
  handle <- read_storage(client, call)
  described <- core(secret_storage_describe(handle), call = call)
  c(list(handle = handle), described)
}

# A handle of secret storage, with what opens it.
with_secret <- function(storage, given, call = caller_env()) {
  secret <- given[["handle"]]
  if (is.null(secret)) {
    return(storage)
  }
  core(secret_storage_with(storage, secret), call = call)
}

# Secret storage as the server returns it now, with what opens it.
open_storage <- function(client, given, call = caller_env()) {
  with_secret(read_storage(client, call), given, call)
}

check_given <- function(recovery_key, passphrase, call = caller_env()) {
  # What mx_crypto_setup() returned is only a mask.
  if (inherits(recovery_key, "mx_recovery_key")) {
    recovery_key <- reveal_recovery_key(recovery_key, call)
  }
  new_given(
    check_string(recovery_key, null = TRUE, call = call),
    check_string(passphrase, null = TRUE, call = call),
    call
  )
}

# What opens secret storage, created once per call, because deriving a key from a
# passphrase takes long: a handle, and which of the two were given. The handle is NULL
# without either.
new_given <- function(recovery_key, passphrase = NULL, call = caller_env()) {
  is_key <- !is.null(recovery_key)
  is_passphrase <- !is.null(passphrase)
  handle <- if (is_key || is_passphrase) {
    core(storage_secret_new(recovery_key, passphrase), call = call)
  }
  list(handle = handle, recovery_key = is_key, passphrase = is_passphrase)
}

# A recovery key or a passphrase: given, or found where a bot can leave it.
storage_secret <- function(client, given, call = caller_env()) {
  if (!is.null(given[["handle"]])) {
    return(given)
  }
  found <- find_secret("recovery_key", client[["user_id"]], call)
  if (is.null(found)) {
    mx_abort(
      c(
        paste0("The recovery key of ", client[["user_id"]], " is needed."),
        i = "Give it, or set MXCRYPT_RECOVERY_KEY: see ?mxcrypt_secrets.",
        i = "If it is lost, verify this device with another one of yours: see mx_verify().",
        i = "If no other device is left either, see ?mx_cross_signing_reset."
      ),
      "mx_error_recovery_key",
      call = call
    )
  }
  new_given(found, call = call)
}

# What opens secret storage, if it was given or is found; else NULL.
secret_at_hand <- function(client, given, call = caller_env()) {
  tryCatch(
    storage_secret(client, given, call),
    mx_error_recovery_key = function(condition) NULL
  )
}

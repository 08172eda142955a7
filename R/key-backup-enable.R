#' Turn key backup on, off, or delete it
#'
#' `mx_backup_enable()` joins the key backup of the account, or creates one. A backup
#' from before secret storage opens with its own passphrase or recovery key.
#' `mx_backup_disable()` uploads no more keys of this device and leaves the uploaded ones.
#' `mx_backup_delete()` deletes every version of it, with all keys. Each
#' saves the preference in the account (`m.key_backup`, and the older name that Element
#' reads), so that other devices follow it.
#'
#' [mx_crypto_setup()] does what `mx_backup_enable()` does, unless the preference of the
#' account is to have no backup.
#'
#' @inheritParams mx_secret_fetch
#' @param recovery_key The recovery key of the account, or that of the backup itself.
#'   Better leave it out: it is then read from [mxcrypt_secrets].
#' @param passphrase The passphrase of secret storage, or that of the backup itself,
#'   in place of a recovery key.
#' @param replace Whether to create a new backup in place of the existing one,
#'   whose keys are deleted. If its key is on this device, its keys are restored
#'   first; otherwise nobody can read them afterwards. It is for a backup whose key
#'   is lost on every device, and in secret storage too.
#' @return The [mx_backup_status()], invisibly.
#' @section Errors:
#' `mx_error_recovery_key` (not found, mistyped, of another account or an older
#' one), `mx_error_secret_storage` (missing, or does not open), `mx_error_key_backup`
#' (secret storage does not hold the key of the backup that the server returns, or the
#' server does not keep or delete the backup, or does not return it).
#' @references Client-server API, "Server-side key backups":
#'   <https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups>
#' @family key backup
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
#' setup <- mx_crypto_setup(alice)
#' key <- format(setup$recovery_key, reveal = TRUE)
#' mx_backup_delete(alice)
#' mx_backup_status(alice)
#' mx_backup_enable(alice, recovery_key = key)
#' mx_backup_status(alice)
#' @export
mx_backup_enable <- function(
  client,
  recovery_key = NULL,
  passphrase = NULL,
  replace = FALSE
) {
  machine <- machine_of(check_client(client))
  given <- check_given(recovery_key, passphrase)
  check_flag(replace)
  own_identity(client, machine)
  status <- if (replace) {
    backup_now(client, machine)
  } else {
    working_backup(client, machine)
  }
  if (status[["under_way"]]) {
    # One that was begun is finished, also where it was to replace another.
    make_backup(client, machine, given, status[["replaces"]])
  } else if (!replace && status[["key_held"]]) {
    want_backup(client, TRUE)
    core(machine_enable_backup(machine, TRUE))
  } else if (!replace && !is.null(status[["version"]])) {
    join_backup(client, machine, secret_storage(client), given)
    want_backup(client, TRUE)
    core(machine_enable_backup(machine, TRUE))
  } else {
    make_backup(client, machine, given, replace)
  }
  invisible(mx_backup_status(client))
}

#' @rdname mx_backup_enable
#' @export
mx_backup_disable <- function(client) {
  machine <- machine_of(check_client(client))
  core(machine_enable_backup(machine, FALSE))
  want_backup(client, FALSE)
  invisible(mx_backup_status(client))
}

#' @rdname mx_backup_enable
#' @export
mx_backup_delete <- function(client) {
  machine <- machine_of(check_client(client))
  core(machine_enable_backup(machine, FALSE))
  want_backup(client, FALSE)
  status <- working_backup(client, machine)
  deleted <- 0
  while (!is.null(status[["version"]])) {
    check_not_endless(deleted)
    status <- delete_backup_version(client, machine, status[["version"]])
    deleted <- deleted + 1
  }
  invisible(mx_backup_status(client))
}

# A server that returns another version after each deletion must not keep us here.
check_not_endless <- function(deleted, call = caller_env()) {
  if (deleted == 1000) {
    mx_abort(
      "The server returns another version of the key backup after each deletion.",
      "mx_error_key_backup",
      call = call
    )
  }
}

# The account's preference, for every device (specification: "Key backup enabled
# preference"), and for those that know Element's older name only.
want_backup <- function(client, wanted, call = caller_env()) {
  types <- c("m.key_backup", "m.org.matrix.custom.backup_disabled")
  contents <- list(list(enabled = wanted), list(disabled = !wanted))
  put_account_data(client, types, lapply(contents, as_json_text), call)
}

# Deletes a version, and returns the status that the server reports then.
delete_backup_version <- function(
  client,
  machine,
  version,
  call = caller_env()
) {
  path <- api_path("room_keys", "version", version)
  answer <- http_perform(client, "DELETE", path, call = call)
  if (!answer[["status"]] %in% c(200L, 404L)) {
    http_abort(answer, call = call)
  }
  status <- working_backup(client, machine, call)
  if (identical(status[["version"]], version)) {
    mx_abort(
      "The server still returns the key backup that was deleted.",
      "mx_error_key_backup",
      call = call
    )
  }
  status
}

# Part of mx_crypto_setup(). A backup that was begun is completed. A failure is only a
# warning: identity, secret storage and signatures are done by then. Returns the failure,
# or NULL.
set_up_backup <- function(client, machine, given, done, call = caller_env()) {
  failed <- tryCatch(
    make_or_join_backup(client, machine, given, done, call),
    mx_error_key_backup = identity,
    mx_error_secret_storage = identity,
    mx_error_answer = identity,
    mx_error_http = identity,
    mx_error_network = identity
  )
  if (inherits(failed, "condition")) {
    message <- conditionMessage(failed)
    mx_warn(
      c("The key backup is not set up.", x = message),
      "mx_warning_key_backup"
    )
    failed <- strsplit(message, "\n", fixed = TRUE)[[1]][[1]]
  }
  failed
}

make_or_join_backup <- function(client, machine, given, done, call) {
  status <- backup_now(client, machine, call)
  if (status[["under_way"]] && status[["key_stored"]]) {
    publish_backup(client, machine, call)
    done("created a key backup")
    return(NULL)
  }
  if (is_set_up(status)) {
    return(NULL)
  }
  storage <- secret_storage(client, call)
  if (identical(storage[["backup_wanted"]], FALSE) && !status[["under_way"]]) {
    return(NULL)
  }
  check_backup(status, call)
  given <- secret_at_hand(client, given, call)
  make_or_join_with(client, machine, storage, given, status, done, call)
}

make_or_join_with <- function(
  client,
  machine,
  storage,
  given,
  status,
  done,
  call
) {
  if (is.null(given) || is.null(storage[["default_key"]])) {
    return(warn_no_backup(status))
  }
  if (status[["under_way"]] || is.null(status[["version"]])) {
    make_backup(client, machine, given, FALSE, call)
    done("created a key backup")
    return(NULL)
  }
  join_or_warn(client, machine, storage, given, status, done, call)
}

# Whether the backup is known, can be read, and was decided about.
is_set_up <- function(status) {
  is.null(status[["failure"]]) &&
    !status[["under_way"]] &&
    status[["key_held"]] &&
    !is.null(status[["enabled"]])
}

join_or_warn <- function(client, machine, storage, given, status, done, call) {
  joined <- tryCatch(
    join_backup(client, machine, storage, given, call),
    mx_error_key_backup = identity,
    mx_error_secret_storage = identity,
    mx_error_recovery_key = identity
  )
  if (is.null(joined)) {
    done("joined the key backup")
    return(NULL)
  }
  # It can be written to where it is trusted for its signature.
  core(machine_enable_backup(machine, status[["trusted"]]), call = call)
  restored <- restore_older(client, machine, call)
  if (nrow(restored) > 0L) {
    count <- sum(restored[["restored"]])
    done(cli::pluralize("restored {count} key{?s} of an older key backup"))
  }
  message <- c(
    "The key backup cannot be read from here.",
    x = status[["refused"]] %||% conditionMessage(joined),
    bullets(unread_backup_help(status))
  )
  mx_warn(message, "mx_warning_key_backup")
  paste(message[1:2], collapse = " ")
}

# What helps where the key of the backup is not here. Nothing of it may destroy what
# somebody could still read.
unread_backup_help <- function(status) {
  if (!is.null(status[["refused"]])) {
    return(
      "A client of yours made it wrongly. Older keys are still on your other devices."
    )
  }
  if (status[["legacy"]]) {
    return(paste(
      "It was made before secret storage, with a passphrase of its own: run",
      "mx_backup_enable(client, passphrase = )."
    ))
  }
  c(
    paste(
      "If another device of yours reads it, verify this one with it: see",
      "mx_verify()."
    ),
    paste(
      "If it was made before secret storage, it has a recovery key of its own:",
      "mx_backup_enable(client, recovery_key = )."
    )
  )
}

warn_no_backup <- function(status) {
  message <- if (is.null(status[["version"]])) {
    c(
      "There is no key backup: keys would be lost with this device.",
      i = "Run mx_crypto_setup() with the recovery key."
    )
  } else if (status[["legacy"]]) {
    c(
      "The account has a key backup from before secret storage.",
      bullets(unread_backup_help(status))
    )
  } else {
    c(
      "The key of the key backup is not on this device.",
      i = "Run mx_crypto_setup() with the recovery key.",
      bullets(unread_backup_help(status))
    )
  }
  mx_warn(message, "mx_warning_key_backup")
  message[[1]]
}

bullets <- function(lines) {
  stats::setNames(lines, rep("i", length(lines)))
}

# Takes the private key from secret storage, or from what opens the backup itself.
join_backup <- function(client, machine, storage, given, call = caller_env()) {
  given <- storage_secret(client, given, call)
  opened <- with_secret(storage[["handle"]], given, call)
  core(machine_open_backup(machine, opened), call = call)
}

# The private key first: to this store, to secret storage, and then the backup that
# nobody could read without it. Each step can be done again. Where secret storage
# holds the key of a backup already, and nobody wants it replaced, the new one has
# that key: the server may be wrong when it returns no backup.
make_backup <- function(client, machine, given, replace, call = caller_env()) {
  given <- storage_secret(client, given, call)
  storage <- open_storage(client, given, call)
  core(machine_make_backup(machine, replace, storage), call = call)
  content <- core(machine_seal_backup_key(machine, storage), call = call)
  name <- if (!is.null(content)) secret_names[["backup"]]
  put_account_data(client, name, content, call)
  core(machine_backup_key_stored(machine), call = call)
  publish_backup(client, machine, call)
}

# Success is what the server returns afterwards, and not its response to the upload.
publish_backup <- function(client, machine, call = caller_env()) {
  status <- backup_now(client, machine, call)
  # A version that cannot be read is not deleted: the new one comes beside it.
  is_unreadable <- identical(status[["failure"]][["status"]], 200L)
  if (!status[["replaces"]] || !is_unreadable) {
    check_backup(status, call)
  }
  want_backup(client, TRUE, call)
  in_the_way <- function(status) {
    status[["under_way"]] &&
      status[["replaces"]] &&
      is.null(status[["failure"]]) &&
      !is.null(status[["version"]])
  }
  deleted <- 0
  while (in_the_way(status)) {
    check_not_endless(deleted, call)
    if (status[["key_held"]]) {
      restore_keys(client, machine, status, NULL, call = call)
    }
    status <- delete_backup_version(client, machine, status[["version"]], call)
    deleted <- deleted + 1
  }
  if (status[["under_way"]]) {
    body <- core(machine_backup_upload(machine), call = call)
    path <- api_path("room_keys", "version")
    http_json(client, "POST", path, body, call = call)
    status <- working_backup(client, machine, call)
  }
  if (!status[["key_held"]]) {
    mx_abort(
      "The server does not return the key backup that was created.",
      "mx_error_key_backup",
      call = call
    )
  }
}

#' Switch key backup on and off
#'
#' `mx_backup_enable()` joins the key backup of the account, or makes one.
#' `mx_backup_disable()` puts no more keys of this device into it and leaves what is
#' there. `mx_backup_delete()` deletes every version of it, with all keys. Each
#' says so in the account (`m.key_backup`), for other devices to follow.
#'
#' [mx_crypto_setup()] does what `mx_backup_enable()` does, unless the account says
#' that no backup is wanted.
#'
#' @inheritParams mx_secret_fetch
#' @param replace Whether to make a new backup in place of the one that is there,
#'   whose keys are deleted. It is for one whose key is lost.
#' @return The [mx_backup_status()], invisibly.
#' @section Errors:
#' `mx_error_recovery_key` (none to be had, mistyped, of another account or an older
#' one), `mx_error_secret_storage` (missing, or does not open), `mx_error_key_backup`
#' (secret storage does not hold the key of the backup that the server shows, or the
#' server does not keep or delete what it is told).
#' @references Client-server API, "Server-side key backups":
#'   <https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups>
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
  status <- backup_now(client, machine)
  if (!replace && status[["key_held"]]) {
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
  status <- backup_now(client, machine)
  while (!is.null(status[["version"]])) {
    status <- delete_backup_version(client, machine, status[["version"]])
  }
  invisible(mx_backup_status(client))
}

# The account's preference, for every device (specification: "Key backup enabled
# preference").
want_backup <- function(client, wanted, call = caller_env()) {
  content <- unclass(mxc_json(list(enabled = wanted)))
  put_account_data(client, "m.key_backup", content, call)
}

# Deletes a version, and says what the server shows then.
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
  status <- backup_now(client, machine, call)
  if (identical(status[["version"]], version)) {
    mx_abort(
      "The server still shows the key backup that was deleted.",
      "mx_error_key_backup",
      call = call
    )
  }
  status
}

# Part of mx_crypto_setup(). A backup that is being made is gone on with; what is in
# the way of one is a warning.
set_up_backup <- function(client, machine, given, done, call = caller_env()) {
  status <- backup_now(client, machine, call)
  if (status[["under_way"]] && status[["key_stored"]]) {
    publish_backup(client, machine, call)
    return(done("made a key backup"))
  }
  if (status[["key_held"]] && !is.null(status[["enabled"]])) {
    return(invisible())
  }
  storage <- secret_storage(client, call)
  if (identical(storage[["backup_wanted"]], FALSE) && !status[["under_way"]]) {
    return(invisible())
  }
  make_or_join_backup(client, machine, storage, given, status, done, call)
}

make_or_join_backup <- function(
  client,
  machine,
  storage,
  given,
  status,
  done,
  call
) {
  given <- secret_at_hand(client, given, call)
  if (is.null(given) || is.null(storage[["default_key"]])) {
    warn_no_backup(status)
  } else if (status[["under_way"]] || is.null(status[["version"]])) {
    make_backup(client, machine, given, FALSE, call)
    done("made a key backup")
  } else {
    join_or_warn(client, machine, storage, given, status, done, call)
  }
}

join_or_warn <- function(client, machine, storage, given, status, done, call) {
  joined <- tryCatch(
    join_backup(client, machine, storage, given, call),
    mx_error_key_backup = identity,
    mx_error_secret_storage = identity
  )
  if (is.null(joined)) {
    return(done("joined the key backup"))
  }
  # It can be written to where it is trusted for its signature.
  core(machine_enable_backup(machine, status[["trusted"]]), call = call)
  message <- c(
    "The key backup cannot be read from here.",
    x = conditionMessage(joined),
    i = "See mx_backup_status(), and mx_backup_enable(replace = TRUE)."
  )
  mx_warn(message, "mx_warning_key_backup")
}

warn_no_backup <- function(status) {
  message <- if (is.null(status[["version"]])) {
    "There is no key backup: keys would be lost with this device."
  } else {
    "The key of the key backup is not on this device."
  }
  help <- "Run mx_crypto_setup() with the recovery key."
  mx_warn(c(message, i = help), "mx_warning_key_backup")
}

# Takes the private key from secret storage.
join_backup <- function(client, machine, storage, given, call = caller_env()) {
  given <- storage_secret(client, given, call)
  opened <- machine_open_backup(
    machine,
    storage[["account_data"]],
    given[["recovery_key"]],
    given[["passphrase"]]
  )
  core(opened, call = call)
}

# The private key first: to this store, to secret storage, and then the backup that
# nobody could read without it. Each step can be done again.
make_backup <- function(client, machine, given, replace, call = caller_env()) {
  given <- storage_secret(client, given, call)
  core(machine_make_backup(machine, replace), call = call)
  sealed <- machine_seal_backup_key(
    machine,
    account_data(client, call),
    given[["recovery_key"]],
    given[["passphrase"]]
  )
  content <- core(sealed, call = call)
  name <- if (!is.null(content)) secret_names[["backup"]]
  put_account_data(client, name, content, call)
  core(machine_backup_key_stored(machine), call = call)
  publish_backup(client, machine, call)
}

# Success is what the server shows then, and not what it answered.
publish_backup <- function(client, machine, call = caller_env()) {
  want_backup(client, TRUE, call)
  status <- backup_now(client, machine, call)
  while (status[["in_the_way"]]) {
    status <- delete_backup_version(client, machine, status[["version"]], call)
  }
  if (status[["under_way"]]) {
    body <- core(machine_backup_upload(machine), call = call)
    path <- api_path("room_keys", "version")
    http_json(client, "POST", path, body, call = call)
    status <- backup_now(client, machine, call)
  }
  if (!status[["key_held"]]) {
    mx_abort(
      "The server does not show the key backup that was made.",
      "mx_error_key_backup",
      call = call
    )
  }
}

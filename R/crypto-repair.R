#' Repair key storage
#'
#' Repairs key storage where it is out of sync: the keys on this device, the keys in
#' secret storage and the key backup do not match, or something is missing. Then
#' a new device could not read the history, or others withhold keys from this one.
#' [mx_crypto_status()] reports it. `mx_crypto_repair()` announces what it will do,
#' and then does what is possible without replacing or losing anything. Repairs that
#' need a decision of yours are listed, and not done.
#'
#' Only with the recovery key can it compare the keys in secret storage with those on
#' this device. A repair that fails is a warning of class `mx_warning_key_storage`, and
#' the others continue.
#'
#' @inheritParams mx_crypto_setup
#' @param ask Whether to ask after it was announced what will be done; an answer other
#'   than yes is an error of class `mx_error_declined`.
#' @return A data frame with a row for each problem: `problem` (its name),
#'   `message`, `repair` (what repairs it) and `mended` (whether it is repaired).
#' @section Errors:
#' Those of [mx_crypto_setup()], and `mx_error_declined`. What was done before an
#' error stays done: call again.
#' @family identity and recovery
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
#' mx_crypto_repair(alice)
#' mx_crypto_repair(alice)
#' @export
mx_crypto_repair <- function(
  client,
  recovery_key = NULL,
  passphrase = NULL,
  password = NULL,
  ask = rlang::is_interactive()
) {
  machine <- machine_of(check_client(client))
  given <- check_given(recovery_key, passphrase)
  check_string(password, null = TRUE)
  check_flag(ask)
  now <- key_storage_now(client, machine, given)
  problems <- key_storage_problems(now)
  problems <- rbind(problems, differing_secrets(client, machine, given, now))
  tell_repairs(problems)
  if (ask && any(problems[["mendable"]]) && !confirm("Mend this?")) {
    mx_abort("Nothing was changed.", "mx_error_declined")
  }
  mend(client, machine, given, password, problems)
  left <- key_storage_problems(key_storage_now(client, machine))
  problems[["mended"]] <- !problems[["problem"]] %in% left[["problem"]]
  problems[["mendable"]] <- NULL
  problems
}

# Only the key of secret storage tells whether what is stored is what is here.
differing_secrets <- function(
  client,
  machine,
  given,
  now,
  call = caller_env()
) {
  if (
    is.null(now[["storage"]][["default_key"]]) ||
      !is.null(now[["identity"]][["under_way"]])
  ) {
    return(NULL)
  }
  given <- secret_at_hand(client, given, call)
  if (is.null(given)) {
    return(NULL)
  }
  storage <- with_secret(now[["storage"]][["handle"]], given, call)
  opened <- core(secret_storage_key(storage), call = call)
  if (opened != now[["storage"]][["default_key"]]) {
    return(NULL)
  }
  # An older key is kept, for the version that it opens.
  core(machine_judge_backup_key(machine, storage), call = call)
  due <- core(machine_seal_held_secrets(machine, storage), call = call)
  differing <- due[["type"]] %in% now[["storage"]][["secrets"]]
  if (any(differing)) {
    names <- names(secret_names)[secret_names %in% due[["type"]][differing]]
    data.frame(problem(
      "stored_keys_differ",
      paste0(
        "Secret storage holds other keys than this device: ",
        toString(names),
        "."
      ),
      "Replace them by those of this device, which belong to what the server returns."
    )[[1]])
  }
}

tell_repairs <- function(problems) {
  if (nrow(problems) == 0L) {
    return(cli::cli_alert_success("Nothing is out of sync."))
  }
  for (i in seq_len(nrow(problems))) {
    row <- lapply(problems, `[[`, i)
    cli::cli_alert_danger("{row$message}")
    if (row[["mendable"]]) {
      cli::cli_alert_info("Repair: {row$repair}")
    } else {
      cli::cli_alert_warning("Only you can repair this: {row$repair}")
    }
  }
}

# First what is here becomes whole, then what is stored. A step that fails does not
# stop the next one; without what opens secret storage, there is none.
mend <- function(
  client,
  machine,
  given,
  password,
  problems,
  call = caller_env()
) {
  due <- problems[["problem"]][problems[["mendable"]]]
  step <- function(problems, code) {
    if (any(problems %in% due)) {
      tryCatch(
        code(),
        mx_error_identity = warn_not_mended,
        mx_error_secret_storage = warn_not_mended,
        mx_error_key_backup = warn_not_mended,
        mx_error_http = warn_not_mended
      )
    }
  }
  step(
    c(
      "private_keys_missing_here",
      "private_keys_under_other_key",
      "identity_changed"
    ),
    function() open_identity(client, machine, given)
  )
  step(
    c(
      "identity_unfinished",
      "identity_missing",
      "device_unsigned",
      "backup_missing",
      "backup_unfinished"
    ),
    function() {
      set_up_crypto(client, machine, given, FALSE, password, FALSE, call)
    }
  )
  step(
    c("backup_key_missing_here", "private_keys_under_other_key"),
    function() {
      status <- core(machine_backup_status(machine))
      if (!is.null(status[["version"]]) && !status[["key_held"]]) {
        join_backup(client, machine, secret_storage(client), given)
      }
    }
  )
  # The key in secret storage may be all that opens an older version.
  restore_older(client, machine)
  step("backup_unused", function() core(machine_enable_backup(machine, TRUE)))
  step(c("private_keys_not_stored", "stored_keys_differ"), function() {
    given <- storage_secret(client, given)
    due <- machine_seal_held_secrets(machine, open_storage(client, given))
    due <- core(due)
    put_account_data(client, due[["type"]], due[["content"]])
  })
  step(c("backup_behind", "backup_unused"), function() mx_backup_upload(client))
}

warn_not_mended <- function(condition) {
  mx_warn(
    c("A part was not repaired.", x = conditionMessage(condition)),
    "mx_warning_key_storage"
  )
}

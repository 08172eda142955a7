# Key storage: the keys of this device that the server keeps, encrypted, and whether they
# match the keys here.

# The current status, as the server returns it: our `identity`, secret `storage`, and the
# `backup`. If secret storage can be opened without asking, its backup key is checked.
key_storage_now <- function(
  client,
  machine,
  given = list(),
  call = caller_env()
) {
  now <- list(
    identity = own_identity(client, machine, call),
    backup = backup_now(client, machine, call),
    storage = secret_storage(client, call)
  )
  if (is_backup_key_doubtful(now)) {
    given <- secret_at_hand(client, given, call)
    if (!is.null(given)) {
      opened <- with_secret(now[["storage"]][["handle"]], given, call)
      core(machine_judge_backup_key(machine, opened), call = call)
      now[["backup"]] <- core(machine_backup_status(machine), call = call)
    }
  }
  now
}

is_backup_key_doubtful <- function(now) {
  backup <- now[["backup"]]
  can_join_backup(now) && !is.null(backup[["version"]]) && !backup[["key_held"]]
}

# Whether secret storage was found to hold the key of another backup.
is_backup_key_another <- function(now) {
  misfit <- now[["backup"]][["misfit"]]
  !is.null(misfit) && identical(misfit, now[["storage"]][["backup_key"]])
}

# Whether secret storage holds the key of the backup, as far as is known.
can_join_backup <- function(now) {
  is_backup_key_stored(now) && !is_backup_key_another(now)
}

is_backup_key_stored <- function(now) {
  secret_names[["backup"]] %in% now[["storage"]][["secrets"]]
}

# On: message keys go to a backup. Recovery: secret storage has what a new device
# needs, should all others be lost.
describe_key_storage <- function(now) {
  on <- now[["backup"]][["trusted"]] && isTRUE(now[["backup"]][["enabled"]])
  stored <- stored_secrets(now)
  recovery <- if (is.null(now[["storage"]][["default_key"]])) {
    "not_set_up"
  } else if (all(stored) && is_storage_described(now)) {
    "set_up"
  } else {
    "incomplete"
  }
  list(
    on = on,
    recovery = recovery,
    uploaded = c(
      if (any(stored[identity_keys])) "identity",
      if (on) "messages"
    ),
    new_device_reads_history = on,
    outlives_all_devices = on && recovery == "set_up"
  )
}

# Which of the secrets that a new device needs are in secret storage, by names.
stored_secrets <- function(now) {
  names <- secret_names
  if (is.null(now[["backup"]][["version"]])) {
    names <- names[identity_keys]
  }
  vapply(names, function(name) name %in% now[["storage"]][["secrets"]], NA)
}

# What secret storage is for, by the names that people see.
secret_names <- c(
  master = "m.cross_signing.master",
  self_signing = "m.cross_signing.self_signing",
  user_signing = "m.cross_signing.user_signing",
  backup = "m.megolm_backup.v1"
)

# The problems of key storage: a row for each `problem`, with its repair.
key_storage_problems <- function(now) {
  rows <- c(
    identity_problems(now),
    other_key_problems(now),
    storage_problems(now),
    backup_problems(now)
  )
  column <- function(name, type) vapply(rows, `[[`, type, name)
  data.frame(
    problem = column("problem", ""),
    message = column("message", ""),
    repair = column("repair", ""),
    mendable = column("mendable", NA)
  )
}

problem <- function(problem, message, repair, mendable = TRUE) {
  list(list(
    problem = problem,
    message = message,
    repair = repair,
    mendable = mendable
  ))
}

identity_problems <- function(now) {
  identity <- now[["identity"]]
  if (!is.null(identity[["refused"]])) {
    return(problem(
      "identity_refused",
      "The server returns an identity of yours that is not valid.",
      "Ask the server's administrator; see ?mx_cross_signing_reset.",
      mendable = FALSE
    ))
  }
  if (!is.null(identity[["under_way"]])) {
    return(problem(
      "identity_unfinished",
      "An identity was begun, and not finished.",
      "Finish it."
    ))
  }
  if (is.null(identity[["master_key"]])) {
    return(problem(
      "identity_missing",
      "You have no identity: others cannot trust any device of yours.",
      "Create an identity, and sign this device."
    ))
  }
  c(
    if (identity[["changed"]]) {
      problem(
        "identity_changed",
        "The server returns another identity of yours than this device knows.",
        "Fetch it from secret storage, which proves that you created it.",
        mendable = stored_secrets(now)[["self_signing"]]
      )
    },
    private_key_problems(now),
    if (!identity[["device_signed"]]) {
      problem(
        "device_unsigned",
        "This device is not signed: others withhold keys from it.",
        "Sign this device.",
        mendable = can_sign(now)
      )
    }
  )
}

can_sign <- function(now) {
  "self_signing" %in%
    c(
      now[["identity"]][["held"]],
      names(which(stored_secrets(now))),
      names(other_keys(now))
    )
}

private_key_problems <- function(now) {
  missing <- setdiff(identity_keys, now[["identity"]][["held"]])
  if (length(missing) == 0L) {
    return(NULL)
  }
  stored <- stored_secrets(now)[missing]
  elsewhere <- !stored & missing %in% names(other_keys(now))
  lost <- missing[!stored & !elsewhere]
  c(
    if (any(stored)) {
      problem(
        "private_keys_missing_here",
        paste0(
          "Private keys are not on this device: ",
          toString(missing[stored]),
          "."
        ),
        "Fetch them from secret storage."
      )
    },
    if (length(lost) > 0L) {
      problem(
        "private_keys_lost_here",
        paste0(
          "Private keys are neither on this device nor in secret storage: ",
          toString(lost),
          "."
        ),
        paste(
          "Verify this device with another one of yours, which then gives it the",
          "keys: see mx_verify(). If none has them, see ?mx_cross_signing_reset."
        ),
        mendable = FALSE
      )
    }
  )
}

# The keys of secret storage that open what its default key does not, by the names of
# the secrets.
other_keys <- function(now) {
  if (is.null(now[["storage"]][["default_key"]])) {
    return(character())
  }
  elsewhere <- now[["storage"]][["elsewhere"]]
  known <- match(elsewhere[["name"]], secret_names)
  keys <- stats::setNames(elsewhere[["keys"]], names(secret_names)[known])
  keys[!is.na(known)]
}

# Secrets that this device lacks, and that another key than the default one opens.
other_key_problems <- function(now) {
  keys <- other_keys(now)
  here <- now[["identity"]][["held"]]
  if (now[["backup"]][["key_held"]] || is.null(now[["backup"]][["version"]])) {
    here <- c(here, "backup")
  }
  keys <- keys[setdiff(names(keys), here)]
  if (length(keys) == 0L || is.null(now[["identity"]][["master_key"]])) {
    return(NULL)
  }
  problem(
    "private_keys_under_other_key",
    paste0(
      "Private keys are in secret storage under another key than its default one: ",
      toString(names(secret_names)[names(secret_names) %in% names(keys)]),
      "."
    ),
    paste0(
      "Fetch them with the recovery key of ",
      printable(paste(unique(keys), collapse = ", ")),
      ": mx_crypto_repair(client, recovery_key = )."
    )
  )
}

# Whether anybody can open secret storage: its default key may have lost its
# description.
is_storage_described <- function(now) isTRUE(now[["storage"]][["described"]])

storage_problems <- function(now) {
  if (is.null(now[["storage"]][["default_key"]])) {
    return(NULL)
  }
  if (!is_storage_described(now)) {
    return(problem(
      "secret_storage_broken",
      paste(
        "The account names a default key of secret storage and does not describe it:",
        "nothing opens it."
      ),
      paste(
        "Set up recovery again with another client of yours, or see",
        "?mx_cross_signing_reset."
      ),
      mendable = FALSE
    ))
  }
  here <- c(
    now[["identity"]][["held"]],
    if (now[["backup"]][["key_held"]]) "backup"
  )
  stored <- stored_secrets(now)
  missing <- intersect(here, names(stored)[!stored])
  if (length(missing) > 0L) {
    problem(
      "private_keys_not_stored",
      paste0(
        "Private keys are not in secret storage: ",
        toString(missing),
        "."
      ),
      "Put them into secret storage."
    )
  }
}

backup_problems <- function(now) {
  backup <- now[["backup"]]
  is_declined <- identical(now[["storage"]][["backup_wanted"]], FALSE)
  is_used <- isTRUE(backup[["enabled"]]) && !is.null(backup[["version"]])
  if (is_declined && !is_used) {
    return(NULL)
  }
  version_problem(now) %||%
    c(backup_key_problems(now), backup_use_problems(now))
}

# Why there is no version of the backup to work with, if there is none.
version_problem <- function(now) {
  backup <- now[["backup"]]
  if (!is.null(backup[["failure"]])) {
    return(problem(
      "backup_broken",
      broken_backup(backup[["failure"]]),
      paste(
        "Tell the server's administrator. When the server works, run",
        "mx_crypto_repair(): it sets up what is missing."
      ),
      mendable = FALSE
    ))
  }
  if (backup[["under_way"]]) {
    return(problem(
      "backup_unfinished",
      "A key backup was begun, and not finished.",
      "Finish it."
    ))
  }
  if (is.null(backup[["version"]])) {
    can_make <- !is.null(now[["storage"]][["default_key"]]) ||
      is.null(now[["identity"]][["master_key"]])
    return(problem(
      "backup_missing",
      "There is no key backup: keys would be lost with this device.",
      if (can_make) {
        "Create one, and put its key into secret storage."
      } else {
        "Set up secret storage first: see mx_recovery_key_change()."
      },
      mendable = can_make
    ))
  }
  if (!is.null(backup[["refused"]])) {
    return(problem(
      "backup_refused",
      paste0(
        "The key backup (version ",
        printable(backup[["version"]]),
        ") cannot be used. ",
        printable(backup[["refused"]])
      ),
      paste(
        "Find out which client of yours created it. Message keys are on your devices:",
        "keep them, and see ?mx_backup_enable."
      ),
      mendable = FALSE
    ))
  }
  NULL
}

backup_key_problems <- function(now) {
  backup <- now[["backup"]]
  if (backup[["key_held"]]) {
    return(NULL)
  }
  if (is_backup_key_another(now)) {
    return(problem(
      "backup_key_differs",
      paste0(
        "Secret storage holds the key of another key backup than version ",
        printable(backup[["version"]]),
        ", which the server returns."
      ),
      paste(unread_backup_help(backup), collapse = " "),
      mendable = FALSE
    ))
  }
  if ("backup" %in% names(other_keys(now))) {
    return(NULL)
  }
  problem(
    "backup_key_missing_here",
    "The key of the key backup is not on this device.",
    if (can_join_backup(now)) {
      "Fetch it from secret storage."
    } else {
      paste(unread_backup_help(backup), collapse = " ")
    },
    mendable = can_join_backup(now)
  )
}

backup_use_problems <- function(now) {
  backup <- now[["backup"]]
  behind <- backup[["keys"]] - backup[["backed_up"]]
  if (!isTRUE(backup[["enabled"]])) {
    can_use <- backup[["trusted"]] || can_join_backup(now)
    problem(
      "backup_unused",
      "Keys of this device do not go to the key backup.",
      if (can_use) {
        "Upload them from now on."
      } else {
        "The key of the backup must be on this device first."
      },
      mendable = can_use
    )
  } else if (backup[["trusted"]] && behind > 0) {
    problem(
      "backup_behind",
      paste("Keys that are not in the key backup yet:", format_count(behind)),
      "Upload them."
    )
  }
}

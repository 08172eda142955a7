# Key storage: what the server keeps, encrypted, of the keys of this device, and
# whether that and what is here are in step.

# What stands now, by what the server shows: our `identity`, secret `storage`, and
# the `backup`.
key_storage_now <- function(client, machine, call = caller_env()) {
  list(
    identity = own_identity(client, machine, call),
    backup = backup_now(client, machine, call),
    storage = secret_storage(client, call)
  )
}

# On: message keys go to a backup. Recovery: secret storage has what a new device
# needs, should all others be lost.
describe_key_storage <- function(now) {
  on <- now[["backup"]][["trusted"]] && isTRUE(now[["backup"]][["enabled"]])
  stored <- stored_secrets(now)
  recovery <- if (is.null(now[["storage"]][["default_key"]])) {
    "not_set_up"
  } else if (all(stored)) {
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

# What is out of step: a row for each `problem`, and what mends it.
key_storage_problems <- function(now) {
  rows <- c(identity_problems(now), storage_problems(now), backup_problems(now))
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
      "The server shows an identity of yours that does not hold.",
      "If nobody can explain it, make a new one: mx_cross_signing_reset().",
      mendable = FALSE
    ))
  }
  if (!is.null(identity[["under_way"]])) {
    return(problem(
      "identity_unfinished",
      "Making an identity was begun, and not finished.",
      "Go on with that."
    ))
  }
  if (is.null(identity[["master_key"]])) {
    return(problem(
      "identity_missing",
      "You have no identity: others cannot trust any device of yours.",
      "Make an identity, and sign this device."
    ))
  }
  c(
    if (identity[["changed"]]) {
      problem(
        "identity_changed",
        "The server shows another identity of yours than this device knows.",
        "Take it from secret storage, which proves that you made it.",
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
    now[["identity"]][["held"]] ||
    stored_secrets(now)[["self_signing"]]
}

private_key_problems <- function(now) {
  missing <- setdiff(identity_keys, now[["identity"]][["held"]])
  if (length(missing) == 0L) {
    return(NULL)
  }
  stored <- all(stored_secrets(now)[missing])
  problem(
    "private_keys_missing_here",
    paste0("Private keys are not on this device: ", toString(missing), "."),
    if (stored) {
      "Take them from secret storage."
    } else {
      paste(
        "Verify this device with another one of yours, which then gives it the",
        "keys; if none has them, make a new identity: mx_cross_signing_reset()."
      )
    },
    mendable = stored
  )
}

storage_problems <- function(now) {
  if (is.null(now[["storage"]][["default_key"]])) {
    return(NULL)
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
      "Put them there."
    )
  }
}

backup_problems <- function(now) {
  backup <- now[["backup"]]
  if (
    identical(now[["storage"]][["backup_wanted"]], FALSE) &&
      !isTRUE(backup[["enabled"]])
  ) {
    return(NULL)
  }
  if (is.null(backup[["version"]])) {
    return(problem(
      "backup_missing",
      "There is no key backup: keys would be lost with this device.",
      "Make one, and put its key into secret storage.",
      mendable = !is.null(now[["storage"]][["default_key"]]) ||
        is.null(now[["identity"]][["master_key"]])
    ))
  }
  behind <- backup[["keys"]] - backup[["backed_up"]]
  c(
    if (!backup[["key_held"]]) {
      problem(
        "backup_key_missing_here",
        "The key of the key backup is not on this device.",
        "Take it from secret storage.",
        mendable = stored_secrets(now)[["backup"]]
      )
    },
    if (!isTRUE(backup[["enabled"]])) {
      problem(
        "backup_unused",
        "Keys of this device do not go to the key backup.",
        "Put them there from now on.",
        mendable = backup[["trusted"]] || stored_secrets(now)[["backup"]]
      )
    } else if (backup[["trusted"]] && behind > 0) {
      problem(
        "backup_behind",
        paste("Keys that are not in the key backup yet:", behind),
        "Put them there."
      )
    }
  )
}

# Checks of mx_doctor(): the device, its keys and its store. Each reads, and none changes
# anything.

# An existing store is opened; none is created, or bound to a login.
doctor_machine <- function(x) {
  client <- x[["client"]]
  if (!finds_store(x)) {
    check_abort("not known: there is no store", "See the line store.")
  }
  if (!is_store_open(client[["store_dir"]])) {
    variable <- paste0(secret_places[["store_key"]][["variable"]], "_FILE")
    if (is_stream(env_value(variable))) {
      check_abort(
        paste(
          "not known: the key is in a pipe,",
          variable,
          "which was not read"
        ),
        "Use the store first, for instance by mx_sync(client)."
      )
    }
  }
  said_once(x, "key of the store", {
    machine <- open_store(client[["store_dir"]])
    check_bound(machine, client)
    machine
  })
}

check_bound <- function(machine, client) {
  bound <- core(machine_binding(machine))
  if (is.null(bound)) {
    check_abort(
      "the store holds no device: it is new, or was emptied",
      "Put it back. If it is lost, sign in as a new device: mx_client_configure()."
    )
  }
  ids <- c("user_id", "device_id")
  if (!identical(bound[ids], unclass(client)[ids])) {
    check_abort(
      "the store belongs to another user or device",
      "Give each login its own `app` or `store_dir`."
    )
  }
}

finds_store <- function(x) {
  said_once(x, "store", has_store(x[["client"]][["store_dir"]]))
}

# Why a store does not open is what the line `line` says. Those after it refer to that, and
# do not wait again for a store that is locked, or for a database that is away.
said_once <- function(x, line, expr) {
  if (!is.null(x[["failed"]])) {
    check_abort(
      "not known: the store does not open",
      paste0("See the line ", x[["failed"]], ".")
    )
  }
  tryCatch(expr, mx_error = function(condition) {
    x[["failed"]] <- line
    if (inherits(condition, "mxcrypt_check")) {
      raise(condition)
    }
    is_in_database <- is_address(x[["client"]][["store_dir"]])
    remedy <- store_remedy(condition, is_in_database)
    check_abort(first_words(condition), remedy)
  })
}

# What a wrong key has to do with it, only where it has.
store_remedy <- function(condition, is_in_database) {
  about_keys <- c(
    "mx_error_secret",
    "mx_error_store_key_wrong",
    "mx_error_store_key_missing"
  )
  if (inherits(condition, about_keys)) {
    "See the line store key, and ?mxcrypt_secrets."
  } else if (inherits(condition, "mx_error_store_copy")) {
    "If the original is gone for good: mx_store_restore(path, store_dir, original_is_gone = TRUE)."
  } else if (inherits(condition, "mx_error_store_moved")) {
    paste(
      "Set store_dir in the configuration to that place,",
      "or finish the move: mx_store_move(client, to)."
    )
  } else if (inherits(condition, "mx_error_store_unreachable")) {
    "Start the database, or correct its address in the configuration: see ?mxcrypt_postgresql."
  } else if (inherits(condition, "mx_error_store_refused")) {
    "Correct the user, password or database: see ?mxcrypt_postgresql."
  } else if (inherits(condition, "mx_error_store_tampered")) {
    "mx_store_check(client) finds all that is damaged. Restore a copy: see ?mx_store_restore."
  } else if (is_in_database) {
    "See ?mxcrypt_postgresql."
  } else {
    "See the lines store and file locks."
  }
}

check_device <- function(x) {
  status <- core(machine_identity_status(doctor_machine(x)))
  found <- x[["client"]][["device_id"]]
  if (status[["device_signed"]]) {
    return(fine(found, ", signed by its owner"))
  }
  doctor_line(
    "warning",
    paste0(found, ", not signed: others may give it no keys"),
    "mx_crypto_setup(client)"
  )
}

check_identity <- function(x) {
  status <- core(machine_identity_status(doctor_machine(x)))
  user_id <- x[["client"]][["user_id"]]
  if (!is.null(status[["refused"]])) {
    return(doctor_line(
      "failure",
      c(user_id, status[["refused"]]),
      "See ?mx_cross_signing_reset."
    ))
  }
  if (status[["changed"]]) {
    return(doctor_line(
      "failure",
      paste0(user_id, ", the server shows another one than this device knows"),
      "mx_crypto_setup(client) with the recovery key of the new one."
    ))
  }
  if (is.null(status[["master_key"]])) {
    return(doctor_line(
      "warning",
      paste0(user_id, ", none that this device knows"),
      "mx_crypto_setup(client)"
    ))
  }
  found <- paste0(
    user_id,
    ", ",
    length(status[["held"]]),
    " of 3 private keys here"
  )
  if (status[["recovery_key"]]) {
    return(doctor_line(
      "warning",
      paste0(found, ", the recovery key is not saved yet"),
      "See ?mx_recovery_key_write."
    ))
  }
  fine(found)
}

check_isolation <- function(x) {
  mode <- core(machine_isolation(doctor_machine(x), NULL))
  fine("keys go to devices by the mode \"", mode, "\"")
}

check_key_backup <- function(x) {
  status <- core(machine_backup_status(doctor_machine(x)))
  found <- describe_backup(status)
  works <- is.null(status[["failure"]]) &&
    !is.null(status[["version"]]) &&
    status[["trusted"]] &&
    isTRUE(status[["enabled"]])
  if (works) {
    return(fine(found))
  }
  doctor_line(
    "warning",
    found,
    "mx_crypto_status(client) says what is wrong, mx_crypto_repair(client) repairs it."
  )
}

check_store <- function(x) {
  dir <- x[["client"]][["store_dir"]]
  if (!finds_store(x)) {
    return(doctor_line(
      "failure",
      paste("none in", short_path(dir)),
      "Put it back. If it is lost, sign in as a new device: mx_client_configure()."
    ))
  }
  if (is_address(dir)) {
    return(fine(dir))
  }
  files <- list.files(
    dir,
    all.files = TRUE,
    recursive = TRUE,
    full.names = TRUE
  )
  fine(short_path(dir), ", ", size_text(sum(file.size(files), na.rm = TRUE)))
}

check_schema <- function(x) {
  doctor_machine(x)
  if (is_address(x[["client"]][["store_dir"]])) {
    return(NULL)
  }
  inspected <- core(store_inspect(x[["client"]][["store_dir"]]))
  fine("version ", inspected[["schema"]])
}

check_store_key <- function(x) {
  doctor_machine(x)
  source <- secret_source(store_key_of(x[["client"]][["store_dir"]]))
  fine("opens the store, from ", source %||% "pickle.key beside it")
}

# What others of this machine may read. Windows keeps lists, and no modes.
check_modes <- function(x) {
  if (.Platform[["OS.type"]] == "windows") {
    return(NULL)
  }
  client <- x[["client"]]
  dir <- beside_store(client[["store_dir"]])
  paths <- c(
    dir,
    file.path(dir, c("crypto.sqlite", "pickle.key")),
    client[["path"]]
  )
  paths <- paths[file.exists(paths)]
  modes <- file.info(paths)[["mode"]]
  open <- bitwAnd(as.integer(modes), strtoi("077", 8L)) != 0L
  if (!any(open)) {
    return(fine("for the owner alone"))
  }
  wanted <- ifelse(dir.exists(paths), "0700", "0600")
  doctor_line(
    "warning",
    paste0(short_paths(paths[open]), " has ", format(modes[open])),
    paste0(
      "Sys.chmod(\"",
      short_paths(paths[open]),
      "\", \"",
      wanted[open],
      "\")",
      collapse = "; "
    )
  )
}

short_paths <- function(paths) vapply(paths, short_path, "")

check_locks <- function(x) {
  dir <- x[["client"]][["store_dir"]]
  if (is_address(dir)) {
    return(fine("by the database"))
  }
  if (!dir.exists(dir)) {
    check_abort("not known: there is no store", "See the line store.")
  }
  inspected <- core(store_inspect(dir))
  if (!is.null(inspected[["lock_failure"]])) {
    return(doctor_line(
      "failure",
      inspected[["lock_failure"]],
      "Keep the store on a disk of this machine that you may write to."
    ))
  }
  if (!inspected[["local"]]) {
    return(doctor_line(
      "warning",
      "work, but the file system is not of this machine",
      "Keep the store on a disk of this machine: locks of network drives are not sure."
    ))
  }
  fine("work")
}

check_last_sync <- function(x) {
  at <- core(machine_last_sync(doctor_machine(x)))
  if (is.null(at)) {
    return(doctor_line("warning", "never", "mx_sync(client)"))
  }
  at <- as.POSIXct(at / 1000, origin = "1970-01-01", tz = "UTC")
  days <- as.numeric(difftime(Sys.time(), at, units = "days"))
  found <- format(at, "%Y-%m-%d %H:%M UTC")
  if (days > 30) {
    remedy <- "mx_sync(client): a device that is silent for long misses keys."
    return(doctor_line("warning", found, remedy))
  }
  fine(found)
}

check_outbox <- function(x) {
  states <- core(machine_unsent(doctor_machine(x)))[["state"]]
  if (length(states) == 0L) {
    return(fine("nothing"))
  }
  refused <- sum(states == "refused")
  waiting <- length(states) - refused
  doctor_line(
    "warning",
    c(
      if (waiting > 0L) plural(waiting, "message waits", "messages wait"),
      if (refused > 0L) {
        plural(refused, "message was refused", "messages were refused")
      }
    ),
    "mx_outbox(client) says why."
  )
}

client_checks <- list(
  server = check_server,
  "sign-in offered" = check_offers,
  clock = check_clock,
  login = check_login,
  "login at the server" = check_token_works,
  # First of those that open the store: if it does not open, they say why.
  store = check_store,
  "key of the store" = check_store_key,
  device = check_device,
  identity = check_identity,
  isolation = check_isolation,
  "key backup" = check_key_backup,
  schema = check_schema,
  "file modes" = check_modes,
  "file locks" = check_locks,
  "last sync" = check_last_sync,
  "not sent" = check_outbox
)

#' Set up encryption and a verified device
#'
#' Makes this device a verified device of your account. Clients such as Element withhold
#' keys from devices that their owner has not signed. On a new account,
#' `mx_crypto_setup()` creates an identity (cross-signing keys) and secret storage, signs
#' this device, and returns a recovery key. On an account that has them, it opens secret
#' storage with the recovery key and signs this device. Call it at every start: if all is
#' set up, it does nothing. After a crash, the next call completes it. Each step is a
#' message, and so is how to save a new recovery key.
#'
#' A key backup from before secret storage has a passphrase or a recovery key of its own:
#' give that, and the key of the backup goes into the new secret storage. A failure of the
#' key backup is a warning of class `mx_warning_key_backup`, and stops nothing else;
#' [mx_crypto_repair()] sets the backup up later.
#'
#' A device whose disk is lost stays signed in on the server. If the recovery key
#' is used on a new device, `mx_crypto_setup()` lists your other devices that have
#' the same name. At the console it offers to sign them out; in a program it
#' shows the call of [mx_device_delete()] that does so. With `sign_out_lost = TRUE` it
#' signs them out without asking: for a bot in a container, where each new disk would leave
#' another device behind.
#'
#' `mx_cross_signing_reset()` is for a lost recovery key, or an identity that you no
#' longer trust: it replaces identity and secret storage by new ones. Your other devices
#' that are still signed in warn on each call until `mx_crypto_setup()` is run there with
#' the new recovery key.
#'
#' @inheritParams mx_client_session
#' @param recovery_key The recovery key of the account. Better leave it out: it is
#'   then read from the environment variable `MXCRYPT_RECOVERY_KEY`, or from another
#'   place of [mxcrypt_secrets].
#' @param passphrase The passphrase of secret storage, in place of a recovery
#'   key: to open it, or to create it with.
#' @param reset Whether to replace an existing identity and secret storage.
#'   Everybody who verified you has to do so again, and secrets that are only in the old
#'   secret storage are lost. The key backup is replaced too: its keys are restored
#'   to this device first if its key is here, and are lost otherwise.
#' @param password Your password, if the server requires it before it accepts an
#'   identity; as for [mx_client_configure()].
#' @param sign_out_lost Whether to sign out your other devices that have the name of this
#'   one, before this device becomes verified. For that, the name must be the bot's alone:
#'   give [mx_client_configure()] a `device_name`. A failure is a warning of class
#'   `mx_warning_devices`.
#' @return An object of class `mx_crypto_setup`, invisibly if nothing was to be
#'   done: a list of `user_id`, `device_id`, `master_key` (the public key of your
#'   identity), `steps` (what was done), `key_backup` (why the key backup is
#'   not set up, or `NULL`) and `recovery_key`, which is `NULL` or an
#'   [mx_recovery_key][mx_recovery_key_write].
#' @section Errors:
#' * `mx_error_recovery_key`: it was not found, is mistyped, or belongs to another account;
#'   or what was begun before is continued with another one.
#' * `mx_error_secret_storage`: it is missing, or does not hold what it should.
#' * `mx_error_identity`: the server returns another identity than secret storage
#'   holds, or does not accept the signatures; or there is a recovery key, and the account
#'   has no identity that it could open.
#' * `mx_error_password`: the password is needed, and there is none.
#' * `mx_error_approval`: the server requires your approval in a browser. Open the `url`
#'   of the condition, approve it there, and make the same call again, now or in
#'   another process. It uses the keys that were created; until then the identity stays
#'   as it was.
#' * `mx_error_argument`: with `sign_out_lost`, this device has the default name.
#' * `mx_error_uia`: the server requires something that is not supported, such as to open
#'   an address that is no web page.
#' @references Client-server API, "Cross-signing" and "Secrets":
#'   <https://spec.matrix.org/v1.19/client-server-api/#cross-signing>
#' @family identity and recovery
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
#' setup <- mx_crypto_setup(alice)
#' setup
#' key <- format(setup$recovery_key, reveal = TRUE)
#' mx_recovery_key_forget(setup$recovery_key)
#'
#' # Another device, on a machine that has nothing but the recovery key:
#' bot <- mx_demo_client(homeserver, "alice", verified = FALSE)
#' mx_crypto_setup(bot, recovery_key = key)
#' mx_devices(bot, bot$user_id)[c("device_id", "trust")]
#' @export
mx_crypto_setup <- function(
  client,
  recovery_key = NULL,
  passphrase = NULL,
  reset = FALSE,
  password = NULL,
  sign_out_lost = FALSE
) {
  machine <- machine_of(check_client(client))
  given <- check_given(recovery_key, passphrase)
  check_flag(reset)
  check_string(password, null = TRUE)
  check_flag(sign_out_lost)
  setup <- set_up_crypto(
    client,
    machine,
    given,
    reset,
    password,
    sign_out_lost
  )
  if (length(setup[["steps"]]) > 0L) setup else invisible(setup)
}

#' @rdname mx_crypto_setup
#' @export
mx_cross_signing_reset <- function(
  client,
  passphrase = NULL,
  password = NULL
) {
  mx_crypto_setup(
    client,
    passphrase = passphrase,
    reset = TRUE,
    password = password
  )
}

set_up_crypto <- function(
  client,
  machine,
  given,
  reset,
  password,
  sign_out_lost,
  call = caller_env()
) {
  status <- own_identity(client, machine, call)
  steps <- character()
  done <- function(step) {
    said <- paste0(toupper(substr(step, 1L, 1L)), substring(step, 2L), ".")
    cli::cli_alert_success("{said}")
    steps <<- c(steps, step)
  }
  if (identical(status[["under_way"]], "overtaken")) {
    core(machine_abandon_identity(machine), call = call)
    status[["under_way"]] <- NULL
  }
  opened <- FALSE
  goes_on <- !is.null(status[["under_way"]])
  makes <- goes_on || reset || is.null(status[["master_key"]])
  if (makes) {
    unless_overtaken(machine, status, {
      if (!goes_on) {
        make_identity(client, machine, given, reset, call)
        done("created an identity")
      }
      publish_identity(client, machine, status, given, password, done, call)
    })
  } else if (!"self_signing" %in% status[["held"]]) {
    open_identity(client, machine, given, call)
    opened <- TRUE
    done("fetched the identity from secret storage")
  }
  if (!own_identity(client, machine, call)[["device_signed"]]) {
    verify_this_device(client, machine, password, sign_out_lost, done, call)
  }
  key_backup <- set_up_backup(client, machine, given, done, call)
  if (opened && !sign_out_lost) {
    offer_sign_out(client, password)
  }
  setup <- new_crypto_setup(client, machine, steps, key_backup)
  if (makes && !is.null(setup[["recovery_key"]])) {
    tell_recovery_key()
  }
  setup
}

# Existing secret storage is used: a new one in its place would lock other clients out of
# what it holds.
make_identity <- function(client, machine, given, reset, call = caller_env()) {
  shown <- secret_storage(client, call)
  backup <- backup_now(client, machine, call)
  # A new identity has a new backup: the key of the old one was in the storage that
  # is replaced. Where nobody knows whether there is one, none is made yet.
  is_none <- is.null(backup[["version"]]) && is.null(backup[["failure"]])
  back_up <- !identical(shown[["backup_wanted"]], FALSE) && (reset || is_none)
  new_key <- reset || is.null(shown[["default_key"]])
  if (!new_key) {
    given <- storage_secret(client, given, call)
  } else if (!reset) {
    given <- given_or_found(client, given, call)
    open_legacy_backup(client, machine, shown, given, backup, call)
  }
  storage <- with_secret(shown[["handle"]], given, call)
  made <- machine_make_identity(machine, storage, new_key, reset, back_up)
  core(made, call = call)
}

# A recovery key that was left for this script counts as given. If a new one was made
# beside it, a container that has the old one as a secret would be locked out with its next
# disk.
given_or_found <- function(client, given, call) {
  if (!is.null(given[["handle"]])) {
    return(given)
  }
  found <- find_secret("recovery_key", client[["user_id"]], call)
  if (is.null(found)) {
    return(given)
  }
  given <- new_given(found, call = call)
  given[["source"]] <- secret_source("recovery_key")
  given
}

# An account without secret storage may have a key backup from before there was
# any. What opens it is given; its key goes into the new secret storage.
open_legacy_backup <- function(client, machine, storage, given, backup, call) {
  is_key <- given[["recovery_key"]]
  if (!is_key && !(given[["passphrase"]] && backup[["legacy"]])) {
    return(invisible())
  }
  opened <- if (!is.null(backup[["version"]])) {
    tryCatch(
      join_backup(client, machine, storage, given, call),
      mx_error_recovery_key = identity,
      mx_error_key_backup = identity
    )
  } else {
    NULL
  }
  if (is_key && inherits(opened, "condition")) {
    raise(opened)
  }
  if (is_key && is.null(backup[["version"]])) {
    mx_abort(
      c(
        paste0(
          "The account ",
          client[["user_id"]],
          " has no identity that this recovery key could open."
        ),
        x = if (!is.null(given[["source"]])) {
          paste0("The key was found in ", printable(given[["source"]]), ".")
        },
        i = "To make a new identity, run mx_crypto_setup() without a recovery key.",
        i = "It returns the new key: see mx_recovery_key_write()."
      ),
      "mx_error_identity",
      call = call
    )
  }
}

# Processes of one store make the same identity. One that was overtaken has nothing left to
# do, whatever it stumbled over: another one ended what was under way, or there is another
# identity than before. Where nothing changed, nobody did its work.
unless_overtaken <- function(machine, before, making) {
  tryCatch(making, mx_error = function(condition) {
    status <- core(machine_identity_status(machine))
    is_made <- is.null(status[["under_way"]]) &&
      "self_signing" %in% status[["held"]]
    is_news <- !is.null(before[["under_way"]]) ||
      !identical(status[["master_key"]], before[["master_key"]])
    if (!is_made || !is_news) {
      raise(condition)
    }
  })
}

# Private parts first, so that no identity is published that nobody could use.
publish_identity <- function(
  client,
  machine,
  status,
  given,
  password,
  done,
  call = caller_env()
) {
  under_way <- status[["under_way"]] %||% "resumable"
  if (under_way != "published") {
    store_identity(client, machine, call)
    done("put its private keys in secret storage")
    if (!is.null(status[["under_way"]])) {
      check_begun_with(client, machine, given, call)
    }
  }
  if (under_way == "resumable") {
    path <- api_path("keys", "device_signing", "upload")
    with_authentication(client, path, password, call, body = function(auth) {
      core(machine_signing_keys_upload(machine, auth), call = call)
    })
    # Success is what the server returns afterwards, and not its response to the upload.
    if (!is_identity_shown(client, machine, call)) {
      mx_abort(
        c(
          "The server does not return the identity that was published.",
          i = "Run mx_crypto_setup() again: it continues from here."
        ),
        "mx_error_identity",
        call = call
      )
    }
  }
  core(machine_identity_published(machine), call = call)
  if (under_way != "unstored") {
    done("published its public keys")
  }
}

# What is given when something begun is continued must be what it was begun with: it would
# open nothing later, and nobody would know before the devices are lost. A legacy backup
# has a passphrase or key of its own.
check_begun_with <- function(client, machine, given, call) {
  if (is.null(given[["handle"]])) {
    return(invisible())
  }
  storage <- secret_storage(client, call)[["handle"]]
  tryCatch(
    core(secret_storage_key(with_secret(storage, given, call)), call = call),
    mx_error = function(condition) {
      if (!isTRUE(backup_now(client, machine, call)[["legacy"]])) {
        mx_abort(
          c(
            paste(
              "This was begun with another recovery key or passphrase, which opens",
              "secret storage."
            ),
            i = "Give that one, or none: then it is completed with that one.",
            i = "If it is lost, complete it with none, and reset again."
          ),
          "mx_error_recovery_key",
          parent = condition,
          call = call
        )
      }
    }
  )
}

# Whether the server returns the master key of the identity that is being created.
is_identity_shown <- function(client, machine, call) {
  user_id <- client[["user_id"]]
  made <- json_decode(core(machine_signing_keys_upload(machine, NULL)))
  shown <- json_body(list(body = ask_for_device(client, user_id, call)))
  shown <- json_at(shown, "master_keys", user_id, "keys")
  identical(names(shown), names(json_at(made, "master_key", "keys")))
}

store_identity <- function(client, machine, call = caller_env()) {
  storage <- read_storage(client, call)
  data <- core(machine_identity_account_data(machine, storage), call = call)
  if (length(data[["type"]]) == 0L) {
    mx_abort(
      "Another client has made secret storage meanwhile. Use its recovery key.",
      "mx_error_secret_storage",
      call = call
    )
  }
  put_account_data(client, data[["type"]], data[["content"]], call)
}

open_identity <- function(client, machine, given, call = caller_env()) {
  storage <- secret_storage(client, call)
  if (is.null(storage[["default_key"]])) {
    mx_abort(
      c(
        "The account has an identity, and no secret storage to take it from.",
        i = paste(
          "Verify this device with another one of yours, which gives it the keys:",
          "see mx_verify()."
        ),
        i = "There, mx_recovery_key_change() or Element's settings set up recovery.",
        i = "If no other device is left, see ?mx_cross_signing_reset."
      ),
      "mx_error_secret_storage",
      call = call
    )
  }
  given <- storage_secret(client, given, call)
  opened <- with_secret(storage[["handle"]], given, call)
  core(machine_import_identity(machine, opened), call = call)
}

verify_this_device <- function(
  client,
  machine,
  password,
  sign_out_lost,
  done,
  call = caller_env()
) {
  # Before this one is signed: a process that is killed meanwhile does it again.
  if (sign_out_lost) {
    sign_out_namesakes(client, password, done, call)
  }
  sign_device(client, machine, call)
  done("signed this device")
}

sign_device <- function(client, machine, call = caller_env()) {
  body <- core(machine_signatures_upload(machine), call = call)
  answer <- if (!is.null(body)) upload_signatures(client, body, call)
  # Success is what the server returns afterwards, and not its response to the upload.
  if (!own_identity(client, machine, call)[["device_signed"]]) {
    message <- "The server does not return this device as signed."
    signature_abort(message, answer, call)
  }
}

new_crypto_setup <- function(client, machine, steps, key_backup) {
  status <- core(machine_identity_status(machine))
  structure(
    list(
      user_id = client[["user_id"]],
      device_id = client[["device_id"]],
      master_key = status[["master_key"]],
      steps = steps,
      key_backup = key_backup,
      recovery_key = if (status[["recovery_key"]]) new_recovery_key(client)
    ),
    class = "mx_crypto_setup"
  )
}

#' @export
print.mx_crypto_setup <- function(x, ...) {
  print_lines(format(x, ...))
  invisible(x)
}

#' @export
format.mx_crypto_setup <- function(x, ...) {
  steps <- x[["steps"]]
  c(
    paste0("<mx_crypto_setup> ", x[["user_id"]]),
    paste0("device:   ", x[["device_id"]], ", signed by its owner"),
    paste0("identity: ", x[["master_key"]]),
    paste0(
      c("done now: ", rep("          ", max(length(steps) - 1L, 0L))),
      steps,
      recycle0 = TRUE
    ),
    if (!is.null(x[["key_backup"]])) {
      paste0("key backup: ", printable(x[["key_backup"]]))
    },
    if (!is.null(x[["recovery_key"]])) {
      "recovery key: not saved yet, see ?mx_recovery_key_write"
    }
  )
}

#' Key backup status and upload
#'
#' `mx_backup_status()` reports the state of the key backup. The backup keeps the keys of
#' your rooms on the server, encrypted with a key that it does not have, so that after a
#' lost disk a new device reads the whole history with the recovery key alone.
#' [mx_crypto_setup()] creates the backup, or joins the existing one; from then on
#' each sync uploads new keys, and downloads those that an event waits for.
#'
#' `mx_backup_upload()` uploads all missing keys at once, with a
#' progress bar, instead of some with each sync.
#'
#' Keys go only to a trusted backup: its private key is on this device, or your
#' identity or a verified device of yours signed it. Another one is left alone. If
#' the server returns another version, that is checked again, and all keys are uploaded
#' to it.
#'
#' @inheritParams mx_client_session
#' @return
#' * `mx_backup_status()`: an object of class `mx_backup_status`, a list of
#'   `user_id`, `version` (`NULL` where there is no backup), `algorithm`, `count`
#'   (how many keys the server reports), `refused` (why it cannot be used,
#'   or `NULL`), `failure` (why the server did not return the backup,
#'   or `NULL`; the rest is then what was known before), `legacy` (whether it has a
#'   passphrase of its own, as backups from before secret storage have),
#'   `key_held` (whether its private key is on this device),
#'   `key_in_secret_storage` (whether there is one; whether it is the right one,
#'   only [mx_crypto_setup()] can tell), `trusted`, `enabled` (whether keys of this
#'   device go there; `NULL` before that was decided), `wanted` (the preference of your
#'   account, `TRUE`, `FALSE` or `NULL`), `keys` (how many there are on
#'   this device), `backed_up` (how many of these the backup has) and
#'   `signatures`, a data frame with a row for each signature of yours: `signer`
#'   (`identity`, `this_device`, `device` or `unknown`), `name` (the device id or
#'   key that it names), `valid` (`NA` where the signer is unknown) and `trusted`.
#' * `mx_backup_upload()`: how many keys were uploaded, invisibly.
#' @section Errors:
#' `mx_error_key_backup` (there is no backup, it is not trusted, or
#' it was switched off here), `mx_error_network`, `mx_error_http`.
#' @references Client-server API, "Server-side key backups":
#'   <https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups>
#' @family key backup
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' mx_send_text(alice, room, "hello")
#' mx_backup_upload(alice)
#' mx_backup_status(alice)
#' @export
mx_backup_status <- function(client) {
  machine <- machine_of(check_client(client))
  new_backup_status(client, key_storage_now(client, machine))
}

#' @rdname mx_backup_status
#' @export
mx_backup_upload <- function(client) {
  machine <- machine_of(check_client(client))
  upload <- upload_parts(client, machine)
  invisible(do_parts(upload, "Backing up keys", backup_bar))
}

# The result is how many keys were uploaded.
upload_parts <- function(client, machine, call = caller_env()) {
  force(call)
  missing <- function(status) status[["keys"]] - status[["backed_up"]]
  before <- missing(core(machine_backup_status(machine), call = call))
  status <- working_backup(client, machine, call)
  if (!status[["trusted"]] || !isTRUE(status[["enabled"]])) {
    mx_abort(
      c(
        "There is no key backup that keys of this device may go to.",
        i = "See mx_backup_status(), and mx_backup_enable()."
      ),
      "mx_error_key_backup",
      call = call
    )
  }
  # Another version has none of them.
  total <- max(before, missing(status))
  done <- total - missing(status)
  is_stuck <- FALSE
  new_parts(
    function() {
      # What comes meanwhile is the next sync's.
      if (is_stuck || done >= total) {
        return(NULL)
      }
      core(machine_hurry_backup(machine), call = call)
      pump(client, kinds = "back_up", call = call)
      status <- core(machine_backup_status(machine), call = call)
      now <- total - missing(status)
      is_stuck <<- now <= done
      done <<- max(now, done)
      done
    },
    function() done,
    total = total
  )
}

new_backup_status <- function(client, now) {
  status <- now[["backup"]]
  storage <- now[["storage"]]
  structure(
    list(
      user_id = client[["user_id"]],
      version = status[["version"]],
      algorithm = status[["algorithm"]],
      count = status[["count"]],
      refused = status[["refused"]],
      failure = status[["failure"]][["message"]],
      legacy = status[["legacy"]],
      key_held = status[["key_held"]],
      key_in_secret_storage = secret_names[["backup"]] %in%
        storage[["secrets"]],
      trusted = status[["trusted"]],
      enabled = status[["enabled"]],
      wanted = storage[["backup_wanted"]],
      keys = status[["keys"]],
      backed_up = status[["backed_up"]],
      signatures = data.frame(status[["signatures"]])
    ),
    class = "mx_backup_status"
  )
}

backup_bar <- paste(
  "{cli::pb_name}{cli::pb_bar} {cli::pb_current} of {cli::pb_total}",
  "({cli::pb_rate}), {cli::pb_eta} left"
)

# The status of the backup, by what the server returns now. That the server fails
# is a part of it: the backup never decides about what else is done.
backup_now <- function(client, machine, call = caller_env()) {
  path <- api_path("room_keys", "version")
  # Another process may ask meanwhile: what was asked last counts.
  number <- core(machine_number_request(machine), call = call)
  answer <- answer_or_none(http_perform(client, "GET", path, call = call))
  received <- machine_backup_version_received(
    machine,
    number,
    answer[["status"]],
    answer[["body"]]
  )
  core(received, call = call)
  core(machine_backup_status(machine), call = call)
}

# The same, for a caller that needs the backup.
working_backup <- function(client, machine, call = caller_env()) {
  check_backup(backup_now(client, machine, call), call)
}

check_backup <- function(status, call) {
  failure <- status[["failure"]]
  if (!is.null(failure)) {
    mx_abort(
      c(
        broken_backup(failure),
        i = "Try again later. If it stays so, tell the server's administrator."
      ),
      "mx_error_key_backup",
      status = failure[["status"]],
      errcode = failure[["errcode"]],
      call = call
    )
  }
  status
}

broken_backup <- function(failure) {
  paste(
    "The server's key backup cannot be used.",
    printable(failure[["message"]])
  )
}

# A response, also if it is an error; of status 0 if there was none.
answer_or_none <- function(answer) {
  tryCatch(
    answer,
    mx_error_http = function(condition) {
      body <- list(errcode = condition[["errcode"]])
      error <- json_at(condition[["body"]], "error")
      body[["error"]] <- if (is_string(error)) error
      text <- charToRaw(as_json_text(body))
      list(status = condition[["status"]], body = text)
    },
    mx_error_network = function(condition) list(status = 0L, body = raw())
  )
}

#' @export
print.mx_backup_status <- function(x, ...) {
  print_lines(format(x, ...))
  invisible(x)
}

#' @export
format.mx_backup_status <- function(x, ...) {
  title <- c(
    paste0("<mx_backup_status> ", x[["user_id"]]),
    if (!is.null(x[["failure"]])) broken_backup(list(message = x[["failure"]]))
  )
  if (is.null(x[["version"]])) {
    none <- "There is no key backup: message keys are on this device alone."
    return(c(title, if (is.null(x[["failure"]])) none))
  }
  places <- c(
    if (x[["key_in_secret_storage"]]) "in secret storage",
    if (x[["key_held"]]) "on this device"
  )
  c(
    title,
    paste0("Backup version: ", printable(x[["version"]])),
    paste0("Algorithm: ", printable(x[["algorithm"]])),
    paste0(
      "Backup key stored: ",
      if (length(places)) paste(places, collapse = " and ") else "not stored"
    ),
    describe_progress(x),
    describe_signatures(x[["signatures"]]),
    if (x[["legacy"]]) "It was created with a passphrase of its own",
    describe_backup_trust(x)
  )
}

describe_progress <- function(x) {
  if (!isTRUE(x[["enabled"]])) {
    "Keys of this device are not being backed up"
  } else if (x[["keys"]] == x[["backed_up"]]) {
    paste0("All keys backed up (", x[["keys"]], ")")
  } else {
    paste0(
      x[["backed_up"]],
      " of ",
      plural(x[["keys"]], "key", "keys", "backed up")
    )
  }
}

describe_backup_trust <- function(x) {
  if (!is.null(x[["refused"]])) {
    return(paste0("REFUSED: ", printable(x[["refused"]])))
  }
  if (x[["key_held"]]) {
    return("This backup is trusted because its key is on this device")
  }
  if (x[["trusted"]]) {
    return("This backup is trusted because of its signature")
  }
  paste(
    "NOT TRUSTED: no keys are uploaded to it.",
    if (x[["legacy"]] && !x[["key_in_secret_storage"]]) {
      "Run mx_backup_enable() with its passphrase or recovery key."
    } else {
      "Run mx_crypto_setup() with the recovery key."
    }
  )
}

describe_signatures <- function(signatures) {
  who <- c(
    identity = "this user",
    this_device = "this session",
    device = "session with ID",
    unknown = "unknown session with ID"
  )
  # The server returns them in no order.
  place <- match(signatures[["signer"]], names(who))
  by_name <- order(place, signatures[["name"]], method = "radix")
  signatures <- signatures[by_name, , drop = FALSE]
  who <- who[signatures[["signer"]]]
  named <- signatures[["signer"]] %in% c("device", "unknown")
  kind <- ifelse(
    is.na(signatures[["valid"]]),
    "a",
    ifelse(signatures[["valid"]], "a valid", "an INVALID")
  )
  sprintf(
    "Backup has %s signature from %s%s",
    kind,
    who,
    ifelse(named, paste0(" ", printable(signatures[["name"]])), "")
  )
}

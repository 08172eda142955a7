#' Errors and warnings of mxcrypt
#'
#' Every error of this package has the class `mx_error`, every warning the class
#' `mx_warning`, and a class that says which. Catch what you can deal with by its
#' class, with [tryCatch()] or `rlang::try_fetch()`; the text is for people, and may
#' change.
#'
#' @section Network and server:
#' * `mx_error_network`: No response: no connection, a time limit, a broken connection.
#' * `mx_error_certificate`: Also an `mx_error_network`: the certificate of the server is
#'   not trusted. See [mxcrypt_network].
#' * `mx_error_proxy`: Also an `mx_error_network`: the proxy cannot be reached or refuses,
#'   or it could read the access token. See [mxcrypt_network].
#' * `mx_error_http`: The server refused a request. Fields: `status`, `errcode`,
#'   `body`, `consent_uri`. Its code is a class too, such as `mx_error_M_FORBIDDEN`
#'   or `mx_error_M_LIMIT_EXCEEDED`.
#' * `mx_error_answer`: A response is not what the specification promises; often it comes
#'   from a proxy. Fields: `status`, `errcode`, `body`.
#' * `mx_error_discovery`: There is no homeserver at the address, or it is no address.
#' * `mx_error_uia`: The server asks for authentication that this package cannot do.
#' * `mx_error_approval`: Approve the request at `url` in a browser, then make the same
#'   call again. Also an `mx_error_uia` where the server asked for authentication.
#' * `mx_error_unreachable`: A server or device could not be reached, and `strict`
#'   was asked for.
#'
#' @section Signing in:
#' * `mx_error_sign_in`: The server does not sign in like this. Fields: `offers`.
#' * `mx_error_approval`: A person must approve the sign-in at `url`, with `user_code`
#'   until `expires_at`; then make the same call again.
#' * `mx_error_oauth`: The OAuth server refused. Its code is in `code`, and with
#'   `mx_error_oauth_` before it a class too, such as `mx_error_oauth_expired_token` or
#'   `mx_error_oauth_invalid_scope`.
#' * `mx_error_account_page`: The server has no page to manage accounts.
#' * `mx_error_config`: There is no usable configuration: see
#'   [mx_client_configure()].
#' * `mx_error_password`: A password is needed, and there is none.
#' * `mx_error_secret`: A variable, file or option for a secret cannot be used: see
#'   [mxcrypt_secrets].
#' * `mx_error_signed_out`: The login has ended: see [mx_client_relogin()].
#' * `mx_error_renewal`: The access token could not be renewed now. The login
#'   is still there; `cause` is the error.
#'
#' @section Sending and receiving:
#' * `mx_error_refused`: A message will never be sent. Its code `errcode` is a class
#'   too: that of the server, or one of the codes below. Fields: `errcode`,
#'   `devices`.
#' * `mx_error_too_large`: An event or a file is larger than the server accepts, or
#'   than you do. Fields: `size`, `largest`, in bytes.
#' * `mx_error_edit`: An event cannot be edited by you. Nothing was sent.
#' * `mx_error_plot`: There is no picture to send: the code of a plot failed, drew
#'   nothing or several pages, or no PNG device works. Nothing was sent. `parent` is
#'   the code's own error.
#' * `mx_error_report`: There is no report to send: its code failed, pandoc is missing,
#'   or the result is not one file. Nothing was sent. `parent` is the original error.
#' * `mx_error_attachment`: A file cannot be read, is no valid attachment, or is not
#'   the one that its sender encrypted.
#' * `mx_error_file`: A file could not be read or written while it was transferred.
#' * `mx_error_room`: There is no such room, or several, or it cannot be sent to.
#' * `mx_error_upgrade`: A room was not upgraded, or the upgrade is not valid: see
#'   [mx_room_follow()]. Fields: `reason`, `successor`.
#' * `mx_error_batch`: Also an `mx_error_argument`: not a batch of
#'   [mx_sync_update()], or an old one.
#' * `mx_error_archive`: A room is not archived.
#' * `mx_error_heartbeat`: There is no such heartbeat, or the server did not do what
#'   [mx_heartbeat()] needs.
#' * `mx_error_unsupported`: The server cannot do this: see [mx_heartbeat()]. Fields: `max_after`.
#' * `mx_error_listening`: Another process listens as the same consumer, or a listener of
#'   [mx_listen_start()] here.
#' * `mx_error_command`: The arguments of a command of [mx_bot()] do not fit. The bot
#'   answers with the message; you only see it in a log.
#' * `mx_error_cancelled`: The call of a promise was cancelled: see [mx_send_async()].
#'
#' Codes of messages that this package refused itself: `MXCRYPT_ONLY_UNSIGNED` and
#' `MXCRYPT_UNSIGNED_DEVICES` (see [mx_isolation_mode()]), `MXCRYPT_IDENTITY_CHANGED`
#' (see [mx_user_trust()]), `MXCRYPT_REACHES_NOBODY` (no device could be given the
#' key), `MXCRYPT_UNKNOWN_ALGORITHM` (the room is encrypted in an unknown way),
#' `MXCRYPT_NOW_ENCRYPTED` (the room was encrypted while a plain message was on its
#' way), `MXCRYPT_FILE_GONE` (a file that waited beside the store is not there any
#' more, or not whole), `MXCRYPT_UNADDRESSABLE` (no request can be made of it) and
#' `MXCRYPT_DISCARDED` (it is not in the outbox any more: see [mx_outbox_discard()]).
#'
#' @section Identity, keys and trust:
#' * `mx_error_identity`: The server returns another identity than this device
#'   knows, signatures could not be made, or a recovery key is there, but no identity.
#' * `mx_error_verification`: A verification was cancelled, or this step is not possible.
#' * `mx_error_qr_code`: A QR code does not belong to a verification.
#' * `mx_error_recovery_key`: No recovery key, a mistyped one, or that of another
#'   account.
#' * `mx_error_secret_storage`: Secret storage is missing, or does not hold what it
#'   should.
#' * `mx_error_key_backup`: There is no key backup to work with.
#' * `mx_error_key_export`: A key export cannot be read or written.
#' * `mx_error_passphrase`: A passphrase is needed, and there is none.
#' * `mx_error_dehydrated_device`: There is no dehydrated device, or it does not
#'   open.
#' * `mx_error_own_keys`: The server holds other keys for this device than the
#'   store.
#'
#' @section Store:
#' All have the class `mx_error_store`, too.
#'
#' * `mx_error_store`: The store could not be read or written.
#' * `mx_error_store_locked`: Another process holds the store for too long.
#' * `mx_error_store_unreachable`: The database of the store does not respond. Nothing was
#'   changed.
#' * `mx_error_store_refused`: The database of the store refuses you: a wrong password, or no
#'   such user or database. It is not tried again.
#' * `mx_error_store_unsupported`: This build keeps no stores in such a place; or a
#'   listener cannot work behind a pooler: see [mxcrypt_postgresql].
#' * `mx_error_store_missing`: The device has its keys in a store that is not there.
#' * `mx_error_store_binding`: The store belongs to another user or device.
#' * `mx_error_store_key_missing`, `mx_error_store_key_wrong`: The store's key is
#'   gone, or is that of another store.
#' * `mx_error_store_newer`: A newer version of mxcrypt wrote the store.
#' * `mx_error_store_foreign`: The directory holds a store of another package.
#' * `mx_error_store_tampered`: A row of the store was altered or moved.
#' * `mx_error_store_copy`: The store is a copy, or nobody said that its original is gone:
#'   see [mx_store_restore()].
#' * `mx_error_store_moved`: The store was moved, or its move is not finished: see
#'   [mx_store_move()].
#'
#' @section Arguments and this package:
#' * `mx_error_argument`: An argument does not fit.
#' * `mx_error_link`: Also an `mx_error_argument`: a link leads to no room or event, or
#'   not to what is asked for.
#' * `mx_error_encoding`, `mx_error_json`: Text is not base64, a key or a signature;
#'   or not the JSON that is needed.
#' * `mx_error_interrupted`: You interrupted a wait for the store, and a handler of the
#'   interrupt resumed the call.
#' * `mx_error_declined`: You answered no. Nothing was changed.
#' * `mx_error_package`: A suggested package is not installed.
#' * `mx_error_internal`: A defect of mxcrypt. Please report it.
#'
#' @section Primitives:
#' Errors of the `mxc_*` functions have the class `mxc_error`, too:
#' `mxc_error_argument`, `mxc_error_encoding`, `mxc_error_json`,
#' `mxc_error_signature`, `mxc_error_olm`, `mxc_error_megolm`,
#' `mxc_error_attachment`, `mxc_error_pickle`, `mxc_error_handle`,
#' `mxc_error_stored` (a store has it: use [mx_send()] and [mx_sync()]),
#' `mxc_error_key_export`, `mxc_error_qr_code` and `mxc_error_verification`.
#'
#' @section Warnings:
#' * `mx_warning_refused`: Of several messages, some will never be sent.
#' * `mx_warning_attachment`: Of several attachments, some were not saved.
#' * `mx_warning_archive`: The history of some rooms could not be archived whole.
#' * `mx_warning_history`: Of several rooms, some could not be read. Fields: `rooms`,
#'   `causes`.
#' * `mx_warning_unreached`: Devices could not be given the key of a message.
#' * `mx_warning_withheld`: Devices were not given the key: the isolation mode keeps
#'   it from them.
#' * `mx_warning_unsigned_device`: This device is not signed by you: see
#'   [mx_crypto_setup()].
#' * `mx_warning_unclaimed`: Devices have no usable one-time key.
#' * `mx_warning_pump`: The server did not do something on the side; later calls try
#'   again. Fields: `kind`, `status`, `errcode`.
#' * `mx_warning_knit_post`: The figures of a chunk could not be posted, see
#'   [mx_knit_post()]. Fields: `cause`.
#' * `mx_warning_heartbeat`: The message of a heartbeat had been sent: see
#'   [mx_heartbeat()]. Fields: `event_id`.
#' * `mx_warning_notification`: A room was not notified now, see [mx_notify()] and
#'   [with_mx_notification()]. Fields: `cause`, `numbers` (of [mx_outbox()]).
#' * `mx_warning_webhook`: A webhook was not posted, see [mx_webhook_handler()]. Fields:
#'   `cause`.
#' * `mx_warning_network`: [mx_listen()] or [mx_listen_start()] continues after a failure.
#' * `mx_warning_handler`: A handler of one of them failed. Fields: `cause`, `event`,
#'   `set_aside`.
#' * `mx_warning_listener`: A listener of [mx_listen_start()] has ended with an error.
#'   Fields: `cause`.
#' * `mx_warning_verification`: A step of a verification failed; the verification waits.
#' * `mx_warning_own_identity`: The server returns another identity of yours.
#' * `mx_warning_key_backup`, `mx_warning_key_storage`: Part of key storage could
#'   not be set up or repaired.
#' * `mx_warning_keys_lost`: Keys are lost with a sign-out.
#' * `mx_warning_key_export`: Some sessions of a key export cannot be used: see
#'   [mx_keys_for()].
#' * `mx_warning_history_not_shared`: An invited user gets no earlier keys.
#' * `mx_warning_direct_room`: A direct room could not be listed, or read, as one.
#' * `mx_warning_not_signed`: You verified a user, and the server does not return your
#'   signature, which the trust rests on: see [mx_verify()].
#' * `mx_warning_room_upgraded`: You send into a room that another one replaced, told
#'   once a session. Fields: `room_id`, `successor`.
#' * `mx_warning_devices`: When your devices were last seen is not known, or lost
#'   ones were not signed out.
#' * `mx_warning_store`: Files that messages need were not beside a store that was copied.
#' * `mx_warning_import`: Some sessions of mx.client could not be imported.
#'
#' A message of class `mx_message_many` says that a vector of many texts is sent as
#' as many messages. One of class `mx_message_report` says that a report was made
#' self-contained, or that some of its figures are not sent. One of class
#' `mx_message_nothing` says that [mx_post()] had nothing to post.
#' @name mxcrypt_conditions
#' @aliases mx_error mx_warning mxc_error
#' @seealso [mx_outbox()] for messages that wait after an error.
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' tryCatch(
#'   mx_send_text(alice, "no such room", "hello"),
#'   mx_error_room = function(condition) "The room is not there.",
#'   mx_error_network = function(condition) "Sent with the next call."
#' )
NULL

# Conditions. Every error has class `mx_error`, and a class for what the core or the
# server refused. Messages may hold text of a server: they are never formatted, neither by
# sprintf() nor by cli or glue.

mx_abort <- function(message, class, ..., call = caller_env()) {
  abort(
    message,
    class = c(class, "mx_error"),
    ...,
    call = bare_call(call),
    trace = bare_trace(caller_env())
  )
}

# Errors hold calls without their arguments, among which may be a password.
bare_trace <- function(bottom) {
  trace <- rlang::trace_back(bottom = bottom)
  trace[["call"]] <- lapply(trace[["call"]], bare)
  trace
}

# The call that a person made: of the function of this package that `frame` belongs
# to, or else of the innermost one for users that led there, or else of the first one
# that `frame` called. Names of other functions mean nothing to a user.
bare_call <- function(frame) {
  frames <- sys.frames()
  n <- Position(function(x) identical(x, frame), frames)
  n <- if (is.null(n) || is.na(n)) length(frames) else n
  for (i in c(rev(seq_len(n)), setdiff(seq_along(frames), seq_len(n)))) {
    name <- exported_name(sys.function(i), sys.call(i))
    if (!is.null(name)) {
      return(as.call(list(as.name(name))))
    }
  }
  NULL
}

# The name of a function for users, also where it was called as mxcrypt::mx_send()
# or through do.call().
exported_name <- function(fun, call) {
  if (!identical(environment(fun), topenv())) {
    return(NULL)
  }
  exports <- getNamespaceExports(topenv())
  head <- call[[1]]
  if (rlang::is_call(head, c("::", ":::"))) {
    head <- head[[3]]
  }
  if (is.symbol(head)) {
    name <- as.character(head)
    if (name %in% exports) {
      return(name)
    }
    # The search below takes longer than all else that an idle listener does.
    if (identical(get0(name, topenv(), inherits = FALSE), fun)) {
      return(NULL)
    }
  }
  Find(function(name) identical(get(name, topenv()), fun), exports)
}

bare <- function(call) {
  if (!is.call(call)) {
    return(NULL)
  }
  name <- call_name(call)
  if (is.null(name)) quote(`<function>`()) else as.call(list(call[[1]]))
}

# The name of a function in a call, where it is a name: the arguments may hold secrets,
# and do.call() puts whole functions there.
call_name <- function(call) {
  head <- if (is.call(call)) call[[1]]
  is_path <- rlang::is_call(head, c("::", ":::", "$", "@")) &&
    is.symbol(head[[2]]) &&
    is.symbol(head[[3]])
  if (is.symbol(head) || is_path) {
    paste(deparse(head), collapse = "")
  }
}

# Raises a condition that is classed already, as it is: rlang would format it.
raise <- function(condition) {
  stop(condition) # nolint
}

mx_warn <- function(message, class, ...) {
  # R keeps warnings until the call at the console has returned, and an app never does.
  if (is_in_background()) {
    old <- immediate_warnings()
    on.exit(options(old))
  }
  warn(message, class = c(class, "mx_warning"), ...)
}

# The value of a glue function, or the condition for what it could not do.
core <- function(value, call = caller_env()) {
  if (!inherits(value, "mxcrypt_failure")) {
    return(value)
  }
  code <- value[["code"]]
  if (code == "interrupted") {
    # As if R itself had noticed it.
    rlang::interrupt()
  }
  group <- if (startsWith(code, "store_")) "mx_error_store"
  help <- if (code == "store_tampered") {
    c(
      i = "The store can no longer be relied on. mx_store_check() finds all that is damaged.",
      i = "Restore a copy with mx_store_restore(), or sign in as a new device."
    )
  }
  class <- c(paste0("mx_error_", code), group)
  mx_abort(c(value[["message"]], help), class, call = call)
}

# The same for the primitives, whose conditions have their own classes too.
primitive <- function(value, call = caller_env()) {
  if (!inherits(value, "mxcrypt_failure")) {
    return(value)
  }
  class <- c(paste0("mxc_error_", value[["code"]]), "mxc_error")
  mx_abort(value[["message"]], class, call = call)
}

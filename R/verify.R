#' Verify a user or device at the console
#'
#' Leads you through a verification: accepts the request of the other side, or sends one;
#' shows the emoji, or the numbers if the terminal has no emoji; asks whether the other
#' side sees the same; and reports what was verified. Compare in another way
#' than through this server: side by side, or on the phone. If both devices can, you
#' may show a QR code instead, or scan one from an image: see [mx_verification_qr()].
#'
#' A request to another user is sent in your direct room, or in any other room of the two
#' of you; the console shows in which. If there is none, you are asked whether to create
#' one.
#'
#' While you wait, the console shows what for. It also shows what the server refuses; if
#' the server fails for a while, the verification continues.
#'
#' @inheritParams mx_verification_request
#' @param seconds How long to wait for the other side at each step.
#' @return The verification, invisibly: see [mx_verification_request()].
#' @section Errors:
#' As for [mx_verification_request()]. The message tells whether the other side cancelled
#' the verification, or it timed out. If you interrupt R, the verification is cancelled.
#' A warning of class `mx_warning_not_signed` if the user was verified, and the server does
#' not return your signature afterwards.
#' @references Client-server API, "Short Authentication String (SAS) verification":
#'   <https://spec.matrix.org/v1.19/client-server-api/#short-authentication-string-sas-verification>
#' @family trust and verification
#' @examples
#' \dontrun{
#' # Needs a person at the console, and another one at the other device.
#' client <- mx_client_load()
#' # Another user, in your direct room:
#' mx_verify(client, "@bob:example.org")
#' # Another device of your own:
#' mx_verify(client, client$user_id)
#' }
#' @export
mx_verify <- function(
  client,
  user_id,
  device_id = NULL,
  room = NULL,
  seconds = 120
) {
  check_client(client)
  check_user_ids(check_string(user_id), "user_id")
  check_string(device_id, null = TRUE)
  check_number(seconds)
  check_can_ask()
  verification <- told_at_once(
    verification_to_go_on_with(client, user_id, device_id, room)
  )
  on.exit(give_up(verification))
  failing_since <- NULL
  while (verification[["state"]] != "done") {
    step <- tryCatch(
      told_at_once(next_at_console(verification, seconds)),
      mx_error_network = identity,
      mx_error_http = identity
    )
    if (inherits(step, "mx_error")) {
      # The step is saved, and its message goes out with a later one.
      failing_since <- failing_since %||% monotonic_time()
      failing <- monotonic_time() - failing_since
      if (!is_passing(step) || failing > seconds) {
        raise(step)
      }
      tell(c(conditionMessage(step), "The verification goes on."))
      Sys.sleep(1)
      step <- current_verification(verification)
    } else {
      failing_since <- NULL
    }
    verification <- step
  }
  tell(verified_sentence(verification))
  warn_unsigned(verification)
  invisible(verification)
}

# That a user is verified rests on a signature that the server returns. One that took it
# and lost it would leave both sides with "verified", and trust in nobody.
warn_unsigned <- function(verification) {
  client <- verification[["client"]]
  user_id <- verification[["user_id"]]
  if (user_id == client[["user_id"]] || !verification[["identity_proven"]]) {
    return(invisible())
  }
  # A server that is away has lost nothing.
  trust <- tryCatch(mx_user_trust(client, user_id), mx_error = function(e) NULL)
  if (is.null(trust) || trust[["verified"]]) {
    return(invisible())
  }
  shown <- printable(user_id)
  mx_warn(
    c(
      paste0("The server does not return your signature for ", shown, "."),
      x = "Until it does, the user counts as not verified, on all your devices.",
      i = paste0(
        "See mx_user_trust(client, \"",
        shown,
        "\") after the next mx_sync(client); if it stays so, verify again."
      )
    ),
    "mx_warning_not_signed",
    user_id = user_id
  )
}

next_at_console <- function(verification, seconds) {
  switch(
    verification[["state"]],
    requested = if (verification[["requested_here"]]) {
      wait_at_console(verification, seconds)
    } else {
      agree_at_console(verification)
    },
    ready = begin_at_console(verification, seconds),
    compare = compare_at_console(verification),
    scanned = confirm_at_console(
      verification,
      "Does the other device say that it scanned your code?"
    ),
    cancelled = check_not_cancelled(verification),
    wait_at_console(verification, seconds)
  )
}

# Warnings are shown when they come, and not when all is over.
told_at_once <- function(code) {
  withCallingHandlers(code, mx_warning = function(condition) {
    tell(c("Warning:", conditionMessage(condition)))
    tryInvokeRestart("muffleWarning")
  })
}

verified_sentence <- function(verification) {
  is_own <- verification[["user_id"]] == verification[["client"]][["user_id"]]
  device <- printable(verification[["device_id"]])
  if (is_own) {
    paste0("Verified your device ", device, ".")
  } else if (verification[["identity_proven"]]) {
    paste0("Verified ", printable(verification[["user_id"]]), ".")
  } else {
    user_id <- printable(verification[["user_id"]])
    paste0("Verified the device ", device, " of ", user_id, ".")
  }
}

check_can_ask <- function(call = caller_env()) {
  if (!rlang::is_interactive()) {
    mx_abort(
      c(
        "Nobody is at the console to compare.",
        i = "Programs use mx_verification_request(), or mx_listen(on_verification = )."
      ),
      "mx_error_verification",
      call = call
    )
  }
}

# A request of the other side is accepted; without one, a request is sent.
verification_to_go_on_with <- function(client, user_id, device_id, room) {
  mx_sync_quietly(client)
  open <- Filter(
    function(x) {
      x[["user_id"]] == user_id &&
        !x[["state"]] %in% c("done", "cancelled") &&
        (is.null(device_id) || identical(x[["device_id"]], device_id))
    },
    mx_verifications(client)
  )
  if (length(open) > 0L) {
    return(open[[length(open)]])
  }
  is_own <- user_id == client[["user_id"]]
  if (!is.null(room)) {
    room <- resolve_room(client, room)
  } else if (!is_own && is.null(device_id)) {
    room <- room_with(client, user_id) %||% new_direct_room(client, user_id)
  }
  if (!is.null(room)) {
    where <- paste("in the room", room_label(client, room))
    tell(paste0("Asking ", printable(user_id), " ", where, "."))
  }
  mx_verification_request(client, user_id, device_id, room)
}

# Before a room is made for it, what it is made for must be possible.
check_can_verify_users <- function(client, call = caller_env()) {
  own <- own_identity(client, machine_of(client))
  if (!"user_signing" %in% own[["held"]]) {
    mx_abort(
      c(
        "This device cannot sign for you, and so cannot verify others.",
        i = "Run mx_crypto_setup(client) first."
      ),
      "mx_error_identity",
      call = call
    )
  }
}

new_direct_room <- function(client, user_id) {
  check_can_verify_users(client)
  question <- paste0(
    "You are in no room with ",
    printable(user_id),
    " alone. Create a direct room and invite ",
    printable(user_id),
    "?"
  )
  if (!ask_yes(question)) {
    mx_abort(
      c(
        paste0("You are in no room with ", printable(user_id), " alone."),
        i = "Say where to verify with `room`."
      ),
      "mx_error_room"
    )
  }
  mx_room_create(client, invite = user_id, direct = TRUE)
}

# A room as people know it: with its name, if it has one.
room_label <- function(client, room_id) {
  rooms <- core(machine_rooms(machine_of(client)))
  name <- rooms[["name"]][rooms[["room_id"]] == room_id]
  id <- printable(room_id)
  named <- length(name) == 1L && !is.na(name)
  if (named) paste0("\"", printable(name), "\" (", id, ")") else id
}

mx_sync_quietly <- function(client) {
  sync_once(client, timeout = 0)
  pump_or_warn(client)
}

agree_at_console <- function(verification) {
  question <- paste0(
    printable(verification[["user_id"]]),
    ", device ",
    printable(verification[["device_id"]]),
    ", asks to verify. Agree?"
  )
  if (ask_yes(question)) {
    mx_verification_accept(verification)
  } else {
    refuse_at_console(verification)
  }
}

# The side that sent the request begins. The other side waits for that first, so that not
# both begin at once.
begin_at_console <- function(verification, seconds) {
  if (!verification[["requested_here"]]) {
    tell(paste0("Waiting for ", other_side(verification), " to begin."))
    verification <- mx_verification_wait(verification, seconds = 10)
  }
  if (verification[["state"]] != "ready") {
    return(verification)
  }
  way <- way_to_begin(verification)
  # While a person chose, the other one may have begun.
  verification <- mx_verification_wait(verification, seconds = 0)
  if (verification[["state"]] != "ready") {
    return(verification)
  }
  switch(
    way,
    m.sas.v1 = mx_verification_start(verification),
    m.qr_code.show.v1 = show_at_console(verification, seconds),
    m.qr_code.scan.v1 = scan_at_console(verification),
    refuse_at_console(verification)
  )
}

# The name of a method, or "" for none.
way_to_begin <- function(verification) {
  ways <- c(
    m.sas.v1 = "Compare emoji or numbers",
    m.qr_code.show.v1 = "Show a QR code, which the other device scans",
    m.qr_code.scan.v1 = "Scan the other device's QR code, from an image of it"
  )
  ways <- ways[names(ways) %in% verification[["methods"]]]
  if (length(ways) == 1L) {
    names(ways)
  } else {
    c("", names(ways))[ask_which(ways) + 1L]
  }
}

# In a terminal whose lines stand apart the code cannot be scanned, but in a plot.
show_at_console <- function(verification, seconds) {
  code <- mx_verification_qr(verification)
  print(code)
  if (grDevices::dev.interactive(orNone = TRUE)) {
    tryCatch(plot(code), error = function(condition) NULL)
  }
  wait_at_console(verification, seconds)
}

# Without a file one chooses again.
scan_at_console <- function(verification) {
  again <- function(condition) {
    tell(conditionMessage(condition))
    verification
  }
  file <- ask_file("The image of the code, PNG or JPEG: ")
  if (!nzchar(file)) {
    return(verification)
  }
  tryCatch(
    {
      verification <- mx_verification_scan(verification, file)
      tell(
        "This is the code of the other device: say there that you scanned it."
      )
      verification
    },
    mx_error_argument = again,
    mxc_error_qr_code = again,
    mx_error_qr_code = again
  )
}

compare_at_console <- function(verification) {
  tell(c(
    "Does the other device show the same?",
    strings_to_compare(verification)
  ))
  confirm_at_console(verification, "The same?")
}

confirm_at_console <- function(verification, question) {
  if (ask_yes(question)) {
    mx_verification_confirm(verification, same = TRUE)
  } else {
    mx_verification_confirm(verification, same = FALSE)
    check_not_cancelled(current_verification(verification))
  }
}

refuse_at_console <- function(verification) {
  check_not_cancelled(mx_verification_cancel(verification))
}

wait_at_console <- function(verification, seconds) {
  state <- verification[["state"]]
  tell(paste0(
    "Waiting for ",
    awaited(current_verification(verification)),
    ", for at most ",
    round(seconds),
    " seconds."
  ))
  verification <- mx_verification_wait(verification, seconds)
  if (verification[["state"]] == state) {
    timed_out <- verification_step(
      verification,
      machine_time_out_verification,
      fails = FALSE
    )
    check_not_cancelled(timed_out)
  }
  verification
}

# Who is to do what.
awaited <- function(verification) {
  who <- other_side(verification)
  switch(
    verification[["state"]],
    requested = paste(who, "to accept the request"),
    ready = if (verification[["shows_code"]]) {
      paste(who, "to scan the code")
    } else {
      paste(who, "to begin")
    },
    started = paste(who, "to show what is to be compared"),
    confirmed = paste(who, "to confirm"),
    who
  )
}

# A person who interrupts has not compared.
give_up <- function(verification) {
  now <- current_verification(verification)
  if (!now[["state"]] %in% c("done", "cancelled")) {
    tryCatch(mx_verification_cancel(now), mx_error = function(condition) NULL)
  }
}

ask_yes <- function(question) {
  repeat {
    answer <- tolower(trimws(readline(paste0(question, " [y/n] "))))
    if (answer %in% c("y", "yes", "n", "no")) {
      return(answer %in% c("y", "yes"))
    }
  }
}

# The place of a choice, or 0.
ask_which <- function(choices) {
  utils::menu(choices, title = "How do you want to verify?")
}

# A path, which may have been dragged into the terminal.
ask_file <- function(question) {
  gsub("^['\"]|['\"]$", "", trimws(readline(question)))
}

# Text of others is never formatted.
tell <- function(lines) {
  cli::cli_verbatim(lines)
}

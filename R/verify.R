#' Verify somebody, at the console
#'
#' Leads you through a verification: agrees to the one that the other side asked
#' for, or asks for one; shows the emoji, or the numbers where the terminal has no
#' emoji; asks whether the other sees the same; and says what was verified. Compare in
#' another way than through this server: side by side, or on the phone. Where both
#' devices can, you may show a QR code instead, or scan one from an image: see
#' [mx_verification_qr()].
#'
#' @inheritParams mx_verification_request
#' @param seconds How long to wait for the other side at each step.
#' @return The verification, invisibly: see [mx_verification_request()].
#' @section Errors:
#' As for [mx_verification_request()]. If you are interrupted, the verification is
#' cancelled.
#' @references Client-server API, "Short Authentication String (SAS) verification":
#'   <https://spec.matrix.org/v1.19/client-server-api/#short-authentication-string-sas-verification>
#' @examples
#' \dontrun{
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
  check_user_ids(check_string(user_id))
  check_string(device_id, null = TRUE)
  check_number(seconds)
  check_can_ask()
  verification <- verification_to_go_on_with(client, user_id, device_id, room)
  on.exit(give_up(verification))
  repeat {
    verification <- switch(
      verification[["state"]],
      requested = if (verification[["requested_here"]]) {
        wait_at_console(verification, seconds, "Waiting for the other side.")
      } else {
        agree_at_console(verification)
      },
      ready = begin_at_console(verification, seconds),
      compare = compare_at_console(verification),
      scanned = confirm_at_console(
        verification,
        "Does the other device say that it scanned your code?"
      ),
      done = {
        tell(paste0("Verified: ", state_sentence(verification), "."))
        return(invisible(verification))
      },
      wait_at_console(verification, seconds, "Waiting for the other side.")
    )
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

# What the other side asked for is gone on with; otherwise it is asked.
verification_to_go_on_with <- function(client, user_id, device_id, room) {
  mx_sync_quietly(client)
  open <- Filter(
    function(x) {
      x[["user_id"]] == user_id &&
        !x[["state"]] %in% c("done", "cancelled") &&
        (is.null(device_id) || identical(x[["device_id"]], device_id))
    },
    mx_verification_list(client)
  )
  if (length(open) > 0L) {
    return(open[[length(open)]])
  }
  mx_verification_request(client, user_id, device_id, room)
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

# Whoever asked begins. Whoever agreed gives the other side a while to.
begin_at_console <- function(verification, seconds) {
  if (!verification[["requested_here"]]) {
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
  wait_at_console(
    verification,
    seconds,
    "Waiting for the other device to scan."
  )
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

wait_at_console <- function(verification, seconds, text) {
  tell(text)
  state <- verification[["state"]]
  verification <- mx_verification_wait(verification, seconds)
  if (verification[["state"]] == state) {
    check_not_cancelled(mx_verification_cancel(verification))
  }
  verification
}

# Whoever interrupts has not compared.
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

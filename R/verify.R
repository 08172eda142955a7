#' Verify somebody, at the console
#'
#' Leads you through a verification: agrees to the one that the other side asked
#' for, or asks for one; shows the emoji, or the numbers where the terminal has no
#' emoji; asks whether the other sees the same; and says what was verified. Compare in
#' another way than through this server: side by side, or on the phone.
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
      ready = begin_at_console(verification),
      compare = compare_at_console(verification),
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
begin_at_console <- function(verification) {
  if (!verification[["requested_here"]]) {
    verification <- mx_verification_wait(verification, seconds = 10)
  }
  if (verification[["state"]] == "ready") {
    verification <- mx_verification_start(verification)
  }
  verification
}

compare_at_console <- function(verification) {
  tell(c(
    "Does the other device show the same?",
    strings_to_compare(verification)
  ))
  if (ask_yes("The same?")) {
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

# Text of others is never formatted.
tell <- function(lines) {
  cli::cli_verbatim(lines)
}

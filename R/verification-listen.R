# Verifications while a program listens: its callback decides.

# `decide` gets each verification in which it is this side's turn, and returns TRUE or
# FALSE; anything else leaves it for later.
decide_verifications <- function(client, decide) {
  for (verification in mx_verifications(client)) {
    if (!is_your_turn(verification)) {
      next
    }
    step <- switch(
      verification[["state"]],
      requested = decided(
        decide(verification),
        mx_verification_accept,
        mx_verification_cancel
      ),
      # This device sent the request, so the person wants it.
      ready = if ("m.sas.v1" %in% verification[["methods"]]) {
        mx_verification_start
      },
      compare = ,
      scanned = decided(
        decide(verification),
        function(x) mx_verification_confirm(x, same = TRUE),
        function(x) mx_verification_confirm(x, same = FALSE)
      )
    )
    if (!is.null(step)) {
      take_step(verification, step)
    }
  }
}

decided <- function(answer, yes, no) {
  if (isTRUE(answer)) {
    yes
  } else if (isFALSE(answer)) {
    no
  }
}

# One that fails does not end the listening.
take_step <- function(verification, step) {
  tryCatch(step(verification), mx_error = function(condition) {
    mx_warn(
      c(
        paste(
          "A verification with",
          printable(verification[["user_id"]]),
          "did not go on."
        ),
        x = conditionMessage(condition)
      ),
      "mx_warning_verification",
      cause = condition
    )
  })
}

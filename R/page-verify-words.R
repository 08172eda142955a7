# The steps of a verification on a page, in a sentence each, which is also read aloud.

# The other side by name: another user, or a device of our own.
other_label <- function(verification, own) {
  if (!is_own_device(verification)) {
    return(plain_line(verification[["user_id"]]))
  }
  device_id <- verification[["device_id"]]
  if (is.null(device_id)) {
    # Which one it is, is known when it has accepted.
    return("another device of yours")
  }
  devices <- own[["devices"]]
  name <- devices[["display_name"]][match(device_id, devices[["device_id"]])]
  paste("your device", device_label(c(name, NA)[[1]], device_id))
}

other_html <- function(verification, own, begins = FALSE) {
  label <- other_label(verification, own)
  shiny::tags[["bdi"]](
    if (begins) with_capital(label) else label,
    .noWS = "outside"
  )
}

# At the beginning of a sentence, where the other side is no user.
with_capital <- function(text) sub("^([a-z])", "\\U\\1", text, perl = TRUE)

# One sentence for a step, which is also read aloud.
step_sentence <- function(verification, own) {
  who <- other_label(verification, own)
  switch(
    verification[["state"]],
    requested = if (is_request(verification)) {
      paste(with_capital(who), "asks to verify.")
    } else {
      paste("Waiting for", who, "to accept.")
    },
    ready = if (verification[["shows_code"]]) {
      paste("A QR code is shown. Scan it with", paste0(who, "."))
    } else {
      paste("Agreed with", paste0(who, "."), "Choose how to verify.")
    },
    started = paste("Waiting for", who, "to show what is to be compared."),
    compare = compared_sentence(verification, who),
    scanned = paste0("Does ", who, " say that it scanned the code?"),
    confirmed = paste("Waiting for", who, "to confirm."),
    done = done_sentence(verification, who),
    cancelled = ended_sentence(verification, who)
  )
}

compared_sentence <- function(verification, who) {
  emoji <- mx_verification_emojis(verification, language = "en")[["name"]]
  paste0(
    "Compare with ",
    who,
    ": ",
    toString(emoji %||% verification[["decimals"]]),
    "."
  )
}

done_sentence <- function(verification, who) {
  if (is_own_device(verification) || verification[["identity_proven"]]) {
    return(paste0("Verified: ", who, "."))
  }
  paste0("Verified on this device alone: ", who, ".")
}

ended_sentence <- function(verification, who) {
  here <- verification[["cancelled_here"]]
  by <- if (here) "this device" else who
  switch(
    verification[["code"]],
    m.user = if (here) {
      paste0("You cancelled the verification with ", who, ".")
    } else {
      paste0("The verification was cancelled by ", who, ".")
    },
    m.timeout = paste0("The verification with ", who, " took too long."),
    m.accepted = "Another device of yours has accepted this verification.",
    m.mismatched_sas = if (here) {
      paste0("You saw something else than ", who, ".")
    } else {
      paste0("Something else was seen by ", who, ".")
    },
    m.key_mismatch = paste0(
      "The keys do not match: the verification with ",
      who,
      " was ended by ",
      by,
      "."
    ),
    paste0(
      "The verification with ",
      who,
      " was ended by ",
      by,
      ": ",
      plain_line(verification[["reason"]] %||% verification[["code"]]),
      "."
    )
  )
}

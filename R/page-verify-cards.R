# What a page shows of verifications: a card for each, by its state, how one begins, and how
# they ended.

# Cards ------------------------------------------------------------------------

card_key <- function(verification) {
  paste0("verification-", number_text(verification))
}

# A form of a verification: one button.
step_form <- function(id, verification, button, ..., values = list()) {
  page_form(
    id,
    button = button,
    values = c(list(number = verification[["number"]]), values),
    ...
  )
}

verification_card <- function(verification, own) {
  who <- other_html(verification, own)
  page_card(
    shiny::tagList("Verification with ", who),
    key = card_key(verification),
    if (has_ended(verification)) {
      shiny::tagList(
        end_html(verification, own),
        step_form("verify_close", verification, "Got it")
      )
    } else {
      step_html(verification, who)
    },
    if (!has_ended(verification) && !is_request(verification)) {
      step_form("verify_cancel", verification, "Cancel", plain = TRUE)
    }
  )
}

step_html <- function(verification, who) {
  tags <- shiny::tags
  waiting <- function(...) {
    tags[["p"]](class = "mx-waiting", "Waiting for ", who, ...)
  }
  switch(
    verification[["state"]],
    requested = if (is_request(verification)) {
      request_html(verification)
    } else {
      waiting(
        " to accept. Open the request there, and accept it. A request ends",
        " after ten minutes, on some devices after two."
      )
    },
    ready = ready_html(verification, who),
    started = waiting(" to show what is to be compared."),
    compare = compare_html(verification, who),
    scanned = scanned_html(verification, who),
    confirmed = if (is.null(verification[["decimals"]])) {
      tags[["p"]](
        "This is the right code. Now say on the other device that it was scanned."
      )
    } else {
      waiting(" to confirm that it is the same there.")
    }
  )
}

request_html <- function(verification) {
  shiny::tagList(
    shiny::tags[["p"]](
      "You are asked to verify. Accept only if you expect it. A request ends after two",
      " minutes."
    ),
    request_forms(verification, "view")
  )
}

# `where`: the banner and the view have a form each.
request_forms <- function(verification, where) {
  shiny::tags[["div"]](
    class = "mx-row",
    step_form(
      "verify_accept",
      verification,
      "Accept",
      values = list(where = where)
    ),
    step_form(
      "verify_decline",
      verification,
      "Decline",
      values = list(where = where),
      plain = TRUE
    )
  )
}

banner_html <- function(requests, own) {
  tags <- shiny::tags
  one <- function(verification) {
    tags[["div"]](
      class = "mx-request",
      tags[["p"]](
        tags[["strong"]](other_html(verification, own, TRUE)),
        " asks to verify. ",
        tags[["a"]](href = "#verify", "Open \u201cVerify\u201d")
      ),
      request_forms(verification, "banner")
    )
  }
  # Anybody can send requests.
  shown <- utils::head(requests, 3L)
  more <- length(requests) - length(shown)
  shiny::tagList(
    lapply(shown, one),
    if (more > 0L) tags[["p"]](paste0(plural(more, "more request"), "."))
  )
}

# Both agreed: how to go on.
ready_html <- function(verification, who) {
  tags <- shiny::tags
  can <- function(method) method %in% verification[["methods"]]
  shown <- verification[["shows_code"]]
  shiny::tagList(
    if (shown) {
      shown_code(verification, who)
    } else {
      tags[["p"]](
        "Both have agreed. Choose one way, here or on the other device."
      )
    },
    if (can("m.sas.v1")) {
      tags[["div"]](
        class = "mx-way",
        tags[["h4"]]("Compare emoji"),
        tags[["p"]]("Both devices show seven emoji, and you compare them."),
        step_form("verify_compare", verification, "Compare emoji")
      )
    },
    if (can("m.qr_code.show.v1") && !shown) {
      tags[["div"]](
        class = "mx-way",
        tags[["h4"]]("Show a QR code"),
        tags[["p"]]("The other device scans it."),
        step_form("verify_show_code", verification, "Show a QR code")
      )
    },
    if (can("m.qr_code.scan.v1")) scan_html(verification)
  )
}

shown_code <- function(verification, who) {
  tags <- shiny::tags
  code <- tryCatch(mx_verification_qr(verification), mx_error = identity)
  if (inherits(code, "error")) {
    return(failure_html(code))
  }
  tags[["div"]](
    class = "mx-way",
    tags[["h4"]]("Show a QR code"),
    tags[["p"]]("Scan this with ", who, ". Show it to nobody else."),
    tags[["img"]](
      class = "mx-code",
      src = png_uri(code),
      alt = paste(
        "QR code for the other device to scan. Without a camera, compare emoji",
        "or numbers instead."
      )
    ),
    tags[["p"]](
      class = "mx-waiting",
      "Waiting until the other device reports that it scanned the code."
    )
  )
}

# The picture is in the page alone: whoever has it could take the other device's place.
png_uri <- function(symbol) {
  check_package("png")
  text <- jsonlite::base64_enc(qr_png(symbol, 6))
  paste0("data:image/png;base64,", gsub("\n", "", text))
}

compare_html <- function(verification, who) {
  tags <- shiny::tags
  emoji <- mx_verification_emojis(verification, language = "en")
  numbers <- tags[["p"]](
    class = "mx-numbers",
    paste(verification[["decimals"]], collapse = " \u2013 ")
  )
  shiny::tagList(
    tags[["p"]](
      "Does ",
      who,
      " show the same, in the same order? Look there yourself, or ask by",
      " telephone: do not ask in a Matrix room."
    ),
    if (!is.null(emoji)) emoji_html(emoji),
    if (is.null(emoji)) {
      numbers
    } else {
      page_details(
        paste0(card_key(verification), "-numbers"),
        "Compare numbers instead",
        numbers
      )
    },
    tags[["div"]](
      class = "mx-row",
      step_form(
        "verify_confirm",
        verification,
        "They match",
        values = list(same = TRUE)
      ),
      step_form(
        "verify_confirm",
        verification,
        "They do not match",
        values = list(same = FALSE),
        danger = TRUE
      )
    )
  )
}

# The glyph is decoration: its name is what is compared.
emoji_html <- function(emoji) {
  tags <- shiny::tags
  one <- function(glyph, name) {
    tags[["li"]](
      tags[["span"]](class = "mx-glyph", "aria-hidden" = "true", glyph),
      tags[["span"]](name)
    )
  }
  tags[["ol"]](
    class = "mx-emoji",
    "aria-label" = "Seven emoji",
    Map(one, emoji[["emoji"]], emoji[["name"]], USE.NAMES = FALSE)
  )
}

scanned_html <- function(verification, who) {
  tags <- shiny::tags
  shiny::tagList(
    tags[["p"]](
      "Almost there. Does ",
      who,
      " say that it scanned the code? If it does not, somebody else did."
    ),
    tags[["div"]](
      class = "mx-row",
      step_form(
        "verify_confirm",
        verification,
        "Yes, it scanned the code",
        values = list(same = TRUE)
      ),
      step_form(
        "verify_confirm",
        verification,
        "No",
        values = list(same = FALSE),
        danger = TRUE
      )
    )
  )
}

# This device, and how to begin ------------------------------------------------

# What a new device gets from another one, and what to do if there is none.
new_device_html <- function(own) {
  identity <- own[["identity"]]
  tags <- shiny::tags
  if (is.null(identity) || isTRUE(identity[["device_signed"]])) {
    return(NULL)
  }
  if (is.null(identity[["master_key"]])) {
    return(page_card(
      "This device",
      tags[["p"]](
        "Your account has no identity yet. ",
        tags[["a"]](href = "#recovery", "Set it up"),
        " first: then your devices and other people can be verified."
      )
    ))
  }
  page_card(
    "Verify this device",
    key = "this-device",
    tags[["p"]](page_mark("warn", "This device is not verified.")),
    tags[["p"]](
      "Verified by one of your other devices, it gets your identity and the key",
      " of your key storage: it reads earlier messages, others send it keys, and",
      " it can verify other people. Ask another device below, or use your",
      " recovery key."
    ),
    page_form(
      "verify_key",
      page_field(
        "recovery_key",
        "Recovery key or passphrase",
        type = "password"
      ),
      button = "Verify with the recovery key"
    )
  )
}

begin_html <- function(own, client) {
  devices <- own[["devices"]]
  is_other <- !devices[["device_id"]] %in% client[["device_id"]] &
    !devices[["dehydrated"]]
  ids <- devices[["device_id"]][is_other]
  names <- devices[["display_name"]][is_other]
  shiny::tagList(
    page_card(
      "Verify a device of yours",
      if (length(ids) == 0L) {
        shiny::tags[["p"]](
          "You have no other device with encryption. Sign in there first."
        )
      } else {
        page_form(
          "verify_own",
          page_select(
            "device",
            "Device",
            c(
              rlang::set_names("All of them: the first that accepts", ""),
              rlang::set_names(device_label(names, ids), ids)
            )
          ),
          button = "Start"
        )
      }
    ),
    page_card(
      "Verify a person",
      shiny::tags[["p"]](
        "Best when you are side by side, or on the telephone. The request is",
        " sent in the room of the two of you."
      ),
      page_form(
        "verify_user",
        page_field(
          "user",
          "User id",
          placeholder = "@alice:example.org",
          maxlength = 255
        ),
        page_checkbox(
          "create",
          "If there is no such room, create one and invite this person"
        ),
        button = "Start"
      )
    )
  )
}

# Devices as people know them: by name and id.
device_label <- function(names, ids) {
  ids <- plain_line(ids)
  names <- plain_line(names, 60L)
  ifelse(is.na(names) | !nzchar(names), ids, paste0(names, " (", ids, ")"))
}

# The end ----------------------------------------------------------------------

# The last ones, newest first.
ended_html <- function(ended, own) {
  tags <- shiny::tags
  if (length(ended) == 0L) {
    return(NULL)
  }
  shown <- utils::head(ended, 3L)
  earlier <- utils::tail(ended, -3L)
  line <- function(verification) {
    tags[["li"]](end_mark(verification, own))
  }
  page_card(
    "Ended",
    lapply(shown, end_html, own = own),
    if (length(earlier) > 0L) {
      page_details(
        "verify_earlier",
        paste(length(earlier), "earlier"),
        tags[["ul"]](lapply(earlier, line))
      )
    }
  )
}

end_html <- function(verification, own) {
  tags <- shiny::tags
  tags[["div"]](
    class = "mx-end",
    tags[["p"]](end_mark(verification, own)),
    tags[["p"]](what_next(verification, own)),
    if (verification[["state"]] == "cancelled") {
      again_form(verification)
    }
  )
}

end_mark <- function(verification, own) {
  good <- verification[["state"]] == "done"
  level <- if (good) {
    "good"
  } else if (is_alarming(verification)) {
    "bad"
  } else {
    "warn"
  }
  page_mark(level, step_sentence(verification, own))
}

# The same request again.
again_form <- function(verification) {
  is_own <- is_own_device(verification)
  page_form(
    if (is_own) "verify_own" else "verify_user",
    if (!is_own) {
      page_checkbox(
        "create",
        "If you share no room with this person alone, create one"
      )
    },
    button = "Start again",
    values = if (is_own) {
      list(
        device = string_or_empty(verification[["device_id"]]),
        again = verification[["number"]]
      )
    } else {
      list(user = verification[["user_id"]], again = verification[["number"]])
    },
    plain = TRUE
  )
}

is_own_device <- function(verification) {
  verification[["user_id"]] == verification[["client"]][["user_id"]]
}

# Codes that somebody between the two would cause.
is_alarming <- function(verification) {
  verification[["code"]] %in%
    c(
      "m.mismatched_sas",
      "m.mismatched_commitment",
      "m.key_mismatch",
      "m.user_mismatch"
    )
}

what_next <- function(verification, own) {
  if (verification[["state"]] == "done") {
    if (!is_own_device(verification)) {
      "All your devices know it. If the identity changes, you are told."
    } else if (isTRUE(own[["identity"]][["device_signed"]])) {
      paste(
        "Both devices are yours: the other one gets your identity, and the key of",
        "your key storage with which it reads earlier messages."
      )
    } else {
      "This device is getting your identity from it."
    }
  } else if (is_alarming(verification)) {
    paste(
      "Nothing was verified. Somebody may stand between the two devices. Try",
      "again in another network; if it happens again, tell who runs the server."
    )
  } else {
    switch(
      verification[["code"]],
      m.timeout = "Nothing was verified. Start again when both are there.",
      m.accepted = "Go on there.",
      "Nothing was verified."
    )
  }
}

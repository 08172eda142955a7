# The view of verifications, and the banner above all views that announces requests. A
# verification is a record of the store: each tab, and a page that is loaded again, shows
# it as it is there. page-scan.R reads QR codes for it.

verify_view <- function() {
  page_view(
    "verify",
    "Verify",
    # What is read aloud is one sentence for each step, and not all that is shown.
    shiny::tags[["div"]](
      id = "verify_said",
      class = "mx-unseen shiny-text-output",
      role = "status"
    ),
    silent_place("verify_this_device"),
    silent_place("verify_under_way"),
    silent_place("verify_begin"),
    silent_place("verify_ended")
  )
}

# A place of which nothing is read aloud when it changes.
silent_place <- function(id) {
  shiny::tags[["div"]](id = id, class = "mx-place shiny-html-output")
}

# Above the views: who asks to verify.
verify_banner <- function() {
  shiny::tags[["div"]](
    id = "verify_banner",
    class = "mx-banner shiny-html-output",
    role = "alert"
  )
}

verify_server <- function(page) {
  client <- page[["client"]]
  page_output(page, "verify_banner", function() {
    banner_html(Filter(is_request, page[["verifications"]]()), page[["own"]]())
  })
  page_output(page, "verify_this_device", function() {
    new_device_html(own_asked(page))
  })
  # What has ended while this page was open stays in its place until it was read.
  page[["ended_here"]] <- shiny::reactiveVal(character())
  page_output(page, "verify_under_way", function() {
    ended_here <- page[["ended_here"]]()
    is_shown <- function(verification) {
      !has_ended(verification) || number_text(verification) %in% ended_here
    }
    under_way <- Filter(is_shown, page[["verifications"]]())
    own <- page[["own"]]()
    shiny::tagList(lapply(under_way, verification_card, own = own))
  })
  page_output(page, "verify_begin", function() {
    begin_html(page[["own"]](), client)
  })
  page_output(page, "verify_ended", function() {
    ended_here <- page[["ended_here"]]()
    is_shown <- function(verification) {
      has_ended(verification) && !number_text(verification) %in% ended_here
    }
    ended <- Filter(is_shown, page[["verifications"]]())
    ended_html(rev(ended), page[["own"]]())
  })
  output <- page[["output"]]
  said <- said_steps(page)
  output[["verify_said"]] <- shiny::renderText(said())
  # They are wanted on all views, also where nobody sees them.
  for (id in c("verify_banner", "verify_said")) {
    shiny::outputOptions(output, id, suspendWhenHidden = FALSE)
  }
  verify_actions(page)
  scan_server(page)
}

# A new store knows nothing of our identity and devices until the server was asked.
own_asked <- function(page) {
  own <- page[["own"]]()
  if (is.null(own[["identity"]][["master_key"]])) {
    page[["changed"]]()
    client <- page[["client"]]
    own[["identity"]] <- own_identity(client, machine_of(client))
  }
  own
}

# Tells of each step once. What was there when the page was opened is not news.
said_steps <- function(page) {
  said <- shiny::reactiveVal("")
  known <- NULL
  shiny::observe({
    # An error is for the views to show; here it would end the session.
    read <- with_told(list(page[["verifications"]](), page[["own"]]()))
    if (!read[["ok"]]) {
      return()
    }
    now <- read[["outcome"]][[1]]
    own <- read[["outcome"]][[2]]
    steps <- vapply(now, step_of, "")
    names(steps) <- vapply(now, number_text, "")
    is_new <- !is.null(known) & !(steps == known[names(steps)]) %in% TRUE
    known <<- steps
    if (any(is_new)) {
      sentences <- vapply(now[is_new], step_sentence, "", own = own)
      said(paste(sentences, collapse = " "))
    }
    is_over <- vapply(now, has_ended, NA)
    if (any(is_new & is_over)) {
      ended <- names(steps)[is_new & is_over]
      ended_here <- page[["ended_here"]]
      ended_here(union(shiny::isolate(ended_here()), ended))
      # Who was verified changes what other views show.
      page[["refresh"]]()
    }
  })
  said
}

step_of <- function(verification) {
  paste(verification[["state"]], verification[["shows_code"]])
}

number_text <- function(verification) format_number(verification[["number"]])

format_number <- function(number) format(number, scientific = FALSE)

has_ended <- function(verification) {
  verification[["state"]] %in% c("done", "cancelled")
}

is_request <- function(verification) {
  verification[["state"]] == "requested" && !verification[["requested_here"]]
}

# Actions ----------------------------------------------------------------------

# Most have no outcome of their own: the card shows what they did, and one sentence for it
# is read aloud.
verify_actions <- function(page) {
  client <- page[["client"]]
  # `step` takes the verification of the form, and the form's fields.
  on_step <- function(id, step) {
    on_form(page, id, function(fields) {
      step(verification_of(client, fields[["number"]]), fields)
    })
  }
  on_step("verify_accept", function(verification, fields) {
    mx_verification_accept(verification)
    show_view(page, "verify", card_key(verification))
    NULL
  })
  on_step("verify_decline", function(verification, fields) {
    mx_verification_cancel(verification)
    "Declined."
  })
  on_step("verify_cancel", function(verification, fields) {
    mx_verification_cancel(verification)
    NULL
  })
  on_step("verify_compare", function(verification, fields) {
    mx_verification_start(verification)
    NULL
  })
  on_step("verify_show_code", function(verification, fields) {
    mx_verification_qr(verification)
    NULL
  })
  on_step("verify_confirm", function(verification, fields) {
    mx_verification_confirm(verification, same = isTRUE(fields[["same"]]))
    NULL
  })
  on_step("verify_close", function(verification, fields) {
    close_card(page, verification[["number"]])
    NULL
  })
  on_form(page, "verify_own", function(fields) {
    request_own(page, field_text(fields, "device"))
    close_card(page, fields[["again"]])
    NULL
  })
  on_form(page, "verify_user", function(fields) {
    user_id <- trimws(string_or_empty(fields[["user"]]))
    request_user(page, user_id, isTRUE(fields[["create"]]))
    close_card(page, fields[["again"]])
    NULL
  })
  on_form(page, "verify_key", function(fields) {
    set_up_with_key(client, fields)
  })
}

# What has ended was read, or has begun again.
close_card <- function(page, number) {
  if (is.numeric(number)) {
    ended_here <- page[["ended_here"]]
    ended_here(setdiff(ended_here(), format_number(number)))
  }
}

verification_of <- function(client, number, call = caller_env()) {
  is_it <- function(verification) isTRUE(verification[["number"]] == number)
  found <- Filter(is_it, mx_verifications(client))
  if (length(found) == 0L) {
    mx_abort(
      "This verification is over.",
      "mx_error_verification",
      call = call
    )
  }
  found[[1]]
}

# Asks another device of our own, or, with NULL, all of them.
request_own <- function(page, device_id) {
  client <- page[["client"]]
  asked <- mx_verification_request(client, client[["user_id"]], device_id)
  show_view(page, "verify", card_key(asked))
}

# Asks another user in the room of the two, which is created if they agreed to that.
request_user <- function(page, user_id, create, call = caller_env()) {
  client <- page[["client"]]
  if (user_id == client[["user_id"]]) {
    return(request_own(page, NULL))
  }
  if (!is_user_id(user_id)) {
    mx_abort(
      "A user id looks like @alice:example.org.",
      "mx_error_argument",
      call = call
    )
  }
  check_can_verify_users(client, call)
  room <- room_with(client, user_id, call)
  if (is.null(room) && !create) {
    mx_abort(
      paste(
        paste0("You are in no room with ", printable(user_id), " alone."),
        "Tick the box for a new room, and press the button again."
      ),
      "mx_error_room",
      call = call
    )
  }
  room <- room %||% mx_room_direct(client, user_id)
  asked <- mx_verification_request(client, user_id, room = room)
  show_view(page, "verify", card_key(asked))
}

is_user_id <- function(text) {
  grepl("^@[^:[:space:]]+:[^[:space:]]+$", text) && nchar(text, "bytes") <= 255L
}

# A new device by the recovery key, in place of another device.
set_up_with_key <- function(client, fields) {
  key <- given_key(fields)
  passphrase <- given_passphrase(fields)
  if (is.null(key) && is.null(passphrase)) {
    mx_abort("Enter the recovery key or the passphrase.", "mx_error_argument")
  }
  mx_crypto_setup(client, recovery_key = key, passphrase = passphrase)
  "This device is verified."
}

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

# Words ------------------------------------------------------------------------

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

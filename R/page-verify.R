# The view of verifications, and the banner above all views that announces requests. A
# verification is a record of the store: each tab, and a page that is loaded again, shows
# it as it is there. page-verify-cards.R draws it, page-verify-words.R says its steps, and
# page-scan.R reads QR codes for it.

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

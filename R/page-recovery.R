# The view of identity and recovery: set up, verify this device by a key, change the key,
# reset. A new recovery key is shown only to who asks for it.

recovery_view <- function() {
  page_view(
    "recovery",
    "Recovery",
    page_place("recovery_new_key"),
    page_place("recovery_forms")
  )
}

recovery_server <- function(page) {
  client <- page[["client"]]
  # Which key is shown in this tab. Another tab, or another process, may make a new one, or
  # save it.
  shown <- shiny::reactiveVal(NULL)
  waiting <- followed(page, 1000, function() waiting_key(client))
  page_output(page, "recovery_new_key", function() {
    page[["changed"]]()
    waiting <- waiting()
    if (!is.null(waiting)) {
      new_key_card(client, identical(shown(), waiting))
    }
  })
  page_output(page, "recovery_forms", function() {
    recovery_forms(page[["status"]](), has_account_page(client))
  })
  on_form(page, "recovery_show", function(fields) {
    shown(waiting_key(client))
    "Keep it where only you can find it: in a password manager, or on paper."
  })
  on_form(page, "recovery_hide", function(fields) {
    shown(NULL)
    "It is hidden. It can be shown again until you say that it is saved."
  })
  on_form(page, "recovery_saved", function(fields) {
    if (is.null(shown()) || !identical(shown(), waiting_key(client))) {
      mx_abort(
        "This is not the key that was shown here. Show it, and save it.",
        "mx_error_recovery_key"
      )
    }
    mx_recovery_key_forget(new_recovery_key(client))
    shown(NULL)
    "It is saved by you, and this device has forgotten it."
  })
  recovery_actions(page, client)
}

recovery_actions <- function(page, client) {
  on_form(page, "recovery_set_up", function(fields) {
    setup <- mx_crypto_setup(
      client,
      recovery_key = given_key(fields),
      passphrase = given_passphrase(fields) %||% wanted_passphrase(fields),
      password = field_text(fields, "password")
    )
    setup_outcome(setup, "Encryption is set up, and this device is verified.")
  })
  on_form(page, "recovery_verify", function(fields) {
    if (is.null(field_text(fields, "recovery_key"))) {
      mx_abort(
        "Enter the recovery key or the passphrase.",
        "mx_error_recovery_key"
      )
    }
    setup <- mx_crypto_setup(
      client,
      recovery_key = given_key(fields),
      passphrase = given_passphrase(fields),
      password = field_text(fields, "password")
    )
    setup_outcome(setup, "This device is verified.")
  })
  on_form(page, "recovery_make", function(fields) {
    key <- mx_recovery_key_change(
      client,
      new_passphrase = wanted_passphrase(fields)
    )
    changed_sentence(key, "Recovery is set up.")
  })
  on_form(page, "recovery_change", function(fields) {
    key <- mx_recovery_key_change(
      client,
      recovery_key = given_key(fields),
      passphrase = given_passphrase(fields),
      new_passphrase = wanted_passphrase(fields)
    )
    changed_sentence(key, "The old one opens nothing any more.")
  })
  on_form(page, "recovery_reset", function(fields) {
    setup <- mx_cross_signing_reset(
      client,
      passphrase = wanted_passphrase(fields),
      password = field_text(fields, "password")
    )
    shiny::tagList(
      setup_outcome(
        setup,
        "You have a new identity, and this device is verified.",
        generate = is.null(wanted_passphrase(fields))
      ),
      shiny::tags[["p"]](
        "Your other devices are not verified any more. ",
        view_link("devices", "Sign out those that you do not need"),
        ", and verify the others with the new key."
      )
    )
  })
}

# Which new recovery key waits to be saved, or NULL. A hash, for R alone.
waiting_key <- function(client) {
  status <- core(machine_identity_status(machine_of(client)))
  if (status[["recovery_key"]]) {
    rlang::hash(format(new_recovery_key(client), reveal = TRUE))
  }
}

# The passphrase that was chosen, or NULL where a key is to be generated.
wanted_passphrase <- function(fields) {
  if (identical(fields[["kind"]], "passphrase")) chosen_passphrase(fields)
}

# `generate`: whether a key was to be generated.
setup_outcome <- function(setup, sentence, generate = FALSE) {
  tags <- shiny::tags
  shiny::tagList(
    tags[["p"]](page_mark("good", sentence)),
    new_key_sentence(setup[["recovery_key"]]),
    if (generate && is.null(setup[["recovery_key"]])) {
      tags[["p"]](page_mark(
        "warn",
        "It was begun before with a passphrase: that one opens it."
      ))
    }
  )
}

changed_sentence <- function(key, sentence) {
  shiny::tagList(
    shiny::tags[["p"]](page_mark("good", sentence)),
    new_key_sentence(key)
  )
}

new_key_sentence <- function(key) {
  if (!is.null(key)) {
    shiny::tags[["p"]](
      page_mark("warn", "A new recovery key was made."),
      " ",
      view_link("recovery_new_key", "Save it now.")
    )
  }
}

# The new key ---------------------------------------------------------------------

new_key_card <- function(client, shown) {
  tags <- shiny::tags
  page_card(
    "Save your recovery key",
    tags[["p"]](page_mark(
      "warn",
      "A new recovery key is not saved yet."
    )),
    tags[["p"]](
      "Store it somewhere safe, like a password manager or a safe. When you have lost ",
      "all your devices, only this key brings back your identity and your history."
    ),
    if (shown) {
      shiny::tagList(
        page_secret(
          "recovery_key_text",
          format(new_recovery_key(client), reveal = TRUE),
          recovery_file_name(client)
        ),
        page_form("recovery_hide", button = "Hide it", plain = TRUE),
        page_form(
          "recovery_saved",
          button = "I have saved it",
          plain = TRUE,
          confirm = paste(
            "This device forgets the recovery key. If you have not saved it, nobody can",
            "show it again."
          )
        )
      )
    } else {
      page_form("recovery_show", button = "Show the recovery key")
    }
  )
}

recovery_file_name <- function(client) {
  paste0("recovery-key-", file_part(client[["user_id"]]), ".txt")
}

# Part of a name of a file: also where a file system takes no colon.
file_part <- function(text) gsub("[^A-Za-z0-9@._=-]", "_", text)

# Forms ---------------------------------------------------------------------------

# `on_page`: whether the server asks for approval on its web page, and not for a password.
recovery_forms <- function(status, on_page) {
  if (!is.null(status[["identity_refused"]])) {
    return(shiny::tagList(
      page_card(
        "Identity",
        shiny::tags[["p"]](identity_mark(status)),
        shiny::tags[["p"]](
          "Ask whoever runs the server. If that does not help, a new identity does."
        )
      ),
      reset_card(status, on_page)
    ))
  }
  if (is.null(status[["master_key"]])) {
    return(set_up_card(status, on_page))
  }
  shiny::tagList(
    if (is_verified_here(status)) {
      page_card(
        "This device",
        shiny::tags[["p"]](page_mark("good", "This device is verified."))
      )
    } else {
      verify_card(status)
    },
    recovery_card(status),
    reset_card(status, on_page)
  )
}

# Signed, and with the keys that make it able to sign others.
is_verified_here <- function(status) {
  held <- status[["cross_signing"]][["private_keys_cached"]]
  status[["device_signed"]] &&
    !status[["identity_changed"]] &&
    held[["self_signing"]]
}

password_field <- function(on_page) {
  if (on_page) {
    return(shiny::tags[["p"]](
      "Your server may ask for your approval on its web page: a link to it appears here."
    ))
  }
  page_field(
    "password",
    "Password of the account",
    type = "password",
    hint = "Only where the server asks for it."
  )
}

# Key or passphrase, in the words that Element has for them.
new_key_fields <- function() {
  shiny::tagList(
    page_choice(
      "kind",
      "Recover with",
      c(
        generate = "Generate a recovery key (also called security key)",
        passphrase = "Enter a passphrase (also called security phrase)"
      )
    ),
    shiny::tags[["div"]](
      class = "mx-own-passphrase",
      page_new_passphrase("New passphrase")
    )
  )
}

set_up_card <- function(status, on_page) {
  is_begun <- "identity_unfinished" %in% status[["out_of_sync"]][["problem"]]
  page_card(
    "Set up encryption",
    shiny::tags[["p"]](
      "Makes your identity (cross-signing), verifies this device, and keeps your keys ",
      "on the server, encrypted. Then you can verify new devices, and read your ",
      "history on them, with the recovery key or the passphrase."
    ),
    if (is_begun) {
      shiny::tags[["p"]](page_mark(
        "warn",
        "It was begun and is not finished: press the button to go on."
      ))
    },
    page_form(
      "recovery_set_up",
      if (status[["secret_storage"]]) {
        recovery_field(
          "The account has secret storage already: what opens it is needed."
        )
      } else {
        new_key_fields()
      },
      password_field(on_page),
      button = "Continue",
      busy = "Setting up\u2026"
    )
  )
}

verify_card <- function(status) {
  tags <- shiny::tags
  page_card(
    "Verify this device",
    if (status[["identity_changed"]]) {
      tags[["p"]](page_mark(
        "bad",
        paste(
          "The server shows another identity of yours than this device knows. If you",
          "made a new one elsewhere, its recovery key proves it. If you did not,",
          "somebody else may have."
        )
      ))
    },
    tags[["p"]](
      if (status[["device_signed"]]) {
        "It is signed by you, and has not all keys yet."
      } else {
        paste(
          "Until then others may withhold the keys of their messages from this",
          "device, and it cannot read your history."
        )
      }
    ),
    if (status[["secret_storage"]]) {
      page_form(
        "recovery_verify",
        recovery_field(),
        button = "Verify with the recovery key",
        busy = "Verifying\u2026"
      )
    } else {
      tags[["p"]](page_mark(
        "warn",
        "Recovery is not set up, so that no recovery key can verify it."
      ))
    },
    tags[["p"]](
      "Or use ",
      view_link("verify", "another device of yours"),
      ": by emoji or QR code."
    )
  )
}

recovery_card <- function(status) {
  tags <- shiny::tags
  recovery <- status[["key_storage"]][["recovery"]]
  fact <- tags[["p"]](
    "Recovery is ",
    yes_mark(recovery == "set_up", "set up", gsub("_", " ", recovery))
  )
  if (!status[["secret_storage"]]) {
    if (!is_verified_here(status)) {
      return(NULL)
    }
    return(page_card(
      "Set up recovery",
      fact,
      tags[["p"]](
        "Without it, your identity and your history are lost with your devices."
      ),
      page_form(
        "recovery_make",
        new_key_fields(),
        button = "Set up recovery",
        busy = "Setting up\u2026"
      )
    ))
  }
  page_card(
    "Change the recovery key or passphrase",
    fact,
    tags[["p"]](
      "Do this if somebody else may know it. Your identity stays as it is: nobody has ",
      "to verify you again."
    ),
    page_form(
      "recovery_change",
      page_field(
        "recovery_key",
        "Present recovery key or passphrase",
        type = "password"
      ),
      new_key_fields(),
      button = "Change",
      busy = "Changing\u2026",
      confirm = paste(
        "The present recovery key or passphrase opens nothing afterwards. Everywhere",
        "you have noted it, note the new one."
      )
    )
  )
}

# What it costs is said before, once with a device that has the keys and once without.
reset_card <- function(status, on_page) {
  tags <- shiny::tags
  item <- function(...) tags[["li"]](...)
  is_verified <- is_verified_here(status)
  page_card(
    "Reset your identity",
    tags[["p"]](
      "Only do this if you have forgotten or lost your recovery key or passphrase, or ",
      "if somebody else may have your identity. This makes a new one."
    ),
    if (is_verified) {
      tags[["p"]](
        "You may wish to back up your keys before, to be on the safe side: ",
        view_link("keys", "Export them to a file.")
      )
    } else {
      shiny::tagList(
        tags[["p"]](page_mark(
          "bad",
          "This device is not verified, and may not have your keys."
        )),
        tags[["p"]](
          "If another device of yours is still signed in, ",
          view_link("verify", "verify this one with it"),
          " in place of a reset. Without another device, and without the recovery key, ",
          "a reset destroys all your keys: you will not be able to read any messages ",
          "from before."
        )
      )
    },
    tags[["p"]]("What it costs:"),
    tags[["ul"]](
      item("Everybody who verified you has to do it again."),
      item("Your other devices are not verified any more."),
      item("The present recovery key or passphrase opens nothing any more."),
      item(
        if (is_verified) {
          paste(
            "The key backup is deleted, and a new one is made with the keys of this",
            "device."
          )
        } else {
          paste(
            "The key backup is deleted. Keys that are only there are lost, and",
            "messages that need them can never be read again."
          )
        }
      )
    ),
    page_form(
      "recovery_reset",
      new_key_fields(),
      password_field(on_page),
      button = "Reset identity",
      busy = "Resetting\u2026",
      confirm = reset_question(is_verified),
      danger = TRUE
    )
  )
}

reset_question <- function(is_verified) {
  paste0(
    "Clear the cross-signing keys and make a new identity? This cannot be undone. ",
    "Anyone you have verified with will see security alerts.",
    if (!is_verified) {
      paste0(
        "\n\nYou will not be able to read encrypted messages from before, unless ",
        "this device has their keys."
      )
    }
  )
}

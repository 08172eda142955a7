# The view of the key backup: what is in it, whether it is trusted, and what can be done.

backup_view <- function() {
  page_view(
    "backup",
    "Key backup",
    shiny::tags[["p"]](
      "Your messages are encrypted, and only you and their readers have the keys. The ",
      "backup keeps your keys on the server, encrypted with a key that the server ",
      "does not have: so you can still read your history when you lose your devices."
    ),
    page_place("backup_facts"),
    page_place("backup_actions")
  )
}

backup_server <- function(page) {
  client <- page[["client"]]
  # It moves while keys go there, also by themselves.
  progress <- followed(page, 1000, function() stored_backup_progress(client))
  page_output(page, "backup_progress", function() {
    backup_progress_html(progress())
  })
  page_output(page, "backup_facts", function() {
    backup_html(page[["status"]]()[["key_backup"]])
  })
  page_output(page, "backup_actions", function() {
    backup_actions(page[["status"]]())
  })
  backup_forms(page, client)
}

backup_forms <- function(page, client) {
  on_form(page, "backup_upload", function(fields) {
    in_parts(
      upload_parts(client, machine_of(client)),
      "Backing up keys\u2026",
      uploaded_sentence
    )
  })
  on_form(page, "backup_restore", function(fields) {
    given <- check_given(given_key(fields), given_passphrase(fields))
    in_parts(
      restore_parts(client, machine_of(client), given),
      "Restoring keys\u2026",
      function(keys) {
        # What waited for a key can be read now.
        pump_or_warn(client)
        restored_html(keys)
      }
    )
  })
  on_form(page, "backup_enable", function(fields) {
    mx_backup_enable(
      client,
      recovery_key = given_key(fields),
      passphrase = given_passphrase(fields)
    )
    "Keys of this device go to the key backup."
  })
  on_form(page, "backup_replace", function(fields) {
    mx_backup_enable(
      client,
      recovery_key = given_key(fields),
      passphrase = given_passphrase(fields),
      replace = TRUE
    )
    "There is a new key backup. Keys of this device go there."
  })
  on_form(page, "backup_disable", function(fields) {
    mx_backup_disable(client)
    "No more keys of this device go to the key backup. It keeps what it has."
  })
  on_form(page, "backup_delete", function(fields) {
    mx_backup_delete(client)
    "The key backup is deleted."
  })
}

# What the store knows, without a request.
stored_backup_progress <- function(client) {
  status <- core(machine_backup_status(machine_of(client)))
  status[c("version", "enabled", "trusted", "keys", "backed_up")]
}

backup_progress_html <- function(status) {
  keys <- status[["keys"]]
  if (is.null(status[["version"]])) {
    return(paste0(
      plural(keys, "key is", "keys are"),
      " on this device, and none is backed up."
    ))
  }
  counted <- paste(
    format_count(status[["backed_up"]]),
    "of",
    plural(keys, "key", "keys", "backed up")
  )
  is_on <- status[["trusted"]] && isTRUE(status[["enabled"]])
  shiny::tagList(
    page_progress(counted, status[["backed_up"]], keys),
    shiny::tags[["p"]](
      if (!is_on) {
        page_mark("bad", "Keys of this device are not being backed up.")
      } else if (status[["backed_up"]] >= keys) {
        page_mark("good", "All keys backed up.")
      } else {
        page_mark("warn", "Some keys still have to be backed up.")
      }
    )
  )
}

backup_html <- function(backup) {
  failure <- backup[["failure"]]
  if (!is.null(failure)) {
    return(page_card(
      "Backup",
      shiny::tags[["p"]](
        page_mark("bad", broken_backup(list(message = plain_line(failure))))
      ),
      shiny::tags[["p"]](
        "Try again later. If it stays so, tell whoever runs the server."
      )
    ))
  }
  if (is.null(backup[["version"]])) {
    return(page_card(
      "No backup",
      shiny::tags[["p"]](page_mark(
        "bad",
        "There is no key backup: your keys would be lost with this device."
      )),
      page_place("backup_progress")
    ))
  }
  shiny::tagList(
    page_card(
      "Backup",
      page_facts(
        "Backup version" = plain_line(backup[["version"]]),
        "Algorithm" = shiny::tags[["code"]](plain_line(backup[["algorithm"]])),
        "Backup key stored" = backup_key_place(backup),
        "Keys at the server" = if (!is.null(backup[["count"]])) {
          format_count(backup[["count"]])
        }
      ),
      page_place("backup_progress")
    ),
    page_card(
      "Is it trusted?",
      shiny::tags[["p"]](backup_trust_mark(backup)),
      signatures_html(backup[["signatures"]])
    )
  )
}

backup_key_place <- function(backup) {
  places <- c(
    if (backup[["key_in_secret_storage"]]) "in secret storage",
    if (backup[["key_held"]]) "on this device"
  )
  if (length(places) == 0L) {
    return(page_mark("bad", "neither in secret storage nor on this device"))
  }
  paste(places, collapse = " and ")
}

backup_trust_mark <- function(backup) {
  if (!is.null(backup[["refused"]])) {
    why <- plain_line(backup[["refused"]])
    page_mark("bad", paste("This backup is refused.", why))
  } else if (backup[["key_held"]]) {
    page_mark(
      "good",
      "This backup is trusted because its key is on this device."
    )
  } else if (backup[["trusted"]]) {
    page_mark("good", "This backup is trusted because of its signature.")
  } else {
    page_mark(
      "bad",
      paste(
        "This backup is not trusted: its key is not on this device, and nobody whom",
        "this device has verified signed it. No key of this device goes there."
      )
    )
  }
}

# As Element says it: each signature, whether it is valid, and of whom.
signatures_html <- function(signatures) {
  tags <- shiny::tags
  if (nrow(signatures) == 0L) {
    return(tags[["p"]]("It has no signature of yours."))
  }
  tags[["ul"]](lapply(seq_len(nrow(signatures)), function(i) {
    tags[["li"]](signature_mark(lapply(signatures, `[[`, i)))
  }))
}

signature_mark <- function(signature) {
  valid <- signature[["valid"]]
  name <- plain_line(signature[["name"]])
  who <- switch(
    signature[["signer"]],
    identity = "this user",
    this_device = "this device",
    device = paste("your device", name),
    paste("an unknown device with ID", name)
  )
  kind <- if (is.na(valid)) {
    "a"
  } else if (valid) {
    "a valid"
  } else {
    "an invalid"
  }
  text <- paste0("Backup has ", kind, " signature from ", who)
  if (is.na(valid)) {
    page_mark("warn", paste0(text, ": whether it holds is not known."))
  } else if (!valid) {
    page_mark("bad", paste0(text, "."))
  } else if (!signature[["trusted"]]) {
    page_mark("warn", paste0(text, ", which this device has not verified."))
  } else {
    page_mark("good", paste0(text, "."))
  }
}

# What can be done ----------------------------------------------------------------

backup_actions <- function(status) {
  backup <- status[["key_backup"]]
  if (!is.null(backup[["failure"]])) {
    return(NULL)
  }
  if (is.null(backup[["version"]])) {
    return(no_backup_actions(status))
  }
  is_used <- backup[["trusted"]] && isTRUE(backup[["enabled"]])
  shiny::tagList(
    if (is_used || backup[["key_held"]]) use_card(backup),
    restore_card(backup),
    if (!backup[["key_held"]]) unlock_card(backup),
    delete_card(backup)
  )
}

no_backup_actions <- function(status) {
  if (!status[["secret_storage"]]) {
    return(page_card(
      "Set up a key backup",
      shiny::tags[["p"]](
        "Its key is kept in secret storage, which the account does not have yet. ",
        view_link("recovery", "Set up recovery first.")
      )
    ))
  }
  page_card(
    "Set up a key backup",
    page_form(
      "backup_enable",
      recovery_field(),
      button = "Set up key backup",
      busy = "Setting it up\u2026"
    )
  )
}

recovery_field <- function(hint = NULL) {
  page_field(
    "recovery_key",
    "Recovery key or passphrase",
    type = "password",
    hint = hint %||%
      "The recovery key has 48 characters, which begin with E."
  )
}

use_card <- function(backup) {
  if (!isTRUE(backup[["enabled"]])) {
    return(page_card(
      "Back up this device",
      page_form(
        "backup_enable",
        button = "Switch on here",
        busy = "Switching on\u2026"
      )
    ))
  }
  page_card(
    "Back up this device",
    shiny::tags[["p"]]("New keys go to the backup by themselves."),
    page_form(
      "backup_upload",
      button = "Back up now",
      busy = "Backing up keys\u2026"
    ),
    page_form(
      "backup_disable",
      button = "Switch off here",
      plain = TRUE,
      confirm = paste(
        "No more keys of this device go to the backup: messages that come from now",
        "on cannot be read on a new device. The keys that are in the backup stay",
        "there.\n\nThis is also noted in your account, so that your other devices",
        "may switch off their backup."
      )
    )
  )
}

restore_card <- function(backup) {
  page_card(
    "Restore from backup",
    shiny::tags[["p"]](
      "Brings all keys of the backup to this device, to read old messages or to ",
      view_link("keys", "export"),
      " them."
    ),
    page_form(
      "backup_restore",
      if (!backup[["key_held"]]) recovery_field(backup_hint(backup)),
      button = "Restore from backup",
      busy = "Fetching keys\u2026"
    )
  )
}

backup_hint <- function(backup) {
  if (backup[["legacy"]]) {
    "This backup was made before secret storage: it has a passphrase of its own."
  }
}

# Where the key of the backup is not here.
unlock_card <- function(backup) {
  shiny::tagList(
    page_card(
      "Connect this device to the backup",
      page_form(
        "backup_enable",
        recovery_field(backup_hint(backup)),
        button = "Connect",
        busy = "Connecting\u2026"
      )
    ),
    page_card(
      "If the key of the backup is lost",
      shiny::tags[["p"]](
        "A new backup takes the place of this one. Do this only if no device of ",
        "yours reads the backup, and you have neither its key nor its passphrase."
      ),
      page_form(
        "backup_replace",
        recovery_field(
          "Of secret storage, which keeps the key of the new backup."
        ),
        button = "Make a new backup in its place",
        busy = "Making it\u2026",
        confirm = paste(
          "The backup is deleted from the server with all keys in it, and a new",
          "one is made. Messages whose keys are only in the old backup can never",
          "be read again."
        ),
        danger = TRUE
      )
    )
  )
}

delete_card <- function(backup) {
  count <- backup[["count"]] %||% 0
  page_card(
    "Delete backup",
    shiny::tags[["p"]](
      "Before that you may wish to ",
      view_link("keys", "export your keys"),
      " to a file."
    ),
    page_form(
      "backup_delete",
      button = "Delete backup",
      busy = "Deleting\u2026",
      confirm = paste0(
        "The backup is deleted from the server, with all versions and ",
        plural(count, "key"),
        " in it. Keys that are on your devices stay there. If you lose your devices, ",
        "your encrypted messages can never be read again. New devices cannot read ",
        "what was said before.\n\nYour other devices back up no more keys either."
      ),
      danger = TRUE
    )
  )
}

uploaded_sentence <- function(count) {
  if (count == 0) {
    return("There was nothing to back up.")
  }
  paste(plural(count, "key"), "backed up now.")
}

restored_html <- function(keys) {
  tags <- shiny::tags
  restored <- sum(keys[["restored"]])
  rooms <- length(unique(keys[["room_id"]][keys[["restored"]]]))
  shiny::tagList(
    tags[["p"]](
      if (nrow(keys) == 0L) {
        page_mark("warn", "The backup has no keys.")
      } else if (restored == 0L) {
        page_mark("bad", "No key could be restored.")
      } else {
        page_mark(
          "good",
          paste0(
            plural(restored, "key"),
            " of ",
            plural(rooms, "room"),
            " restored."
          )
        )
      }
    ),
    reasons_html(keys[["reason"]], "not restored")
  )
}

# How often each reason was given, where some were.
reasons_html <- function(reasons, what) {
  tags <- shiny::tags
  reasons <- plain_line(reasons[!is.na(reasons)])
  if (length(reasons) == 0L) {
    return(NULL)
  }
  counts <- sort(table(reasons), decreasing = TRUE)
  shiny::tagList(
    tags[["p"]](page_mark(
      "warn",
      plural(length(reasons), "key", "keys", what)
    )),
    tags[["ul"]](unname(Map(
      function(reason, count) {
        tags[["li"]](paste0(format_count(count), ": ", reason))
      },
      names(counts),
      counts
    )))
  )
}

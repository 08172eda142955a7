# The view of the status: whether all is in order, and what is to be done if not.

status_view <- function() {
  page_view(
    "status",
    "Status",
    page_place("status_summary"),
    page_form("status_check", button = "Check again", busy = "Checking\u2026")
  )
}

status_server <- function(page) {
  page_output(page, "status_summary", function() {
    status_html(page[["status"]]())
  })
  on_form(page, "status_check", function(fields) "Checked now.")
  on_form(page, "status_repair", function(fields) {
    repaired <- mx_crypto_repair(
      page[["client"]],
      recovery_key = given_key(fields),
      passphrase = given_passphrase(fields),
      password = field_text(fields, "password"),
      ask = FALSE
    )
    repaired_sentence(repaired)
  })
}

repaired_sentence <- function(repaired) {
  left <- sum(!repaired[["mended"]])
  if (left > 0L) {
    return(paste(plural(left, "problem"), "left: see above."))
  }
  if (nrow(repaired) > 0L) "All is repaired." else "Nothing is out of sync."
}

# One field takes either. A recovery key is 48 characters of base58 that begin with E, in
# groups of four. What nearly is one was mistyped, or pasted with more around it; no
# passphrase that people choose has digits and letters like that.
is_key_like <- function(text) {
  key <- gsub("[\\p{Z}\\p{Cf}\\p{P}\\s]", "", text, perl = TRUE)
  count <- function(of) nchar(gsub(paste0("[^", of, "]"), "", key))
  grepl("^E[1-9A-HJ-NP-Za-km-z]{47}$", key) ||
    grepl("^[Ee][0-9A-Za-z]{39,59}$", key) &&
      count("0-9") >= 2L &&
      count("A-Z") >= 4L &&
      count("a-z") >= 4L
}

given_key <- function(fields, name = "recovery_key") {
  text <- field_text(fields, name)
  if (!is.null(text) && is_key_like(text)) text
}

given_passphrase <- function(fields, name = "recovery_key") {
  text <- field_text(fields, name)
  if (!is.null(text) && !is_key_like(text)) text
}

status_html <- function(status) {
  cross_signing <- status[["cross_signing"]]
  held <- sum(cross_signing[["private_keys_cached"]])
  shiny::tagList(
    if (status[["recovery_key"]]) {
      shiny::tags[["p"]](
        class = "mx-summary",
        page_mark("warn", "A new recovery key waits to be saved."),
        " ",
        view_link("recovery", "Save it.")
      )
    },
    problems_html(status[["out_of_sync"]]),
    page_card(
      "This device",
      page_facts(
        "Signed by you" = yes_mark(status[["device_signed"]]),
        "Fingerprint" = shiny::tags[["code"]](
          in_groups(status[["fingerprint"]])
        ),
        "Keys go to" = isolation_words[[status[["isolation"]]]],
        "Messages that wait to be sent" = format_count(
          status[["waiting_to_send"]]
        )
      )
    ),
    page_card(
      "Identity (cross-signing)",
      page_facts(
        "Identity" = identity_mark(status),
        "Private keys on this device" = paste(held, "of 3"),
        "Private keys in secret storage" = yes_mark(
          cross_signing[["private_keys_in_secret_storage"]]
        )
      )
    ),
    page_card("Key storage", key_storage_facts(status))
  )
}

key_storage_facts <- function(status) {
  storage <- status[["key_storage"]]
  page_facts(
    "Key storage" = yes_mark(storage[["on"]], "on", "off"),
    "Recovery" = yes_mark(
      storage[["recovery"]] == "set_up",
      "set up",
      gsub("_", " ", storage[["recovery"]])
    ),
    "Secret storage" = yes_mark(status[["secret_storage"]]),
    "A new device reads the history" = yes_mark(
      storage[["new_device_reads_history"]]
    ),
    "Survives the loss of all devices" = yes_mark(
      storage[["outlives_all_devices"]]
    )
  )
}

problems_html <- function(problems) {
  tags <- shiny::tags
  if (nrow(problems) == 0L) {
    return(tags[["p"]](
      class = "mx-summary",
      page_mark("good", "Your encryption is in order.")
    ))
  }
  item <- function(i) {
    tags[["li"]](
      page_mark("bad", plain_line(problems[["message"]][[i]], 1000L)),
      tags[["br"]](),
      tags[["small"]](problem_help(
        problems[["problem"]][[i]],
        problems[["repair"]][[i]],
        problems[["mendable"]][[i]]
      ))
    )
  }
  tags[["div"]](
    class = "mx-summary",
    tags[["p"]](plural(nrow(problems), "problem"), " found:"),
    tags[["ul"]](lapply(seq_len(nrow(problems)), item)),
    if (any(problems[["mendable"]])) repair_form()
  )
}

# What is to be done, and the view that does it. The verbs name calls of R where they
# cannot repair; the page has other words for that.
problem_help <- function(problem, repair, mendable) {
  help <- problem_views[[problem]]
  sentence <- if (mendable) repair else help[["sentence"]]
  shiny::tagList(
    if (mendable) "Repair: " else "To be done by you: ",
    gsub("[:,;]? *see [?]?mx_[a-z_]+([(][)])?", "", sentence),
    if (!is.null(help)) {
      shiny::tagList(" ", view_link(help[["view"]], help[["link"]]))
    }
  )
}

problem_view <- function(view, link, sentence = NULL) {
  list(view = view, link = link, sentence = sentence)
}

problem_views <- list(
  identity_missing = problem_view("recovery", "Set up encryption."),
  identity_unfinished = problem_view("recovery", "Go on with the set-up."),
  identity_changed = problem_view(
    "recovery",
    "Verify this device again.",
    "Prove the new identity with its recovery key, if you made it."
  ),
  identity_refused = problem_view(
    "recovery",
    "Reset your identity.",
    "Ask whoever runs the server. If that does not help, a new identity does."
  ),
  private_keys_missing_here = problem_view(
    "recovery",
    "Enter the recovery key."
  ),
  private_keys_lost_here = problem_view(
    "verify",
    "Verify this device.",
    paste(
      "Verify this device with another one of yours, which then gives it the keys.",
      "If none has them, only a new identity helps."
    )
  ),
  private_keys_under_other_key = NULL,
  private_keys_not_stored = NULL,
  secret_storage_broken = problem_view(
    "recovery",
    "Reset your identity.",
    "Set up recovery again with another client of yours, or make a new identity."
  ),
  device_unsigned = problem_view(
    "recovery",
    "Verify this device.",
    "Verify this device, with another one or with the recovery key."
  ),
  backup_missing = problem_view(
    "backup",
    "Set up key backup.",
    "Set up recovery first, which keeps the key of the backup."
  ),
  backup_unfinished = problem_view("backup", "See the key backup."),
  backup_broken = problem_view(
    "backup",
    "See the key backup.",
    "Tell whoever runs the server. When it works, come back."
  ),
  backup_refused = problem_view(
    "backup",
    "See the key backup.",
    paste(
      "Find out which client of yours made it. Message keys are on your devices: keep",
      "them."
    )
  ),
  backup_key_missing_here = problem_view(
    "backup",
    "Connect this device to the backup.",
    "Connect this device to the backup, or verify it with another one of yours."
  ),
  backup_key_differs = problem_view(
    "backup",
    "Connect this device to the backup.",
    "Verify this device with one that reads the backup, or give what opens it."
  ),
  backup_unused = problem_view(
    "backup",
    "Switch it on.",
    "The key of the backup has to be here first."
  ),
  backup_behind = problem_view("backup", "Back up now.")
)

repair_form <- function() {
  page_form(
    "status_repair",
    page_field(
      "recovery_key",
      "Recovery key or passphrase",
      type = "password",
      hint = "Needed where this device lacks keys that secret storage has."
    ),
    page_field(
      "password",
      "Password of the account",
      type = "password",
      hint = "Only where the server asks for it."
    ),
    button = "Repair what can be repaired"
  )
}

yes_mark <- function(flag, yes = "yes", no = "no") {
  if (isTRUE(flag)) page_mark("good", yes) else page_mark("bad", no)
}

identity_mark <- function(status) {
  if (!is.null(status[["identity_refused"]])) {
    page_mark("bad", plain_line(status[["identity_refused"]]))
  } else if (status[["identity_changed"]]) {
    page_mark("bad", "another one than this device knew")
  } else if (is.null(status[["master_key"]])) {
    page_mark("bad", "none")
  } else {
    shiny::tags[["code"]](in_groups(status[["master_key"]]))
  }
}

# Keys are compared by people, in groups of four.
in_groups <- function(key) gsub("(.{4})(?=.)", "\\1 ", key, perl = TRUE)

isolation_words <- c(
  all = "all devices",
  verified_users = "all devices, if those of verified users are signed",
  signed = "devices that their owners signed"
)

# The view of our own devices. What it shows of a device is also shown of the devices of
# other people: page-people.R.

devices_view <- function() {
  page_view("devices", "Devices", silent_place("devices_list"))
}

devices_server <- function(page) {
  client <- page[["client"]]
  page_output(page, "devices_list", function() {
    page[["changed"]]()
    # What the store hears of our devices.
    page[["own"]]()
    devices_html(client)
  })
  devices_actions(page)
}

devices_actions <- function(page) {
  client <- page[["client"]]
  on_form(page, "device_rename", function(fields) {
    name <- field_text(fields, "name")
    if (is.null(name)) {
      mx_abort("Enter a name.", "mx_error_argument")
    }
    mx_device_rename(client, device_field(fields), name)
    "Renamed."
  })
  on_form(page, "device_verify", function(fields) {
    request_own(page, device_field(fields))
    NULL
  })
  on_form(page, "device_sign", function(fields) {
    mx_device_sign(client, device_field(fields), fields[["fingerprint"]])
    "Signed: all your devices and other people know it."
  })
  on_form(page, "device_block", function(fields) {
    blocked <- isTRUE(fields[["blocked"]])
    user_id <- string_or_empty(fields[["user"]])
    mx_device_block(client, user_id, device_field(fields), blocked)
    if (blocked) "Blocked." else "Not blocked any more."
  })
  on_form(page, "devices_sign_out", function(fields) {
    sign_out_devices(client, fields)
  })
}

device_field <- function(fields) string_or_empty(fields[["device"]])

# Signing out ------------------------------------------------------------------

sign_out_devices <- function(client, fields) {
  device_ids <- picked(fields)
  n <- length(device_ids)
  if (n == 0L) {
    mx_abort("Tick the devices to sign out.", "mx_error_argument")
  }
  lost <- lost_with(client, device_ids)
  if (length(lost) > 0L && !isTRUE(fields[["sure"]])) {
    mx_abort(
      # What is said first is not cut off.
      paste(
        c("Tick the last box to sign out all the same.", lost),
        collapse = " "
      ),
      "mx_error_declined"
    )
  }
  # What is lost was said, and agreed to.
  withCallingHandlers(
    mx_device_delete(
      client,
      device_ids,
      password = field_text(fields, "password"),
      ask = FALSE
    ),
    mx_warning_keys_lost = function(condition) rlang::cnd_muffle(condition)
  )
  paste("Signed out:", paste0(plural(n, "device"), "."))
}

# The devices whose boxes are ticked.
picked <- function(fields) {
  is_box <- startsWith(names(fields) %||% character(), "device_")
  ticked <- vapply(fields[is_box], isTRUE, NA)
  sub("^device_", "", names(ticked)[ticked])
}

sign_out_form <- function(client, devices) {
  tags <- shiny::tags
  if (nrow(devices) == 0L) {
    return(NULL)
  }
  ids <- devices[["device_id"]]
  lost <- lost_with(client, ids)
  box <- function(i) {
    tags[["div"]](
      class = "mx-pick",
      page_checkbox(
        paste0("device_", ids[[i]]),
        shiny::tagList(
          tags[["bdi"]](device_label(
            devices[["display_name"]][[i]],
            ids[[i]]
          )),
          seen_html(devices[i, ])
        )
      )
    )
  }
  page_card(
    "Sign out devices",
    page_form(
      "devices_sign_out",
      tags[["fieldset"]](
        class = "mx-choice",
        tags[["legend"]]("Devices that you no longer need or do not know"),
        lapply(seq_along(ids), box)
      ),
      page_field(
        "password",
        "Password of the account",
        type = "password",
        hint = "Only where the server asks for it."
      ),
      if (length(lost) > 0L) {
        shiny::tagList(
          tags[["p"]](
            "If you sign out all of them: ",
            page_mark("warn", paste(lost, collapse = " "))
          ),
          page_checkbox("sure", "Sign out even if this is lost")
        )
      },
      button = "Sign out devices",
      picked = c(
        none = "Sign out devices",
        one = "Sign out 1 device",
        many = "Sign out %d devices"
      ),
      confirm = paste(
        "The devices that you ticked are signed out. Message keys that they have",
        "put neither into key storage nor given to another device are lost with",
        "them. To use one again, you must sign in and verify it."
      ),
      danger = TRUE
    )
  )
}

# The list ---------------------------------------------------------------------

devices_html <- function(client) {
  devices <- mx_devices(client, client[["user_id"]])
  without_keys <- without_keys(client, devices)
  is_this <- devices[["this_device"]]
  others <- devices[!is_this, , drop = FALSE]
  # What needs attention first, then what was used last.
  seen <- as.numeric(others[["last_seen_ts"]])
  others <- others[order(others[["trust"]], -seen), , drop = FALSE]
  columns <- c("device_id", "display_name", "last_seen_ts", "last_seen_ip")
  all_others <- rbind(
    others[!others[["dehydrated"]], columns],
    without_keys[columns]
  )
  shiny::tagList(
    page_card("This device", this_device_html(devices[is_this, ])),
    page_card(
      "Your other devices",
      if (nrow(all_others) == 0L) shiny::tags[["p"]]("You have no other one."),
      rows_html(others, own_device_html),
      rows_html(without_keys, keyless_html)
    ),
    sign_out_form(client, all_others)
  )
}

rows_html <- function(rows, html) {
  lapply(seq_len(nrow(rows)), function(i) html(rows[i, ]))
}

# Logins that have no encryption keys: mx_devices() lists devices with keys.
without_keys <- function(client, devices) {
  signed_in <- signed_in_devices(client)
  known <- devices[["device_id"]]
  signed_in[!signed_in[["device_id"]] %in% known, , drop = FALSE]
}

this_device_html <- function(device) {
  shiny::tagList(
    page_facts(
      "Name" = device_name(device),
      "Id" = shiny::tags[["code"]](plain_line(device[["device_id"]])),
      "Trust" = device_mark(device, own = TRUE),
      "Last seen" = seen_html(device, before = NULL),
      "Fingerprint" = fingerprint_html(device)
    ),
    page_details("device-this", "Rename", rename_form(device))
  )
}

own_device_html <- function(device) {
  is_plain <- is.na(device[["problem"]]) && !device[["dehydrated"]]
  device_details(
    device,
    shiny::tagList(device_mark(device, own = TRUE), seen_html(device)),
    if (is_plain && device[["trust"]] != "verified") {
      shiny::tagList(
        device_form("device_verify", device, button = "Verify"),
        sign_form(device)
      )
    },
    if (!device[["dehydrated"]]) rename_form(device),
    if (is_plain) block_form(device)
  )
}

keyless_html <- function(device) {
  device[["user_id"]] <- ""
  device_details(
    device,
    shiny::tagList(
      page_mark("plain", "No encryption: it cannot read encrypted messages"),
      seen_html(device)
    ),
    rename_form(device)
  )
}

# A device, of which more is shown on demand.
device_details <- function(device, line, ...) {
  tags <- shiny::tags
  key <- rlang::hash(list(device[["user_id"]], device[["device_id"]]))
  page_details(
    paste0("device-", key),
    shiny::tagList(
      tags[["strong"]](device_name(device)),
      " ",
      tags[["code"]](plain_line(device[["device_id"]], 60L)),
      tags[["span"]](class = "mx-line", line)
    ),
    page_facts("Fingerprint" = fingerprint_html(device)),
    ...
  )
}

device_form <- function(id, device, ..., button, values = list()) {
  values <- c(list(device = device[["device_id"]]), values)
  page_form(id, ..., button = button, values = values)
}

rename_form <- function(device) {
  name <- device[["display_name"]]
  device_form(
    "device_rename",
    device,
    page_field(
      "name",
      "Name",
      value = if (!is.na(name)) plain_line(name),
      maxlength = 200,
      hint = "Other people see it."
    ),
    button = "Rename",
    plain = TRUE
  )
}

# What was compared is sent back: if the device has another key by then, it is not signed.
sign_form <- function(device) {
  device_form(
    "device_sign",
    device,
    shiny::tags[["p"]](
      "Without a verification: compare the fingerprint with what the device",
      " shows of itself, all of it."
    ),
    button = "It is the same: sign the device",
    values = list(fingerprint = device[["ed25519"]]),
    confirm = paste(
      "Sign this device? Everybody who trusts you then trusts it, and it reads",
      "what is sent from now on."
    ),
    plain = TRUE
  )
}

block_form <- function(device) {
  blocked <- device[["blocked"]]
  device_form(
    "device_block",
    device,
    shiny::tags[["p"]](
      if (blocked) {
        "It gets no message keys from this device."
      } else {
        "A blocked device gets no message keys from this device. That counts here only."
      }
    ),
    button = if (blocked) "Unblock" else "Block",
    values = list(user = device[["user_id"]], blocked = !blocked),
    plain = TRUE
  )
}

# Words ------------------------------------------------------------------------

device_name <- function(device) {
  name <- plain_line(string_or_empty(device[["display_name"]]), 60L)
  if (!nzchar(name)) {
    name <- plain_line(device[["device_id"]], 60L)
  }
  shiny::tags[["bdi"]](name)
}

fingerprint_html <- function(device) {
  key <- device[["ed25519"]]
  if (is_string(key)) shiny::tags[["code"]](in_groups(key))
}

seen_html <- function(device, before = "Last seen ") {
  time <- device[["last_seen_ts"]]
  if (length(time) == 0L || is.na(time)) {
    return(NULL)
  }
  address <- device[["last_seen_ip"]]
  shiny::tags[["small"]](
    class = "mx-seen",
    before,
    shiny::HTML(time_html(time)),
    if (is_string(address)) {
      shiny::tagList(" at ", shiny::tags[["bdi"]](plain_line(address, 60L)))
    }
  )
}

# `own`: of our own devices. Of others, their owner is somebody else.
device_mark <- function(device, own) {
  problem <- device[["problem"]]
  if (!is.na(problem)) {
    return(page_mark(
      "bad",
      paste("Refused, it gets no keys:", plain_line(problem))
    ))
  }
  if (device[["dehydrated"]]) {
    return(page_mark(
      "plain",
      "Dehydrated device: it receives keys while no device is signed in"
    ))
  }
  trust <- as.character(device[["trust"]])
  if (trust == "verified" && device[["locally_verified"]]) {
    return(page_mark("good", "Verified on this device alone"))
  }
  words <- if (own) own_device_words else other_device_words
  level <- switch(trust, verified = , signed = "good", unsigned = "warn", "bad")
  page_mark(level, words[[trust]])
}

other_device_words <- c(
  none = "Not trusted",
  blocked = "Blocked: it gets no keys from this device",
  key_changed = "Another key than before: it is not trusted",
  unknown_device = "Unknown",
  identity_changed = "Signed by an identity that has changed",
  unsigned = "Not signed by its owner",
  not_guaranteed = "Not certain",
  signed = "Signed by its owner",
  verified = "Verified"
)

own_device_words <- replace(
  other_device_words,
  c("unsigned", "signed"),
  c("Not verified", "Signed by your identity")
)

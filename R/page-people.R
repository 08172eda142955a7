# The view of rooms and people: who is in a room, and how far each is trusted.

people_view <- function() {
  page_view(
    "people",
    "Rooms and people",
    silent_place("people_rooms"),
    silent_place("people_person"),
    page_place("people_count"),
    silent_place("people_members"),
    silent_place("people_isolation")
  )
}

# How many members are shown at first, and more at each press.
members_shown <- 50L

people_server <- function(page) {
  client <- page[["client"]]
  # What was chosen in this tab.
  chosen <- nothing_chosen()
  page_output(page, "people_rooms", function() {
    chosen[["listed"]]
    rooms_form(listed_rooms(client))
  })
  # What the store hears of identities and devices is shown when it comes.
  members <- followed(page, 3000, function() {
    page[["changed"]]()
    members_now(client, chosen[["members"]])
  })
  person <- followed(page, 3000, function() {
    person_known(client, chosen[["person"]])
  })
  page_output(page, "people_count", function() count_html(members()))
  page_output(page, "people_members", function() {
    members_html(members(), chosen[["filter"]], chosen[["most"]])
  })
  page_output(page, "people_person", function() {
    page[["changed"]]()
    person()
    user_id <- chosen[["person"]]
    if (!is.null(user_id)) person_html(client, user_id)
  })
  page_output(page, "people_isolation", function() {
    page[["changed"]]()
    isolation_html(mx_isolation_mode(client))
  })
  people_actions(page, chosen)
}

nothing_chosen <- function() {
  shiny::reactiveValues(
    members = NULL,
    filter = NULL,
    most = members_shown,
    person = NULL,
    listed = 0
  )
}

people_actions <- function(page, chosen) {
  client <- page[["client"]]
  user_field <- function(fields) string_or_empty(fields[["user"]])
  on_form(page, "people_list", function(fields) {
    chosen[["listed"]] <- chosen[["listed"]] + 1
    NULL
  })
  on_form(page, "people_room", function(fields) {
    room <- string_or_empty(fields[["room"]])
    members <- members_of(client, room)
    # The server is asked for all of them once.
    mx_user_trust(client, members[["user_id"]])
    chosen[["members"]] <- members
    chosen[["filter"]] <- NULL
    chosen[["most"]] <- members_shown
    chosen[["person"]] <- NULL
    NULL
  })
  on_form(page, "people_filter", function(fields) {
    chosen[["filter"]] <- field_text(fields, "text")
    chosen[["most"]] <- members_shown
    NULL
  })
  on_form(page, "people_more", function(fields) {
    chosen[["most"]] <- chosen[["most"]] + members_shown
    NULL
  })
  on_form(page, "people_show", function(fields) {
    chosen[["person"]] <- user_field(fields)
    show_view(page, "people", "person")
    NULL
  })
  on_form(page, "people_close", function(fields) {
    chosen[["person"]] <- NULL
    NULL
  })
  on_form(page, "people_pin", function(fields) {
    mx_user_pin(client, user_field(fields))
    "The new identity is accepted. It is not verified."
  })
  on_form(page, "people_withdraw", function(fields) {
    mx_user_withdraw(client, user_field(fields))
    "The verification is withdrawn. The new identity is not verified."
  })
  on_form(page, "people_isolation_mode", function(fields) {
    mode <- mx_isolation_mode(client, string_or_empty(fields[["mode"]]))
    paste0("Keys go to ", isolation_words[[mode]], ".")
  })
}

# Rooms ------------------------------------------------------------------------

# Those that we are in, with a label each.
listed_rooms <- function(client) {
  rooms <- mx_rooms(client)
  rooms <- rooms[rooms[["membership"]] == "join", , drop = FALSE]
  label <- plain_line(rooms[["name"]], 80L)
  label[!nzchar(label)] <- NA
  label <- ifelse(is.na(label), plain_line(rooms[["alias"]]), label)
  nameless <- utils::head(which(is.na(label)), most_nameless)
  label[nameless] <- vapply(
    rooms[["room_id"]][nameless],
    function(room_id) named_by_members(client, room_id),
    ""
  )
  label <- ifelse(is.na(label), plain_line(rooms[["room_id"]]), label)
  encrypted <- rooms[["encrypted"]]
  rooms[["label"]] <- paste0(
    label,
    ifelse(
      is.na(encrypted),
      "",
      ifelse(encrypted, " \u2013 encrypted", " \u2013 not encrypted")
    )
  )
  rooms[order(lower_case(rooms[["label"]])), , drop = FALSE]
}

# Of how many rooms without a name the members are asked for.
most_nameless <- 20L

# What other clients call a room without a name: by who else is in it.
named_by_members <- function(client, room_id) {
  members <- tryCatch(
    members_of(client, room_id)[["user_id"]],
    mx_error = function(condition) NULL
  )
  others <- plain_line(setdiff(members, client[["user_id"]]), 60L)
  more <- length(others) - 3L
  if (length(others) == 0L) {
    return(NA_character_)
  }
  paste0(
    "With ",
    toString(utils::head(others, 3L)),
    if (more > 0L) paste(" and", plural(more, "other"))
  )
}

rooms_form <- function(rooms) {
  page_card(
    "Room",
    if (nrow(rooms) == 0L) {
      shiny::tags[["p"]]("You are in no room.")
    } else {
      page_form(
        "people_room",
        page_select(
          "room",
          "Room",
          rlang::set_names(rooms[["label"]], rooms[["room_id"]])
        ),
        button = "Show its members"
      )
    },
    page_form("people_list", button = "List the rooms again", plain = TRUE)
  )
}

# Members ----------------------------------------------------------------------

# The members with their trust as the store knows it, those who need attention first.
members_now <- function(client, members) {
  if (is.null(members)) {
    return(NULL)
  }
  ids <- members[["user_id"]]
  trust <- data.frame(core(machine_user_trust(machine_of(client), ids)))
  trust <- trust[match(ids, trust[["user_id"]]), , drop = FALSE]
  members <- cbind(members, trust[setdiff(names(trust), "user_id")])
  members[["standing"]] <- standing_of(members)
  members[["this_user"]] <- ids == client[["user_id"]]
  at <- order(match(members[["standing"]], names(standing_words)), ids)
  members[at, , drop = FALSE]
}

# Trust and devices of a person, without a request.
person_known <- function(client, user_id) {
  if (!is.null(user_id)) {
    machine <- machine_of(client)
    list(
      core(machine_user_trust(machine, user_id)),
      core(machine_devices(machine, user_id))
    )
  }
}

# How far users are trusted, in one word of `standing_words`.
standing_of <- function(trust) {
  ifelse(
    trust[["needs_approval"]],
    "changed",
    ifelse(
      is.na(trust[["master_key"]]),
      "none",
      ifelse(trust[["verified"]], "verified", "unverified")
    )
  )
}

# In the order in which they need attention.
standing_words <- c(
  changed = "Identity changed",
  none = "No identity",
  unverified = "Not verified",
  verified = "Verified"
)

standing_mark <- function(standing) {
  level <- switch(
    standing,
    changed = "bad",
    none = "warn",
    verified = "good",
    "plain"
  )
  page_mark(level, standing_words[[standing]])
}

count_html <- function(members) {
  if (is.null(members)) {
    return(NULL)
  }
  standings <- table(factor(members[["standing"]], names(standing_words)))
  counts <- standings[standings > 0]
  words <- tolower(standing_words[names(counts)])
  shiny::tags[["p"]](paste0(
    plural(nrow(members), "member"),
    ": ",
    paste(vapply(counts, format_count, ""), words, collapse = ", "),
    "."
  ))
}

members_html <- function(members, filter, most) {
  if (is.null(members)) {
    return(NULL)
  }
  found <- filtered(members, filter)
  shown <- utils::head(found, most)
  more <- nrow(found) - nrow(shown)
  column <- function(html) lapply(seq_len(nrow(shown)), html)
  page_card(
    "Members",
    key = "members",
    if (nrow(members) > 10L) {
      page_form(
        "people_filter",
        page_field("text", "Only those whose name or id has"),
        button = "Filter"
      )
    },
    page_table(
      "Members",
      list(
        Member = column(function(i) member_name(shown[i, ])),
        Trust = column(function(i) standing_mark(shown[["standing"]][[i]])),
        More = column(function(i) show_form(shown[i, ]))
      ),
      empty = "No member has that."
    ),
    if (more > 0L) {
      page_form(
        "people_more",
        button = paste("Show more of the other", format_count(more)),
        plain = TRUE
      )
    }
  )
}

filtered <- function(members, filter) {
  if (is.null(filter)) {
    return(members)
  }
  has <- function(text) {
    grepl(lower_case(filter), lower_case(text), fixed = TRUE)
  }
  found <- has(members[["user_id"]]) | has(members[["display_name"]])
  members[found, , drop = FALSE]
}

member_name <- function(member) {
  tags <- shiny::tags
  name <- plain_line(string_or_empty(member[["display_name"]]), 60L)
  shiny::tagList(
    if (nzchar(name)) {
      shiny::tagList(tags[["bdi"]](name), tags[["br"]]())
    },
    tags[["small"]](tags[["bdi"]](plain_line(member[["user_id"]]))),
    if (member[["membership"]] == "invite") {
      tags[["small"]](" (invited)")
    },
    if (member[["this_user"]]) tags[["small"]](" (you)")
  )
}

# A button for each member needs a name of its own.
show_form <- function(member) {
  page_form(
    "people_show",
    button = shiny::tagList(
      "Devices and trust",
      unseen(paste(" of", plain_line(member[["user_id"]])))
    ),
    values = list(user = member[["user_id"]]),
    plain = TRUE
  )
}

# One person -------------------------------------------------------------------

person_html <- function(client, user_id) {
  tags <- shiny::tags
  trust <- mx_user_trust(client, user_id)
  devices <- mx_devices(client, user_id)
  is_own <- user_id == client[["user_id"]]
  who <- tags[["bdi"]](plain_line(user_id))
  page_card(
    who,
    key = "person",
    page_facts(
      "Trust" = standing_mark(standing_of(trust)),
      "Identity" = if (is.na(trust[["master_key"]])) {
        "none"
      } else {
        tags[["code"]](in_groups(trust[["master_key"]]))
      }
    ),
    if (is_own) {
      tags[["p"]](
        "This is you. ",
        tags[["a"]](href = "#devices", "Your devices")
      )
    } else {
      person_actions(trust)
    },
    tags[["h4"]]("Devices"),
    if (nrow(devices) == 0L) tags[["p"]]("No device with encryption is known."),
    rows_html(devices, if (is_own) brief_device_html else their_device_html),
    page_form("people_close", button = "Close", plain = TRUE)
  )
}

brief_device_html <- function(device) {
  device_details(device, device_mark(device, own = TRUE))
}

their_device_html <- function(device) {
  device_details(
    device,
    device_mark(device, own = FALSE),
    if (is.na(device[["problem"]])) block_form(device)
  )
}

# What can be done about the trust in a person.
person_actions <- function(trust) {
  tags <- shiny::tags
  user_id <- trust[["user_id"]]
  shiny::tagList(
    tags[["p"]](switch(
      standing_of(trust),
      changed = paste(
        "The server returns another identity than before. Either the account was",
        "set up again, or somebody has taken its place. Ask in another way than",
        "through this server, best by verifying again.",
        if (trust[["was_verified"]]) {
          "Until then nothing is sent to rooms with this person."
        }
      ),
      none = paste(
        "This person\u2019s client has not set up an identity: nobody can verify",
        "them, and their devices are not signed."
      ),
      unverified = paste(
        "The identity is the first one that this device saw. Verify it, to know",
        "that nobody is between you."
      ),
      verified = "You have verified this person, and all your devices know it."
    )),
    if (!trust[["verified"]] && !is.na(trust[["master_key"]])) {
      page_form(
        "verify_user",
        page_checkbox(
          "create",
          "If you share no room with this person alone, create one"
        ),
        button = "Verify",
        values = list(user = user_id)
      )
    },
    settle_form(trust)
  )
}

# Where the identity is another one than before. What was verified stays so for as long as
# it is the same: the signature is on the server.
settle_form <- function(trust) {
  user_id <- trust[["user_id"]]
  unverified <- trust[["was_verified"]] && !trust[["verified"]]
  if (!trust[["needs_approval"]] && !unverified) {
    return(NULL)
  }
  page_form(
    if (unverified) "people_withdraw" else "people_pin",
    button = if (unverified) {
      "Withdraw the verification"
    } else {
      "Accept the new identity"
    },
    values = list(user = user_id),
    confirm = paste0(
      "Accept the new identity of ",
      printable(user_id),
      " without verifying it? If somebody has taken their place, that one",
      " reads what you send."
    ),
    danger = TRUE
  )
}

# Isolation --------------------------------------------------------------------

isolation_html <- function(mode) {
  page_card(
    "Who gets the keys of your messages",
    shiny::tags[["p"]]("In all rooms, for what is sent from this device."),
    page_form(
      "people_isolation_mode",
      page_choice("mode", "Keys go to", isolation_choices, mode),
      button = "Change"
    )
  )
}

isolation_choices <- c(
  signed = paste(
    "Devices that their owners have signed (recommended). A server cannot add a",
    "device that reads along. People whose client has no identity cannot read",
    "your messages."
  ),
  verified_users = paste(
    "All devices; but nothing is sent where somebody whom you verified has a",
    "device that is not signed."
  ),
  all = paste(
    "All devices. A server that adds a device to an account can read what you",
    "send to it."
  )
)

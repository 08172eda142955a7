# A Shiny module: a room, read and written. What the page shows of others is made here,
# as HTML in which all text is escaped; inst/shiny/room.js puts it into the page.

#' A room in a Shiny app
#'
#' A Shiny module that shows the messages of a room, and sends what people type. Put
#' `mx_room_ui()` where the room is to be, and call `mx_room_server()` with the same `id` in
#' the server function.
#'
#' Each message has its sender, its time, and a mark for the trust in it (see
#' [mx_events]); a message that is not known to be from its sender says so in words. What
#' cannot be read is shown with the reason. Edits and deletions are shown as such. Files
#' and pictures are named, and not downloaded: see [mx_media_download()]. HTML of messages
#' is cleaned by [mx_html()] if the package xml2 is installed; otherwise their plain text
#' is shown.
#'
#' Enter sends, Shift and Enter begin a new line. While a message is sent, the app is not
#' blocked. If the server cannot be reached, the message waits in the outbox and is sent
#' later. If it is refused, the text stays where it was typed.
#'
#' @section Who reads and writes:
#' Everybody who can open the app reads the room as the client, and all that they write
#' comes from the client: Matrix does not know who uses the app. Put the app behind a
#' sign-in of your own if not everybody may do so.
#'
#' The page holds the messages that it shows, and nothing secret: no keys, tokens or
#' paths.
#'
#' @inheritParams mx_reactive_events
#' @param id The id of the module.
#' @param height The height of the list of messages, as CSS.
#' @param room A room id, alias, link or name; `NULL` for the client's own room.
#' @param last The most messages to show, the newest: at most 1000. Edits and deletions
#'   that came since count, too.
#' @return `mx_room_ui()`: a tag. `mx_room_server()`: the reactive of
#'   [mx_reactive_events()] with the events that are shown, invisibly.
#' @section Errors:
#' Those of [mx_reactive_events()]; they are shown as sentences in the page, but for
#' `mx_error_argument` and `mx_error_room`.
#' @family receiving
#' @examplesIf rlang::is_installed(c("shiny", "later", "promises"))
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, name = "Pipeline")
#'
#' app <- shiny::shinyApp(
#'   shiny::fluidPage(mx_room_ui("pipeline")),
#'   function(input, output, session) mx_room_server("pipeline", alice, room)
#' )
#' if (interactive()) app
#' @export
mx_room_ui <- function(id, height = "30rem") {
  check_package("shiny")
  check_string(id)
  height <- check_css_length(height)
  ns <- shiny::NS(id)
  tags <- shiny::tags
  shiny::tagList(
    room_dependency(),
    tags[["section"]](
      class = "mx-room",
      "aria-label" = "Room",
      tags[["div"]](
        id = ns("log"),
        class = "mx-room-log",
        role = "log",
        "aria-live" = "polite",
        "aria-label" = "Messages",
        # A list that scrolls must be reached by the keyboard.
        tabindex = "0",
        style = paste0("height:", height)
      ),
      # Alerts are read aloud when their text changes, so they must be there before.
      tags[["p"]](
        id = ns("state"),
        class = "mx-room-alert shiny-text-output",
        role = "alert"
      ),
      tags[["form"]](
        id = ns("form"),
        class = "mx-room-form",
        "data-input" = ns("send"),
        tags[["label"]](
          tags[["span"]]("Message"),
          # Without an id, Shiny does not send what is not finished.
          tags[["textarea"]](rows = "2", "aria-keyshortcuts" = "Enter")
        ),
        # With a button of type `submit` in the page, Shiny holds back all inputs.
        tags[["button"]](type = "button", class = "btn btn-primary", "Send")
      ),
      tags[["p"]](class = "mx-room-form-alert", role = "alert")
    )
  )
}

check_css_length <- function(height, call = caller_env()) {
  check_string(height, "height", call = call)
  tryCatch(shiny::validateCssUnit(height), error = function(condition) {
    wanted <- "a length of CSS, such as \"30rem\" or \"400px\""
    argument_abort("height", wanted, call, height)
  })
}

room_dependency <- function() {
  htmltools::htmlDependency(
    "mxcrypt-room",
    as.character(utils::packageVersion("mxcrypt")),
    src = "shiny",
    package = "mxcrypt",
    script = "room.js",
    stylesheet = "room.css"
  )
}

#' @rdname mx_room_ui
#' @export
mx_room_server <- function(
  id,
  client,
  room = NULL,
  last = 100,
  history = 50,
  consumer = "mx_shiny",
  session = shiny::getDefaultReactiveDomain()
) {
  check_shiny()
  check_string(id)
  check_client(client)
  last <- min(check_number(last, least = 1), 1000)
  check_shiny_session(session)
  room_id <- resolve_room(client, room)
  shiny::moduleServer(
    id,
    function(input, output, session) {
      events <- mx_reactive_events(
        client,
        room_id,
        types = c(
          "m.room.message",
          "m.room.redaction",
          "m.room.encrypted",
          "mxcrypt.send_failed"
        ),
        last = last,
        history = history,
        consumer = consumer,
        session = session
      )
      feed <- feed_of(client, consumer)
      people <- people_of(feed, room_id)
      output[["log"]] <- shown_by_script(function() {
        show_log(events, people)
      })
      output[["form"]] <- shown_by_script(send_form(input, client, room_id))
      output[["state"]] <- shiny::renderText({
        shiny::invalidateLater(15000)
        listening_sentence(events, feed[["listener"]])
      })
      # A page in the background still collects.
      for (name in c("log", "form", "state")) {
        shiny::outputOptions(output, name, suspendWhenHidden = FALSE)
      }
      invisible(events)
    },
    session = session
  )
}

# An output whose value room.js shows.
shown_by_script <- function(value) {
  shiny::createRenderFunction(value)
}

# Sending ----------------------------------------------------------------------

# Sends what comes from the form, and returns a function that says how the last one went:
# its number, whether the text is dealt with, and a sentence if not all is well.
send_form <- function(input, client, room_id) {
  outcome <- shiny::reactiveVal(NULL)
  busy <- FALSE
  end <- function(number, done, sentence = "") {
    outcome(list(number = number, done = done, sentence = sentence))
  }
  shiny::observeEvent(input[["send"]], {
    typed <- typed_text(input[["send"]])
    number <- typed[["number"]]
    if (is.null(typed[["text"]])) {
      end(number, FALSE, "There is no text to send.")
    } else if (busy) {
      end(number, FALSE, "The message before is still being sent.")
    } else {
      busy <<- TRUE
      session <- shiny::getDefaultReactiveDomain()
      sent <- send_typed(client, room_id, typed[["text"]])
      promises::then(
        sent,
        function(id) {
          busy <<- FALSE
          end(number, TRUE)
        },
        function(condition) {
          busy <<- FALSE
          waits <- length(condition[["numbers"]]) > 0L
          end(number, waits, sending_failed(condition, waits))
        }
      )
    }
    # Shiny would wait for a promise.
    NULL
  })
  outcome
}

# Arguments are checked at once, all else later.
send_typed <- function(client, room_id, text) {
  tryCatch(
    mx_send_text_async(client, room_id, text),
    mx_error = function(condition) promises::promise_reject(condition)
  )
}

# What a browser sent may be anything.
typed_text <- function(value) {
  text <- if (is.list(value)) value[["text"]]
  number <- if (is.list(value)) value[["number"]]
  is_text <- is_string(text) && validUTF8(text) && grepl("[^[:space:]]", text)
  is_number <- is.numeric(number) && length(number) == 1L && is.finite(number)
  list(
    text = if (is_text) text,
    number = if (is_number) number else 0
  )
}

sending_failed <- function(condition, waits) {
  if (waits) {
    return(paste(
      "The server was not reached. The message waits, and is sent when the server is",
      "back."
    ))
  }
  page_sentence(condition)
}

# The sentence of a condition, without the lines for those who write R.
page_sentence <- function(condition) {
  text <- condition[["message"]]
  text <- if (is_string(text)) text else error_text(condition)
  first <- strsplit(text, "\n", fixed = TRUE)[[1]][[1]]
  refused <- condition[["errcode"]]
  paste0(
    shortened(printable(first), 300L),
    if (is_string(refused)) paste0(" (", printable(refused), ")")
  )
}

# The log ----------------------------------------------------------------------

# What the page shows: for each message a key and its HTML. After a failure, the page keeps
# what it shows.
show_log <- function(events, people) {
  events <- tryCatch(events(), mx_error = function(condition) NULL)
  if (is.null(events)) {
    return(NULL)
  }
  messages <- conversation(events)
  id <- messages[["event_id"]]
  id[is.na(id)] <- "local"
  html <- message_html(messages, names_of(people, messages[["sender"]]))
  # Vectors of length one must stay vectors in JSON.
  list(keys = I(make.unique(id)), html = I(html))
}

# What is wrong with the listener, or nothing.
listening_sentence <- function(events, listener) {
  failure <- tryCatch(
    {
      events()
      NULL
    },
    mx_error = identity
  )
  if (!is.null(failure)) {
    return(page_sentence(failure))
  }
  status <- listener[["status"]]()
  # A poll takes 30 seconds if there is nothing new.
  if (status[["silent_for"]] > 90) {
    last <- max(status[["since"]], status[["last_sync"]], na.rm = TRUE)
    time <- format(last, "%Y-%m-%d %H:%M UTC", tz = "UTC")
    return(paste0(
      "The server was not reached since ",
      time,
      ". New tries follow."
    ))
  }
  ""
}

# The messages of events, with edits and deletions applied.
conversation <- function(events) {
  edits <- which(!is.na(events[["replaces"]]))
  targets <- match(events[["replaces"]][edits], events[["event_id"]])
  for (i in which(!is.na(targets))) {
    events <- with_edit(events, targets[[i]], edits[[i]])
  }
  is_deleted <- events[["redacted"]] |
    events[["event_id"]] %in% stats::na.omit(events[["redacts"]])
  events[["redacted"]] <- is_deleted
  is_message <- is.na(events[["replaces"]]) &
    events[["type"]] != "m.room.redaction"
  events[is_message, ]
}

with_edit <- function(events, target, edit) {
  content <- events[["content"]][[edit]]
  new <- function(name) string_or_na(json_at(content, "m.new_content", name))
  body <- new("body")
  if (is.na(body) || events[["redacted"]][[edit]]) {
    return(events)
  }
  is_html <- new("format") %in% "org.matrix.custom.html"
  html <- if (is_html) new("formatted_body") else NA_character_
  events[["body"]][[target]] <- body
  events[["formatted_body"]][[target]] <- html
  events[["edited"]][[target]] <- TRUE
  events[["trust"]][[target]] <- min(events[["trust"]][c(target, edit)])
  events
}

# HTML -------------------------------------------------------------------------

message_html <- function(messages, names) {
  if (nrow(messages) == 0L) {
    return(character())
  }
  sender <- messages[["sender"]]
  mark <- trust_marks(messages)
  paste0(
    "<article class=\"mx-message mx-",
    mark[["class"]],
    "\"><p class=\"mx-head\">",
    ifelse(
      nzchar(sender),
      paste0(
        "<bdi class=\"mx-name\">",
        escape_html(ifelse(is.na(names), plain_line(sender), names)),
        "</bdi> <bdi class=\"mx-user\">",
        ifelse(is.na(names), "", escape_html(plain_line(sender))),
        "</bdi> "
      ),
      ""
    ),
    time_html(messages[["origin_server_ts"]]),
    mark[["html"]],
    "</p><div class=\"mx-body\" dir=\"auto\">",
    content_html(messages),
    "</div></article>"
  )
}

# room.js shows the time of the reader's clock.
time_html <- function(time) {
  machine <- format(time, "%Y-%m-%dT%H:%M:%SZ", tz = "UTC")
  people <- format(time, "%Y-%m-%d %H:%M UTC", tz = "UTC")
  html <- paste0("<time datetime=\"", machine, "\">", people, "</time>")
  ifelse(is.na(time), "", html)
}

# What a page says of the trust in a message. Below `signed`, in words that all can see.
trust_sentences <- c(
  none = "Not encrypted.",
  blocked = "Sent from a device that this account has blocked.",
  key_changed = "The server returned another key for the sender's device than before.",
  unknown_device = "Sent from an unknown device.",
  identity_changed = "The sender's identity is another one than before.",
  unsigned = "Sent from a device that its owner has not signed.",
  not_guaranteed = paste(
    "It is not certain who wrote this: its key did not come from the sender."
  ),
  signed = "Sent from a device that its owner has signed.",
  verified = "This account has verified the sender."
)

trust_marks <- function(messages) {
  level <- as.character(messages[["trust"]])
  sentence <- trust_sentences[level]
  # What was not read or is gone has nothing to trust, nor has what this device reports.
  has_none <- is_unreadable(messages) |
    messages[["redacted"]] |
    !nzchar(messages[["sender"]])
  is_good <- level %in% c("signed", "verified")
  good <- paste0(
    " <span class=\"mx-mark\" title=\"",
    escape_html(sentence),
    "\"><span aria-hidden=\"true\">",
    ifelse(level == "verified", "\u2714\u2714", "\u2714"),
    "</span><span class=\"mx-unseen\">",
    escape_html(sentence),
    "</span></span>"
  )
  bad <- paste0(
    " <span class=\"mx-mark\"><span aria-hidden=\"true\">\u26a0</span> ",
    escape_html(sentence),
    "</span>"
  )
  list(
    class = ifelse(has_none, "unmarked", level),
    html = ifelse(has_none, "", ifelse(is_good, good, bad))
  )
}

is_unreadable <- function(messages) !is.na(messages[["utd_reason"]])

# What a message says, bounded: a member can write messages of 64 kB.
content_html <- function(messages) {
  text <- text_html(bounded_text(messages[["body"]]))
  msgtype <- messages[["msgtype"]]
  is_text <- msgtype %in% c("m.text", "m.notice", "m.emote")
  html <- cleaned_html(ifelse(is_text, messages[["formatted_body"]], NA))
  html <- ifelse(is.na(html), text, html)
  html <- ifelse(msgtype %in% "m.emote", paste("*", html), html)
  is_file <- msgtype %in% media_msgtypes
  html[is_file] <- file_html(messages[is_file, ])
  is_edited <- messages[["edited"]] %in% TRUE
  html[is_edited] <- paste(html[is_edited], "<small>(edited)</small>")
  is_empty <- is.na(html)
  html[is_empty] <- paste0(
    "<em>",
    escape_html(plain_line(messages[["type"]][is_empty])),
    "</em>"
  )
  is_bad <- is_unreadable(messages)
  html[is_bad] <- paste0(
    "<em>This cannot be read. ",
    escape_html(messages[["utd_message"]][is_bad]),
    "</em>"
  )
  html[messages[["redacted"]]] <- "<em>Deleted.</em>"
  html
}

most_shown <- 4000L

bounded_text <- function(text) {
  is_long <- !is.na(text) & nchar(text) > most_shown
  text[is_long] <- paste0(
    substr(text[is_long], 1L, most_shown),
    "\u2026\n(The rest of this long message is not shown.)"
  )
  text
}

# Pictures are named like other files: the page downloads nothing.
file_html <- function(messages) {
  kind <- c(
    m.file = "File",
    m.image = "Picture",
    m.video = "Video",
    m.audio = "Sound"
  )
  size <- vapply(
    messages[["size"]],
    function(size) {
      if (is.na(size)) "" else paste0(" (", size_text(size), ")")
    },
    ""
  )
  name <- messages[["filename"]]
  name[is.na(name)] <- "without a name"
  caption <- text_html(bounded_text(messages[["caption"]]))
  paste0(
    "<em>",
    kind[messages[["msgtype"]]],
    ": ",
    escape_html(plain_line(name, 200L)),
    size,
    "</em>",
    ifelse(is.na(caption), "", paste0("<br>", caption))
  )
}

# Cleaned HTML, or NA where the plain text is to be shown: of a message that is long, or
# where xml2 is missing. A page of formatted messages can take seconds, in which the
# app would answer nobody: after a while the rest is left for the next round.
cleaned_html <- function(html) {
  is_fit <- !is.na(html) & nchar(html) <= 2L * most_shown
  if (!any(is_fit) || !requireNamespace("xml2", quietly = TRUE)) {
    return(rep(NA_character_, length(html)))
  }
  known <- the[["cleaned_html"]] %||% character()
  keys <- rep(NA_character_, length(html))
  keys[is_fit] <- vapply(html[is_fit], rlang::hash, "")
  end <- monotonic_time() + 0.1
  for (i in rev(which(is_fit & !keys %in% names(known)))) {
    if (monotonic_time() > end) {
      shiny::invalidateLater(50)
      break
    }
    known[[keys[[i]]]] <- as.character(mx_html(html[[i]]))
  }
  the[["cleaned_html"]] <- last_of(known, 2000L)
  unname(known[keys])
}

# Names ------------------------------------------------------------------------

# The display names of the members of a room, which the tabs of an app share. They are
# requested when a message of the member is to be shown, and follow changes.
people_of <- function(feed, room_id) {
  people <- feed[["people"]][[room_id]]
  if (is.null(people)) {
    people <- rlang::env(
      client = feed[["client"]],
      room_id = room_id,
      names = character(),
      changed = shiny::reactiveVal(0)
    )
    feed[["people"]][[room_id]] <- people
  }
  people
}

# The names, NA where there is none, or none yet.
names_of <- function(people, user_ids) {
  people[["changed"]]()
  new <- setdiff(user_ids[nzchar(user_ids)], names(people[["names"]]))
  people[["names"]][new] <- NA_character_
  for (user_id in new) {
    request_name(people, user_id)
  }
  unname(people[["names"]][user_ids])
}

request_name <- function(people, user_id) {
  room_id <- people[["room_id"]]
  path <- api_path("rooms", room_id, "state", "m.room.member", user_id)
  promises::then(
    run_async(people[["client"]], function(client) {
      http_json(client, "GET", path)
    }),
    function(member) set_name(people, user_id, member[["displayname"]]),
    # The user id does as well.
    function(condition) NULL
  )
}

set_name <- function(people, user_id, name) {
  name <- if (is_string(name)) plain_line(name, 60L) else NA_character_
  name <- if (nzchar(name, keepNA = FALSE)) name else NA_character_
  if (!identical(people[["names"]][[user_id]], name)) {
    people[["names"]][[user_id]] <- name
    touch(people)
  }
}

# A member who changed their name.
note_names <- function(people, events) {
  for (i in which(events[["type"]] == "m.room.member")) {
    user_id <- events[["state_key"]][[i]]
    is_here <- identical(events[["room_id"]][[i]], people[["room_id"]])
    if (is_here && user_id %in% names(people[["names"]])) {
      name <- json_at(events[["content"]][[i]], "displayname")
      set_name(people, user_id, name)
    }
  }
}

# Text of others in a line: without control characters, and without those that change the
# direction of what stands beside it.
plain_line <- function(text, most = 255L) {
  text <- printable(text)
  text <- gsub("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", "", text)
  text <- trimws(gsub("[[:space:]]+", " ", text))
  is_long <- !is.na(text) & nchar(text) > most
  text[is_long] <- paste0(substr(text[is_long], 1L, most), "\u2026")
  text
}

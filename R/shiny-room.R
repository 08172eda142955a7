# A Shiny module: a room, read and written. The HTML of a message is made in
# shiny-message.R; inst/shiny/room.js puts it into the page.

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
mx_room_ui <- function(id, height = "30em") {
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
    wanted <- "a length of CSS, such as \"30em\" or \"400px\""
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
  first <- c(strsplit(text, "\n", fixed = TRUE)[[1]], "")[[1]]
  refused <- condition[["errcode"]]
  is_said <- !is_string(refused) || grepl(refused, first, fixed = TRUE)
  paste0(
    shortened(printable(first), 300L),
    if (!is_said) paste0(" (", printable(refused), ")")
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

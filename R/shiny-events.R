# Events of a client for Shiny: one listener for all browser tabs of a process, and data
# frames that grow.
#
# A *feed* is a listener that sessions share: one per client and consumer. A *view* of it
# keeps the newest events of some rooms and types. The sessions that want the same rooms
# and types share a view. A view outlives its sessions, so that the page that is loaded
# again shows what it showed: the listener's consumer is given each event once.

#' Events for Shiny apps
#'
#' Returns a reactive data frame of the newest events, which grows as events come. Call
#' it in the server function of a Shiny app. The app is not blocked meanwhile.
#'
#' All browser tabs of an app share one listener per client (see [mx_listen_start()]), and
#' each tab sees all events. The listener ends with the last tab. It starts again with
#' the next tab, and no event that came in between is missing. Decrypted events stay in
#' memory after the last tab, so that a page that is reloaded shows them again.
#'
#' Anyone who uses the app reads as the client: Shiny does not know Matrix users. Show
#' events only to people who may read the rooms.
#'
#' Text of others is not cleaned: see [mx_html()] and [mx_room_server()], which show it.
#'
#' @inheritParams mx_client_session
#' @param rooms The rooms: ids, aliases, links or names. `NULL` is all rooms, and events
#'   that belong to no room.
#' @param types The types of events, or `NULL` for all. Events that cannot be read may be
#'   of any type, and are always among them.
#' @param last The most events to keep, the newest.
#' @param history How many earlier events of each of the `rooms` to begin with, at most
#'   100. They are requested without blocking, and are there a moment later.
#' @param consumer A name for the listener. It has its own position in the stream of
#'   events, and one process at a time can use it.
#' @param session The Shiny session.
#' @return A reactive: a function that returns a data frame of class `mx_events` with
#'   the columns of [mx_sync()], oldest event first. A row that could not be read is
#'   replaced in its place when its key has come. An edit is a row of its own.
#' @section Errors:
#' If the listener cannot start or has failed, the reactive raises that error, such as
#' `mx_error_signed_out`, or `mx_error_listening` where another process uses the
#' `consumer`. Outputs show its sentence, and observers do not end the session (the
#' error has the class `shiny.silent.error`). The next tab that is opened tries again.
#'
#' A history that cannot be read is a warning of class `mx_warning_history`.
#' @family receiving
#' @seealso [mx_room_server()] shows a room.
#' @examplesIf rlang::is_installed(c("shiny", "later", "promises"))
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, name = "Pipeline")
#'
#' app <- shiny::shinyApp(
#'   shiny::tableOutput("events"),
#'   function(input, output, session) {
#'     events <- mx_reactive_events(alice, "Pipeline")
#'     output$events <- shiny::renderTable(events()[c("sender", "body")])
#'   }
#' )
#' if (interactive()) app
#' @export
mx_reactive_events <- function(
  client,
  rooms = NULL,
  types = "m.room.message",
  last = 100,
  history = 0,
  consumer = "mx_shiny",
  session = shiny::getDefaultReactiveDomain()
) {
  check_shiny()
  check_client(client)
  if (!is.null(rooms)) {
    check_strings(rooms)
  }
  if (!is.null(types)) {
    types <- check_strings(types)
  }
  last <- check_number(last, least = 1)
  check_history(history, rooms)
  consumer <- check_string(consumer)
  check_shiny_session(session)
  rooms <- resolve_rooms(client, rooms)
  feed <- join_feed(client, consumer, session)
  view <- view_of(feed, rooms, types, last, history)
  read_view(view, session)
  shiny::reactive(events_of(view), domain = session, label = "mx_events")
}

check_shiny <- function(call = caller_env()) {
  for (package in c("shiny", "later", "promises")) {
    check_package(package, call)
  }
}

check_shiny_session <- function(session, call = caller_env()) {
  classes <- c("ShinySession", "session_proxy", "MockShinySession")
  if (!inherits(session, classes)) {
    wanted <- "a Shiny session: make this call in the server function of an app"
    argument_abort("session", wanted, call)
  }
}

# A page of the server has at most 100 events, in a server's usual configuration.
check_history <- function(history, rooms, call = caller_env()) {
  check_number(history, call = call)
  if (history > 100) {
    argument_abort("history", "a number of at most 100", call)
  }
  if (history > 0 && is.null(rooms)) {
    argument_abort("rooms", "given where `history` is asked for", call)
  }
}

# The newest events of a view, or the error that ended its feed.
events_of <- function(view) {
  view[["changed"]]()
  failure <- view[["feed"]][["failure"]]
  if (!is.null(failure)) {
    # An observer that meets this error must not end the session.
    class(failure) <- c("shiny.silent.error", class(failure))
    raise(failure)
  }
  view[["events"]]
}

# The feed of a client, which this session keeps going until it ends.
join_feed <- function(client, consumer, session) {
  feed <- feed_of(client, consumer)
  # The client of the same store may have signed in again.
  feed[["client"]] <- client
  feed[["sessions"]] <- feed[["sessions"]] + 1L
  ended <- session[["onSessionEnded"]]
  ended(function() leave_feed(feed))
  start_feed(feed)
  feed
}

leave_feed <- function(feed) {
  feed[["sessions"]] <- feed[["sessions"]] - 1L
  if (feed[["sessions"]] == 0L) {
    stop_feed(feed)
  }
}

feed_of <- function(client, consumer) {
  key <- rlang::hash(list(client[["store_dir"]], consumer))
  feed <- the[["feeds"]][[key]]
  if (is.null(feed)) {
    feed <- rlang::env(
      client = client,
      consumer = consumer,
      sessions = 0L,
      views = list(),
      people = list(),
      pending = list()
    )
    the[["feeds"]] <- c(the[["feeds"]], rlang::set_names(list(feed), key))
  }
  feed
}

# Starts the listener unless it runs.
start_feed <- function(feed) {
  if (!is.null(feed[["listener"]])) {
    return(invisible())
  }
  feed[["failure"]] <- NULL
  started <- tryCatch(
    mx_listen_start(
      feed[["client"]],
      function(event) take_event(feed, event),
      own = TRUE,
      consumer = feed[["consumer"]]
    ),
    mx_error = identity
  )
  if (inherits(started, "mx_error")) {
    return(fail_feed(feed, started))
  }
  feed[["listener"]] <- started
  # An app that is stopped may end without a word to its sessions.
  feed[["forget_stop"]] <- shiny::onStop(
    function() stop_feed(feed),
    session = NULL
  )
  touch_views(feed)
  promises::catch(started[["finished"]], function(condition) {
    if (identical(feed[["listener"]], started)) {
      feed[["forget_stop"]]()
      fail_feed(feed, condition)
    }
  })
  invisible()
}

stop_feed <- function(feed) {
  listener <- feed[["listener"]]
  feed[["listener"]] <- NULL
  if (!is.null(listener)) {
    feed[["forget_stop"]]()
    listener[["stop"]]()
  }
}

fail_feed <- function(feed, condition) {
  feed[["listener"]] <- NULL
  feed[["failure"]] <- condition
  touch_views(feed)
}

view_of <- function(feed, rooms, types, last, history) {
  key <- rlang::hash(list(sort(rooms), sort(types), last, history))
  view <- feed[["views"]][[key]]
  if (is.null(view)) {
    view <- rlang::env(
      feed = feed,
      rooms = rooms,
      types = types,
      last = last,
      history = history,
      # How many sessions have it.
      readers = 0L,
      unread_history = if (history > 0) rooms,
      events = no_events(),
      # It belongs to no session: all of them read it.
      changed = shiny::reactiveVal(0)
    )
    feed[["views"]] <- c(feed[["views"]], rlang::set_names(list(view), key))
  }
  start_history(view)
  view
}

# Keeps a view for a session until that ends.
read_view <- function(view, session) {
  view[["readers"]] <- view[["readers"]] + 1L
  drop_views(view[["feed"]])
  ended <- session[["onSessionEnded"]]
  ended(function() {
    view[["readers"]] <- view[["readers"]] - 1L
    drop_views(view[["feed"]])
  })
}

# Of the views that no session has, the oldest: one that is read would show nothing new any
# more.
drop_views <- function(feed) {
  views <- feed[["views"]]
  is_read <- vapply(views, function(view) view[["readers"]] > 0L, NA)
  surplus <- utils::head(which(!is_read), max(0, length(views) - most_views))
  feed[["views"]] <- views[setdiff(seq_along(views), surplus)]
}

# Nothing is requested for a feed that has failed: the next session tries again.
start_history <- function(view) {
  rooms <- view[["unread_history"]]
  if (!is.null(view[["feed"]][["listener"]])) {
    view[["unread_history"]] <- NULL
    for (room in rooms) {
      read_history(view, room)
    }
  }
}

# The rooms of a view may come from the people who use an app. More are kept only while
# sessions have them.
most_views <- 100L

touch <- function(view) {
  changed <- view[["changed"]]
  changed(shiny::isolate(changed()) + 1)
}

touch_views <- function(feed) {
  for (view in feed[["views"]]) {
    touch(view)
  }
}

# Events come one by one, often many at once. They are bound together a moment later: to
# bind rows one by one takes a time that grows with the square of their number.
take_event <- function(feed, event) {
  feed[["pending"]][[length(feed[["pending"]]) + 1L]] <- event
  if (length(feed[["pending"]]) == 1L) {
    later::later(function() show_or_fail(feed), 0.05)
  }
}

# An error that leaves a callback, as where the store was deleted, would end the app.
show_or_fail <- function(feed) {
  tryCatch(show_pending(feed), error = function(condition) {
    feed[["pending"]] <- list()
    stop_feed(feed)
    fail_feed(feed, condition)
  })
}

show_pending <- function(feed) {
  events <- events_of_rows(feed[["pending"]], no_events())
  feed[["pending"]] <- list()
  for (people in feed[["people"]]) {
    note_names(people, events)
  }
  for (view in feed[["views"]]) {
    wanted <- events[is_in_view(view, events), ]
    if (nrow(wanted) > 0L) {
      show_in(view, bind_events(view[["events"]], wanted))
      read_held_back(view, wanted)
    }
  }
}

is_in_view <- function(view, events) {
  rooms <- view[["rooms"]]
  in_rooms <- is.null(rooms) | events[["room_id"]] %in% rooms
  in_rooms & is_wanted(events, NULL, NULL, view[["types"]])
}

show_in <- function(view, events) {
  n <- nrow(events)
  kept <- seq_len(n) > n - view[["last"]]
  view[["events"]] <- events[kept, ]
  rownames(view[["events"]]) <- NULL
  touch(view)
}

# What a handler got, as a data frame again.
events_of_rows <- function(rows, template) {
  columns <- lapply(rlang::set_names(names(template)), function(name) {
    values <- lapply(rows, function(row) row[[name]])
    if (is.list(template[[name]])) values else do.call(c, values)
  })
  as_events(columns)
}

# Events that follow others. One that is there already takes the place of its former
# row: it came again because it can be read now.
bind_events <- function(old, new) {
  id <- new[["event_id"]]
  new <- new[is.na(id) | !duplicated(id, fromLast = TRUE), ]
  again <- match(new[["event_id"]], old[["event_id"]], incomparables = NA)
  columns <- lapply(rlang::set_names(names(old)), function(name) {
    column <- old[[name]]
    column[again[!is.na(again)]] <- new[[name]][!is.na(again)]
    c(column, new[[name]][is.na(again)])
  })
  as_events(columns)
}

# A message whose sender's device was not known to be signed when it was delivered is
# never delivered again. The keys that show it may have been on their way, requested by
# another call than the listener's.
read_held_back <- function(view, events) {
  is_held_back <- events[["utd_reason"]] %in% "unsigned_sender"
  rooms <- unique(events[["room_id"]][is_held_back])
  if (view[["history"]] > 0 && length(rooms) > 0L) {
    view[["unread_history"]] <- union(view[["unread_history"]], rooms)
    later::later(function() start_history(view), 2)
  }
}

# Requests earlier events of a room, and puts them in front.
read_history <- function(view, room_id) {
  promises::then(
    history_promise(view[["feed"]][["client"]], room_id, view[["history"]]),
    function(events) {
      events <- events[is_in_view(view, events), ]
      show_in(view, join_history(events, view[["events"]], room_id))
    },
    function(condition) {
      mx_warn(
        c("Earlier events could not be read.", x = error_text(condition)),
        "mx_warning_history",
        rooms = room_id,
        causes = rlang::set_names(list(condition), room_id)
      )
    }
  )
}

# Both are parts of the timeline of one room, if `live` has no others. What the history
# has, and what the listener gave before it, goes in front.
join_history <- function(history, live, room_id) {
  id <- live[["event_id"]]
  is_here <- live[["room_id"]] %in% room_id
  shared <- which(is_here & id %in% history[["event_id"]])
  is_before <- is_here & seq_along(id) < c(shared, 0L)[[1]]
  readable <- history[["event_id"]][is.na(history[["utd_reason"]])]
  is_after <- !is_before & !id %in% readable
  bind_events(bind_events(live[is_before, ], history), live[is_after, ])
}

# The newest events of a room, oldest first, in one page.
history_promise <- function(client, room_id, n, call = caller_env()) {
  run_async(client, function(client) history_steps(client, room_id, n, call))
}

# As mx_messages() reads one page. The keys of devices and of the backup may be on their
# way, fetched by the listener: then it is read again a moment later.
history_steps <- function(client, room_id, n, call) {
  machine <- machine_of(client)
  query <- list(dir = "b", limit = n)
  path <- api_path("rooms", room_id, "messages", query = query)
  read <- function(page, tries) {
    pumped <- pump_or_warn(client, kinds = "keys_query")
    and_then(pumped, function(pumped) {
      events <- machine_read_history(machine, room_id, page, FALSE, TRUE)
      events <- core(events)
      waits_for <- c("backup_pending", "unsigned_sender")
      if (tries > 1L && any(events[["utd_reason"]] %in% waits_for)) {
        and_then(pause_for(client, 0.5), function(waited) {
          read(page, tries - 1L)
        })
      } else {
        # The newest event of a page comes first.
        events[rev(seq_len(nrow(events))), ]
      }
    })
  }
  page <- and_then(sync_once(client, timeout = 0), function(report) {
    http_perform(client, "GET", path, call = call)
  })
  and_then(page, function(answer) {
    if (answer[["status"]] != 200L) {
      http_abort(answer, call)
    }
    page <- answer[["body"]]
    core(machine_track_senders(machine, page))
    read(page, tries = 4L)
  })
}

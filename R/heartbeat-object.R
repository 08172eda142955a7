# A heartbeat, as the store knows it and as a user holds it.

# The messages of all heartbeats, as the store knows them.
heartbeat_rows <- function(client) {
  columns <- core(machine_heartbeats(machine_of(client)))
  lapply(seq_along(columns[["number"]]), function(i) lapply(columns, `[[`, i))
}

heartbeat_row <- function(client, number) {
  is_it <- function(row) row[["number"]] == number
  found <- Filter(is_it, heartbeat_rows(client))
  if (length(found) > 0L) found[[1]]
}

state_of <- function(client, number) heartbeat_row(client, number)[["state"]]

states_of <- function(client, id) {
  rows <- Filter(function(row) row[["id"]] == id, heartbeat_rows(client))
  vapply(rows, function(row) row[["state"]], "")
}

sent_row <- function(client, id) {
  row <- current_heartbeat(client, id)
  if (identical(row[["state"]], "sent")) row
}

# Of several messages, the one that counts: an old one is to be cancelled.
current_heartbeat <- function(client, id, rows = heartbeat_rows(client)) {
  rows <- Filter(function(row) row[["id"]] == id, rows)
  kept <- Filter(function(row) !row[["cancel"]], rows)
  armed <- Filter(function(row) row[["state"]] == "armed", kept)
  candidates <- c(rows, kept, armed)
  if (length(candidates) > 0L) candidates[[length(candidates)]]
}

# The client and the id of a heartbeat that is there.
heartbeat_of <- function(beat, name, call = caller_env()) {
  if (inherits(beat, "mx_heartbeat")) {
    if (!is.null(name)) {
      argument_abort("name", "NULL where `beat` is a heartbeat", call)
    }
    check_heartbeat(beat, call)
    client <- beat[["client"]]
    rows <- Filter(
      function(row) row[["id"]] == beat[["id"]],
      heartbeat_rows(client)
    )
  } else if (inherits(beat, "mx_client")) {
    client <- check_client(beat, call)
    name <- check_heartbeat_name(name, null = FALSE, call = call)
    rows <- Filter(
      function(row) identical(row[["name"]], name),
      heartbeat_rows(client)
    )
  } else {
    argument_abort("beat", "a heartbeat of mx_heartbeat(), or a client", call)
  }
  if (length(rows) == 0L) {
    known <- names(mx_heartbeats(client))
    known <- unique(known[nzchar(known)])
    mx_abort(
      c(
        if (is.null(name)) {
          "There is no such heartbeat any more: it was stopped."
        } else {
          paste0("There is no heartbeat \"", printable(name), "\".")
        },
        i = if (length(known) > 0L) {
          paste0("There is: ", first_names(printable(known)), ".")
        }
      ),
      "mx_error_heartbeat",
      call = call
    )
  }
  list(client = client, id = rows[[1]][["id"]])
}

check_heartbeat <- function(beat, call) {
  if (!is.list(beat) || !is_string(beat[["id"]])) {
    argument_abort("beat", "a heartbeat of mx_heartbeat(), or a client", call)
  }
  check_client(beat[["client"]], call)
}

new_heartbeat <- function(client, row) {
  due <- row[["since"]] + row[["delay"]]
  is_due <- row[["state"]] == "armed" && due < as.numeric(Sys.time()) * 1000
  structure(
    list(
      client = client,
      id = row[["id"]],
      name = if (!is.na(row[["name"]])) row[["name"]],
      room_id = row[["room_id"]],
      text = string_or_na(json_decode(row[["content"]])[["body"]]),
      state = if (is_due) "due" else row[["state"]],
      after = row[["delay"]] / 1000,
      since = time_of(row[["since"]]),
      due = time_of(due),
      event_id = row[["event_id"]],
      sent_at = time_of(row[["sent_at"]])
    ),
    class = "mx_heartbeat"
  )
}

time_of <- function(milliseconds) {
  as.POSIXct(milliseconds / 1000, origin = "1970-01-01", tz = "UTC")
}

time_text <- function(milliseconds) {
  format(time_of(milliseconds), tz = "", usetz = TRUE)
}

#' @export
print.mx_heartbeat <- function(x, ...) {
  print_lines(format(x, ...))
  invisible(x)
}

#' @export
format.mx_heartbeat <- function(x, ...) {
  row <- current_heartbeat(x[["client"]], x[["id"]])
  now <- if (!is.null(row)) new_heartbeat(x[["client"]], row)
  name <- if (!is.null(x[["name"]])) paste0(" ", printable(x[["name"]]))
  text <- printable(substr(x[["text"]], 1L, 60L))
  c(
    paste0("<mx_heartbeat>", name),
    paste0("room:  ", printable(x[["room_id"]])),
    paste0("text:  ", text, if (nchar(x[["text"]]) > 60L) "..."),
    paste0("state: ", heartbeat_sentence(now))
  )
}

heartbeat_sentence <- function(x) {
  if (is.null(x)) {
    return("stopped")
  }
  at <- function(time) format(time, tz = "", usetz = TRUE)
  switch(
    x[["state"]],
    armed = paste0(
      "armed, sent at ",
      at(x[["due"]]),
      " unless it is restarted or stopped"
    ),
    due = paste0(
      "due, the server sent it at ",
      at(x[["due"]]),
      " if it did as asked"
    ),
    sent = paste0("sent, at ", at(x[["sent_at"]])),
    gone = "gone, the server does not have it any more",
    refused = "refused, the server did not take it",
    unknown = "unknown, whether the server has it",
    starting = "starting"
  )
}

# A condition whose message has one more line.
saying_more <- function(condition, line) {
  if (inherits(condition, "rlang_error")) {
    condition[["body"]] <- c(condition[["body"]], i = line)
  } else {
    condition[["message"]] <- paste(
      c(conditionMessage(condition), rlang::format_error_bullets(c(i = line))),
      collapse = "\n"
    )
  }
  condition
}

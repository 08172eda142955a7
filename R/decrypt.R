# Decrypts archives: a function of its arguments, which any process can call.

#' Decrypt archives, in parallel
#'
#' `mx_decrypt()` decrypts a data frame of encrypted events with a set of room keys. It
#' needs no client, no store and no network, and its arguments are plain R objects: any
#' number of processes can each do a part, on this machine or on others.
#' `mx_keys_for()` gets the keys that events need, and picks from a set of keys those that
#' a part of the events needs.
#'
#' @param events Events: a data frame with the columns `room_id`, `event_id`, `sender`,
#'   `type` and `content`, and if you have them `origin_server_ts` (POSIXct, or
#'   milliseconds since 1970 as in Matrix, also as `integer64`), `state_key`, `redacted`
#'   (logical) and `redacts`; or events from [mx_sync()], [mx_messages()] or
#'   [mx_undecrypted()]; or a character vector of events as JSON, each with its `room_id`,
#'   such as the lines of a file. `content` is JSON text, or a list as in [mx_events], or a
#'   data frame as jsonlite reads it. No column may stand twice. For `mx_keys_for()`,
#'   `NULL` means all keys.
#' @param keys A set of keys from `mx_keys_for()`.
#' @param flat Whether to return a plain data frame in which every column is a vector, as
#'   [as.data.frame()][as.data.frame.mx_events] does with `flat = TRUE`; `trust` is text.
#'   It is faster, and takes a fraction of the memory. It is what Spark, Arrow and
#'   databases need.
#' @param threads How many threads to use at most; `NULL` is one for each core, and one in
#'   a forked process. Give `1` if several processes share a machine.
#' @param from Where the keys are: a client; the path of a key export (see
#'   [mx_keys_export()]); or a set of keys. Keys of the key backup are in a client after
#'   [mx_backup_restore()].
#' @param passphrase The passphrase of the key export. If it is left out, you are asked
#'   for it in an interactive session.
#' @details
#' Each event is judged by itself, as [mx_messages()] judges it: a row that is malformed or
#' was altered has a reason in `utd_reason`, and costs no other row. An event without an
#' id, a room, a sender, a type or a content that can be read is `malformed_event`. Events
#' that are not encrypted are returned as they are, with `encrypted` `FALSE`. In events
#' from this package, what could be read already stays as it is.
#'
#' Without a store less is known, and nothing is made up for it:
#' * Nobody's devices are known, so the `trust` of all that was decrypted is
#'   `unknown_device`. Keys of a client that came from their sender (`key_source` is
#'   `direct` or `own`) still decrypt only what the server says is of that sender
#'   (otherwise `sender_mismatch`). Keys of an export prove nothing about who sent a
#'   message: anyone who has such a key could have written the file.
#' * A message that stands for a second event is found (`replayed`) if both are in one
#'   call. An edit counts (`replaces`) if its message is in the same call; otherwise
#'   `edit_reason` is `unknown_original`. So split events by room or by session, not by
#'   rows.
#' * An event without a key is `unknown_session`: why there is none is not known.
#' * `is_self` is `NA`, and no event is shown with the text of its edit.
#'
#' A million events take memory for all their columns: select columns in the worker, or
#' let each worker read and write files of its own.
#'
#' @section Sets of keys:
#' An object of class `mx_keys` is a secret: anybody who has it can read the messages. It
#' has to be a plain object to reach other processes, so it is not encrypted in memory, nor
#' in a file of [saveRDS()]. Printing it shows how many sessions it has, never a key.
#' `length()`, `[`, `c()` and [split()] work on its sessions, `keys$room_id` and
#' `keys$session_id` name them. Give a worker `mx_keys_for(part, keys)`: only what its part
#' needs. All this is so where the package is loaded: call `library(mxcrypt)` in a worker
#' that does more with keys than `mxcrypt::mx_decrypt()`.
#'
#' @section future, mirai, Spark and others:
#' What each worker needs is a part of the events, and the keys to it:
#' ```r
#' parts <- split(events, events$room_id)
#' sets <- lapply(parts, mx_keys_for, keys)
#' one <- list(threads = 1)
#'
#' cluster <- parallel::makeCluster(2)
#' read <- parallel::clusterMap(cluster, mx_decrypt, parts, sets, MoreArgs = one)
#'
#' future::plan(future::multisession)
#' read <- future.apply::future_mapply(
#'   mx_decrypt, parts, sets, MoreArgs = one, SIMPLIFY = FALSE
#' )
#'
#' mirai::daemons(2)
#' tasks <- Map(
#'   function(part, keys) {
#'     mirai::mirai(mxcrypt::mx_decrypt(part, keys), part = part, keys = keys)
#'   },
#'   parts,
#'   sets
#' )
#' read <- lapply(tasks, `[`)
#'
#' # `events` is a table in Spark here. Every worker is given all of `context`.
#' read <- sparklyr::spark_apply(
#'   events,
#'   function(part, keys) {
#'     part <- part[order(part$origin_server_ts), ]
#'     mxcrypt::mx_decrypt(part, keys, flat = TRUE, threads = 1)
#'   },
#'   context = keys,
#'   group_by = "room_id",
#'   packages = FALSE
#' )
#' ```
#' With `flat = TRUE` each part has the same columns, of text, numbers, logicals and a time,
#' also if it has no rows. `spark_apply()` puts the column that it groups by before them.
#'
#' Events may be as they return from Spark, Arrow or a database: times as numbers of 64 bits
#' (`integer64`), factors, `content` as text, bytes or columns, or each row as JSON with its
#' `content` as text. Such systems do not keep the order of rows. It decides which of two
#' events with one message is read and which is `replayed`, so sort each part.
#'
#' @return `mx_decrypt()`: a data frame as from [mx_messages()] (see [mx_events]), with a
#'   row for each event in the same order. `mx_keys_for()`: an object of class `mx_keys`.
#' @section Errors:
#' `mx_error_argument` (the events have no such columns), `mx_error_key_export` and
#' `mx_error_passphrase` as for [mx_keys_import()]. If sessions of the export that are
#' needed cannot be used, that is a warning of class `mx_warning_key_export`.
#' @family receiving
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' mx_send_text(alice, room, c("one", "two"))
#' file <- mx_keys_export(alice, tempfile(), "correct horse")
#'
#' # A device without keys stands for an archive of encrypted events.
#' late <- mx_demo_client(homeserver, "alice", verified = FALSE)
#' archive <- mx_messages(late, room)
#' archive$utd_reason
#'
#' keys <- mx_keys_for(archive, file, "correct horse")
#' keys
#' mx_decrypt(archive, keys)[c("type", "body", "trust", "utd_reason")]
#'
#' # The same in two processes, each with the keys of its part.
#' cluster <- parallel::makeCluster(2)
#' parts <- split(archive, archive$room_id)
#' read <- parallel::clusterMap(
#'   cluster,
#'   mx_decrypt,
#'   parts,
#'   lapply(parts, mx_keys_for, keys),
#'   MoreArgs = list(threads = 1)
#' )
#' parallel::stopCluster(cluster)
#' do.call(rbind, read)$body
#' @export
mx_decrypt <- function(events, keys, flat = FALSE, threads = NULL) {
  columns <- event_columns(events)
  if (!inherits(keys, "mx_keys")) {
    argument_abort("keys", "a set of keys from mx_keys_for()", caller_env())
  }
  check_flag(flat)
  if (!is.null(threads)) {
    threads <- floor(check_number(threads, least = 1))
  }
  is_ours <- inherits(events, "mx_events")
  read <- decrypt_columns(columns, unclass(keys), flat && !is_ours, threads)
  if (!is_ours) {
    return(read)
  }
  events <- fill_in(events, read)
  if (!flat) {
    return(events)
  }
  events <- as.data.frame(events, flat = TRUE)
  if (!is.null(events[["trust"]])) {
    events[["trust"]] <- as.character(events[["trust"]])
  }
  events
}

# Events of this package, with what was read of those that could not be.
fill_in <- function(events, read) {
  is_new <- events[["type"]] %in%
    "m.room.encrypted" &
    !(events[["decrypted"]] %||% FALSE) %in% TRUE
  # Whose events they are is known to the client that they came from.
  for (name in setdiff(intersect(names(read), names(events)), "is_self")) {
    events[[name]][is_new] <- read[[name]][is_new]
  }
  events
}

# Events that are decrypted at once: what they take on the way is several times what
# becomes of them.
decrypted_at_once <- 20000

# Calls `f` with some of the rows after the other.
over_rows <- function(columns, f) {
  n <- length(columns[["event_id"]])
  lapply(seq(0, max(n - 1, 0), by = decrypted_at_once), function(done) {
    rows <- done + seq_len(min(decrypted_at_once, n - done))
    f(lapply(columns, `[`, rows))
  })
}

decrypt_columns <- function(columns, keys, flat, threads, call = caller_env()) {
  decryption <- core(decryption_new(keys), call = call)
  parts <- over_rows(columns, function(part) {
    core(decryption_read(decryption, part, flat, threads), call = call)
  })
  read <- if (length(parts) == 1L) parts[[1L]] else bind_parts(parts, flat)
  # An original may come after its edit.
  edits <- core(decryption_edits(decryption), call = call)
  read[["replaces"]][edits[["row"]]] <- edits[["replaces"]]
  read[["edit_reason"]][edits[["row"]]] <- edits[["edit_reason"]]
  # What names an event is returned as it came, also where it can be no name.
  for (name in c("room_id", "event_id", "sender")) {
    read[[name]] <- as.character(columns[[name]])
  }
  read[["type"]][is.na(columns[["type"]])] <- NA
  read[["is_self"]] <- rep(NA, nrow(read))
  read
}

bind_parts <- function(parts, flat) {
  columns <- bind_columns(parts)
  if (!flat) {
    return(as_events(columns))
  }
  n <- length(columns[["event_id"]])
  structure(columns, row.names = .set_row_names(n), class = "data.frame")
}

# Events as the columns that the core decrypts.
event_columns <- function(events, call = caller_env()) {
  if (is.character(events)) {
    return(core(events_of_json(text_column(events)), call = call))
  }
  if (!is.data.frame(events)) {
    wanted <- paste(
      "a data frame of events (as.data.frame() makes one of a table of Arrow),",
      "or a character vector of events as JSON"
    )
    argument_abort("events", wanted, call, class(events)[[1L]])
  }
  is_ours <- inherits(events, "mx_events")
  names <- c("room_id", "event_id", "sender", "type", "state_key", "redacts")
  others <- c(
    "content",
    "origin_server_ts",
    "redacted",
    if (is_ours) "decrypted"
  )
  # Not `[`: tibbles and data.tables have one of their own.
  events <- as.list(events)
  events <- events[names(events) %in% c(names, others)]
  check_event_columns(events, c(names[1:4], "content"), call)
  texts <- names(events) %in% names
  events[texts] <- lapply(events[texts], text_column)
  events[["content"]] <- content_column(events[["content"]], call)
  events[["origin_server_ts"]] <- time_column(events, call)
  events
}

check_event_columns <- function(events, needed, call) {
  absent <- setdiff(needed, names(events))
  if (length(absent) > 0L) {
    wanted <- paste0(
      "a data frame with the columns ",
      paste0("`", needed, "`", collapse = ", "),
      ", or a character vector of events as JSON"
    )
    found <- paste("no", paste0("`", absent, "`", collapse = ", "))
    argument_abort("events", wanted, call, found)
  }
  # Of two senders, as a join leaves them, one would be judged and the other shown.
  twice <- anyDuplicated(names(events))
  if (twice > 0L) {
    found <- paste0("`", names(events)[[twice]], "` twice")
    argument_abort("events", "a data frame with each column once", call, found)
  }
  for (name in setdiff(names(events), "content")) {
    # A matrix has as many rows, and other cells.
    if (!is.null(dim(events[[name]]))) {
      argument_abort(paste0("events$", name), "a vector", call)
    }
  }
  if (!is.null(events[["redacted"]]) && !is.logical(events[["redacted"]])) {
    argument_abort("events$redacted", "`TRUE`, `FALSE` or `NA`", call)
  }
  if (length(unique(vapply(events, NROW, 0L))) > 1L) {
    argument_abort("events", "a data frame with columns of one length", call)
  }
}

# Text as UTF-8. What is no text in its encoding is left to the core, which refuses its row.
text_column <- function(column) {
  if (is.factor(column)) {
    column <- as.character(column)
  }
  if (!is.character(column)) {
    return(column)
  }
  column[Encoding(column) == "bytes"] <- NA
  as_utf8(column)
}

# JSON text, or lists that become it; a raw vector is the bytes of a text.
content_column <- function(content, call) {
  if (!is.data.frame(content)) {
    is_list <- is.list(content)
    return(if (is_list) unclass(content) else text_column(content))
  }
  # As jsonlite reads an array of objects. What is missing in a row is NA there.
  lines <- rawConnection(raw(), "w")
  on.exit(close(lines))
  tryCatch(
    jsonlite::stream_out(
      content,
      lines,
      verbose = FALSE,
      auto_unbox = TRUE,
      digits = NA
    ),
    error = function(condition) {
      wanted <- "JSON text, or a data frame that can be written as JSON"
      argument_abort("events$content", wanted, call)
    }
  )
  text <- rawToChar(rawConnectionValue(lines))
  Encoding(text) <- "UTF-8"
  strsplit(text, "\n", fixed = TRUE)[[1L]]
}

# Milliseconds since 1970.
time_column <- function(events, call) {
  times <- events[["origin_server_ts"]]
  if (is.null(times)) {
    return(rep(NA_real_, length(events[["event_id"]])))
  }
  if (inherits(times, "POSIXt")) {
    return(round(as.numeric(as.POSIXct(times)) * 1000))
  }
  if (inherits(times, "integer64")) {
    return(of_integer64(times))
  }
  is_number <- is.numeric(times) && !is.object(times)
  if (!is_number && !all(is.na(times))) {
    wanted <- "POSIXct, or milliseconds since 1970 as a number"
    argument_abort("events$origin_server_ts", wanted, call)
  }
  as.numeric(times)
}

# What Arrow and databases have for whole numbers of 64 bits: the package bit64 keeps their
# bits in doubles. One below zero, as NA is, is no time.
of_integer64 <- function(x) {
  bytes <- writeBin(unclass(x), raw(), endian = "little")
  parts <- readBin(bytes, "integer", 4 * length(x), 2, FALSE, "little")
  numbers <- colSums(matrix(parts, nrow = 4) * 2^c(0, 16, 32, 48))
  replace(numbers, numbers >= 2^63, NA)
}

#' Search in encrypted rooms
#'
#' Finds messages in the archive of this device (see [mx_archive()]): a server cannot
#' search encrypted messages. There is no index of words on the disk; the sealed rows are
#' opened and searched on all cores.
#'
#' @inheritParams mx_archive_read
#' @param pattern What to look for: a regular expression (with Perl's syntax), or with
#'   `fixed` the text itself.
#' @param since,until,unsigned As for [mx_messages()].
#' @param senders Only messages of these users.
#' @param fixed Whether `pattern` is literal text.
#' @param ignore_case Whether to ignore case.
#' @param context How many messages of the room to return before and after each hit.
#' @param limit How many hits at most; the newest ones.
#' @details
#' Messages are found by their current text: that of the newest valid edit. Redacted
#' messages, messages that could not be decrypted, and those that are held back
#' ([mx_isolation_mode()]) are not found.
#'
#' @return A data frame as from [mx_messages()], of class `mx_search`, with the column
#'   `hit`: `FALSE` for context. The newest messages come last. The attribute `found`
#'   is how many messages match, `searched` how many were searched.
#' @section Errors:
#' `mx_error_argument` (also if `pattern` is no regular expression),
#' `mx_error_archive`, `mx_error_room`.
#' @family receiving
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' mx_send_text(alice, room, c("Load started", "ERROR: disk full", "Load ended"))
#' mx_archive(alice, room)
#'
#' mx_search(alice, "error")
#' mx_search(alice, "^load (started|ended)$")
#' mx_search(alice, "disk full", fixed = TRUE, context = 1)$body
#' @export
mx_search <- function(
  client,
  pattern,
  rooms = NULL,
  senders = NULL,
  since = NULL,
  until = NULL,
  fixed = FALSE,
  ignore_case = TRUE,
  context = 0,
  limit = 1000,
  unsigned = FALSE
) {
  wanted <- archive_range(client, rooms, since, until, unsigned = unsigned)
  check_flag(fixed)
  check_flag(ignore_case)
  finds <- text_finder(check_string(pattern), fixed, ignore_case)
  if (!is.null(senders)) {
    check_user_ids(senders)
  }
  check_number(context)
  check_number(limit, least = 1)
  found <- lapply(wanted[["room_ids"]], function(room_id) {
    search_room(client, room_id, wanted, finds, senders, context)
  })
  hits <- do.call(rbind, lapply(found, `[[`, "hits"))
  shown <- utils::tail(hits[order(hits[["sent_at"]]), ], limit)
  events <- events_of_hits(client, shown, wanted[["unsigned"]])
  structure(
    events,
    class = c("mx_search", class(events)),
    found = nrow(hits),
    searched = sum(vapply(found, `[[`, 0, "searched")),
    pattern = finds
  )
}

# A function that says where texts fit: a list as of regmatches(). Errors of a regular
# expression come at once.
text_finder <- function(pattern, fixed, ignore_case, call = caller_env()) {
  if (fixed) {
    # Every character stands for itself.
    pattern <- paste0(
      "\\Q",
      gsub("\\E", "\\E\\\\E\\Q", pattern, fixed = TRUE),
      "\\E"
    )
  }
  # Warnings tell of patterns that are none, or that take too long for some text, which
  # would count as not found.
  places <- function(texts) {
    tryCatch(
      regexpr(pattern, texts, perl = TRUE, ignore.case = ignore_case),
      warning = function(condition) {
        wanted <- "a regular expression that can be decided, or `fixed = TRUE`"
        argument_abort("pattern", wanted, call, pattern)
      }
    )
  }
  places("x")
  places
}

# The hits of one room, with the ids of the messages around each.
search_room <- function(client, room_id, wanted, finds, senders, context) {
  machine <- machine_of(client)
  hits <- list()
  searched <- 0
  part <- list()
  before <- NULL
  repeat {
    part <- core(machine_archived_texts(
      machine,
      room_id,
      archive_part(wanted, part, search_part_size),
      wanted[["unsigned"]]
    ))
    texts <- data.frame(part[c("event_id", "sent_at", "sender", "body")])
    texts <- texts[!is.na(texts[["body"]]), , drop = FALSE]
    searched <- searched + nrow(texts)
    # The context of a hit at the end of a part is in the next part.
    is_last <- is.null(part[["after_time"]])
    first <- max(NROW(before) - context, 0) + 1
    texts <- rbind(before, texts)
    last <- nrow(texts) - if (is_last) 0 else context
    new <- hits_in(texts, first, last, finds, senders, context)
    hits[[length(hits) + 1L]] <- new
    before <- utils::tail(texts, 2 * context)
    if (is_last) {
      break
    }
  }
  hits <- do.call(rbind, hits)
  hits[["room_id"]] <- rep(room_id, nrow(hits))
  list(hits = hits, searched = searched)
}

# Texts that are looked through at once.
search_part_size <- 20000

# The hits among the texts from `first` to `last`.
hits_in <- function(texts, first, last, finds, senders, context) {
  is_hit <- finds(texts[["body"]]) > 0L
  if (!is.null(senders)) {
    is_hit <- is_hit & texts[["sender"]] %in% senders
  }
  at <- which(is_hit)
  at <- at[at >= first & at <= last]
  hits <- texts[at, c("event_id", "sent_at"), drop = FALSE]
  hits[["around"]] <- lapply(at, function(i) {
    around <- seq(max(1, i - context), min(nrow(texts), i + context))
    texts[["event_id"]][around]
  })
  hits
}

# The events of hits and their context, in the order of time.
events_of_hits <- function(client, hits, unsigned) {
  machine <- machine_of(client)
  parts <- lapply(split(hits, hits[["room_id"]]), function(of_room) {
    ids <- unique(unlist(of_room[["around"]], use.names = FALSE))
    room_id <- of_room[["room_id"]][[1]]
    core(machine_archived_events(machine, room_id, ids, unsigned))
  })
  events <- as_events(bind_columns(c(list(no_events()), parts)))
  events[["hit"]] <- events[["event_id"]] %in% hits[["event_id"]]
  events <- events[order(events[["origin_server_ts"]], na.last = FALSE), ]
  rownames(events) <- NULL
  events
}

#' @export
print.mx_search <- function(x, ..., n = 20L) {
  print_lines(format(x, n = n))
  invisible(x)
}

#' @export
format.mx_search <- function(x, ..., n = 20L) {
  # Rows or columns were taken away.
  if (is.null(attr(x, "found")) || is.null(x[["hit"]])) {
    return(NextMethod())
  }
  hits <- sum(x[["hit"]])
  head <- paste0(
    "# ",
    plural(attr(x, "found"), "hit"),
    " in ",
    plural(attr(x, "searched"), "message"),
    if (hits < attr(x, "found")) paste0(", the newest ", format_count(hits)),
    if (hits > 0L) paste0(", times in ", time_zone_name())
  )
  shown <- utils::tail(seq_len(nrow(x)), check_number(n))
  if (length(shown) < nrow(x)) {
    head <- c(
      head,
      paste0("# the last ", length(shown), " of ", nrow(x), " rows")
    )
  }
  c(head, search_lines(x[shown, ], attr(x, "pattern")))
}

# The room is named where it changes. A hit is marked with `>` and in its text.
search_lines <- function(x, finds) {
  if (nrow(x) == 0L) {
    return(character())
  }
  time <- format(x[["origin_server_ts"]], "%Y-%m-%d %H:%M", tz = "")
  mark <- ifelse(x[["hit"]], ">", " ")
  text <- vapply(
    seq_len(nrow(x)),
    function(i) {
      body <- printable(x[["body"]][[i]])
      if (x[["hit"]][[i]]) marked(body, finds) else shorten(body, 60L)
    },
    ""
  )
  lines <- paste(mark, time, printable(x[["sender"]]), text)
  several <- length(unique(x[["room_id"]])) > 1L
  starts <- x[["room_id"]] != c("", utils::head(x[["room_id"]], -1L))
  rooms <- ifelse(several & starts, paste0(printable(x[["room_id"]]), "\n"), "")
  paste0(rooms, lines)
}

# A hit with its context.
marked <- function(body, finds, near = 40L) {
  place <- finds(body)
  if (place < 1L) {
    # It ran over a line break, which is shown as a space.
    return(shorten(body, 2L * near))
  }
  end <- place + attr(place, "match.length") - 1L
  before <- substr(body, 1L, place - 1L)
  after <- substr(body, end + 1L, nchar(body))
  if (nchar(before) > near) {
    before <- paste0(
      "...",
      substr(before, nchar(before) - near + 1L, nchar(before))
    )
  }
  paste0(
    before,
    cli::style_bold(cli::col_red(substr(body, place, end))),
    shorten(after, near)
  )
}

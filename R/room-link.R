# Links to rooms, events and users: matrix.to and the `matrix:` scheme. A link is taken
# wherever a room or an event is, and may come from anybody. A link that is not exactly
# valid is an error: a guess could send a message to another room.
#
# Specification: appendices, "URIs".

matrix_to <- "^https?://(www[.])?matrix[.]to(/|$)"

# A room may be called "matrix: the film": a URI holds no spaces.
is_link <- function(x) {
  grepl(matrix_to, x, ignore.case = TRUE) |
    grepl("^matrix:[^[:space:]]*$", x, ignore.case = TRUE)
}

# What a link leads to: `room` (an id or alias) or `user`, `event` or NULL, and the
# servers of `via`. NULL for what is no link.
read_link <- function(text, call = caller_env()) {
  if (!is_link(text)) {
    return(NULL)
  }
  # Two ids of 255 bytes, encoded twice over, and servers enough.
  if (nchar(text, "bytes") > 16384L) {
    link_abort(text, "it is longer than 16 KiB", call)
  }
  is_web <- grepl(matrix_to, text, ignore.case = TRUE)
  # What a link is split at is looked for before anything is decoded.
  parts <- if (is_web) web_link_parts(text, call) else uri_parts(text, call)
  first <- parts[["first"]]
  link <- list(
    room = if (!startsWith(first, "@")) first,
    user = if (startsWith(first, "@")) first,
    event = parts[["event"]],
    via = link_via(parts[["query"]], text, call)
  )
  check_link(link, text, call)
  link
}

# https://matrix.to/#/<identifier>/<event>?<query>. Old event ids hold slashes, and old
# links leave `#` and `/` as they are.
web_link_parts <- function(text, call) {
  start <- "^https?://(www[.])?matrix[.]to/#/"
  if (!grepl(start, text, ignore.case = TRUE)) {
    link_abort(text, "it does not begin with https://matrix.to/#/", call)
  }
  split <- cut_at(sub(start, "", text, ignore.case = TRUE), "?")
  path <- cut_at(split[[1]], "/")
  event <- decode_link(path[[2]], text, call)
  list(
    first = decode_link(path[[1]], text, call),
    event = if (nzchar(event)) event,
    query = split[[2]]
  )
}

link_sigils <- c(r = "#", room = "#", roomid = "!", u = "@", user = "@")

# matrix:[//authority/]type/id[/e/event][?query][#fragment]. Authority and fragment mean
# nothing yet.
uri_parts <- function(text, call) {
  rest <- sub("^matrix:(//[^/?#]*/)?", "", text, ignore.case = TRUE)
  split <- cut_at(cut_at(rest, "#")[[1]], "?")
  path <- strsplit(split[[1]], "/", fixed = TRUE)[[1]]
  is_event <- length(path) >= 4L && path[[3]] %in% c("e", "event")
  if (length(path) != 2L && !is_event) {
    link_abort(text, "its path is neither type/id nor roomid/id/e/id", call)
  }
  if (!path[[1]] %in% names(link_sigils)) {
    found <- paste0("its type is \"", path[[1]], "\"")
    link_abort(text, paste0(found, ", and not r, roomid or u"), call)
  }
  id <- function(sigil, parts) {
    id <- decode_link(paste(parts, collapse = "/"), text, call)
    if (grepl("^[]!#@$[]", id)) {
      link_abort(text, "an id stands there with its sigil", call)
    }
    paste0(sigil, id)
  }
  list(
    first = id(link_sigils[[path[[1]]]], path[[2]]),
    event = if (is_event) id("$", path[-(1:3)]),
    query = split[[2]]
  )
}

# The text before the first `mark`, and after it.
cut_at <- function(text, mark) {
  at <- regexpr(mark, text, fixed = TRUE)
  if (at < 0L) {
    return(c(text, ""))
  }
  c(substr(text, 1L, at - 1L), substring(text, at + 1L))
}

# Text without percent-encoding: strict, where utils::URLdecode() goes on with bytes that
# are no text.
decode_link <- function(text, link, call) {
  if (grepl("%(?![0-9A-Fa-f]{2})", text, perl = TRUE)) {
    link_abort(link, "a % stands there that encodes nothing", call)
  }
  bytes <- charToRaw(enc2utf8(text))
  at <- which(bytes == charToRaw("%"))
  codes <- regmatches(text, gregexpr("%[0-9A-Fa-f]{2}", text))[[1]]
  bytes[at] <- as.raw(strtoi(substring(codes, 2L), 16L))
  bytes <- if (length(at) > 0L) bytes[-c(at + 1L, at + 2L)] else bytes
  decoded <- if (!any(bytes == 0L)) rawToChar(bytes) else "\u0001"
  Encoding(decoded) <- "UTF-8"
  if (!validUTF8(decoded) || grepl("[[:cntrl:]]", decoded)) {
    link_abort(link, "what is encoded is no text", call)
  }
  decoded
}

# The servers that a query names. Other arguments mean nothing here.
link_via <- function(query, link, call) {
  items <- strsplit(query, "&", fixed = TRUE)[[1]]
  values <- sub("^via=", "", items[startsWith(items, "via=")])
  via <- vapply(values, decode_link, "", link, call, USE.NAMES = FALSE)
  bad <- via[!is_server_name(via)]
  if (length(bad) > 0L) {
    link_abort(link, paste0("\"", bad[[1]], "\" is no server name"), call)
  }
  unique(via)
}

# Specification: appendices, "Server Name".
is_server_name <- function(x) {
  host <- "([0-9A-Za-z.-]+|\\[[0-9A-Fa-f:.]+\\])"
  grepl(paste0("^", host, "(:[0-9]{1,5})?$"), x) & nchar(x, "bytes") <= 230L
}

check_link <- function(link, text, call) {
  room <- link[["room"]]
  # A room id of room version 12 names no server.
  is_room <- !is.null(room) && grepl("^(!.|#[^:]*:.)", room)
  is_user <- grepl("^@[^:]+:.+$", link[["user"]] %||% "")
  if (!is_room && !is_user) {
    link_abort(text, "it names no room and no user", call)
  }
  event <- link[["event"]]
  if (!is.null(event) && (is_user || !grepl("^[$].", event))) {
    link_abort(text, "what follows the room is no event id", call)
  }
  if (any(nchar(c(room, event), "bytes") > 255L)) {
    link_abort(text, "an id in it is longer than 255 bytes", call)
  }
}

link_abort <- function(link, reason, call) {
  mx_abort(
    c(
      "This link leads to no room or event.",
      x = shortened(printable(paste0(link, ": ", reason, ".")), 400L),
      i = "A room id, an alias, or a link that another client copied works."
    ),
    c("mx_error_link", "mx_error_argument"),
    call = call
  )
}

# The room that an argument names, where that is a link; else itself.
room_of_link <- function(room, call = caller_env()) {
  # An id, as it is in most calls, is no link.
  if (startsWith(room, "!")) {
    return(room)
  }
  link <- read_link(room, call)
  if (!is.null(link[["user"]])) {
    user <- printable(link[["user"]])
    mx_abort(
      c(
        paste0("This link leads to the user ", user, ", and not to a room."),
        i = paste0(
          "mx_room_direct(client, \"",
          user,
          "\") returns your direct room with that user."
        )
      ),
      c("mx_error_link", "mx_error_argument"),
      call = call
    )
  }
  link[["room"]] %||% room
}

# Event ids of what may be links, which must lead to `room`: a reaction to an event of
# another room would say there what was meant for here.
event_ids_of <- function(client, room, x, name, call = caller_env()) {
  linked <- which(is_link(x))
  if (length(linked) == 0L) {
    return(x)
  }
  client <- waiting_client(client)
  room_id <- resolve_room(client, room, call)
  for (i in linked) {
    link <- read_link(x[[i]], call)
    if (is.null(link[["event"]])) {
      link_abort(x[[i]], paste0("`", name, "` needs one to an event"), call)
    }
    if (!identical(resolve_room(client, link[["room"]], call), room_id)) {
      link_abort(x[[i]], "it leads to an event of another room", call)
    }
    x[[i]] <- link[["event"]]
  }
  x
}

# The same of one event id, or NULL.
event_id_of <- function(client, room, x, name, call = caller_env()) {
  if (is.null(check_string(x, name, null = TRUE, call = call))) {
    return(NULL)
  }
  event_ids_of(client, room, x, name, call)
}

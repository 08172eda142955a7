#' Download attachments
#'
#' Saves the files, images, videos and voice messages of events in a directory. What
#' was sent encrypted is decrypted, after its hash was compared with the one in the
#' event: nothing readable is written before. Files that [mx_archive()] keeps are taken
#' from there, and the server is not asked.
#'
#' A download that breaks off is tried again. It continues where it ended if the
#' server supports range requests, and the parts surely belong together: the server
#' identifies the file by a strong `ETag`, or the file is encrypted and has a hash.
#' Otherwise it starts again.
#'
#' @inheritParams mx_room
#' @param event What to download:
#'   * events, as [mx_sync()] and [mx_messages()] return them: the attachment of each
#'     row that has one. Rows without one, and edits, are left out;
#'   * one event, as a handler of [mx_listen()] gets it;
#'   * the content of an event, or a list with a `file` or a `url` like there.
#' @param path The directory to save in. It is created if it does not exist. `NULL`
#'   is a new one in [tempdir()], which is gone when R ends.
#' @param max_size How many bytes are read per file at most. What is larger is
#'   refused. `Inf` for no limit.
#' @param overwrite Whether to replace a file of the same name. `FALSE` saves
#'   `table.csv` as `table (2).csv` then. Two files of one call never replace each
#'   other.
#' @return A data frame with a row per attachment, in the order of the events:
#'   * `event_id`, `room_id` (`NA` for a content).
#'   * `name`: What its sender calls it.
#'   * `path`: Where it is; `NA` if it was not saved.
#'   * `mimetype`: What its sender says that it is. Nothing checks this.
#'   * `size`: How many bytes were saved.
#'   * `encrypted`: Whether it was encrypted for the room. If not, the server
#'     could read and replace it, even if the event itself was encrypted.
#'   * `status`: `"saved"`, `"refused"` (too large, altered, or no valid attachment) or
#'     `"failed"` (it could not be read from the server, or written).
#'   * `reason`: Why it was not saved, as a sentence; `NA` if it was.
#'
#' @section File names:
#' A sender may choose any name. Characters that are special in a path, control
#' characters, and dots and dashes at the beginning are replaced or removed, names
#' that Windows reserves get a `_`, and the name is shortened to 100 characters. The
#' extension stays: a file can still be a program, so do not open what you did not
#' expect. Only you can read a saved file (mode 0600).
#'
#' @section Errors:
#' If you give several events, the rows say what failed, with a warning of class
#' `mx_warning_attachment`. For a single event, also as a row, it is an error:
#' `mx_error_attachment` (it was altered, or is no valid attachment),
#' `mx_error_too_large` (fields `size`, `NA` if the server did not say it, and
#' `largest`), `mx_error_file` (it could not be written), `mx_error_http` (such as
#' `mx_error_M_NOT_FOUND`), `mx_error_network`, `mx_error_answer`. A login that ended
#' is always an error.
#' @references Client-server API, "Content repository":
#'   <https://spec.matrix.org/v1.19/client-server-api/#content-repository>, and
#'   "Sending encrypted attachments":
#'   <https://spec.matrix.org/v1.19/client-server-api/#sending-encrypted-attachments>
#' @family receiving
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' bob <- mx_demo_client(homeserver, "bob")
#' room <- mx_room_create(alice, invite = bob$user_id)
#' mx_room_join(bob, room)
#'
#' file <- file.path(tempdir(), "cars.csv")
#' write.csv(cars, file, row.names = FALSE)
#' mx_send_file(alice, room, file)
#'
#' saved <- mx_media_download(bob, mx_sync(bob))
#' saved[c("name", "size", "encrypted", "status")]
#' head(read.csv(saved$path))
#' @export
mx_media_download <- function(
  client,
  event,
  path = NULL,
  max_size = 100e6,
  overwrite = FALSE
) {
  check_client(client)
  attachments <- attachments_of(event)
  check_number(max_size)
  check_flag(overwrite)
  directory <- media_directory(path)
  if (length(attachments) == 0L) {
    return(attachment_rows(list()))
  }
  work <- work_directory(directory)
  on.exit(unlink(work, recursive = TRUE))
  saver <- function(attachment) {
    fetched <- fetch_attachment(client, attachment, work, max_size)
    on.exit(unlink(fetched))
    place_file(fetched, directory, attachment[["safe_name"]], used, overwrite)
  }
  used <- new.env()
  is_single <- !is.data.frame(event) || nrow(event) == 1L
  rows <- lapply(
    attachments,
    if (is_single) save_attachment else save_or_say_why,
    saver
  )
  warn_unsaved(attachment_rows(rows))
}

# The attachments of what a user gave, each with what is known of its event.
attachments_of <- function(event, call = caller_env()) {
  if (is.data.frame(event)) {
    if (!is.list(event[["content"]])) {
      argument_abort(
        "event",
        "events with their `content`, which mx_sync() returns as a list column",
        call
      )
    }
    rows <- lapply(seq_len(nrow(event)), function(i) row_of(event, i))
    return(lapply(Filter(shows_attachment, rows), new_attachment))
  }
  if (is.list(event)) {
    whole <- if (is.list(event[["content"]])) event else list(content = event)
    # An edit holds the new file beside a fallback.
    new <- json_at(whole, "content", "m.new_content")
    if (has_file(new)) {
      whole[["content"]] <- new
    }
    if (has_file(whole[["content"]])) {
      return(list(new_attachment(whole)))
    }
  }
  argument_abort("event", "events, or an event or content with a file", call)
}

row_of <- function(events, i) {
  list(
    event_id = events[["event_id"]][i],
    room_id = events[["room_id"]][i],
    type = events[["type"]][i],
    content = events[["content"]][[i]],
    relates_to = events[["relates_to"]][i][[1]]
  )
}

# Specification: client-server API, "m.room.message msgtypes" and "Extensible
# profiles". Other events have a `url` that is not for everybody to download, such as
# the picture of a room. An edit shows the attachment of its message again.
shows_attachment <- function(event) {
  type <- event[["type"]]
  msgtype <- json_at(event, "content", "msgtype")
  is_edit <- identical(json_at(event, "relates_to", "rel_type"), "m.replace")
  text <- list("m.text", "m.notice", "m.emote", "m.location")
  is_shown <- is.null(type) || type %in% c("m.room.message", "m.sticker")
  is_shown &&
    !is_edit &&
    !list(msgtype) %in% text &&
    has_file(event[["content"]])
}

has_file <- function(content) {
  is.list(content) &&
    (!is.null(content[["file"]]) || is_string(content[["url"]]))
}

new_attachment <- function(event) {
  content <- event[["content"]]
  mimetype <- json_at(content, "info", "mimetype")
  is_type <- is_string(mimetype) &&
    grepl("^[A-Za-z0-9.+-]{1,100}/[A-Za-z0-9.+-]{1,100}$", mimetype)
  attachment <- list(
    event_id = string_or_na(event[["event_id"]]),
    room_id = string_or_na(event[["room_id"]]),
    name = attachment_name(content),
    mimetype = if (is_type) tolower(mimetype) else NA_character_,
    # A `url` beside it is never used: nothing says what should be there.
    encrypted = !is.null(content[["file"]]),
    file = content[["file"]],
    url = if (is.null(content[["file"]])) {
      content[["url"]]
    } else {
      json_at(content, "file", "url")
    }
  )
  attachment[["safe_name"]] <- safe_file_name(
    attachment[["name"]],
    attachment[["mimetype"]],
    attachment[["event_id"]]
  )
  attachment
}

# The name of a file as its sender gives it, on one line. `body` is a caption where
# there is a `filename`.
attachment_name <- function(content) {
  for (name in list(content[["filename"]], content[["body"]])) {
    if (is_string(name) && validUTF8(enc2utf8(name))) {
      name <- visible_text(substr(enc2utf8(name), 1L, 1000L))
      if (nzchar(name)) {
        return(name)
      }
    }
  }
  NA_character_
}

# The directory that `path` names; there from now on.
media_directory <- function(path, call = caller_env()) {
  directory <- check_path(path, null = TRUE, call = call)
  if (is.null(directory)) {
    directory <- tempfile("media-")
  }
  if (!dir.exists(directory)) {
    dir.create(directory, showWarnings = FALSE, recursive = TRUE, mode = "0700")
  }
  if (!dir.exists(directory)) {
    argument_abort(
      "path",
      "a directory, or one that can be created",
      call,
      path
    )
  }
  directory
}

# A directory beside the files, for what is not whole or not decrypted yet. Another
# user of a shared directory can neither look into it nor put anything there.
work_directory <- function(directory, call = caller_env()) {
  work <- tempfile(".mxcrypt-", directory)
  if (!dir.create(work, showWarnings = FALSE, mode = "0700")) {
    file_abort("written", directory, call)
  }
  work
}

# Brings an attachment into a file of `work`, decrypted if need be: from the archive,
# or from the server.
fetch_attachment <- function(client, attachment, work, max_size) {
  call <- caller_env()
  opened <- file.path(work, "opened")
  if (open_kept(client, attachment, opened, max_size, call)) {
    return(opened)
  }
  fetched <- file.path(work, "fetched")
  fetch <- function(resume) {
    fetch_media(client, attachment[["url"]], fetched, max_size, resume, call)
  }
  if (!attachment[["encrypted"]]) {
    fetch("etag")
    return(fetched)
  }
  on.exit(unlink(fetched))
  resumed <- fetch("hash")
  tryCatch(
    decrypt_attachment(attachment, fetched, work, call),
    mx_error_attachment = function(condition) {
      # A proxy may have sent the rest of another file.
      if (!resumed) {
        raise(condition)
      }
      fetch("never")
      decrypt_attachment(attachment, fetched, work, call)
    }
  )
}

decrypt_attachment <- function(attachment, fetched, work, call) {
  opened <- file.path(work, "opened")
  file <- core(json_encode(attachment[["file"]]), call = call)
  core(attachment_decrypt_file(unclass(file), fetched, opened), call = call)
  opened
}

# Downloads what a content repository has at `url`, and returns whether it was
# resumed (`resume` is that of http_perform()). Servers before version 1.11 of the
# specification know only the path that takes no token, so none is sent there.
# Servers after it may have frozen that path: new files are not to be had there.
fetch_media <- function(client, url, to, max_size, resume, call) {
  address <- core(media_address(string_or_empty(url)), call = call)
  server <- client[["server"]]
  bare <- list(server = server, ca_file = client[["ca_file"]])
  versions <- c("v1", "v3")
  if (identical(the[["media_versions"]][[server]], "v3")) {
    versions <- rev(versions)
  }
  for (version in versions) {
    core(private_file_write(to, ""), call = call)
    answer <- http_perform(
      if (version == "v1") client else bare,
      "GET",
      media_path(address, version),
      file = to,
      max_size = max_size,
      follow = TRUE,
      resume = resume,
      call = call
    )
    status <- answer[["status"]]
    if (status == 200L) {
      known <- the[["media_versions"]]
      known[[server]] <- version
      the[["media_versions"]] <- known
      return(isTRUE(answer[["resumed"]]))
    }
    is_last <- version == versions[[2]]
    if (is_last || !knows_not(answer, version)) {
      break
    }
  }
  if (status >= 400L) {
    http_abort(answer, call = call)
  }
  answer_abort("The response to a download", answer, call)
}

media_path <- function(address, version) {
  path <- api_path(
    "download",
    address[["server"]],
    address[["media_id"]],
    version = if (version == "v1") "v1/media" else version,
    query = if (version == "v3") list(allow_redirect = "true")
  )
  if (version == "v1") path else sub("/client/", "/media/", path, fixed = TRUE)
}

# Whether the other version is worth a try.
knows_not <- function(answer, version) {
  is_unbuilt(answer) || (answer[["status"]] == 404L && version == "v3")
}

# Gives a file its name, and returns its path. `used` holds the paths of this call.
place_file <- function(from, directory, name, used, overwrite) {
  for (number in seq_len(100000L)) {
    to <- file.path(directory, numbered_name(name, number))
    # Also where a file system does not tell capitals apart.
    key <- tolower(to)
    if (is.null(used[[key]])) {
      used[[key]] <- TRUE
      if (given_path(from, to, overwrite, caller_env())) {
        return(to)
      }
    }
  }
  file_abort("written", to, caller_env())
}

# Moves a file to a path, and returns whether that was free.
given_path <- function(from, to, overwrite, call) {
  if (overwrite && !dir.exists(to)) {
    # This replaces a link, not what the link leads to.
    moved <- suppressWarnings(file.rename(from, to))
  } else {
    moved <- !is_there(to) && moved_new(from, to)
    if (!moved && is_there(to)) {
      return(FALSE)
    }
  }
  if (!moved) {
    file_abort("written", to, call)
  }
  TRUE
}

# A link that leads nowhere is there, too.
is_there <- function(path) {
  file.exists(path) || nzchar(Sys.readlink(path), keepNA = TRUE) %in% TRUE
}

# A hard link fails where something has just been put, while a rename would replace
# it. Some file systems have no links.
moved_new <- function(from, to) {
  if (suppressWarnings(file.link(from, to))) {
    unlink(from)
    return(TRUE)
  }
  !is_there(to) && suppressWarnings(file.rename(from, to))
}

# The row of an attachment.
save_attachment <- function(attachment, saver) {
  saved_row(attachment, saver(attachment))
}

# The same, or the row of one that has no file, with the reason.
save_or_say_why <- function(attachment, saver) {
  outcome <- tryCatch(save_attachment(attachment, saver), mx_error = identity)
  if (!inherits(outcome, "condition")) {
    return(outcome)
  }
  # The others would fail in the same way.
  if (inherits(outcome, login_errors)) {
    raise(outcome)
  }
  refusals <- c("mx_error_attachment", "mx_error_too_large", "mx_error_json")
  new_row(
    attachment,
    status = if (inherits(outcome, refusals)) "refused" else "failed",
    reason = strsplit(conditionMessage(outcome), "\n", fixed = TRUE)[[1]][[1]]
  )
}

login_errors <- c(
  "mx_error_signed_out",
  "mx_error_renewal",
  "mx_error_M_UNKNOWN_TOKEN",
  "mx_error_M_MISSING_TOKEN"
)

saved_row <- function(attachment, path) {
  new_row(attachment, path = path, size = file.size(path), status = "saved")
}

new_row <- function(
  attachment,
  path = NA_character_,
  size = NA_real_,
  status,
  reason = NA_character_
) {
  data.frame(
    event_id = attachment[["event_id"]],
    room_id = attachment[["room_id"]],
    name = attachment[["name"]],
    path = path,
    mimetype = attachment[["mimetype"]],
    size = size,
    encrypted = attachment[["encrypted"]],
    status = status,
    reason = reason
  )
}

attachment_rows <- function(rows) {
  none <- list(
    event_id = NA_character_,
    room_id = NA_character_,
    name = NA_character_,
    mimetype = NA_character_,
    encrypted = NA
  )
  none <- new_row(none, status = NA_character_)[0L, ]
  do.call(rbind, c(list(none), rows))
}

warn_unsaved <- function(rows) {
  unsaved <- sum(rows[["status"]] != "saved")
  if (unsaved > 0L) {
    mx_warn(
      c(
        paste0(
          plural(unsaved, "attachment"),
          " of ",
          nrow(rows),
          if (unsaved == 1L) " was" else " were",
          " not saved."
        ),
        i = "See the column `reason` of the result."
      ),
      "mx_warning_attachment"
    )
  }
  rows
}

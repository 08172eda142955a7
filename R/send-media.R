#' Send a file
#'
#' Files can only be sent to rooms that are not encrypted: encrypted attachments
#' are not built yet, and a file that is sent in the clear into an encrypted room
#' would be read by whoever runs its servers.
#'
#' @inheritParams mx_room
#' @param path The file.
#' @param body What to call it.
#' @param content_type Its media type.
#' @return The event id, invisibly.
#' @section Errors:
#' `mx_error_media_unencrypted` when the room is, or was once seen, encrypted.
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' file <- tempfile(fileext = ".csv")
#' write.csv(cars, file)
#' try(mx_send_media(alice, room, file))
#' @export
mx_send_media <- function(
  client,
  room,
  path,
  body = basename(path),
  content_type = "application/octet-stream"
) {
  check_client(client)
  check_string(path)
  check_string(body)
  check_string(content_type)
  room_id <- resolve_room(client, room)
  if (room_is_encrypted(client, room_id)) {
    mx_abort(
      c(
        "Files cannot be sent to encrypted rooms yet.",
        x = "In the clear, whoever runs the room's servers would read it.",
        i = "Send a table with mx_send_table(), or text with mx_send_text()."
      ),
      "mx_error_media_unencrypted"
    )
  }
  bytes <- read_file(path)
  url <- upload_file(client, bytes, content_type, body)
  content <- list(
    msgtype = media_msgtype(content_type),
    body = body,
    url = url,
    info = list(mimetype = content_type, size = length(bytes))
  )
  mx_send(client, room_id, content)
}

# Puts bytes into the content repository; their address.
upload_file <- function(
  client,
  bytes,
  content_type = "application/octet-stream",
  name = NULL,
  call = caller_env()
) {
  query <- if (!is.null(name)) paste0("?filename=", encode_segment(name))
  uploaded <- http_json(
    client,
    "POST",
    paste0("/_matrix/media/v3/upload", query),
    content = list(bytes = bytes, type = content_type),
    call = call
  )
  url <- uploaded[["content_uri"]]
  if (!is_string(url) || !startsWith(url, "mxc://")) {
    mx_abort(
      "The server took the file and gave it no address.",
      "mx_error_answer",
      call = call
    )
  }
  url
}

read_file <- function(
  path,
  name = rlang::caller_arg(path),
  call = caller_env()
) {
  unreadable <- function(condition) {
    argument_abort(name, "a file that can be read", call)
  }
  if (!file.exists(path) || dir.exists(path)) {
    unreadable()
  }
  bytes <- function() readBin(path, "raw", file.size(path))
  tryCatch(suppressWarnings(bytes()), error = unreadable)
}

media_msgtype <- function(content_type) {
  kind <- sub("/.*$", "", content_type)
  if (kind %in% c("image", "audio", "video")) paste0("m.", kind) else "m.file"
}

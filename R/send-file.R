#' Send files, pictures, videos and sounds
#'
#' In an encrypted room a file is encrypted before it leaves the device, and so are
#' its name, its type and its thumbnail: the server sees bytes, and how many. In a
#' room that is not encrypted it is uploaded as it is.
#'
#' `mx_send_file()` sends any file; pictures, videos and sounds that clients can show
#' are sent as such. `mx_send_image()`, `mx_send_video()` and `mx_send_audio()` refuse
#' files of other types. `mx_send_media()` is the same under the names of mx.client.
#'
#' The duration of a sound or video is sent too, if its header has it: of WAV, MP4, M4A,
#' MOV, and Ogg files with Opus or Vorbis.
#'
#' A file is copied first, encrypted if its room is, to a directory beside the store
#' that only its owner can read. If the network fails, or R is killed, it waits there
#' like any message in the outbox (see [mx_outbox()]): the next call that reaches the
#' server, also [mx_sync()], uploads it and sends it, once, even if the
#' original was changed or deleted. Later messages in its room wait for it. One request
#' comes first: whether a room that was never seen encrypted is encrypted now. If the
#' server does not respond, that is an error, and nothing waits.
#'
#' @inheritParams mx_send
#' @param path The file, or several, each of which becomes a message; or a raw vector,
#'   which needs a `name`.
#' @param name The name of the file, with its extension; by default the file's own name.
#' @param caption Text to show with it, or `NULL`.
#' @param markdown Whether the captions are Markdown.
#' @param thumbnail A smaller picture to show before the file is fetched: a path or a
#'   raw vector. `NULL` or `TRUE` makes one of a large picture, see below. `FALSE`
#'   sends none.
#' @param type The media type, such as `"text/csv"`. By default it is found by the first
#'   bytes for pictures, and else by the extension.
#' @param body The name of the file; `NULL` is its own name.
#' @param content_type Its media type; `NULL` finds it as for `type`.
#' @return The event id of each file, invisibly.
#' @section Size:
#' A request finds out how large a file may be, before the file is read. Files that wait
#' beside the store have at most 4 GB together (option `mxcrypt.max_waiting`, in bytes).
#' @section Thumbnails:
#' A PNG or JPEG picture of more than 800 by 600 pixels and 100 kB gets a thumbnail of
#' at most 800 by 600 pixels, which is encrypted like the picture itself. The packages
#' png and jpeg make it. No thumbnail is made where its package is missing, the picture
#' has more than 40 million pixels or cannot be read, or a JPEG picture is to be turned
#' before it is shown (Exif orientation). The picture is then sent without one.
#' @section Errors:
#' `mx_error_too_large` when the server does not accept files of this size, or too many
#' files wait already: `size` and `largest` are in bytes if they are known, and
#' nothing was sent.
#' `mx_error_attachment` when a file cannot be read. Others are those of [mx_send()].
#' @references Client-server API, "Content repository", "Sending encrypted
#'   attachments" and "Media captions":
#'   <https://spec.matrix.org/v1.19/client-server-api/#sending-encrypted-attachments>
#' @family sending
#' @seealso [mx_media_download()] for the other side, [mx_send_plot()] for plots.
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, name = "Pipeline")
#' file <- tempfile("cars-", fileext = ".csv")
#' write.csv(cars, file)
#' mx_send_file(alice, "Pipeline", file, caption = "The *cars*", markdown = TRUE)
#' mx_send_file(alice, room, charToRaw("speed,dist"), name = "header.csv")
#' @export
mx_send_file <- function(
  client,
  room,
  path,
  name = NULL,
  caption = NULL,
  markdown = FALSE,
  mentions = character(),
  reply_to = NULL,
  thread = NULL,
  thumbnail = NULL,
  type = NULL,
  transaction_id = NULL
) {
  send_files(
    client,
    room,
    path,
    name,
    caption,
    markdown,
    mentions,
    reply_to,
    thread,
    thumbnail,
    type,
    transaction_id
  )
}

#' @rdname mx_send_file
#' @export
mx_send_image <- function(
  client,
  room,
  path,
  name = NULL,
  caption = NULL,
  markdown = FALSE,
  mentions = character(),
  reply_to = NULL,
  thread = NULL,
  thumbnail = NULL,
  type = NULL,
  transaction_id = NULL
) {
  send_files(
    client,
    room,
    path,
    name,
    caption,
    markdown,
    mentions,
    reply_to,
    thread,
    thumbnail,
    type,
    transaction_id,
    kind = "image"
  )
}

#' @rdname mx_send_file
#' @export
mx_send_video <- function(
  client,
  room,
  path,
  name = NULL,
  caption = NULL,
  markdown = FALSE,
  mentions = character(),
  reply_to = NULL,
  thread = NULL,
  thumbnail = NULL,
  type = NULL,
  transaction_id = NULL
) {
  send_files(
    client,
    room,
    path,
    name,
    caption,
    markdown,
    mentions,
    reply_to,
    thread,
    thumbnail,
    type,
    transaction_id,
    kind = "video"
  )
}

#' @rdname mx_send_file
#' @export
mx_send_audio <- function(
  client,
  room,
  path,
  name = NULL,
  caption = NULL,
  markdown = FALSE,
  mentions = character(),
  reply_to = NULL,
  thread = NULL,
  type = NULL,
  transaction_id = NULL
) {
  send_files(
    client,
    room,
    path,
    name,
    caption,
    markdown,
    mentions,
    reply_to,
    thread,
    NULL,
    type,
    transaction_id,
    kind = "audio"
  )
}

#' @rdname mx_send_file
#' @export
mx_send_media <- function(
  client,
  room,
  path,
  body = NULL,
  content_type = NULL
) {
  check_client(client)
  send_files(client, room, path, name = body, type = content_type)
}

send_files <- function(
  client,
  room,
  path,
  name = NULL,
  caption = NULL,
  markdown = FALSE,
  mentions = character(),
  reply_to = NULL,
  thread = NULL,
  thumbnail = NULL,
  type = NULL,
  transaction_id = NULL,
  kind = NULL,
  call = caller_env()
) {
  check_client(client, call = call)
  check_flag(markdown, call = call)
  check_user_ids(mentions, call = call)
  relation <- relation_to(
    event_id_of(client, room, reply_to, "reply_to", call),
    event_id_of(client, room, thread, "thread", call)
  )
  files <- files_of(path, name, type, kind, call)
  captions <- captions_of(caption, length(files), call)
  given <- thumbnail_given(thumbnail, length(files), call)
  check_transaction_ids(transaction_id, length(files), call)
  if (length(files) == 0L) {
    return(invisible(character()))
  }
  room_id <- resolve_room(client, room, call = call)
  encrypted <- room_is_encrypted(client, room_id)
  check_upload_sizes(client, c(files, given), call)

  machine <- machine_of(client, call = call)
  staging <- file_staging(client, machine, encrypted, call)
  on.exit(staging[["clean"]]())
  messages <- Map(
    function(file, caption) {
      words <- caption_content(
        file[["name"]],
        caption,
        markdown,
        mentions,
        relation
      )
      picture <- given[[1]]
      if (is.null(given) && !isFALSE(thumbnail)) {
        picture <- made_thumbnail(file)
      }
      file_message(staging, file, words, picture)
    },
    files,
    captions
  )
  numbers <- machine_send_files(
    machine,
    room_id,
    vapply(messages, function(x) as_json_text(x[["content"]]), ""),
    vapply(messages, function(x) as_json_text(x[["uploads"]]), ""),
    transaction_id
  )
  numbers <- core(numbers, call = call)
  ids <- see_them_sent(
    client,
    machine,
    room_id,
    numbers,
    call,
    tell_unsigned = TRUE
  )
  invisible(ids)
}

# Content and uploads of the message that brings one file.
file_message <- function(staging, file, words, thumbnail) {
  info <- file_info(file)
  staged <- staging[["add"]](file)
  info[["size"]] <- staged[["upload"]][["size"]]
  member <- if (is.null(staged[["key"]])) "url" else "file"
  uploads <- list(c(
    staged[["upload"]],
    list(place = I(if (member == "url") "url" else c("file", "url")))
  ))
  if (!is.null(thumbnail)) {
    picture <- staging[["add"]](thumbnail)
    info[["thumbnail_info"]] <- file_info(thumbnail)
    info[["thumbnail_info"]][["size"]] <- picture[["upload"]][["size"]]
    name <- paste0("thumbnail_", member)
    info[[name]] <- picture[["key"]] %||% ""
    place <- c("info", name, if (member == "file") "url")
    uploads <- c(
      uploads,
      list(c(picture[["upload"]], list(place = I(place))))
    )
  }
  content <- c(list(msgtype = file[["msgtype"]]), words, list(info = info))
  content[[member]] <- staged[["key"]] %||% ""
  list(content = content, uploads = uploads)
}

# What an event says of a file.
file_info <- function(file) {
  info <- list(mimetype = file[["type"]])
  info[["w"]] <- file[["width"]]
  info[["h"]] <- file[["height"]]
  info[["duration"]] <- file[["duration"]]
  info
}

# Specification: "Media captions". `filename` stands beside a `body` that is a caption.
caption_content <- function(name, caption, markdown, mentions, relation) {
  words <- if (is.null(caption)) name else caption
  content <- text_content(
    words,
    "m.file",
    markdown && !is.null(caption),
    mentions,
    relation
  )
  content[["msgtype"]] <- NULL
  # The name of a file is no text in which somebody is named.
  if (is.null(caption)) {
    content[c("format", "formatted_body")] <- NULL
  }
  content[["filename"]] <- name
  content
}

captions_of <- function(caption, n, call) {
  if (is.null(caption)) {
    return(vector("list", n))
  }
  refuse_table(caption, "caption", "text", call)
  caption <- check_texts(caption, name = "caption", call = call)
  if (!length(caption) %in% c(1L, n)) {
    argument_abort("caption", "one text, or one for each file", call)
  }
  as.list(rep_len(caption, n))
}

# The picture that is to be the thumbnail, as a list of one file, or NULL.
thumbnail_given <- function(thumbnail, n, call) {
  if (is.null(thumbnail) || isTRUE(thumbnail) || isFALSE(thumbnail)) {
    return(NULL)
  }
  name <- if (is.raw(thumbnail)) "thumbnail"
  pictures <- files_of(thumbnail, name, NULL, NULL, call, "thumbnail")
  if (n != 1L || length(pictures) != 1L || is.null(pictures[[1]][["width"]])) {
    argument_abort("thumbnail", "one picture for one file", call)
  }
  pictures
}

check_transaction_ids <- function(transaction_id, n, call) {
  if (is.null(transaction_id)) {
    return(invisible())
  }
  check_strings(transaction_id, call = call)
  if (length(transaction_id) != n || anyDuplicated(transaction_id) > 0L) {
    argument_abort("transaction_id", "an id of its own for each file", call)
  }
}

# Which files are to be sent, and as what.

# Pictures that clients show. Of others (SVG, TIFF, HEIC) they show nothing.
shown_pictures <- c("image/png", "image/jpeg", "image/gif", "image/webp")

# The files that `path`, a character or raw vector, names: for each its `source`,
# `name`, `size` in bytes, `type`, `msgtype`, of a picture `width` and `height`, and of
# a sound or video `duration` in milliseconds where it is known.
files_of <- function(path, name, type, kind, call, arg = "path") {
  sources <- if (is.raw(path)) list(path) else as_paths(path, arg, call)
  n <- length(sources)
  if (is.raw(path) && is.null(name)) {
    mx_abort(
      c(
        paste0("`", arg, "` is a raw vector, and needs a `name`."),
        i = "For example `name = \"results.csv\"`: its extension says what it is."
      ),
      "mx_error_argument",
      call = call
    )
  }
  names <- file_names(sources, name, n, call)
  if (!is.null(type)) {
    type <- rep_len(check_media_type(type, n, call), n)
  }
  lapply(seq_len(n), function(i) {
    one_file(sources[[i]], names[[i]], type[i], kind, arg, call)
  })
}

one_file <- function(source, name, type, kind, arg, call) {
  is_path <- is.character(source)
  size <- if (is_path) core(attachment_size(source), call) else length(source)
  picture <- picture_of(source)
  if (inherits(picture, "mxcrypt_failure")) {
    argument_abort(arg, "a file that can be read", call, source)
  }
  shown <- shown_size(picture, source)
  if (is.null(type)) {
    type <- picture[["type"]] %||% type_by_name(name)
  }
  check_kind(type, kind, name, call)
  msgtype <- msgtype_of(type, kind)
  list(
    source = source,
    name = name,
    size = as.numeric(size),
    type = type,
    msgtype = msgtype,
    duration = if (msgtype %in% c("m.audio", "m.video")) media_duration(source),
    width = shown[["width"]],
    height = shown[["height"]]
  )
}

# Width and height of a picture as clients show it; nothing of other files.
shown_size <- function(picture, source) {
  size <- picture[c("width", "height")]
  is_jpeg <- identical(picture[["type"]], "image/jpeg")
  if (is_jpeg && jpeg_orientation(source) >= 5) {
    names(size) <- rev(names(size))
  }
  size
}

unknown_type <- "application/octet-stream"

# By its extension alone: in the C locale R has no file name beyond ASCII.
type_by_name <- function(name) {
  extension <- regmatches(name, regexpr("[.][A-Za-z0-9_+-]{1,20}$", name))
  if (length(extension) == 0L) {
    return(unknown_type)
  }
  mime::guess_type(paste0("x", extension), empty = unknown_type)
}

msgtype_of <- function(type, kind) {
  if (!is.null(kind)) {
    return(paste0("m.", kind))
  }
  family <- sub("/.*$", "", type)
  if (type %in% shown_pictures || family %in% c("video", "audio")) {
    paste0("m.", family)
  } else {
    "m.file"
  }
}

check_kind <- function(type, kind, name, call) {
  if (!is.null(kind) && !startsWith(type, paste0(kind, "/"))) {
    mx_abort(
      c(
        paste0("This is of type ", type, ", and cannot be sent as ", kind, "."),
        x = printable(name),
        i = "mx_send_file() sends any file. `type` says what a file is."
      ),
      "mx_error_argument",
      call = call
    )
  }
}

# RFC 6838, section 4.2, and parameters after it.
check_media_type <- function(type, n, call) {
  check_strings(type, "type", call)
  token <- "[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
  good <- grepl(paste0("^", token, "/", token, "(;[ -~]{0,200})?$"), type)
  if (!all(good) || !length(type) %in% c(1L, n)) {
    argument_abort("type", "a media type such as \"text/csv\"", call)
  }
  type
}

as_paths <- function(path, arg, call) {
  if (inherits(path, c("ggplot", "recordedplot", "trellis", "grob"))) {
    mx_abort(
      c(
        paste0("`", arg, "` must be the path of a file, and not a plot."),
        i = "mx_send_plot() sends a plot."
      ),
      "mx_error_argument",
      call = call
    )
  }
  refuse_table(path, arg, "the path of a file", call)
  path <- check_strings(marked_paths(path), arg, call)
  lapply(path, function(one) {
    one <- check_path(one, arg, call = call)
    if (!is_file(one)) {
      argument_abort(arg, "a file that can be read", call, one)
    }
    one
  })
}

# In the C locale a path that list.files() gave is bytes of which R does not know that
# they are UTF-8, and converting would change them. The core opens it as it is.
marked_paths <- function(path) {
  if (is.character(path) && !isTRUE(l10n_info()[["UTF-8"]])) {
    is_utf8 <- Encoding(path) == "unknown" & validUTF8(path)
    # R 4.6 refuses to mark nothing.
    if (any(is_utf8)) {
      Encoding(path)[is_utf8] <- "UTF-8"
    }
  }
  path
}

# What stands behind the last separator. basename() converts to the locale's encoding.
last_part <- function(path) {
  windows <- .Platform[["OS.type"]] == "windows"
  sub(if (windows) "^.*[/\\\\]" else "^.*/", "", path)
}

file_names <- function(sources, name, n, call) {
  if (is.null(name)) {
    return(vapply(
      sources,
      function(path) checked_text(last_part(path), "path", call),
      ""
    ))
  }
  check_strings(name, call = call)
  if (length(name) != n || !all(nzchar(name)) || any(nchar(name) > 255L)) {
    argument_abort("name", "one name of at most 255 characters a file", call)
  }
  name
}

# The whole of a file.
read_file <- function(
  path,
  name = rlang::caller_arg(path),
  call = caller_env()
) {
  unreadable <- function(condition) {
    argument_abort(name, "a file that can be read", call, path)
  }
  if (!is_file(path)) {
    unreadable()
  }
  bytes <- function() readBin(path, "raw", file.size(path))
  tryCatch(suppressWarnings(bytes()), error = unreadable)
}

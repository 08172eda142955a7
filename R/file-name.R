# Names of files, whatever a sender chose.

# Without what moves the cursor, changes the direction of writing or cannot be seen:
# "gpj.exe" written from right to left reads as a picture.
visible_text <- function(text) {
  text <- gsub("[\\p{Cc}\\p{Z}]+", " ", text, perl = TRUE)
  trimws(gsub("[\\p{Cf}\\p{Co}\\p{Cs}]+", "", text, perl = TRUE))
}

# A name that is safe in a directory of any system, whatever the sender chose.
safe_file_name <- function(name, mimetype = NA, event_id = NA) {
  name <- visible_text(if (is.na(name)) "" else name)
  name <- gsub("[/\\\\:*?\"<>|]", "_", name)
  # Names that R and the core would write differently.
  if (!isTRUE(l10n_info()[["UTF-8"]])) {
    name <- iconv(name, "UTF-8", "ASCII", sub = "_")
  }
  # Leading dots hide a file, and a dash makes it an option of a program. Windows
  # removes dots and spaces at the end, so that two names would be one file.
  name <- sub("^[-.\\s]+", "", name, perl = TRUE)
  name <- sub("[.\\s]+$", "", name, perl = TRUE)
  if (!nzchar(name)) {
    name <- name_without_name(mimetype, event_id)
  }
  shorten_name(unreserve(name))
}

# Windows opens a device for these, also with an extension.
unreserve <- function(name) {
  device <- "^(con|prn|aux|nul|conin\\$|conout\\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])$"
  stem <- trimws(sub("[.].*$", "", name))
  if (grepl(device, stem, ignore.case = TRUE)) paste0("_", name) else name
}

# File systems end a name at 255 bytes; " (2)" may come to it.
shorten_name <- function(name) {
  parts <- name_parts(name)
  stem <- substr(parts[[1]], 1L, 100L - nchar(parts[[2]]))
  while (nchar(stem, "bytes") + nchar(parts[[2]], "bytes") > 200L) {
    stem <- substr(stem, 1L, nchar(stem) - 1L)
  }
  paste0(sub("[.\\s]+$", "", stem, perl = TRUE), parts[[2]])
}

# A name without its extension, and that.
name_parts <- function(name) {
  extension <- regmatches(
    name,
    regexpr("([.]tar)?[.][A-Za-z0-9]{1,12}$", name)
  )
  extension <- if (length(extension) == 1L) extension else ""
  c(substr(name, 1L, nchar(name) - nchar(extension)), extension)
}

name_without_name <- function(mimetype, event_id) {
  id <- gsub("[^A-Za-z0-9]", "", if (is.na(event_id)) "" else event_id)
  extension <- media_extensions[match(mimetype, names(media_extensions))]
  paste0(
    if (nzchar(id)) paste0("file-", substr(id, 1L, 12L)) else "file",
    if (!is.na(extension)) extension
  )
}

media_extensions <- c(
  "application/json" = ".json",
  "application/pdf" = ".pdf",
  "application/zip" = ".zip",
  "audio/mp4" = ".m4a",
  "audio/mpeg" = ".mp3",
  "audio/ogg" = ".ogg",
  "audio/wav" = ".wav",
  "image/gif" = ".gif",
  "image/jpeg" = ".jpg",
  "image/png" = ".png",
  "image/svg+xml" = ".svg",
  "image/webp" = ".webp",
  "text/csv" = ".csv",
  "text/html" = ".html",
  "text/plain" = ".txt",
  "video/mp4" = ".mp4",
  "video/webm" = ".webm"
)

numbered_name <- function(name, number) {
  if (number == 1L) {
    return(name)
  }
  parts <- name_parts(name)
  paste0(parts[[1]], " (", number, ")", parts[[2]])
}

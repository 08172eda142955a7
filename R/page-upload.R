# A file that a person gives to a page. It comes in pieces, as inputs of the session.
#
# Shiny's own upload is switched off (page.R): it takes the files of anybody who can connect,
# before the page knows who that is.

# As large as key exports of accounts that are years old.
most_uploaded <- 512 * 1024^2

# A directory of the session that only this user can enter, until the page is closed.
session_dir <- function(page) {
  dir <- tempfile("mxcrypt-page-")
  dir.create(dir, mode = "0700")
  ended <- page[["session"]][["onSessionEnded"]]
  ended(function() unlink(dir, recursive = TRUE))
  dir
}

# Receives the files of a field (page_file()). Returns a function that returns the path of
# the file that a form was sent with, or NULL where that is not here: another one may have
# been chosen before, and the right one may be on its way.
receive_file <- function(page, id, most = most_uploaded) {
  path <- file.path(session_dir(page), "upload")
  file <- rlang::env(number = NULL, size = NULL, done = 0)
  input <- paste0(id, "_piece")
  shiny::observeEvent(page[["input"]][[input]], {
    piece <- read_piece(page[["input"]][[input]])
    if (!is.null(piece)) {
      done <- take_piece(file, piece, path, most)
      send <- page[["session"]][["sendCustomMessage"]]
      send("mx-piece", list(id = id, number = piece[["number"]], done = done))
    }
  })
  function(fields) {
    number <- fields[[id]]
    is_here <- is.numeric(number) &&
      identical(as.numeric(number), file[["number"]]) &&
      file[["done"]] == file[["size"]]
    if (is_here) path
  }
}

# What a browser sent may be anything: the number and size of a file, where the piece
# begins, and its bytes.
read_piece <- function(sent) {
  counts <- c("number", "size", "at")
  if (
    !is.list(sent) ||
      !all(vapply(sent[counts], is_count, NA)) ||
      !is_string(sent[["data"]])
  ) {
    return(NULL)
  }
  bytes <- tryCatch(
    jsonlite::base64_dec(sent[["data"]]),
    error = function(condition) NULL
  )
  if (!is.null(bytes)) {
    c(lapply(sent[counts], as.numeric), list(bytes = bytes))
  }
}

is_count <- function(x) {
  is.numeric(x) && length(x) == 1L && is.finite(x) && x >= 0
}

# Appends a piece, and returns how much of its file is here; -1 for one that is too large. A
# piece of another file begins that; one that does not follow is left out.
take_piece <- function(file, piece, path, most) {
  if (piece[["size"]] > most) {
    return(-1)
  }
  if (!identical(file[["number"]], piece[["number"]])) {
    file[["number"]] <- piece[["number"]]
    file[["size"]] <- piece[["size"]]
    file[["done"]] <- 0
    close(file(path, "wb"))
  }
  done <- file[["done"]] + length(piece[["bytes"]])
  if (piece[["at"]] == file[["done"]] && done <= file[["size"]]) {
    connection <- file(path, "ab")
    on.exit(close(connection))
    writeBin(piece[["bytes"]], connection)
    file[["done"]] <- done
  }
  file[["done"]]
}

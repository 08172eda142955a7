# What a client makes of a file that an event names, without mx_media_download().
opened <- function(client, content, member = "file") {
  file <- content[[member]]
  url <- if (is.list(file)) file[["url"]] else content[["url"]]
  path <- sub("mxc://", "/_matrix/client/v1/media/download/", url, fixed = TRUE)
  answer <- http_perform(client, "GET", path)
  expect_equal(answer[["status"]], 200L)
  if (is.list(file)) {
    mxc_attachment_decrypt(answer[["body"]], file)
  } else {
    answer[["body"]]
  }
}

# The content of the newest message that `client` has not seen.
new_content <- function(client) {
  events <- messages(mx_sync(client))
  expect_true(all(is.na(events$utd_reason)))
  events$content[[nrow(events)]]
}

waiting_files <- function(client) list.files(files_dir(client))

a_picture <- function(width = 20, height = 10, .local_envir = parent.frame()) {
  skip_if_not_installed("png")
  file <- withr::local_tempfile(fileext = ".png", .local_envir = .local_envir)
  png::writePNG(matrix(seq(0, 1, length.out = width * height), height), file)
  file
}

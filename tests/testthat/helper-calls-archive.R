# The archive. It is made here: each call must work whatever ran before it.
calls_archive <- function(scene) {
  alice <- scene$alice
  room <- scene$room
  mx_archive(alice, room)
  file <- tempfile(fileext = ".csv")
  list(
    mx_archive = list(
      client = alice,
      rooms = room,
      retention = 365,
      media = FALSE
    ),
    mx_archive_read = list(
      client = alice,
      rooms = room,
      since = "2020-01-01",
      until = NULL,
      types = NULL,
      unsigned = FALSE,
      edits = TRUE
    ),
    mx_archive_export = list(
      client = alice,
      path = file,
      rooms = room,
      format = "csv",
      since = NULL,
      until = NULL,
      types = NULL,
      unsigned = FALSE,
      edits = TRUE,
      overwrite = TRUE
    ),
    mx_archive_forget = list(
      client = alice,
      rooms = room,
      before = "2020-01-01"
    ),
    mx_search = list(
      client = alice,
      pattern = "x",
      rooms = room,
      senders = NULL,
      since = NULL,
      until = NULL,
      fixed = FALSE,
      ignore_case = TRUE,
      context = 1,
      limit = 10,
      unsigned = FALSE
    )
  )
}

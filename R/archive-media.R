# The files of archived messages, in a directory beside the store: as the server has
# them where they are encrypted, otherwise encrypted here.
#
# A file is a draft until the store knows its name. So a file of a final name that the
# store does not know was deleted, and can go at any time.

archive_dir <- function(client) {
  file.path(beside_store(client[["store_dir"]]), "archive")
}

# The largest file that is kept, in bytes; NULL as it was.
check_media <- function(media, call = caller_env()) {
  if (is.null(media)) {
    return(NULL)
  }
  if (is.logical(media)) {
    return(if (check_flag(media, call = call)) 100e6 else 0)
  }
  # Beyond any file that there is.
  min(floor(check_number(media, call = call)), 2^53)
}

# Fetches the files of a room that are missing. One that fails does not stop the
# others, but several in a row of one server mean that it, or the disk, has failed.
keep_files <- function(client, room_id) {
  machine <- machine_of(client)
  room <- core(machine_archived_room(machine, room_id))
  if (is.null(room) || room[["largest_media"]] == 0) {
    return(invisible())
  }
  dir <- archive_dir(client)
  present <- kept_in(dir)
  sizes <- file.size(file.path(dir, present))
  is_there <- !is.na(sizes)
  wanted <- core(machine_wanted_media(
    machine,
    room_id,
    present[is_there],
    sizes[is_there]
  ))
  if (length(wanted) > 0L) {
    core(private_directory_create(dir))
  }
  failed <- numeric()
  for (event_id in wanted) {
    attachment <- core(machine_archived_attachment(machine, room_id, event_id))
    host <- sub("^mxc://([^/]*)/.*$", "\\1", attachment[["url"]] %||% "")
    so_far <- failed[host]
    if (!isTRUE(so_far >= 5)) {
      has_failed <- keep_or_refuse(client, room_id, event_id)
      failed[host] <- if (has_failed) sum(so_far, 1, na.rm = TRUE) else 0
    }
  }
}

# Keeps the file of an event, or notes that it cannot be kept. Returns whether neither
# is known: the next call tries again.
keep_or_refuse <- function(client, room_id, event_id) {
  failure <- tryCatch(
    {
      keep_file(client, room_id, event_id)
      NULL
    },
    mx_error = identity
  )
  if (is.null(failure)) {
    return(FALSE)
  }
  if (inherits(failure, login_errors)) {
    raise(failure)
  }
  is_missing <- inherits(failure, "mx_error_attachment") ||
    identical(failure[["status"]], 404L)
  is_large <- inherits(failure, "mx_error_too_large")
  if (is_missing || is_large) {
    core(machine_refuse_media(
      machine_of(client),
      room_id,
      event_id,
      if (is_large) failure[["largest"]]
    ))
  }
  !is_missing && !is_large
}

keep_file <- function(client, room_id, event_id, call = caller_env()) {
  machine <- machine_of(client, call = call)
  attachment <- core(
    machine_archived_attachment(machine, room_id, event_id),
    call = call
  )
  room <- core(machine_archived_room(machine, room_id), call = call)
  # It was redacted or forgotten meanwhile.
  if (is.null(attachment) || is.null(room)) {
    return(invisible())
  }
  dir <- archive_dir(client)
  ending <- paste0("-", Sys.getpid())
  name <- basename(tempfile("file-", dir, fileext = ending))
  draft <- file.path(dir, paste0("draft-", name))
  on.exit(unlink(draft))
  largest <- room[["largest_media"]]
  key <- fetch_encrypted(client, attachment, draft, largest, call)
  size <- file.size(draft)
  kept <- machine_keep_media(machine, room_id, event_id, name, size, key)
  kept <- core(kept, call = call)
  if (kept && !suppressWarnings(file.rename(draft, file.path(dir, name)))) {
    file_abort("written", dir, call)
  }
}

# Downloads an attachment into `draft`. Where its sender did not encrypt it, that is
# done here, and the key is returned.
fetch_encrypted <- function(client, attachment, draft, largest, call) {
  url <- attachment[["url"]]
  if (!is.null(attachment[["key"]])) {
    fetch_media(client, url, draft, largest, "etag", call)
    core(attachment_check_file(attachment[["key"]], draft), call = call)
    return(NULL)
  }
  plain <- paste0(draft, ".plain")
  on.exit(unlink(plain))
  fetch_media(client, url, plain, largest, "etag", call)
  made <- attachment_encrypt_file(plain, draft)
  # Nothing is wrong with the attachment itself.
  if (inherits(made, "mxcrypt_failure")) {
    file_abort("written", given_directory(draft), call)
  }
  made[["file"]]
}

# Decrypts the file that is kept of an attachment into `to`, and returns whether that
# could be done.
open_kept <- function(client, attachment, to, max_size, call) {
  dir <- archive_dir(client)
  ids <- c(attachment[["room_id"]], attachment[["event_id"]])
  if (anyNA(ids) || !dir.exists(dir)) {
    return(FALSE)
  }
  url <- string_or_empty(attachment[["url"]])
  machine <- machine_of(client, call = call)
  kept <- machine_kept_media(machine, ids[[1]], ids[[2]], url)
  kept <- core(kept, call = call)
  if (is.null(kept)) {
    return(FALSE)
  }
  if (kept[["size"]] > max_size) {
    too_large_abort(kept[["size"]], max_size, call)
  }
  key <- kept[["key"]]
  if (attachment[["encrypted"]]) {
    key <- unclass(core(json_encode(attachment[["file"]]), call = call))
  }
  # One that does not open, or is gone, is as good as none: the server may have it.
  opened <- attachment_decrypt_file(key, file.path(dir, kept[["name"]]), to)
  !inherits(opened, "mxcrypt_failure")
}

# Deletes the files of events that are gone, and drafts of processes that were killed.
sweep_archive <- function(client, machine) {
  dir <- archive_dir(client)
  # First, so that the store knows each of them that is to stay.
  kept <- kept_in(dir)
  if (length(kept) > 0L) {
    known <- machine_archived_files(machine)
    # Where the store cannot say, they stay.
    if (!inherits(known, "mxcrypt_failure")) {
      unlink(file.path(dir, setdiff(kept, known)), expand = FALSE)
    }
  }
  drafts <- "^draft-file-[0-9a-f]+-[0-9]+"
  unlink(older_than_a_day(list.files(dir, drafts, full.names = TRUE)))
}

# The names of the files in the directory that are whole.
kept_in <- function(dir) {
  list.files(dir, "^file-[0-9a-f]+-[0-9]+$")
}

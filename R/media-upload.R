# Files on their way to the content repository. Each is copied to a directory beside
# the store first, encrypted where its room is, and waits there until the machine has
# it uploaded (see pump.R).

# Bytes that may wait beside the store: an outage must not fill the disk.
most_waiting <- function() {
  check_number(getOption("mxcrypt.max_waiting", 4e9), "mxcrypt.max_waiting")
}

files_dir <- function(client) {
  file.path(beside_store(client[["store_dir"]]), "files")
}

# What is copied for one call. `add()` copies a file: what the machine has to know of
# it, and `key`, an `EncryptedFile` without its address, where it is encrypted.
# `clean()` deletes what no message waits for.
file_staging <- function(client, machine, encrypted, call) {
  dir <- files_dir(client)
  core(private_directory_create(dir), call = call)
  sweep_files(dir, machine)
  added <- character()
  add <- function(file) {
    check_room_for(dir, file[["size"]], call)
    name <- basename(tempfile(
      "file-",
      dir,
      fileext = paste0("-", Sys.getpid())
    ))
    added <<- c(added, name)
    to <- file.path(dir, name)
    upload <- list(
      file = name,
      size = file[["size"]],
      encrypted = encrypted,
      content_type = if (encrypted) unknown_type else file[["type"]],
      name = if (!encrypted) file[["name"]]
    )
    if (!encrypted) {
      upload[["size"]] <- core(attachment_copy_file(file[["source"]], to), call)
      keep_for_others(client, machine, name, call)
      return(list(upload = upload))
    }
    made <- core(attachment_encrypt_file(file[["source"]], to), call)
    keep_for_others(client, machine, name, call)
    upload[["size"]] <- made[["size"]]
    list(upload = upload, key = json_decode(made[["file"]]))
  }
  clean <- function() delete_files(dir, machine, added)
  list(add = add, clean = clean)
}

# Another machine may upload it, and this one may be gone by then.
keep_for_others <- function(client, machine, name, call) {
  if (is_address(client[["store_dir"]])) {
    path <- file.path(files_dir(client), name)
    core(machine_keep_file(machine, name, path), call = call)
  }
}

# What another machine was given to upload is written here first.
fetch_from_others <- function(client, machine, content) {
  if (is_address(client[["store_dir"]]) && !is_whole(content)) {
    core(private_directory_create(dirname(content[["path"]])))
    name <- basename(content[["path"]])
    core(machine_fetch_file(machine, name, content[["path"]]))
  }
}

check_room_for <- function(dir, size, call) {
  waiting <- sum(file.size(list.files(dir, full.names = TRUE)), na.rm = TRUE)
  largest <- most_waiting()
  if (waiting + size > largest) {
    mx_abort(
      c(
        "Too much waits to be uploaded. Nothing was sent.",
        x = paste0(
          size_text(waiting),
          " wait, and this has ",
          size_text(size),
          ": at most ",
          size_text(largest),
          " may wait."
        ),
        i = "mx_outbox() lists what waits. The option mxcrypt.max_waiting allows more."
      ),
      "mx_error_too_large",
      size = waiting + size,
      largest = largest,
      call = call
    )
  }
}

# Deletes those of some files that no message waits for.
delete_files <- function(dir, machine, names) {
  if (length(names) > 0L) {
    waiting <- machine_waiting_files(machine)
    # Where the store cannot say, they stay.
    if (!inherits(waiting, "mxcrypt_failure")) {
      unlink(file.path(dir, setdiff(names, waiting)))
    }
    machine_forget_files(machine, names)
  }
}

# A process that was killed between its copy and its message has left a file that
# nobody waits for. What is younger may be another's that is just being copied.
# So for a day; and files of others, in a directory that somebody made a link, stay.
sweep_files <- function(dir, machine) {
  delete_files(dir, machine, basename(older_than_a_day(copies_in(dir))))
}

older_than_a_day <- function(paths) {
  age <- as.numeric(Sys.time()) - as.numeric(file.mtime(paths))
  paths[!is.na(age) & age > 24 * 3600]
}

# What was copied to a directory, whole or not.
copies_in <- function(dir) {
  name <- "^file-[0-9a-f]+-[0-9]+([.].+[.]tmp)?$"
  list.files(dir, name, full.names = TRUE)
}

# The body of an upload, or NULL for another request. While it is sent, its lease is
# renewed, so that no other process takes this one for dead.
upload_body <- function(client, machine, request) {
  if (is.null(request[["file"]])) {
    return(NULL)
  }
  renewed <- monotonic_time()
  list(
    path = file.path(files_dir(client), request[["file"]]),
    type = request[["file_type"]],
    size = request[["file_size"]],
    moving = function() {
      if (monotonic_time() - renewed > 3) {
        renewed <<- monotonic_time()
        machine_renew(machine, request[["number"]])
      }
    }
  )
}

# Whether a copy has the size it was made with. Half a file would be sent as a whole one.
is_whole <- function(content) {
  identical(file.size(content[["path"]]), as.numeric(content[["size"]])) &&
    !dir.exists(content[["path"]])
}

# Takes the place of a response if the file is gone or incomplete: the message that needs
# it is refused.
file_gone <- function() {
  answer <- list(
    errcode = "MXCRYPT_FILE_GONE",
    error = "The file that waited beside the store is damaged or gone. Send it again."
  )
  list(status = 410L, body = charToRaw(as_json_text(answer)))
}

# Refuses files that the server would refuse, before they are read. If the server reports
# no limit, or is not reached, none is refused.
check_upload_sizes <- function(client, files, call) {
  size <- max(vapply(files, function(file) file[["size"]], 0))
  fits <- function(largest) is.null(largest) || size <= largest
  and_then(largest_upload(client, call), function(largest) {
    if (fits(largest)) {
      return(invisible())
    }
    # The limit may be an hour old: before a file is refused, it is requested again.
    and_then(largest_upload(client, call, anew = TRUE), function(largest) {
      if (!fits(largest)) {
        upload_size_abort(size, largest, call)
      }
    })
  })
}

upload_size_abort <- function(size, largest, call) {
  mx_abort(
    c(
      paste0(
        "The server takes files of at most ",
        size_text(largest),
        ". Nothing was sent."
      ),
      x = paste0("This one has ", size_text(size), ".")
    ),
    "mx_error_too_large",
    size = size,
    largest = largest,
    call = call
  )
}

# How many bytes a file may have, or NULL. It is kept for an hour.
largest_upload <- function(client, call, anew = FALSE) {
  server <- client[["server"]]
  now <- monotonic_time()
  known <- the[["largest_upload"]][[server]]
  if (!anew && !is.null(known) && now - known[["at"]] < 3600) {
    return(known[["size"]])
  }
  and_then(media_config(client, call), function(config) {
    if (is.null(config)) {
      return(NULL)
    }
    size <- config[["m.upload.size"]]
    # Some proxies say 0 for "no limit".
    is_size <- is.numeric(size) && length(size) == 1L && isTRUE(size >= 1)
    size <- if (is_size) size
    sizes <- the[["largest_upload"]]
    sizes[[server]] <- list(size = size, at = now)
    the[["largest_upload"]] <- sizes
    size
  })
}

# The configuration of the content repository, or NULL. Servers before v1.11 know the old
# path only. One try: if the server is not reached, the file waits in the outbox anyway.
media_config <- function(client, call) {
  ask <- function(path) {
    rlang::local_options(mxcrypt.max_tries = 1)
    on_failure(http_json(client, "GET", path, call = call), identity)
  }
  answer <- and_then(ask("/_matrix/client/v1/media/config"), function(answer) {
    if (isTRUE(answer[["status"]] %in% c(404L, 405L))) {
      answer <- ask("/_matrix/media/v3/config")
    }
    answer
  })
  and_then(answer, function(answer) {
    if (!inherits(answer, "condition")) answer
  })
}

# Puts bytes into the content repository at once; their address.
upload_bytes <- function(
  client,
  bytes,
  type = unknown_type,
  call = caller_env()
) {
  uploaded <- http_json(
    client,
    "POST",
    "/_matrix/media/v3/upload",
    content = list(bytes = bytes, type = type),
    call = call
  )
  url <- uploaded[["content_uri"]]
  if (inherits(media_address(string_or_empty(url)), "mxcrypt_failure")) {
    mx_abort(
      "The server took the file and gave it no address.",
      "mx_error_answer",
      call = call
    )
  }
  url
}

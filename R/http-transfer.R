# Bodies that come from a file or go into one: media, and key backups. They are
# streamed, so that memory does not grow with the file. Only http-request.R calls in
# here. When a download may be resumed: http-resume.R.

# How long a transfer may take, as options of curl. A large file on a slow link takes
# hours, so what ends a transfer is that nothing moves for as long as another request
# may take. A server that sends one byte a second still ends within a day.
transfer_limits <- function() {
  still <- http_timeout()
  list(
    low_speed_limit = 1L,
    low_speed_time = max(1, ceiling(still)),
    timeout_ms = 24 * 60 * 60 * 1000
  )
}

# The file of `content` as a source for curl, or NULL. httr2::req_body_file() is not
# used: in httr2 0.2.2 it leaves the file open when a request fails.
upload_source <- function(content, call, quiet = FALSE) {
  path <- content[["path"]]
  if (is.null(path)) {
    return(NULL)
  }
  connection <- tryCatch(
    suppressWarnings(file(path, "rb")),
    error = function(condition) file_abort("read", path, call)
  )
  size <- file.size(path)
  # A bar of a call in the background would be drawn over what the user types.
  bar <- transfer_bar("Uploading", if (!quiet) size)
  sent <- 0
  was_cut <- FALSE
  read <- function(nbytes, ...) {
    # A file that grows is sent as long as was announced.
    wanted <- min(nbytes, size - sent)
    if (wanted == 0) {
      return(raw())
    }
    part <- tryCatch(
      suppressWarnings(readBin(connection, "raw", wanted)),
      error = function(condition) raw()
    )
    if (length(part) == 0L) {
      # An empty part would mean that all was sent, and the server would wait for the
      # rest. curl prints the error of a callback; this has no text.
      was_cut <<- TRUE
      invokeRestart("abort")
    }
    sent <<- sent + length(part)
    bar[["set"]](sent)
    if (!is.null(content[["moving"]])) {
      content[["moving"]]()
    }
    part
  }
  list(
    size = size,
    read = read,
    was_cut = function() was_cut,
    close = function() {
      bar[["done"]]()
      close(connection)
    }
  )
}

# The file as options of curl; none without a source. curl can read it only once, so no
# connection is used that an earlier request left open: it may be dead, and curl would
# start again.
source_options <- function(source) {
  if (is.null(source)) {
    return(list())
  }
  list(
    post = TRUE,
    postfieldsize_large = source[["size"]],
    readfunction = source[["read"]],
    fresh_connect = 1L
  )
}

# Streams a file into `download$to`, or the rest of it behind what is there, and
# returns what http_once() does. If the server does not send the rest, the whole file is
# requested at once.
http_download <- function(session, path, download, call) {
  answer <- download_followed(session, path, download, call)
  if (refuses_rest(answer, download)) {
    set_head(download, NULL)
    answer <- download_followed(session, path, download, call)
  }
  answer
}

# The first request carries the token. Those that redirects lead to do not: they go
# to a content delivery network.
download_followed <- function(session, path, download, call) {
  server <- session[["server"]]
  url <- paste0(server, acting_path(session, path))
  token <- session_token(session)
  answer <- download_once(session, url, token, download, call)
  for (hop in seq_len(if (download[["follow"]]) 3L else 0L)) {
    if (!is_redirect(answer)) {
      break
    }
    url <- redirect_target(answer[["location"]], url, server)
    if (is.null(url)) {
      break
    }
    answer <- elsewhere(download_once(session, url, NULL, download, call))
  }
  answer
}

is_redirect <- function(answer) {
  !is_no_answer(answer) && answer[["status"]] %in% c(301:303, 307:308)
}

# The error codes of another host do not come from the homeserver: they must not end the
# login.
elsewhere <- function(answer) {
  if (!is_no_answer(answer)) {
    answer[["body"]] <- raw()
  }
  answer
}

# The address that a redirect names, or NULL where it is not followed. Specification:
# client-server API, "Content repository". Any https address will do, plain http only
# on the homeserver itself, and no other scheme: curl also reads files.
redirect_target <- function(location, from, server) {
  if (!is_string(location) || !grepl("^[!-~]+$", location)) {
    return(NULL)
  }
  if (startsWith(location, "//")) {
    location <- paste0(sub("//.*$", "", from), location)
  } else if (startsWith(location, "/")) {
    location <- paste0(origin(from), location)
  }
  target <- sub("#.*$", "", location)
  # A user name or a backslash makes it unclear which host is meant.
  if (!grepl("^https?://[^/?@\\]+([/?]|$)", target, ignore.case = TRUE)) {
    return(NULL)
  }
  is_safe <- grepl("^https:", target, ignore.case = TRUE) ||
    identical(origin(target), origin(server))
  if (is_safe) target
}

origin <- function(url) {
  tolower(sub("^([A-Za-z]+://[^/?#]*).*$", "\\1", url))
}

# One request of a download. It accepts no compression: a few kilobytes would
# become gigabytes before they could be counted.
download_once <- function(session, url, token, download, call) {
  handle <- curl::new_handle()
  options <- list(
    useragent = "mxcrypt (R)",
    followlocation = 0L,
    accept_encoding = NULL
  )
  curl::handle_setopt(
    handle,
    .list = c(
      transfer_limits(),
      connection_options(),
      network_options(session, url),
      options
    )
  )
  headers <- list("Accept-Encoding" = "identity")
  if (!is.null(token)) {
    headers[["Authorization"]] <- paste("Bearer", token)
  }
  headers <- c(headers, range_headers(download))
  curl::handle_setheaders(handle, .list = headers)
  sink <- download_sink(download, handle, call)
  on.exit(sink[["close"]]())
  reason <- stream_reason(url, sink[["take"]], handle)
  if (!is.null(reason)) {
    return(no_answer(origin(url), reason, session))
  }
  sink[["finish"]]()
  headers <- response_headers(handle)
  # A complete file counts as status 200.
  resumed <- sink[["got_rest"]]()
  list(
    status = if (resumed) 200L else curl::handle_data(handle)[["status_code"]],
    body = sink[["body"]](),
    retry_after = headers[["retry-after"]],
    location = headers[["location"]],
    resumed = resumed
  )
}

# Hands each part of a response to `take` until that wants no more, and returns why
# the response was cut short, or NULL. curl names the reason in a warning if it cannot
# connect, and else in the error.
stream_reason <- function(url, take, handle) {
  warned <- NULL
  note <- function(condition) {
    warned <<- sub("^Failed to open '.*': ", "", conditionMessage(condition))
    tryInvokeRestart("muffleWarning")
  }
  tryCatch(
    withCallingHandlers(stream(url, take, handle), warning = note),
    error = function(condition) {
      if (inherits(condition, "mx_error")) {
        raise(condition)
      }
      if (is_interruption(condition)) {
        rlang::interrupt()
      }
      if (is.null(warned)) conditionMessage(condition) else warned
    }
  )
}

# curl::curl_fetch_stream() leaves a connection that failed to R's garbage collector,
# which warns about it.
stream <- function(url, take, handle) {
  connection <- curl::curl(url, "", handle)
  on.exit(close(connection))
  # With `f`, an error status is a response like any other.
  open(connection, "rbf")
  while (isIncomplete(connection)) {
    part <- readBin(connection, "raw", 65536L)
    if (length(part) > 0L && !take(part)) {
      break
    }
  }
  NULL
}

response_headers <- function(handle) {
  headers_of(curl::handle_data(handle)[["headers"]])
}

# R warns of bytes that are no text. A server may send any.
headers_of <- function(bytes) {
  suppressWarnings(curl::parse_headers_list(bytes))
}

# How to write a response to the file of a download: the `mode` to open it in, the
# bytes that are kept and the `total`. NULL for a response that is no file.
file_plan <- function(download, handle, call) {
  status <- curl::handle_data(handle)[["status_code"]]
  headers <- response_headers(handle)
  if (status == 206L && is_rest(headers, download)) {
    kept <- file.size(download[["to"]])
    total <- download[["part"]][["head"]][["total"]]
    return(list(mode = "ab", kept = kept, total = total))
  }
  if (status != 200L) {
    return(NULL)
  }
  total <- as_size(headers[["content-length"]])
  if (isTRUE(total > download[["max_size"]])) {
    too_large_abort(total, download[["max_size"]], call)
  }
  set_head(download, resumable_head(headers, download[["resume"]]))
  list(mode = "wb", kept = 0, total = total)
}

# Where the parts of a response go: a file, or the rest of one, to `download$to`, and
# anything else into memory. `take` returns whether it wants more. The file is not
# touched before it is known what comes: a redirect leaves what is there in part.
download_sink <- function(download, handle, call) {
  to <- download[["to"]]
  most <- download[["max_size"]]
  file_failed <- function(condition) {
    file_abort("written", given_directory(to), call)
  }
  connection <- NULL
  bar <- NULL
  got <- 0
  text <- raw()
  is_file <- NULL
  plan <- NULL
  start <- function() {
    plan <<- file_plan(download, handle, call)
    is_file <<- !is.null(plan)
    if (is_file) {
      got <<- plan[["kept"]]
      open_file(plan[["mode"]])
      bar <<- transfer_bar("Downloading", plan[["total"]])
    }
  }
  open_file <- function(mode) {
    connection <<- tryCatch(
      suppressWarnings(file(to, mode)),
      error = file_failed
    )
  }
  take <- function(part) {
    if (is.null(is_file)) {
      start()
    }
    if (!is_file) {
      text <<- c(text, part)
      # The page of a proxy is shorter; a hostile one would never end.
      return(length(text) < 2^20)
    }
    got <<- got + length(part)
    # No length was announced, or a wrong one.
    if (got > most) {
      too_large_abort(NA_real_, most, call)
    }
    tryCatch(writeBin(part, connection), warning = file_failed)
    bar[["set"]](got)
    TRUE
  }
  close_once <- function() {
    if (!is.null(connection)) {
      # finish() looks whether all was written.
      suppressWarnings(close(connection))
      connection <<- NULL
    }
    if (!is.null(bar)) {
      bar[["done"]]()
    }
  }
  finish <- function() {
    # An empty response has no part that would have started it.
    if (is.null(is_file)) {
      start()
    }
    close_once()
    # R tells nobody that a disk was full when the last part was written.
    if (is_file && !identical(file.size(to), got)) {
      file_failed()
    }
  }
  list(
    take = take,
    finish = finish,
    close = close_once,
    body = function() text,
    got_rest = function() {
      identical(plan[["mode"]], "ab") && got == plan[["total"]]
    }
  )
}

# A length from a header, or NA.
as_size <- function(text) {
  if (is_string(text) && grepl("^[0-9]{1,15}$", text)) {
    as.numeric(text)
  } else {
    NA_real_
  }
}

too_large_abort <- function(size, largest, call) {
  mx_abort(
    c(
      paste0("The file is larger than ", size_text(largest), "."),
      x = if (!is.na(size)) paste0("It has ", size_text(size), "."),
      i = "Give a larger `max_size` if you want it all the same."
    ),
    "mx_error_too_large",
    size = size,
    largest = largest,
    call = call
  )
}

# The directory that the user knows of a file that is not whole yet.
given_directory <- function(path) {
  sub("/[.]mxcrypt-[^/]*$", "", dirname(path))
}

# `what` is "read" or "written".
file_abort <- function(what, path, call) {
  mx_abort(
    c(
      paste0("A file could not be ", what, "."),
      x = printable(path),
      i = "Check that it is there, its permissions, and the space on the disk."
    ),
    "mx_error_file",
    call = call
  )
}

# A bar for what takes long enough to wonder about. curl calls from C, where no frame
# ends that would close it.
transfer_bar <- function(name, size) {
  if (!shows_bar(size)) {
    return(list(set = function(done) NULL, done = function() NULL))
  }
  bar <- cli::cli_progress_bar(
    name,
    total = size,
    type = "download",
    .auto_close = FALSE
  )
  list(
    set = function(done) cli::cli_progress_update(set = done, id = bar),
    done = function() cli::cli_progress_done(id = bar)
  )
}

shows_bar <- function(size) {
  rlang::is_interactive() && isTRUE(size >= 5e6)
}

# A transfer with the homeserver inside of R.
demo_upload <- function(content, call) {
  if (is.null(content[["path"]])) {
    return(content[["bytes"]])
  }
  source <- upload_source(content, call)
  on.exit(source[["close"]]())
  source[["read"]](source[["size"]])
}

demo_download <- function(answer, download, call) {
  if (is.null(download) || answer[["status"]] != 200L) {
    return(answer)
  }
  size <- as.numeric(length(answer[["body"]]))
  if (size > download[["max_size"]]) {
    too_large_abort(size, download[["max_size"]], call)
  }
  writeBin(answer[["body"]], download[["to"]])
  answer[["body"]] <- raw()
  answer
}

# What the R side of the benchmark stands on. See README.md.

suppressPackageStartupMessages(library(mxcrypt))

# --- What a piece of work costs ------------------------------------------------

# CPU seconds (user and system, all threads) and wall seconds so far.
clock <- function() {
  now <- proc.time()
  c(cpu = now[["user.self"]] + now[["sys.self"]], wall = now[["elapsed"]])
}

# Prints what `work` costs as one line of JSON; see raw/src/meter.rs. What the
# demo homeserver took of it is left out. `fields` go into the line as well. `elsewhere`
# says how many CPU seconds other processes have taken.
measure <- function(
  workload,
  work,
  times = 1,
  fields = list(),
  elsewhere = function() 0
) {
  gc()
  forget_peak()
  server$spent <- c(cpu = 0, wall = 0)
  idle <- status_mb("VmRSS")
  flushed <- flushes()
  others <- elsewhere()
  before <- clock()
  done <- work()
  own <- clock() - before - server$spent
  own[["cpu"]] <- own[["cpu"]] + elsewhere() - others
  line <- list(
    workload = workload,
    cpu = own[["cpu"]] / times,
    wall = own[["wall"]] / times,
    idle_mb = idle,
    rss_mb = status_mb("VmHWM"),
    flushes = (flushes() - flushed) / times
  )
  print_line(c(line, fields))
  invisible(done)
}

print_line <- function(line) {
  cat(jsonlite::toJSON(line, auto_unbox = TRUE, digits = 9, na = "null"), "\n")
}

# Where it is not allowed, the peak of the preparation counts too.
forget_peak <- function() {
  try(cat("5", file = "/proc/self/clear_refs"), silent = TRUE)
}

status_mb <- function(name) {
  lines <- readLines("/proc/self/status")
  line <- grep(paste0("^", name, ":"), lines, value = TRUE)
  as.numeric(gsub("[^0-9]", "", line)) / 1024
}

# Flushes so far, of which strace writes a line each: run.R has the first run
# under it.
flushes <- function() {
  file <- Sys.getenv("BENCH_FLUSHES")
  if (nzchar(file)) sum(grepl("sync(", readLines(file), fixed = TRUE)) else NA
}

# --- The demo homeserver -------------------------------------------------------

# It works inside of this process. A stop-watch around the one function that
# calls it tells its share from the client's; nothing else of the package is
# touched. `server$sync`, once set, is the answer to the next GET /sync, or a
# function that gives the answer to each.
server <- new.env()
server$spent <- c(cpu = 0, wall = 0)
server$sync <- NULL
demo_perform <- mxcrypt:::demo_perform

timed_perform <- function(homeserver, method, path, token, body) {
  before <- clock()
  on.exit(server$spent <- server$spent + clock() - before)
  if (!is.null(server$sync) && grepl("/v3/sync?", path, fixed = TRUE)) {
    answer <- server$sync
    if (is.function(answer)) {
      answer <- answer()
    } else {
      server$sync <- NULL
    }
    return(list(status = 200L, body = answer))
  }
  demo_perform(homeserver, method, path, token, body)
}
utils::assignInNamespace("demo_perform", timed_perform, "mxcrypt")

# A sync that brings nothing. Without the counts, keys would be uploaded.
nothing_new <- charToRaw(paste0(
  "{\"next_batch\":\"now\",\"device_one_time_keys_count\":",
  "{\"signed_curve25519\":50},",
  "\"device_unused_fallback_key_types\":[\"signed_curve25519\"]}"
))

# A homeserver keeps a key backup and large files on disk, and so not in this
# process. `server$backup` and `server$media`, once set, are the files they go to, and
# from which they are handed out.
server$backup <- NULL
server$media <- NULL
http_once <- mxcrypt:::http_once
opening <- "{\"rooms\":{"

on_disk <- function(
  session,
  method,
  path,
  body,
  timeout,
  content,
  download,
  call
) {
  before <- clock()
  answer <- NULL
  if (
    !is.null(server$backup) && grepl("/room_keys/keys?", path, fixed = TRUE)
  ) {
    answer <- backup_answer(method, body, download)
  } else if (!is.null(server$media) && grepl("/media/", path, fixed = TRUE)) {
    answer <- media_answer(method, content, download)
  }
  if (!is.null(answer)) {
    server$spent <- server$spent + clock() - before
    return(list(status = 200L, body = answer))
  }
  http_once(session, method, path, body, timeout, content, download, call)
}
utils::assignInNamespace("http_once", on_disk, "mxcrypt")

backup_answer <- function(method, body, download) {
  if (method == "PUT") {
    # The rooms of one request after those of another: a name may stand twice.
    rooms <- substr(body, nchar(opening) + 1, nchar(body) - 2)
    first <- !file.exists(server$backup)
    cat(
      if (first) opening else ",",
      rooms,
      sep = "",
      file = server$backup,
      append = TRUE
    )
    return(charToRaw("{\"count\":0,\"etag\":\"0\"}"))
  }
  file.copy(server$backup, download$to, overwrite = TRUE)
  cat("}}", file = download$to, append = TRUE)
  raw()
}

# What is no transfer (the largest file that is allowed) is left to the demo server.
media_answer <- function(method, content, download) {
  if (method == "POST") {
    file.copy(content[["path"]], server$media, overwrite = TRUE)
    return(charToRaw("{\"content_uri\":\"mxc://demo/large\"}"))
  }
  if (!is.null(download)) {
    file.copy(server$media, download[["to"]], overwrite = TRUE)
    return(raw())
  }
}

# A request of a user whose client is not measured; the answer as a list.
ask <- function(homeserver, method, path, body = "{}", token = NULL) {
  body <- if (is.list(body)) mxc_json(body) else body
  address <- unclass(homeserver)[["address"]]
  pointer <- mxcrypt:::the[["homeservers"]][[address]]
  path <- paste0("/_matrix/client/v3/", path)
  answer <- demo_perform(pointer, method, path, token, unclass(body))
  text <- rawToChar(answer[["body"]])
  if (answer[["status"]] != 200L) {
    stop(method, " ", path, ": ", text)
  }
  jsonlite::fromJSON(text)
}

# --- Stores ----------------------------------------------------------------------

user_id <- "@alice:demo"

# Closes all stores, so that the next use opens them anew.
close_stores <- function() {
  the <- mxcrypt:::the
  the[["stores"]] <- list()
  invisible(gc())
}

# A copy of a prepared store to work on, on the same disk as the fixtures.
store_copy <- function(fixtures, name) {
  dir <- file.path(fixtures, paste0("work-", Sys.getpid()))
  dir.create(dir, showWarnings = FALSE)
  stopifnot(file.copy(file.path(fixtures, name), dir, recursive = TRUE))
  file.path(dir, name)
}

remove_copies <- function(fixtures) {
  close_stores()
  unlink(file.path(fixtures, paste0("work-", Sys.getpid())), recursive = TRUE)
}

# Alice on a prepared store, signed in at a new demo homeserver.
alice_on <- function(store, homeserver = mx_demo_homeserver("alice")) {
  client <- mx_client_configure(
    homeserver,
    "alice",
    password = "demo",
    path = file.path(dirname(store), "matrix.json"),
    store_dir = store
  )
  # The fixtures are devices without identities.
  mx_isolation_mode(client, "all")
  client
}

# A room of Alice's whose session is used for as many events as the package
# allows.
long_room <- function(client) {
  room <- mx_room_create(client, encrypted = FALSE)
  mx_room_encrypt(client, room, rotation_messages = 10000)
  room
}

number <- function(x) format(x, scientific = FALSE, trim = TRUE)

read_text <- function(...) {
  path <- file.path(...)
  readChar(path, file.size(path), useBytes = TRUE)
}

# Takes in a sync answer, through mx.client's form.
process_sync <- function(store, text) {
  account <- mx_crypto_account(store)
  sessions <- mx_crypto_sessions_load(store)
  own <- mxc_account_identity_keys(account)[["curve25519"]]
  mx_crypto_process_sync(account, sessions, text, own)
}

# Kilobytes of a store, with what its log holds.
store_kb <- function(store) {
  sum(file.size(list.files(store, "sqlite", full.names = TRUE))) / 1024
}

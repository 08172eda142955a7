# What the R side of the benchmark stands on. See README.md.

suppressPackageStartupMessages(library(mxcrypt))

# --- What a piece of work costs ------------------------------------------------

# CPU seconds (user and system, all threads) and wall seconds so far.
clock <- function() {
  now <- proc.time()
  c(cpu = now[["user.self"]] + now[["sys.self"]], wall = now[["elapsed"]])
}

# Prints what `work` costs as one line of JSON; see raw/src/meter.rs. What the
# demo homeserver took of it is told apart. `fields` go into the line as well.
measure <- function(workload, work, times = 1, fields = list()) {
  gc()
  forget_peak()
  server$spent <- c(cpu = 0, wall = 0)
  before <- clock()
  done <- work()
  spent <- clock() - before
  own <- spent - server$spent
  line <- list(
    workload = workload,
    cpu = own[["cpu"]] / times,
    wall = own[["wall"]] / times,
    server_cpu = server$spent[["cpu"]] / times,
    rss_mb = peak_mb()
  )
  cat(jsonlite::toJSON(c(line, fields), auto_unbox = TRUE, digits = 9), "\n")
  invisible(done)
}

# Where it is not allowed, the peak of the preparation counts too.
forget_peak <- function() {
  try(cat("5", file = "/proc/self/clear_refs"), silent = TRUE)
}

peak_mb <- function() {
  status <- readLines("/proc/self/status")
  kb <- sub(" kB", "", sub("VmHWM:", "", grep("^VmHWM", status, value = TRUE)))
  as.numeric(kb) / 1024
}

# --- The demo homeserver -------------------------------------------------------

# It works inside of this process. A stop-watch around the one function that
# calls it tells its share from the client's; nothing else of the package is
# touched. `server$sync`, once set, is the answer to the next GET /sync.
server <- new.env()
server$spent <- c(cpu = 0, wall = 0)
server$sync <- NULL
demo_perform <- mxcrypt:::demo_perform

timed_perform <- function(homeserver, method, path, token, body) {
  before <- clock()
  on.exit(server$spent <- server$spent + clock() - before)
  if (!is.null(server$sync) && grepl("/v3/sync?", path, fixed = TRUE)) {
    answer <- list(status = 200L, body = server$sync)
    server$sync <- NULL
    return(answer)
  }
  demo_perform(homeserver, method, path, token, body)
}
utils::assignInNamespace("demo_perform", timed_perform, "mxcrypt")

# A homeserver keeps a key backup on disk, and so not in this process: `server$backup`,
# once set, is the file it goes to, and from which it is handed out.
server$backup <- NULL
http_once <- mxcrypt:::http_once
opening <- "{\"rooms\":{"

backed_up <- function(
  session,
  method,
  path,
  body,
  timeout,
  content,
  download,
  call
) {
  if (
    is.null(server$backup) || !grepl("/room_keys/keys?", path, fixed = TRUE)
  ) {
    return(http_once(
      session,
      method,
      path,
      body,
      timeout,
      content,
      download,
      call
    ))
  }
  before <- clock()
  on.exit(server$spent <- server$spent + clock() - before)
  answer <- list(
    status = 200L,
    body = charToRaw("{\"count\":0,\"etag\":\"0\"}")
  )
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
  } else {
    file.copy(server$backup, download$to, overwrite = TRUE)
    cat("}}", file = download$to, append = TRUE)
    answer$body <- raw()
  }
  answer
}
utils::assignInNamespace("http_once", backed_up, "mxcrypt")

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

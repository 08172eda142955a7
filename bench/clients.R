# Many accounts in one R process, each with a store of its own. See README.md, "Many clients".
#
#   Rscript bench/clients.R sqlite 100         a directory each
#   Rscript bench/clients.R postgres 100   a name each in the database of
#                                          MXCRYPT_TEST_POSTGRES, whose password is where
#                                          PGPASSFILE says: see tools/postgres.sh.
#                                              All that this server does is counted, and 1,000
#                                              listeners need `max_connections = 1100`
#
# Each client shares a room with one who writes to all, whose own work is not counted. Prints a line
# of JSON for each part.

file <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(file), "harness.R"))

arguments <- commandArgs(TRUE)
place <- arguments[[1]]
count <- as.integer(arguments[[2]])

# --- What is counted of a process and of the database ------------------------------

descriptors <- function() length(list.files("/proc/self/fd"))

psql <- function(sql) {
  address <- Sys.getenv("MXCRYPT_TEST_POSTGRES")
  as.numeric(system2("psql", c("-At", address, "-c", shQuote(sql)), TRUE))
}

connections <- function() {
  if (place != "postgres") {
    return(NA)
  }
  psql(paste(
    "SELECT count(*) FROM pg_stat_activity",
    "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
  ))
}

# CPU seconds of all processes of the database. What ended meanwhile is in what its parent
# has waited for.
database_cpu <- function() {
  if (place != "postgres") {
    return(0)
  }
  sql <- "SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)"
  parent <- psql(sql)
  files <- Sys.glob("/proc/[0-9]*/stat")
  ticks <- vapply(files, FUN.VALUE = 0, function(file) {
    # A process may be gone by now.
    stat <- tryCatch(suppressWarnings(readLines(file)), error = function(e) "")
    process <- as.numeric(basename(dirname(file)))
    # Without number, name and state: the parent is first, the times from the 11th on.
    fields <- as.numeric(strsplit(sub(".*[)] . ", "", stat[[1]]), " ")[[1]])
    if (identical(process, parent)) {
      return(sum(fields[11:14]))
    }
    if (isTRUE(fields[1] == parent)) sum(fields[11:12]) else 0
  })
  sum(ticks) / 100
}

# One part: `work` is done once for each client.
part <- function(name, work, fields = list()) {
  gc()
  server$spent <- c(cpu = 0, wall = 0)
  database <- database_cpu()
  before <- clock()
  work()
  own <- clock() - before - server$spent
  database <- database_cpu() - database
  gc()
  line <- list(
    part = name,
    place = place,
    clients = count,
    ms_cpu = own[["cpu"]] / count * 1000,
    ms_database = database / count * 1000,
    ms_wall = own[["wall"]] / count * 1000,
    rss_mb = status_mb("VmRSS"),
    descriptors = descriptors(),
    connections = connections()
  )
  print_line(c(line, fields))
}

# --- Clients -------------------------------------------------------------------------

dir <- arguments[3]
is_idle_part <- !is.na(dir)
if (!is_idle_part) {
  dir <- tempfile("clients-")
  dir.create(dir)
  mx_store_key_write(file.path(dir, "store.key"))
}
Sys.setenv(MXCRYPT_STORE_KEY_FILE = file.path(dir, "store.key"))

users <- sprintf("user%04d", seq_len(count))
stores <- if (place == "postgres") {
  paste0(Sys.getenv("MXCRYPT_TEST_POSTGRES"), "?store=", basename(dir), users)
} else {
  file.path(dir, users)
}

# A process that has all stores open, and nothing else: memory without the homeserver.
if (is_idle_part) {
  part("open", function() {
    for (store in stores) {
      mxcrypt:::open_store(store)
    }
  })
  quit()
}

homeserver <- mx_demo_homeserver(c("writer", users))
sign_in <- function(user, store) {
  mx_client_configure(
    homeserver,
    user,
    password = "demo",
    path = file.path(dir, paste0(user, ".json")),
    store_dir = store
  )
}
writer <- sign_in("writer", file.path(dir, "writer"))
mx_isolation_mode(writer, "all")

clients <- list()
part("sign in", function() {
  clients <<- Map(sign_in, users, stores)
})
for (client in clients) {
  mx_isolation_mode(client, "all")
}

rooms <- vapply(clients, FUN.VALUE = "", function(client) {
  room <- mx_room_create(writer, invite = client[["user_id"]])
  mx_room_join(client, room)
  mx_sync(client)
  room
})
write_to_all <- function(text) {
  mx_sync(writer)
  for (room in rooms) {
    mx_send_text(writer, room, text)
  }
}

# --- Rounds ---------------------------------------------------------------------------

part("sync, nothing new", function() {
  for (client in clients) {
    mx_sync(client)
  }
})

# In the first round each gets and makes a room key.
for (round in c("first answer", "answer")) {
  write_to_all("Are you there?")
  part(round, function() {
    for (i in seq_along(clients)) {
      events <- mx_sync(clients[[i]])
      stopifnot("Are you there?" %in% events[["body"]])
      mx_send_text(clients[[i]], rooms[[i]], "Here I am.")
    }
  })
}

# --- Listeners --------------------------------------------------------------------------

since <- function(start) clock()[["wall"]] - start
heard <- rep(NA_real_, count)
refused <- NULL
listeners <- list()
start <- 0
part("listener starts", function() {
  for (i in seq_along(clients)) {
    listener <- tryCatch(
      local({
        number <- i
        mx_listen_start(
          clients[[number]],
          function(event) {
            if (identical(event[["body"]], "Do you hear?")) {
              heard[[number]] <<- since(start)
            }
          },
          types = "m.room.message"
        )
      }),
      mx_error = identity
    )
    if (inherits(listener, "condition")) {
      refused <<- conditionMessage(listener)
      break
    }
    listeners[[i]] <<- listener
  }
})
# Their first syncs.
end <- clock()[["wall"]] + 300
has_synced <- function(listener) !is.na(listener$status()$last_sync)
while (clock()[["wall"]] < end && !all(vapply(listeners, has_synced, NA))) {
  later::run_now(0.1)
}
number_started <- length(listeners)
invisible(mx_sync(writer))
for (room in rooms[seq_len(number_started)]) {
  mx_send_text(writer, room, "Do you hear?")
}
start <- clock()[["wall"]]
server$spent <- c(cpu = 0, wall = 0)
cpu <- clock()[["cpu"]]
while (sum(!is.na(heard)) < number_started && since(start) < 300) {
  later::run_now(0.1)
}
cpu <- clock()[["cpu"]] - cpu - server$spent[["cpu"]]
print_line(list(
  part = "listeners hear",
  place = place,
  clients = count,
  started = number_started,
  refused = if (is.null(refused)) NA else refused,
  heard = sum(!is.na(heard)),
  s_first = min(heard, na.rm = TRUE),
  s_median = stats::median(heard, na.rm = TRUE),
  s_last = max(heard, na.rm = TRUE),
  ms_cpu = cpu / number_started * 1000,
  rss_mb = status_mb("VmRSS"),
  descriptors = descriptors(),
  connections = connections()
))
for (listener in listeners) {
  listener$stop()
}
print_line(list(
  part = "listeners stopped",
  place = place,
  connections = connections(),
  descriptors = descriptors()
))

# --- Fairness --------------------------------------------------------------------------

many <- sprintf("message %d", 1:1000)

# Calls that wait come one after the other; those that return a promise take turns.
others <- clients[seq_len(min(10L, count))][-1]
if (length(others)) {
  start <- clock()[["wall"]]
  suppressMessages(mx_send_text(clients[[1]], rooms[[1]], many))
  for (i in seq_along(others)) {
    mx_send_text(others[[i]], rooms[[i + 1L]], "one")
  }
  print_line(list(part = "waits for 1,000", place = place, s = since(start)))

  start <- clock()[["wall"]]
  ended <- c(many = NA, others = NA)
  waiting <- length(others)
  done <- promises::then(
    suppressMessages(mx_send_text_async(clients[[1]], rooms[[1]], many)),
    function(value) ended[["many"]] <<- since(start)
  )
  for (i in seq_along(others)) {
    promises::then(
      mx_send_text_async(others[[i]], rooms[[i + 1L]], "one"),
      function(value) {
        ended[["others"]] <<- since(start)
        waiting <<- waiting - 1L
      }
    )
  }
  started <- since(start)
  while (waiting > 0L || is.na(ended[["many"]])) {
    later::run_now(1)
  }
  print_line(list(
    part = "takes turns with 1,000",
    place = place,
    s_calls_returned = started,
    s_others = ended[["others"]],
    s_many = ended[["many"]]
  ))
}

close_stores()
idle <- system2("Rscript", c(file, place, count, dir), stdout = TRUE)
cat(idle, sep = "\n")
unlink(dir, recursive = TRUE)

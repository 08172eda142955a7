# One workload through the public functions of the package:
# Rscript workloads.R <workload> <fixtures>
#
# Prints lines of JSON; see measure(). The names are those of raw.

arguments <- commandArgs(TRUE)
workload <- arguments[[1]]
fixtures <- arguments[[2]]
source("bench/harness.R")

events <- 10000L
shared_with <- 1000L
body <- strrep("x", 200)
# A single message is too short to be measured alone.
singles <- 100L

# --- W1 ------------------------------------------------------------------------

payload <- unclass(mxc_json(list(
  type = "m.room.message",
  content = list(
    msgtype = "m.text",
    body = body,
    "m.mentions" = structure(list(), names = character())
  ),
  room_id = "!bench:demo"
)))

encrypt_ratchet <- function() {
  session <- mxc_megolm_outbound_new()
  plaintexts <- rep(payload, events)
  sent <- measure(workload, function() mxc_megolm_encrypt(session, plaintexts))
  stopifnot(length(sent) == events)
}

encrypt_events <- function() {
  alice <- alice_on(store_copy(fixtures, "store_0"))
  room <- long_room(alice)
  texts <- rep(body, events)
  ids <- measure(workload, function() mx_send_text(alice, room, texts))
  stopifnot(length(unique(ids)) == events)
}

# --- W2 ------------------------------------------------------------------------

decrypt_ratchet <- function() {
  keys <- jsonlite::fromJSON(read_text(fixtures, "session_keys.json"))
  session <- mxc_megolm_inbound_new(keys[[1]])
  sync <- jsonlite::fromJSON(read_text(fixtures, "one_1.json"))
  rows <- sync[["rooms"]][["join"]][["!bench:demo"]][["timeline"]][["events"]]
  texts <- rows[["content"]][["ciphertext"]]
  read <- measure(workload, function() mxc_megolm_decrypt(session, texts))
  stopifnot(nrow(read) == events, is.na(read[["error"]]))
}

# The everyday form: the answer to GET /sync is at hand, the rest is real.
decrypt_sync <- function(file) {
  alice <- alice_on(store_copy(fixtures, "store_1000"))
  server$sync <- charToRaw(read_text(fixtures, file))
  got <- measure(workload, function() mx_sync(alice, limit = 1e5))
  stopifnot(sum(got[["decrypted"]]) == events)
}

# The form of mx.client.
decrypt_process <- function(file) {
  store <- store_copy(fixtures, "store_1000")
  text <- read_text(fixtures, file)
  process_sync(store, '{"next_batch":"before"}')
  got <- measure(workload, function() process_sync(store, text))
  stopifnot(length(got[["events"]]) == events)
}

# --- W3 ------------------------------------------------------------------------

# A room of Alice's with a thousand other users, each with a device.
crowded_room <- function() {
  homeserver <- mx_demo_homeserver("alice")
  alice <- alice_on(store_copy(fixtures, "store_0"), homeserver)
  room <- mx_room_create(alice, public = TRUE)
  device_keys <- readLines(file.path(fixtures, "device_keys.jsonl"))
  one_time_keys <- readLines(file.path(fixtures, "one_time_keys.jsonl"))
  for (i in seq_len(shared_with)) {
    name <- sprintf("user%05d", i - 1L)
    account <- list(
      username = name,
      password = "demo",
      device_id = sprintf("DEVICE%05d", i - 1L),
      auth = list(type = "m.login.dummy")
    )
    token <- ask(homeserver, "POST", "register", account)[["access_token"]]
    upload <- paste0(
      '{"device_keys":',
      device_keys[[i]],
      ',"one_time_keys":',
      one_time_keys[[i]],
      "}"
    )
    ask(homeserver, "POST", "keys/upload", upload, token)
    path <- paste0("join/", utils::URLencode(room, reserved = TRUE))
    ask(homeserver, "POST", path, token = token)
  }
  # Alice comes back knowing the room, and nobody in it.
  mx_sync(alice)
  list(alice = alice, room = room)
}

share <- function() {
  scene <- crowded_room()
  send <- function() mx_send_text(scene$alice, scene$room, body)
  measure("w3-share", send)
  # The most usual reason for the next one: the session is worn out.
  mx_send_text(scene$alice, scene$room, rep(body, 99))
  measure("w3-again", send)
  # Nothing changed since: what does a room of this size cost a message? Fewer
  # than the hundred after which the session is worn out again.
  many <- function() {
    for (i in 1:50) {
      send()
    }
  }
  measure("w3-next", many, 50)
}

# --- W5 ------------------------------------------------------------------------

opened <- function(size) {
  fields <- list(size = size)
  store <- store_copy(fixtures, paste0("store_", size))
  close_stores()
  # A store is open as soon as anything refers to it.
  the <- mxcrypt:::the
  open <- function() {
    for (i in seq_len(singles)) {
      mx_crypto_sessions_load(store)
      the[["stores"]] <- list()
    }
  }
  measure("w5-open", open, singles, c(fields, store_kb = store_kb(store)))
  close_stores()
  store
}

stored <- function(size) {
  store <- opened(size)
  fields <- list(size = size)
  alice <- alice_on(store)
  room <- long_room(alice)
  # What is known of the room is fresh, as it is for a program that listens.
  server$sync <- charToRaw('{"next_batch":"now"}')
  mx_sync(alice)
  send <- function() mx_send_text(alice, room, body)
  send()
  many <- function() {
    for (i in seq_len(singles)) {
      send()
    }
  }
  measure("w5-send", many, singles, fields)

  answers <- lapply(readLines(file.path(fixtures, "singles.jsonl")), charToRaw)
  receive <- function(answer) {
    server$sync <- answer
    stopifnot(mx_sync(alice)[["decrypted"]])
  }
  receive(answers[[1]])
  many <- function() {
    for (i in 1L + seq_len(singles)) {
      receive(answers[[i]])
    }
  }
  measure("w5-receive", many, singles, fields)
}

# What is left in the store of an event that was handed over: that it is known, and
# its index taken. Measured once the place of the events themselves is used again.
growth <- function(kind) {
  store <- store_copy(fixtures, "store_1000")
  size <- numeric()
  for (batch in 1:5) {
    process_sync(store, read_text(fixtures, sprintf("%s_%d.json", kind, batch)))
    close_stores()
    size[[batch]] <- store_kb(store) * 1024
  }
  line <- list(
    workload = paste0("w5-growth-", kind),
    bytes_per_event = (size[[5]] - size[[3]]) / (2 * events)
  )
  cat(jsonlite::toJSON(line, auto_unbox = TRUE, digits = 9), "\n")
}

# --- W6 ------------------------------------------------------------------------

# A device with so many sessions exports them, and one without takes them in.
key_export <- function(size) {
  fields <- list(size = size)
  file <- tempfile()
  alice <- alice_on(store_copy(fixtures, paste0("store_", size)))
  export <- function() mx_keys_export(alice, file, "correct horse")
  measure("w6-export", export, fields = fields)
  close_stores()
  late <- alice_on(store_copy(fixtures, "store_0"))
  import <- function() mx_keys_import(late, file, "correct horse")
  keys <- measure("w6-import", import, fields = fields)
  stopifnot(nrow(keys) == size, keys[["status"]] == "imported")
  file_mb <- file.size(file) / 1024^2
  message(size, " sessions are ", signif(file_mb, 3), " MB of key export")
}

# --- W7 ------------------------------------------------------------------------

verify <- function() {
  texts <- readLines(file.path(fixtures, "device_keys.jsonl"))
  number <- seq_along(texts) - 1L
  users <- sprintf("@user%05d:demo", number)
  devices <- sprintf("DEVICE%05d", number)
  verdicts <- measure(workload, function() {
    mxc_verify_device_keys(texts, users, devices)
  })
  stopifnot(nrow(verdicts) == events, is.na(verdicts[["error"]]))
}

# --- W9 ------------------------------------------------------------------------

# A device with so many sessions backs them up, and one without gets them all.
key_backup <- function(size) {
  fields <- list(size = size)
  homeserver <- mx_demo_homeserver("alice")
  alice <- alice_on(store_copy(fixtures, paste0("store_", size)), homeserver)
  server$backup <- tempfile()
  setup <- suppressMessages(mx_crypto_setup(alice))
  measure("w9-backup", function() mx_backup_upload(alice), fields = fields)
  key <- format(setup$recovery_key, reveal = TRUE)
  close_stores()
  late <- mx_demo_client(homeserver, "alice", verified = FALSE)
  suppressMessages(mx_crypto_setup(late, recovery_key = key))
  restore <- function() mx_backup_restore(late)
  keys <- measure("w9-restore", restore, fields = fields)
  stopifnot(nrow(keys) == size, keys[["restored"]])
  file_mb <- file.size(server$backup) / 1024^2
  message(size, " sessions are ", signif(file_mb, 3), " MB of key backup")
}

# --- W10 -----------------------------------------------------------------------

# The history of a room is archived, exported and searched by a device that has its
# keys.
archive <- function(size) {
  fields <- list(size = size)
  homeserver <- mx_demo_homeserver(c("alice", "bob"))
  alice <- mx_demo_client(homeserver, "alice")
  bob <- mx_demo_client(homeserver, "bob")
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  for (i in seq_len(size / events)) {
    numbers <- seq_len(events) + (i - 1) * events
    suppressMessages(mx_send_text(alice, room, paste(numbers, body)))
    mx_sync(bob, limit = 1e5)
  }
  archived <- measure(
    "w10-archive",
    function() mx_archive(bob, room),
    fields = fields
  )
  stopifnot(archived[["complete"]], archived[["events"]] >= size)
  stopifnot(archived[["unread"]] == 0)
  file <- tempfile(fileext = ".csv")
  measure(
    "w10-export",
    function() mx_archive_export(bob, file),
    fields = fields
  )
  search_archive(bob, size, fields)
}

# One message of all is found.
search_archive <- function(client, size, fields) {
  pattern <- paste0("^", format(size - 1, scientific = FALSE), " ")
  found <- measure(
    "w10-search",
    function() mx_search(client, pattern),
    fields = fields
  )
  stopifnot(nrow(found) == 1, attr(found, "searched") == size)
}

# So many messages that no server is asked for them.
large_archive <- function(size) {
  homeserver <- mx_demo_homeserver("alice")
  alice <- mx_demo_client(homeserver, "alice")
  room <- mx_room_create(alice)
  machine <- mxcrypt:::machine_of(alice)
  mxcrypt:::machine_archive(machine, room, NULL, NULL)
  for (last in seq(size, 1, by = -events)) {
    numbers <- seq(last, last - events + 1)
    rows <- sprintf(
      paste0(
        "{\"type\":\"m.room.message\",\"sender\":\"@bob:demo\",\"event_id\":\"$%d\",",
        "\"origin_server_ts\":%.0f,",
        "\"content\":{\"msgtype\":\"m.text\",\"body\":\"%d %s\"}}"
      ),
      numbers,
      1.7e12 + numbers,
      numbers,
      body
    )
    from <- if (last < size) sprintf("p%d", last)
    page <- sprintf(
      "{\"chunk\":[%s],\"end\":\"p%d\"}",
      paste(rows, collapse = ","),
      last - events
    )
    mxcrypt:::machine_archive_page(machine, room, from, charToRaw(page))
  }
  search_archive(alice, size, list(size = size))
}

tryCatch(
  switch(
    workload,
    "w1-ratchet" = encrypt_ratchet(),
    "w1-events" = encrypt_events(),
    "w2-ratchet" = decrypt_ratchet(),
    "w2-one" = decrypt_sync("one_1.json"),
    "w2-thousand" = decrypt_sync("thousand_1.json"),
    "w2-process" = decrypt_process("one_1.json"),
    "w3" = share(),
    "w5-0" = opened(0L),
    "w5-1000" = stored(1000L),
    "w5-10000" = stored(10000L),
    "w5-100000" = stored(100000L),
    "w5-growth" = {
      growth("one")
      growth("thousand")
    },
    "w6-1000" = key_export(1000L),
    "w6-10000" = key_export(10000L),
    "w6-100000" = key_export(100000L),
    "w7-verify" = verify(),
    "w9-1000" = key_backup(1000L),
    "w9-10000" = key_backup(10000L),
    "w9-100000" = key_backup(100000L),
    "w10-100000" = archive(100000L),
    "w10-1000000" = large_archive(1000000L),
    stop("There is no workload ", workload)
  ),
  finally = remove_copies(fixtures)
)

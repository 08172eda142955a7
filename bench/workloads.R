# One workload through the public functions of the package:
# Rscript workloads.R <workload> <fixtures>
#
# Prints lines of JSON; see measure(). The names are those of raw.

arguments <- commandArgs(TRUE)
workload <- arguments[[1]]
fixtures <- arguments[[2]]
source("bench/harness.R")

events <- 10000L
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

# A room of Alice's with so many other users, each with a device.
crowded_room <- function(size) {
  homeserver <- mx_demo_homeserver("alice")
  alice <- alice_on(store_copy(fixtures, "store_0"), homeserver)
  room <- mx_room_create(alice, public = TRUE)
  device_keys <- readLines(file.path(fixtures, "device_keys.jsonl"), size)
  one_time_keys <- readLines(file.path(fixtures, "one_time_keys.jsonl"), size)
  for (i in seq_len(size)) {
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

share <- function(size) {
  scene <- crowded_room(size)
  send <- function() mx_send_text(scene$alice, scene$room, body)
  measure("w3-share", send)
  if (size != 1000) {
    return(invisible())
  }
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

# --- W4 ------------------------------------------------------------------------

# One sync brings a room key from each of so many devices, and an event of each.
crowd <- function(size) {
  alice <- alice_in_crowd(size)
  server$sync <- charToRaw(read_text(
    fixtures,
    paste0("crowd_", number(size), ".json")
  ))
  got <- measure("w4-crowd", function() mx_sync(alice, limit = 1e5))
  stopifnot(sum(got[["decrypted"]]) == size)
}

# The senders are members of the room: of a stranger few keys are kept.
alice_in_crowd <- function(size) {
  alice <- alice_on(store_copy(fixtures, "store_0"))
  members <- read_text(fixtures, paste0("members_", number(size), ".json"))
  server$sync <- charToRaw(members)
  mx_sync(alice, limit = 1e5)
  alice
}

# --- W5 ------------------------------------------------------------------------

opened <- function(size) {
  store <- store_copy(fixtures, paste0("store_", number(size)))
  close_stores()
  # A store is open as soon as anything refers to it.
  the <- mxcrypt:::the
  open <- function() {
    for (i in seq_len(singles)) {
      mx_crypto_sessions_load(store)
      the[["stores"]] <- list()
    }
  }
  measure("w5-open", open, singles, list(store_kb = store_kb(store)))
  close_stores()
  store
}

stored <- function(size) {
  store <- opened(size)
  alice <- alice_on(store)
  room <- long_room(alice)
  # What is known of the room is fresh, as it is for a program that listens.
  server$sync <- nothing_new
  mx_sync(alice)
  send <- function() mx_send_text(alice, room, body)
  send()
  many <- function() {
    for (i in seq_len(singles)) {
      send()
    }
  }
  measure("w5-send", many, singles)

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
  measure("w5-receive", many, singles)

  server$sync <- function() nothing_new
  mx_sync(alice)
  many <- function() {
    for (i in seq_len(singles)) {
      mx_sync(alice)
    }
  }
  measure("w5-idle", many, singles)
  server$sync <- NULL
}

# --- A listener --------------------------------------------------------------------

# mx_listen() hears so many events, fifty a sync, and ends with the next request.
listen <- function(size) {
  alice <- alice_on(store_copy(fixtures, "store_1000"))
  server$sync <- nothing_new
  mx_sync(alice)
  lines <- file(file.path(fixtures, "heard.jsonl"), "r")
  on.exit(close(lines))
  answered <- 0
  server$sync <- function() {
    if (answered == size) {
      rlang::abort("all was heard", "bench_end")
    }
    answered <<- answered + 50
    charToRaw(readLines(lines, 1))
  }
  heard <- 0
  handler <- function(event) heard <<- heard + 1
  hear <- function() {
    tryCatch(mx_listen(alice, handler), bench_end = identity)
  }
  measure("listen", hear)
  server$sync <- NULL
  stopifnot(heard == size)
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
  print_line(line)
}

# --- W6 ------------------------------------------------------------------------

# A device with so many sessions exports them, and one without takes them in.
key_export <- function(size) {
  file <- tempfile()
  alice <- alice_on(store_copy(fixtures, paste0("store_", number(size))))
  export <- function() mx_keys_export(alice, file, "correct horse")
  measure("w6-export", export)
  close_stores()
  late <- alice_on(store_copy(fixtures, "store_0"))
  import <- function() mx_keys_import(late, file, "correct horse")
  keys <- measure("w6-import", import)
  stopifnot(nrow(keys) == size, keys[["status"]] == "imported")
}

# --- W7 ------------------------------------------------------------------------

verify <- function() {
  texts <- readLines(file.path(fixtures, "device_keys.jsonl"), events)
  number <- seq_along(texts) - 1L
  users <- sprintf("@user%05d:demo", number)
  devices <- sprintf("DEVICE%05d", number)
  verdicts <- measure(workload, function() {
    mxc_verify_device_keys(texts, users, devices)
  })
  stopifnot(nrow(verdicts) == events, is.na(verdicts[["error"]]))
}

# --- W8 ------------------------------------------------------------------------

# 256 MiB to the content repository, and from there.
attachment <- function() {
  alice <- alice_on(store_copy(fixtures, "store_0"))
  room <- long_room(alice)
  mx_send_text(alice, room, body)
  plain <- file.path(fixtures, "file")
  work <- dirname(alice[["store_dir"]])
  server$media <- file.path(work, "media")
  measure("w8-encrypt", function() mx_send_file(alice, room, plain))
  sent <- mx_messages(alice, room, 1)
  saved <- measure("w8-decrypt", function() {
    mx_media_download(alice, sent, path = work)
  })
  stopifnot(tools::md5sum(saved[["path"]]) == tools::md5sum(plain))
}

# --- W9 ------------------------------------------------------------------------

# A device with so many sessions backs them up, and one without gets them all.
key_backup <- function(size) {
  homeserver <- mx_demo_homeserver("alice")
  alice <- alice_on(
    store_copy(fixtures, paste0("store_", number(size))),
    homeserver
  )
  server$backup <- tempfile()
  setup <- suppressMessages(mx_crypto_setup(alice))
  measure("w9-backup", function() mx_backup_upload(alice))
  key <- format(setup$recovery_key, reveal = TRUE)
  close_stores()
  late <- mx_demo_client(homeserver, "alice", verified = FALSE)
  suppressMessages(mx_crypto_setup(late, recovery_key = key))
  restore <- function() mx_backup_restore(late)
  keys <- measure("w9-restore", restore)
  stopifnot(nrow(keys) == size, keys[["restored"]])
}

# --- W10 -----------------------------------------------------------------------

# The history of a room is archived, exported and searched by a device that has its
# keys.
archive <- function(size) {
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
  archived <- measure("w10-archive", function() mx_archive(bob, room))
  stopifnot(archived[["complete"]], archived[["events"]] >= size)
  stopifnot(archived[["unread"]] == 0)
  file <- tempfile(fileext = ".csv")
  measure("w10-export", function() mx_archive_export(bob, file))
  search_archive(bob, size)
}

# One message of all is found.
search_archive <- function(client, size) {
  pattern <- paste0("^", format(size - 1, scientific = FALSE), " ")
  found <- measure("w10-search", function() mx_search(client, pattern))
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
  search_archive(alice, size)
}

# --- Curves ----------------------------------------------------------------------

# One sync with so many events of one session.
many_events <- function(size) {
  alice <- alice_on(store_copy(fixtures, "store_1000"))
  file <- paste0("events_", number(size), ".json")
  server$sync <- charToRaw(read_text(fixtures, file))
  got <- measure("events", function() mx_sync(alice, limit = 1e6))
  stopifnot(sum(got[["decrypted"]]) == size)
}

# The first sync of an account that is in so many rooms.
many_rooms <- function(size) {
  alice <- alice_on(store_copy(fixtures, "store_0"))
  event <- function(type, key, content) {
    paste0(
      sprintf("{\"type\":\"m.room.%s\",\"state_key\":\"%s\",", type, key),
      sprintf("\"sender\":\"@peer:demo\",\"event_id\":\"$%s%s\",", type, key),
      sprintf("\"origin_server_ts\":1,\"content\":%s}", content)
    )
  }
  state <- paste(
    sep = ",",
    event("create", "", "{\"room_version\":\"11\"}"),
    event("encryption", "", "{\"algorithm\":\"m.megolm.v1.aes-sha2\"}"),
    event("member", "@peer:demo", "{\"membership\":\"join\"}"),
    event("member", "@alice:demo", "{\"membership\":\"join\"}"),
    event("name", "", "{\"name\":\"A room\"}")
  )
  numbers <- number(seq_len(size))
  rooms <- paste0("\"!room", numbers, ":demo\":{\"state\":{\"events\":[", state)
  rooms <- paste0(rooms, "]}}", collapse = ",")
  answer <- paste0("{\"next_batch\":\"a\",\"rooms\":{\"join\":{", rooms, "}}}")
  server$sync <- charToRaw(answer)
  measure("rooms", function() mx_sync(alice))
  known <- data.frame(mxcrypt:::machine_rooms(mxcrypt:::machine_of(alice)))
  stopifnot(nrow(known) == size)
}

# So many events come before their keys.
many_waiting <- function(size) {
  alice <- alice_in_crowd(size)
  answers <- lapply(
    paste0(c("waiting_", "awaited_"), number(size), ".json"),
    function(file) {
      charToRaw(read_text(fixtures, file))
    }
  )
  got <- measure("waiting", function() {
    server$sync <- answers[[1]]
    mx_sync(alice, limit = 1e5)
    server$sync <- answers[[2]]
    mx_sync(alice, limit = 1e5)
  })
  stopifnot(sum(got[["decrypted"]]) == size)
}

# --- W11 -----------------------------------------------------------------------

# An archive of encrypted events of 1,000 sessions, which take turns, and the keys to it.
# It is made once.
encrypted_archive <- function(size, sessions = 1000) {
  path <- file.path(fixtures, paste0("encrypted_", number(size), ".rds"))
  if (file.exists(path)) {
    return(readRDS(path))
  }
  turns <- seq_len(size / sessions)
  outbound <- lapply(seq_len(sessions), function(i) mxc_megolm_outbound_new())
  ids <- vapply(outbound, mxc_megolm_session_id, "")
  keys <- lapply(outbound, exported_session)
  texts <- lapply(outbound, mxc_megolm_encrypt, rep(payload, length(turns)))
  # The first event of each session, the second of each, ...
  texts <- as.vector(do.call(rbind, texts))
  archive <- list(
    events = data.frame(
      room_id = "!bench:demo",
      event_id = sprintf("$%043d", seq_len(size)),
      type = "m.room.encrypted",
      sender = "@peer:demo",
      origin_server_ts = 1.7e12 + seq_len(size),
      content = paste0(
        "{\"algorithm\":\"m.megolm.v1.aes-sha2\",\"ciphertext\":\"",
        texts,
        "\",\"session_id\":\"",
        ids,
        "\"}"
      )
    ),
    session = rep(seq_len(sessions), length(turns))
  )
  export <- tempfile()
  writeLines(mxc_key_export_encrypt(unclass(mxc_json(keys)), "x", 1), export)
  archive$keys <- mx_keys_for(NULL, export, "x")
  saveRDS(archive, path, compress = FALSE)
  archive
}

# As a key export has it: a session key without its signature, and of another version.
exported_session <- function(session) {
  key <- mxc_megolm_session_key(session)
  bytes <- jsonlite::base64_dec(paste0(key, strrep("=", -nchar(key) %% 4)))
  text <- jsonlite::base64_enc(c(as.raw(1), bytes[2:165]))
  list(
    algorithm = "m.megolm.v1.aes-sha2",
    room_id = "!bench:demo",
    session_id = mxc_megolm_session_id(session),
    session_key = gsub("[=\n]", "", text),
    sender_key = strrep("A", 43)
  )
}

# Read by so many processes, in 16 parts: sent to them, or in files that they read and write.
parallel_decryption <- function(processes, size) {
  archive <- encrypted_archive(size)
  parts <- unname(split(archive$events, archive$session %% 16))
  parts <- lapply(parts, function(events) {
    list(events = events, keys = mx_keys_for(events, archive$keys))
  })
  dir <- tempfile()
  dir.create(dir)
  on.exit(unlink(dir, recursive = TRUE))
  files <- file.path(dir, paste0(seq_along(parts), ".rds"))
  invisible(Map(saveRDS, parts, files, compress = FALSE))
  rm(archive)
  read <- function(part) {
    mxcrypt::mx_decrypt(part$events, part$keys, flat = TRUE, threads = 1)
  }
  read_file <- function(file) {
    part <- readRDS(file)
    events <- mxcrypt::mx_decrypt(
      part$events,
      part$keys,
      flat = TRUE,
      threads = 1
    )
    saveRDS(events, paste0(file, ".read"), compress = FALSE)
    c(nrow(events), sum(events$decrypted))
  }
  environment(read) <- environment(read_file) <- globalenv()
  cluster <- parallel::makePSOCKcluster(processes)
  on.exit(parallel::stopCluster(cluster), add = TRUE)
  parallel::clusterEvalQ(cluster, loadNamespace("mxcrypt"))
  spent <- function() {
    times <- parallel::clusterCall(cluster, proc.time)
    sum(vapply(times, function(time) sum(time[1:2]), 0))
  }
  got <- measure(
    "w11-sent",
    function() parallel::parLapplyLB(cluster, parts, read, chunk.size = 1),
    elsewhere = spent
  )
  stopifnot(sum(vapply(got, function(events) sum(events$decrypted), 0)) == size)
  rm(got, parts)
  got <- measure(
    "w11-files",
    function() parallel::parLapplyLB(cluster, files, read_file, chunk.size = 1),
    elsewhere = spent
  )
  stopifnot(colSums(do.call(rbind, got)) == size)
}

# The name of a process is that of its workload, with a size or a kind.
parts <- regmatches(workload, regexec("^([a-z0-9]+)-?(.*)$", workload))[[1]]
size <- suppressWarnings(as.numeric(parts[[3]]))
tryCatch(
  if (is.na(size)) {
    switch(
      workload,
      "w1-ratchet" = encrypt_ratchet(),
      "w1-events" = encrypt_events(),
      "w2-ratchet" = decrypt_ratchet(),
      "w2-one" = decrypt_sync("one_1.json"),
      "w2-thousand" = decrypt_sync("thousand_1.json"),
      "w2-process" = decrypt_process("one_1.json"),
      "w5-growth" = {
        growth("one")
        growth("thousand")
      },
      "w7-verify" = verify(),
      "w8" = attachment(),
      stop("There is no workload ", workload)
    )
  } else {
    switch(
      parts[[2]],
      w3 = share(size),
      w4 = crowd(size),
      w5 = if (size == 0) opened(0) else stored(size),
      w6 = key_export(size),
      w9 = key_backup(size),
      w11 = parallel_decryption(
        size,
        if (nzchar(Sys.getenv("BENCH_QUICK"))) 20000 else 1e6
      ),
      w10 = if (size > 1e5) large_archive(size) else archive(size),
      listen = listen(size),
      events = many_events(size),
      rooms = many_rooms(size),
      waiting = many_waiting(size),
      stop("There is no workload ", workload)
    )
  },
  finally = remove_copies(fixtures)
)

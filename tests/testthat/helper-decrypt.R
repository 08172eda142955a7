# Archives of encrypted events, and what is done with them.

# What the server returns of a room, oldest first.
raw_events <- function(client, room) {
  page <- history_page(client, room, 500, NULL, caller_env())
  text <- rawToChar(page[["body"]])
  Encoding(text) <- "UTF-8"
  chunk <- jsonlite::fromJSON(text, simplifyVector = FALSE)[["chunk"]]
  rev(lapply(chunk, function(event) {
    event[["room_id"]] <- room
    event
  }))
}

as_lines <- function(events) {
  vapply(events, function(event) unclass(mxc_json(event)), "")
}

# As a database of an archive has them.
as_table <- function(events) {
  text <- function(name) {
    vapply(events, function(event) string_or_na(event[[name]]), "")
  }
  data.frame(
    room_id = text("room_id"),
    event_id = text("event_id"),
    type = text("type"),
    sender = text("sender"),
    origin_server_ts = vapply(events, `[[`, 0, "origin_server_ts"),
    state_key = text("state_key"),
    redacted = vapply(
      events,
      function(event) !is.null(event[["unsigned"]][["redacted_because"]]),
      NA
    ),
    redacts = text("redacts"),
    content = vapply(
      events,
      function(event) unclass(mxc_json(as_object(event[["content"]]))),
      ""
    )
  )
}

# An exported key of a session, as clients write it.
exported_session <- function(session, room, more = list()) {
  key <- mxc_megolm_session_key(session)
  bytes <- jsonlite::base64_dec(paste0(key, strrep("=", -nchar(key) %% 4)))
  # Without its signature.
  bytes <- c(as.raw(1), bytes[2:165])
  data <- list(
    algorithm = "m.megolm.v1.aes-sha2",
    room_id = room,
    session_id = mxc_megolm_session_id(session),
    session_key = gsub("[=\n]", "", jsonlite::base64_enc(bytes)),
    sender_key = mxc_account_identity_keys(mxc_account_new())[["curve25519"]],
    sender_claimed_keys = structure(list(), names = character())
  )
  utils::modifyList(data, more)
}

# The path of a key export of them.
export_of <- function(sessions) {
  path <- tempfile()
  text <- unclass(mxc_json(sessions))
  writeLines(mxc_key_export_encrypt(text, "x", 10), path)
  path
}

# So many messages of a session, as a table.
messages_of <- function(session, room, n, sender = "@alice:demo") {
  payload <- function(i) {
    content <- list(msgtype = "m.text", body = paste("message", i))
    data <- list(type = "m.room.message", content = content, room_id = room)
    unclass(mxc_json(data))
  }
  texts <- mxc_megolm_encrypt(session, vapply(seq_len(n), payload, ""))
  id <- mxc_megolm_session_id(session)
  data.frame(
    room_id = room,
    event_id = paste0("$", substr(id, 1, 8), seq_len(n)),
    type = "m.room.encrypted",
    sender = sender,
    origin_server_ts = 1.7e12 + seq_len(n),
    content = paste0(
      "{\"algorithm\":\"m.megolm.v1.aes-sha2\",\"ciphertext\":\"",
      texts,
      "\",\"session_id\":\"",
      id,
      "\"}"
    )
  )
}

# Sessions in rooms of their own, with their events and the keys to them.
small_archive <- function(n_sessions = 4, n = 25) {
  rooms <- paste0("!room", seq_len(n_sessions), ":demo")
  sessions <- lapply(rooms, function(room) mxc_megolm_outbound_new())
  exports <- Map(exported_session, sessions, rooms)
  events <- do.call(rbind, Map(messages_of, sessions, rooms, n))
  path <- export_of(unname(exports))
  list(
    events = events,
    keys = mx_keys_for(events, path, "x"),
    bodies = rep(paste("message", seq_len(n)), n_sessions)
  )
}

# Whole numbers as the package bit64 has them: their 64 bits in a double.
as_integer64 <- function(x) {
  bytes <- outer(0:7, x, function(i, x) x %/% 256^i %% 256)
  numbers <- readBin(as.raw(bytes), "double", length(x), endian = "little")
  structure(numbers, class = "integer64")
}

# A message that Bob sent, encrypted, with the keys to it that Alice has and those that she
# exports.
received_from_bob <- function(pair) {
  mx_sync(pair$bob)
  mx_send_text(pair$bob, pair$room, "from Bob")
  mx_sync(pair$alice)
  table <- as_table(raw_events(pair$alice, pair$room))
  table <- table[table$type == "m.room.encrypted", ]
  file <- mx_keys_export(pair$alice, tempfile(), "x")
  list(
    table = table,
    keys = mx_keys_for(table, pair$alice),
    exported = mx_keys_for(table, file, "x")
  )
}

# The parts that workers are given: the events of each room, and the keys to them.
parts_of <- function(archive) {
  events <- split(archive$events, archive$events$room_id)
  list(events = events, keys = lapply(events, mx_keys_for, archive$keys))
}

# What workers read, one after the other, is what this process reads.
expect_read_together <- function(read, archive) {
  together <- do.call(rbind, unname(read))
  rownames(together) <- NULL
  # rbind() knows factors alone.
  together$trust <- as_trust(together$trust)
  expect_identical(together, mx_decrypt(archive$events, archive$keys))
  expect_identical(together$body, archive$bodies)
}

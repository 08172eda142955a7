# Archives in parallel: what matrix-js-sdk wrote and Synapse keeps, read by processes that
# have nothing but events and keys.

# What the server returns of a room to whoever may see it, without its keys: lines of JSON.
archived_lines <- function(client, room) {
  lines <- character()
  from <- NULL
  repeat {
    url <- paste0(
      live_synapse()[["url"]],
      "/_matrix/client/v3/rooms/",
      utils::URLencode(room, reserved = TRUE),
      "/messages?dir=b&limit=100",
      if (!is.null(from)) paste0("&from=", from)
    )
    request <- httr2::req_auth_bearer_token(
      httr2::request(url),
      client[["access_token"]]
    )
    page <- jsonlite::fromJSON(
      httr2::resp_body_string(httr2::req_perform(request)),
      simplifyVector = FALSE
    )
    for (event in page[["chunk"]]) {
      event[["room_id"]] <- room
      line <- jsonlite::toJSON(event, auto_unbox = TRUE, digits = NA)
      lines <- c(lines, as.character(line))
    }
    from <- page[["end"]]
    if (is.null(from)) {
      return(rev(lines))
    }
  }
}

test_that("two processes read what a foreign client wrote, as a client of ours does", {
  alice <- live_client()
  them <- live_foreign()
  rooms <- c(room_of(alice, them), room_of(alice, them))
  for (room in rooms) {
    for (text in c("one", "two \u00e9\u4e16", "three")) {
      last <- say(them, room, text)
    }
    new <- list(msgtype = "m.text", body = "four")
    content <- list(
      msgtype = "m.text",
      body = "* four",
      "m.new_content" = new,
      "m.relates_to" = list(rel_type = "m.replace", event_id = last)
    )
    them$call(
      "sendEvent",
      roomId = room,
      type = "m.room.message",
      content = content
    )
    ours <- mx_send_text(alice, room, "ours")
    expect_reads(alice, room, ours)
    # A new session.
    them$call("forceDiscardSession", roomId = room)
    last <- say(them, room, "five")
    expect_reads(alice, room, last)
    expect_reads(them, room, ours)
  }
  file <- withr::local_tempfile()
  writeLines(them$call("exportKeyFile", passphrase = "correct horse"), file)

  lines <- lapply(rooms, function(room) archived_lines(them, room))
  keys <- mx_keys_for(unlist(lines), file, "correct horse")
  expect_gte(length(keys), 6)
  cluster <- parallel::makePSOCKcluster(2)
  withr::defer(parallel::stopCluster(cluster))
  parallel::clusterCall(cluster, .libPaths, .libPaths())
  read <- parallel::clusterMap(
    cluster,
    mxcrypt::mx_decrypt,
    lines,
    lapply(lines, mx_keys_for, keys),
    MoreArgs = list(threads = 1)
  )
  read <- do.call(rbind, read)
  own <- mx_messages(alice, rooms, limit = 500, edits = FALSE)
  columns <- c(
    "room_id",
    "event_id",
    "type",
    "sender",
    "origin_server_ts",
    "body",
    "msgtype",
    "encrypted",
    "decrypted",
    "utd_reason",
    "session_id",
    "replaces"
  )
  expect_gte(sum(read$decrypted), 12)
  expect_identical(as.list(read[columns]), as.list(own[columns]))
  expect_true(all(is.na(read$utd_reason)))
  expect_true(all(read$trust[read$decrypted] == "unknown_device"))
  expect_true(all(read$key_source[read$decrypted] == "imported"))

  # What the server changes on the way is refused, by the row.
  first <- read[read$room_id == rooms[[1]], ]
  change <- function(change) {
    vapply(
      lines[[1]],
      function(line) {
        event <- change(jsonlite::fromJSON(line, simplifyVector = FALSE))
        as.character(jsonlite::toJSON(event, auto_unbox = TRUE, digits = NA))
      },
      "",
      USE.NAMES = FALSE
    )
  }
  again <- change(function(event) {
    event[["event_id"]] <- paste0(event[["event_id"]], "again")
    event
  })
  expect_identical(
    mx_decrypt(c(lines[[1]], again), keys)$utd_reason,
    c(rep(NA, nrow(first)), ifelse(first$encrypted, "replayed", NA))
  )
  altered <- change(function(event) {
    text <- event[["content"]][["ciphertext"]]
    if (!is.null(text)) {
      old <- substr(text, 60, 60)
      substr(text, 60, 60) <- if (old == "A") "B" else "A"
      event[["content"]][["ciphertext"]] <- text
    }
    event
  })
  expect_identical(
    mx_decrypt(altered, keys)$utd_reason,
    ifelse(first$encrypted, "wrong_key", NA)
  )
  swapped <- change(function(event) {
    event[["sender"]] <- "@mallory:localhost"
    event
  })
  expect_identical(
    mx_decrypt(swapped, mx_keys_for(lines[[1]], alice))$utd_reason,
    ifelse(first$encrypted, "sender_mismatch", NA)
  )
})

# What the author of an archive, or of an export of keys, may put into them. What needs neither R
# nor its types is tested in the core (judgement/archive_decryption).

# Of each row, the reason or "read".
outcomes <- function(events, keys, ...) {
  read <- mx_decrypt(events, keys, ...)
  ifelse(is.na(read$utd_reason), "read", read$utd_reason)
}

test_that("columns that stand twice, or are of other lengths, are refused", {
  archive <- small_archive(1, 2)
  # Else one sender would be judged, and the other shown.
  twice <- cbind(archive$events, sender = "@mallory:demo")
  condition <- catch(mx_decrypt(twice, archive$keys))
  expect_s3_class(condition, "mx_error_argument")
  expect_match(conditionMessage(condition), "`sender` twice", fixed = TRUE)
  for (name in c("room_id", "sender", "content", "origin_server_ts")) {
    uneven <- as.list(archive$events)
    uneven[[name]] <- uneven[[name]][[1]]
    uneven <- structure(uneven, class = "data.frame", row.names = 1:2)
    condition <- catch(mx_decrypt(uneven, archive$keys))
    expect_s3_class(condition, "mx_error_argument")
  }
  keys <- unclass(archive$keys)
  keys <- structure(c(keys, list(room_id = "!other:demo")), class = "mx_keys")
  condition <- catch(mx_decrypt(archive$events, keys))
  expect_s3_class(condition, "mx_error_argument")
})

test_that("contents of any depth and width end in their row, or in a condition", {
  archive <- small_archive(1, 3)
  events <- archive$events
  nested <- function(n) paste0(strrep("[", n), strrep("]", n))
  beside <- sub(
    "{",
    paste0("{\"x\":", nested(1e5), ","),
    events$content[[1]],
    fixed = TRUE
  )
  twice <- sub("{", "{\"algorithm\":\"x\",", events$content[[1]], fixed = TRUE)
  wide <- paste0("{", paste0("\"k", 1:1e5, "\":1", collapse = ","), "}")
  with_first <- function(content, type = "m.room.encrypted") {
    events$type[[1]] <- type
    events$content[[1]] <- content
    events
  }
  for (flat in c(FALSE, TRUE)) {
    judged <- function(events) outcomes(events, archive$keys, flat = flat)
    expect_identical(judged(with_first(beside)), rep("read", 3))
    refused <- c("malformed_event", "read", "read")
    expect_identical(judged(with_first(twice)), refused)
    expect_identical(judged(with_first(wide)), refused)
    expect_identical(judged(with_first(nested(1e5))), refused)
    in_clear <- with_first(paste0("{\"x\":", nested(1e5), "}"), "m.x")
    expect_identical(judged(in_clear), rep("read", 3))
  }
  deep <- list()
  for (i in 1:5000) {
    deep <- list(x = deep)
  }
  events$content <- as.list(events$content)
  for (odd in list(
    deep,
    identity,
    globalenv(),
    quote(x),
    1i,
    NULL,
    NA,
    "[",
    raw()
  )) {
    events$content[1] <- list(odd)
    expect_identical(
      outcomes(events, archive$keys),
      c("malformed_event", "read", "read")
    )
  }
  frame <- data.frame(x = 1:3)
  for (i in 1:2000) {
    outer <- data.frame(row.names = 1:3)
    outer$x <- frame
    frame <- outer
  }
  events$content <- frame
  condition <- catch(mx_decrypt(events, archive$keys))
  expect_s3_class(condition, "mx_error_argument")
})

test_that("what a sender encrypted costs only its row", {
  session <- mxc_megolm_outbound_new()
  room <- "!r:demo"
  nested <- paste0(strrep("[", 1e4), strrep("]", 1e4))
  payload <- function(content) {
    sprintf(
      "{\"type\":\"m.room.message\",\"room_id\":\"%s\",\"content\":%s}",
      room,
      content
    )
  }
  texts <- c(
    payload(sprintf("{\"body\":\"deep\",\"x\":%s}", nested)),
    payload("{\"body\":{\"body\":[]},\"msgtype\":7}"),
    payload("{\"body\":\"NUL \\u0000 %s {x}\"}"),
    payload(nested),
    payload("{\"body\":\"last\"}")
  )
  keys <- export_of(list(exported_session(session, room)))
  events <- messages_of(session, room, length(texts))
  ciphertexts <- mxc_megolm_encrypt(session, texts)
  events$content <- sprintf(
    "{\"algorithm\":\"m.megolm.v1.aes-sha2\",\"ciphertext\":\"%s\",\"session_id\":\"%s\"}",
    ciphertexts,
    mxc_megolm_session_id(session)
  )
  keys <- mx_keys_for(events, keys, "x")
  for (flat in c(FALSE, TRUE)) {
    read <- mx_decrypt(events, keys, flat = flat)
    expect_identical(
      read$body,
      c("deep", NA, "NUL \ufffd %s {x}", NA, "last")
    )
    expect_identical(which(!is.na(read$utd_reason)), 4L)
  }
})

test_that("a key reads its room alone, and none that is altered", {
  archive <- small_archive(2, 2)
  events <- archive$events
  keys <- archive$keys
  rooms <- unique(events$room_id)
  altered <- function(name, value) {
    columns <- unclass(keys)
    columns[[name]] <- value
    structure(columns, class = "mx_keys")
  }
  swapped <- altered("room_id", rev(keys$room_id))
  expect_identical(unique(outcomes(events, swapped)), "unknown_session")
  # Also where the events are moved along.
  moved <- events
  moved$room_id <- ifelse(events$room_id == rooms[[1]], rooms[[2]], rooms[[1]])
  expect_identical(unique(outcomes(moved, swapped)), "room_mismatch")
  swapped <- altered("session_id", rev(keys$session_id))
  expect_identical(unique(outcomes(events, swapped)), "unknown_session")
  # What names the device of a key is not authenticated in an export, and proves nothing.
  for (name in c("sender_key", "sender_signing_key")) {
    expect_identical(
      unique(outcomes(events, altered(name, c(NA, "x")))),
      "read"
    )
  }
})

test_that("an export that names another device cannot pass for the sender's key", {
  pair <- demo_pair()
  received <- received_from_bob(pair)
  table <- received$table
  exported <- unclass(received$exported)
  exported$sender_key <- "another"
  exported <- structure(exported, class = "mx_keys")
  swapped <- table
  swapped$sender <- pair$alice$user_id
  swapped$event_id <- "$swapped"
  read <- mx_decrypt(rbind(table, swapped), c(exported, received$keys))
  # It is read as what it is: of a key that somebody exported.
  expect_identical(read$body, c("from Bob", "from Bob"))
  expect_identical(read$key_source, c("direct", "imported"))
  expect_identical(unique(as.character(read$trust)), "unknown_device")
})

test_that("keys that stand many times, or were made up, cost the keys that are good nothing", {
  archive <- small_archive(2, 50)
  events <- archive$events
  keys <- archive$keys
  many <- keys[rep(seq_along(keys), 1000)]
  expect_identical(mx_decrypt(events, many), mx_decrypt(events, keys))
  made_up <- unclass(keys[rep(1, 500)])
  bytes <- matrix(made_up$key, ncol = 500)
  bytes[20:23, ] <- as.raw(seq_len(2000) %% 256)
  made_up$key <- as.vector(bytes)
  made_up <- structure(made_up, class = "mx_keys")
  read <- mx_decrypt(events, c(made_up, keys))
  expect_identical(read$body, archive$bodies)
})

test_that("a message counts once in all parts of a call, and in the work of one worker", {
  archive <- small_archive(2, 10)
  events <- archive$events
  copies <- events
  copies$event_id <- paste0(copies$event_id, "-copy")
  both <- rbind(events, copies)
  expected <- rep(c("read", "replayed"), each = 20)
  expect_identical(outcomes(both, archive$keys), expected)
  local_replaced("decrypted_at_once", 7)
  expect_identical(outcomes(both, archive$keys), expected)
  # By room: each worker sees both.
  by_room <- lapply(split(both, both$room_id), outcomes, archive$keys)
  expect_identical(
    unname(unlist(by_room)),
    rep(rep(c("read", "replayed"), each = 10), 2)
  )
  # By rows: no worker does. That is why the help page says to split by room.
  expect_identical(outcomes(copies, archive$keys), rep("read", 20))
})

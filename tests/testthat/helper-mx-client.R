# A device of the package mx.client: what it keeps, as it writes it. Also for the
# live tests.

internal <- function(name) get(name, asNamespace("mxcrypt"))

# A device with keys on the server.
old_device <- function(server, user, password) {
  bare <- list(server = server)
  login <- internal("log_in")(bare, user, password, NULL, NULL)
  account <- mxc_account_new()
  mxc_account_generate_one_time_keys(account, 5)
  keys <- mxc_account_one_time_keys(account)
  sign <- function(key) {
    signed <- mxc_one_time_key(account, key, login$user_id, login$device_id)
    paste0("\"signed_curve25519:", names(keys)[keys == key], "\":", signed)
  }
  device <- new.env()
  device$session <- c(bare, token = login$access_token)
  device$login <- login
  device$account <- account
  device$olm_in <- list()
  device$megolm_in <- list()
  body <- paste0(
    "{\"device_keys\":",
    mxc_device_keys(account, login$user_id, login$device_id),
    ",\"one_time_keys\":{",
    paste(vapply(keys, sign, ""), collapse = ","),
    "}}"
  )
  old_call(device, "POST", c("keys", "upload"), body)
  mxc_account_mark_published(account)
  device
}

old_call <- function(device, method, path, body = NULL, query = NULL) {
  path <- internal("api_path")(path, query = query)
  internal("http_json")(device$session, method, path, body)
}

# Takes in the room keys that came, as mx.client does.
old_sync <- function(device) {
  own <- mxc_account_identity_keys(device$account)[["curve25519"]]
  sync <- old_call(device, "GET", "sync")
  for (event in sync[["to_device"]][["events"]]) {
    content <- event[["content"]]
    message <- content[["ciphertext"]][[own]]
    if (event[["type"]] == "m.room.encrypted" && message[["type"]] == 0) {
      from <- content[["sender_key"]]
      opened <- mxc_olm_create_inbound(
        device$account,
        from,
        message[["body"]]
      )
      device$olm_in[[from]] <- mxc_olm_session_pickle(opened$session, old_key)
      key <- jsonlite::fromJSON(rawToChar(opened$plaintext))
      place <- paste0(key$content$room_id, "|", key$content$session_id)
      session <- mxc_megolm_inbound_new(key$content$session_key)
      device$megolm_in[[place]] <- list(
        session = mxc_megolm_inbound_pickle(session, old_key),
        sender = key$sender,
        sender_ed25519 = key$keys$ed25519,
        sender_bound = TRUE
      )
    }
  }
  # What was taken in does not come again.
  query <- list(since = sync[["next_batch"]])
  old_call(device, "GET", "sync", query = query)
  invisible(device)
}

old_key <- as.raw(1:32)

# Writes its store and configuration, and says where.
old_store <- function(device, later = FALSE) {
  dir <- tempfile("mx-client-")
  dir.create(dir)
  file <- function(name) file.path(dir, name)
  writeBin(old_key, file("pickle.key"))
  pickle <- mxc_account_pickle(device$account, old_key)
  if (later) {
    pickle <- sprintf('{"version":1,"pickle":"%s"}', pickle)
  }
  writeLines(pickle, file("account.pickle"))
  sending <- mxc_megolm_outbound_new()
  mxc_megolm_encrypt(sending, "sent by mx.client")
  sessions <- list(
    olm = list(),
    olm_in = if (later) lapply(device$olm_in, list) else device$olm_in,
    megolm_out = list(
      "!other:here" = list(
        session = mxc_megolm_outbound_pickle(sending, old_key),
        shared = list()
      )
    ),
    megolm_in = device$megolm_in
  )
  if (later) {
    sessions$version <- 1
  }
  writeLines(
    jsonlite::toJSON(sessions, auto_unbox = TRUE),
    file("sessions.json")
  )
  config <- list(
    server = device$session$server,
    token = device$session$token,
    user_id = device$login$user_id,
    device_id = device$login$device_id,
    sync_token = structure(list(), names = character())
  )
  writeLines(jsonlite::toJSON(config, auto_unbox = TRUE), file("matrix.json"))
  list(from = dir, config = file("matrix.json"))
}

imported <- function(store, dir = tempfile()) {
  mx_store_import(
    store$from,
    store$config,
    app = "new",
    path = file.path(dir, "matrix.json"),
    store_dir = file.path(dir, "crypto")
  )
}

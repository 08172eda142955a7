# What is in the key backup, and who reads what.

# Alice, who has said something in a room, and whose keys are backed up.
backed_up <- function(texts = c("one", "two")) {
  homeserver <- mx_demo_homeserver()
  own <- with_recovery_key(homeserver)
  room <- mx_room_create(own$client)
  mx_send_text(own$client, room, texts)
  mx_backup_upload(own$client)
  list(
    homeserver = homeserver,
    alice = own$client,
    key = own$key,
    room = room
  )
}

bodies_of <- function(client, room) {
  events <- messages(mx_messages(client, room))
  ifelse(is.na(events$utd_reason), events$body, events$utd_reason)
}

backup_keys <- function(client) {
  version <- mx_backup_status(client)$version
  path <- api_path("room_keys", "keys", query = list(version = version))
  http_json(client, "GET", path)[["rooms"]]
}

# How a server may fail to say which key backup there is.
broken_ways <- list(
  "500" = list(500L, '{"errcode":"M_UNKNOWN","error":"Internal server error"}'),
  "405" = list(405L, "Method Not Allowed"),
  "404" = list(
    404L,
    '{"errcode":"M_UNRECOGNIZED","error":"Unrecognized request"}'
  ),
  "no algorithm" = list(200L, '{"version":"1","auth_data":{},"count":0}'),
  "no JSON" = list(200L, "<html>")
)

# `GET /room_keys/version` is answered in one of these ways until the caller is
# done.
local_broken_backup <- function(way, .local_envir = parent.frame()) {
  real <- http_once
  local_replaced(
    "http_once",
    function(session, method, path, ...) {
      if (method == "GET" && grepl("/room_keys/version$", path)) {
        return(list(status = way[[1]], body = charToRaw(way[[2]])))
      }
      real(session, method, path, ...)
    },
    .local_envir = .local_envir
  )
  withr::local_options(mxcrypt.pause = 0, .local_envir = .local_envir)
}

# A backup from before there was secret storage. Its public key was made by
# Python's hashlib.pbkdf2_hmac("sha512", passphrase, salt, iterations, 32) and
# X25519; the recovery key is that private key in the form of the specification.
legacy <- list(
  passphrase = "correct horse battery",
  recovery_key = paste(
    "EsTH bdWa MGNZ bFmX DKVC eNW2 Bt9g aHC3 gGfK 41sx JZF7 sU54"
  ),
  auth_data = list(
    public_key = "YL0qyUa4bKptPtaD4hti8ggE7M5pMpl0Al+C3snLVzk",
    private_key_salt = "saltsaltsalt",
    private_key_iterations = 1000
  )
)

make_version <- function(client, auth_data) {
  body <- list(
    algorithm = "m.megolm_backup.v1.curve25519-aes-sha2",
    auth_data = auth_data
  )
  http_json(client, "POST", api_path("room_keys", "version"), body)
}

# Alice, who has a legacy backup with what she said, no identity and no secret
# storage.
legacy_account <- function(auth_data = legacy$auth_data) {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  make_version(alice, auth_data)
  mx_backup_enable(alice, recovery_key = legacy$recovery_key)
  room <- mx_room_create(alice)
  suppressWarnings(mx_send_text(alice, room, c("one", "two")))
  mx_backup_upload(alice)
  list(homeserver = homeserver, alice = alice, room = room)
}

problems_of <- function(client) mx_crypto_status(client)$out_of_sync$problem

# Mends what is out of sync, and says what that was.
repaired <- function(client, ...) {
  done <- suppressMessages(mx_crypto_repair(client, ...))
  expect_true(all(done$mended))
  expect_equal(problems_of(client), character())
  done$problem
}

# Makes what the workloads read: Rscript fixtures.R <directory> <raw binary>
#
# Devices of others, sync answers written for one device, and stores of that
# device that hold 0, 1,000, 10,000 and 100,000 inbound Megolm sessions.

arguments <- commandArgs(TRUE)
fixtures <- arguments[[1]]
raw <- arguments[[2]]
source("bench/harness.R")

sizes <- c(1000, 10000, 100000)

run_raw <- function(...) {
  if (system2(raw, shQuote(c(...))) != 0L) {
    stop("raw failed")
  }
}

run_raw("devices", fixtures)

homeserver <- mx_demo_homeserver("alice")
store <- file.path(fixtures, "store_0")
alice <- alice_on(store, homeserver)
keys <- mxc_account_identity_keys(mx_crypto_account(store))
self <- list(
  user_id = alice$user_id,
  device_id = alice$device_id,
  ed25519 = keys[["ed25519"]]
)
claimed <- mx_crypto_claim_otks(alice, list(self))[[1]][["otk"]]
run_raw(
  "peer",
  fixtures,
  alice$user_id,
  keys[["ed25519"]],
  keys[["curve25519"]],
  claimed,
  format(max(sizes), scientific = FALSE)
)

files <- sort(list.files(fixtures, "^keys_.*json$", full.names = TRUE))
filled <- file.path(fixtures, "store_filled")
close_stores()
dir.create(filled)
invisible(file.copy(list.files(store, full.names = TRUE), filled))
# The peer is a member of the room: of a stranger few keys are kept.
first <- jsonlite::fromJSON(read_text(files[[1]]), simplifyVector = FALSE)
peer <- first[["to_device"]][["events"]][[1]][["sender"]]
member <- list(
  type = "m.room.member",
  state_key = peer,
  sender = peer,
  event_id = "$member",
  origin_server_ts = 1,
  content = list(membership = "join")
)
rooms <- list(
  join = list("!bench:demo" = list(state = list(events = list(member))))
)
invisible(process_sync(
  filled,
  mxc_json(list(next_batch = "members", rooms = rooms))
))
for (i in seq_along(files)) {
  process_sync(filled, read_text(files[[i]]))
  if ((i * 1000) %in% sizes) {
    close_stores()
    copy <- file.path(fixtures, sprintf("store_%d", i * 1000))
    dir.create(copy)
    file.copy(list.files(filled, full.names = TRUE), copy)
  }
}
unlink(c(files, filled), recursive = TRUE)

# Makes what the workloads read:
# Rscript fixtures.R <directory> <raw binary> <sdk binary, or -> <largest size>
#
# Devices of others, sync answers written for one device, and stores of that
# device that hold 0, 100, 1,000, ... inbound Megolm sessions. The same for the
# device of the SDK, in the directory sdk.

arguments <- commandArgs(TRUE)
fixtures <- arguments[[1]]
raw <- arguments[[2]]
sdk <- arguments[[3]]
largest <- as.numeric(arguments[[4]])
source("bench/harness.R")

# So many keys come with one sync; see raw/src/peer.rs.
per_sync <- 100
store_sizes <- Filter(function(size) size <= largest, 10^(2:5))
crowd_sizes <- Filter(function(size) size <= 10000, store_sizes)

run <- function(command, ...) {
  if (system2(command, shQuote(c(...))) != 0L) {
    stop(command, " failed")
  }
}

# What others write to one device, whose keys `to` has.
write_to <- function(to, dir, sessions, crowds) {
  device <- c(to[["user_id"]], to[["ed25519"]], to[["curve25519"]])
  run(raw, "peer", dir, device, to[["one_time_key"]], number(sessions))
  run(raw, "crowd", dir, device, to[["fallback_key"]], number(crowds))
}

run(raw, "devices", fixtures, number(largest))
# The plaintext of W8: 256 MiB of what does not repeat.
large <- file(file.path(fixtures, "file"), "wb")
for (i in 1:256) {
  writeBin(as.raw(sample(0:255, 2^20, TRUE)), large)
}
close(large)

# --- The device of mxcrypt -------------------------------------------------------

homeserver <- mx_demo_homeserver("alice")
store <- file.path(fixtures, "store_0")
alice <- alice_on(store, homeserver)
keys <- mxc_account_identity_keys(mx_crypto_account(store))
self <- list(
  user_id = alice$user_id,
  device_id = alice$device_id,
  ed25519 = keys[["ed25519"]]
)
claim <- function() mx_crypto_claim_otks(alice, list(self))[[1]][["otk"]]
claimed <- claim()
# With all one-time keys gone, the server hands out the fallback key.
fallback <- claim()
while (!identical(again <- claim(), fallback)) {
  fallback <- again
}
to_alice <- list(
  user_id = alice$user_id,
  ed25519 = keys[["ed25519"]],
  curve25519 = keys[["curve25519"]],
  one_time_key = claimed,
  fallback_key = fallback
)
write_to(to_alice, fixtures, largest, crowd_sizes)

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
  if ((i * per_sync) %in% store_sizes) {
    close_stores()
    copy <- file.path(fixtures, paste0("store_", number(i * per_sync)))
    dir.create(copy)
    file.copy(list.files(filled, full.names = TRUE), copy)
  }
}
unlink(c(files, filled), recursive = TRUE)

# --- The device of the SDK -------------------------------------------------------

if (sdk != "-") {
  dir <- file.path(fixtures, "sdk")
  dir.create(dir)
  to_sdk <- jsonlite::fromJSON(system2(sdk, c("prepare", dir), stdout = TRUE))
  write_to(to_sdk, dir, min(largest, 10000), c(1000, 10000))
  run(sdk, "fill", dir, number(Filter(function(n) n <= 10000, store_sizes)))
  unlink(list.files(dir, "^(keys|events|waiting|awaited)_", full.names = TRUE))
  shared <- c("device_keys.jsonl", "claim.json", "file")
  file.symlink(file.path("..", shared), file.path(dir, shared))
}

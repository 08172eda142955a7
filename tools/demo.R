# make demo: two people with two devices each talk in an encrypted room, through
# a real homeserver on this machine. In the middle one process is killed.

library(mxcrypt)
source("tools/synapse.R")

say <- function(...) cat("\n\u2500\u2500 ", ..., "\n", sep = "")

# A device of `user`, with a login and a store of its own.
device <- function(server, dir, user, name) {
  mx_client_configure(
    server[["url"]],
    user,
    password = paste("the password of", user),
    path = file.path(dir, name, "matrix.json"),
    store_dir = file.path(dir, name, "crypto"),
    device_name = name
  )
}

# Another R process, which reports run after run until it is done or killed. Each
# report has a transaction id: to send it again gives the same event.
reports_from <- function(path, room, first, last) {
  code <- sprintf(
    "client <- mxcrypt::mx_client_load(path = %s)
     for (n in %d:%d) {
       mxcrypt::mx_send_text(
         client, %s, paste('run', n, 'finished'),
         transaction_id = paste0('run-', n)
       )
       Sys.sleep(0.05)
     }",
    deparse(path),
    first,
    last,
    deparse(room)
  )
  processx::process$new("Rscript", c("-e", code), cleanup = TRUE)
}

texts <- function(client, room) {
  events <- mx_messages(client, room, limit = 200)
  events[["body"]][events[["type"]] == "m.room.message"]
}

main <- function() {
  dir <- tempfile("mxcrypt-demo-")
  say("A homeserver starts on this machine")
  server <- synapse_start(file.path(dir, "synapse"))
  on.exit({
    synapse_stop(server)
    unlink(dir, recursive = TRUE)
    say("What was started is stopped")
  })
  cat("Synapse, SQLite,", server[["url"]], "\n")
  for (user in c("alice", "bob")) {
    synapse_register(server, user, paste("the password of", user))
  }

  say("Two people, two devices each")
  alice <- device(server, dir, "alice", "alice-laptop")
  alice_cron <- device(server, dir, "alice", "alice-cron")
  bob <- device(server, dir, "bob", "bob-laptop")
  bob_phone <- device(server, dir, "bob", "bob-phone")
  print(alice)

  say("Each person gets an identity, and each device is signed by its owner")
  for (devices in list(list(alice, alice_cron), list(bob, bob_phone))) {
    first <- mx_crypto_setup(devices[[1]])
    key <- format(first$recovery_key, reveal = TRUE)
    mx_recovery_key_forget(first$recovery_key)
    # The other device has nothing but the recovery key.
    second <- mx_crypto_setup(devices[[2]], recovery_key = key)
    stopifnot(identical(second$master_key, first$master_key))
  }
  print(mx_devices(bob, alice$user_id)[c("user_id", "device_id", "trust")])

  # So that the laptops hear of the devices that were signed meanwhile.
  mx_sync(alice)
  mx_sync(bob)
  room <- mx_room_create(alice, name = "Pipeline", invite = bob$user_id)
  mx_room_join(bob, room)

  say("They talk: text, and a data frame as a table")
  mx_send_text(alice, room, "the eagle lands at noon")
  mx_sync(bob)
  mx_send_text(bob, room, "which eagle?", mentions = alice$user_id)
  mx_send_table(
    alice,
    room,
    head(mtcars[1:4], 3),
    "This one:",
    row_names = TRUE
  )

  say("alice-cron sends run after run, and is killed in the middle (SIGKILL)")
  cron <- reports_from(alice_cron$path, room, 1, 20)
  while (length(grep("^run", texts(bob, room))) < 5L) {
    stopifnot(cron$is_alive())
  }
  cron$kill()
  said <- grep("^run", texts(bob, room), value = TRUE)
  cat("killed after:", utils::tail(said, 1), "\n")

  say("It begins again on the same store, a little before where it was")
  cron <- reports_from(alice_cron$path, room, length(said), 20)
  cron$wait()
  stopifnot(cron$get_exit_status() == 0L)
  runs <- grep("^run", texts(bob, room), value = TRUE)
  cat(
    length(runs),
    "reports:",
    paste(range(seq_along(runs)), collapse = " to ")
  )
  cat(", each once and in order\n")
  stopifnot(identical(runs, paste("run", 1:20, "finished")))

  say("What bob's phone shows, a device that only listened")
  events <- mx_sync(bob_phone)
  print(events[events$type == "m.room.message", ], n = 30L)
  stopifnot(all(events$decrypted[events$encrypted]))
  trust <- unique(as.character(events$trust[events$encrypted]))
  cat("trust:", paste(sort(trust), collapse = ", "), "\n")

  say("What the server holds")
  rows <- synapse_sql(
    server,
    "SELECT type, json FROM event_json JOIN events USING (event_id)
     WHERE type LIKE 'm.room.message' OR type = 'm.room.encrypted'
     ORDER BY stream_ordering"
  )
  print(table(rows[["type"]]))
  one <- jsonlite::fromJSON(rows[["json"]][[1]], simplifyVector = FALSE)
  one <- one[["content"]]
  one[["ciphertext"]] <- paste0(substr(one[["ciphertext"]], 1, 60), "\u2026")
  cat(jsonlite::toJSON(one, auto_unbox = TRUE, pretty = TRUE), "\n")
  everything <- paste(rows[["json"]], collapse = "\n")
  for (word in c("eagle", "finished", "Mazda")) {
    stopifnot(!grepl(word, everything, fixed = TRUE))
  }
  cat("not one word of it in the clear\n")
}

main()

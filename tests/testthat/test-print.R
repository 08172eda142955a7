# What each object prints, to be read by a person. test-client.R, test-events.R and
# test-doctor.R have the others.

test_that("every class that prints is among those that are printed here", {
  methods <- getNamespaceInfo("mxcrypt", "S3methods")
  own <- function(generic) methods[methods[, 1] == generic, 2]
  printed <- unique(unlist(lapply(printed_objects(), class)))
  expect_setequal(setdiff(own("print"), printed), character())
  expect_setequal(setdiff(own("format"), printed), character())
})

test_that("the status of encryption prints, before and after set-up", {
  local_shown()
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  expect_snapshot(
    {
      mx_crypto_status(alice)
      mx_backup_status(alice)
    },
    transform = steady
  )
  setup <- suppressMessages(mx_crypto_setup(alice))
  laptop <- mx_demo_client(homeserver, "alice", verified = FALSE)
  expect_snapshot(
    {
      setup
      mx_crypto_status(alice)
      mx_backup_status(alice)
      print(mx_crypto_setup(alice))
      mx_crypto_status(laptop)
      mx_backup_status(laptop)
    },
    transform = steady
  )
  mx_room_create(alice)
  mx_isolation_mode(alice, "all")
  mx_backup_disable(alice)
  expect_snapshot(mx_backup_status(alice), transform = steady)
  expect_snapshot(mx_crypto_status(alice), transform = steady)
})

test_that("a backup that cannot be used prints why", {
  local_shown()
  status <- list(
    user_id = "@alice:demo",
    version = "7",
    algorithm = "m.megolm_backup.v1.curve25519-aes-sha2",
    key_in_secret_storage = FALSE,
    key_held = FALSE,
    trusted = FALSE,
    enabled = NULL,
    legacy = TRUE,
    keys = 1234,
    backed_up = 5,
    signatures = data.frame(
      signer = c("identity", "this_device", "device", "unknown"),
      name = c("", "", "PHONE", "TABLET"),
      valid = c(TRUE, FALSE, NA, NA)
    )
  )
  backup <- function(...) {
    structure(utils::modifyList(status, list(...)), class = "mx_backup_status")
  }
  none <- backup(version = NULL, failure = "The server returned no JSON (502).")
  expect_snapshot({
    backup()
    backup(trusted = TRUE, enabled = TRUE)
    backup(refused = "Its public key has 31 bytes.")
    none
  })
})

test_that("secrets and handles print what they are, and no secret", {
  local_shown()
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  recovery_key <- suppressMessages(mx_crypto_setup(alice))$recovery_key
  text <- format(recovery_key, reveal = TRUE)
  mx_secret_store(alice, "org.example.token", "correct horse", text)
  secret <- mx_secret_fetch(alice, "org.example.token", text)
  account <- mxc_account_new()
  outbound <- mxc_megolm_outbound_new()
  inbound <- mxc_megolm_inbound_new(mxc_megolm_session_key(outbound))
  peer <- mxc_account_new()
  mxc_account_generate_one_time_keys(peer, 1)
  olm <- mxc_olm_create_outbound(
    account,
    mxc_account_identity_keys(peer)[["curve25519"]],
    mxc_account_one_time_keys(peer)[[1]]
  )
  expect_snapshot(
    {
      recovery_key
      str(recovery_key)
      secret
      str(list(secret))
      account
      outbound
      inbound
      olm
      unserialize(serialize(account, NULL))
    },
    transform = steady
  )
})

test_that("a verification prints its state, and what to call next", {
  local_shown()
  pair <- demo_pair()
  both <- request_of(pair$alice, pair$bob)
  show <- function() invisible(lapply(both, print))
  expect_snapshot(show(), transform = steady_emoji)
  both[[2]] <- mx_verification_accept(both[[2]])
  both <- exchange(both)
  expect_snapshot(show(), transform = steady_emoji)
  both[[1]] <- mx_verification_start(both[[1]])
  expect_snapshot(both[[1]], transform = steady_emoji)
  both <- exchange(both)
  expect_snapshot(show(), transform = steady_emoji)
  both[[1]] <- mx_verification_confirm(both[[1]], same = TRUE)
  both <- exchange(both)
  expect_snapshot(show(), transform = steady_emoji)
  both[[2]] <- mx_verification_confirm(both[[2]], same = TRUE)
  both <- exchange(both)
  expect_snapshot(show(), transform = steady_emoji)
  both <- agreed(pair$bob, pair$alice)
  mx_verification_cancel(both[[1]])
  mx_sync(pair$alice)
  expect_snapshot(show(), transform = steady_emoji)
})

test_that("a verification by QR code prints its state", {
  local_shown()
  pair <- demo_pair()
  both <- agreed(pair$alice, pair$bob)
  symbol <- mx_verification_qr(both[[1]])
  expect_snapshot(both[[1]], transform = steady_emoji)
  mx_verification_scan(both[[2]], picture(symbol))
  mx_sync(pair$alice)
  expect_snapshot(invisible(lapply(both, print)), transform = steady_emoji)
})

test_that("each way to cancel a verification is told in words", {
  cancelled <- function(code, here, reason = NULL) {
    state_sentence(list(
      state = "cancelled",
      code = code,
      cancelled_here = here,
      reason = reason
    ))
  }
  said <- c(
    cancelled("m.user", TRUE),
    cancelled("m.user", FALSE),
    cancelled("m.timeout", TRUE),
    cancelled("m.mismatched_sas", FALSE, "The emoji differ"),
    cancelled("org.x", TRUE)
  )
  expect_snapshot(writeLines(said))
})

test_that("heartbeats, bots, commands and listeners print", {
  skip_without_promises()
  local_shown()
  pair <- demo_pair()
  beat <- mx_heartbeat(pair$alice, pair$room, "no report", 3600, name = "job")
  add <- mx_command(function(a = 1, b = 2) a + b, help = "Adds two numbers.")
  bot <- mx_bot(pair$bob, list(status = function() "well", add = add))
  strict <- mx_bot(
    pair$bob,
    list(status = function() "well"),
    allow = c("@alice:demo", "@carol:demo"),
    invited_by = "@alice:demo",
    trust = "verified"
  )
  listener <- mx_listen_start(pair$alice, function(event) NULL)
  listener$stop()
  expect_snapshot(
    {
      beat
      invisible(mx_heartbeat_stop(beat))
      beat
      add
      bot
      strict
      listener
    },
    transform = steady
  )
})

test_that("each state of a heartbeat is a sentence", {
  local_shown()
  time <- as.POSIXct("2026-01-02 03:04:05", tz = "UTC")
  states <- c("armed", "due", "sent", "gone", "refused", "unknown", "starting")
  sentences <- vapply(states, "", FUN = function(state) {
    heartbeat_sentence(list(state = state, due = time, sent_at = time))
  })
  expect_snapshot(writeLines(sentences))
})

test_that("hits and messages print", {
  local_shown()
  pair <- demo_pair()
  mx_send_text(
    pair$alice,
    pair$room,
    c("Load started", "ERROR: disk full", "Load ended", strrep("long ", 40))
  )
  mx_archive(pair$alice, pair$room)
  expect_snapshot(
    {
      mx_search(pair$alice, "error")
      mx_search(pair$alice, "load", context = 1)
      print(mx_search(pair$alice, "long|load"), n = 1)
      mx_search(pair$alice, "nothing")
      mx_as_message("hello")
      mx_as_message(strrep("long ", 40))
      mx_as_message(head(cars, 2))
      mx_file(charToRaw("x"), name = "x.csv")
    },
    transform = steady
  )
})

test_that("a QR code prints as blocks, or as signs of ASCII", {
  local_shown()
  symbol <- mxc_qr_symbol(charToRaw("hello"))
  expect_snapshot(symbol)
})

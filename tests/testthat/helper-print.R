# What is printed and told, without what differs from run to run.

# For snapshots: ids, keys, times, paths and the address of the demo homeserver.
steady <- function(lines) {
  key <- "(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{43}(?![A-Za-z0-9+/])"
  time <- "[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-9]{2})?Z?"
  lines <- gsub("(store|config): +.*[/\\\\]", "\\1: <dir>/", lines)
  lines <- gsub("[^ ]*[/\\\\]file[0-9a-f]+", "<file>", lines)
  lines <- gsub("http://127.0.0.1:[0-9]+|demo:[0-9]+", "<server>", lines)
  lines <- gsub(time, "<time>", lines)
  lines <- gsub("[$][0-9]+:demo", "<event>", lines)
  gsub(key, "<key>", lines, perl = TRUE)
}

# The same of a verification, whose emoji and numbers are random.
steady_emoji <- function(lines) {
  names <- vapply(sas_emoji(), function(row) row[["description"]], "")
  lines[trimws(lines) %in% names] <- "  <name of an emoji>"
  steady(sub("^  [0-9]{4} - [0-9]{4} - [0-9]{4}$", "  <numbers>", lines))
}

# Sets what snapshots depend on, until the caller is done.
local_shown <- function(.local_envir = parent.frame()) {
  withr::local_options(
    cli.dynamic = FALSE,
    width = 80,
    .local_envir = .local_envir
  )
  withr::local_timezone("UTC", .local_envir = .local_envir)
}

# An object of each class that has a print() method of its own, and its parts where these
# are objects, on a homeserver where the users have the names of this script.
printed_objects <- function(name = "Alice", text = "hello") {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  setup <- suppressMessages(mx_crypto_setup(alice))
  key <- format(setup$recovery_key, reveal = TRUE)
  bob <- mx_demo_client(homeserver, "bob")
  mx_profile_set(alice, name)
  room <- mx_room_create(alice, name = name, invite = bob$user_id)
  mx_room_join(bob, room)
  mx_send_text(alice, room, text)
  mx_secret_store(alice, "org.example.token", "correct horse", key)
  mx_archive(alice, room)
  bot <- mx_bot(bob, list(status = mx_command(function() 1, help = text)))
  outbound <- mxc_megolm_outbound_new()
  list(
    mx_demo_homeserver = homeserver,
    mx_client = alice,
    mx_session = mx_client_session(alice),
    mx_stored = mx_crypto_account(alice$store_dir),
    mx_sync_batch = mx_sync_update(alice)$sync,
    mx_crypto_setup = setup,
    mx_recovery_key = setup$recovery_key,
    mx_crypto_status = mx_crypto_status(alice),
    mx_backup_status = mx_backup_status(alice),
    mx_doctor = mx_doctor(alice),
    mx_verification = mx_verification_request(alice, bob$user_id),
    mx_store_check = mx_store_check(alice),
    mx_heartbeat = mx_heartbeat(alice, room, text, 3600, name = "job"),
    mx_bot = bot,
    mx_command = bot$commands$status,
    mx_listener = stopped_listener(alice),
    mx_events = mx_sync(bob),
    mx_search = mx_search(alice, "."),
    mx_message = mx_as_message(text),
    mx_secret = mx_secret_fetch(alice, "org.example.token", key),
    mx_keys = mx_keys_for(NULL, alice),
    mxc_handle = mxc_account_new(),
    mxc_megolm_outbound = outbound,
    mxc_megolm_inbound = mxc_megolm_inbound_new(
      mxc_megolm_session_key(outbound)
    ),
    mxc_qr_symbol = mxc_qr_symbol(charToRaw("hello"))
  )
}

stopped_listener <- function(client) {
  listener <- mx_listen_start(client, function(event) NULL)
  listener$stop()
  listener
}

# What a person is told while `code` runs: messages, warnings and the error, in order.
# testthat's own form of them differs from version to version.
told <- function(code) {
  withr::local_options(
    # helper-quiet.R keeps cli silent.
    cli.default_handler = NULL,
    # A slow machine shows bars that a fast one does not.
    cli.progress_show_after = 1e6
  )
  lines <- character()
  note <- function(kind, condition) {
    class <- class(condition)[[1]]
    head <- if (kind != "Message") paste0(kind, " <", class, ">")
    text <- strsplit(conditionMessage(condition), "\n", fixed = TRUE)[[1]]
    lines <<- c(lines, head, text)
  }
  withCallingHandlers(
    tryCatch(code, error = function(condition) note("Error", condition)),
    warning = function(condition) {
      note("Warning", condition)
      tryInvokeRestart("muffleWarning")
    },
    message = function(condition) {
      note("Message", condition)
      tryInvokeRestart("muffleMessage")
    }
  )
  writeLines(cli::ansi_strip(lines))
}

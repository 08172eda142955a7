# What is measured, and what it is compared with: a row for each line of the table.
#
# workload: the name that a process prints (see workloads.R), and that results.csv has.
# size:     of how much.
# process:  the argument of workloads.R.
# raw, sdk: the argument of the limit and of the SDK, or NA.
# curve:    the curve of curves.png that the row is a point of, or "".
# per:      what the cost of a point is divided by.

quick <- nzchar(Sys.getenv("BENCH_QUICK"))

row <- function(
  workload,
  size,
  process,
  title,
  note = "",
  raw = NA,
  sdk = NA,
  curve = "",
  per = size
) {
  data.frame(workload, size, process, title, note, raw, sdk, curve, per)
}

# The same at several sizes, of which the SDK has some.
each <- function(
  workload,
  process,
  sizes,
  title,
  note = "",
  sdk = NULL,
  raw = NA,
  ...
) {
  named <- function(size) {
    paste0(process, "-", format(size, scientific = FALSE, trim = TRUE))
  }
  rows <- lapply(sizes, function(size) {
    shown <- format(size, big.mark = ",", scientific = FALSE, trim = TRUE)
    with_sdk <- if (size %in% sdk) named(size) else NA
    title <- sub("%s", shown, title, fixed = TRUE)
    raw <- if (identical(raw, "each")) named(size) else raw
    row(workload, size, named(size), title, note, raw, with_sdk, ...)
  })
  do.call(rbind, rows)
}

# How many events W11 reads.
archived <- if (quick) "20,000" else "a million"

rows_of_w5 <- function() {
  sizes <- 10^(2:5)
  sdk <- c(1000, 10000)
  rbind(
    each(
      "w5-send",
      "w5",
      sizes,
      "W5 send one at %s sessions",
      "store",
      sdk,
      raw = "w5-send"
    ),
    each(
      "w5-receive",
      "w5",
      sizes,
      "W5 receive one at %s sessions",
      "store",
      sdk,
      raw = "w5-receive",
      curve = "sessions",
      per = 1
    ),
    each(
      "w5-idle",
      "w5",
      1000,
      "W5 a sync that brings nothing, at %s sessions"
    ),
    each("w5-open", "w5", c(0, sizes), "W5 open the store at %s sessions")
  )
}

all_rows <- rbind(
  row(
    "w1-ratchet",
    10000,
    "w1-ratchet",
    "W1 encrypt 10,000: `mxc_megolm_encrypt()`",
    raw = "w1-ratchet"
  ),
  row(
    "w1-events",
    10000,
    "w1-events",
    "W1 encrypt 10,000: `mx_send_text()`",
    "store, outbox, a request each",
    "w1-events",
    "w1-events"
  ),
  row(
    "w2-ratchet",
    10000,
    "w2-ratchet",
    "W2 decrypt 10,000, 1 session: `mxc_megolm_decrypt()`",
    raw = "w2-ratchet"
  ),
  row(
    "w2-one",
    10000,
    "w2-one",
    "W2 decrypt 10,000, 1 session: `mx_sync()`",
    "store, replay table, inbox, data frame",
    "w2-one",
    "w2-one"
  ),
  row(
    "w2-thousand",
    10000,
    "w2-thousand",
    "W2 decrypt 10,000, 1,000 sessions: `mx_sync()`",
    "as before",
    "w2-thousand",
    "w2-thousand"
  ),
  row(
    "w2-process",
    10000,
    "w2-process",
    "W2 decrypt 10,000, 1 session: `mx_crypto_process_sync()`",
    "as before, a list an event",
    "w2-one"
  ),
  row(
    "w3-share",
    1000,
    "w3-1000",
    "W3 share a key with 1,000 new devices: `mx_send_text()`",
    "store, members, judgement",
    "w3-share",
    "w3",
    "devices"
  ),
  each(
    "w3-share",
    "w3",
    c(100, 10000),
    "W3 the same with %s devices",
    "as before",
    curve = "devices"
  ),
  row(
    "w3-again",
    1000,
    "w3-1000",
    "W3 the next key for the same 1,000 devices",
    "store",
    "w3-again",
    "w3"
  ),
  row(
    "w3-next",
    1000,
    "w3-1000",
    "W3 one more message to the 1,000 devices",
    "store",
    "w5-send",
    "w3"
  ),
  row(
    "w4-crowd",
    1000,
    "w4-1000",
    "W4 a sync of 1,000 to-device keys and 1,000 events: `mx_sync()`",
    "store, judgement, inbox, data frame",
    "w4-crowd",
    "w4-1000"
  ),
  row(
    "w4-crowd",
    10000,
    "w4-10000",
    "W4 the same with 10,000 and 10,000",
    "as before",
    sdk = "w4-10000"
  ),
  rows_of_w5(),
  each(
    "w6-export",
    "w6",
    10^(3:5),
    "W6 `mx_keys_export()` at %s sessions",
    "store, 500,000 rounds",
    c(1000, 10000),
    "each"
  ),
  each(
    "w6-import",
    "w6",
    10^(3:5),
    "W6 `mx_keys_import()` at %s sessions",
    "the same, judgement, data frame",
    c(1000, 10000),
    "each"
  ),
  row(
    "w7-verify",
    10000,
    "w7-verify",
    "W7 verify 10,000: `mxc_verify_device_keys()`",
    "all cores",
    "w7-verify",
    "w7-verify"
  ),
  row(
    "w8-encrypt",
    256,
    "w8",
    "W8 send 256 MiB: `mx_send_file()`",
    "a copy that waits, outbox",
    "w8",
    "w8"
  ),
  row(
    "w8-decrypt",
    256,
    "w8",
    "W8 receive 256 MiB: `mx_media_download()`",
    "the download on disk",
    "w8",
    "w8"
  ),
  each(
    "w9-backup",
    "w9",
    10^(3:5),
    "W9 `mx_backup_upload()` at %s sessions",
    "store",
    raw = "each"
  ),
  each(
    "w9-restore",
    "w9",
    10^(3:5),
    "W9 `mx_backup_restore()` at %s sessions",
    "the same, judgement, data frame",
    raw = "each"
  ),
  each(
    "w10-archive",
    "w10",
    1e5,
    "W10 `mx_archive()` of %s messages",
    "history, 1,000 sessions, store"
  ),
  each(
    "w10-export",
    "w10",
    1e5,
    "W10 `mx_archive_export()` of %s messages",
    "trust, CSV"
  ),
  each(
    "w10-search",
    "w10",
    c(1e5, 1e6),
    "W10 `mx_search()` in %s messages",
    "all cores"
  ),
  each(
    "w11-sent",
    "w11",
    c(1, 2, 4),
    sub("%d", archived, "W11 `mx_decrypt()` of %d events, %s processes"),
    "1,000 sessions, flat, `parLapplyLB()`: parts are sent"
  ),
  each(
    "w11-files",
    "w11",
    c(1, 2, 4),
    "W11 the same, %s processes",
    "parts are in files, which the processes read and write"
  ),
  each(
    "listen",
    "listen",
    c(50, 10000, 1e5),
    "`mx_listen()` of %s events, 50 a sync",
    "as W2, a handler"
  ),
  each(
    "events",
    "events",
    10^(2:5),
    "A sync of %s events of one session",
    curve = "events of a sync"
  ),
  each(
    "rooms",
    "rooms",
    10^(2:5),
    "A first sync of %s rooms",
    curve = "rooms"
  ),
  # No more than 20,000 wait.
  each(
    "waiting",
    "waiting",
    10^(2:4),
    "%s events that come before their keys, with these",
    curve = "waiting events"
  )
)
# What takes longest: a quick run leaves it out, and another measures it once.
slow <- all_rows$size > 10000 |
  grepl("^w10", all_rows$process) |
  all_rows$process == "w3-10000"
all_rows$once <- slow |
  all_rows$process == "w4-10000" |
  startsWith(all_rows$process, "w11")
if (quick) {
  all_rows <- all_rows[!slow, ]
  all_rows$sdk[all_rows$sdk %in% c("w4-10000", "w6-10000")] <- NA
}

# Of the workloads that are named (w1, w2, ...), or of all.
rows_of <- function(wanted) {
  if (length(wanted) == 0L) {
    return(all_rows)
  }
  all_rows[sub("-.*", "", all_rows$process) %in% wanted, ]
}

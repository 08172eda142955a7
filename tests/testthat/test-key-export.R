# Rounds are many, and each file costs as much as a login.
passphrase <- "correct horse p\u00e4ss"

# Bob has said something before Alice signed in on a second device, which finds
# nothing in the key backup.
late_device <- function() {
  pair <- demo_pair()
  mx_backup_disable(pair$alice)
  mx_send_text(pair$bob, pair$room, c("one", "two"))
  mx_sync(pair$alice)
  pair$late <- mx_demo_client(pair$homeserver, "alice")
  mx_sync(pair$late)
  pair
}

read_file <- function(path) {
  paste(readLines(path), collapse = "\n")
}

exported <- function(client, ...) {
  mx_keys_export(client, tempfile(), passphrase, ...)
}

test_that("a new device reads with a file what was said before it", {
  scene <- late_device()
  file <- exported(scene$alice)
  keys <- mx_keys_import(scene$late, file, passphrase)
  expect_identical(keys$status, "imported")
  expect_identical(keys$room_id, scene$room)
  expect_identical(keys$first_known_index, 0L)
  expect_identical(keys$reason, NA_character_)
  expect_identical(new_bodies(scene$late), c("one", "two"))
  events <- messages(mx_messages(scene$late, scene$room))
  expect_identical(events$key_source, rep("imported", 2))
  expect_identical(as.character(events$trust), rep("not_guaranteed", 2))
  again <- mx_keys_import(scene$late, file, passphrase)
  expect_identical(again$status, "known")
})

test_that("a byte order mark and text above do not keep a file from being read", {
  scene <- late_device()
  file <- exported(scene$alice)
  bytes <- readBin(file, "raw", file.size(file))
  mark <- as.raw(c(0xef, 0xbb, 0xbf))
  text <- charToRaw("Subject: my keys\r\n\r\nKeep them:\n")
  for (above in list(mark, text, c(mark, text))) {
    edited <- tempfile()
    writeBin(c(above, bytes), edited)
    keys <- mx_keys_import(scene$late, edited, passphrase)
    expect_true(keys$status %in% c("imported", "known"))
  }
  expect_identical(new_bodies(scene$late), c("one", "two"))
})

test_that("what was never synced is shown at once, with the trust there is", {
  scene <- demo_pair()
  mx_send_text(scene$bob, scene$room, "one")
  mx_sync(scene$alice)
  file <- exported(scene$alice)
  late <- mx_demo_client(scene$homeserver, "alice")
  mx_keys_import(late, file, passphrase)
  events <- messages(mx_messages(late, scene$room))
  expect_identical(events$body, "one")
  expect_identical(as.character(events$trust), "not_guaranteed")
})

test_that("only the rooms that are asked for are exported", {
  scene <- late_device()
  other <- mx_room_create(scene$alice, name = "Other")
  mx_send_text(scene$alice, other, "hello")
  file <- exported(scene$alice, rooms = c("Other", other))
  keys <- mx_keys_import(scene$late, file, passphrase)
  expect_identical(keys$room_id, other)
  expect_error(
    exported(scene$alice, rooms = "Nowhere"),
    class = "mx_error_room"
  )
  none <- exported(scene$alice, rooms = "!unknown:demo")
  keys <- mx_keys_import(scene$late, none, passphrase)
  expect_identical(nrow(keys), 0L)
  expect_named(keys, names(mx_keys_import(scene$late, file, passphrase)))
})

test_that("bad sessions are reasons, and do not stop the others", {
  scene <- late_device()
  text <- mxc_key_export_decrypt(read_file(exported(scene$alice)), passphrase)
  session <- substr(text, 2, nchar(text) - 1)
  other <- mxc_megolm_session_id(mxc_megolm_outbound_new())
  renamed <- sub(
    '"session_id":"[^"]*"',
    paste0('"session_id":"', other, '"'),
    session
  )
  bad <- c("null", "{}", renamed, sub("m.megolm.v1", "m.megolm.v9", session))
  file <- tempfile()
  all <- paste0("[", paste(c(bad, session), collapse = ","), "]")
  writeLines(mxc_key_export_encrypt(all, passphrase, 10), file)
  keys <- mx_keys_import(scene$late, file, passphrase)
  expect_identical(keys$status, c(rep("refused", 4), "imported"))
  expect_match(keys$reason[[3]], "another session")
  expect_match(keys$reason[[4]], "not for Megolm")
  expect_identical(new_bodies(scene$late), c("one", "two"))
})

test_that("a file is whole, its owner's alone, and not written over", {
  scene <- late_device()
  dir <- tempfile()
  dir.create(dir)
  file <- file.path(dir, "keys.txt")
  mx_keys_export(scene$alice, file, passphrase)
  skip_on_os("windows")
  expect_identical(as.character(file.mode(file)), "600")
  before <- read_file(file)
  expect_error(
    mx_keys_export(scene$alice, file, passphrase),
    class = "mx_error_argument"
  )
  expect_identical(read_file(file), before)
  mx_keys_export(scene$alice, file, passphrase, overwrite = TRUE)
  expect_false(identical(read_file(file), before))
  # What is given up midway leaves nothing.
  local_replaced("machine_export_keys", function(...) rlang::abort("stop"))
  expect_error(
    mx_keys_export(scene$alice, file, passphrase, overwrite = TRUE),
    "stop"
  )
  expect_identical(dir(dir), "keys.txt")
  expect_error(
    mx_keys_export(scene$alice, file.path(dir, "no", "such"), passphrase),
    class = "mx_error_key_export"
  )
})

test_that("what cannot be opened is an error, and takes nothing in", {
  scene <- late_device()
  file <- exported(scene$alice)
  wrong <- function(path, passphrase) {
    expect_error(
      mx_keys_import(scene$late, path, passphrase),
      class = "mx_error_key_export"
    )
  }
  wrong(file, "another")
  wrong(tempfile(), passphrase)
  wrong(tempdir(), passphrase)
  cut <- tempfile()
  writeLines(utils::head(readLines(file), 5), cut)
  wrong(cut, passphrase)
  expect_identical(nrow(messages(mx_sync(scene$late))), 0L)
})

test_that("a passphrase is asked for, and twice where a mistake would lose keys", {
  scene <- late_device()
  expect_error(
    mx_keys_export(scene$alice, tempfile()),
    class = "mx_error_passphrase"
  )
  typed <- c(passphrase, "another")
  asked <- 0
  local_replaced("ask_secret", function(prompt) {
    asked <<- asked + 1
    typed[[asked]]
  })
  expect_error(
    mx_keys_export(scene$alice, tempfile()),
    class = "mx_error_passphrase"
  )
  typed <- rep(passphrase, 3)
  asked <- 0
  file <- mx_keys_export(scene$alice, tempfile())
  keys <- mx_keys_import(scene$late, file)
  expect_identical(c(asked, nrow(keys)), c(3, 1))
})

test_that("what never ends is no key export", {
  skip_if_not(file.exists("/dev/zero"))
  pair <- demo_pair()
  for (path in c("/dev/zero", tempdir())) {
    expect_error(
      mx_keys_import(pair$alice, path, "x"),
      class = "mx_error_key_export"
    )
  }
})

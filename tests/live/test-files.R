# Files between ours and a foreign client, whose cipher is that of WebCrypto.

# Bytes of which each block differs.
some_bytes <- function(size) {
  as.raw((seq_len(size) * 31 + seq_len(size) %/% 251) %% 256)
}

bytes_at <- function(path) readBin(path, "raw", file.size(path))

# What stands on the disk below `dir`, as one vector of bytes.
holds <- function(dir, text) {
  files <- list.files(
    dir,
    recursive = TRUE,
    full.names = TRUE,
    all.files = TRUE
  )
  found <- vapply(
    files,
    function(file) {
      length(grepRaw(charToRaw(text), bytes_at(file), fixed = TRUE)) > 0L
    },
    NA
  )
  any(found)
}

test_that("they read our files, and we read theirs", {
  alice <- live_client()
  them <- live_foreign()
  room <- room_of(alice, them)
  dir <- withr::local_tempdir()
  for (size in c(0, 1, 16, 100003)) {
    bytes <- some_bytes(size)
    id <- mx_send_file(alice, room, bytes, name = paste0(size, ".bin"))
    event <- them$call("waitForMessage", roomId = room, eventId = id)
    content <- event[["content"]]
    theirs <- file.path(dir, paste0("theirs-", size))
    them$call("downloadFile", file = content[["file"]], path = theirs)
    expect_identical(bytes_at(theirs), bytes)

    file <- them$call("uploadFile", path = theirs)
    back <- list(
      msgtype = "m.file",
      body = "back.bin",
      file = file,
      info = list(size = size)
    )
    them$call(
      "sendEvent",
      roomId = room,
      type = "m.room.message",
      content = back
    )
    wait_for_bodies(alice, "back.bin")
    events <- mx_messages(alice, room, limit = 1)
    saved <- mx_media_download(alice, events, file.path(dir, size))
    expect_identical(bytes_at(saved$path), bytes)
  }
})

test_that("a plot, a table and a thumbnail reach them", {
  alice <- live_client()
  them <- live_foreign()
  room <- room_of(alice, them)
  id <- mx_send_plot(alice, room, plot(cars), caption = "cars")
  content <- them$call("waitForMessage", roomId = room, eventId = id)$content
  expect_equal(content[["msgtype"]], "m.image")
  path <- withr::local_tempfile(fileext = ".png")
  them$call("downloadFile", file = content[["file"]], path = path)
  expect_equal(dim(png::readPNG(path))[2:1], c(content$info$w, content$info$h))

  small <- withr::local_tempfile(fileext = ".png")
  png::writePNG(matrix(0.5, 8, 8), small)
  id <- mx_send_image(alice, room, path, thumbnail = small)
  info <- them$call("waitForMessage", roomId = room, eventId = id)$content$info
  thumbnail <- withr::local_tempfile()
  them$call("downloadFile", file = info[["thumbnail_file"]], path = thumbnail)
  expect_identical(bytes_at(thumbnail), bytes_at(small))

  id <- mx_send_table(alice, room, head(cars), as = "file", title = "Cars")
  content <- them$call("waitForMessage", roomId = room, eventId = id)$content
  csv <- withr::local_tempfile()
  them$call("downloadFile", file = content[["file"]], path = csv)
  expect_equal(read.csv(csv)$speed, head(cars)$speed)
})

test_that("nothing readable of a file is on the server's disk", {
  alice <- live_client()
  room <- mx_room_create(alice)
  secret <- paste(rep("the secret figures of November", 100), collapse = "\n")
  mx_send_file(alice, room, charToRaw(secret), name = "secret-november.txt")
  plain <- mx_room_create(alice, encrypted = FALSE)
  mx_send_file(alice, plain, charToRaw("plainly visible"), name = "x.txt")
  server <- live_synapse()[["dir"]]
  expect_true(holds(server, "plainly visible"))
  expect_false(holds(server, "figures of November"))
  expect_false(holds(server, "secret-november"))
})

test_that("a file of an unencrypted room is the same for both", {
  alice <- live_client()
  them <- live_foreign()
  room <- mx_room_create(alice, invite = them$user_id, encrypted = FALSE)
  them$call("join", roomId = room)
  bytes <- some_bytes(5000)
  id <- mx_send_file(alice, room, bytes, name = "plain.bin")
  content <- them$call("waitForMessage", roomId = room, eventId = id)$content
  path <- withr::local_tempfile()
  them$call("downloadFile", url = content[["url"]], path = path)
  expect_identical(bytes_at(path), bytes)
})

test_that("an upload that is killed is sent once by the next call", {
  alice <- live_client()
  room <- mx_room_create(alice)
  file <- withr::local_tempfile()
  bytes <- some_bytes(5e7)
  writeBin(bytes, file)
  code <- sprintf("mxcrypt::mx_send_file(client, '%s', '%s')", room, file)
  waits <- function() list.files(file.path(alice$store_dir, "files"))
  process <- start_process(alice$path, code)
  # Once its message is in the outbox it is being uploaded.
  end <- Sys.time() + 60
  while (nrow(mx_outbox(alice)) == 0L && Sys.time() < end) {
    Sys.sleep(0.005)
  }
  expect_equal(mx_outbox(alice)$state, "queued")
  expect_true(process$is_alive())
  process$kill()
  unlink(file)
  expect_length(waits(), 1)
  mx_send_text(alice, room, "after it")
  events <- messages(mx_messages(alice, room))
  expect_equal(sum(events$msgtype == "m.file"), 1)
  expect_length(waits(), 0)
  saved <- mx_media_download(
    alice,
    events[events$msgtype == "m.file", ],
    withr::local_tempdir()
  )
  expect_identical(bytes_at(saved$path), bytes)
})

test_that("whichever request of a file is killed, it is sent once", {
  proxy <- live_proxy()
  file <- withr::local_tempfile(lines = "the figures")
  # For some seconds a request belongs to the process that made it. So all are
  # killed first, to wait only once.
  killed <- function(pattern, before) {
    alice <- live_client(url = proxy$url, .local_envir = parent.frame())
    them <- live_client(.local_envir = parent.frame())
    room <- mx_room_create(alice, invite = them$user_id)
    mx_room_join(them, room)
    mx_sync(them)
    code <- sprintf("mxcrypt::mx_send_file(client, '%s', '%s')", room, file)
    start <- \() start_process(alice$path, code)
    kill_during(proxy, start, pattern, before)
    list(alice = alice, them = them, room = room)
  }
  scenes <- list(
    killed("media/v3/upload", before = TRUE),
    killed("media/v3/upload", before = FALSE),
    killed("sendToDevice", before = FALSE),
    killed("send/m.room.encrypted", before = FALSE)
  )
  unlink(file)
  for (scene in scenes) {
    mx_send_text(scene$alice, scene$room, "after it")
    events <- messages(mx_messages(scene$them, scene$room))
    expect_equal(events$msgtype, c("m.file", "m.text"))
    saved <- mx_media_download(scene$them, events)
    expect_equal(readLines(saved$path), "the figures")
    expect_length(list.files(file.path(scene$alice$store_dir, "files")), 0)
  }
})

# A file of so many MiB, of which no two are the same.
large_file <- function(mib, .local_envir = parent.frame()) {
  path <- withr::local_tempfile(.local_envir = .local_envir)
  block <- some_bytes(2^20)
  connection <- file(path, "wb")
  on.exit(close(connection))
  for (i in seq_len(mib)) {
    writeBin(c(as.raw(i %% 256), block[-1]), connection)
  }
  path
}

test_that("256 MiB go both ways", {
  alice <- live_client()
  them <- live_foreign()
  room <- room_of(alice, them)
  large <- large_file(256)
  id <- mx_send_file(alice, room, large, name = "large.bin")
  content <- them$call("waitForMessage", roomId = room, eventId = id)$content
  theirs <- withr::local_tempfile()
  them$call(
    "downloadFile",
    file = content[["file"]],
    path = theirs,
    timeout = 120
  )
  expect_equal(unname(tools::md5sum(theirs)), unname(tools::md5sum(large)))
  back <- list(
    msgtype = "m.file",
    body = "back.bin",
    file = them$call("uploadFile", path = theirs, timeout = 120)
  )
  them$call("sendEvent", roomId = room, type = "m.room.message", content = back)
  wait_for_bodies(alice, "back.bin")
  saved <- mx_media_download(
    alice,
    mx_messages(alice, room, limit = 1),
    max_size = Inf
  )
  withr::defer(unlink(saved$path))
  expect_equal(unname(tools::md5sum(saved$path)), unname(tools::md5sum(large)))
})

test_that("memory does not grow with the file", {
  skip_on_os(c("windows", "mac", "solaris"))
  alice <- live_client()
  room <- mx_room_create(alice)
  small <- withr::local_tempfile(lines = "x")
  large <- large_file(200)
  peak <- function(file) {
    code <- paste0(
      "client <- mxcrypt::mx_client_load(path = '%s');",
      "mxcrypt::mx_send_file(client, '%s', '%s', name = 'x.bin');",
      "events <- mxcrypt::mx_messages(client, '%s', limit = 1);",
      "saved <- mxcrypt::mx_media_download(client, events, max_size = Inf);",
      "stopifnot(tools::md5sum(saved$path) == tools::md5sum('%s'));",
      "status <- readLines('/proc/self/status');",
      "cat(grep('VmHWM', status, value = TRUE))"
    )
    code <- sprintf(code, alice$path, room, file, room, file)
    process <- processx::process$new(
      "Rscript",
      c("-e", code),
      stdout = "|",
      stderr = "|"
    )
    process$wait(300000)
    expect_equal(process$get_exit_status(), 0L, info = process$read_all_error())
    as.numeric(gsub("[^0-9]", "", process$read_all_output())) / 1024
  }
  # 200 MB more in the file, and less than 64 MB more in memory.
  expect_lt(peak(large) - peak(small), 64)
})

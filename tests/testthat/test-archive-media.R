withr::local_options(mxcrypt.pause = 0.001, .local_envir = teardown_env())

csv <- charToRaw("xylophone,b\n1,2\n")

# Sends `bytes` as a file of `client`; its address.
sent_file <- function(client, room, bytes = csv, name = "table.csv", ...) {
  file <- file.path(withr::local_tempdir(), name)
  writeBin(bytes, file)
  mx_send_file(client, room, file, ...)
}

kept <- function(client) {
  list.files(archive_dir(client), all.files = TRUE, no.. = TRUE)
}

downloads <- function(fake) {
  length(fake$seen("GET", "/media/download/"))
}

# The files of the archive, downloaded.
archived_files <- function(client, ...) {
  dir <- withr::local_tempdir()
  events <- mx_archive_read(client, types = "m.room.message")
  saved <- mx_media_download(client, events, dir, ...)
  lapply(saved$path, function(path) readBin(path, "raw", 1e6))
}

test_that("files are kept once, and read without the server", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  rooms <- c(mx_room_create(alice), mx_room_create(alice, encrypted = FALSE))
  for (room in rooms) {
    sent_file(alice, room)
  }
  status <- mx_archive(alice, rooms)
  expect_equal(status$files, c(0, 0))
  expect_equal(status$files_missing, c(1, 1))
  expect_length(kept(alice), 0)
  fake$forget()
  status <- mx_archive(alice, media = TRUE)
  expect_equal(status$files, c(1, 1))
  expect_equal(status$files_missing, c(0, 0))
  expect_equal(downloads(fake), 2)
  # It is remembered, and nothing is fetched twice.
  mx_archive(alice)
  expect_equal(downloads(fake), 2)
  fake$fault("GET", "/download/", status = 404, times = 9)
  expect_identical(archived_files(alice), list(csv, csv))
  expect_equal(downloads(fake), 2)
  fake$forget()
  # What was kept is kept to its limits, too.
  expect_error(
    mx_media_download(
      alice,
      messages(mx_archive_read(alice, rooms[[1]])),
      max_size = 3
    ),
    class = "mx_error_too_large"
  )
})

test_that("nothing readable is on the disk, and nobody else may look", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  rooms <- c(mx_room_create(alice), mx_room_create(alice, encrypted = FALSE))
  for (room in rooms) {
    sent_file(alice, room, name = "glockenspiel.csv")
  }
  mx_archive(alice, rooms, media = TRUE)
  files <- list.files(alice[["store_dir"]], recursive = TRUE, full.names = TRUE)
  expect_length(kept(alice), 2)
  for (file in files[!dir.exists(files)]) {
    expect_no_match(file, "glockenspiel|csv")
    bytes <- readBin(file, "raw", file.size(file))
    for (word in c("xylophone", "glockenspiel", "mxc://")) {
      expect_length(grepRaw(word, bytes, fixed = TRUE), 0)
    }
  }
  skip_on_os("windows")
  dir <- archive_dir(alice)
  modes <- format(file.info(c(dir, file.path(dir, kept(alice))))$mode)
  expect_equal(modes, c("700", "600", "600"))
})

test_that("a file goes with its event", {
  pair <- demo_pair()
  room <- pair$room
  archived <- function() {
    id <- sent_file(pair$alice, room)
    expect_equal(mx_archive(pair$bob, room, media = TRUE)$files, 1)
    expect_length(kept(pair$bob), 1)
    id
  }
  id <- archived()
  mx_redact(pair$alice, room, id)
  expect_equal(mx_archive(pair$bob)$files, 0)
  expect_length(kept(pair$bob), 0)
  archived()
  mx_archive_forget(pair$bob, room, before = Sys.time() + 60)
  expect_length(kept(pair$bob), 0)
  archived()
  expect_equal(mx_archive(pair$bob, retention = 0)$files, 0)
  expect_length(kept(pair$bob), 0)
  # They are fetched again.
  expect_equal(mx_archive(pair$bob, retention = Inf)$files, 2)
  expect_length(kept(pair$bob), 2)
  mx_archive_forget(pair$bob)
  expect_length(kept(pair$bob), 0)
})

test_that("one that fails does not stop the others, and is tried again", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  withr::local_options(mxcrypt.max_tries = 1)
  room <- mx_room_create(alice)
  for (i in 1:3) {
    sent_file(alice, room)
  }
  fake$fault("GET", "v1/media/download/", status = 502)
  status <- mx_archive(alice, room, media = TRUE)
  expect_equal(c(status$files, status$files_missing), c(2, 1))
  expect_equal(status$reason, NA_character_)
  expect_equal(mx_archive(alice)$files, 3)
  expect_length(kept(alice), 3)
})

test_that("a server that is away is not asked for each file", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  withr::local_options(mxcrypt.max_tries = 1)
  room <- mx_room_create(alice)
  for (i in 1:7) {
    sent_file(alice, room)
  }
  fake$forget()
  fake$fault("GET", "/download/", status = 502, times = 20)
  expect_equal(mx_archive(alice, room, media = TRUE)$files_missing, 7)
  expect_equal(downloads(fake), 5)
  fake$forget()
  # No such failure counts.
  expect_equal(mx_archive(alice)$files, 7)
})

test_that("a file that the server does not have is asked for three times", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  sent_file(alice, room)
  fake$forget()
  gone <- "{\"errcode\":\"M_NOT_FOUND\",\"error\":\"Gone\"}"
  fake$fault("GET", "/download/", status = 404, body = gone, times = 20)
  for (i in 1:4) {
    expect_equal(mx_archive(alice, room, media = TRUE)$files_missing, 1)
  }
  expect_equal(downloads(fake), 3)
  expect_length(kept(alice), 0)
})

test_that("a file that was altered on the way is not kept", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  rooms <- c(mx_room_create(alice), mx_room_create(alice))
  sent_file(alice, rooms[[1]])
  altered <- function(times) {
    fake$fault("GET", "/download/", body = "something else", times = times)
  }
  altered(1)
  expect_equal(mx_archive(alice, rooms[[1]], media = TRUE)$files, 0)
  expect_length(kept(alice), 0)
  expect_equal(mx_archive(alice)$files, 1)
  expect_identical(archived_files(alice), list(csv))
  # Where it is always another, there is an end.
  sent_file(alice, rooms[[2]])
  fake$forget()
  altered(9)
  for (i in 1:4) {
    status <- mx_archive(alice, rooms[[2]], media = TRUE)
    expect_equal(status$files_missing, 1)
  }
  expect_equal(downloads(fake), 3)
})

test_that("a login that ended ends the call", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  sent_file(alice, room)
  ended <- "{\"errcode\":\"M_MISSING_TOKEN\",\"error\":\"no\"}"
  fake$fault("GET", "/download/", status = 401, body = ended)
  expect_error(
    mx_archive(alice, room, media = TRUE),
    class = "mx_error_M_MISSING_TOKEN"
  )
})

test_that("what is too large is left out until more is allowed", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  sent_file(alice, room)
  sent_file(alice, room, raw(1000))
  status <- mx_archive(alice, room, media = 999)
  expect_equal(c(status$files, status$files_missing), c(1, 1))
  fake$forget()
  mx_archive(alice)
  expect_equal(downloads(fake), 0)
  expect_equal(mx_archive(alice, media = 1000)$files, 2)
  # Those that are kept stay.
  sent_file(alice, room)
  status <- mx_archive(alice, media = FALSE)
  expect_equal(c(status$files, status$files_missing), c(2, 1))
})

test_that("a process may die at any point", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  sent_file(alice, room)
  # Between the row and the name.
  local({
    local_replaced("keep_file", {
      real <- keep_file
      environment(real) <- list2env(
        list(file.rename = function(...) stop("killed")),
        parent = environment(keep_file)
      )
      real
    })
    expect_error(mx_archive(alice, room, media = TRUE), "killed")
  })
  expect_length(kept(alice), 0)
  expect_identical(archived_files(alice), list(csv))
  expect_equal(mx_archive(alice)$files, 1)
  name <- kept(alice)
  expect_length(name, 1)

  # Other files: one that lost its row, a draft that is just being written, an old
  # draft, and what is not ours.
  at <- function(name) file.path(archive_dir(alice), name)
  others <- c(
    lost = "file-0a-1",
    draft = "draft-file-0b-1.plain",
    old = "draft-file-0c-1.plain",
    foreign = "notes.txt"
  )
  file.create(at(others))
  Sys.setFileTime(at(others[["old"]]), Sys.time() - 25 * 3600)
  Sys.setFileTime(at(others[["foreign"]]), Sys.time() - 25 * 3600)
  Sys.setFileTime(at(name), Sys.time() - 25 * 3600)
  sweep_archive(alice, machine_of(alice))
  expect_setequal(kept(alice), c(name, others[c("draft", "foreign")]))

  # A copy that is cut, and one that is gone, are fetched again.
  writeBin(raw(3), at(name))
  expect_identical(archived_files(alice), list(csv))
  mx_archive(alice)
  renewed <- setdiff(kept(alice), others)
  expect_equal(file.size(at(renewed)), length(csv))
  unlink(at(renewed))
  expect_equal(mx_archive(alice)$files, 1)
  expect_length(setdiff(kept(alice), others), 1)
})

test_that("uploads that wait are left alone", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  withr::local_options(mxcrypt.max_tries = 1)
  room <- mx_room_create(alice)
  sent_file(alice, room)
  mx_archive(alice, room, media = TRUE)
  fake$fault("POST", "/upload", status = 502, times = 9)
  try(sent_file(alice, room), silent = TRUE)
  expect_length(waiting_files(alice), 1)
  mx_archive_forget(alice)
  expect_length(waiting_files(alice), 1)
  expect_length(kept(alice), 0)
})

test_that("a kept file counts for the attachment of its event only", {
  pair <- demo_pair()
  sent_file(pair$alice, pair$room)
  mx_archive(pair$bob, pair$room, media = TRUE)
  event <- messages(mx_archive_read(pair$bob))
  spy <- function(event) {
    requests_during(try(mx_media_download(pair$bob, event), silent = TRUE))
  }
  expect_length(spy(event), 0)
  # As if it were not encrypted: the ciphertext is not what is meant.
  plain <- event
  plain$content[[1]]$url <- plain$content[[1]]$file$url
  plain$content[[1]]$file <- NULL
  expect_gt(length(requests_during(mx_media_download(pair$bob, plain))), 0)
  # At another address.
  other <- event
  other$content[[1]]$file$url <- "mxc://demo/other"
  expect_gt(length(spy(other)), 0)
  # Opened with another key, it is refused.
  wrong <- event
  wrong$content[[1]]$file$hashes$sha256 <- strrep("A", 43)
  expect_error(
    mx_media_download(pair$bob, wrong),
    class = "mx_error_attachment"
  )
})

test_that("`media` is a flag or a size", {
  pair <- demo_pair()
  for (media in list(NA, -1, "all", c(1, 2), list(), NaN)) {
    expect_error(
      mx_archive(pair$bob, pair$room, media = media),
      class = "mx_error_argument"
    )
  }
  expect_equal(check_media(TRUE), 100e6)
  expect_equal(check_media(FALSE), 0)
  expect_equal(check_media(Inf), 2^53)
  expect_null(check_media(NULL))
  sent_file(pair$alice, pair$room)
  expect_equal(mx_archive(pair$bob, pair$room, media = Inf)$files, 1)
})

# mx_store_check() and mx_store_vacuum().

test_that("a sound store is sound, of a client or in a directory", {
  scene <- demo_pair()
  mx_send_text(scene$alice, scene$room, "hello")
  checked <- mx_store_check(scene$alice)
  expect_s3_class(checked, c("mx_store_check", "data.frame"), exact = TRUE)
  expect_identical(sum(checked$damaged), 0)
  expect_gt(checked$rows[checked$table == "device"], 1)
  expect_match(format(checked), "rows, all sound", fixed = TRUE)
  expect_identical(mx_store_check(scene$alice$store_dir)$table, checked$table)
  # It is used on.
  mx_send_text(scene$alice, scene$room, "again")
})

test_that("a file that is missing is found, and named", {
  scene <- demo_pair()
  file <- withr::local_tempfile(lines = "a file")
  mx_archive(scene$bob, scene$room, media = TRUE)
  mx_send_file(scene$alice, scene$room, file)
  mx_sync(scene$bob)
  mx_archive(scene$bob, scene$room, media = TRUE)
  kept <- list.files(
    file.path(scene$bob$store_dir, "archive"),
    full.names = TRUE
  )
  expect_length(kept, 1)
  expect_identical(sum(mx_store_check(scene$bob)$damaged), 0)
  unlink(kept)
  checked <- mx_store_check(scene$bob)
  bad <- checked[checked$damaged > 0, ]
  expect_identical(bad$table, "archived_media")
  expect_identical(nrow(bad$damage[[1]]), 1L)
  shown <- format(checked)
  expect_match(shown[[1]], "1 damaged", fixed = TRUE)
  expect_match(shown[[3]], basename(kept), fixed = TRUE)
  expect_match(shown[[3]], scene$room, fixed = TRUE)
})

test_that("what is no store is not made one", {
  dir <- withr::local_tempdir()
  none <- file.path(dir, "none")
  for (verb in list(mx_store_check, mx_store_vacuum)) {
    expect_error(verb(none), class = "mx_error_store_missing")
    expect_error(verb(1), class = "mx_error_argument")
  }
  expect_false(file.exists(none))
})

test_that("another key is a wrong one, and a missing one is missed", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  key <- file.path(alice$store_dir, "pickle.key")
  bytes <- readBin(key, "raw", 32)
  writeBin(rev(bytes), key)
  expect_error(mx_store_check(alice), class = "mx_error_store_key_wrong")
  unlink(key)
  expect_error(mx_store_check(alice), class = "mx_error_store_key_missing")
  withr::local_envvar(MXCRYPT_STORE_KEY = jsonlite::base64_enc(bytes))
  expect_identical(sum(mx_store_check(alice)$damaged), 0)
})

test_that("space is given back, and the store is used on", {
  scene <- demo_pair()
  mx_archive(scene$bob, scene$room)
  for (i in 1:3) {
    mx_send_text(scene$alice, scene$room, strrep("x", 30000))
  }
  mx_sync(scene$bob)
  mx_archive(scene$bob, scene$room)
  mx_archive_forget(scene$bob, scene$room)
  sizes <- mx_store_vacuum(scene$bob)
  expect_named(sizes, c("before", "after"))
  expect_lt(sizes[["after"]], sizes[["before"]])
  mx_send_text(scene$alice, scene$room, "after")
  expect_true("after" %in% mx_sync(scene$bob)$body)
})

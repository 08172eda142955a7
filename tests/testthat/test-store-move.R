# mx_store_move().

test_that("a client moves, and other processes are told where to", {
  scene <- demo_pair()
  alice <- scene$alice
  old <- alice$store_dir
  mx_sync(alice)
  new <- file.path(withr::local_tempdir(), "store")
  moved <- mx_store_move(alice, new)
  expect_identical(moved$store_dir, normalizePath(new, winslash = "/"))
  expect_identical(mx_client_load(path = alice$path), moved)
  mx_send_text(moved, scene$room, "moved")
  expect_true("moved" %in% mx_sync(scene$bob)$body)
  for (verb in list(mx_sync, mx_outbox, mx_crypto_status, mx_store_vacuum)) {
    expect_error(verb(alice), basename(new), class = "mx_error_store_moved")
  }
  said <- format(mx_doctor(alice))
  expect_match(said, "This store was moved", fixed = TRUE, all = FALSE)
  # Once more: the configuration may have been put back.
  expect_identical(mx_store_move(alice, new), moved)
  expect_error(
    mx_store_move(alice, file.path(withr::local_tempdir(), "other")),
    class = "mx_error_store_moved"
  )
  unlink(old, recursive = TRUE)
  mx_send_text(moved, scene$room, "still")
})

test_that("a directory moves with its files, and nothing else is written over", {
  scene <- demo_pair()
  from <- scene$alice$store_dir
  writeLines("{}", file.path(from, "aliases.json"))
  expect_error(
    mx_store_move(from, scene$bob$store_dir),
    class = "mx_error_store"
  )
  expect_error(mx_store_move(from, from), class = "mx_error_argument")
  # Neither was harmed.
  mx_send_text(scene$alice, scene$room, "one")
  expect_true("one" %in% mx_sync(scene$bob)$body)
  to <- file.path(withr::local_tempdir(), "store")
  expect_identical(mx_store_move(from, to), normalizePath(to, winslash = "/"))
  expect_true(file.exists(file.path(to, "aliases.json")))
  expect_identical(sum(mx_store_check(to)$damaged), 0)
  expect_error(mx_sync(scene$alice), class = "mx_error_store_moved")
  # Who has only the directory changes the configuration.
  config <- read_config(scene$alice$path)
  config[["store_dir"]] <- to
  write_config(config, scene$alice$path)
  mx_send_text(mx_client_load(path = scene$alice$path), scene$room, "two")
  expect_true("two" %in% mx_sync(scene$bob)$body)
})

test_that("with a key that does not open it, a store is not moved, and not closed", {
  scene <- demo_pair()
  alice <- scene$alice
  mx_sync(alice)
  key <- withr::local_tempfile()
  mx_store_key_write(key)
  to <- withr::local_tempfile()
  withr::with_envvar(
    c(MXCRYPT_STORE_KEY_FILE = key),
    expect_error(mx_store_move(alice, to), class = "mx_error_store_key_wrong")
  )
  mx_send_text(alice, scene$room, "still here")
  inside <- file.path(alice$store_dir, "new")
  for (verb in list(mx_store_move, mx_store_backup)) {
    expect_error(
      verb(alice, inside),
      "is inside of",
      class = "mx_error_argument"
    )
  }
  expect_false(file.exists(inside))
  mixed_up <- catch(mx_store_move(scene$bob$store_dir, alice))
  expect_match(conditionMessage(mixed_up), "`to` must be a directory, or")
  expect_true("still here" %in% mx_sync(scene$bob)$body)
})

test_that("a store moves whose key is elsewhere, and no key is written down", {
  bytes <- as.raw(1:32)
  withr::local_envvar(MXCRYPT_STORE_KEY = jsonlite::base64_enc(bytes))
  alice <- mx_demo_client(mx_demo_homeserver(), "alice")
  expect_false(file.exists(file.path(alice$store_dir, "pickle.key")))
  moved <- mx_store_move(alice, withr::local_tempfile())
  expect_false(file.exists(file.path(moved$store_dir, "pickle.key")))
  mx_sync(moved)
})

# mx_store_backup() and mx_store_restore().

# What any call says of a client whose store is at `dir`.
client_with_store <- function(client, dir) {
  config <- read_config(client$path)
  config[["store_dir"]] <- dir
  path <- file.path(
    withr::local_tempdir(.local_envir = parent.frame()),
    "m.json"
  )
  write_config(config, path)
  mx_client_load(path = path)
}

test_that("no call uses a copy", {
  scene <- demo_pair()
  copy <- withr::local_tempfile()
  expect_identical(mx_store_backup(scene$alice, copy, key = TRUE), copy)
  twin <- client_with_store(scene$alice, copy)
  refused <- list(
    mx_sync,
    mx_crypto_setup,
    mx_crypto_status,
    mx_rooms,
    mx_outbox,
    mx_store_vacuum,
    function(client) mx_send_text(client, scene$room, "x"),
    function(client) mx_store_backup(client, tempfile()),
    function(client) mx_store_move(client, tempfile()),
    function(client) mx_crypto_account(client$store_dir)
  )
  for (verb in refused) {
    expect_error(
      verb(twin),
      "This store is a copy",
      class = "mx_error_store_copy"
    )
    expect_error(verb(twin), class = "mx_error_store")
  }
  doctor <- mx_doctor(twin)
  said <- format(doctor)
  expect_match(said, "This store is a copy", fixed = TRUE, all = FALSE)
  expect_match(said, "mx_store_restore(", fixed = TRUE, all = FALSE)
  # It can be checked, and the original is used on.
  expect_identical(sum(mx_store_check(copy)$damaged), 0)
  mx_send_text(scene$alice, scene$room, "hello")
})

test_that("a copy has its key only if it is wanted, and says where it is", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  dir <- withr::local_tempdir()
  at <- function(name) file.path(dir, name)
  expect_match(
    capture.output(told(mx_store_backup(alice, at("without")))),
    "pickle.key",
    fixed = TRUE,
    all = FALSE
  )
  expect_false(file.exists(at("without/pickle.key")))
  # Not even without a key is it taken for a new store, or for one to be repaired.
  expect_error(
    mx_crypto_account(at("without")),
    class = "mx_error_store_copy"
  )
  mx_store_backup(alice, at("with"), key = TRUE)
  key <- function(dir) readBin(file.path(dir, "pickle.key"), "raw", 40)
  expect_identical(key(at("with")), key(alice$store_dir))
  skip_on_os("windows")
  files <- list.files(at("with"), full.names = TRUE, recursive = TRUE)
  expect_true(all(format(file.mode(files)) == "600"))
  expect_identical(format(file.mode(at("with"))), "700")
})

test_that("a store is restored only for who says that the original is gone", {
  scene <- demo_pair()
  copy <- withr::local_tempfile()
  mx_store_backup(scene$alice, copy, key = TRUE)
  new <- withr::local_tempfile()
  expect_error(mx_store_restore(copy, new), class = "mx_error_store_copy")
  expect_error(
    mx_store_restore(copy, new, original_is_gone = NA),
    class = "mx_error_argument"
  )
  expect_false(file.exists(new))
  expect_error(
    mx_store_restore(scene$alice$store_dir, new, original_is_gone = TRUE),
    class = "mx_error_argument"
  )
  # Nothing is written over.
  expect_error(
    mx_store_restore(copy, scene$alice$store_dir, original_is_gone = TRUE),
    class = "mx_error_store"
  )
  mx_send_text(scene$alice, scene$room, "still here")
})

test_that("what is restored goes on with new keys, and reads the old", {
  scene <- demo_pair()
  alice <- scene$alice
  mx_send_text(alice, scene$room, "one")
  mx_send_text(scene$bob, scene$room, "of Bob")
  mx_sync(alice)
  copy <- withr::local_tempfile()
  mx_store_backup(alice, copy)
  mx_send_text(alice, scene$room, "two")
  key <- withr::local_tempfile()
  file.copy(file.path(alice$store_dir, "pickle.key"), key)
  unlink(alice$store_dir, recursive = TRUE)

  expect_error(
    mx_store_restore(copy, alice$store_dir, original_is_gone = TRUE),
    class = "mx_error_store_key_missing"
  )
  expect_error(
    mx_store_restore(copy, alice$store_dir, TRUE, key = paste0(key, "2")),
    class = "mx_error_store_key_missing"
  )
  expect_error(
    mx_store_restore(copy, "postgresql://db/matrix", TRUE, key = key),
    "mx_store_move",
    class = "mx_error_argument"
  )
  mx_store_restore(copy, alice$store_dir, original_is_gone = TRUE, key = key)
  alice <- mx_client_load(path = alice$path)
  mx_sync(alice)
  mx_send_text(alice, scene$room, "three")
  read <- mx_sync(scene$bob)
  read <- read[read$body %in% c("one", "two", "three"), ]
  expect_identical(read$body, c("one", "two", "three"))
  expect_true(all(read$decrypted))
  expect_identical(length(unique(read$session_id)), 2L)
  expect_identical(read$session_id[[1]], read$session_id[[2]])
  mx_send_text(scene$bob, scene$room, "four")
  bodies <- c(mx_sync(alice)$body, mx_messages(alice, scene$room)$body)
  expect_true(all(c("of Bob", "two", "three", "four") %in% bodies))
  expect_identical(mx_crypto_status(alice)$device_signed, TRUE)
  expect_identical(sum(mx_store_check(alice)$damaged), 0)
})

test_that("the key of a copy may be in a file of either form", {
  alice <- mx_demo_client(mx_demo_homeserver(), "alice")
  text <- withr::local_tempfile()
  mx_store_key_write(text, alice)
  bytes <- withr::local_tempfile()
  file.copy(file.path(alice$store_dir, "pickle.key"), bytes)
  copy <- withr::local_tempfile()
  mx_store_backup(alice, copy)
  unlink(alice$store_dir, recursive = TRUE)
  for (key in c(text, bytes)) {
    to <- withr::local_tempfile()
    mx_store_restore(copy, to, original_is_gone = TRUE, key = key)
    expect_identical(sum(mx_store_check(to)$damaged), 0)
    withr::with_envvar(
      c(MXCRYPT_STORE_KEY_FILE = key),
      expect_identical(sum(mx_store_check(copy)$damaged), 0)
    )
  }
  other <- withr::local_tempfile(lines = "no key")
  expect_error(
    mx_store_restore(copy, withr::local_tempfile(), TRUE, key = other),
    class = "mx_error_store_key_wrong"
  )
})

test_that("files that wait go with a copy, and a missing one is told", {
  scene <- demo_pair()
  file <- withr::local_tempfile(lines = "a file")
  withr::local_options(mxcrypt.max_tries = 1)
  demo_away <- client_with_store(scene$alice, scene$alice$store_dir)
  config <- read_config(demo_away$path)
  config[["server"]] <- "http://127.0.0.1:1"
  write_config(config, demo_away$path)
  away <- mx_client_load(path = demo_away$path)
  sent <- tryCatch(
    mx_send_file(away, scene$room, file),
    mx_error = function(condition) condition
  )
  expect_s3_class(sent, "mx_error_network")
  waiting <- list.files(file.path(scene$alice$store_dir, "files"))
  expect_length(waiting, 1)
  dir <- withr::local_tempdir()
  mx_store_backup(scene$alice, file.path(dir, "whole"))
  expect_identical(list.files(file.path(dir, "whole", "files")), waiting)
  unlink(file.path(scene$alice$store_dir, "files", waiting))
  expect_warning(
    mx_store_backup(scene$alice, file.path(dir, "part")),
    waiting,
    class = "mx_warning_store"
  )
})

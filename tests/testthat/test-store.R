# A store that was begun, closed, and nothing of it in memory.
closed_store <- function(.local_envir = parent.frame()) {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "before")
  forget_open_stores()
  pair$dir <- pair$alice$store_dir
  pair$key <- file.path(pair$dir, "pickle.key")
  pair
}

fingerprint <- function(dir) {
  tools::md5sum(list.files(dir, full.names = TRUE))
}

expect_refused_store <- function(pair, class) {
  files <- list.files(pair$dir)
  uses <- list(
    function() mx_send_text(pair$alice, pair$room, "after"),
    function() mx_sync(pair$alice),
    function() mx_crypto_account(pair$dir),
    function() mx_crypto_sessions_load(pair$dir)
  )
  for (use in uses) {
    condition <- expect_error(use(), class = class)
    expect_s3_class(condition, c("mx_error_store", "mx_error"))
    expect_no_match(conditionMessage(condition), "[[:cntrl:]]")
  }
  # No key was made, and no other store begun.
  expect_identical(list.files(pair$dir), files)
}

test_that("a missing key is an error and never a new key", {
  pair <- closed_store()
  file.remove(pair$key)
  expect_refused_store(pair, "mx_error_store_key_missing")
  expect_false(file.exists(pair$key))
})

test_that("a key that is too short, too long or another's is refused", {
  pair <- closed_store()
  key <- readBin(pair$key, "raw", 32)
  other <- readBin(file.path(pair$bob$store_dir, "pickle.key"), "raw", 32)
  for (bad in list(key[-1], c(key, as.raw(0)), raw(), raw(32), other)) {
    writeBin(bad, pair$key)
    expect_refused_store(pair, "mx_error_store_key_wrong")
  }
  writeBin(key, pair$key)
  mx_send_text(pair$alice, pair$room, "after")
  expect_equal(new_bodies(pair$bob), c("before", "after"))
})

test_that("a key can come from the environment, and leaves no file", {
  homeserver <- mx_demo_homeserver()
  key <- "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
  withr::with_envvar(c(MXCRYPT_STORE_KEY = key), {
    alice <- mx_demo_client(homeserver, "alice")
    expect_false(file.exists(file.path(alice$store_dir, "pickle.key")))
    forget_open_stores()
    expect_s3_class(mx_sync(alice), "mx_events")
    forget_open_stores()
  })
  expect_error(mx_sync(alice), class = "mx_error_store_key_missing")
  for (bad in c("AAAA", "%s%n", paste0(key, "AAAA"), strrep("x", 43))) {
    withr::with_envvar(c(MXCRYPT_STORE_KEY = bad), {
      expect_error(mx_sync(alice), class = "mx_error_store_key_wrong")
    })
  }
})

test_that("a lost store is not replaced by a new identity", {
  pair <- closed_store()
  devices <- mx_crypto_known_devices(pair$bob, pair$alice$user_id)
  unlink(file.path(pair$dir, c("crypto.sqlite", "crypto.sqlite-wal")))
  unlink(file.path(pair$dir, "crypto.sqlite-shm"))
  for (use in list(
    function() mx_send_text(pair$alice, pair$room, "after"),
    function() mx_sync(pair$alice)
  )) {
    expect_error(use(), class = "mx_error_store")
  }
  expect_equal(
    mx_crypto_known_devices(pair$bob, pair$alice$user_id),
    devices
  )
  expect_false(server_has_seen(pair$homeserver, "after"))
})

test_that("a store that is missing is not begun again, and a copy takes its place", {
  pair <- closed_store()
  alice <- pair$alice
  copy <- withr::local_tempfile()
  mx_store_backup(alice, copy, key = TRUE)
  # Also where this process still has it open.
  mx_sync(alice)
  unlink(pair$dir, recursive = TRUE)
  for (verb in list(mx_sync, mx_rooms)) {
    expect_error(
      verb(alice),
      "mx_store_restore",
      class = "mx_error_store_missing"
    )
    expect_false(file.exists(pair$dir))
  }
  mx_store_restore(copy, pair$dir, original_is_gone = TRUE)
  mx_send_text(alice, pair$room, "restored")
  expect_true("restored" %in% new_bodies(pair$bob))
})

test_that("a store of mx.client is left alone", {
  dir <- withr::local_tempdir()
  writeBin(as.raw(1:32), file.path(dir, "pickle.key"))
  writeLines("pickle", file.path(dir, "account.pickle"))
  writeLines("{}", file.path(dir, "sessions.json"))
  before <- fingerprint(dir)
  condition <- expect_error(
    mx_crypto_account(dir),
    class = "mx_error_store_foreign"
  )
  expect_match(conditionMessage(condition), "mx.client", fixed = TRUE)
  expect_identical(fingerprint(dir), before)
})

test_that("a store of a newer version is left alone", {
  pair <- closed_store()
  file <- file.path(pair$dir, "crypto.sqlite")
  bytes <- readBin(file, "raw", file.size(file))
  # The schema version, by the file format of SQLite.
  expect_equal(bytes[61:64], as.raw(c(0, 0, 0, 17)))
  bytes[61:64] <- as.raw(c(0, 0, 0x27, 0x0f))
  writeBin(bytes, file)
  expect_refused_store(pair, "mx_error_store_newer")
})

test_that("a file that is no database is an error and is left alone", {
  dir <- withr::local_tempdir()
  writeBin(as.raw(1:32), file.path(dir, "pickle.key"))
  writeLines(strrep("no database ", 500), file.path(dir, "crypto.sqlite"))
  before <- fingerprint(dir)
  expect_error(mx_crypto_account(dir), class = "mx_error_store")
  expect_identical(fingerprint(dir), before)
})

test_that("a directory that cannot be made is an error", {
  file <- withr::local_tempfile(lines = "x")
  expect_error(
    mx_crypto_account(file.path(file, "crypto")),
    class = "mx_error_store"
  )
  expect_error(mx_crypto_account(file), class = "mx_error_argument")
})

test_that("a store serves one device, and clients share it", {
  pair <- demo_pair()
  again <- mx_client_load(path = pair$alice$path)
  mx_send_text(pair$alice, pair$room, "one")
  mx_send_text(again, pair$room, "two")
  mx_send_text(pair$alice, pair$room, "three")
  expect_equal(new_bodies(pair$bob), c("one", "two", "three"))

  thief <- pair$bob
  thief$store_dir <- pair$alice$store_dir
  for (use in list(mx_sync, mx_rooms, function(x) {
    mx_send_text(x, pair$room, "x")
  })) {
    expect_error(use(thief), class = "mx_error_store_binding")
  }
  other <- pair$alice
  other$device_id <- "OTHER"
  expect_error(mx_sync(other), class = "mx_error_store_binding")
})

test_that("where a store lies can be asked, and nothing is made there", {
  withr::local_envvar(R_USER_DATA_DIR = "/somewhere")
  expect_equal(mx_crypto_store_dir("my-app"), "/somewhere/R/my-app/crypto")
  expect_equal(mx_crypto_store_dir(path = "~/x"), path.expand("~/x"))
  expect_false(file.exists("/somewhere"))
})

test_that("two processes work on one store", {
  skip_on_cran()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake)
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  send <- function(path, room, name) {
    client <- mxcrypt::mx_client_load(path = path)
    for (i in 1:10) {
      mxcrypt::mx_send_text(client, room, paste(name, i))
    }
  }
  environment(send) <- globalenv()
  others <- lapply(c("a", "b"), function(name) {
    callr::r_bg(send, list(alice$path, room, name))
  })
  for (process in others) {
    process$wait(60000)
    expect_null(process$get_result())
  }
  events <- messages(mx_sync(bob))
  expect_true(all(events$decrypted))
  expect_setequal(events$body, c(paste("a", 1:10), paste("b", 1:10)))
  expect_equal(events$body[startsWith(events$body, "a")], paste("a", 1:10))
  expect_length(unique(events$session_id), 1)
})

test_that("what is nearly the address of a database is no directory", {
  withr::local_dir(withr::local_tempdir())
  hs <- mx_demo_homeserver(users = "alice")
  for (place in c(
    "PostgreSQL://bot:hunter2@db/matrix",
    "postgresql:/bot:hunter2@db/matrix",
    "mysql://bot:hunter2@db/matrix",
    "postgresql:bot:hunter2@db/matrix",
    "postgres//bot:hunter2@db/matrix",
    "jdbc:postgresql://bot:hunter2@db/matrix",
    "host=db user=bot password = hunter2",
    "host=db dbname=matrix"
  )) {
    refused <- expect_error(
      mx_client_configure(
        hs,
        user = "alice",
        password = "demo",
        path = "matrix.json",
        store_dir = place
      ),
      class = "mx_error_argument"
    )
    expect_no_match(conditionMessage(refused), "hunter2")
    expect_error(mx_crypto_account(place), class = "mx_error_argument")
    expect_error(mx_store_check(place), class = "mx_error_argument")
  }
  expect_identical(list.files(), character())
})

test_that("the address of a database is a place wherever there is a store, and no path", {
  withr::local_dir(withr::local_tempdir())
  withr::local_envvar(MXCRYPT_STORE_KEY = NA, MXCRYPT_STORE_KEY_FILE = NA)
  place <- "postgresql://bot:hunter2@127.0.0.1:1/matrix"
  # A build without PostgreSQL knows no addresses at all.
  classes <- c("mx_error_argument", "mx_error_store_unsupported")
  alice <- mx_demo_client(mx_demo_homeserver(), "alice")
  account <- mx_crypto_account(alice$store_dir)
  copy <- withr::local_tempfile()
  mx_store_backup(alice, copy, key = TRUE)
  for (verb in list(
    function() mx_crypto_account(place),
    function() mx_crypto_sessions_load(place),
    function() mx_crypto_publish_keys(alice, account, place),
    function() mx_store_move(alice, place),
    function() mx_store_check(place),
    function() mx_store_backup(alice, place),
    function() mx_store_restore(copy, place, original_is_gone = TRUE),
    function() mx_store_key_write(place)
  )) {
    refused <- tryCatch(verb(), error = identity)
    expect_true(inherits(refused, classes))
    expect_no_match(conditionMessage(refused), "hunter2")
  }
  expect_identical(list.files(), character())
  expect_s3_class(mx_sync(alice), "mx_events")
})

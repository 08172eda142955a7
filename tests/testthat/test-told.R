# What people are told by messages, warnings and errors, to be read by a person.

test_that("set-up tells each step, and how to save the recovery key", {
  local_shown()
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  expect_snapshot({
    told(mx_crypto_setup(alice))
    told(mx_crypto_setup(alice))
    told(mx_cross_signing_reset(alice, password = "demo"))
  })
})

test_that("set-up without its recovery key, or with another one, tells what to do", {
  local_shown()
  own <- with_recovery_key(mx_demo_homeserver())
  other <- with_recovery_key(mx_demo_homeserver())
  laptop <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  mistyped <- sub("^E", "F", own$key)
  expect_snapshot(
    {
      told(mx_crypto_setup(laptop))
      told(mx_crypto_setup(laptop, recovery_key = mistyped))
      told(mx_crypto_setup(laptop, recovery_key = other$key))
      told(mx_crypto_setup(laptop, passphrase = "wrong"))
      told(mx_crypto_setup(laptop, recovery_key = own$key))
    },
    transform = steady
  )
})

test_that("repair tells each problem and its repair", {
  local_shown()
  homeserver <- mx_demo_homeserver()
  own <- with_recovery_key(homeserver)
  laptop <- mx_demo_client(homeserver, "alice", verified = FALSE)
  bob <- mx_demo_client(homeserver, "bob", verified = FALSE)
  expect_snapshot(
    {
      told(mx_crypto_repair(bob))
      told(mx_crypto_repair(laptop))
      told(mx_crypto_repair(laptop, recovery_key = own$key))
      told(mx_crypto_repair(laptop))
    },
    transform = steady
  )
})

test_that("each problem of key storage prints, with its repair", {
  local_shown()
  # A device to which everything has happened.
  backup <- list(
    version = "2",
    key_held = FALSE,
    trusted = FALSE,
    enabled = FALSE,
    under_way = FALSE,
    legacy = FALSE,
    keys = 1500,
    backed_up = 3
  )
  identity <- list(
    master_key = "key",
    changed = TRUE,
    device_signed = FALSE,
    held = "master"
  )
  storage <- list(
    default_key = "id",
    described = TRUE,
    secrets = secret_names[["self_signing"]],
    elsewhere = list(name = character(), keys = character())
  )
  problems <- function(...) {
    now <- list(identity = identity, backup = backup, storage = storage)
    x <- key_storage_problems(utils::modifyList(now, list(...)))
    writeLines(paste0(x$problem, "\n  ", x$message, "\n  ", x$repair))
  }
  held <- list(held = identity_keys, changed = FALSE, device_signed = TRUE)
  used <- list(enabled = TRUE, trusted = TRUE, key_held = TRUE)
  expect_snapshot({
    problems()
    problems(identity = held, storage = list(described = FALSE))
    problems(identity = held, backup = used)
    problems(identity = list(under_way = "resumable"))
    problems(identity = list(refused = "Its signature is not valid."))
    problems(identity = list(master_key = NULL), backup = list(version = NULL))
    problems(identity = held, backup = list(under_way = TRUE))
    problems(identity = held, backup = list(refused = "Its key has 31 bytes."))
    problems(identity = held, backup = list(failure = list(message = "502.")))
    problems(identity = held, backup = list(legacy = TRUE))
  })
})

test_that("key backup tells what was done, and what is missing", {
  local_shown()
  scene <- backed_up()
  laptop <- mx_demo_client(scene$homeserver, "alice", verified = FALSE)
  old <- legacy_account()
  expect_snapshot(
    {
      told(mx_backup_upload(scene$alice))
      told(mx_backup_upload(laptop))
      told(mx_backup_restore(laptop))
      told(mx_backup_enable(laptop))
      told(mx_backup_restore(laptop, recovery_key = scene$key))
      told(mx_crypto_setup(old$alice))
      told(mx_backup_restore(old$alice, passphrase = legacy$passphrase))
    },
    transform = steady
  )
})

test_that("key export and import tell how many keys there were", {
  local_shown()
  scene <- backed_up()
  file <- withr::local_tempfile(fileext = ".txt")
  laptop <- mx_demo_client(scene$homeserver, "alice", verified = FALSE)
  other <- withr::local_tempfile(lines = "no export", fileext = ".txt")
  expect_snapshot(
    {
      told(mx_keys_export(scene$alice, file, "correct horse"))
      told(mx_keys_export(scene$alice, file, "correct horse"))
      told(mx_keys_import(laptop, file, "wrong"))
      told(mx_keys_import(laptop, file, "correct horse"))
      told(mx_keys_import(laptop, other, "correct horse"))
    },
    transform = steady
  )
})

test_that("recovery keys and secrets tell what is wrong with them", {
  local_shown()
  own <- with_recovery_key(mx_demo_homeserver())
  alice <- own$client
  expect_snapshot(
    {
      told(mx_recovery_key_change(alice, recovery_key = own$key))
      told(mx_secret_store(alice, "org.example.x", "x", recovery_key = own$key))
      told(mx_secret_fetch(alice, "org.example.x"))
      told(mx_recovery_key_write("EsTc", "file"))
    },
    transform = function(lines) gsub("[A-Za-z0-9]{32}", "<key id>", lines)
  )
})

test_that("devices tell what their deletion costs", {
  local_shown()
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  phone <- mx_demo_client(homeserver, "alice", verified = FALSE)
  room <- mx_room_create(alice)
  suppressWarnings(mx_send_text(alice, room, "hello"))
  expect_snapshot(
    {
      told(mx_device_delete(alice, "DEVICE1", password = "demo"))
      told(mx_device_delete(alice, "DEVICE2", password = "wrong"))
      told(mx_device_delete(alice, "DEVICE2", password = "demo"))
      told(mx_device_sign(alice, "NOSUCH", "key"))
      told(mx_device_verify(alice, "@bob:demo", "NOSUCH", "key"))
      told(mx_logout(alice))
      told(mx_rooms(alice))
    },
    transform = steady
  )
})

test_that("a new disk tells of the devices that it may have left behind", {
  rlang::local_interactive(FALSE)
  local_shown()
  own <- with_recovery_key(mx_demo_homeserver())
  again <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  expect_snapshot(
    told(mx_crypto_setup(again, recovery_key = own$key)),
    transform = steady
  )
})

test_that("sending tells who cannot read, and what was not sent", {
  local_shown()
  pair <- demo_pair(verified = FALSE)
  mx_crypto_setup(pair$alice)
  carol <- mx_demo_client(pair$homeserver, "carol")
  mx_room_invite(pair$alice, pair$room, carol$user_id)
  mx_room_join(carol, pair$room)
  alone <- mx_room_create(pair$alice)
  expect_snapshot(
    {
      told(mx_send_text(pair$alice, pair$room, "hello"))
      told(mx_send_text(pair$alice, "no such room", "hello"))
      told(mx_send_text(pair$alice, "!none:demo", "hello"))
      told(mx_send_text(pair$alice, pair$room, strrep("x", 1e5)))
      told(mx_send_text(pair$alice, pair$room, NA))
      told(mx_send_text(pair$bob, pair$room, "hello"))
      told(mx_send_file(pair$alice, pair$room, "no/such/file"))
    },
    transform = function(lines) {
      steady(sub(getwd(), "<dir>", lines, fixed = TRUE))
    }
  )
})

test_that("a handler that fails, and a verification that ends, are told", {
  local_shown()
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "hello")
  listen <- function(...) {
    mx_listen(..., seconds = 0, on_error = function(failure, event) "skip")
  }
  fail <- function(event) stop("out of paper")
  both <- comparing(pair$alice, pair$bob)
  expect_snapshot(
    {
      told(listen(pair$bob, fail, types = "m.room.message"))
      told(mx_verification_confirm(both[[1]], same = FALSE))
      told(mx_verification_accept(both[[1]]))
      told(mx_verify(pair$alice, "@bob:demo"))
    },
    transform = steady
  )
})

test_that("arguments that do not fit are told with what fits", {
  local_shown()
  alice <- mx_demo_client(mx_demo_homeserver(), "alice")
  expect_snapshot(
    {
      told(mx_sync("alice"))
      told(mx_rooms())
      told(mx_isolation_mode(alice, "none"))
      told(mx_room_create(alice, invite = "bob"))
      told(mx_messages(alice, 5))
      told(mx_client_load(path = "/no/such/matrix.json"))
      told(mx_mark_read(list(), "!x:demo", "$x"))
    },
    transform = steady
  )
})

test_that("what comes of a send in the background, or of many, is told", {
  local_shown()
  pair <- demo_pair()
  # Synapse has no delayed events unless it is told to.
  act_like(pair$homeserver, "conduit")
  expect_snapshot(
    {
      told(mx_send_text(pair$alice, pair$room, as.character(1:6)))
      told(mx_post(pair$alice, pair$room, NULL))
      told(mx_heartbeat(pair$alice, pair$room, "no report", 3600))
      told(mx_heartbeat_stop(pair$alice, name = "job"))
    },
    transform = steady
  )
})

test_that("a store of mx.client tells what became of it", {
  local_shown()
  homeserver <- mx_demo_homeserver(users = "alice")
  server <- unclass(homeserver)[["address"]]
  store <- old_store(old_device(server, "alice", "demo"), FALSE)
  expect_snapshot(
    told(imported(store)),
    transform = function(lines) {
      steady(sub("use .* any", "use <dir> any", lines))
    }
  )
})

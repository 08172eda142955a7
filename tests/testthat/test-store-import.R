# Bob has spoken to Alice, whose device is one of mx.client.
old_scene <- function(later = FALSE) {
  homeserver <- mx_demo_homeserver(users = c("alice", "bob"))
  server <- unclass(homeserver)[["address"]]
  old <- old_device(server, "alice", "demo")
  bob <- mx_demo_client(homeserver, "bob", verified = FALSE)
  mx_isolation_mode(bob, "all")
  room <- mx_room_create(bob, invite = "@alice:demo")
  old_call(old, "POST", c("join", room), "{}")
  mx_sync(bob)
  mx_send_text(bob, room, "before")
  old_sync(old)
  expect_length(old$megolm_in, 1)
  list(bob = bob, room = room, old = old, store = old_store(old, later))
}

md5 <- function(dir) tools::md5sum(list.files(dir, full.names = TRUE))

test_that("a device moves here, with what it could read", {
  for (later in c(FALSE, TRUE)) {
    scene <- old_scene(later)
    before <- md5(scene$store$from)
    alice <- imported(scene$store)
    expect_identical(md5(scene$store$from), before)
    mx_isolation_mode(alice, "all")
    # The same device, for everybody.
    expect_identical(alice$device_id, scene$old$login$device_id)
    keys <- mxc_account_identity_keys(mx_crypto_account(alice$store_dir))
    expect_identical(keys, mxc_account_identity_keys(scene$old$account))
    history <- messages(mx_messages(alice, scene$room))
    expect_identical(history$body, "before")
    expect_identical(history$key_source, "imported")
    # What comes on its Olm sessions is read.
    mx_room_key_rotate(scene$bob, scene$room)
    mx_send_text(scene$bob, scene$room, "after")
    expect_true("after" %in% new_bodies(alice))
  }
})

test_that("an imported session reads as far back as another copy of it", {
  homeserver <- mx_demo_homeserver(users = c("alice", "bob"))
  server <- unclass(homeserver)[["address"]]
  old <- old_device(server, "alice", "demo")
  bob <- mx_demo_client(homeserver, "bob", verified = FALSE)
  mx_isolation_mode(bob, "all")
  room <- mx_room_create(bob)
  mx_send_text(bob, room, "unheard")
  mx_room_invite(bob, room, "@alice:demo")
  old_call(old, "POST", c("join", room), "{}")
  mx_sync(bob)
  mx_send_text(bob, room, "before")
  old_sync(old)
  expect_length(old$megolm_in, 1)
  alice <- imported(old_store(old))
  mx_isolation_mode(alice, "all")
  read <- function() messages(mx_messages(alice, room))$body
  expect_identical(read(), c(NA, "before"))
  # The export names the device of the session, the store of mx.client did not.
  file <- mx_keys_export(bob, tempfile(), "correct horse")
  taken <- mx_keys_import(alice, file, "correct horse")
  expect_identical(taken$status, "imported")
  expect_identical(read(), c("unheard", "before"))
})

test_that("no session of mx.client sends again", {
  scene <- old_scene()
  alice <- imported(scene$store)
  mx_isolation_mode(alice, "all")
  mx_sync(alice)
  asked <- requests_during(mx_send_text(alice, scene$room, "hello"))
  expect_true(any(grepl("keys/claim", asked)))
  expect_identical(tail(new_bodies(scene$bob), 1), "hello")
})

test_that("a store is imported once, and whole", {
  scene <- old_scene()
  dir <- tempfile()
  alice <- imported(scene$store, dir)
  again <- function(...) {
    mx_store_import(scene$store$from, scene$store$config, ...)
  }
  expect_error(
    again(path = alice$path, store_dir = tempfile()),
    class = "mx_error_argument"
  )
  expect_error(
    again(path = tempfile(), store_dir = alice$store_dir),
    class = "mx_error_store_binding"
  )
  # Into its own directory neither.
  expect_error(
    again(path = tempfile(), store_dir = scene$store$from),
    class = "mx_error_store_foreign"
  )
})

test_that("what is not the device the server knows is refused, and nothing made", {
  scene <- old_scene()
  dir <- tempfile()
  refused <- function(class) {
    expect_error(imported(scene$store, dir), class = class)
    expect_false(file.exists(file.path(dir, "crypto")))
  }
  account <- file.path(scene$store$from, "account.pickle")
  good <- readLines(account)
  writeLines(mxc_account_pickle(mxc_account_new(), old_key), account)
  refused("mx_error_own_keys")
  writeLines("damaged", account)
  refused("mx_error_store_foreign")
  writeLines(good, account)
  config <- readLines(scene$store$config)
  writeLines(
    sub("\"device_id\":\"[^\"]*\"", "\"device_id\":\"X\"", config),
    scene$store$config
  )
  refused("mx_error_store_binding")
})

test_that("damaged sessions are named, and do not stop the others", {
  scene <- old_scene()
  file <- file.path(scene$store$from, "sessions.json")
  text <- sub(
    "\"megolm_in\":{",
    "\"megolm_in\":{\"!x:here|y\":\"z\",",
    readLines(file),
    fixed = TRUE
  )
  writeLines(text, file)
  expect_warning(
    alice <- imported(scene$store),
    "!x:here|y",
    fixed = TRUE,
    class = "mx_warning_import"
  )
  mx_isolation_mode(alice, "all")
  expect_identical(messages(mx_messages(alice, scene$room))$body, "before")
})

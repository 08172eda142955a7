# The code blocks of mx.client's vignette, as they are written there: the files in
# compat/ differ from it in the library() line and the two package prefixes only.

run_block <- function(name, env) {
  capture.output(source(test_path("compat", name), local = env, echo = FALSE))
}

test_that("the code of mx.client's vignette runs as it is written", {
  server <- synapse_start(
    name = "example.org",
    # Rooms of later versions are named by a hash.
    extra = list(default_room_version = "11"),
    python_path = normalizePath(test_path("compat", "synapse"))
  )
  withr::defer(synapse_stop(server))
  dir <- withr::local_tempdir()
  withr::local_envvar(
    R_USER_CONFIG_DIR = file.path(dir, "config"),
    R_USER_DATA_DIR = file.path(dir, "data")
  )
  for (user in c("me", "friend")) {
    synapse_register(server, user, user)
  }
  me <- mx_client_configure(server$url, "me", password = "me", app = "myapp")
  friend <- mx_client_configure(
    server$url,
    "friend",
    password = "friend",
    app = "friend"
  )
  # That code has no identity, and wants to be read.
  mx_isolation_mode(friend, "all")
  room <- mx_room_create(me, encrypted = FALSE, invite = friend$user_id)
  expect_equal(room, "!abc:example.org")
  mx_room_join(friend, room)

  vignette <- new.env(parent = globalenv())
  vignette$room_id <- room
  run_block("setup.R", vignette)
  run_block("sending.R", vignette)
  first <- vignette$res$event_id
  expect_match(first, "^\\$")

  received <- messages(mx_sync(friend))
  expect_equal(received$body, "the eagle lands at noon")
  expect_true(received$decrypted)

  store <- friend$store_dir
  send <- function(text) {
    mx_send_encrypted(
      friend,
      mx_crypto_account(store),
      mx_crypto_sessions_load(store),
      room_id = room,
      content = list(msgtype = "m.text", body = text),
      store_dir = store
    )
  }
  send("which eagle?")
  printed <- run_block("receiving.R", vignette)
  expect_true("@friend:example.org : which eagle? " %in% printed)
  # A second time in the same session, which asks from where the first ended.
  send("the other one?")
  printed <- run_block("receiving.R", vignette)
  expect_equal(printed, "@friend:example.org : the other one? ")

  run_block("encrypting.R", vignette)
  mx_sync(friend)
  expect_true(mx_rooms(friend)$encrypted)

  # A new R process, which has only the directory: sends and reads on.
  forget_open_stores()
  again <- new.env(parent = globalenv())
  again$room_id <- room
  run_block("setup.R", again)
  run_block("sending.R", again)
  received <- messages(mx_sync(friend))
  expect_equal(received$body, "the eagle lands at noon")
  expect_equal(received$event_id, again$res$event_id)
  expect_false(again$res$event_id == first)
})

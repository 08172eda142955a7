# A server that goes away, forgets logins, and leaves events out.

test_that("more messages than a sync holds come in order, without a gap", {
  alice <- live_client()
  bob <- live_client()
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  mx_sync(bob)
  mx_send_text(alice, room, as.character(1:130))
  events <- messages(mx_sync(bob))
  expect_equal(events$body, as.character(1:130))
})

test_that("what was said while the server was away is sent when it is back", {
  server <- synapse_start()
  withr::defer(synapse_stop(server))
  dir <- withr::local_tempdir()
  synapse_register(server, "alice", "pw")
  alice <- mx_client_configure(
    server$url,
    "alice",
    password = "pw",
    path = file.path(dir, "matrix.json"),
    store_dir = file.path(dir, "crypto")
  )
  mx_isolation_mode(alice, "all")
  room <- mx_room_create(alice)
  mx_send_text(alice, room, "one")
  synapse_stop(server)
  withr::with_options(list(mxcrypt.max_tries = 2L, mxcrypt.pause = 0.05), {
    expect_error(mx_send_text(alice, room, "two"), class = "mx_error_network")
    expect_error(mx_sync(alice), class = "mx_error_network")
  })
  server <- synapse_restart(server)
  mx_send_text(alice, room, "three")
  history <- mx_messages(alice, room)
  texts <- history$body[history$type == "m.room.message"]
  expect_equal(texts, c("one", "two", "three"))
})

test_that("a login that the server ended is renewed, and keeps its device", {
  user <- live_user("relogin")
  client <- live_client(user)
  # A token that the server does not know, and no refresh token.
  config <- jsonlite::fromJSON(client$path)
  config[["token"]] <- "forgotten"
  config[["refresh_token"]] <- NULL
  jsonlite::write_json(config, client$path, auto_unbox = TRUE)
  again <- mx_client_load(path = client$path)
  expect_error(mx_rooms(again), class = "mx_error_M_UNKNOWN_TOKEN")
  withr::with_envvar(c(MXCRYPT_PASSWORD = user$password), mx_rooms(again))
  expect_equal(mx_client_load(path = client$path)$device_id, client$device_id)
  room <- mx_room_create(again)
  mx_send_text(again, room, "still here")
})

test_that("a refresh token is used when the access token runs out", {
  server <- synapse_start(
    extra = list(refreshable_access_token_lifetime = "2s")
  )
  withr::defer(synapse_stop(server))
  dir <- withr::local_tempdir()
  synapse_register(server, "alice", "pw")
  client <- mx_client_configure(
    server$url,
    "alice",
    password = "pw",
    path = file.path(dir, "matrix.json"),
    store_dir = file.path(dir, "crypto")
  )
  mx_isolation_mode(client, "all")
  token <- function() {
    jsonlite::fromJSON(file.path(dir, "matrix.json"))[["token"]]
  }
  first <- token()
  room <- mx_room_create(client)
  Sys.sleep(3)
  mx_send_text(client, room, "with a new token")
  expect_false(identical(token(), first))
  expect_equal(
    as.character(file.info(file.path(dir, "matrix.json"))$mode),
    "600"
  )
})

test_that("a token of another device is refused before anything is sent", {
  user <- live_user("tokens")
  client <- live_client(user)
  other <- live_client(user)
  token <- jsonlite::fromJSON(other$path)[["token"]]
  expect_error(
    mx_client_configure(
      live_synapse()$url,
      access_token = token,
      path = client$path,
      store_dir = client$store_dir
    ),
    class = "mx_error_store_binding"
  )
  # And the client that was there goes on.
  room <- mx_room_create(client)
  mx_send_text(client, room, "as before")
})

test_that("an access token can be given instead of a password", {
  user <- live_user("bytoken")
  login <- mxcrypt:::http_json(
    list(server = live_synapse()$url),
    "POST",
    "/_matrix/client/v3/login",
    list(
      type = "m.login.password",
      identifier = list(type = "m.id.user", user = user$user),
      password = user$password
    )
  )
  dir <- withr::local_tempdir()
  client <- mx_client_configure(
    live_synapse()$url,
    access_token = login[["access_token"]],
    path = file.path(dir, "matrix.json"),
    store_dir = file.path(dir, "crypto")
  )
  mx_isolation_mode(client, "all")
  expect_equal(client$user_id, user$user_id)
  room <- mx_room_create(client)
  mx_send_text(client, room, "by token")
})

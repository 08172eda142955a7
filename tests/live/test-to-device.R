# Many to-device messages.

# `n` further devices of a user, on the server and nowhere else.
add_devices <- function(user, n) {
  server <- live_synapse()$url
  post <- function(session, path, body) {
    path <- paste0("/_matrix/client/v3/", path)
    mxcrypt:::http_json(session, "POST", path, body)
  }
  password <- list(
    type = "m.login.password",
    identifier = list(type = "m.id.user", user = user$user),
    password = user$password
  )
  for (i in seq_len(n)) {
    login <- post(list(server = server), "login", password)
    account <- mxc_account_new()
    mxc_account_generate_one_time_keys(account, 1)
    keys <- mxc_account_one_time_keys(account)
    id <- login$device_id
    one_time <- mxc_one_time_key(account, keys[[1]], user$user_id, id)
    one_time <- list(one_time)
    names(one_time) <- paste0("signed_curve25519:", names(keys))
    device_keys <- mxc_device_keys(account, user$user_id, id)
    session <- list(server = server, token = login$access_token)
    body <- list(device_keys = device_keys, one_time_keys = one_time)
    post(session, "keys/upload", body)
  }
}

test_that("the keys for many devices go in few requests", {
  proxy <- live_proxy()
  user <- live_user("many")
  add_devices(user, 100)
  alice <- live_client(url = proxy$url)
  room <- mx_room_create(alice, invite = user$user_id)
  mx_send_text(alice, room, "for a hundred")
  sent <- proxy$seen("sendToDevice")
  expect_equal(nrow(sent), 1)
  devices <- jsonlite::fromJSON(sent$body)$messages[[user$user_id]]
  expect_length(devices, 100)
})

test_that("more keys than one sync brings are all taken, in order", {
  proxy <- live_proxy()
  alice <- live_client(url = proxy$url)
  # A new session, and so a to-device message, for each text.
  them <- live_stranger()
  room <- them$call(
    "createRoom",
    invite = alice$user_id,
    rotation = list(periodMsgs = 1L)
  )
  enter(alice, room, witness = them)
  mx_sync(alice)
  texts <- as.character(1:120)
  for (text in texts) {
    say(them, room, text)
  }
  expect_equal(wait_for_bodies(alice, "120"), texts)
  keys <- vapply(
    proxy$seen("/sync")$answer,
    function(answer) {
      events <- jsonlite::fromJSON(answer, simplifyVector = FALSE)
      length(events[["to_device"]][["events"]])
    },
    1
  )
  expect_gte(sum(keys), 120)
  expect_gt(sum(keys > 0), 1)
  history <- mx_messages(alice, room, limit = 130)
  expect_length(unique(messages(history)$session_id), 120)
  expect_equal(messages(history)$body, texts)
})

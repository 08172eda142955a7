# Responses that are none, and failures of something else: neither may pass for what
# was asked.

unknown_token <- '{"errcode":"M_UNKNOWN_TOKEN","error":"expired"}'
not_found <- '{"errcode":"M_NOT_FOUND","error":"not found"}'
portal <- "<html>Please sign in to the network</html>"

# A room that was encrypted before this device came, of which it knows nothing.
unknown_room <- function(bob, alice) {
  room <- mx_room_create(bob, invite = alice$user_id)
  mx_room_join(alice, room)
  room
}

test_that("what is said of the login is no answer about the room", {
  fake <- fake_homeserver()
  bob <- fake_client(fake, "bob")
  alice <- fake_client(fake, "alice")
  withr::local_envvar(MXCRYPT_PASSWORD = "secret word")
  for (login in c(200L, 404L)) {
    room <- unknown_room(bob, alice)
    fake$forget()
    fake$fault("GET", "m.room.encryption", status = 401, body = unknown_token)
    fake$fault("POST", "/refresh", status = 404, body = not_found, times = 9)
    fake$fault("POST", "/login", status = 404, body = not_found, times = 9)
    condition <- catch(mx_send_text(alice, room, "my secret eagle"))
    bodies <- vapply(fake$seen("PUT", "/send/"), function(x) x$body, "")
    expect_false(any(grepl("eagle", bodies)))
    fake$forget()
    file <- withr::local_tempfile(lines = "my secret eagle")
    fake$fault("GET", "m.room.encryption", status = 401, body = unknown_token)
    fake$fault("POST", "/refresh", status = 404, body = not_found, times = 9)
    fake$fault("POST", "/login", status = 404, body = not_found, times = 9)
    catch(mx_send_media(alice, unknown_room(bob, alice), file))
    bodies <- vapply(fake$seen("POST", "/upload"), function(x) x$body, "")
    expect_false(any(grepl("eagle", bodies)))
    fake$forget()
  }
})

test_that("a login that cannot be renewed ends no message and no gap", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  mx_send_text(alice, room, "one")
  for (login in c("M_FORBIDDEN", "M_NOT_FOUND", "M_USER_DEACTIVATED")) {
    withr::local_envvar(MXCRYPT_PASSWORD = "wrong")
    body <- sprintf('{"errcode":"%s","error":"no"}', login)
    fake$forget()
    fake$fault("PUT", "/send/", status = 401, body = unknown_token)
    fake$fault("POST", "/refresh", status = 401, body = unknown_token)
    fake$fault("POST", "/login", status = 403, body = body)
    condition <- expect_error(
      mx_send_text(alice, room, "two"),
      class = "mx_error_renewal"
    )
    expect_match(conditionMessage(condition), "login has expired")
    expect_match(conditionMessage(condition), "stays in the outbox")
    expect_null(condition[["errcode"]])
    expect_equal(nrow(mx_outbox(alice)), 1, info = login)
    fake$forget()
    withr::local_envvar(MXCRYPT_PASSWORD = "secret word")
    mx_sync(alice)
    expect_equal(nrow(mx_outbox(alice)), 0, info = login)
  }
})

test_that("a redirect is followed nowhere with a token, a password or a message", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  elsewhere <- webfakes::new_app_process(fake_app())
  withr::defer(elsewhere$stop())
  other <- fake_door(elsewhere$url("/"))
  location <- paste0(elsewhere$url("/"), "_matrix/client/v3/elsewhere")
  for (request in list(
    list("GET", "/joined_rooms", function() mx_rooms(alice)),
    list("PUT", "/send/", function() mx_send_text(alice, room, "hello")),
    list("POST", "/login", function() mx_client_relogin(alice, "secret word"))
  )) {
    for (status in c(301L, 302L, 307L)) {
      fake$fault(
        request[[1]],
        request[[2]],
        status = status,
        body = "",
        headers = list(Location = location)
      )
      condition <- catch(request[[3]]())
      expect_s3_class(condition, "mx_error_answer")
      expect_match(conditionMessage(condition), "redirects")
      fake$forget()
    }
  }
  expect_length(other$seen(), 0)
  # The message is kept, and goes out.
  expect_equal(nrow(mx_outbox(alice)), 3)
  mx_sync(alice)
  expect_equal(nrow(mx_outbox(alice)), 0)
})

test_that("room keys count as delivered only by the homeserver's word", {
  fake <- fake_homeserver()
  alice <- fake_client(fake, "alice")
  bob <- fake_client(fake, "bob")
  room <- unknown_room(bob, alice)
  mx_sync(alice)
  fake$fault("PUT", "/sendToDevice/", status = 200, body = portal)
  catch(mx_send_text(alice, room, "to bob"))
  Sys.sleep(1.1)
  mx_sync(alice)
  expect_true("to bob" %in% mx_sync(bob)$body)
})

test_that("keys count as backed up only by the homeserver's word", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  mx_crypto_setup(alice)
  room <- mx_room_create(alice)
  fake$fault("PUT", "room_keys/keys", status = 200, body = portal, times = 9)
  suppressWarnings(mx_send_text(alice, room, "precious"))
  suppressWarnings(catch(mx_backup_upload(alice)))
  status <- mx_backup_status(alice)
  expect_equal(status$backed_up, 0)
  fake$forget()
  expect_no_error(mx_backup_upload(alice))
  expect_equal(mx_backup_status(alice)$backed_up, 1)
})

test_that("a server that returns no backup once does not cost the key of the one there is", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  key <- format(mx_crypto_setup(alice)$recovery_key, reveal = TRUE)
  room <- mx_room_create(alice)
  mx_send_text(alice, room, "precious")
  mx_backup_upload(alice)
  fake$fault("GET", "room_keys/version", status = 404, body = not_found)
  suppressMessages(mx_crypto_setup(alice, recovery_key = key))
  expect_equal(nrow(mx_crypto_status(alice)$out_of_sync), 0)
  phone <- fake_client(fake, of = alice)
  suppressMessages(mx_crypto_setup(phone, recovery_key = key))
  # The whole backup: a session id with a slash does not survive the fake's paths.
  expect_true(all(mx_backup_restore(phone)$restored))
  expect_true("precious" %in% mx_messages(phone, room)$body)
})

test_that("a replacement of the backup that was interrupted is finished", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  key <- format(mx_crypto_setup(alice)$recovery_key, reveal = TRUE)
  mx_recovery_key_forget(mx_crypto_setup(alice)$recovery_key)
  room <- mx_room_create(alice)
  mx_send_text(alice, room, "precious")
  mx_backup_upload(alice)
  withr::local_options(mxcrypt.max_tries = 1)
  fake$fault("PUT", "m.megolm_backup.v1", status = 502, body = "", acts = TRUE)
  expect_error(
    mx_backup_enable(alice, recovery_key = key, replace = TRUE),
    class = "mx_error"
  )
  expect_true("backup_unfinished" %in% problems_of(alice))
  mx_backup_enable(alice, recovery_key = key)
  mx_backup_upload(alice)
  expect_equal(nrow(mx_crypto_status(alice)$out_of_sync), 0)
  phone <- fake_client(fake, of = alice)
  suppressMessages(mx_crypto_setup(phone, recovery_key = key))
  # The whole backup: a session id with a slash does not survive the fake's paths.
  expect_true(all(mx_backup_restore(phone)$restored))
  expect_true("precious" %in% mx_messages(phone, room)$body)
})

test_that("an identity is published, and a device signed out, when the server shows it", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  fake$fault("POST", "device_signing/upload", status = 200, body = portal)
  expect_error(mx_crypto_setup(alice), class = "mx_error_answer")
  fake$fault("POST", "device_signing/upload", status = 200, body = "{}")
  expect_error(mx_crypto_setup(alice), class = "mx_error_identity")
  # It continues from there, with the recovery key that was made.
  expect_s3_class(mx_crypto_setup(alice)$recovery_key, "mx_recovery_key")

  phone <- fake_client(fake, of = alice)
  for (body in c(portal, "{}")) {
    fake$fault("POST", "/delete_devices", status = 200, body = body)
    expect_error(
      mx_device_delete(alice, phone$device_id, password = "secret word"),
      class = "mx_error_answer"
    )
  }
  mx_device_delete(alice, phone$device_id, password = "secret word")
  expect_false(phone$device_id %in% mx_devices(alice, alice$user_id)$device_id)
})

test_that("a login that expires on a later try is renewed too", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  fake$fault("GET", "/sync", status = 502, body = "")
  fake$fault("GET", "/sync", status = 401, body = unknown_token)
  expect_no_error(mx_sync(alice))
  expect_length(fake$seen("POST", "/refresh"), 1)
})

test_that("signing out twice is signing out", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  withr::local_envvar(MXCRYPT_PASSWORD = "secret word")
  fake$forget()
  fake$fault("POST", "/logout", status = 502, body = "", acts = TRUE)
  suppressWarnings(mx_logout(alice, ask = FALSE))
  expect_error(mx_sync(alice), class = "mx_error_signed_out")
  expect_length(fake$seen("POST", "/login"), 0)
})

test_that("a server that repeats a page of messages keeps nobody", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  mx_send_text(alice, room, "one")
  page <- paste0(
    '{"start":"a","end":"b","chunk":[{"event_id":"$1","type":"m.x",',
    '"sender":"@a:b","content":{},"origin_server_ts":1}]}'
  )
  fake$fault("GET", "/messages", body = page, times = 500)
  expect_lte(nrow(mx_messages(alice, room, limit = Inf)), 3)
})

test_that("a message that is refused again stays, and other rooms are tried", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  rooms <- c(mx_room_create(alice), mx_room_create(alice))
  withr::local_options(mxcrypt.max_tries = 1)
  for (room in rooms) {
    mx_send_text(alice, room, "first")
    fake$fault("PUT", "/send/", status = 502, body = "")
    catch(mx_send_text(alice, room, "waits"))
  }
  forbidden <- '{"errcode":"M_FORBIDDEN","error":"no"}'
  numbers <- mx_outbox(alice)$number
  expect_length(numbers, 2)
  fake$forget()
  fake$fault(
    "PUT",
    utils::URLencode(rooms[[1]], reserved = TRUE),
    status = 403,
    body = forbidden
  )
  expect_error(
    mx_outbox_retry(alice, numbers),
    class = "mx_error_refused"
  )
  left <- mx_outbox(alice)
  expect_equal(left$number, numbers[[1]])
  expect_equal(left$state, "refused")
  mx_outbox_retry(alice, left$number)
  expect_equal(nrow(mx_outbox(alice)), 0)
})

test_that("a login on another server leaves no device there", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  user <- sub("@(.*):.*", "\\1", alice$user_id)
  demo <- mx_demo_homeserver()
  twin <- mx_demo_client(demo, user)
  condition <- catch(mx_client_configure(
    twin$server,
    user,
    password = "demo",
    path = alice$path,
    store_dir = alice$store_dir
  ))
  expect_s3_class(condition, "mx_error_store_binding")
  expect_false(alice$device_id %in% signed_in_devices(twin)$device_id)
})

test_that("configuring again keeps the room", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  again <- function(...) {
    mx_client_configure(
      fake$url,
      alice$user_id,
      password = "secret word",
      path = alice$path,
      store_dir = alice$store_dir,
      ...
    )
  }
  again(room = room)
  expect_equal(again()$room_id, room)
})

test_that("one odd room does not cost the others", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice, name = "Good")
  body <- sprintf('{"joined_rooms":["%s","!odd:x","../x",5]}', room)
  fake$fault("GET", "/joined_rooms", body = body)
  forbidden <- '{"errcode":"M_FORBIDDEN","error":"no"}'
  fake$fault("GET", "%21odd", status = 403, body = forbidden, times = 9)
  rooms <- mx_rooms(alice)
  expect_equal(rooms$room_id, c(room, "!odd:x"))
  expect_equal(rooms$name, c("Good", NA))
})

test_that("nobody sends an event that passes for one of this device", {
  both <- demo_pair()
  mx_send(
    both$alice,
    both$room,
    list(body = "A message was not sent"),
    type = "mxcrypt.send_failed"
  )
  events <- mx_sync(both$bob)
  expect_false("mxcrypt.send_failed" %in% events$type)
  expect_true("remote.mxcrypt.send_failed" %in% events$type)
})

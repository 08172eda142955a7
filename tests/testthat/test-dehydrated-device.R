# Alice, who speaks in a room with a bot that has an identity and its recovery key.
with_bot <- function() {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  own <- with_recovery_key(homeserver, "bot")
  room <- mx_room_create(alice, invite = own$client$user_id)
  mx_room_join(own$client, room)
  list(
    homeserver = homeserver,
    alice = alice,
    bot = own$client,
    key = own$key,
    room = room
  )
}

# A new device of the bot, with its identity.
returned <- function(scene) {
  bot <- mx_demo_client(scene$homeserver, "bot", verified = FALSE)
  mx_crypto_setup(bot, recovery_key = scene$key)
  bot
}

dehydrated_ids <- function(client, of = client) {
  devices <- mx_devices(client, of$user_id)
  devices$device_id[devices$dehydrated]
}

# What the server answers about the dehydrated device, changed.
local_answer <- function(method, path, change, .local_envir = parent.frame()) {
  real <- http_once
  changed <- function(session, asked, at, ...) {
    answer <- real(session, asked, at, ...)
    if (asked == method && grepl(path, at)) change(answer) else answer
  }
  local_replaced("http_once", changed, .local_envir = .local_envir)
}

test_that("what is said while the bot has no device is read by the next one", {
  scene <- with_bot()
  device <- mx_dehydrated_device_create(scene$bot, recovery_key = scene$key)
  shown <- mx_devices(scene$alice, scene$bot$user_id)
  expect_equal(shown$device_id[shown$dehydrated], device)
  expect_equal(
    shown$device_id[shown$dehydrated],
    shown$curve25519[shown$dehydrated]
  )
  expect_true(all(shown$signed_by_owner))
  mx_logout(scene$bot)
  mx_sync(scene$alice)
  mx_send_text(scene$alice, scene$room, c("one", "two"))
  mx_room_key_rotate(scene$alice, scene$room)
  mx_send_text(scene$alice, scene$room, "three")

  bot <- returned(scene)
  expect_false(any(new_bodies(bot) %in% c("one", "two", "three")))
  keys <- mx_dehydrated_device_rehydrate(bot, recovery_key = scene$key)
  expect_equal(keys$room_id, rep(scene$room, 2))
  expect_false(any(duplicated(keys$session_id)))
  expect_length(attr(keys, "problems"), 0)
  events <- messages(mx_sync(bot))
  expect_equal(events$body, c("one", "two", "three"))
  # They come from their maker, as to any device.
  expect_true(all(events$trust == "signed"))

  replaced <- dehydrated_ids(bot)
  expect_length(replaced, 1)
  expect_false(replaced == device)
  again <- mx_dehydrated_device_rehydrate(bot, scene$key, replace = FALSE)
  expect_equal(nrow(again), 0)
  expect_length(dehydrated_ids(bot), 0)
})

test_that("where there is no dehydrated device nothing is read or deleted", {
  scene <- with_bot()
  keys <- mx_dehydrated_device_rehydrate(scene$bot, scene$key)
  expect_equal(dim(keys), c(0L, 2L))
  expect_named(keys, c("room_id", "session_id"))
  expect_false(mx_dehydrated_device_delete(scene$bot))
  mx_dehydrated_device_create(scene$bot, scene$key)
  expect_true(mx_dehydrated_device_delete(scene$bot))
  expect_length(dehydrated_ids(scene$bot), 0)
})

test_that("the key is made once, and is never text of R", {
  scene <- with_bot()
  made <- mx_dehydrated_device_create(scene$bot, scene$key)
  secret <- mx_secret_fetch(scene$bot, "org.matrix.msc3814", scene$key)
  secret <- format(secret, reveal = TRUE)
  other <- mx_dehydrated_device_create(scene$bot, scene$key)
  expect_false(made == other)
  expect_equal(dehydrated_ids(scene$bot), other)
  again <- mx_secret_fetch(scene$bot, "org.matrix.msc3814", scene$key)
  expect_equal(format(again, reveal = TRUE), secret)
  expect_false(server_has_seen(scene$homeserver, secret))
})

test_that("a device that no key opens is not put there, whenever it dies", {
  scene <- with_bot()
  asked <- requests_during(mx_dehydrated_device_create(scene$bot, scene$key))
  written <- grep("^PUT", asked, value = TRUE)
  expect_match(written, "org.matrix.msc3814$|dehydrated_device$")
  expect_match(written[[1]], "account_data")
  expect_length(written, 2)

  for (acted in c(FALSE, TRUE)) {
    for (at in 1:2) {
      scene <- with_bot()
      local({
        local_death(at, acted, function(method, path) {
          method == "PUT" && grepl("msc3814", path)
        })
        expect_error(
          mx_dehydrated_device_create(scene$bot, scene$key),
          class = "killed"
        )
      })
      mx_dehydrated_device_create(scene$bot, scene$key)
      keys <- mx_dehydrated_device_rehydrate(scene$bot, scene$key)
      expect_equal(nrow(keys), 0)
    }
  }
})

test_that("reading that ended early begins anew and misses nothing", {
  scene <- with_bot()
  mx_dehydrated_device_create(scene$bot, scene$key)
  mx_logout(scene$bot)
  mx_sync(scene$alice)
  mx_send_text(scene$alice, scene$room, "one")
  bot <- returned(scene)
  local({
    local_death(1, FALSE, function(method, path) {
      method == "PUT" && grepl("dehydrated_device$", path)
    })
    expect_error(
      mx_dehydrated_device_rehydrate(bot, scene$key),
      class = "killed"
    )
  })
  keys <- mx_dehydrated_device_rehydrate(bot, scene$key)
  expect_equal(nrow(keys), 1)
  expect_equal(new_bodies(bot), "one")
})

test_that("without an identity, or at a server without them, it is an error", {
  scene <- with_bot()
  none <- mx_demo_client(scene$homeserver, "bot", verified = FALSE)
  expect_error(
    mx_dehydrated_device_create(none, scene$key),
    class = "mx_error_identity"
  )
  expect_error(
    mx_dehydrated_device_rehydrate(none, scene$key),
    class = "mx_error_identity"
  )
  expect_error(
    mx_dehydrated_device_create(scene$bot, "EsTc"),
    class = "mx_error_recovery_key"
  )
  text <- "{\"errcode\":\"M_UNRECOGNIZED\",\"error\":\"no\"}"
  unknown <- function(answer) list(status = 404L, body = charToRaw(text))
  local_answer("GET", "dehydrated_device", unknown)
  asked <- requests_during({
    for (verb in list(
      mx_dehydrated_device_create,
      mx_dehydrated_device_rehydrate
    )) {
      expect_error(
        verb(scene$bot, scene$key),
        "does not know",
        class = "mx_error_dehydrated_device"
      )
    }
  })
  expect_false(any(grepl("PUT", asked)))
})

# Synapse before 1.157: it knows POST alone, and never leaves out the token.
local_old_synapse <- function(.local_envir = parent.frame()) {
  real <- http_once
  old <- function(session, method, path, body, ...) {
    if (!grepl("/events", path)) {
      return(real(session, method, path, body, ...))
    }
    if (method == "GET") {
      text <- "{\"errcode\":\"M_UNRECOGNIZED\",\"error\":\"no\"}"
      return(list(status = 405L, body = charToRaw(text)))
    }
    from <- json_decode(body)[["next_batch"]]
    text <- "{\"events\":[],\"next_batch\":\"end\"}"
    if (identical(from, "end")) {
      return(list(status = 200L, body = charToRaw(text)))
    }
    path <- if (is.null(from)) path else paste0(path, "?from=", from)
    answer <- real(session, "GET", path, NULL, ...)
    page <- json_decode(rawToChar(answer[["body"]]))
    page[["next_batch"]] <- page[["next_batch"]] %||% "end"
    answer[["body"]] <- charToRaw(mxc_json(page))
    answer
  }
  local_replaced("http_once", old, .local_envir = .local_envir)
}

test_that("events are asked for by POST where the server knows no GET", {
  scene <- with_bot()
  mx_dehydrated_device_create(scene$bot, scene$key)
  mx_logout(scene$bot)
  for (n in 1:12) {
    mx_room_key_rotate(scene$alice, scene$room)
    mx_send_text(scene$alice, scene$room, as.character(n))
  }
  bot <- returned(scene)
  local_old_synapse()
  keys <- mx_dehydrated_device_rehydrate(bot, scene$key)
  expect_gte(nrow(keys), 12)
  expect_equal(messages(mx_messages(bot, scene$room))$body, as.character(1:12))
})

test_that("a server that swaps, cuts or repeats is noticed", {
  scene <- with_bot()
  mx_dehydrated_device_create(scene$bot, scene$key)
  mx_logout(scene$bot)
  mx_sync(scene$alice)
  mx_send_text(scene$alice, scene$room, "one")
  bot <- returned(scene)
  tampered <- function(change, path = "dehydrated_device$") {
    local_answer("GET", path, function(answer) {
      body <- change(json_decode(rawToChar(answer[["body"]])))
      answer[["body"]] <- charToRaw(unclass(mxc_json(body)))
      answer
    })
    mx_dehydrated_device_rehydrate(bot, scene$key)
  }
  refused <- function(code, class = "mx_error_dehydrated_device") {
    expect_error(code, class = class)
  }
  refused(tampered(function(x) edit(x, "device_id", "another")))
  cut <- function(x) {
    pickle <- x[["device_data"]][["device_pickle"]]
    x[["device_data"]][["device_pickle"]] <- substr(pickle, 1, 40)
    x
  }
  refused(tampered(cut))
  refused(tampered(function(x) list()), "mx_error_answer")
  endless <- function(x) edit(x, "next_batch", "0")
  refused(tampered(endless, "events"), "mx_error_answer")
  # Nothing of it was deleted, and the key came with the first batch.
  expect_length(dehydrated_ids(bot), 1)
  expect_equal(new_bodies(bot), "one")
})

test_that("a dehydrated device is no holder of the identity", {
  scene <- with_bot()
  mx_dehydrated_device_create(scene$bot, scene$key)
  set_account_data(scene$bot, "m.secret_storage.default_key", "{}")
  expect_warning(
    mx_logout(scene$bot),
    "No other device has your identity",
    class = "mx_warning_keys_lost"
  )
})

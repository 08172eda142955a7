test_that("devices are rows, with the trust in them", {
  pair <- demo_pair(verified = FALSE)
  devices <- mx_devices(pair$alice, c(pair$alice$user_id, pair$bob$user_id))
  expect_equal(devices$user_id, c(pair$alice$user_id, pair$bob$user_id))
  expect_equal(as.character(devices$trust), c("unsigned", "unsigned"))
  expect_s3_class(devices$trust, "ordered")
  keys <- mxc_account_identity_keys(mx_crypto_account(pair$bob$store_dir))
  expect_equal(devices$ed25519[[2]], keys$ed25519)
  expect_equal(nrow(mx_devices(pair$alice, "@nobody:demo")), 0)
})

test_that("own devices have a time when they were last seen, and this is one", {
  pair <- demo_pair()
  other <- mx_demo_client(pair$homeserver, "alice")
  devices <- mx_devices(pair$alice, c(pair$alice$user_id, pair$bob$user_id))
  own <- devices$user_id == pair$alice$user_id
  expect_equal(devices$device_id[devices$this_device], pair$alice$device_id)
  expect_false(any(devices$this_device[!own]))
  expect_s3_class(devices$last_seen_ts, "POSIXct")
  expect_false(anyNA(devices$last_seen_ts[own]))
  expect_true(all(is.na(devices$last_seen_ts[!own])))
  expect_type(devices$last_seen_ip, "character")
  expect_equal(devices$display_name[own], rep("mxcrypt (R)", 2))
  # Of others no server tells, so that none is asked.
  asked <- requests_during(theirs <- mx_devices(pair$alice, pair$bob$user_id))
  expect_false(any(grepl("/devices", asked)))
  expect_identical(lapply(theirs, class), lapply(devices, class))
  expect_false(theirs$this_device)
})

test_that("what a server says of when devices were seen is read as far as it can be", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  devices <- function(...) {
    fake$fault("GET", "/devices", ...)
    found <- mx_devices(alice, alice$user_id)
    expect_equal(found$device_id, alice$device_id)
    expect_true(found$this_device)
    found
  }
  said <- function(rest) {
    text <- sprintf('{"device_id":"%s",%s}', alice$device_id, rest)
    devices(body = sprintf('{"devices":[5,{},{"device_id":[]},%s]}', text))
  }
  good <- said('"last_seen_ts":1700000000500,"last_seen_ip":"192.0.2.1"')
  expect_equal(as.numeric(good$last_seen_ts), 1700000000.5)
  expect_equal(good$last_seen_ip, "192.0.2.1")
  for (odd in c("null", "0", "-1", '"x"', "[]", "{}", "1e300", "true")) {
    bad <- said(sprintf('"last_seen_ts":%s,"last_seen_ip":5', odd))
    expect_true(is.na(bad$last_seen_ts), info = odd)
    expect_true(is.na(bad$last_seen_ip))
  }
  for (body in c("{}", "[]", '{"devices":"x"}', '{"devices":{"a":1}}', "5")) {
    expect_true(is.na(devices(body = body)$last_seen_ts), info = body)
  }
  expect_warning(
    none <- devices(status = 502),
    class = "mx_warning_devices"
  )
  expect_identical(lapply(none, class), lapply(good, class))
})

test_that("a device is signed by its fingerprint, and by nobody else's", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  other <- mx_demo_client(homeserver, "alice", verified = FALSE)
  keys <- mxc_account_identity_keys(mx_crypto_account(other$store_dir))
  own <- mxc_account_identity_keys(mx_crypto_account(alice$store_dir))
  sign <- function(...) {
    expect_error(mx_device_sign(alice, ...), class = "mx_error_identity")
  }
  sign(other$device_id, keys$ed25519)
  mx_crypto_setup(alice)
  sign(other$device_id, own$ed25519)
  sign("NONE", keys$ed25519)
  expect_null(expect_invisible(
    mx_device_sign(alice, other$device_id, keys$ed25519)
  ))
  facts <- mx_devices(alice, alice$user_id)
  expect_equal(as.character(facts$trust), c("verified", "verified"))
  expect_true(all(facts$signed_by_owner, facts$cross_signing_verified))
  expect_false(any(facts$locally_verified, facts$blocked, facts$key_changed))
  # The device itself knows that it is, when it holds no private key.
  expect_equal(
    as.character(mx_devices(other, alice$user_id)$trust),
    c("signed", "signed")
  )
})

test_that("a device whose fingerprint was compared is verified, here alone", {
  pair <- demo_pair(verified = FALSE)
  bob <- pair$bob
  device <- mx_devices(pair$alice, bob$user_id)
  own <- mxc_account_identity_keys(mx_crypto_account(pair$alice$store_dir))
  verify <- function(...) {
    expect_error(mx_device_verify(pair$alice, ...), class = "mx_error")
  }
  verify(bob$user_id, device$device_id, own$ed25519)
  verify(bob$user_id, device$device_id, "nonsense")
  verify(bob$user_id, "NONE", device$ed25519)
  verify(pair$alice$user_id, pair$alice$device_id, own$ed25519)
  expect_false(any(mx_devices(pair$alice, bob$user_id)$locally_verified))

  expect_null(expect_invisible(
    mx_device_verify(
      pair$alice,
      bob$user_id,
      device$device_id,
      device$ed25519
    )
  ))
  # Also after a restart, and after the device list was fetched again.
  forget_open_stores()
  facts <- mx_devices(pair$alice, bob$user_id)
  expect_equal(as.character(facts$trust), "verified")
  expect_true(facts$locally_verified)
  expect_false(facts$signed_by_owner)
  expect_false(facts$cross_signing_verified)
  # It gets keys where only trusted devices do, and what it says is read.
  mx_isolation_mode(pair$alice, "signed")
  suppressWarnings(mx_send_text(pair$alice, pair$room, "for you"))
  expect_equal(new_bodies(bob), NA_character_)
  expect_equal(
    messages(mx_messages(bob, pair$room, unsigned = TRUE))$body,
    "for you"
  )
  mx_isolation_mode(bob, "all")
  mx_send_text(bob, pair$room, "for Alice")
  event <- tail(messages(mx_sync(pair$alice)), 1)
  expect_equal(event$body, "for Alice")
  expect_true(event$sender_verified)
})

test_that("a blocked device gets no more keys, and is told so", {
  pair <- demo_pair()
  bob <- pair$bob
  mx_send_text(pair$alice, pair$room, "before")
  expect_equal(new_bodies(bob), "before")
  mx_device_block(pair$alice, bob$user_id, bob$device_id)
  facts <- mx_devices(pair$alice, bob$user_id)
  expect_equal(as.character(facts$trust), "blocked")
  expect_true(facts$blocked)
  expect_true(facts$signed_by_owner)
  for (mode in c("all", "verified_users", "signed")) {
    mx_isolation_mode(pair$alice, mode)
    # Whom Alice blocked herself she need not be told of.
    expect_no_warning(mx_send_text(pair$alice, pair$room, "without Bob"))
    expect_true(is.na(tail(new_bodies(bob), 1)))
  }
  blacklisted <- grepl("m.blacklisted", mx_demo_requests(pair$homeserver))
  expect_true(any(blacklisted))
  mx_send_text(bob, pair$room, "do you read me?")
  event <- tail(messages(mx_sync(pair$alice)), 1)
  expect_equal(as.character(event$trust), "blocked")
  expect_equal(event$utd_reason, "unsigned_sender")
  mx_device_block(pair$alice, bob$user_id, bob$device_id, FALSE)
  mx_send_text(pair$alice, pair$room, "with Bob")
  expect_equal(tail(new_bodies(bob), 1), "with Bob")
})

test_that("devices are renamed and deleted, with the password", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  other <- mx_demo_client(homeserver, "alice", verified = FALSE)
  mx_device_rename(alice, other$device_id, "nightly \u2603")
  named <- mx_devices(alice, alice$user_id)
  expect_true("nightly \u2603" %in% named$display_name)
  expect_error(
    mx_device_delete(alice, alice$device_id, "demo"),
    class = "mx_error_argument"
  )
  expect_error(
    mx_device_delete(alice, other$device_id, "wrong"),
    class = "mx_error_M_FORBIDDEN"
  )
  withr::local_envvar(MXCRYPT_PASSWORD = NA)
  expect_error(
    mx_device_delete(alice, other$device_id),
    class = "mx_error_password"
  )
  mx_device_delete(alice, other$device_id, "demo")
  expect_equal(mx_devices(alice, alice$user_id)$device_id, alice$device_id)
  expect_error(mx_sync(other), class = "mx_error_M_UNKNOWN_TOKEN")
})

test_that("a server that wants its page to be visited is told with the page", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  asks <- function(body) {
    fake$fault("POST", "/delete_devices", status = 401, body = body)
    expect_error(
      mx_device_delete(alice, "OTHER", "x"),
      class = "mx_error_approval"
    )
  }
  condition <- asks(
    '{"session":"a b","flows":[{"stages":["m.login.sso"]}],"params":{}}'
  )
  expect_equal(
    condition$url,
    paste0(
      fake$url,
      "/_matrix/client/v3/auth/m.login.sso/fallback/web?session=a%20b"
    )
  )
  condition <- asks(paste0(
    '{"session":"x","flows":[{"stages":["m.oauth"]}],',
    '"params":{"m.oauth":{"url":"https://example.org/approve"}}}'
  ))
  expect_equal(condition$url, "https://example.org/approve")
  for (odd in c('{"flows":[]}', '{"flows":[5]}', '{"flows":{"a":1}}')) {
    fake$fault("POST", "/delete_devices", status = 401, body = odd)
    expect_error(mx_device_delete(alice, "OTHER", "x"), class = "mx_error")
  }
})

test_that("a device whose keys are refused is listed, and named once", {
  pair <- demo_pair()
  bob <- pair$bob$user_id
  real <- http_once
  with_old <- function(session, method, path, ...) {
    answer <- real(session, method, path, ...)
    if (grepl("keys/query", path)) {
      body <- json_decode(rawToChar(answer[["body"]]))
      for (n in 1:8) {
        old <- list(user_id = bob, device_id = paste0("OLD", n))
        old <- c(old, list(algorithms = list()))
        body[["device_keys"]][[bob]][[paste0("OLD", n)]] <- old
      }
      answer[["body"]] <- charToRaw(mxc_json(body))
    }
    answer
  }
  local_replaced("http_once", with_old)
  devices <- mx_devices(pair$alice, bob)
  old <- devices[startsWith(devices$device_id, "OLD"), ]
  expect_equal(nrow(old), 8)
  expect_match(old$problem, "algorithms")
  expect_true(all(old$trust == "none") && !any(old$signed_by_owner))
  expect_true(is.na(devices$problem[devices$device_id == pair$bob$device_id]))
  warned <- expect_warning(
    mx_send_text(pair$alice, pair$room, "one"),
    "OLD1.* and 3 more",
    class = "mx_warning_unreached"
  )
  expect_equal(nrow(warned$devices), 8)
  expect_warning(mx_send_text(pair$alice, pair$room, "two"), NA)
  expect_equal(new_bodies(pair$bob), c("one", "two"))
})

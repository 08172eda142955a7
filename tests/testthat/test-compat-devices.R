test_that("devices and their one-time keys are found and verified", {
  pair <- demo_pair()
  second <- mx_demo_client(pair$homeserver, "bob")
  users <- c(pair$bob$user_id, pair$alice$user_id)
  devices <- mx_crypto_known_devices(pair$alice, users)
  expect_length(devices, 3)
  expect_named(devices[[1]], c("user_id", "device_id", "curve25519", "ed25519"))
  own <- mxc_account_identity_keys(mx_crypto_account(second$store_dir))
  found <- Filter(function(x) x$device_id == second$device_id, devices)[[1]]
  expect_equal(found[names(own)], own)
  claimed <- mx_crypto_claim_otks(pair$alice, devices)
  expect_match(vapply(claimed, function(x) x$otk, ""), "^[A-Za-z0-9+/]{43}$")
  session <- mxc_olm_create_outbound(
    mxc_account_new(),
    claimed[[1]]$curve25519,
    claimed[[1]]$otk
  )
  expect_equal(mxc_olm_encrypt(session, "x")$type, 0L)
  expect_length(mx_crypto_known_devices(pair$alice, character()), 0)
  expect_length(mx_crypto_known_devices(pair$alice, "@nobody:demo"), 0)
  expect_length(mx_crypto_claim_otks(pair$alice, list()), 0)
})

# The answer of the server about Bob's devices, changed.
told <- function(fake, client, user_id, change) {
  body <- mxc_json(list(
    device_keys = stats::setNames(list(list()), user_id)
  ))
  answer <- http_perform(client, "POST", api_path("keys", "query"), body)
  parsed <- json_decode(rawToChar(answer$body))
  changed <- change(parsed[["device_keys"]][[user_id]])
  unclass(mxc_json(list(
    device_keys = stats::setNames(list(changed), user_id)
  )))
}

test_that("a device whose keys do not hold is left out, and the good ones stay", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake)
  mallory <- mxc_account_new()
  changes <- list(
    swapped = function(x) {
      curve <- mxc_account_identity_keys(mallory)$curve25519
      x[["keys"]][[paste0("curve25519:", bob$device_id)]] <- curve
      x
    },
    unsigned = function(x) edit(x, "signatures", NULL),
    other_user = function(x) edit(x, "user_id", alice$user_id),
    other_device = function(x) edit(x, "device_id", "X"),
    no_keys = function(x) edit(x, "keys", NULL),
    number = function(x) 5
  )
  for (name in names(changes)) {
    body <- told(fake, alice, bob$user_id, function(devices) {
      devices[["GHOST"]] <- json_decode(
        mxc_device_keys(mallory, bob$user_id, "GHOST")
      )
      devices[[bob$device_id]] <- changes[[name]](devices[[bob$device_id]])
      devices
    })
    fake$forget()
    fake$fault("POST", "/keys/query", body = body)
    devices <- suppressWarnings(mx_crypto_known_devices(alice, bob$user_id))
    ids <- vapply(devices, function(x) x$device_id, "")
    expect_equal(ids, "GHOST", info = name)
  }
})

test_that("a device's signing key is remembered, and another is not taken", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake)
  known <- mx_crypto_known_devices(alice, bob$user_id)
  mallory <- mxc_account_new()
  forged <- told(fake, alice, bob$user_id, function(devices) {
    keys <- mxc_device_keys(mallory, bob$user_id, bob$device_id)
    edit(devices, bob$device_id, json_decode(keys))
  })
  fake$fault("POST", "/keys/query", body = forged)
  expect_equal(
    suppressWarnings(mx_crypto_known_devices(alice, bob$user_id)),
    known
  )
})

test_that("servers that could not be reached are named, when it matters", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  failure <- '{"device_keys":{},"failures":{"dead.example":{}}}'
  fake$fault("POST", "/keys/query", body = failure, times = 9)
  expect_length(mx_crypto_known_devices(alice, "@x:dead.example"), 0)
  condition <- expect_error(
    mx_crypto_known_devices(alice, "@x:dead.example", strict = TRUE),
    class = "mx_error_unreachable"
  )
  expect_match(conditionMessage(condition), "@x:dead.example", fixed = TRUE)
})

test_that("a one-time key that does not hold is not handed on", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake)
  devices <- mx_crypto_known_devices(alice, bob$user_id)
  mallory <- mxc_account_new()
  key <- mxc_account_identity_keys(mallory)$curve25519
  forged <- mxc_one_time_key(mallory, key, bob$user_id, bob$device_id)
  answer <- function(keys) {
    devices <- stats::setNames(list(keys), bob$device_id)
    users <- stats::setNames(list(devices), bob$user_id)
    unclass(mxc_json(list(one_time_keys = users)))
  }
  bodies <- c(
    answer(list("signed_curve25519:AAAA" = json_decode(forged))),
    answer(list("signed_curve25519:AAAA" = list(key = key))),
    answer(list("curve25519:AAAA" = key)),
    answer(list("signed_curve25519:AAAA" = list(key = "AAAA"))),
    answer(as_object(list())),
    '{"one_time_keys":{}}'
  )
  for (body in bodies) {
    fake$fault("POST", "/keys/claim", body = body)
    warning <- expect_warning(
      claimed <- mx_crypto_claim_otks(alice, devices),
      class = "mx_warning_unclaimed"
    )
    expect_match(conditionMessage(warning), bob$device_id, fixed = TRUE)
    expect_null(claimed[[1]]$otk)
    fake$fault("POST", "/keys/claim", body = body)
    expect_error(
      mx_crypto_claim_otks(alice, devices, strict = TRUE),
      class = "mx_error_unreachable"
    )
  }
  fake$fault("POST", "/keys/claim", body = "nonsense")
  expect_error(mx_crypto_claim_otks(alice, devices), class = "mx_error")
})

test_that("what is no list of devices is refused", {
  pair <- demo_pair()
  good <- mx_crypto_known_devices(pair$alice, pair$bob$user_id)
  odd <- list(
    5,
    "x",
    NA,
    list(5),
    list("x"),
    list(list()),
    list(good[[1]][c("user_id", "device_id")]),
    list(edit(good[[1]], "user_id", NA_character_)),
    list(edit(good[[1]], "ed25519", 5)),
    list(edit(good[[1]], "device_id", c("a", "b"))),
    good[[1]],
    as.data.frame(good[[1]])
  )
  for (devices in odd) {
    expect_s3_class(
      catch(suppressWarnings(mx_crypto_claim_otks(pair$alice, devices))),
      "mx_error"
    )
  }
})

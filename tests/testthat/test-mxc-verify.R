user <- "@alice:example.org"
device <- "ALICE"

# Device keys as R lists, changed and signed again by `change`.
keys_object <- function(account = mxc_account_new()) {
  json_decode(mxc_device_keys(account, user, device))
}

refusal <- function(expr) {
  condition <- expect_error(expr, class = "mxc_error_verification")
  conditionMessage(condition)
}

test_that("keys that a device signed are accepted", {
  account <- mxc_account_new()
  json <- mxc_device_keys(account, user, device)
  expect_s3_class(json, "json")
  own <- mxc_account_identity_keys(account)
  expect_equal(mxc_verify_device_keys(json, user, device), own)
  # Also as a list made in R.
  expect_equal(mxc_verify_device_keys(keys_object(account), user, device), own)
  object <- json_decode(json)
  expect_setequal(
    unlist(object[["algorithms"]]),
    c("m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2")
  )
  # What the server adds is not signed.
  object[["unsigned"]] <- list(device_display_name = "bot")
  expect_equal(mxc_verify_device_keys(object, user, device), own)
})

test_that("each way in which device keys do not hold has its reason", {
  refused <- function(change, ...) {
    refusal(mxc_verify_device_keys(change(keys_object()), user, device, ...))
  }
  set <- function(name, value) {
    function(x) {
      x[[name]] <- value
      x
    }
  }
  set_key <- function(name, value) {
    function(x) {
      x[["keys"]][[name]] <- value
      x
    }
  }
  expect_match(refused(set("user_id", "@mallory:x")), "user_id mismatch")
  expect_match(refused(set("user_id", NULL)), "user_id mismatch")
  expect_match(refused(set("device_id", "OTHER")), "device_id mismatch")
  expect_match(refused(set("device_id", 5)), "device_id mismatch")
  expect_match(refused(set("keys", NULL)), "missing curve25519")
  expect_match(refused(set_key("curve25519:ALICE", NULL)), "missing curve25519")
  expect_match(refused(set_key("ed25519:ALICE", NULL)), "missing ed25519")
  expect_match(refused(set_key("ed25519:ALICE", "")), "non-empty")
  expect_match(refused(set("signatures", NULL)), "unsigned")
  expect_match(refused(set("signatures", as_object(list()))), "unsigned")
  of_other <- list("@mallory:x" = list("ed25519:ALICE" = strrep("A", 86)))
  expect_match(refused(set("signatures", of_other)), "no signatures from")
  by_other <- list("@alice:example.org" = list("ed25519:X" = strrep("A", 86)))
  expect_match(
    refused(set("signatures", by_other)),
    "no ed25519:ALICE signature"
  )
  expect_match(refused(set("algorithms", NULL)), "missing 'algorithms'")
  expect_match(
    refused(set("algorithms", list("m.olm"))),
    "missing required entries"
  )
  expect_match(refused(set("extra", "x")), "did not verify")
  other_key <- mxc_account_identity_keys(mxc_account_new())[["curve25519"]]
  swapped <- refused(set_key("curve25519:ALICE", other_key))
  expect_match(swapped, "did not verify")
})

test_that("the signing key must be the device's own, and a key", {
  mallory <- mxc_account_identity_keys(mxc_account_new())[["ed25519"]]
  for (key in c(mallory, "AAAA", strrep("A", 43), "%s%n")) {
    object <- keys_object()
    object[["keys"]][["ed25519:ALICE"]] <- key
    refusal(mxc_verify_device_keys(object, user, device))
  }
})

test_that("required algorithms can be named, or none asked for", {
  account <- mxc_account_new()
  object <- keys_object(account)
  object[["algorithms"]] <- NULL
  object[["signatures"]] <- NULL
  bare <- mxc_json_sign(object, account, user, "ed25519:ALICE")
  own <- mxc_account_identity_keys(account)
  expect_match(
    refusal(mxc_verify_device_keys(bare, user, device)),
    "missing 'algorithms'"
  )
  expect_equal(mxc_verify_device_keys(bare, user, device, character()), own)
  full <- mxc_device_keys(account, user, device)
  expect_match(
    refusal(mxc_verify_device_keys(full, user, device, "m.other")),
    "missing required entries: m.other"
  )
})

test_that("text with two readings is refused", {
  json <- mxc_device_keys(mxc_account_new(), user, device)
  twice <- sub("{", '{"user_id":"@mallory:x",', json, fixed = TRUE)
  refusal(mxc_verify_device_keys(twice, user, device))
  for (odd in c("", "[]", "null", "{", "{}", '"text"')) {
    refusal(mxc_verify_device_keys(odd, user, device))
  }
})

test_that("one bad object among good ones costs its own row", {
  accounts <- replicate(40, mxc_account_new(), simplify = FALSE)
  devices <- sprintf("D%d", seq_along(accounts))
  texts <- mapply(mxc_device_keys, accounts, user, devices)
  texts[[7]] <- sub("D7", "D8", texts[[7]], fixed = TRUE)
  texts[[9]] <- "nonsense %s%n"
  rows <- mxc_verify_device_keys(texts, user, devices)
  expect_named(rows, c("curve25519", "ed25519", "error"))
  expect_equal(which(!is.na(rows[["error"]])), c(7L, 9L))
  expect_equal(which(is.na(rows[["ed25519"]])), c(7L, 9L))
  keys <- mxc_account_identity_keys(accounts[[40]])
  expect_equal(as.list(rows[40, c("curve25519", "ed25519")]), keys)
})

test_that("a one-time key is accepted when its device signed it", {
  account <- mxc_account_new()
  signer <- mxc_account_identity_keys(account)[["ed25519"]]
  mxc_account_generate_one_time_keys(account, 1)
  key <- mxc_account_one_time_keys(account)[[1]]
  id <- "signed_curve25519:AAAA"
  for (fallback in c(FALSE, TRUE)) {
    json <- mxc_one_time_key(account, key, user, device, fallback)
    expect_equal(isTRUE(json_decode(json)[["fallback"]]), fallback)
    found <- mxc_verify_one_time_key(id, json, signer, user, device)
    expect_equal(found, key)
  }
})

test_that("each way in which a one-time key does not hold has its reason", {
  account <- mxc_account_new()
  signer <- mxc_account_identity_keys(account)[["ed25519"]]
  other <- mxc_account_identity_keys(mxc_account_new())
  id <- "signed_curve25519:AAAA"
  good <- mxc_one_time_key(account, other[["curve25519"]], user, device)
  check <- function(id, json, key = signer, u = user, d = device) {
    refusal(mxc_verify_one_time_key(id, json, key, u, d))
  }
  for (bad in c(
    "curve25519:AAAA",
    "signed_curve25519",
    "",
    "xsigned_curve25519:A"
  )) {
    expect_match(check(bad, good), "does not start with")
  }
  expect_match(check(id, good, other[["ed25519"]]), "did not verify")
  expect_match(check(id, good, u = "@mallory:x"), "no signatures from")
  expect_match(check(id, good, d = "OTHER"), "no ed25519:OTHER signature")
  expect_match(check(id, good, key = "AAAA"), "ed25519")
  expect_match(check(id, '{"key":"AAAA"}'), "valid curve25519 public key")
  expect_match(check(id, "{}"), "missing 'key'")
  unsigned <- sprintf('{"key":"%s"}', other[["curve25519"]])
  expect_match(check(id, unsigned), "unsigned")
  sign <- function(object) {
    mxc_json_sign(object, account, user, "ed25519:ALICE")
  }
  expect_match(check(id, sign(list(key = "x"))), "valid curve25519 public key")
  expect_match(check(id, sign(list(key = 5))), "missing 'key'")
  # The signature covers that it is a fallback key.
  fallback <- sub("{", '{"fallback":true,', good, fixed = TRUE)
  expect_match(check(id, fallback), "did not verify")
})

test_that("one-time keys of many devices are judged in one call", {
  account <- mxc_account_new()
  signer <- mxc_account_identity_keys(account)[["ed25519"]]
  keys <- replicate(3, mxc_account_identity_keys(mxc_account_new())$curve25519)
  texts <- vapply(
    keys,
    function(key) as.character(mxc_one_time_key(account, key, user, device)),
    ""
  )
  texts[[2]] <- "{}"
  ids <- sprintf("signed_curve25519:%d", 1:3)
  rows <- mxc_verify_one_time_key(ids, texts, signer, user, device)
  expect_named(rows, c("key", "error"))
  expect_equal(rows[["key"]], c(keys[[1]], NA, keys[[3]]))
  expect_match(rows[["error"]][[2]], "missing 'key'")
  expect_error(
    mxc_verify_one_time_key(ids[-1], texts, signer, user, device),
    class = "mxc_error_argument"
  )
})

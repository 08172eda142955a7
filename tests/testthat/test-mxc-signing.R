# Specification: appendices, "Cryptographic Test Vectors". The public key is that
# of the seed given there.
vector_key <- "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI"

test_that("vectors of the specification hold", {
  empty <- '{"signatures": {"domain": {"ed25519:1":
    "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"}}}'
  data <- '{"one": 1, "signatures": {"domain": {"ed25519:1":
    "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw"}},
    "two": "Two"}'
  event <- '{"auth_events": [], "content": {}, "depth": 3, "hashes": {
    "sha256": "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"},
    "origin": "domain", "origin_server_ts": 1000000, "prev_events": [],
    "room_id": "!x:domain", "sender": "@a:domain", "signatures": {"domain":
    {"ed25519:1":
    "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"}},
    "type": "X", "unsigned": {"age_ts": 1000000}}'
  for (signed in c(empty, data, event)) {
    verify <- function(json, ...) mxc_json_verify(json, ..., vector_key)
    expect_true(verify(signed, "domain", "ed25519:1"))
    expect_false(verify(signed, "domain", "ed25519:2"))
    expect_false(verify(signed, "other", "ed25519:1"))
    expect_false(verify(
      sub("{", '{"x":1,', signed, fixed = TRUE),
      "domain",
      "ed25519:1"
    ))
  }
})

test_that("a signature holds for its message and its key alone", {
  account <- mxc_account_new()
  key <- mxc_account_identity_keys(account)[["ed25519"]]
  other <- mxc_account_identity_keys(mxc_account_new())[["ed25519"]]
  message <- charToRaw("hello")
  signature <- mxc_account_sign(account, message)
  expect_true(mxc_ed25519_verify(key, message, signature))
  expect_true(mxc_ed25519_verify(padded(key), message, padded(signature)))
  expect_false(mxc_ed25519_verify(key, charToRaw("hallo"), signature))
  expect_false(mxc_ed25519_verify(other, message, signature))
  expect_false(mxc_ed25519_verify(key, message, altered(signature, 3)))
})

test_that("what is no key, no signature or no bytes is an error and not FALSE", {
  account <- mxc_account_new()
  key <- mxc_account_identity_keys(account)[["ed25519"]]
  message <- charToRaw("hello")
  signature <- mxc_account_sign(account, message)
  # 44 characters that decode to 33 bytes have killed a library before.
  for (bad in c("", "AAAA", "%s%n", strrep("A", 44), paste0(key, "AAAA"))) {
    expect_error(
      mxc_ed25519_verify(bad, message, signature),
      class = "mxc_error_encoding"
    )
  }
  for (bad in c("", "AAAA", key, substr(signature, 1, 85), "-_-_")) {
    expect_error(
      mxc_ed25519_verify(key, message, bad),
      class = "mxc_error_encoding"
    )
  }
  # The neutral element: everything would be signed by it.
  zero <- strrep("A", 43)
  verdict <- try(mxc_ed25519_verify(zero, message, signature), silent = TRUE)
  expect_false(isTRUE(verdict))
  for (bad in list("hello", 1, NULL, NA, quote(x))) {
    expect_error(
      mxc_ed25519_verify(key, bad, signature),
      class = "mxc_error_argument"
    )
  }
})

test_that("many signatures are checked in one call, in their order", {
  account <- mxc_account_new()
  key <- mxc_account_identity_keys(account)[["ed25519"]]
  messages <- lapply(sprintf("message %d", 1:200), charToRaw)
  signatures <- mxc_account_sign(account, messages)
  good <- seq_along(messages) %% 7 != 0
  messages[!good] <- list(charToRaw("another"))
  expect_equal(mxc_ed25519_verify(key, messages, signatures), good)
  expect_equal(mxc_ed25519_verify(rep(key, 200), messages, signatures), good)
  expect_equal(mxc_ed25519_verify(key, list(), character()), logical())
  expect_error(
    mxc_ed25519_verify(key, messages, signatures[-1]),
    class = "mxc_error_argument"
  )
  expect_error(
    mxc_ed25519_verify(c(key, key), messages, signatures),
    class = "mxc_error_argument"
  )
})

test_that("a signed object may be written otherwise, and not say otherwise", {
  account <- mxc_account_new()
  key <- mxc_account_identity_keys(account)[["ed25519"]]
  sign <- function(json) mxc_json_sign(json, account, "@a:b", "ed25519:A")
  holds <- function(json) mxc_json_verify(json, "@a:b", "ed25519:A", key)
  signed <- sign('{"b": {"unknown": []}, "a": "\\u65e5", "unsigned": {"x": 1}}')
  expect_true(holds(signed))
  expect_equal(signed, mxc_canonical_json(signed))
  expect_equal(json_decode(signed)[["unsigned"]], list(x = 1L))

  expect_true(holds(sub('"x":1', '"x":2.5', signed, fixed = TRUE)))
  expect_true(holds(gsub(",", " ,\n", signed, fixed = TRUE)))
  expect_false(holds(sub("[]", "{}", signed, fixed = TRUE)))
  expect_false(holds(sub("unknown", "known", signed, fixed = TRUE)))
  expect_false(holds('{"b": {"unknown": []}, "a": "\\u65e5"}'))
  expect_false(holds('{"signatures": {}}'))
  expect_false(holds('{"signatures": {"@a:b": []}}'))
})

test_that("signing keeps the signatures of others", {
  account <- mxc_account_new()
  text <- '{"signatures":{"@c:d":{"ed25519:X":"abc"},"@a:b":{"ed25519:Y":"def"}}}'
  signed <- mxc_json_sign(text, account, "@a:b", "ed25519:A")
  signatures <- json_decode(signed)[["signatures"]]
  expect_equal(signatures[["@c:d"]], list("ed25519:X" = "abc"))
  expect_equal(signatures[["@a:b"]][["ed25519:Y"]], "def")
  expect_equal(nchar(signatures[["@a:b"]][["ed25519:A"]]), 86L)
})

test_that("an R value is signed as the JSON it stands for", {
  account <- mxc_account_new()
  key <- mxc_account_identity_keys(account)[["ed25519"]]
  signed <- mxc_json_sign(list(n = 1, l = I("x")), account, "@a:b", "ed25519:A")
  expect_match(signed, '^\\{"l":\\["x"\\],"n":1,')
  expect_true(mxc_json_verify(signed, "@a:b", "ed25519:A", key))
})

test_that("only an object in canonical numbers is signed, and checked", {
  account <- mxc_account_new()
  key <- mxc_account_identity_keys(account)[["ed25519"]]
  odd <- c(
    "[]",
    "5",
    '"x"',
    "null",
    "",
    "{",
    '{"a":1,"a":2}',
    '{"signatures":5}'
  )
  odd <- c(odd, '{"signatures":{"@a:b":5}}')
  numbers <- c("1.5", "-0", "1e1", "1.0", "9007199254740992", "1e400")
  for (json in c(odd, sprintf('{"n":%s}', numbers))) {
    expect_error(
      mxc_json_sign(json, account, "@a:b", "ed25519:A"),
      class = "mxc_error_json"
    )
  }
  signature <- mxc_account_sign(account, '{"n":1}')
  for (number in numbers) {
    json <- sprintf(
      '{"n":%s,"signatures":{"@a:b":{"ed25519:A":"%s"}}}',
      number,
      signature
    )
    expect_error(
      mxc_json_verify(json, "@a:b", "ed25519:A", key),
      class = "mxc_error_json"
    )
  }
})

test_that("an account of a store signs too", {
  pair <- demo_pair()
  account <- mx_crypto_account(pair$alice$store_dir)
  key <- mxc_account_identity_keys(account)[["ed25519"]]
  bytes <- as.raw(c(0, 1))
  expect_true(mxc_ed25519_verify(key, bytes, mxc_account_sign(account, bytes)))
  signed <- mxc_json_sign('{"n":1}', account, "@a:b", "ed25519:A")
  expect_true(mxc_json_verify(signed, "@a:b", "ed25519:A", key))
})

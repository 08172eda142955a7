test_that("two sides talk, and go on after their sessions were pickled", {
  pair <- olm_pair()
  expect_equal(pair[["first"]][["type"]], 0L)
  expect_type(pair[["first"]][["type"]], "integer")
  expect_equal(rawToChar(pair[["plaintext"]]), "first")
  expect_equal(mxc_olm_session_id(pair[["a"]]), mxc_olm_session_id(pair[["b"]]))

  reply <- mxc_olm_encrypt(pair[["b"]], "second")
  expect_equal(reply[["type"]], 1L)
  expect_equal(read_olm(pair[["a"]], reply), "second")
  third <- mxc_olm_encrypt(pair[["a"]], "third")
  expect_equal(third[["type"]], 1L)

  b <- mxc_olm_session_unpickle(
    mxc_olm_session_pickle(pair[["b"]], pickle_key),
    pickle_key
  )
  a <- mxc_olm_session_unpickle(
    mxc_olm_session_pickle(pair[["a"]], pickle_key),
    pickle_key
  )
  expect_equal(read_olm(b, third), "third")
  expect_equal(read_olm(a, mxc_olm_encrypt(b, "fourth")), "fourth")
  expect_equal(mxc_olm_session_id(b), mxc_olm_session_id(pair[["b"]]))
})

test_that("bodies are written unpadded, and read with and without padding", {
  lengths <- integer()
  for (size in 1:48) {
    pair <- olm_pair()
    message <- mxc_olm_encrypt(pair[["a"]], strrep("x", size))
    expect_match(message[["body"]], "^[A-Za-z0-9+/]+$")
    lengths <- c(lengths, nchar(message[["body"]]) %% 4)
    if (size %% 2 == 0) {
      message[["body"]] <- padded(message[["body"]])
    }
    expect_equal(read_olm(pair[["b"]], message), strrep("x", size))
  }
  # All the lengths base64 can have were there.
  expect_setequal(lengths, c(0, 2, 3))
})

test_that("pre-key messages of every length open a session, padded or not", {
  bob <- mxc_account_new()
  mxc_account_generate_one_time_keys(bob, 48)
  keys <- mxc_account_one_time_keys(bob)
  for (i in seq_along(keys)) {
    alice <- mxc_account_new()
    own <- mxc_account_identity_keys(bob)[["curve25519"]]
    session <- mxc_olm_create_outbound(alice, padded(own), keys[[i]])
    body <- mxc_olm_encrypt(session, strrep("x", i))[["body"]]
    opened <- mxc_olm_create_inbound(
      bob,
      mxc_account_identity_keys(alice)[["curve25519"]],
      if (i %% 2 == 0) padded(body) else body
    )
    expect_equal(rawToChar(opened[["plaintext"]]), strrep("x", i))
  }
})

test_that("later pre-key messages are read by the session that is there", {
  pair <- olm_pair()
  second <- mxc_olm_encrypt(pair[["a"]], "second")
  third <- mxc_olm_encrypt(pair[["a"]], "third")
  expect_equal(c(second[["type"]], third[["type"]]), c(0L, 0L))
  # Out of order, too. The one-time key is used up: no second session opens.
  expect_equal(read_olm(pair[["b"]], third), "third")
  expect_error(
    mxc_olm_create_inbound(
      pair[["bob"]],
      mxc_account_identity_keys(pair[["alice"]])[["curve25519"]],
      second[["body"]]
    ),
    class = "mxc_error_olm"
  )
  expect_equal(read_olm(pair[["b"]], second), "second")
})

test_that("a message is read once", {
  pair <- olm_pair()
  expect_error(read_olm(pair[["b"]], pair[["first"]]), class = "mxc_error_olm")
  reply <- mxc_olm_encrypt(pair[["b"]], "reply")
  expect_equal(read_olm(pair[["a"]], reply), "reply")
  expect_error(read_olm(pair[["a"]], reply), class = "mxc_error_olm")
})

test_that("a session that met garbage reads on", {
  pair <- olm_pair()
  good <- mxc_olm_encrypt(pair[["b"]], "good")
  for (body in c(altered(good[["body"]]), "AAAA", "", "%s%n", "-_-_")) {
    expect_error(
      mxc_olm_decrypt(pair[["a"]], 1, body),
      class = "mxc_error_olm"
    )
  }
  expect_equal(read_olm(pair[["a"]], good), "good")
})

test_that("a pre-key message that fails leaves the one-time key in place", {
  alice <- mxc_account_new()
  bob <- mxc_account_new()
  mxc_account_generate_one_time_keys(bob, 1)
  session <- mxc_olm_create_outbound(
    alice,
    mxc_account_identity_keys(bob)[["curve25519"]],
    mxc_account_one_time_keys(bob)[[1]]
  )
  body <- mxc_olm_encrypt(session, "hello")[["body"]]
  sender <- mxc_account_identity_keys(alice)[["curve25519"]]
  other <- mxc_account_identity_keys(mxc_account_new())[["curve25519"]]
  last <- nchar(body) - 4
  for (bad in list(c(sender, altered(body, last)), c(other, body))) {
    expect_error(
      mxc_olm_create_inbound(bob, bad[[1]], bad[[2]]),
      class = "mxc_error_olm"
    )
  }
  opened <- mxc_olm_create_inbound(bob, sender, body)
  expect_equal(rawToChar(opened[["plaintext"]]), "hello")
  expect_error(
    mxc_olm_create_inbound(bob, sender, body),
    class = "mxc_error_olm"
  )
})

test_that("a used one-time key stays used in the pickle of the account", {
  pair <- olm_pair()
  again <- mxc_account_unpickle(
    mxc_account_pickle(pair[["bob"]], pickle_key),
    pickle_key
  )
  expect_error(
    mxc_olm_create_inbound(
      again,
      mxc_account_identity_keys(pair[["alice"]])[["curve25519"]],
      pair[["first"]][["body"]]
    ),
    class = "mxc_error_olm"
  )
})

test_that("keys of the wrong length, spelling or order open no session", {
  account <- mxc_account_new()
  good <- mxc_account_identity_keys(mxc_account_new())[["curve25519"]]
  bad <- c(
    "",
    "AAAA",
    substr(good, 1, 42),
    paste0(good, "A"),
    # A second spelling: two bits behind the last byte are set.
    paste0(strrep("A", 42), "B"),
    paste0(strrep("A", 42), "-"),
    "%s%s%n"
  )
  for (key in bad) {
    expect_error(
      mxc_olm_create_outbound(account, key, good),
      class = "mxc_error_encoding"
    )
    expect_error(
      mxc_olm_create_outbound(account, good, key),
      class = "mxc_error_encoding"
    )
  }
  # With this key the shared secret would be the same for everybody.
  zero <- strrep("A", 43)
  expect_error(
    mxc_olm_create_outbound(account, zero, good),
    class = "mxc_error_olm"
  )
  expect_error(
    mxc_olm_create_outbound(account, good, zero),
    class = "mxc_error_olm"
  )
})

test_that("messages are of type 0 or 1", {
  pair <- olm_pair()
  body <- mxc_olm_encrypt(pair[["b"]], "x")[["body"]]
  for (type in list(2, -1, 0.5, NA, "1", TRUE, NULL, c(1, 1), Inf)) {
    expect_error(mxc_olm_decrypt(pair[["a"]], type, body), class = "mxc_error")
  }
  expect_equal(mxc_olm_decrypt(pair[["a"]], 1L, body), charToRaw("x"))
})

test_that("a plaintext is one message, of any bytes", {
  pair <- olm_pair()
  bytes <- as.raw(c(0, 255, 0, 37))
  for (plaintext in list(bytes, raw(), charToRaw("x"), list(bytes))) {
    message <- mxc_olm_encrypt(pair[["a"]], plaintext)
    read <- mxc_olm_decrypt(pair[["b"]], message[["type"]], message[["body"]])
    expect_equal(read, unlist(plaintext))
  }
  latin1 <- iconv("caf\u00e9", "UTF-8", "latin1")
  message <- mxc_olm_encrypt(pair[["a"]], latin1)
  read <- mxc_olm_decrypt(pair[["b"]], message[["type"]], message[["body"]])
  expect_equal(read, charToRaw("caf\u00e9"))
  for (odd in list(c("a", "b"), character(), NULL, NA_character_, 5, list())) {
    expect_error(
      mxc_olm_encrypt(pair[["a"]], odd),
      class = "mxc_error_argument"
    )
  }
})

test_that("a pickle of one kind is not taken for another", {
  held <- handles()
  pickles <- list(
    mxc_account_pickle(held[["mxc_account"]], pickle_key),
    mxc_olm_session_pickle(held[["mxc_olm_session"]], pickle_key),
    mxc_megolm_outbound_pickle(held[["mxc_megolm_outbound"]], pickle_key),
    mxc_megolm_inbound_pickle(held[["mxc_megolm_inbound"]], pickle_key)
  )
  unpickle <- list(
    mxc_account_unpickle,
    mxc_olm_session_unpickle,
    mxc_megolm_outbound_unpickle,
    mxc_megolm_inbound_unpickle
  )
  for (i in seq_along(pickles)) {
    expect_s3_class(unpickle[[i]](pickles[[i]], pickle_key), names(held)[[i]])
    for (j in setdiff(seq_along(pickles), i)) {
      expect_error(
        unpickle[[j]](pickles[[i]], pickle_key),
        class = "mxc_error_pickle"
      )
    }
    expect_error(
      unpickle[[i]](pickles[[i]], rev(pickle_key)),
      class = "mxc_error_pickle"
    )
    expect_error(
      unpickle[[i]](pickles[[i]], raw(16)),
      class = "mxc_error_argument"
    )
  }
})

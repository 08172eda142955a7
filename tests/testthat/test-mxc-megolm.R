test_that("a session tells its id, key and next index", {
  session <- mxc_megolm_outbound_new()
  info <- mxc_megolm_outbound_info(session)
  expect_named(info, c("session_id", "session_key", "message_index"))
  expect_equal(nchar(info[["session_id"]]), 43L)
  expect_identical(info[["message_index"]], 0L)
  expect_equal(mxc_megolm_session_id(session), info[["session_id"]])
  expect_equal(mxc_megolm_message_index(session), 0L)
  receiver <- mxc_megolm_inbound_new(info[["session_key"]])
  expect_equal(
    mxc_megolm_inbound_info(receiver),
    list(session_id = info[["session_id"]], first_known_index = 0L)
  )
  mxc_megolm_encrypt(session, "x")
  expect_equal(mxc_megolm_message_index(session), 1L)
  expect_equal(mxc_megolm_session_id(session), info[["session_id"]])
})

test_that("each plaintext takes the next index, alone or in a batch", {
  sender <- mxc_megolm_outbound_new()
  receiver <- mxc_megolm_inbound_new(mxc_megolm_session_key(sender))
  one <- mxc_megolm_encrypt(sender, "zero")
  more <- mxc_megolm_encrypt(sender, c("one", "tw\u00f6"))
  raws <- mxc_megolm_encrypt(sender, list(as.raw(c(0, 255)), raw()))
  expect_match(c(one, more, raws), "^[A-Za-z0-9+/]+$")
  expect_equal(mxc_megolm_message_index(sender), 5L)

  read <- mxc_megolm_decrypt(receiver, one)
  expect_identical(
    read,
    list(plaintext = charToRaw("zero"), message_index = 0L)
  )
  rows <- mxc_megolm_decrypt(receiver, c(raws, more))
  expect_s3_class(rows, "data.frame")
  expect_named(rows, c("plaintext", "message_index", "error"))
  expect_identical(rows[["message_index"]], c(3L, 4L, 1L, 2L))
  expect_identical(
    rows[["plaintext"]],
    list(
      as.raw(c(0, 255)),
      raw(),
      charToRaw("one"),
      charToRaw("tw\u00f6")
    )
  )
  expect_identical(rows[["error"]], rep(NA_character_, 4))
  expect_identical(mxc_megolm_encrypt(sender, character()), character())
  expect_equal(nrow(mxc_megolm_decrypt(receiver, character())), 0L)
})

test_that("a bad ciphertext among good ones costs its own row", {
  sender <- mxc_megolm_outbound_new()
  receiver <- mxc_megolm_inbound_new(mxc_megolm_session_key(sender))
  good <- mxc_megolm_encrypt(sender, c("a", "b"))
  foreign <- mxc_megolm_encrypt(mxc_megolm_outbound_new(), "c")
  bad <- c(foreign, altered(good[[1]]), "", "AAAA", "100% %s%n", "-_-_")
  rows <- mxc_megolm_decrypt(receiver, c(good[[1]], bad, good[[2]]))
  failed <- !is.na(rows[["error"]])
  expect_equal(failed, c(FALSE, rep(TRUE, length(bad)), FALSE))
  expect_true(all(nzchar(rows[["error"]][failed])))
  expect_equal(is.na(rows[["message_index"]]), failed)
  expect_equal(vapply(rows[["plaintext"]], is.null, NA), failed)
  for (ciphertext in bad) {
    expect_error(
      mxc_megolm_decrypt(receiver, ciphertext),
      class = "mxc_error_megolm"
    )
  }
})

test_that("padding is accepted in ciphertexts and keys", {
  for (size in 1:16) {
    sender <- mxc_megolm_outbound_new()
    receiver <- mxc_megolm_inbound_new(padded(mxc_megolm_session_key(sender)))
    ciphertext <- mxc_megolm_encrypt(sender, strrep("x", size * 7))
    read <- mxc_megolm_decrypt(receiver, padded(ciphertext))
    expect_equal(rawToChar(read[["plaintext"]]), strrep("x", size * 7))
  }
})

test_that("a key opens from its index on, and the same session", {
  sender <- mxc_megolm_outbound_new()
  ciphertexts <- mxc_megolm_encrypt(sender, c("0", "1"))
  late <- mxc_megolm_inbound_new(mxc_megolm_outbound_info(sender)$session_key)
  ciphertexts <- c(ciphertexts, mxc_megolm_encrypt(sender, "2"))
  info <- mxc_megolm_inbound_info(late)
  expect_identical(info[["first_known_index"]], 2L)
  expect_equal(info[["session_id"]], mxc_megolm_session_id(sender))
  rows <- mxc_megolm_decrypt(late, ciphertexts)
  expect_equal(is.na(rows[["error"]]), c(FALSE, FALSE, TRUE))
  expect_equal(mxc_megolm_decrypt(late, ciphertexts[[3]])$message_index, 2L)
})

test_that("both sides go on after pickling", {
  sender <- mxc_megolm_outbound_new()
  receiver <- mxc_megolm_inbound_new(mxc_megolm_session_key(sender))
  first <- mxc_megolm_encrypt(sender, "first")
  sender <- mxc_megolm_outbound_unpickle(
    mxc_megolm_outbound_pickle(sender, pickle_key),
    pickle_key
  )
  receiver <- mxc_megolm_inbound_unpickle(
    mxc_megolm_inbound_pickle(receiver, pickle_key),
    pickle_key
  )
  expect_equal(mxc_megolm_message_index(sender), 1L)
  second <- mxc_megolm_encrypt(sender, "second")
  rows <- mxc_megolm_decrypt(receiver, c(second, first))
  expect_equal(rows[["message_index"]], c(1L, 0L))
})

test_that("what is no session key is refused", {
  key <- mxc_megolm_session_key(mxc_megolm_outbound_new())
  odd <- c(
    "",
    "AAAA",
    "%s%n",
    altered(key),
    altered(key, 5),
    substr(key, 1, 99)
  )
  for (text in odd) {
    expect_error(mxc_megolm_inbound_new(text), class = "mxc_error_megolm")
  }
  for (value in list(NULL, NA_character_, 1, raw(8), c(key, key), list(key))) {
    expect_error(mxc_megolm_inbound_new(value), class = "mxc_error_argument")
  }
})

test_that("printing tells nothing that is secret", {
  sender <- mxc_megolm_outbound_new()
  receiver <- mxc_megolm_inbound_new(mxc_megolm_session_key(sender))
  key <- mxc_megolm_session_key(sender)
  shown <- c(
    capture.output(print(sender), print(receiver), str(sender), str(receiver)),
    format(sender),
    deparse(sender)
  )
  expect_false(any(grepl(substr(key, 20, 60), shown, fixed = TRUE)))
  expect_match(format(sender), "next index: 0", all = FALSE)
  expect_match(
    format(receiver),
    mxc_megolm_session_id(sender),
    all = FALSE,
    fixed = TRUE
  )
})

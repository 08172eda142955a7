test_that("a new account has two keys of 43 characters, and prints them", {
  account <- mxc_account_new()
  expect_s3_class(account, c("mxc_account", "mxc_handle"), exact = TRUE)
  keys <- mxc_account_identity_keys(account)
  expect_named(keys, c("curve25519", "ed25519"))
  expect_equal(nchar(unlist(keys, use.names = FALSE)), c(43L, 43L))
  expect_match(unlist(keys), "^[A-Za-z0-9+/]{43}$")
  expect_equal(
    format(account),
    c("<mxc_account>", paste0(names(keys), ": ", unlist(keys)))
  )
  expect_output(expect_invisible(print(account)), "<mxc_account>")
})

test_that("each account is another one", {
  keys <- replicate(20, mxc_account_identity_keys(mxc_account_new()))
  expect_false(anyDuplicated(unlist(keys)) > 0)
})

test_that("one-time keys are made, told until published, and never named twice", {
  account <- mxc_account_new()
  expect_length(mxc_account_one_time_keys(account), 0)
  expect_null(expect_invisible(mxc_account_generate_one_time_keys(account, 3)))
  first <- mxc_account_one_time_keys(account)
  expect_length(unique(names(first)), 3)
  expect_match(unlist(first), "^[A-Za-z0-9+/]{43}$")
  expect_null(expect_invisible(mxc_account_mark_published(account)))
  expect_length(mxc_account_one_time_keys(account), 0)

  mxc_account_generate_one_time_keys(account, 2)
  second <- mxc_account_one_time_keys(account)
  expect_length(second, 2)
  expect_length(intersect(names(first), names(second)), 0)
  expect_length(intersect(unlist(first), unlist(second)), 0)
})

test_that("a number of keys that makes no sense is refused", {
  account <- mxc_account_new()
  for (n in list(-1, 5001, 1.5, NA, NA_real_, NULL, "3", Inf, c(1, 2), 2^60)) {
    expect_error(
      mxc_account_generate_one_time_keys(account, n),
      class = "mxc_error_argument"
    )
  }
  mxc_account_generate_one_time_keys(account, 0)
  expect_length(mxc_account_one_time_keys(account), 0)
})

test_that("a fallback key is new each time, and its predecessor kept for a while", {
  account <- mxc_account_new()
  first <- mxc_account_fallback_key(account)
  expect_named(first, c("key_id", "curve25519"))
  expect_equal(nchar(first[["curve25519"]]), 43L)
  expect_false(mxc_account_forget_fallback_key(account))
  second <- mxc_account_fallback_key(account)
  expect_false(first[["curve25519"]] == second[["curve25519"]])
  expect_false(first[["key_id"]] == second[["key_id"]])

  open_with <- function(key) {
    sender <- mxc_account_new()
    own <- mxc_account_identity_keys(account)[["curve25519"]]
    message <- mxc_olm_encrypt(mxc_olm_create_outbound(sender, own, key), "x")
    sender_key <- mxc_account_identity_keys(sender)[["curve25519"]]
    mxc_olm_create_inbound(account, sender_key, message[["body"]])
  }
  expect_equal(open_with(first[["curve25519"]])[["plaintext"]], charToRaw("x"))
  expect_true(mxc_account_forget_fallback_key(account))
  expect_false(mxc_account_forget_fallback_key(account))
  expect_error(open_with(first[["curve25519"]]), class = "mxc_error_olm")
  # A fallback key is not used up.
  for (i in 1:2) {
    opened <- open_with(second[["curve25519"]])
    expect_equal(opened[["plaintext"]], charToRaw("x"))
  }
})

test_that("signatures are 86 characters, one for each message, and hold", {
  account <- mxc_account_new()
  key <- mxc_account_identity_keys(account)[["ed25519"]]
  texts <- c("one", "", "d\u00e9j\u00e0 vu", "\U0001f600", "100% %s%n")
  signatures <- mxc_account_sign(account, texts)
  expect_equal(nchar(signatures), rep(86L, 5))
  expect_equal(
    mxc_ed25519_verify(key, lapply(texts, charToRaw), signatures),
    rep(TRUE, 5)
  )
  bytes <- as.raw(c(0, 255, 0))
  expect_true(mxc_ed25519_verify(key, bytes, mxc_account_sign(account, bytes)))
  expect_equal(
    mxc_account_sign(account, list(charToRaw("one"), bytes)),
    c(signatures[[1]], mxc_account_sign(account, bytes))
  )
  expect_equal(mxc_account_sign(account, character()), character())
})

test_that("what is signed is UTF-8, in whatever encoding the text came", {
  account <- mxc_account_new()
  utf8 <- "caf\u00e9"
  latin1 <- iconv(utf8, "UTF-8", "latin1")
  expect_false(identical(charToRaw(utf8), charToRaw(latin1)))
  expect_equal(
    mxc_account_sign(account, latin1),
    mxc_account_sign(account, utf8)
  )
})

test_that("a pickle keeps identity and keys", {
  account <- mxc_account_new()
  mxc_account_generate_one_time_keys(account, 2)
  pickle <- mxc_account_pickle(account, pickle_key)
  expect_match(pickle, "^[A-Za-z0-9+/]+$")
  again <- mxc_account_unpickle(pickle, pickle_key)
  expect_s3_class(again, "mxc_account")
  expect_equal(
    mxc_account_identity_keys(again),
    mxc_account_identity_keys(account)
  )
  expect_equal(
    mxc_account_one_time_keys(again),
    mxc_account_one_time_keys(account)
  )
  expect_equal(mxc_account_sign(again, "x"), mxc_account_sign(account, "x"))
  # Padding is tolerated, as in a file that another package wrote.
  expect_s3_class(
    mxc_account_unpickle(padded(pickle), pickle_key),
    "mxc_account"
  )
})

test_that("a pickle opens with its own key alone, whole and unchanged", {
  pickle <- mxc_account_pickle(mxc_account_new(), pickle_key)
  expect_error(
    mxc_account_unpickle(pickle, rev(pickle_key)),
    class = "mxc_error_pickle"
  )
  for (odd in c("", "AAAA", "%s%n", altered(pickle), substr(pickle, 1, 200))) {
    expect_error(
      mxc_account_unpickle(odd, pickle_key),
      class = "mxc_error_pickle"
    )
  }
})

test_that("a pickle key is 32 raw bytes", {
  account <- mxc_account_new()
  pickle <- mxc_account_pickle(account, pickle_key)
  for (key in list(raw(31), raw(33), raw(0), NULL, strrep("k", 32), 1:32, NA)) {
    expect_error(mxc_account_pickle(account, key), class = "mxc_error_argument")
    expect_error(
      mxc_account_unpickle(pickle, key),
      class = "mxc_error_argument"
    )
  }
})

test_that("a file opens with what came with it", {
  bytes <- list(raw(), as.raw(0:255), charToRaw("caf\u00e9"))
  sealed <- mxc_attachment_encrypt(bytes)
  expect_length(sealed$file, 3)
  expect_equal(lengths(sealed$ciphertext), lengths(bytes))
  opened <- mxc_attachment_decrypt(sealed$ciphertext, sealed$file)
  expect_identical(opened$plaintext, bytes)
  expect_true(all(is.na(opened$error)))
  one <- mxc_attachment_encrypt("x")
  expect_equal(
    mxc_attachment_decrypt(one$ciphertext[[1]], one$file),
    charToRaw("x")
  )
  as_list <- json_decode(one$file)
  expect_equal(
    mxc_attachment_decrypt(one$ciphertext[[1]], as_list),
    charToRaw("x")
  )
  expect_null(as_list[["url"]])
})

test_that("padded and unpadded base64 are read, and unpadded is written", {
  one <- mxc_attachment_encrypt("x")
  file <- json_decode(one$file)
  expect_false(grepl("=", one$file, fixed = TRUE))
  file[["iv"]] <- paste0(file[["iv"]], "==")
  file[["hashes"]][["sha256"]] <- paste0(file[["hashes"]][["sha256"]], "=")
  file[["key"]][["k"]] <- paste0(file[["key"]][["k"]], "=")
  expect_equal(
    mxc_attachment_decrypt(one$ciphertext[[1]], file),
    charToRaw("x")
  )
})

test_that("an altered file is refused, and the others are read", {
  sealed <- mxc_attachment_encrypt(c("one", "two"))
  altered <- sealed$ciphertext
  altered[[1]][[1]] <- xor(altered[[1]][[1]], as.raw(1))
  opened <- mxc_attachment_decrypt(altered, sealed$file)
  expect_null(opened$plaintext[[1]])
  expect_match(opened$error[[1]], "refused", fixed = TRUE)
  expect_equal(opened$plaintext[[2]], charToRaw("two"))
  expect_error(
    mxc_attachment_decrypt(altered[[1]], sealed$file[[1]]),
    class = "mxc_error_attachment"
  )
  for (bad in c("", "[]", "{}", "nonsense")) {
    expect_error(
      mxc_attachment_decrypt(altered[[1]], bad),
      class = "mxc_error_attachment"
    )
  }
  expect_error(
    mxc_attachment_decrypt(altered, sealed$file[[1]]),
    class = "mxc_error_argument"
  )
  expect_error(mxc_attachment_decrypt("x", 3), class = "mxc_error_argument")
  expect_error(mxc_attachment_encrypt(3), class = "mxc_error_argument")
})

# AES-256 in counter mode with an iv whose lower half overflows, made with OpenSSL:
# `openssl enc -aes-256-ctr -K 07..07 -iv 0000000000000000ffffffffffffffff`, as
# matrix-rust-sdk and Element do it.
test_that("a counter that overflows agrees with other clients", {
  file <- list(
    v = "v2",
    key = list(
      kty = "oct",
      alg = "A256CTR",
      ext = TRUE,
      key_ops = I(c("encrypt", "decrypt")),
      k = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"
    ),
    iv = "AAAAAAAAAAD//////////w",
    hashes = list(sha256 = "+Ol1D6CkyZdt3xHz1ETJRkJQjG+dgpgUts9kNmCRne8")
  )
  ciphertext <- jsonlite::base64_dec(
    "HsSlbh6RuQ33LMjvAVZYLJLLH7DdNVMw2eIFZZH+q7LvuyLhvTd9Ius7rae8+WiQ"
  )
  expect_equal(
    rawToChar(mxc_attachment_decrypt(ciphertext, file)),
    "forty-eight bytes that reach into a third block!"
  )
})

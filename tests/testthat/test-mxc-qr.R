key <- function() mxc_account_identity_keys(mxc_account_new())[["ed25519"]]

bytes_of <- function(base64) jsonlite::base64_dec(paste0(base64, "="))

test_that("a code is what the specification says, byte for byte", {
  first <- key()
  second <- key()
  secret <- as.raw(0x20:0x27)
  modes <- c("user", "trusted_device", "untrusted_device")
  for (mode in modes) {
    bytes <- mxc_qr_encode(mode, "$ABCD\u00e9", first, second, secret)
    expect_identical(
      bytes,
      c(
        charToRaw("MATRIX"),
        as.raw(c(2, match(mode, modes) - 1, 0, 7)),
        charToRaw("$ABCD\u00e9"),
        bytes_of(first),
        bytes_of(second),
        secret
      )
    )
    expect_identical(
      mxc_qr_decode(bytes),
      list(
        mode = mode,
        flow_id = "$ABCD\u00e9",
        first_key = first,
        second_key = second,
        secret = secret
      )
    )
  }
  # The specification's own example, whose keys are no points of the curve.
  example <- c(
    charToRaw("MATRIX"),
    as.raw(c(2, 0, 0, 5)),
    charToRaw("$ABCD"),
    as.raw(c(0:31, 16:47, 32:39))
  )
  read <- mxc_qr_decode(example)
  expect_match(read$first_key, "^AAECAwQFBg")
  expect_match(read$second_key, "^EBESExQVFh")
  expect_identical(jsonlite::base64_enc(read$secret), "ICEiIyQlJic=")
})

test_that("each code has a secret of its own", {
  new <- function() mxc_qr_decode(mxc_qr_encode("user", "$a", mine, mine))
  mine <- key()
  secrets <- list(new()$secret, new()$secret)
  expect_length(secrets[[1]], 16)
  expect_false(identical(secrets[[1]], secrets[[2]]))
})

test_that("what is no code is refused, with the reason", {
  good <- mxc_qr_encode("user", "$a", key(), key())
  refused <- function(bytes, why) {
    condition <- expect_error(mxc_qr_decode(bytes), class = "mxc_error_qr_code")
    expect_match(conditionMessage(condition), why)
  }
  refused(raw(), "no QR code")
  refused(charToRaw("https://example.org"), "no QR code")
  refused(replace(good, 7, as.raw(3)), "version 3")
  refused(replace(good, 8, as.raw(3)), "mode, 3")
  refused(replace(good, 9, as.raw(255)), "too early")
  refused(head(good, -16), "secret")
  expect_error(
    mxc_qr_encode("user", "$a", key(), key(), raw(7)),
    class = "mxc_error_qr_code"
  )
  expect_error(
    mxc_qr_encode("other", "$a", key(), key()),
    class = "mxc_error_argument"
  )
  expect_error(
    mxc_qr_encode("user", "$a", "x", key()),
    class = "mxc_error_encoding"
  )
})

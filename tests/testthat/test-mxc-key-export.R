test_that("what is encrypted comes back, with any passphrase", {
  text <- "[{\"room_id\": \"!caf\u00e9:here\"}]"
  for (passphrase in c(
    "correct horse",
    "p\u00e4ss \U1F511",
    strrep("x", 1000)
  )) {
    file <- mxc_key_export_encrypt(text, passphrase, 10)
    expect_match(file, "^-----BEGIN MEGOLM SESSION DATA-----\n")
    expect_match(file, "\n-----END MEGOLM SESSION DATA-----\n$")
    expect_identical(mxc_key_export_decrypt(file, passphrase), text)
  }
})

test_that("a passphrase counts as UTF-8, whatever its encoding", {
  latin1 <- "p\xe4ss"
  Encoding(latin1) <- "latin1"
  file <- mxc_key_export_encrypt("[]", latin1, 10)
  expect_identical(mxc_key_export_decrypt(file, "p\u00e4ss"), "[]")
})

test_that("files are refused for what they are", {
  file <- mxc_key_export_encrypt("[]", "x", 10)
  for (bad in c("", "x", substr(file, 1, 60), sub("\n[A-Za-z]", "\n!", file))) {
    expect_error(
      mxc_key_export_decrypt(bad, "x"),
      class = "mxc_error_key_export"
    )
  }
  expect_error(mxc_key_export_decrypt(file, "y"), "passphrase is wrong")
  for (rounds in c(0, 1e9)) {
    expect_error(
      mxc_key_export_encrypt("[]", "x", rounds),
      class = "mxc_error_key_export"
    )
  }
})

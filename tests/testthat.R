# testthat is only suggested.
if (requireNamespace("testthat", quietly = TRUE)) {
  library(testthat)
  library(mxcrypt)

  test_check("mxcrypt")
}

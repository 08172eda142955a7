library(testthat)
library(mxcrypt)

test_check("mxcrypt")

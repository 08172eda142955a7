# The licences of the Rust crates, which travel with the compiled library.

test_that("every crate that is compiled is listed with its licence", {
  lock <- test_path("..", "..", "src", "rust", "Cargo.lock")
  skip_if_not(file.exists(lock), "installed without its sources")
  lines <- readLines(lock)
  text <- strsplit(paste(lines, collapse = "\n"), "[[package]]", fixed = TRUE)
  entries <- grep("\nsource = ", text[[1]], value = TRUE)
  field <- function(name) {
    sub(
      sprintf("(?s).*\n%s = \"([^\"]+)\".*", name),
      "\\1",
      entries,
      perl = TRUE
    )
  }
  crates <- paste(field("name"), field("version"))
  expect_gt(length(crates), 100)
  # Never compiled: the one is for another arithmetic, the other for UEFI.
  crates <- grep("^(fiat-crypto|r-efi) ", crates, value = TRUE, invert = TRUE)
  authors <- readLines(system.file("AUTHORS", package = "mxcrypt"))
  listed <- grep("^[a-z][a-zA-Z0-9_-]* [0-9][^ ,]*, .", authors, value = TRUE)
  expect_setequal(sub(",.*", "", listed), crates)
  licence <- sub("^[^,]*, ", "", listed)
  expect_no_match(licence, "see its licence file|GPL|AGPL|SSPL")
})

# The helpers of the live tests: their server and their clients.
for (file in list.files("../live", "^helper.*[.]R$", full.names = TRUE)) {
  source(file, local = TRUE)
}

# Decrypts the events of a partition: lines come, each a word, a tab and JSON, and lines of JSON go.

# Sets of keys are joined by a method of this package.
library(mxcrypt)

stdin <- file("stdin")
lines <- readLines(stdin, encoding = "UTF-8")
close(stdin)
json <- split(sub("^[a-z]+\t", "", lines), sub("\t.*$", "", lines))
sets <- lapply(json[["keys"]], function(line) {
  unserialize(jsonlite::base64_dec(jsonlite::fromJSON(line)[["keys"]]))
})
# A partition may be empty.
if (length(sets) > 0L) {
  keys <- do.call(c, sets)
  read <- mx_decrypt(json[["event"]], keys, flat = TRUE, threads = 1)
  # What this process was given.
  read[["pid"]] <- Sys.getpid()
  read[["rooms_of_keys"]] <- paste(unique(keys[["room_id"]]), collapse = " ")
  jsonlite::stream_out(
    read,
    stdout(),
    verbose = FALSE,
    digits = NA,
    POSIXt = "epoch"
  )
}

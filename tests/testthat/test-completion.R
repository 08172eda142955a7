# What the console completes behind `$`, and in calls.

# As the console does it: the text before the cursor, with the objects in `scope`.
completed <- function(text, scope) {
  # The console looks in the global environment.
  old <- intersect(names(scope), ls(globalenv()))
  stopifnot(length(old) == 0)
  list2env(scope, globalenv())
  withr::defer(rm(list = names(scope), envir = globalenv()))
  utils:::.assignLinebuffer(text)
  utils:::.assignEnd(nchar(text))
  utils:::.guessTokenFromLine()
  utils:::.completeToken()
  utils:::.retrieveCompletions()
}

test_that("each object offers its parts, and what cannot be used is not offered", {
  skip_without_promises()
  objects <- printed_objects()
  offered <- lapply(objects, function(x) {
    parts <- sub("^mxc_x[$]", "", completed("mxc_x$", list(mxc_x = x)))
    parts[nzchar(parts)]
  })
  named <- c(
    "mx_client",
    "mx_session",
    "mx_stored",
    "mx_sync_batch",
    "mx_crypto_setup",
    "mx_crypto_status",
    "mx_backup_status",
    "mx_doctor",
    "mx_verification",
    "mx_heartbeat",
    "mx_bot",
    "mx_command",
    "mx_listener",
    "mx_events",
    "mx_search",
    "mx_store_check",
    "mx_message"
  )
  for (class in named) {
    parts <- names(objects[[class]])
    expect_gt(length(parts), 0)
    expect_setequal(offered[[class]], parts)
  }
  # Methods of a listener.
  expect_true(all(c("stop", "status") %in% offered[["mx_listener"]]))
  for (class in setdiff(names(objects), named)) {
    expect_length(offered[[!!class]], 0)
  }
})

test_that("no part that is offered is a pointer or a secret", {
  skip_without_promises()
  for (x in printed_objects()) {
    if (is.list(x)) {
      for (name in utils::.DollarNames(x, "")) {
        expect_false(
          typeof(x[[name]]) == "externalptr",
          label = paste(class(x)[[1]], name)
        )
        expect_no_match(name, "token|password|passphrase|pickle")
      }
    }
  }
})

test_that("functions and their arguments are completed", {
  expect_true(
    "mxcrypt::mx_send_text" %in% completed("mxcrypt::mx_send_", list())
  )
  arguments <- completed("mxcrypt::mx_send_text(cli", list())
  expect_true("client=" %in% gsub(" ", "", arguments))
})

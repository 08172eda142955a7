test_that("a new recovery key is told once, with the call that saves it", {
  withr::local_options(cli.default_handler = NULL)
  told <- function(code) {
    text <- paste(capture.output(code, type = "message"), collapse = "\n")
    lengths(regmatches(text, gregexpr("mx_recovery_key_write", text)))
  }
  alice <- mx_demo_client(mx_demo_homeserver(), "alice", verified = FALSE)
  # Nobody prints what comes back.
  expect_equal(told(setup <- mx_crypto_setup(alice)), 1)
  expect_equal(told(mx_crypto_setup(alice)), 0)
  # The call that is told works, also where the result was not kept.
  file <- file.path(withr::local_tempdir(), "recovery.key")
  mx_recovery_key_write(mx_crypto_setup(alice)$recovery_key, file)
  key <- readLines(file)
  expect_equal(told(new <- mx_recovery_key_change(alice, key)), 1)
  mx_recovery_key_forget(new)
  expect_equal(
    told(reset <- mx_cross_signing_reset(alice, password = "demo")),
    1
  )
  mx_recovery_key_forget(reset$recovery_key)
  # With a passphrase there is none.
  bob <- mx_demo_client(mx_demo_homeserver(), "bob", verified = FALSE)
  expect_equal(told(mx_crypto_setup(bob, passphrase = "correct horse")), 0)
})

test_that("a recovery key that was made before a crash is told after it", {
  alice <- mx_demo_client(mx_demo_homeserver(), "alice", verified = FALSE)
  local({
    local_death(3, FALSE)
    expect_error(mx_crypto_setup(alice), class = "killed")
  })
  withr::local_options(cli.default_handler = NULL)
  told <- capture.output(mx_crypto_setup(alice), type = "message")
  expect_match(told, "mx_recovery_key_write", all = FALSE)
})

test_that("whatever shows a recovery key or a secret shows the mask", {
  skip_without_utf8()
  own <- with_recovery_key(mx_demo_homeserver())
  new <- mx_recovery_key_change(own$client, own$key)
  text <- format(new, reveal = TRUE)
  secret <- mx_secret_fetch(own$client, secret_names[["master"]], text)
  for (object in list(new, secret)) {
    shown <- c(
      as.character(object),
      paste(object),
      paste0("key: ", object),
      format(object),
      sprintf("%s", as.character(object)),
      capture.output(print(object)),
      capture.output(str(object)),
      capture.output(str(list(inside = object))),
      capture.output(print(list(inside = object)))
    )
    expect_no_match(shown, own$client$store_dir, fixed = TRUE)
    expect_no_match(shown, substr(text, 6, 14), fixed = TRUE)
    expect_no_match(shown, format(secret, reveal = TRUE), fixed = TRUE)
    expect_no_match(shown, "pointer|store_dir")
    expect_match(as.character(object), "\u2022")
  }
  shown <- capture.output(cat(new))
  expect_match(shown, "\u2022")
  expect_no_match(shown, own$client$store_dir, fixed = TRUE)
})

test_that("a recovery key is read from a pipe", {
  skip_on_os("windows")
  own <- with_recovery_key(mx_demo_homeserver())
  pipe <- tempfile()
  close(fifo(pipe, "w+"))
  withr::defer(unlink(pipe))
  # As a password manager that writes to the shell's <(...).
  writer <- callr::r_bg(
    function(path, key) cat(key, file = path),
    list(pipe, own$key)
  )
  withr::defer(writer$kill())
  withr::local_envvar(MXCRYPT_RECOVERY_KEY_FILE = pipe)
  expect_s3_class(
    mx_secret_fetch(own$client, secret_names[["master"]]),
    "mx_secret"
  )
})

test_that("a recovery key is read as editors and shells leave it", {
  own <- with_recovery_key(mx_demo_homeserver())
  opens <- function(file) {
    withr::with_envvar(
      c(MXCRYPT_RECOVERY_KEY_FILE = file),
      expect_s3_class(
        mx_secret_fetch(own$client, secret_names[["master"]]),
        "mx_secret"
      )
    )
  }
  written <- function(bytes) {
    file <- tempfile()
    writeBin(bytes, file)
    withr::defer_parent(unlink(file))
    file
  }
  mark <- as.raw(c(0xef, 0xbb, 0xbf))
  plain <- charToRaw(own$key)
  opens(written(c(mark, plain, charToRaw("\r\n"))))
  opens(written(charToRaw(paste0("\"", own$key, "\"\n"))))
  opens(written(c(mark, charToRaw(paste0("'", own$key, "'")))))
  # Windows PowerShell writes UTF-16.
  wide <- as.raw(rbind(as.integer(plain), 0L))
  opens(written(c(as.raw(c(0xff, 0xfe)), wide)))
  expect_s3_class(
    mx_secret_fetch(
      own$client,
      secret_names[["master"]],
      paste0("\u201c", own$key, "\u201d")
    ),
    "mx_secret"
  )
})

test_that("what is no recovery key is named for what it is", {
  own <- with_recovery_key(mx_demo_homeserver())
  refused <- function(key, says) {
    expect_error(
      mx_secret_fetch(own$client, secret_names[["master"]], key),
      says,
      class = "mx_error_recovery_key"
    )
  }
  refused(tolower(own$key), "case-sensitive")
  refused(sub("^E", "0", own$key), "Character 1 ")
  export <- mx_keys_export(own$client, tempfile(), "correct horse")
  text <- paste(readLines(export), collapse = "\n")
  refused(text, "mx_keys_import")
  withr::local_envvar(MXCRYPT_RECOVERY_KEY_FILE = export)
  refused(NULL, "mx_keys_import")
})

test_that("nothing that is said of a lost recovery key destroys at once", {
  own <- backed_up()
  bot <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  condition <- expect_error(
    mx_crypto_setup(bot),
    class = "mx_error_recovery_key"
  )
  expect_match(conditionMessage(condition), "mx_verify")
  expect_no_match(conditionMessage(condition), "reset = TRUE|replace = TRUE")
})

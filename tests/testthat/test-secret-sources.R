# Where secrets are looked for, and that what is wrong with a place is said without
# what is in it.

secret_file <- function(content, .local_envir = parent.frame()) {
  file <- withr::local_tempfile(.local_envir = .local_envir)
  writeBin(if (is.raw(content)) content else charToRaw(content), file)
  file
}

# No place of this machine counts, and no test's note stays.
local_no_secrets <- function(.local_envir = parent.frame()) {
  variables <- vapply(secret_places, `[[`, "", "variable")
  names <- c(variables, paste0(variables, "_FILE"))
  unset <- stats::setNames(rep(NA_character_, length(names)), names)
  withr::local_envvar(unset, .local_envir = .local_envir)
  options <- vapply(secret_places, `[[`, "", "option")
  none <- stats::setNames(vector("list", length(options)), options)
  withr::local_options(none, .local_envir = .local_envir)
  withr::local_options(mxcrypt.keyring = FALSE, .local_envir = .local_envir)
  old <- the[["secret_sources"]]
  the[["secret_sources"]] <- NULL
  withr::defer(the[["secret_sources"]] <- old, envir = .local_envir)
}

local_keyring <- function(
  service,
  owner,
  value,
  .local_envir = parent.frame()
) {
  withr::local_options(mxcrypt.keyring = TRUE, .local_envir = .local_envir)
  ring <- function(asked, user_id) {
    if (asked == service && user_id == owner) value
  }
  local_replaced("keyring_secret", ring, .local_envir = .local_envir)
}

test_that("each secret is found in each place, in the order of the help page", {
  local_no_secrets()
  for (name in names(secret_places)) {
    place <- secret_places[[name]]
    expect_null(find_secret(name, "@a:b"))
    expect_null(secret_source(name))
    withr::with_options(list(mxcrypt.keyring = TRUE), {
      local({
        local_keyring(place[["service"]], "@a:b", "ring")
        expect_equal(find_secret(name, "@a:b"), "ring")
        expect_match(secret_source(name), "keyring")
        expect_null(find_secret(name))
        withr::local_options(stats::setNames(list("opt"), place[["option"]]))
        expect_equal(find_secret(name, "@a:b"), "opt")
        expect_match(secret_source(name), place[["option"]], fixed = TRUE)
        file <- secret_file("from-file\n")
        variable <- paste0(place[["variable"]], "_FILE")
        withr::local_envvar(stats::setNames(file, variable))
        expect_equal(find_secret(name, "@a:b"), "from-file")
        expect_match(secret_source(name), file, fixed = TRUE)
        expect_match(secret_source(name), variable, fixed = TRUE)
        withr::local_envvar(stats::setNames("from-file", place[["variable"]]))
        expect_equal(find_secret(name, "@a:b"), "from-file")
        expect_equal(
          secret_source(name),
          paste("the environment variable", place[["variable"]])
        )
      })
    })
  }
})

test_that("a file is read as editors, shells and containers leave it", {
  local_no_secrets()
  reads <- function(content, as = "d\u00e9j\u00e0 vu") {
    withr::local_envvar(MXCRYPT_PASSWORD_FILE = secret_file(content))
    expect_identical(charToRaw(find_secret("password")), charToRaw(as))
  }
  plain <- charToRaw("d\u00e9j\u00e0 vu")
  mark <- as.raw(c(0xef, 0xbb, 0xbf))
  quote <- charToRaw("\"")
  reads(plain)
  reads(c(plain, charToRaw("\n")))
  reads(c(plain, charToRaw("\r\n\r\n")))
  reads(c(mark, quote, plain, quote, charToRaw("\r\n")))
  reads("'secret'\n", "secret")
  # Spaces, single quotes and line ends inside belong to a secret.
  reads(" x \n", " x ")
  reads("it's\n", "it's")
  reads("\"\"quoted\"\"", "\"quoted\"")
  reads("a\nb\n", "a\nb")
  reads(strrep("x", 65536), strrep("x", 65536))
})

test_that("a file that all may read is taken: container secrets are 0444", {
  skip_on_os("windows")
  local_no_secrets()
  file <- secret_file("secret")
  Sys.chmod(file, "0444")
  withr::local_envvar(MXCRYPT_PASSWORD_FILE = file)
  expect_equal(find_secret("password"), "secret")
})

test_that("a file that is no secret is a classed error without its content", {
  local_no_secrets()
  refuses <- function(path, says) {
    withr::local_envvar(MXCRYPT_PASSWORD_FILE = path)
    condition <- catch(find_secret("password"))
    expect_s3_class(condition, "mx_error_secret")
    expect_s3_class(condition, "mx_error_password")
    text <- conditionMessage(condition)
    expect_match(text, says)
    expect_match(text, path, fixed = TRUE)
    expect_match(text, "MXCRYPT_PASSWORD_FILE", fixed = TRUE)
    expect_nowhere("s3cret", condition)
    expect_null(secret_source("password"))
  }
  refuses("/nowhere/at/all", "is missing")
  refuses(withr::local_tempdir(), "cannot be read")
  refuses(secret_file(""), "is empty")
  refuses(secret_file("\"\"\r\n"), "is empty")
  refuses(secret_file(strrep("s3cret!!", 8193)), "larger than 64 KiB")
  refuses(secret_file(c(charToRaw("s3cret"), as.raw(0xff))), "not text")
  refuses(secret_file(c(charToRaw("s3cret"), as.raw(0))), "not text")
  if (file.exists("/dev/zero")) {
    refuses("/dev/zero", "larger than 64 KiB")
  }
  skip_on_os("windows")
  skip_if(Sys.info()[["user"]] == "root", "root reads everything")
  file <- secret_file("s3cret")
  Sys.chmod(file, "0000")
  refuses(file, "cannot be read")
})

test_that("text of UTF-16 with a NUL is no text, and is not quoted", {
  local_no_secrets()
  utf_16 <- function(x) {
    as.raw(c(0xff, 0xfe, rbind(as.integer(charToRaw(x)), 0L), 0L, 0L))
  }
  utf_32 <- as.raw(c(0xff, 0xfe, 0, 0, 0x73, 0, 0, 0))
  for (bytes in list(c(utf_16("s3cret"), as.raw(c(0x61, 0))), utf_32)) {
    withr::local_envvar(MXCRYPT_PASSWORD_FILE = secret_file(bytes))
    condition <- catch(find_secret("password"))
    expect_s3_class(condition, "mx_error_secret")
    expect_match(conditionMessage(condition), "not text")
    expect_nowhere("s3cret", condition)
  }
})

test_that("a secret where its path belongs is not repeated", {
  local_no_secrets()
  for (secret in c("s3cret", "s3cret with/slash", "EsTs s3cret b8qD")) {
    withr::local_envvar(MXCRYPT_PASSWORD_FILE = secret)
    condition <- catch(find_secret("password"))
    expect_s3_class(condition, "mx_error_secret")
    expect_match(conditionMessage(condition), "may be the secret itself")
    expect_nowhere("s3cret", condition)
    expect_nowhere("s3cret", mx_doctor())
  }
})

test_that("only a file is read, and no address or stream", {
  local_no_secrets()
  file <- normalizePath(secret_file("s3cret"), winslash = "/")
  for (path in c(paste0("file://", file), "stdin", "clipboard")) {
    withr::local_envvar(MXCRYPT_PASSWORD_FILE = path)
    condition <- catch(find_secret("password"))
    expect_s3_class(condition, "mx_error_secret")
    expect_match(conditionMessage(condition), "is missing")
  }
})

test_that("a variable and a file that differ are an error, and no choice", {
  local_no_secrets()
  file <- secret_file("other-s3cret\n")
  withr::local_envvar(
    MXCRYPT_RECOVERY_KEY = "one-s3cret",
    MXCRYPT_RECOVERY_KEY_FILE = file
  )
  condition <- catch(find_secret("recovery_key"))
  expect_s3_class(condition, "mx_error_secret")
  expect_s3_class(condition, "mx_error_recovery_key")
  expect_match(conditionMessage(condition), "MXCRYPT_RECOVERY_KEY_FILE")
  expect_nowhere("s3cret", condition)
  withr::local_envvar(MXCRYPT_RECOVERY_KEY = "other-s3cret")
  expect_equal(find_secret("recovery_key"), "other-s3cret")
})

test_that("an option may be a function, which is called each time", {
  local_no_secrets()
  calls <- 0
  withr::local_options(mxcrypt.password = function() {
    calls <<- calls + 1
    paste0("s3cret", calls)
  })
  expect_equal(find_secret("password"), "s3cret1")
  expect_equal(find_secret("password"), "s3cret2")
  expect_match(secret_source("password"), "function in the option")
  # One that has nothing is no error: the keyring comes next.
  withr::local_options(mxcrypt.password = function() NULL)
  expect_null(find_secret("password"))
  fails <- list(
    function() stop("s3cret"),
    function(x) x,
    function() 1,
    c("s3cret", "s3cret"),
    NA_character_,
    ""
  )
  for (value in fails) {
    withr::local_options(mxcrypt.password = value)
    condition <- catch(find_secret("password"))
    expect_s3_class(condition, "mx_error_secret")
    text <- conditionMessage(condition)
    expect_match(text, "mxcrypt.password", fixed = TRUE)
    expect_no_match(text, "s3cret")
  }
})

test_that("what is no token never becomes a header", {
  local_no_secrets()
  withr::local_envvar(MXCRYPT_ACCESS_TOKEN_FILE = secret_file("a\r\nX: s3cret"))
  condition <- catch(find_secret("access_token"))
  expect_s3_class(condition, "mx_error_secret")
  expect_nowhere("s3cret", condition)
})

test_that("a client signs in, and in again, from a file and from an option", {
  local_no_secrets()
  homeserver <- mx_demo_homeserver(users = "alice")
  dir <- withr::local_tempdir()
  sign_in <- function() {
    mx_client_configure(
      homeserver,
      "alice",
      path = file.path(dir, "matrix.json"),
      store_dir = file.path(dir, "crypto")
    )
  }
  expect_error(sign_in(), "mxcrypt_secrets", class = "mx_error_password")
  withr::with_envvar(
    c(MXCRYPT_PASSWORD_FILE = secret_file("\ufeff\"demo\"\r\n")),
    client <- sign_in()
  )
  withr::local_options(mxcrypt.password = function() "demo")
  mx_client_relogin(client)
  expect_match(secret_source("password"), "function in the option")
  # The token in the configuration comes first; without one, the file is read.
  token <- read_config(client$path)[["token"]]
  config <- read_config(client$path)
  config[["token"]] <- NULL
  write_config(config, client$path)
  again <- mx_client_load(path = client$path)
  withr::local_envvar(MXCRYPT_ACCESS_TOKEN_FILE = secret_file(token))
  expect_equal(nrow(mx_rooms(again)), 0)
  expect_match(secret_source("access_token"), "MXCRYPT_ACCESS_TOKEN_FILE")
})

test_that("a store is made and opened with a key from outside", {
  local_no_secrets()
  key <- jsonlite::base64_enc(as.raw(1:32))
  other <- jsonlite::base64_enc(as.raw(2:33))
  dir <- file.path(withr::local_tempdir(), "crypto")
  opened <- function() {
    forget_open_stores()
    core(machine_store_id(open_store(dir)))
  }
  withr::local_envvar(MXCRYPT_STORE_KEY_FILE = secret_file(paste0(key, "\n")))
  id <- opened()
  expect_false(file.exists(file.path(dir, "pickle.key")))
  withr::local_envvar(MXCRYPT_STORE_KEY_FILE = NA)
  # Its key is gone: no other one is made.
  expect_error(
    opened(),
    "mxcrypt_secrets",
    class = "mx_error_store_key_missing"
  )
  local({
    local_keyring("mxcrypt-store-key", dir, key)
    expect_equal(opened(), id)
  })
  withr::local_options(mxcrypt.store_key = function() key)
  expect_equal(opened(), id)
  withr::local_options(mxcrypt.store_key = other)
  condition <- catch(opened())
  expect_s3_class(condition, "mx_error_store_key_wrong")
  expect_nowhere(other, condition)
  for (bad in c("s3cret", "====", jsonlite::base64_enc(as.raw(1:31)))) {
    withr::local_options(mxcrypt.store_key = bad)
    condition <- catch(opened())
    expect_s3_class(condition, "mx_error_store_key_wrong")
    expect_nowhere(bad, condition)
  }
})

test_that("the keyring is the one of the package keyring", {
  local_no_secrets()
  skip_if_not_installed("keyring")
  withr::local_options(keyring_backend = "env", mxcrypt.keyring = TRUE)
  keyring::key_set_with_value("mxcrypt-access-token", "@a:b", "ring")
  withr::defer(keyring::key_delete("mxcrypt-access-token", "@a:b"))
  expect_equal(find_secret("access_token", "@a:b"), "ring")
  expect_null(find_secret("access_token", "@other:b"))
  withr::local_options(mxcrypt.keyring = FALSE)
  expect_null(find_secret("access_token", "@a:b"))
})

test_that("the source of the key is known for each store", {
  local_no_secrets()
  dir <- withr::local_tempdir()
  withr::with_options(
    list(mxcrypt.store_key = jsonlite::base64_enc(as.raw(1:32))),
    open_store(file.path(dir, "one"))
  )
  open_store(file.path(dir, "two"))
  source <- function(name) secret_source(store_key_of(file.path(dir, name)))
  expect_match(source("one"), "mxcrypt.store_key", fixed = TRUE)
  expect_null(source("two"))
})

test_that("the keyring is not asked for the key of a store with a key file", {
  local_no_secrets()
  dir <- file.path(withr::local_tempdir(), "crypto")
  open_store(dir)
  forget_open_stores()
  local_keyring("mxcrypt-store-key", dir, jsonlite::base64_enc(as.raw(1:32)))
  expect_error(open_store(dir), NA)
  expect_null(secret_source("store_key"))
})

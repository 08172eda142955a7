test_that("a new account gets an identity, secret storage and a recovery key", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  setup <- mx_crypto_setup(alice)
  expect_s3_class(setup, "mx_crypto_setup")
  expect_equal(setup$user_id, alice$user_id)
  expect_match(setup$master_key, "^[A-Za-z0-9+/]{43}$")
  expect_match(setup$steps, "^signed this device$", all = FALSE)
  expect_match(format(setup), "put its private keys", all = FALSE)
  expect_setequal(identity_of(alice)[["held"]], identity_keys)
  expect_equal(trust_of(alice, alice), "verified")
  bob <- mx_demo_client(homeserver, "bob", verified = FALSE)
  expect_equal(trust_of(bob, alice), "signed")
})

test_that("each step is told as it is done", {
  withr::local_options(cli.default_handler = NULL)
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  told <- capture.output(setup <- mx_crypto_setup(alice), type = "message")
  expect_length(told, length(setup$steps) + 2L)
  for (i in seq_along(setup$steps)) {
    # As a sentence.
    said <- paste0(substring(setup$steps[[i]], 2), ".")
    expect_match(told[[i]], said, fixed = TRUE)
  }
  expect_no_message(mx_crypto_setup(alice))
})

test_that("run again it changes nothing, and asks for no key", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  first <- mx_crypto_setup(alice)
  asked <- requests_during(again <- mx_crypto_setup(alice))
  expect_length(again$steps, 0)
  expect_equal(again$master_key, first$master_key)
  expect_false(any(grepl("^PUT|upload", asked)))
})

test_that("a recovery key is masked until it is wanted, and kept until it is saved", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  setup <- mx_crypto_setup(alice)
  key <- setup$recovery_key
  text <- format(key, reveal = TRUE)
  expect_match(text, "^Es[1-9A-HJ-NP-Za-km-z ]+$")
  expect_equal(nchar(gsub(" ", "", text)), 48)
  shown <- c(
    capture.output(print(setup), print(key), str(setup)),
    deparse(unclass(key))
  )
  expect_false(any(grepl(substr(text, 6, 14), shown, fixed = TRUE)))
  # A kill after the upload does not lose it.
  forget_open_stores()
  again <- mx_crypto_setup(mx_client_load(path = alice$path))
  expect_equal(format(again$recovery_key, reveal = TRUE), text)

  # As it is, it opens the account for the next device.
  late <- mx_demo_client(homeserver, "alice", verified = FALSE)
  mx_crypto_setup(late, recovery_key = key)
  expect_true(mx_crypto_status(late)$device_signed)

  file <- file.path(withr::local_tempdir(), "recovery.key")
  mx_recovery_key_write(key, file)
  expect_equal(readLines(file), text)
  if (.Platform$OS.type == "unix") {
    expect_equal(format(file.mode(file)), "600")
  }
  expect_error(format(key, reveal = TRUE), class = "mx_error_recovery_key")
  expect_error(mx_recovery_key_write(key, file), class = "mx_error")
  expect_null(mx_crypto_setup(alice)$recovery_key)
})

test_that("a recovery key is found where a bot can leave it", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  setup <- mx_crypto_setup(alice)
  key <- format(setup$recovery_key, reveal = TRUE)
  file <- withr::local_tempfile(lines = c(key, ""))
  places <- list(
    c(MXCRYPT_RECOVERY_KEY = key),
    c(MXCRYPT_RECOVERY_KEY = gsub(" ", "", key)),
    c(MXCRYPT_RECOVERY_KEY_FILE = file)
  )
  for (place in places) {
    bot <- mx_demo_client(homeserver, "alice", verified = FALSE)
    expect_error(mx_crypto_setup(bot), class = "mx_error_recovery_key")
    withr::with_envvar(place, mx_crypto_setup(bot))
    expect_equal(trust_of(alice, bot), "verified")
  }
  bot <- mx_demo_client(homeserver, "alice", verified = FALSE)
  withr::with_envvar(c(MXCRYPT_RECOVERY_KEY_FILE = "/nowhere/at/all"), {
    expect_error(mx_crypto_setup(bot), class = "mx_error_recovery_key")
  })
})

test_that("a typo in a recovery key is named, and nothing is changed", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  setup <- mx_crypto_setup(alice)
  key <- gsub(" ", "", format(setup$recovery_key, reveal = TRUE))
  bot <- mx_demo_client(homeserver, "alice", verified = FALSE)
  typo <- function(key, says) {
    condition <- expect_error(
      mx_crypto_setup(bot, recovery_key = key),
      class = "mx_error_recovery_key"
    )
    expect_match(conditionMessage(condition), says)
    expect_false(grepl(substr(key, 5, 12), conditionMessage(condition)))
  }
  typo(substr(key, 1, 47), "48 characters")
  typo(sub("^E", "0", key), "Character 1 ")
  swapped <- if (substr(key, 20, 20) == "z") "y" else "z"
  typo(
    paste0(substr(key, 1, 19), swapped, substr(key, 21, 48)),
    "parity|begins"
  )
  expect_length(identity_of(bot)[["held"]], 0)
  expect_equal(trust_of(alice, bot), "unsigned")
})

test_that("what is given to the wrong account, or to none, is an error", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  bob <- mx_demo_client(homeserver, "bob", verified = FALSE)
  key <- format(mx_crypto_setup(alice)$recovery_key, reveal = TRUE)
  # Bob has no identity: to make one under this key is not what was meant.
  expect_error(
    mx_crypto_setup(bob, recovery_key = key),
    class = "mx_error_identity"
  )
  mx_crypto_setup(bob)
  again <- mx_demo_client(homeserver, "bob", verified = FALSE)
  expect_error(
    mx_crypto_setup(again, recovery_key = key),
    class = "mx_error_recovery_key"
  )
})

test_that("a recovery key that was left for a new account is not passed over", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  bot <- mx_demo_client(homeserver, "bot", verified = FALSE)
  key <- format(mx_crypto_setup(alice)$recovery_key, reveal = TRUE)
  file <- withr::local_tempfile(lines = key)
  withr::with_envvar(c(MXCRYPT_RECOVERY_KEY_FILE = file), {
    condition <- expect_error(mx_crypto_setup(bot), class = "mx_error_identity")
    expect_match(conditionMessage(condition), "MXCRYPT_RECOVERY_KEY_FILE")
    expect_false(grepl(substr(key, 1, 9), conditionMessage(condition)))
    # To replace what cannot be opened is a decision of its own.
    expect_no_error(mx_crypto_setup(bot, reset = TRUE))
  })
  expect_equal(identity_of(bot)[["device_signed"]], TRUE)
})

test_that("killed at any step, it goes on with the same identity", {
  for (acted in c(FALSE, TRUE)) {
    for (at in 1:11) {
      homeserver <- mx_demo_homeserver()
      alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
      local({
        local_death(at, acted)
        expect_error(mx_crypto_setup(alice), class = "killed")
      })
      forget_open_stores()
      alice <- mx_client_load(path = alice$path)
      setup <- mx_crypto_setup(alice)
      where <- sprintf("request %d, acted: %s", at, acted)
      expect_equal(trust_of(alice, alice), "verified", info = where)
      expect_length(mx_crypto_setup(alice)$steps, 0)
      key <- format(setup$recovery_key, reveal = TRUE)
      bot <- mx_demo_client(homeserver, "alice", verified = FALSE)
      mx_crypto_setup(bot, recovery_key = key)
      expect_equal(trust_of(bot, bot), "verified", info = where)
      seen <- mx_demo_requests(homeserver)
      masters <- regmatches(seen, regexpr('"master_key".*', seen))
      expect_length(unique(masters), 1)
    }
  }
})

test_that("processes of one store that set it up at once make one identity", {
  # The other one does all of it before a request of this one.
  for (at in 1:16) {
    homeserver <- mx_demo_homeserver()
    alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
    count <- 0
    real <- http_once
    local({
      local_replaced("http_once", function(...) {
        count <<- count + 1
        if (count == at) {
          mx_crypto_setup(alice)
        }
        real(...)
      })
      mx_crypto_setup(alice)
    })
    info <- paste("request", at)
    expect_gte(count, at)
    expect_equal(trust_of(alice, alice), "verified", info = info)
    key <- format(mx_crypto_setup(alice)$recovery_key, reveal = TRUE)
    bot <- mx_demo_client(homeserver, "alice", verified = FALSE)
    mx_crypto_setup(bot, recovery_key = key)
    expect_equal(trust_of(bot, bot), "verified", info = info)
    seen <- mx_demo_requests(homeserver)
    masters <- regmatches(seen, regexpr('"master_key".*', seen))
    expect_length(unique(masters), 1)
  }
})

test_that("what fails is told, also where an identity is there already", {
  alice <- mx_demo_client(mx_demo_homeserver(), "alice")
  for (step in c("make_identity", "store_identity")) {
    local({
      fails <- function(...) mx_abort("failed", "mx_error_internal")
      local_replaced(step, fails)
      expect_error(mx_cross_signing_reset(alice), class = "mx_error_internal")
    })
  }
})

test_that("an identity that somebody else made meanwhile is not replaced", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  local({
    local_death(1, FALSE)
    expect_error(mx_crypto_setup(alice), class = "killed")
  })
  other <- mx_demo_client(homeserver, "alice", verified = FALSE)
  setup <- mx_crypto_setup(other)
  condition <- expect_error(
    mx_crypto_setup(alice),
    class = "mx_error_recovery_key"
  )
  key <- format(setup$recovery_key, reveal = TRUE)
  expect_equal(
    mx_crypto_setup(alice, recovery_key = key)$master_key,
    setup$master_key
  )
})

test_that("an identity that does not hold is not taken for none, and replaced", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  mx_crypto_setup(alice)
  real <- http_once
  # The server spoils the identity, and hides secret storage.
  spoil <- function(session, method, path, ...) {
    answer <- real(session, method, path, ...)
    if (grepl("/keys/query|/sync", path)) {
      text <- rawToChar(answer[["body"]])
      text <- gsub(
        "m.secret_storage.default_key",
        "m.other",
        text,
        fixed = TRUE
      )
      text <- gsub(
        '"usage":["self_signing"]',
        '"usage":["other"]',
        text,
        fixed = TRUE
      )
      answer[["body"]] <- charToRaw(text)
    }
    answer
  }
  local_replaced("http_once", spoil)
  bot <- mx_demo_client(homeserver, "alice", verified = FALSE)
  asked <- requests_during(
    condition <- expect_error(
      mx_crypto_setup(bot, password = "demo"),
      class = "mx_error_identity"
    )
  )
  expect_false(any(grepl("^PUT|upload", asked)))
  expect_match(conditionMessage(condition), "already")
  # It is an alert on each call, and on the page for trouble.
  expect_warning(mx_sync(bot), class = "mx_warning_own_identity")
  expect_match(format(mx_crypto_status(bot)), "REFUSED", all = FALSE)
})

test_that("secrets that a server swaps, alters or withholds are refused", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  key <- format(mx_crypto_setup(alice)$recovery_key, reveal = TRUE)
  type <- function(name) paste0("m.cross_signing.", name)
  good <- lapply(type(identity_keys), function(x) stored_text(alice, x))
  names(good) <- identity_keys
  refused <- function(class) {
    bot <- mx_demo_client(homeserver, "alice", verified = FALSE)
    expect_error(mx_crypto_setup(bot, recovery_key = key), class = class)
    expect_length(identity_of(bot)[["held"]], 0)
    expect_false(trust_of(alice, bot) == "verified")
  }
  set_account_data(alice, type("master"), good$self_signing)
  set_account_data(alice, type("self_signing"), good$master)
  refused("mx_error_secret_storage")
  set_account_data(alice, type("master"), good$master)
  for (bad in c("{}", '{"encrypted":{}}', '{"encrypted":5}')) {
    set_account_data(alice, type("self_signing"), bad)
    refused("mx_error_secret_storage")
  }
  set_account_data(alice, type("self_signing"), good$self_signing)

  # A false identity in place of the one that secret storage holds.
  mallory <- mx_demo_client(homeserver, "alice", verified = FALSE)
  old <- lapply(type(identity_keys), function(x) stored_text(alice, x))
  id <- secret_storage(alice)[["default_key"]]
  mx_crypto_setup(mallory, reset = TRUE, password = "demo")
  for (i in seq_along(old)) {
    set_account_data(alice, type(identity_keys[[i]]), old[[i]])
  }
  text <- unclass(mxc_json(list(key = id)))
  set_account_data(alice, "m.secret_storage.default_key", text)
  refused("mx_error_identity")
  # And who holds the true one is told.
  expect_equal(trust_of(alice, mallory), "identity_changed")
})

test_that("a description of the key is taken without a check, and not without sense", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  key <- format(mx_crypto_setup(alice)$recovery_key, reveal = TRUE)
  type <- default_key_type(alice)
  algorithm <- "m.secret_storage.v1.aes-hmac-sha2"
  set_account_data(alice, type, sprintf('{"algorithm":"%s"}', algorithm))
  bot <- mx_demo_client(homeserver, "alice", verified = FALSE)
  mx_crypto_setup(bot, recovery_key = key)
  expect_equal(trust_of(alice, bot), "verified")
  for (bad in c("{}", '{"algorithm":"m.other"}', '{"algorithm":5}')) {
    set_account_data(alice, type, bad)
    bot <- mx_demo_client(homeserver, "alice", verified = FALSE)
    expect_error(
      mx_crypto_setup(bot, recovery_key = key),
      class = "mx_error_secret_storage"
    )
  }
  endless <- sprintf(
    '{"algorithm":"%s","passphrase":{"algorithm":"m.pbkdf2","salt":"x","iterations":%s}}',
    algorithm,
    "4000000000"
  )
  set_account_data(alice, type, endless)
  expect_error(
    mx_crypto_setup(bot, passphrase = "x"),
    class = "mx_error_secret_storage"
  )
})

test_that("secret storage can have a passphrase", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  setup <- mx_crypto_setup(alice, passphrase = "the eagle lands \u00e9")
  expect_null(setup$recovery_key)
  bot <- mx_demo_client(homeserver, "alice", verified = FALSE)
  expect_error(
    mx_crypto_setup(bot, passphrase = "the eagle"),
    class = "mx_error_recovery_key"
  )
  mx_crypto_setup(bot, passphrase = "the eagle lands \u00e9")
  expect_equal(trust_of(alice, bot), "verified")
})

test_that("signatures that the server does not take are told", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  failures <- sprintf(
    '{"failures":{"%s":{"%s":{"errcode":"M_INVALID_SIGNATURE","error":"100%% wrong"}}}}',
    alice$user_id,
    alice$device_id
  )
  fake$fault("POST", "/signatures/upload", body = failures)
  condition <- expect_error(mx_crypto_setup(alice), class = "mx_error_identity")
  expect_match(conditionMessage(condition), "100% wrong", fixed = TRUE)
  expect_equal(mx_crypto_setup(alice)$steps[[1]], "signed this device")
})

# The forms of mx.client, on the machine.
test_that("an account is a reference to its store, which is begun once", {
  store <- file.path(withr::local_tempdir(), "crypto")
  account <- mx_crypto_account(store)
  expect_s3_class(account, "mx_crypto_account")
  keys <- mxc_account_identity_keys(account)
  expect_equal(nchar(unlist(keys, use.names = FALSE)), c(43L, 43L))
  forget_open_stores()
  expect_equal(mxc_account_identity_keys(mx_crypto_account(store)), keys)
  # Also one that was saved and read again, because it is a name and no copy.
  again <- unserialize(serialize(account, NULL))
  expect_equal(mxc_account_identity_keys(again), keys)
})

test_that("two processes that begin one store get one identity", {
  skip_on_cran()
  skip_if_not_installed("callr")
  store <- file.path(withr::local_tempdir(), "crypto")
  begin <- function(store) {
    mxcrypt::mxc_account_identity_keys(mxcrypt::mx_crypto_account(store))
  }
  environment(begin) <- globalenv()
  others <- lapply(1:4, function(i) callr::r_bg(begin, list(store)))
  keys <- lapply(others, function(process) {
    process$wait(30000)
    process$get_result()
  })
  expect_length(unique(keys), 1)
})

test_that("the number of one-time keys is a target and not an addition", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  s <- compat(alice)
  uploaded <- function(...) {
    fake$forget()
    result <- mx_crypto_publish_keys(alice, s$account, s$store, ...)
    counts <- vapply(
      fake$seen("POST", "/keys/upload"),
      function(x) length(json_decode(x$body)[["one_time_keys"]]),
      0L
    )
    list(
      made = sum(counts),
      held = result[["one_time_key_counts"]][["signed_curve25519"]]
    )
  }
  expect_equal(uploaded(n_otks = 50L), list(made = 0L, held = 50))
  expect_equal(uploaded(), list(made = 0L, held = 50))
  expect_equal(uploaded(n_otks = 60L), list(made = 10L, held = 60))
  expect_equal(uploaded(n_otks = 10L), list(made = 0L, held = 60))
  expect_length(mxc_account_one_time_keys(s$account), 0)
})

test_that("the pool is filled up as keys are claimed, and never runs dry", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake)
  claim <- function(n) {
    devices <- mx_crypto_known_devices(bob, alice$user_id)
    otks <- lapply(seq_len(n), function(i) {
      mx_crypto_claim_otks(bob, devices)[[1]]$otk
    })
    unlist(otks)
  }
  claimed <- claim(30)
  expect_length(unique(claimed), 30)
  fake$forget()
  mx_sync(alice)
  body <- json_decode(fake$seen("POST", "/keys/upload")[[1]]$body)
  expect_length(body[["one_time_keys"]], 30)
  expect_null(body[["device_keys"]])
  # More than there are: the fallback key answers, and is replaced.
  claimed <- claim(52)
  expect_length(claimed, 52)
  expect_equal(claimed[[51]], claimed[[52]])
  fake$forget()
  mx_sync(alice)
  body <- json_decode(fake$seen("POST", "/keys/upload")[[1]]$body)
  expect_length(body[["one_time_keys"]], 50)
  expect_length(body[["fallback_keys"]], 1)
})

test_that("keys whose upload failed are uploaded again as they were", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  fake$fault("POST", "/keys/upload", status = 502, acts = TRUE)
  dir <- withr::local_tempdir()
  fake_register(fake, "crash")
  configure <- function() {
    mx_client_configure(
      fake$url,
      "crash",
      "secret word",
      path = file.path(dir, "m.json"),
      store_dir = file.path(dir, "crypto")
    )
  }
  expect_error(configure(), class = "mx_error_http")
  forget_open_stores()
  alice <- mx_client_load(path = file.path(dir, "m.json"))
  mx_sync(alice)
  bodies <- lapply(fake$seen("POST", "/keys/upload"), function(x) x$body)
  expect_length(bodies, 2)
  expect_identical(bodies[[1]], bodies[[2]])
})

test_that("a server that has other keys under our ids ends the publishing", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  text <- "One time key signed_curve25519:AAAAAA already exists. 100%"
  exists <- sprintf('{"errcode":"M_UNKNOWN","error":"%s"}', text)
  fake$forget()
  fake$fault("POST", "/keys/upload", status = 400, body = exists, times = 99)
  s <- compat(alice)
  for (i in 1:2) {
    condition <- expect_error(
      mx_crypto_publish_keys(alice, s$account, s$store, 60L),
      class = "mx_error_own_keys"
    )
    expect_match(
      conditionMessage(condition),
      "already exists. 100%",
      fixed = TRUE
    )
  }
  expect_length(fake$seen("POST", "/keys/upload"), 1)
})

test_that("a refusal that is not about the keys does not end the device", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  s <- compat(alice)
  consent <- '{"errcode":"M_CONSENT_NOT_GIVEN","error":"read the terms"}'
  answers <- list(
    list(403, consent),
    list(403, "<html>blocked by the proxy</html>"),
    list(404, "<html>"),
    list(413, "<html>")
  )
  for (i in seq_along(answers)) {
    fake$fault("POST", "/keys/upload", answers[[i]][[1]], answers[[i]][[2]])
    expect_error(
      mx_crypto_publish_keys(alice, s$account, s$store, 50L + i),
      class = "mx_error_http"
    )
    # It passed: so does this.
    expect_error(
      mx_crypto_publish_keys(alice, s$account, s$store, 50L + i),
      NA
    )
  }
})

test_that("saving sessions says where, and there is nothing left to save", {
  pair <- demo_pair()
  s <- compat(pair$alice)
  before <- tools::md5sum(list.files(s$store, full.names = TRUE))
  expect_equal(
    expect_invisible(mx_crypto_sessions_save(s$sessions, s$store)),
    s$store
  )
  expect_identical(
    tools::md5sum(list.files(s$store, full.names = TRUE)),
    before
  )
})

test_that("things of different stores never mix", {
  pair <- demo_pair()
  a <- compat(pair$alice)
  b <- compat(pair$bob)
  mixed <- function(expr) expect_error(expr, class = "mx_error_store_binding")
  mixed(mx_crypto_sessions_save(a$sessions, b$store))
  mixed(mx_crypto_publish_keys(pair$alice, b$account, a$store))
  mixed(mx_crypto_publish_keys(pair$alice, a$account, b$store))
  mixed(mx_crypto_publish_keys(pair$bob, a$account, a$store))
  # And each has its place: an account is not a set of sessions.
  odd <- function(expr) expect_error(expr, class = "mx_error")
  odd(mx_crypto_sessions_save(a$account, a$store))
  odd(mx_crypto_publish_keys(pair$alice, a$sessions, a$store))
  odd(mx_crypto_publish_keys(pair$alice, a$account, a$account))
  # Text is not taken for the directory of another store, which would be begun.
  withr::local_dir(withr::local_tempdir())
  for (x in list(NULL, 5, "x", list(), mxc_account_new(), NA)) {
    odd(mx_crypto_sessions_save(x, a$store))
    odd(mx_crypto_publish_keys(pair$alice, x, a$store))
  }
  expect_length(list.files(), 0)
  for (n in list(-1, NA, "x", NULL, 1.5, Inf)) {
    odd(mx_crypto_publish_keys(pair$alice, a$account, a$store, n))
  }
})

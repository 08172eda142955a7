# Every function that takes a handle, by the kind it takes.
takers <- function() {
  key <- strrep("A", 43)
  list(
    mxc_account = list(
      function(x) mxc_account_identity_keys(x),
      function(x) mxc_account_sign(x, "m"),
      function(x) mxc_account_generate_one_time_keys(x, 1),
      function(x) mxc_account_one_time_keys(x),
      function(x) mxc_account_mark_published(x),
      function(x) mxc_account_fallback_key(x),
      function(x) mxc_account_forget_fallback_key(x),
      function(x) mxc_account_pickle(x, pickle_key),
      function(x) mxc_device_keys(x, "@a:b", "D"),
      function(x) mxc_one_time_key(x, key, "@a:b", "D"),
      function(x) mxc_json_sign("{}", x, "@a:b", "ed25519:D"),
      function(x) mxc_olm_create_outbound(x, key, key),
      function(x) mxc_olm_create_inbound(x, key, "AAAA")
    ),
    mxc_olm_session = list(
      function(x) mxc_olm_encrypt(x, "m"),
      function(x) mxc_olm_decrypt(x, 0, "AAAA"),
      function(x) mxc_olm_session_id(x),
      function(x) mxc_olm_session_pickle(x, pickle_key)
    ),
    mxc_megolm_outbound = list(
      function(x) mxc_megolm_outbound_info(x),
      function(x) mxc_megolm_session_id(x),
      function(x) mxc_megolm_session_key(x),
      function(x) mxc_megolm_message_index(x),
      function(x) mxc_megolm_encrypt(x, "m"),
      function(x) mxc_megolm_outbound_pickle(x, pickle_key)
    ),
    mxc_megolm_inbound = list(
      function(x) mxc_megolm_inbound_info(x),
      function(x) mxc_megolm_decrypt(x, "AAAA"),
      function(x) mxc_megolm_inbound_pickle(x, pickle_key)
    )
  )
}

expect_all_refuse <- function(x, kind, what) {
  refuses <- function(take) {
    tryCatch(
      {
        take(x)
        FALSE
      },
      mxc_error = function(condition) TRUE,
      error = function(condition) FALSE
    )
  }
  wrong <- Filter(Negate(refuses), takers()[[kind]])
  calls <- vapply(wrong, function(take) deparse(body(take)), "")
  expect_identical(calls, character(), info = what)
}

# An object that says it is of `kind` and holds something else.
disguised <- function(pointer, kind) {
  structure(list(pointer = pointer), class = c(kind, "mxc_handle"))
}

# External pointers of nobody, and of other packages.
foreign_pointers <- function() {
  pointers <- list(nobody = methods::new("externalptr"))
  if (requireNamespace("curl", quietly = TRUE)) {
    pointers[["curl"]] <- curl::new_handle()
  }
  pointers
}

test_that("the table names every function that takes a handle", {
  bodies <- lapply(unlist(takers()), body)
  called <- vapply(bodies, function(call) deparse(call[[1]]), "")
  takes <- function(name) {
    formals <- names(formals(getExportedValue("mxcrypt", name)))
    any(c("account", "session", "gs", "igs") %in% formals)
  }
  primitives <- grep("^mxc_", getNamespaceExports("mxcrypt"), value = TRUE)
  expect_setequal(called, Filter(takes, primitives))
})

test_that("a handle of another kind is refused", {
  held <- handles()
  for (kind in names(held)) {
    for (other in setdiff(names(held), kind)) {
      expect_all_refuse(held[[other]], kind, other)
      # Also where the class lies: the core looks at the object itself.
      pointer <- unclass(held[[other]])[["pointer"]]
      expect_all_refuse(
        disguised(pointer, kind),
        kind,
        paste(other, "in disguise")
      )
    }
  }
  # All still work.
  expect_length(mxc_account_identity_keys(held[["mxc_account"]]), 2)
  expect_equal(mxc_megolm_message_index(held[["mxc_megolm_outbound"]]), 0L)
})

test_that("what is no handle is refused", {
  odd <- list(NULL, list(), 5, "x", NA, new.env(), quote(x), identity, raw(8))
  held <- handles()
  bare <- lapply(held, function(x) unclass(x)[["pointer"]])
  for (kind in names(held)) {
    for (x in c(odd, bare, foreign_pointers())) {
      expect_all_refuse(x, kind, class(x)[[1]])
    }
  }
})

test_that("what only bears the class of a handle is refused", {
  odd <- list(NULL, list(), 5, "x", new.env(), identity)
  for (kind in names(takers())) {
    for (x in c(odd, foreign_pointers())) {
      expect_all_refuse(disguised(x, kind), kind, class(x)[[1]])
    }
    expect_all_refuse(structure(list(), class = kind), kind, "an empty list")
    expect_all_refuse(structure(1, class = kind), kind, "a number")
    expect_all_refuse(structure("x", class = kind), kind, "a string")
    expect_all_refuse(structure(list(5), class = kind), kind, "a list")
    expect_all_refuse(structure(identity, class = kind), kind, "a function")
    env <- structure(new.env(), class = kind)
    expect_all_refuse(env, kind, "an environment")
  }
})

test_that("a handle that was saved and read again says so", {
  held <- handles()
  file <- withr::local_tempfile()
  for (kind in names(held)) {
    saveRDS(held[[kind]], file)
    again <- readRDS(file)
    expect_all_refuse(again, kind, "readRDS()")
    expect_match(format(again), "saved and read again")
    expect_output(print(again), "empty")
    # Nothing of what it held was written.
    expect_lt(length(serialize(held[[kind]], NULL)), 1000)
  }
  condition <- expect_error(
    mxc_account_identity_keys(unserialize(serialize(
      held[["mxc_account"]],
      NULL
    ))),
    class = "mxc_error_handle"
  )
  expect_match(conditionMessage(condition), "saved")
})

test_that("a copy is the same session and not a second ratchet", {
  session <- mxc_megolm_outbound_new()
  copy <- session
  mxc_megolm_encrypt(session, "one")
  mxc_megolm_encrypt(copy, "two")
  expect_equal(mxc_megolm_message_index(session), 2L)
  expect_equal(mxc_megolm_message_index(copy), 2L)
})

test_that("an account of a store cannot be changed, pickled or used as a ratchet", {
  pair <- demo_pair()
  account <- mx_crypto_account(pair$alice$store_dir)
  may <- c(
    "mxc_account_identity_keys",
    "mxc_account_sign",
    "mxc_account_one_time_keys",
    "mxc_json_sign"
  )
  for (take in takers()[["mxc_account"]]) {
    name <- deparse(body(take)[[1]])
    if (name %in% may) {
      expect_error(take(account), NA)
    } else {
      expect_error(take(account), class = "mxc_error_stored", info = name)
    }
  }
  sessions <- mx_crypto_sessions_load(pair$alice$store_dir)
  for (kind in names(takers())) {
    expect_all_refuse(sessions, kind, "the sessions of a store")
  }
})

test_that("handles survive the collector", {
  # All at once, and dropped at once.
  accounts <- lapply(1:2000, function(i) mxc_account_new())
  kept <- accounts[[1000]]
  keys <- mxc_account_identity_keys(kept)
  rm(accounts)
  gc()
  expect_equal(mxc_account_identity_keys(kept), keys)

  # At every tenth allocation while they are made, used and printed.
  read <- character()
  gctorture2(10)
  on.exit(gctorture2(0))
  for (i in 1:3) {
    pair <- olm_pair()
    reply <- mxc_olm_encrypt(pair[["b"]], "reply")
    read <- c(read, rawToChar(mxc_olm_decrypt(pair[["a"]], 1, reply[["body"]])))
    sender <- mxc_megolm_outbound_new()
    receiver <- mxc_megolm_inbound_new(mxc_megolm_session_key(sender))
    ciphertexts <- mxc_megolm_encrypt(sender, c("one", "two"))
    rows <- mxc_megolm_decrypt(receiver, c(ciphertexts, "nonsense"))
    read <- c(read, vapply(rows[["plaintext"]][1:2], rawToChar, ""))
    json <- mxc_json(list(a = c("x", "y"), b = list(1L, NULL)))
  }
  gctorture2(0)
  expect_equal(read, rep(c("reply", "one", "two"), 3))
  expect_equal(as.character(json), '{"a":["x","y"],"b":[1,null]}')
})

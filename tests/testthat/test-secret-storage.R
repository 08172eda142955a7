# What is fetched, as text.
fetched <- function(...) {
  format(mx_secret_fetch(...), reveal = TRUE)
}

strange_key <- "EsTc LW2K PGiF wKEA 3As5 g5c4 BXwk qeeJ ZJV8 Q9fu gUMN UE4d"

test_that("a secret that is stored is fetched by another device", {
  homeserver <- mx_demo_homeserver()
  alice <- with_recovery_key(homeserver)
  name <- "org.example.token"
  expect_null(mx_secret_fetch(alice$client, name, alice$key))
  secret <- "correct horse \u00e9 %s%n {x}"
  expect_true(mx_secret_store(alice$client, name, secret, alice$key))
  other <- mx_demo_client(homeserver, "alice", verified = FALSE)
  expect_identical(fetched(other, name, alice$key), secret)
  expect_false(server_has_seen(homeserver, "correct horse"))
  # What is there already is not written again.
  asked <- requests_during(
    again <- mx_secret_store(other, name, secret, alice$key)
  )
  expect_false(again)
  expect_false(any(grepl("^PUT", asked)))
  expect_true(mx_secret_store(other, name, "another", alice$key))
  expect_identical(fetched(alice$client, name, alice$key), "another")
})

test_that("a secret that was fetched does not show", {
  alice <- with_recovery_key(mx_demo_homeserver())
  word <- paste("correct", "horse", "battery")
  mx_secret_store(alice$client, "org.example.token", word, alice$key)
  secret <- mx_secret_fetch(alice$client, "org.example.token", alice$key)
  expect_s3_class(secret, "mx_secret")
  expect_nowhere(word, secret)
  expect_match(format(secret), "mx_secret", all = FALSE)
  saved <- unserialize(serialize(secret, NULL))
  expect_error(format(saved, reveal = TRUE), class = "mx_error_handle")
  wrong <- catch(
    mx_secret_store(alice$client, "m.cross_signing.master", word, alice$key)
  )
  expect_s3_class(wrong, "mx_error_identity")
  expect_nowhere(word, wrong)
  expect_nowhere(gsub(" ", "", alice$key), wrong)
})

test_that("the key is found where a bot can leave it, or is missed", {
  alice <- with_recovery_key(mx_demo_homeserver())
  withr::with_envvar(c(MXCRYPT_RECOVERY_KEY = alice$key), {
    mx_secret_store(alice$client, "org.example.token", "x")
    expect_identical(fetched(alice$client, "org.example.token"), "x")
  })
  for (call in list(
    function(...) mx_secret_fetch(alice$client, "org.example.token", ...),
    function(...) mx_secret_store(alice$client, "org.example.token", "y", ...),
    function(...) mx_recovery_key_change(alice$client, ...)
  )) {
    expect_error(call(), class = "mx_error_recovery_key")
    typo <- sub(".$", if (endsWith(alice$key, "z")) "y" else "z", alice$key)
    mistyped <- expect_error(call(typo), class = "mx_error_recovery_key")
    expect_match(conditionMessage(mistyped), "parity")
    wrong <- expect_error(call(strange_key), class = "mx_error_recovery_key")
    expect_match(conditionMessage(wrong), "another account, or an older one")
  }
})

test_that("an account without secret storage says so", {
  bob <- mx_demo_client(mx_demo_homeserver(), "bob", verified = FALSE)
  expect_identical(nrow(mx_secret_storage_keys(bob)), 0L)
  expect_named(
    mx_secret_storage_keys(bob),
    c("key_id", "name", "default", "from_passphrase")
  )
  expect_null(mx_secret_fetch(bob, "org.example.token", strange_key))
  for (call in list(
    function() mx_secret_store(bob, "org.example.token", "x", strange_key),
    function() mx_recovery_key_change(bob, strange_key)
  )) {
    expect_error(call(), class = "mx_error_secret_storage")
  }
})

test_that("keys are listed", {
  homeserver <- mx_demo_homeserver()
  alice <- with_recovery_key(homeserver, passphrase = "the eagle lands")$client
  keys <- mx_secret_storage_keys(alice)
  expect_identical(nrow(keys), 1L)
  expect_true(keys$default)
  expect_true(keys$from_passphrase)
  expect_identical(keys$name, NA_character_)
  set_account_data(
    alice,
    "m.secret_storage.key.x",
    '{"algorithm":"m.secret_storage.v1.aes-hmac-sha2","name":"x"}'
  )
  set_account_data(alice, "m.secret_storage.key.gone", "{}")
  keys <- mx_secret_storage_keys(alice)
  expect_setequal(keys$name, c(NA, "x"))
  expect_identical(keys$default[!is.na(keys$name)], FALSE)
})

test_that("other account data is neither taken for a secret nor overwritten", {
  alice <- with_recovery_key(mx_demo_homeserver())
  set_account_data(alice$client, "m.direct", '{"@bob:demo":["!a:b"]}')
  for (name in c("m.direct", "m.secret_storage.default_key")) {
    expect_error(
      mx_secret_fetch(alice$client, name, alice$key),
      class = "mx_error_secret_storage"
    )
  }
  for (name in c("m.direct", "m.secret_storage.key.x")) {
    asked <- requests_during(expect_error(
      mx_secret_store(alice$client, name, "x", alice$key),
      class = "mx_error_secret_storage"
    ))
    expect_false(any(grepl("^PUT", asked)))
  }
})

test_that("nothing is written beside keys that are not those published", {
  homeserver <- mx_demo_homeserver()
  alice <- with_recovery_key(homeserver)
  master <- fetched(alice$client, "m.cross_signing.master", alice$key)
  refused <- function(call, class = "mx_error_identity") {
    asked <- requests_during(expect_error(call, class = class))
    expect_false(any(grepl("^PUT", asked)))
  }
  # Under another name, of nobody, and no key at all.
  for (value in c(master, strrep("A", 43), "x")) {
    refused(mx_secret_store(
      alice$client,
      "m.cross_signing.self_signing",
      value,
      alice$key
    ))
  }
  refused(mx_secret_store(alice$client, "m.cross_signing.x", "x", alice$key))
  # What is right is there already.
  name <- "m.cross_signing.master"
  expect_false(mx_secret_store(alice$client, name, master, alice$key))
  set_account_data(alice$client, name, "{}")
  expect_true(mx_secret_store(alice$client, name, master, alice$key))

  # The identity is another now, and the old keys were put back beside it.
  types <- paste0("m.cross_signing.", identity_keys)
  old <- c(
    types,
    default_key_type(alice$client),
    "m.secret_storage.default_key"
  )
  texts <- lapply(old, function(type) stored_text(alice$client, type))
  other <- mx_demo_client(homeserver, "alice", verified = FALSE)
  mx_crypto_setup(other, reset = TRUE, password = "demo")
  put_account_data(alice$client, old, texts)
  for (client in list(alice$client, other)) {
    refused(mx_secret_store(client, "org.example.token", "x", alice$key))
    refused(mx_recovery_key_change(client, alice$key))
  }
})

test_that("another key than the default one opens what is encrypted with it", {
  homeserver <- mx_demo_homeserver()
  alice <- with_recovery_key(homeserver)
  name <- "org.example.token"
  mx_secret_store(alice$client, name, "x", alice$key)
  second <- second_key(alice$client, alice$key)
  mx_secret_store(alice$client, "org.example.later", "y", alice$key)
  bot <- mx_demo_client(homeserver, "alice", verified = FALSE)
  expect_identical(sum(mx_secret_storage_keys(bot)$default), 1L)
  expect_identical(nrow(mx_secret_storage_keys(bot)), 2L)
  expect_identical(fetched(bot, name, second), "x")
  mx_crypto_setup(bot, recovery_key = second)
  expect_setequal(
    core(machine_identity_status(machine_of(bot)))[["held"]],
    identity_keys
  )
  # It opens what is encrypted with it, and is not what others read with.
  expect_error(
    mx_secret_fetch(bot, "org.example.later", second),
    class = "mx_error_secret_storage"
  )
  expect_error(
    mx_secret_store(bot, name, "y", second),
    class = "mx_error_recovery_key"
  )
  # The same value leaves its copy alone, another replaces it.
  mx_secret_store(bot, name, "x", alice$key)
  expect_identical(fetched(bot, name, second), "x")
  mx_secret_store(bot, name, "z", alice$key)
  expect_error(
    mx_secret_fetch(bot, name, second),
    class = "mx_error_secret_storage"
  )
  # Without a check, the secrets tell which key it is.
  for (key in mx_secret_storage_keys(bot)$key_id) {
    set_account_data(
      bot,
      paste0("m.secret_storage.key.", key),
      '{"algorithm":"m.secret_storage.v1.aes-hmac-sha2"}'
    )
  }
  new <- mx_demo_client(homeserver, "alice", verified = FALSE)
  mx_crypto_setup(new, recovery_key = second)
  expect_identical(fetched(new, name, alice$key), "z")
})

test_that("a passphrase that nothing proves is not encrypted with", {
  alice <- with_recovery_key(
    mx_demo_homeserver(),
    passphrase = "the eagle lands"
  )$client
  type <- default_key_type(alice)
  # One iteration, which a server can undo.
  weak <- paste0(
    '{"algorithm":"m.secret_storage.v1.aes-hmac-sha2","passphrase":',
    '{"algorithm":"m.pbkdf2","salt":"x","iterations":1}}'
  )
  set_account_data(alice, type, weak)
  asked <- requests_during({
    for (call in list(
      function(...) mx_secret_store(alice, "org.example.token", "x", ...),
      function(...) mx_recovery_key_change(alice, ...)
    )) {
      expect_error(
        call(passphrase = "the eagle lands"),
        class = "mx_error_secret_storage"
      )
    }
  })
  expect_false(any(grepl("^PUT", asked)))
})

test_that("whatever account data a server shows, it is a classed error", {
  alice <- with_recovery_key(mx_demo_homeserver())
  client <- alice$client
  secret <- '{"type":"org.example.token","content":{"encrypted":%s}}'
  key <- paste0(
    '{"type":"m.secret_storage.default_key","content":{"key":"k"}},',
    '{"type":"m.secret_storage.key.k","content":{',
    '"algorithm":"m.secret_storage.v1.aes-hmac-sha2"}},'
  )
  events <- c(
    "5",
    "[5,null,{}]",
    '[{"type":5,"content":{}},{"type":"x","content":5}]',
    '[{"type":"m.secret_storage.default_key","content":{"key":5}}]',
    '[{"type":"m.secret_storage.default_key","content":{"key":"k"}}]',
    sprintf("[%s%s]", key, sprintf(secret, "5")),
    sprintf("[%s%s]", key, sprintf(secret, "{}")),
    sprintf("[%s%s]", key, sprintf(secret, '{"k":5}')),
    sprintf("[%s%s]", key, sprintf(secret, '{"k":{"iv":1}}')),
    sprintf("[%s%s]", key, sprintf(secret, '{"k":{"iv":"%s","mac":"x"}}'))
  )
  bodies <- c(
    sprintf('{"account_data":{"events":%s}}', events),
    '{"account_data":5}',
    '{"account_data":[]}',
    "[]",
    "5",
    "",
    strrep("[", 1e4)
  )
  real <- http_once
  for (body in bodies) {
    hostile <- function(session, method, path, ...) {
      if (grepl("/sync", path)) {
        return(list(status = 200L, body = charToRaw(body)))
      }
      real(session, method, path, ...)
    }
    local({
      local_replaced("http_once", hostile)
      for (call in list(
        function() mx_secret_storage_keys(client),
        function() mx_secret_fetch(client, "org.example.token", alice$key),
        function() mx_secret_store(client, "org.example.token", "x", alice$key),
        function() mx_recovery_key_change(client, alice$key)
      )) {
        condition <- catch(call())
        if (!is.null(condition)) {
          expect_match(
            class(condition)[[1]],
            "mx_error_(answer|secret_storage|recovery_key)"
          )
        }
      }
    })
  }
})

test_that("what opens secret storage is made once a call, and R does not hold it", {
  word <- paste("correct", "horse", "battery")
  given <- check_given(NULL, word)
  expect_nowhere(word, given)
  expect_nowhere(strange_key, check_given(strange_key, NULL))
  homeserver <- mx_demo_homeserver()
  made <- 0
  real <- storage_secret_new
  local_replaced("storage_secret_new", function(...) {
    made <<- made + 1
    real(...)
  })
  once <- function(code) {
    made <<- 0
    suppressMessages(code)
    expect_identical(made, 1)
  }
  client <- function() mx_demo_client(homeserver, "alice", verified = FALSE)
  # Each remembers the keys that were derived from its passphrase.
  once(mx_crypto_setup(client(), passphrase = word))
  once(mx_crypto_setup(client(), passphrase = word))
  alice <- client()
  once(mx_crypto_repair(alice, passphrase = word, ask = FALSE))
  once(mx_dehydrated_device_create(alice, passphrase = word))
  once(mx_dehydrated_device_rehydrate(alice, passphrase = word))
  mx_backup_delete(alice)
  once(mx_backup_enable(alice, passphrase = word))
  once(mx_secret_store(alice, "org.example.token", "v", passphrase = word))
  once(mx_secret_fetch(alice, "org.example.token", passphrase = word))
  once(mx_recovery_key_change(alice, passphrase = word))
})

token <- "org.example.token"

# What a new device can do with a key, and what is to be had with another.
expect_key_changed <- function(homeserver, old, new, old_id, where = NULL) {
  bot <- mx_demo_client(homeserver, "alice", verified = FALSE)
  expect_error(
    mx_crypto_setup(bot, recovery_key = old),
    class = "mx_error_recovery_key"
  )
  expect_error(
    mx_secret_fetch(bot, token, old),
    class = "mx_error_recovery_key"
  )
  setup <- mx_crypto_setup(bot, recovery_key = new)
  expect_length(setup$steps, 3)
  secret <- mx_secret_fetch(bot, token, new)
  expect_identical(format(secret, reveal = TRUE), "correct horse", info = where)
  # Nothing is left that names the old key, but its empty description.
  events <- json_decode(rawToChar(account_data(bot)))
  events <- json_at(events, "account_data", "events")
  for (event in events) {
    type <- event[["type"]]
    content <- unclass(mxc_json(event[["content"]]))
    expect_false(grepl(old_id, content, fixed = TRUE), info = where)
    if (endsWith(type, old_id)) {
      expect_length(event[["content"]], 0)
    }
  }
  keys <- mx_secret_storage_keys(bot)
  expect_identical(keys$default, TRUE)
}

# An account with an identity and one more secret.
scene <- function(...) {
  homeserver <- mx_demo_homeserver()
  alice <- with_recovery_key(homeserver, ...)
  mx_secret_store(alice$client, token, "correct horse", alice$key, ...)
  id <- secret_storage(alice$client)[["default_key"]]
  c(alice, list(homeserver = homeserver, id = id))
}

test_that("a new recovery key opens all, and the old one nothing", {
  alice <- scene()
  master <- mx_user_trust(alice$client, alice$client$user_id)$master_key
  # A copy under a key that is gone stays out of what is kept.
  copies <- c("encrypted", "gone key")
  text <- edit_json(stored_text(alice$client, token), copies, list(iv = "x"))
  set_account_data(alice$client, token, text)
  new <- mx_recovery_key_change(alice$client, alice$key)
  expect_s3_class(new, "mx_recovery_key")
  text <- format(new, reveal = TRUE)
  expect_nowhere(gsub(" ", "", text), new)
  expect_false(text == alice$key)
  expect_key_changed(alice$homeserver, alice$key, text, alice$id)
  expect_no_match(stored_text(alice$client, token), "gone key")
  trust <- mx_user_trust(alice$client, alice$client$user_id)
  expect_identical(trust$master_key, master)
  mx_recovery_key_forget(new)
  expect_false(server_has_seen(alice$homeserver, gsub(" ", "", text)))
  # The next change begins anew, and needs the key.
  expect_error(
    mx_recovery_key_change(alice$client),
    class = "mx_error_recovery_key"
  )
  expect_error(
    mx_recovery_key_change(alice$client, alice$key),
    class = "mx_error_recovery_key"
  )
  expect_s3_class(
    mx_recovery_key_change(alice$client, text),
    "mx_recovery_key"
  )
})

test_that("a passphrase can be changed, and can take the place of a key", {
  alice <- scene(passphrase = "the eagle lands")
  expect_null(alice$key)
  new <- mx_recovery_key_change(
    alice$client,
    passphrase = "the eagle lands",
    new_passphrase = "the fish swims"
  )
  expect_null(new)
  bot <- mx_demo_client(alice$homeserver, "alice", verified = FALSE)
  expect_error(
    mx_crypto_setup(bot, passphrase = "the eagle lands"),
    class = "mx_error_recovery_key"
  )
  mx_crypto_setup(bot, passphrase = "the fish swims")
  new <- mx_recovery_key_change(bot, passphrase = "the fish swims")
  text <- format(new, reveal = TRUE)
  expect_length(mx_crypto_setup(alice$client)$steps, 0)
  secret <- mx_secret_fetch(alice$client, token, text)
  expect_identical(format(secret, reveal = TRUE), "correct horse")
})

test_that("killed at any request, it goes on with the same key", {
  skip_on_cran()
  any <- function(method, path) TRUE
  alice <- scene()
  n <- length(requests_during(mx_recovery_key_change(alice$client, alice$key)))
  expect_gt(n, 15)
  for (acted in c(FALSE, TRUE)) {
    for (at in seq_len(n)) {
      where <- sprintf("request %d, acted: %s", at, acted)
      alice <- scene()
      local({
        local_death(at, acted, deadly = any)
        expect_error(
          mx_recovery_key_change(alice$client, alice$key),
          class = "killed"
        )
      })
      forget_open_stores()
      client <- mx_client_load(path = alice$client$path)
      # Whatever the default key is now, it opens all.
      kept <- core(machine_recovery_key(machine_of(client)))
      default <- secret_storage(client)[["default_key"]]
      key <- if (default == alice$id) alice$key else kept
      bot <- mx_demo_client(alice$homeserver, "alice", verified = FALSE)
      expect_length(mx_crypto_setup(bot, recovery_key = key)$steps, 3)
      secret <- mx_secret_fetch(bot, token, key)
      expect_identical(format(secret, reveal = TRUE), "correct horse")
      # The old key is asked for only where nothing was begun.
      new <- mx_recovery_key_change(client, if (is.null(kept)) alice$key)
      text <- format(new, reveal = TRUE)
      expect_true(is.null(kept) || identical(text, kept), info = where)
      expect_key_changed(alice$homeserver, alice$key, text, alice$id, where)
      seen <- mx_demo_requests(alice$homeserver)
      keys <- regmatches(seen, regexpr('^\\{"key":"[^"]*"', seen))
      expect_length(unique(keys), 2)
    }
  }
})

test_that("a change that is under way is not taken for another", {
  alice <- scene()
  change <- function(...) mx_recovery_key_change(alice$client, ...)
  second <- second_key(alice$client, alice$key)
  expect_error(
    change(alice$key, new_passphrase = "the eagle lands"),
    class = "mx_error_recovery_key"
  )
  expect_identical(format(change(), reveal = TRUE), second)

  # Somebody else was faster: what was made here counts for nothing.
  ours <- second_key(alice$client, second)
  other <- mx_demo_client(alice$homeserver, "alice", verified = FALSE)
  theirs <- format(mx_recovery_key_change(other, second), reveal = TRUE)
  expect_error(change(), class = "mx_error_recovery_key")
  expect_error(change(second), class = "mx_error_recovery_key")
  new <- format(change(theirs), reveal = TRUE)
  expect_false(new %in% c(ours, theirs))
  expect_key_changed(alice$homeserver, theirs, new, alice$id)
})

test_that("a change that another process begins meanwhile is gone on with", {
  alice <- scene()
  second <- NULL
  real <- storage_secret
  # While she looks for her key.
  local_replaced("storage_secret", function(...) {
    local_replaced("storage_secret", real)
    second <<- second_key(alice$client, alice$key)
    real(...)
  })
  new <- mx_recovery_key_change(alice$client, alice$key)
  expect_identical(format(new, reveal = TRUE), second)
})

test_that("another passphrase than that under way is refused", {
  alice <- scene()
  local({
    local_death(2, TRUE)
    expect_error(
      mx_recovery_key_change(alice$client, alice$key, new_passphrase = "one"),
      class = "killed"
    )
  })
  expect_error(
    mx_recovery_key_change(alice$client, new_passphrase = "two"),
    class = "mx_error_recovery_key"
  )
  mx_recovery_key_change(alice$client, new_passphrase = "one")
  secret <- mx_secret_fetch(alice$client, token, passphrase = "one")
  expect_identical(format(secret, reveal = TRUE), "correct horse")
})

test_that("while an identity is being made, the key stays", {
  alice <- scene()
  local({
    local_death(1, FALSE)
    expect_error(mx_crypto_setup(alice$client, reset = TRUE), class = "killed")
  })
  expect_error(
    mx_recovery_key_change(alice$client, alice$key),
    class = "mx_error_identity"
  )
})

test_that("a secret that does not open stops the change before it begins", {
  alice <- scene()
  stops <- function(class = "mx_error_secret_storage", key = alice$key) {
    asked <- requests_during(expect_error(
      mx_recovery_key_change(alice$client, key),
      class = class
    ))
    expect_false(any(grepl("^PUT", asked)))
    expect_null(core(machine_recovery_key(machine_of(alice$client))))
  }
  types <- c(token, paste0("m.cross_signing.", identity_keys))
  good <- vapply(types, function(type) stored_text(alice$client, type), "")
  # Swapped, altered, and with an iv that makes another text of it.
  set_account_data(alice$client, types[[2]], good[[3]])
  stops()
  set_account_data(alice$client, types[[2]], good[[2]])
  for (member in c("ciphertext", "mac", "iv")) {
    path <- c("encrypted", alice$id, member)
    bytes <- if (member == "iv") 22 else 43
    altered <- edit_json(good[[1]], path, strrep("A", bytes))
    set_account_data(alice$client, token, altered)
    stops()
  }
  set_account_data(alice$client, token, good[[1]])
})

test_that("where the server hides the identity, nothing is changed", {
  alice <- scene()
  real <- http_once
  hiding <- function(session, method, path, ...) {
    answer <- real(session, method, path, ...)
    if (grepl("/keys/query", path)) {
      text <- edit_json(rawToChar(answer$body), "master_keys")
      answer$body <- charToRaw(text)
    }
    answer
  }
  local({
    local_replaced("http_once", hiding)
    bot <- mx_demo_client(alice$homeserver, "alice", verified = FALSE)
    for (call in list(
      function() mx_recovery_key_change(bot, alice$key),
      function() mx_secret_store(bot, token, "x", alice$key)
    )) {
      asked <- requests_during(expect_error(
        call(),
        class = "mx_error_identity"
      ))
      expect_false(any(grepl("^PUT", asked)))
    }
  })
})

test_that("beside an identity that is not ours or does not hold, nothing is changed", {
  alice <- scene()
  real <- http_once
  spoiling <- function(session, method, path, ...) {
    answer <- real(session, method, path, ...)
    if (grepl("/keys/query", path)) {
      path <- c("self_signing_keys", alice$client$user_id, "signatures")
      answer$body <- charToRaw(edit_json(rawToChar(answer$body), path))
    }
    answer
  }
  refused <- function(key) {
    asked <- requests_during(expect_error(
      mx_recovery_key_change(alice$client, key),
      class = "mx_error_identity"
    ))
    expect_false(any(grepl("^PUT", asked)))
  }
  local({
    local_replaced("http_once", spoiling)
    refused(alice$key)
  })
  other <- mx_demo_client(alice$homeserver, "alice", verified = FALSE)
  setup <- mx_crypto_setup(other, reset = TRUE, password = "demo")
  refused(format(setup$recovery_key, reveal = TRUE))
})

test_that("a copy that the server alters in between is noticed", {
  alice <- scene()
  new <- second_key(alice$client, alice$key)
  content <- json_decode(stored_text(alice$client, token))
  id <- setdiff(names(content[["encrypted"]]), alice$id)
  altered <- edit_json(
    stored_text(alice$client, token),
    c("encrypted", id, "iv"),
    strrep("A", 22)
  )
  set_account_data(alice$client, token, altered)
  # The old copy is the one that counts still.
  expect_identical(
    format(mx_recovery_key_change(alice$client), reveal = TRUE),
    new
  )
  expect_key_changed(alice$homeserver, alice$key, new, alice$id)
})

test_that("a copy that the server alters after the switch is noticed", {
  alice <- scene()
  second_key(alice$client, alice$key)
  both <- stored_text(alice$client, token)
  id <- setdiff(names(json_decode(both)[["encrypted"]]), alice$id)
  mx_secret_store(alice$client, token, "newer", alice$key)
  newer <- stored_text(alice$client, token)
  default <- unclass(mxc_json(list(key = id)))
  set_account_data(alice$client, "m.secret_storage.default_key", default)
  altered <- lapply(c(alice$id, id), function(key) {
    edit_json(both, c("encrypted", key, "iv"), strrep("A", 22))
  })
  # And one of an earlier value, which opens.
  copy <- json_decode(newer)[["encrypted"]][[alice$id]]
  replayed <- edit_json(both, c("encrypted", alice$id), copy)
  for (text in c(altered, replayed)) {
    set_account_data(alice$client, token, text)
    asked <- requests_during(expect_error(
      mx_recovery_key_change(alice$client),
      class = "mx_error_secret_storage"
    ))
    expect_false(any(grepl("^PUT", asked)))
  }
  new <- core(machine_recovery_key(machine_of(alice$client)))
  mx_secret_store(alice$client, token, "correct horse", new)
  mx_recovery_key_change(alice$client)
  expect_key_changed(alice$homeserver, alice$key, new, alice$id)
})

test_that("another key than the default one changes both", {
  alice <- scene()
  second <- second_key(alice$client, alice$key)
  mx_secret_store(alice$client, "org.example.later", "y", alice$key)
  bot <- mx_demo_client(alice$homeserver, "alice", verified = FALSE)
  # It would lose what only the default key opens.
  expect_error(
    mx_recovery_key_change(bot, second),
    class = "mx_error_secret_storage"
  )
  set_account_data(bot, "org.example.later", "{}")
  new <- format(mx_recovery_key_change(bot, second), reveal = TRUE)
  expect_key_changed(alice$homeserver, alice$key, new, alice$id)
  expect_error(
    mx_secret_fetch(bot, token, second),
    class = "mx_error_recovery_key"
  )
})

test_that("a server that keeps nothing ends it, and loses nothing", {
  alice <- scene()
  real <- http_once
  forgetful <- function(session, method, path, ...) {
    if (method == "PUT") {
      return(list(status = 200L, body = charToRaw("{}")))
    }
    real(session, method, path, ...)
  }
  local({
    local_replaced("http_once", forgetful)
    expect_error(
      mx_recovery_key_change(alice$client, alice$key),
      class = "mx_error_secret_storage"
    )
  })
  new <- format(mx_recovery_key_change(alice$client), reveal = TRUE)
  expect_key_changed(alice$homeserver, alice$key, new, alice$id)
})

test_that("a default key that another client sets in between is not replaced", {
  alice <- scene()
  default <- "m.secret_storage.default_key"
  real <- http_once
  overtaken <- function(session, method, path, ...) {
    answer <- real(session, method, path, ...)
    if (method == "PUT" && grepl("storage.key", path)) {
      path <- account_data_path(alice$client, default)
      real(session, "PUT", path, '{"key":"theirs"}', 0, NULL, NULL)
    }
    answer
  }
  local({
    local_replaced("http_once", overtaken)
    expect_error(
      mx_recovery_key_change(alice$client, alice$key),
      class = "mx_error_secret_storage"
    )
  })
  expect_identical(secret_storage(alice$client)[["default_key"]], "theirs")
})

test_that("a recovery key that waits to be saved is not forgotten", {
  alice <- scene()
  new <- mx_recovery_key_change(alice$client, alice$key)
  text <- format(new, reveal = TRUE)
  other <- mx_demo_client(alice$homeserver, "alice", verified = FALSE)
  theirs <- format(mx_recovery_key_change(other, text), reveal = TRUE)
  expect_error(
    mx_recovery_key_change(alice$client, theirs),
    class = "mx_error_recovery_key"
  )
  expect_identical(format(new, reveal = TRUE), text)
  mx_recovery_key_forget(new)
  expect_s3_class(
    mx_recovery_key_change(alice$client, theirs),
    "mx_recovery_key"
  )
})

# The view of identity and recovery.

test_that("encryption is set up with a generated key, shown only on request", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  in_view(alice, "recovery", {
    expect_match(shown("recovery_forms"), "Set up encryption")
    expect_equal(shown("recovery_new_key"), "")
    done <- send("recovery_set_up", kind = "generate")
    expect_true(done$ok)
    expect_match(done$html, "Save it now")
    key <- format(new_recovery_key(alice), reveal = TRUE)
    expect_no_match(done$html, key, fixed = TRUE)
    expect_match(shown("recovery_new_key"), "Show the recovery key")
    expect_no_match(shown("recovery_new_key"), key, fixed = TRUE)
    expect_match(shown("recovery_forms"), "This device is verified")
    expect_no_match(send("recovery_show")$html, key, fixed = TRUE)
    expect_match(shown("recovery_new_key"), key, fixed = TRUE)
    send("recovery_hide")
    expect_no_match(shown("recovery_new_key"), key, fixed = TRUE)
  })
  # A page that is loaded again can show it still.
  in_view(alice, "recovery", {
    expect_match(shown("recovery_new_key"), "Show the recovery key")
    send("recovery_show")
    expect_match(shown("recovery_new_key"), "recovery-key-@alice_demo.txt")
    expect_true(send("recovery_saved")$ok)
    expect_equal(shown("recovery_new_key"), "")
    # What was not shown here is not forgotten from here.
    expect_false(send("recovery_saved")$ok)
    # Another tab had it open.
    send("recovery_show")
    expect_equal(shown("recovery_new_key"), "")
    expect_null(mx_crypto_setup(alice)$recovery_key)
  })
  expect_true(mx_cross_signing_ready(alice))
})

test_that("encryption is set up with a passphrase, which is changed for a key", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  in_view(alice, "recovery", {
    sent <- list("recovery_set_up", kind = "passphrase")
    with <- function(...) do.call(send, c(sent, list(...)))
    expect_match(with()$html, "Choose a passphrase")
    expect_match(
      with(new_passphrase = "correct horse", again = "battery")$html,
      "differ"
    )
    expect_match(shown("recovery_forms"), "Set up encryption")
    done <- with(new_passphrase = "correct horse", again = "correct horse")
    expect_true(done$ok)
    expect_equal(shown("recovery_new_key"), "")
    wrong <- send("recovery_change", kind = "generate", recovery_key = "wrong")
    expect_false(wrong$ok)
    expect_no_match(wrong$html, "wrong", fixed = TRUE)
    changed <- send(
      "recovery_change",
      kind = "generate",
      recovery_key = "correct horse"
    )
    expect_true(changed$ok)
    expect_match(shown("recovery_new_key"), "Show the recovery key")
  })
  late <- mx_demo_client(homeserver, "alice", verified = FALSE)
  expect_error(
    mx_crypto_setup(late, passphrase = "correct horse"),
    class = "mx_error"
  )
})

test_that("a device is verified with the recovery key or the passphrase", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  key <- format(mx_crypto_setup(alice)$recovery_key, reveal = TRUE)
  late <- mx_demo_client(homeserver, "alice", verified = FALSE)
  in_view(late, "recovery", {
    expect_match(shown("recovery_forms"), "Verify with the recovery key")
    expect_match(send("recovery_verify")$html, "Enter the recovery key")
    expect_false(send("recovery_verify", recovery_key = "no key")$ok)
    # As a person types it.
    typed <- paste0(" ", gsub(" ", "", key), " ")
    expect_true(send("recovery_verify", recovery_key = typed)$ok)
    expect_match(shown("recovery_forms"), "This device is verified")
  })
  expect_true(mx_cross_signing_ready(late))
})

test_that("recovery is set up for an identity without secret storage", {
  status <- list(
    master_key = "key",
    device_signed = TRUE,
    identity_changed = FALSE,
    secret_storage = FALSE,
    key_storage = list(recovery = "not_set_up"),
    cross_signing = list(
      private_keys_cached = c(
        master = TRUE,
        self_signing = TRUE,
        user_signing = TRUE
      )
    )
  )
  html <- as.character(recovery_forms(status, FALSE))
  expect_match(html, "data-input=\"recovery_make\"", fixed = TRUE)
  status$cross_signing$private_keys_cached[["self_signing"]] <- FALSE
  html <- as.character(recovery_forms(status, FALSE))
  expect_no_match(html, "data-input=\"recovery_make\"", fixed = TRUE)
  expect_no_match(html, "data-input=\"recovery_verify\"", fixed = TRUE)
})

test_that("a reset says what it costs, and needs the password of the server", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  old <- mx_crypto_setup(alice)$master_key
  late <- mx_demo_client(homeserver, "alice", verified = FALSE)
  in_view(late, "recovery", {
    html <- shown("recovery_forms")
    expect_match(html, "destroys all your keys")
    expect_match(html, "Everybody who verified you has to do it again")
  })
  in_view(alice, "recovery", {
    html <- shown("recovery_forms")
    expect_match(html, "href=\"#keys\"")
    expect_no_match(html, "destroys all your keys")
    without <- send("recovery_reset", kind = "generate")
    expect_false(without$ok)
    expect_match(without$html, "password")
    # Nothing is lost: the same again goes on.
    done <- send("recovery_reset", kind = "generate", password = "demo")
    expect_true(done$ok)
    expect_match(done$html, "href=\"#devices\"")
    expect_no_match(done$html, "mx_")
  })
  status <- mx_crypto_status(alice)
  expect_false(status$master_key == old)
  expect_true(status$recovery_key)
})

test_that("a server with its own page asks for approval there", {
  status <- list(
    master_key = NULL,
    secret_storage = FALSE,
    out_of_sync = data.frame(problem = "identity_unfinished")
  )
  html <- as.character(recovery_forms(status, TRUE))
  expect_no_match(html, "data-field=\"password\"", fixed = TRUE)
  expect_match(html, "approval on its web page")
  expect_match(html, "begun and is not finished")
})

waiting_text <- function(client) {
  format(mx_crypto_setup(client)$recovery_key, reveal = TRUE)
}

test_that("a key that was replaced is not taken for the one that waits", {
  skip_if_not_installed("shiny")
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  mx_crypto_setup(alice)
  old <- waiting_text(alice)
  in_view(alice, "recovery", {
    send("recovery_show")
    expect_match(shown("recovery_new_key"), old, fixed = TRUE)
    send("recovery_change", recovery_key = old, kind = "generate")
    new <- waiting_text(alice)
    expect_false(new == old)
    html <- shown("recovery_new_key")
    expect_no_match(html, old, fixed = TRUE)
    expect_no_match(html, new, fixed = TRUE)
    # The dialog of the old one was open meanwhile.
    expect_match(send("recovery_saved")$html, "not the key that was shown")
    expect_equal(waiting_text(alice), new)
    send("recovery_show")
    expect_match(shown("recovery_new_key"), new, fixed = TRUE)
    expect_true(send("recovery_saved")$ok)
  })
})

test_that("a reset that was begun is not continued with another passphrase", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  expect_error(
    mx_cross_signing_reset(alice, passphrase = "first words"),
    class = "mx_error_password"
  )
  expect_error(
    mx_cross_signing_reset(alice, passphrase = "other", password = "demo"),
    class = "mx_error_recovery_key"
  )
  mx_cross_signing_reset(alice, passphrase = "first words", password = "demo")
  late <- mx_demo_client(homeserver, "alice", verified = FALSE)
  mx_crypto_setup(late, passphrase = "first words")
  expect_true(mx_cross_signing_ready(late))
})

test_that("what nearly is a recovery key is not taken for a passphrase", {
  key <- "EsTZ 4us6 nh29 89jk U1uH Zbae 4PuS QQC1 86pt em8o R8nb bdwQ"
  odd <- c(
    key,
    gsub(" ", "\u00a0", key),
    paste0(key, "."),
    sub("..$", "", key),
    sub("^E", "e", key),
    gsub(" ", "", key)
  )
  for (text in odd) {
    expect_true(is_key_like(text))
  }
  words <- c(
    "correct horse battery staple",
    "Every good boy deserves fudge and more cake for everyone",
    "Every 2nd boy deserves 3 pieces of fudge or cake"
  )
  for (text in words) {
    expect_false(is_key_like(text))
  }
})

test_that("a new account is mended by making what is missing", {
  alice <- mx_demo_client(mx_demo_homeserver(), "alice", verified = FALSE)
  expect_equal(problems_of(alice), c("identity_missing", "backup_missing"))
  expect_equal(repaired(alice), c("identity_missing", "backup_missing"))
  expect_true(mx_cross_signing_ready(alice))
  withr::local_options(cli.default_handler = NULL)
  expect_message(mx_crypto_repair(alice), "Nothing is out of sync")
})

test_that("a device without its keys gets them from secret storage", {
  own <- backed_up()
  device <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  expect_equal(
    problems_of(device),
    c(
      "private_keys_missing_here",
      "device_unsigned",
      "backup_key_missing_here",
      "backup_unused"
    )
  )
  shown <- format(mx_crypto_status(device))
  expect_match(shown, "OUT OF SYNC", all = FALSE)
  expect_match(shown, "mx_crypto_repair", all = FALSE)
  expect_error(mx_crypto_repair(device), class = "mx_error_recovery_key")
  expect_length(repaired(device, own$key), 4)
  expect_equal(bodies_of(device, own$room), c("one", "two"))
})

test_that("what secret storage lacks is put there from here", {
  own <- backed_up()
  for (name in secret_names[c("user_signing", "backup")]) {
    set_account_data(own$alice, name, "{}")
  }
  expect_equal(problems_of(own$alice), "private_keys_not_stored")
  expect_equal(mx_crypto_status(own$alice)$key_storage$recovery, "incomplete")
  expect_equal(repaired(own$alice, own$key), "private_keys_not_stored")
  device <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  mx_crypto_setup(device, recovery_key = own$key)
  expect_true(mx_cross_signing_ready(device))
  expect_equal(bodies_of(device, own$room), c("one", "two"))
})

test_that("what secret storage holds and should not is replaced", {
  own <- backed_up()
  other <- with_recovery_key(own$homeserver, "bob")
  # An older backup's key, and text that opens to nothing.
  false <- strrep("A", 43)
  mx_secret_store(own$alice, "m.megolm_backup.v1", false, own$key)
  broken <- gsub(
    "\"mac\":\"..",
    "\"mac\":\"AA",
    stored_text(own$alice, secret_names[["master"]])
  )
  set_account_data(own$alice, secret_names[["master"]], broken)
  expect_equal(problems_of(own$alice), character())
  expect_equal(repaired(own$alice, own$key), "stored_keys_differ")
  device <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  mx_crypto_setup(device, recovery_key = own$key)
  expect_equal(bodies_of(device, own$room), c("one", "two"))
  # A key that is not that of the storage changes nothing.
  before <- stored_text(own$alice, secret_names[["master"]])
  expect_error(
    mx_crypto_repair(own$alice, other$key),
    class = "mx_error_recovery_key"
  )
  expect_equal(stored_text(own$alice, secret_names[["master"]]), before)
})

test_that("a key that nothing proves is not written with", {
  own <- backed_up()
  other <- with_recovery_key(own$homeserver, "bob")
  # The server leaves the check out, and every key fits.
  algorithm <- "{\"algorithm\": \"m.secret_storage.v1.aes-hmac-sha2\"}"
  set_account_data(own$alice, default_key_type(own$alice), algorithm)
  before <- stored_text(own$alice, secret_names[["master"]])
  expect_error(
    mx_crypto_repair(own$alice, other$key),
    class = "mx_error_recovery_key"
  )
  expect_equal(stored_text(own$alice, secret_names[["master"]]), before)
})

test_that("keys that are not backed up yet are", {
  own <- backed_up()
  mx_room_key_rotate(own$alice, own$room)
  mx_send_text(own$alice, own$room, "three")
  machine <- machine_of(own$alice)
  core(machine_enable_backup(machine, FALSE))
  expect_equal(problems_of(own$alice), "backup_unused")
  expect_equal(repaired(own$alice), "backup_unused")
  expect_length(backup_keys(own$alice)[[own$room]][["sessions"]], 2)
})

test_that("what needs a decision is told, and left", {
  own <- backed_up()
  other <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  new <- mx_crypto_setup(other, reset = TRUE, password = "demo")
  expect_true("identity_changed" %in% problems_of(own$alice))
  expect_error(
    mx_crypto_repair(own$alice, own$key),
    class = "mx_error_recovery_key"
  )
  expect_true("identity_changed" %in% problems_of(own$alice))
  repaired(own$alice, format(new$recovery_key, reveal = TRUE))

  own <- backed_up()
  device <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  set_account_data(own$alice, "m.secret_storage.default_key", "{}")
  done <- suppressMessages(mx_crypto_repair(device))
  expect_false(any(done$mended))
  expect_match(done$repair, "mx_cross_signing_reset", all = FALSE)
})

test_that("a person is asked after it was told", {
  withr::local_options(cli.default_handler = NULL)
  alice <- mx_demo_client(mx_demo_homeserver(), "alice", verified = FALSE)
  local_replaced("confirm", function(text) FALSE)
  told <- testthat::capture_messages(
    expect_error(
      mx_crypto_repair(alice, ask = TRUE),
      class = "mx_error_declined"
    )
  )
  expect_match(told, "Create an identity", all = FALSE)
  expect_null(identity_of(alice)$master_key)
})

# Each problem that is said to be mendable, and how it comes about. `make()` returns
# the client and the recovery key that is asked for, if one is.
mendable_problems <- list(
  identity_missing = function() {
    list(
      client = mx_demo_client(mx_demo_homeserver(), "alice", verified = FALSE)
    )
  },
  identity_unfinished = function() {
    alice <- mx_demo_client(mx_demo_homeserver(), "alice", verified = FALSE)
    local_death(6, FALSE)
    expect_error(mx_crypto_setup(alice), class = "killed")
    list(client = alice)
  },
  identity_changed = function() {
    own <- backed_up()
    other <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
    new <- mx_crypto_setup(other, reset = TRUE, password = "demo")
    list(
      client = own$alice,
      key = format(new$recovery_key, reveal = TRUE)
    )
  },
  private_keys_missing_here = function() {
    own <- backed_up()
    device <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
    list(client = device, key = own$key)
  },
  private_keys_under_other_key = function() {
    own <- backed_up()
    key <- second_key(own$alice, own$key)
    name <- secret_names[["user_signing"]]
    content <- json_decode(stored_text(own$alice, name))
    default <- secret_storage(own$alice)$default_key
    content$encrypted[[default]] <- NULL
    set_account_data(own$alice, name, as_json_text(content))
    device <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
    mx_crypto_setup(device, recovery_key = own$key)
    list(client = device, key = key, after = own$key)
  },
  private_keys_not_stored = function() {
    own <- backed_up()
    set_account_data(own$alice, secret_names[["user_signing"]], "{}")
    list(client = own$alice, key = own$key)
  },
  stored_keys_differ = function() {
    own <- backed_up()
    mx_secret_store(
      own$alice,
      secret_names[["backup"]],
      strrep("A", 43),
      own$key
    )
    list(client = own$alice, key = own$key)
  },
  device_unsigned = function() {
    own <- backed_up()
    device <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
    list(client = device, key = own$key)
  },
  backup_missing = function() {
    own <- backed_up()
    mx_backup_delete(own$alice)
    types <- c("m.key_backup", "m.org.matrix.custom.backup_disabled")
    for (type in types) {
      set_account_data(own$alice, type, "{}")
    }
    list(client = own$alice, key = own$key)
  },
  backup_unfinished = function() {
    own <- backed_up()
    is_made <- function(method, path) {
      method == "POST" && grepl("room_keys/version$", path)
    }
    local_death(1, FALSE, deadly = is_made)
    expect_error(
      mx_backup_enable(own$alice, own$key, replace = TRUE),
      class = "killed"
    )
    list(client = own$alice)
  },
  backup_key_missing_here = function() {
    own <- backed_up()
    device <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
    list(client = device, key = own$key)
  },
  backup_unused = function() {
    own <- backed_up()
    core(machine_enable_backup(machine_of(own$alice), FALSE))
    list(client = own$alice)
  },
  backup_behind = function() {
    own <- backed_up()
    mx_room_key_rotate(own$alice, own$room)
    mx_send_text(own$alice, own$room, "three")
    list(client = own$alice)
  }
)

for (problem in names(mendable_problems)) {
  test_that(paste(problem, "is mended, as it is said to be"), {
    out <- mendable_problems[[problem]]()
    found <- mx_crypto_status(out$client)$out_of_sync
    found <- rbind(
      found,
      if (problem == "stored_keys_differ") {
        # Only a recovery key tells.
        data.frame(
          problem = problem,
          message = "",
          repair = "",
          mendable = TRUE
        )
      }
    )
    expect_true(problem %in% found$problem)
    expect_true(all(found$mendable))
    done <- suppressMessages(mx_crypto_repair(out$client, out$key))
    expect_true(problem %in% done$problem)
    expect_true(done$mended[done$problem == problem])
    if (!is.null(out$after)) {
      suppressMessages(mx_crypto_repair(out$client, out$after))
    }
    expect_equal(problems_of(out$client), character())
  })
}

test_that("each problem that can be told is known here, or cannot be mended", {
  source <- c(
    deparse(identity_problems),
    deparse(private_key_problems),
    deparse(other_key_problems),
    deparse(storage_problems),
    deparse(backup_problems),
    deparse(version_problem),
    deparse(backup_key_problems),
    deparse(backup_use_problems),
    deparse(differing_secrets)
  )
  named <- regmatches(source, gregexpr('problem\\("[a-z_]+"', source))
  named <- unique(gsub('problem\\(|"', "", unlist(named)))
  left <- c(
    "identity_refused",
    "backup_broken",
    "backup_refused",
    "backup_key_differs",
    "private_keys_lost_here",
    "secret_storage_broken"
  )
  expect_setequal(setdiff(named, left), names(mendable_problems))
})

test_that("one thing that cannot be mended does not stop the rest", {
  own <- backed_up()
  for (name in secret_names[c("user_signing", "backup")]) {
    set_account_data(own$alice, name, "{}")
  }
  make_version(own$alice, list(public_key = strrep("A", 60)))
  done <- suppressMessages(mx_crypto_repair(own$alice, own$key))
  mended <- stats::setNames(done$mended, done$problem)
  expect_true(mended[["private_keys_not_stored"]])
  expect_false(mended[["backup_refused"]])
})

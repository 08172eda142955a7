# A server whose `/room_keys/version` does not work: identity, secret storage and
# signatures do.

setup_with_broken_backup <- function(client, ...) {
  expect_warning(
    setup <- mx_crypto_setup(client, ...),
    class = "mx_warning_key_backup"
  )
  setup
}

test_that("an identity is made, and the broken backup is named", {
  for (way in names(broken_ways)) {
    homeserver <- mx_demo_homeserver()
    alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
    local({
      local_broken_backup(broken_ways[[way]])
      setup <- setup_with_broken_backup(alice)
      expect_match(format(setup), "key backup: .*cannot be used", all = FALSE)
      expect_true(mx_cross_signing_ready(alice), info = way)
      status <- mx_crypto_status(alice)
      expect_true(status$secret_storage, info = way)
      expect_equal(status$out_of_sync$problem, "backup_broken", info = way)
      expect_false(status$out_of_sync$mendable)
      expect_match(format(status), "cannot be used", all = FALSE)
      expect_match(
        format(mx_backup_status(alice)),
        "cannot be used",
        all = FALSE
      )
      # Other work goes on.
      room <- mx_room_create(alice)
      expect_no_condition(
        mx_send_text(alice, room, "hello"),
        class = "mx_error"
      )
      done <- suppressMessages(mx_crypto_repair(alice))
      expect_false(done$mended, info = way)
      expect_error(mx_backup_enable(alice), class = "mx_error_key_backup")
      expect_error(mx_backup_restore(alice), class = "mx_error_key_backup")
    })
    # It works again.
    key <- format(mx_crypto_setup(alice)$recovery_key, reveal = TRUE) |>
      suppressWarnings(classes = "mx_warning_key_backup")
    expect_equal(mx_crypto_status(alice)$out_of_sync$problem, "backup_missing")
    done <- suppressMessages(mx_crypto_repair(alice, recovery_key = key))
    expect_true(all(done$mended), info = way)
    expect_true(mx_crypto_status(alice)$key_storage$outlives_all_devices)
  }
})

test_that("another device is signed, and joins the backup when it works", {
  for (way in names(broken_ways)) {
    own <- backed_up()
    bot <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
    local({
      local_broken_backup(broken_ways[[way]])
      setup_with_broken_backup(bot, recovery_key = own$key)
      expect_equal(trust_of(own$alice, bot), "verified", info = way)
      expect_true(mx_cross_signing_ready(bot), info = way)
      # What is known of the backup stays.
      expect_equal(mx_backup_status(own$alice)$version, "1")
    })
    done <- suppressMessages(mx_crypto_repair(bot, own$key))
    expect_true(all(done$mended), info = way)
    expect_equal(bodies_of(bot, own$room), c("one", "two"), info = way)
    expect_equal(mx_crypto_status(own$alice)$out_of_sync$problem, character())
  }
})

test_that("a reset gives a new identity, and the new backup when it works", {
  for (way in names(broken_ways)) {
    own <- backed_up()
    before <- identity_of(own$alice)$master_key
    local({
      local_broken_backup(broken_ways[[way]])
      # The new version is made blindly, and cannot be seen.
      expect_warning(
        mx_cross_signing_reset(own$alice, password = "demo"),
        class = "mx_warning_key_backup"
      )
    })
    expect_false(identity_of(own$alice)$master_key == before, info = way)
    expect_true(mx_cross_signing_ready(own$alice), info = way)
    done <- suppressMessages(mx_crypto_repair(own$alice))
    expect_true(all(done$mended), info = way)
    status <- mx_backup_status(own$alice)
    expect_true(status$key_held && status$key_in_secret_storage, info = way)
    mx_backup_upload(own$alice)
    expect_length(backup_keys(own$alice)[[own$room]][["sessions"]], 1)
  }
})

test_that("a backup that cannot be made is a warning, and made later", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice", verified = FALSE)
  local({
    real <- http_once
    local_replaced("http_once", function(session, method, path, ...) {
      if (method == "POST" && grepl("/room_keys/version$", path)) {
        body <- '{"errcode":"M_FORBIDDEN","error":"No backups here"}'
        return(list(status = 403L, body = charToRaw(body)))
      }
      real(session, method, path, ...)
    })
    setup_with_broken_backup(alice)
    expect_true(mx_cross_signing_ready(alice))
    expect_equal(problems_of(alice), "backup_unfinished")
  })
  expect_equal(repaired(alice), "backup_unfinished")
  expect_true(mx_backup_status(alice)$key_held)
})

test_that("keys of the backup that do not come keep nobody from a reset", {
  own <- backed_up()
  real <- http_once
  local({
    local_replaced("http_once", function(session, method, path, ...) {
      if (method == "GET" && grepl("/room_keys/keys", path)) {
        return(list(status = 403L, body = charToRaw("{}")))
      }
      real(session, method, path, ...)
    })
    expect_warning(
      mx_cross_signing_reset(own$alice, password = "demo"),
      class = "mx_warning_key_backup"
    )
  })
  # What it holds could still be read: it is there.
  expect_true(mx_cross_signing_ready(own$alice))
  expect_equal(
    http_json(own$alice, "GET", api_path("room_keys", "version"))$version,
    "1"
  )
})

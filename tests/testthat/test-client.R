# Without what differs from run to run.
steady <- function(x) {
  x <- gsub("(store|config): +.*[/\\\\]", "\\1: <dir>/", x)
  x <- gsub("http://127.0.0.1:[0-9]+|demo:[0-9]+", "<server>", x)
  gsub("[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}", "<time>", x)
}

test_that("what a user holds prints what it is", {
  withr::local_options(width = 80)
  pair <- demo_pair()
  expect_snapshot(
    {
      pair$homeserver
      pair$alice
      mx_client_session(pair$alice)
      mx_crypto_account(pair$alice$store_dir)
      mx_crypto_sessions_load(pair$alice$store_dir)
      mx_sync_update(pair$alice)$sync
    },
    transform = steady
  )
})

test_that("printing gives the object back, invisibly", {
  pair <- demo_pair()
  held <- list(
    pair$homeserver,
    pair$alice,
    mx_client_session(pair$alice),
    mx_crypto_account(pair$alice$store_dir),
    mx_sync_update(pair$alice)$sync,
    mx_sync(pair$alice)
  )
  for (x in held) {
    expect_output(expect_identical(expect_invisible(print(x)), x), "[a-z]")
  }
})

test_that("a session is taken where no store is needed", {
  pair <- demo_pair(encrypted = FALSE)
  session <- mx_client_session(pair$alice)
  expect_s3_class(session, "mx_session")
  expect_named(unclass(session), c("server", "user_id", "device_id", "path"))
  id <- mx_set_state(session, pair$room, "m.room.topic", list(topic = "x"))
  expect_match(id, "^\\$")
  expect_error(mx_sync(session), class = "mx_error_argument")
  expect_error(
    mx_set_state(list(), pair$room, "m.room.topic", list()),
    class = "mx_error_argument"
  )
})

test_that("what only bears the class of a client is an error", {
  odd <- list(
    structure(list(), class = "mx_client"),
    structure(list(store_dir = 5), class = "mx_client"),
    structure(list(store_dir = NULL, path = NULL), class = "mx_client"),
    structure("x", class = "mx_client"),
    structure(list(), class = "mx_session")
  )
  for (x in odd) {
    expect_s3_class(catch(mx_sync(x)), "mx_error")
    expect_s3_class(
      catch(mx_set_state(x, "!a:b", "m.room.topic", list(topic = "x"))),
      "mx_error"
    )
  }
})

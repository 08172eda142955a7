# What handlers hear of the trust in users and devices.
changes <- function(events) {
  told <- events[startsWith(events$type, "mxcrypt."), ]
  # Nobody sent them, and they are of no room.
  expect_true(all(told$sender == "" & told$room_id == "" & !told$encrypted))
  told
}

reset <- function(client) mx_cross_signing_reset(client, password = "demo")

test_that("another identity, its verification and its withdrawal are events", {
  pair <- demo_pair()
  bob <- pair$bob$user_id
  # What is seen for the first time is no change.
  expect_equal(nrow(changes(mx_sync(pair$alice))), 0)
  mx_send_text(pair$alice, pair$room, "x")
  expect_equal(nrow(changes(mx_sync(pair$alice))), 0)

  first <- mx_user_trust(pair$alice, bob)$master_key
  mx_user_sign(pair$alice, bob, first)
  told <- changes(mx_sync(pair$alice))
  expect_equal(told$type, c("mxcrypt.user_trust", "mxcrypt.device_trust"))
  expect_equal(told$state_key, c(bob, bob))
  expect_true(told$content[[1]][["verified"]])
  expect_equal(told$content[[1]][["master_key"]], first)
  expect_equal(told$content[[2]][["previous"]], "signed")
  expect_equal(told$content[[2]][["trust"]], "verified")

  second <- reset(pair$bob)$master_key
  told <- changes(mx_sync(pair$alice))
  user <- told$content[[1]]
  expect_equal(user[["master_key"]], second)
  expect_true(user[["was_verified"]] && user[["needs_approval"]])
  expect_false(user[["verified"]])
  expect_match(told$body[[1]], "another identity")
  expect_match(format(told), "another identity", all = FALSE)

  mx_user_withdraw(pair$alice, bob)
  user <- changes(mx_sync(pair$alice))$content[[1]]
  expect_false(user[["was_verified"]] || user[["needs_approval"]])
})

test_that("a handler hears of them, and of a login of one's own", {
  pair <- demo_pair()
  heard <- list()
  hear <- function(event, client) heard <<- c(heard, list(event))
  listen <- function() {
    heard <<- list()
    mx_listen(
      pair$alice,
      hear,
      types = c("mxcrypt.user_trust", "mxcrypt.device_trust"),
      seconds = 0
    )
  }
  listen()
  expect_length(heard, 0)
  stranger <- mx_demo_client(pair$homeserver, "alice", verified = FALSE)
  listen()
  expect_length(heard, 1)
  expect_equal(heard[[1]]$content[["device_id"]], stranger$device_id)
  expect_null(heard[[1]]$content[["previous"]])
  expect_equal(heard[[1]]$content[["trust"]], "unsigned")
  expect_match(heard[[1]]$body, "new login of yours")
  # Blocking is a change too; and it is told once.
  mx_device_block(pair$alice, stranger$user_id, stranger$device_id)
  listen()
  expect_equal(heard[[1]]$content[["trust"]], "blocked")
  listen()
  expect_length(heard, 0)
})

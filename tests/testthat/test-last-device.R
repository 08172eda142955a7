keys_are_lost <- function(code) {
  expect_warning(code, class = "mx_warning_keys_lost")
}

test_that("who has recovery set up and all keys backed up is warned of nothing", {
  own <- backed_up()
  expect_warning(mx_logout(own$alice), NA)
})

test_that("keys of messages that are here alone are told before logging out", {
  own <- backed_up()
  mx_room_key_rotate(own$alice, own$room)
  mx_send_text(own$alice, own$room, "three")
  told <- keys_are_lost(mx_logout(own$alice))
  expect_match(conditionMessage(told), "in this store alone: 1")
  expect_match(conditionMessage(told), "mx_crypto_repair")

  none <- mx_demo_client(mx_demo_homeserver(), "alice", verified = FALSE)
  room <- mx_room_create(none)
  suppressWarnings(mx_send_text(none, room, "x"), "mx_warning")
  told <- keys_are_lost(mx_logout(none))
  expect_match(conditionMessage(told), "in this store alone: 1")
})

test_that("the last device that has the identity is told of, another is not", {
  own <- backed_up()
  other <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  mx_crypto_setup(other, recovery_key = own$key)
  set_account_data(own$alice, "m.secret_storage.default_key", "{}")
  asked <- NULL
  local({
    local_replaced("confirm", function(text) {
      asked <<- text
      FALSE
    })
    expect_error(
      mx_logout(own$alice, ask = TRUE),
      class = "mx_error_declined"
    )
    expect_false(any(grepl("identity", asked)))
    # Nothing is lost, and so nothing is asked.
    asked <<- NULL
    mx_device_delete(own$alice, other$device_id, "demo", ask = TRUE)
    expect_null(asked)
    expect_error(
      mx_logout(own$alice, ask = TRUE),
      class = "mx_error_declined"
    )
    expect_match(asked, "No other device has your identity", all = FALSE)
  })
  told <- keys_are_lost(mx_logout(own$alice))
  expect_match(conditionMessage(told), "No other device has your identity")
})

test_that("a device without the identity may not delete the last that has it", {
  own <- backed_up()
  set_account_data(own$alice, "m.secret_storage.default_key", "{}")
  other <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  local({
    local_replaced("confirm", function(text) FALSE)
    expect_error(
      mx_device_delete(other, own$alice$device_id, "demo", ask = TRUE),
      class = "mx_error_declined"
    )
  })
  keys_are_lost(mx_device_delete(other, own$alice$device_id, "demo"))
  expect_equal(mx_devices(other, other$user_id)$device_id, other$device_id)
})

test_that("nobody is kept from logging out by what cannot be found out", {
  own <- backed_up()
  local_replaced("key_storage_now", function(...) {
    mx_abort("The server does not answer.", "mx_error_network")
  })
  told <- keys_are_lost(mx_logout(own$alice))
  expect_match(conditionMessage(told), "could not be found out")
  expect_null(read_config(own$alice$path)$token)
})

test_that("a dehydrated device does not keep the identity", {
  own <- backed_up()
  mx_dehydrated_device_create(own$alice, recovery_key = own$key)
  set_account_data(own$alice, "m.secret_storage.default_key", "{}")
  lost <- lost_with(own$alice, own$alice$device_id)
  expect_match(lost, "No other device has your identity", all = FALSE)
})

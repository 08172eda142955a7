# What Synapse makes of a session that is gone on with. It asks for a browser
# only together with a second server: what comes of that is in
# tests/testthat/test-authentication.R, with a stand-in.

test_that("a session is gone on with, and one that is unknown begun anew", {
  user <- live_user("alice")
  laptop <- live_client(user)
  phone <- live_client(user)
  withr::local_envvar(MXCRYPT_PASSWORD = NA)
  path <- api_path("delete_devices")
  request <- as_json_text(list(devices = I(phone$device_id)))
  remember <- function(session) {
    noted <- machine_note_approval(machine_of(laptop), path, request, session)
    core(noted)
  }
  devices <- function() mx_devices(laptop, laptop$user_id)$device_id
  # Synapse answers 400, and is asked anew: what it wants is a password.
  remember("nothing it knows")
  expect_error(
    mx_device_delete(laptop, phone$device_id),
    class = "mx_error_password"
  )
  expect_setequal(devices(), c(laptop$device_id, phone$device_id))
  # Its stage is completed by somebody else, as a browser does.
  asked <- challenge_of(http_perform(laptop, "POST", path, request))
  expect_equal(asked$stages, "m.login.password")
  password <- user[["password"]]
  auth <- stage_auth(laptop, asked$stages, asked$session, password, NULL)
  nobody <- list(devices = list(), auth = auth)
  http_json(laptop, "POST", path, nobody)
  remember(asked$session)
  expect_null(mx_device_delete(laptop, phone$device_id))
  expect_equal(devices(), laptop$device_id)
})

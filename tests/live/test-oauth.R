# Signing in at a homeserver that takes nothing but OAuth 2.0, and the life of such a
# login. The server and the person are those of helper-oauth.R.

local_oauth <- function(..., env = parent.frame()) {
  withr::local_envvar(MXCRYPT_PASSWORD = NA, .local_envir = env)
  withr::local_options(
    mxcrypt.keyring = FALSE,
    mxcrypt.pause = 0.01,
    rlang_interactive = FALSE,
    .local_envir = env
  )
  live_oauth(..., .local_envir = env)
}

# A script that signs in: the same call each time.
oauth_script <- function(oauth, ..., env = parent.frame()) {
  dir <- withr::local_tempdir(.local_envir = env)
  function() {
    mx_client_configure(
      oauth$url,
      path = file.path(dir, "matrix.json"),
      store_dir = file.path(dir, "crypto"),
      ...
    )
  }
}

oauth_person <- function() paste0("u", substr(random_hex(), 1, 10))

random_hex <- function() {
  tolower(gsub("[^A-Za-z0-9]", "", random_text()))
}

# A client of somebody who approved it.
oauth_client <- function(
  oauth,
  person = oauth_person(),
  ...,
  env = parent.frame()
) {
  script <- oauth_script(oauth, ..., env = env)
  condition <- expect_error(script(), class = "mx_error_approval")
  oauth$approve(condition$user_code, person)
  client <- script()
  mx_isolation_mode(client, "all")
  client
}

refreshes <- function(oauth) {
  seen <- oauth$requests("/oauth2/token")
  sum(seen$grant_type %in% "refresh_token")
}

test_that("a script is signed in in two runs, encrypts, and needs no third", {
  oauth <- local_oauth(interval = 0)
  script <- oauth_script(oauth)
  condition <- expect_error(script(), class = "mx_error_approval")
  expect_match(condition$url, condition$user_code, fixed = TRUE)
  # A run too early says the same again.
  early <- expect_error(script(), class = "mx_error_approval")
  expect_equal(early$user_code, condition$user_code)
  person <- oauth_person()
  oauth$approve(condition$user_code, person)
  alice <- script()
  expect_match(alice$user_id, paste0("@", person, ":"), fixed = TRUE)
  mx_isolation_mode(alice, "all")
  bob <- oauth_client(oauth)
  suppressMessages(mx_crypto_setup(alice))
  expect_true(mx_crypto_status(alice)$device_signed)
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  mx_sync(alice)
  mx_send_text(alice, room, "signed in by code")
  expect_true("signed in by code" %in% messages(mx_sync(bob))$body)
  again <- script()
  expect_equal(again$device_id, alice$device_id)
  expect_equal(nrow(mx_rooms(again)), 1)
})

test_that("a code that is refused, or that nobody uses, signs nobody in", {
  oauth <- local_oauth(code_ttl = 600)
  script <- oauth_script(oauth)
  condition <- expect_error(script(), class = "mx_error_approval")
  oauth$deny(condition$user_code)
  expect_error(script(), class = "mx_error_oauth_access_denied")
  oauth$settings(code_ttl = 3)
  condition <- expect_error(script(), class = "mx_error_approval")
  Sys.sleep(4)
  again <- expect_error(script(), class = "mx_error_approval")
  expect_false(again$user_code == condition$user_code)
})

test_that("a server that says slow down is obeyed", {
  oauth <- local_oauth()
  script <- oauth_script(oauth)
  condition <- expect_error(script(), class = "mx_error_approval")
  oauth$approve(condition$user_code, oauth_person())
  oauth$slow_down(1)
  expect_s3_class(script(), "mx_client")
  polls <- oauth$requests("/oauth2/token")
  expect_equal(polls$status, c(400L, 200L))
})

test_that("a token that expires is renewed, by one of two processes", {
  oauth <- local_oauth()
  oauth$settings(access_ttl = 6)
  client <- oauth_client(oauth)
  before <- read_config(client$path)
  oauth$settings(access_ttl = 300)
  Sys.sleep(7)
  worker <- function(path) {
    client <- mxcrypt::mx_client_load(path = path)
    nrow(mxcrypt::mx_rooms(client))
  }
  old <- refreshes(oauth)
  both <- lapply(1:2, function(i) callr::r_bg(worker, list(client$path)))
  for (process in both) {
    process$wait(120000)
    expect_equal(process$get_result(), 0L)
  }
  expect_equal(refreshes(oauth) - old, 1)
  after <- read_config(client$path)
  expect_false(after[["token"]] == before[["token"]])
  expect_false(after[["refresh_token"]] == before[["refresh_token"]])
  expect_equal(nrow(mx_rooms(client)), 0)
  expect_equal(refreshes(oauth) - old, 1)
})

# The specification wants a server to take the old refresh token then, once more.
# oidc-provider takes it for a stolen one: what is left is to sign in again.
test_that("a renewal whose response is lost is made again, once", {
  oauth <- local_oauth()
  oauth$settings(access_ttl = 6)
  client <- oauth_client(oauth)
  oauth$settings(access_ttl = 300)
  Sys.sleep(7)
  oauth$lose_answer("/oauth2/token")
  expect_error(mx_rooms(client), class = "mx_error_M_UNKNOWN_TOKEN")
  sent <- oauth$requests("/oauth2/token")
  sent <- sent[sent$grant_type %in% "refresh_token", ]
  lost <- which(is.na(sent$status))
  expect_length(lost, 1)
  expect_equal(sent$status[[lost + 1]], 400L)
  expect_equal(sent$body[[lost + 1]], sent$body[[lost]])
})

test_that("what waits is sent once the OAuth server is there again", {
  oauth <- local_oauth()
  oauth$settings(access_ttl = 6)
  client <- oauth_client(oauth)
  room <- mx_room_create(client)
  oauth$settings(access_ttl = 300)
  Sys.sleep(7)
  withr::local_options(mxcrypt.max_tries = 2)
  oauth$answer("/oauth2/token", "<html>", 503, times = 4)
  expect_error(mx_send_text(client, room, "waits"), class = "mx_error_renewal")
  oauth$clear()
  mx_sync(client)
  expect_equal(nrow(mx_outbox(client)), 0)
})

test_that("signing out revokes both tokens, and ends the device", {
  oauth <- local_oauth()
  client <- oauth_client(oauth)
  config <- read_config(client$path)
  expect_true(oauth$active(config[["token"]]))
  mx_logout(client, ask = FALSE)
  expect_false(oauth$active(config[["token"]]))
  expect_false(oauth$active(config[["refresh_token"]]))
  expect_error(mx_rooms(client), class = "mx_error_signed_out")
})

test_that("a device that was signed out elsewhere comes back with its keys", {
  oauth <- local_oauth()
  person <- oauth_person()
  client <- oauth_client(oauth, person)
  keys <- mx_devices(client, client$user_id)
  room <- mx_room_create(client)
  mx_send_text(client, room, "before")
  oauth$revoke_user(person)
  expect_error(mx_rooms(client), class = "mx_error_M_UNKNOWN_TOKEN")
  condition <- expect_error(
    mx_client_relogin(client),
    class = "mx_error_approval"
  )
  oauth$approve(condition$user_code, person)
  suppressMessages(mx_client_relogin(client))
  after <- mx_devices(client, client$user_id)
  expect_equal(after$device_id, keys$device_id)
  expect_equal(after$fingerprint, keys$fingerprint)
  mx_send_text(client, room, "after")
  expect_true(all(c("before", "after") %in% mx_messages(client, room)$body))
})

test_that("an approval by somebody else is none, and leaves no device behind", {
  oauth <- local_oauth()
  person <- oauth_person()
  script <- oauth_script(oauth, user = person)
  condition <- expect_error(script(), class = "mx_error_approval")
  other <- oauth_person()
  oauth$approve(condition$user_code, other)
  expect_error(script(), class = "mx_error_store_binding")
  of_other <- synapse_sql(
    oauth$server,
    paste0("select device_id from devices where user_id like '@", other, ":%'")
  )
  expect_false(any(nchar(unlist(of_other)) == 12L))
})

test_that("identity and devices are managed on the account page", {
  oauth <- local_oauth()
  person <- oauth_person()
  client <- oauth_client(oauth, person)
  suppressMessages(mx_crypto_setup(client))
  old <- mx_crypto_status(client)$master_key
  reset <- function() {
    suppressMessages(suppressWarnings(mx_cross_signing_reset(client)))
  }
  condition <- expect_error(reset(), class = "mx_error_approval")
  oauth$allow_reset(person, condition$url)
  reset()
  expect_false(mx_crypto_status(client)$master_key == old)
  other <- oauth_client(oauth, person)
  condition <- expect_error(
    mx_device_delete(client, other$device_id, ask = FALSE),
    class = "mx_error_approval"
  )
  oauth$delete_device(person, other$device_id, condition$url)
  expect_null(mx_device_delete(client, other$device_id, ask = FALSE))
  listed <- mx_devices(client, client$user_id)$device_id
  expect_false(other$device_id %in% listed)
})

test_that("the server says how it lets one sign in", {
  oauth <- local_oauth()
  methods <- mx_sign_in_methods(oauth$url)
  expect_equal(methods$offered, c(TRUE, FALSE, FALSE))
  condition <- expect_error(
    mx_client_configure(
      oauth$url,
      "alice",
      password = "secret",
      path = tempfile(),
      store_dir = tempfile()
    ),
    class = "mx_error_sign_in"
  )
  expect_match(conditionMessage(condition), "oauth", fixed = TRUE)
})

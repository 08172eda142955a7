# The OAuth server of these tests itself, without our client: what others rely on
# in oauth-server/ and in helper-oauth.R.

# On a connection of its own: where an old one ends without a response, libcurl
# sends the request a second time, also this kind.
raw_post <- function(url, ..., json = NULL, bearer = NULL) {
  body <- if (is.null(json)) oauth_form(...) else json
  type <- if (!is.null(json)) "Content-Type: application/json"
  bearer <- if (!is.null(bearer)) paste("Authorization: Bearer", bearer)
  handle <- curl::new_handle(copypostfields = body, fresh_connect = TRUE)
  curl::handle_setopt(handle, httpheader = as.character(c(type, bearer)))
  raw_result(curl::curl_fetch_memory(url, handle))
}

raw_get <- function(url, token = NULL) {
  bearer <- if (!is.null(token)) paste("Authorization: Bearer", token)
  handle <- curl::new_handle(httpheader = as.character(bearer))
  raw_result(curl::curl_fetch_memory(url, handle))
}

raw_result <- function(response) {
  text <- rawToChar(response[["content"]])
  body <- if (nzchar(text)) jsonlite::fromJSON(text)
  c(list(status = response[["status_code"]]), as.list(body))
}

metadata_of <- function(oauth) {
  raw_get(paste0(oauth$url, "/_matrix/client/v1/auth_metadata"))
}

whoami <- function(oauth, token) {
  raw_get(paste0(oauth$url, "/_matrix/client/v3/account/whoami"), token)
}

device_grant <- "urn:ietf:params:oauth:grant-type:device_code"

# A client that has asked for a code.
raw_device <- function(
  oauth,
  device_id,
  scope = paste0("urn:matrix:client:device:", device_id)
) {
  metadata <- metadata_of(oauth)
  client <- list(
    client_name = "raw",
    client_uri = "https://example.com/",
    application_type = "native",
    token_endpoint_auth_method = "none",
    grant_types = c("refresh_token", device_grant),
    response_types = list()
  )
  json <- jsonlite::toJSON(client, auto_unbox = TRUE)
  client <- raw_post(metadata[["registration_endpoint"]], json = json)
  expect_equal(client[["status"]], 201L)
  code <- raw_post(
    metadata[["device_authorization_endpoint"]],
    client_id = client[["client_id"]],
    scope = paste("urn:matrix:client:api:*", scope)
  )
  token <- function(...) {
    raw_post(
      metadata[["token_endpoint"]],
      client_id = client[["client_id"]],
      ...
    )
  }
  poll <- function() {
    token(grant_type = device_grant, device_code = code[["device_code"]])
  }
  refresh <- function(tokens) {
    refresh_token <- tokens[["refresh_token"]]
    token(grant_type = "refresh_token", refresh_token = refresh_token)
  }
  revoke <- function(token) {
    raw_post(
      metadata[["revocation_endpoint"]],
      client_id = client[["client_id"]],
      token = token
    )
  }
  list(code = code, poll = poll, refresh = refresh, revoke = revoke)
}

raw_sign_in <- function(oauth, user, device_id) {
  device <- raw_device(oauth, device_id)
  oauth$approve(device$code[["user_code"]], user)
  tokens <- device$poll()
  expect_equal(tokens[["status"]], 200L)
  c(device, list(tokens = tokens))
}

test_that("the homeserver offers OAuth, and no other way to sign in", {
  oauth <- live_oauth()
  metadata <- metadata_of(oauth)
  expect_equal(metadata[["issuer"]], oauth$issuer)
  expect_true(all(
    c("authorization_code", "refresh_token", device_grant) %in%
      metadata[["grant_types_supported"]]
  ))
  expect_true(all(
    c("org.matrix.device_delete", "org.matrix.cross_signing_reset") %in%
      metadata[["account_management_actions_supported"]]
  ))
  login <- raw_get(paste0(oauth$url, "/_matrix/client/v3/login"))
  expect_equal(login[["errcode"]], "M_UNRECOGNIZED")
})

test_that("a device signs in when a person confirms it", {
  oauth <- live_oauth(interval = 0)
  device <- raw_device(oauth, "OAUTHONE01")
  expect_equal(device$poll()[["error"]], "authorization_pending")
  oauth$approve(device$code[["user_code"]], "olga")
  tokens <- device$poll()
  expect_equal(tokens[["token_type"]], "Bearer")
  me <- whoami(oauth, tokens[["access_token"]])
  expect_equal(me[["user_id"]], "@olga:localhost")
  expect_equal(me[["device_id"]], "OAUTHONE01")
  # The code is good for one use.
  expect_equal(device$poll()[["error"]], "invalid_grant")
  polls <- oauth$requests("/oauth2/token")
  expect_equal(polls$grant_type, rep(device_grant, 3))
  expect_equal(polls$status, c(400L, 200L, 400L))
})

test_that("the person may deny it, or let the code run out", {
  oauth <- live_oauth(interval = 0)
  device <- raw_device(oauth, "OAUTHTWO01")
  oauth$deny(device$code[["user_code"]])
  expect_equal(device$poll()[["error"]], "access_denied")
  oauth$settings(code_ttl = 1)
  device <- raw_device(oauth, "OAUTHTWO01")
  Sys.sleep(2.1)
  expect_equal(device$poll()[["error"]], "expired_token")
  expect_error(oauth$approve(device$code[["user_code"]], "olga"))
})

test_that("who polls too fast, and who is told to, is slowed down", {
  oauth <- live_oauth(interval = 30)
  device <- raw_device(oauth, "OAUTHSLOW1")
  expect_equal(device$code[["interval"]], 30L)
  expect_equal(device$poll()[["error"]], "authorization_pending")
  expect_equal(device$poll()[["error"]], "slow_down")
  oauth$settings(interval = 0)
  device <- raw_device(oauth, "OAUTHSLOW2")
  oauth$slow_down()
  expect_equal(device$poll()[["error"]], "slow_down")
})

test_that("a scope without a device, or with two, is refused", {
  oauth <- live_oauth()
  for (scope in c(
    "",
    "urn:matrix:client:device:A urn:matrix:client:device:B"
  )) {
    device <- raw_device(oauth, scope = scope)
    expect_equal(device$code[["error"]], "invalid_scope")
  }
})

test_that("a token expires, and each refresh token is good for one use", {
  oauth <- live_oauth(access_ttl = 2)
  device <- raw_sign_in(oauth, "olga", "OAUTHREF01")
  first <- device$tokens
  expect_equal(first[["expires_in"]], 2L)
  expect_equal(whoami(oauth, first[["access_token"]])[["status"]], 200L)
  Sys.sleep(3.1)
  expired <- whoami(oauth, first[["access_token"]])
  expect_equal(expired[["errcode"]], "M_UNKNOWN_TOKEN")
  # Synapse does not say that a refresh would help.
  expect_false(expired[["soft_logout"]])
  oauth$settings(access_ttl = 300)
  second <- device$refresh(first)
  expect_true(second[["refresh_token"]] != first[["refresh_token"]])
  expect_equal(
    whoami(oauth, second[["access_token"]])[["device_id"]],
    "OAUTHREF01"
  )
  # Used again, it is taken for stolen, and all is revoked.
  expect_equal(device$refresh(first)[["error"]], "invalid_grant")
  expect_false(oauth$active(second[["access_token"]]))
  expect_equal(device$refresh(second)[["error"]], "invalid_grant")
})

test_that("a token that is revoked ends the other, and the device", {
  oauth <- live_oauth()
  for (which in c("access_token", "refresh_token")) {
    device <- raw_sign_in(oauth, "olga", "OAUTHREV01")
    token <- device$tokens[["access_token"]]
    expect_equal(whoami(oauth, token)[["status"]], 200L)
    expect_equal(device$revoke(device$tokens[[which]])[["status"]], 200L)
    expect_false(oauth$active(token))
    expect_equal(whoami(oauth, token)[["status"]], 401L)
    expect_equal(device$refresh(device$tokens)[["error"]], "invalid_grant")
  }
  users <- "select device_id from devices where user_id = '@olga:localhost'"
  expect_false("OAUTHREV01" %in% synapse_sql(oauth$server, users)$device_id)
})

test_that("a device that signs in again outlives its first tokens", {
  oauth <- live_oauth()
  first <- raw_sign_in(oauth, "olga", "OAUTHTWICE")
  second <- raw_sign_in(oauth, "olga", "OAUTHTWICE")
  first$revoke(first$tokens[["access_token"]])
  expect_false(oauth$active(first$tokens[["access_token"]]))
  me <- whoami(oauth, second$tokens[["access_token"]])
  expect_equal(me[["device_id"]], "OAUTHTWICE")
})

test_that("a session ends elsewhere, with or without its device", {
  oauth <- live_oauth()
  device <- raw_sign_in(oauth, "oscar", "OAUTHEND01")
  token <- device$tokens[["access_token"]]
  expect_equal(whoami(oauth, token)[["status"]], 200L)
  oauth$end_session("oscar")
  expect_equal(device$refresh(device$tokens)[["error"]], "invalid_grant")
  expect_equal(whoami(oauth, token)[["status"]], 200L)
  device <- raw_sign_in(oauth, "oscar", "OAUTHEND02")
  other <- raw_sign_in(oauth, "oscar", "OAUTHEND03")
  oauth$delete_device("oscar", "OAUTHEND02")
  token <- device$tokens[["access_token"]]
  expect_equal(whoami(oauth, token)[["status"]], 401L)
  expect_true(oauth$active(other$tokens[["access_token"]]))
  oauth$revoke_user("oscar")
  expect_false(oauth$active(other$tokens[["access_token"]]))
})

test_that("a response is lost after the server has acted", {
  oauth <- live_oauth()
  device <- raw_sign_in(oauth, "olga", "OAUTHLOST1")
  oauth$lose_answer("/oauth2/token")
  expect_error(device$refresh(device$tokens))
  expect_equal(oauth$requests("/oauth2/token")$status, c(200L, NA))
  expect_equal(device$refresh(device$tokens)[["error"]], "invalid_grant")
  oauth$answer("/oauth2/token", "{}", status = 503)
  expect_equal(device$refresh(device$tokens)[["status"]], 503L)
})

test_that("an identity is replaced once the person has allowed it", {
  oauth <- live_oauth()
  device <- raw_sign_in(oauth, "oda", "OAUTHRESET")
  upload <- function(key) {
    master_key <- list(
      user_id = "@oda:localhost",
      usage = I("master"),
      keys = stats::setNames(list(key), paste0("ed25519:", key))
    )
    body <- list(master_key = master_key)
    raw_post(
      paste0(oauth$url, "/_matrix/client/v3/keys/device_signing/upload"),
      json = jsonlite::toJSON(body, auto_unbox = TRUE),
      bearer = device$tokens[["access_token"]]
    )
  }
  expect_equal(upload(random_text())[["status"]], 200L)
  key <- random_text()
  refused <- upload(key)
  expect_equal(refused[["status"]], 401L)
  url <- refused[["params"]][["m.oauth"]][["url"]]
  expect_match(
    url,
    "account?action=org.matrix.cross_signing_reset",
    fixed = TRUE
  )
  oauth$allow_reset("oda", url)
  expect_equal(upload(key)[["status"]], 200L)
})

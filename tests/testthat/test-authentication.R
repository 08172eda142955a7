# What a server asks for before it lets its user do something. The stand-in for
# a server that asks for a browser is in helper-fake-homeserver.R, which says why.

signing_keys <- "/keys/device_signing/upload"

# The bodies posted to `path`, and the authentication in each.
posted <- function(fake, path) {
  bodies <- lapply(fake$seen("POST", path), function(x) json_decode(x$body))
  auth <- lapply(bodies, function(body) body[["auth"]])
  bodies <- lapply(bodies, function(body) edit(body, "auth", NULL))
  list(bodies = bodies, auth = auth)
}

expect_approval <- function(code) {
  condition <- expect_error(code, class = "mx_error_approval")
  expect_s3_class(condition, "mx_error_uia")
  expect_match(conditionMessage(condition), condition$url, fixed = TRUE)
  condition
}

# How a call ends in a process of its own: its value, or its condition's fields.
set_up_elsewhere <- function(path) {
  in_other_r(args = list(path), function(path) {
    client <- mx_client_load(path = path)
    tryCatch(
      unclass(mx_crypto_setup(client))[c("master_key", "steps")],
      mx_error_approval = function(condition) {
        list(url = condition$url, stages = condition$stages)
      }
    )
  })
}

test_that("an approval (m.oauth) is gone on with by another process", {
  skip_on_cran()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  fake$ask_approval(alice, signing_keys, "m.oauth")
  asked <- set_up_elsewhere(alice$path)
  expect_match(asked$url, paste0(fake$url, "/approve?session="), fixed = TRUE)
  expect_equal(asked$stages, "m.oauth")
  expect_null(own_identity(alice, machine_of(alice))[["master_key"]])
  approve_at(asked$url)
  setup <- set_up_elsewhere(alice$path)
  expect_equal(
    tail(setup$steps, 2),
    c("signed this device", "created a key backup")
  )
  uploads <- posted(fake, signing_keys)
  expect_length(uploads$bodies, 2)
  expect_null(uploads$auth[[1]])
  expect_equal(names(uploads$auth[[2]]), "session")
  # What was approved is what was made before.
  expect_identical(uploads$bodies[[2]], uploads$bodies[[1]])
  expect_length(mx_crypto_setup(alice)$steps, 0)
  devices <- mx_devices(alice, alice$user_id)
  expect_equal(as.character(devices$trust), "verified")
})

test_that("an approval that is never given changes nothing, however often", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  old <- mx_crypto_setup(alice)$master_key
  fake$forget()
  fake$ask_approval(alice, signing_keys, "m.oauth")
  url <- expect_approval(mx_crypto_setup(alice, reset = TRUE))$url
  for (reset in c(TRUE, FALSE, TRUE)) {
    forget_open_stores()
    alice <- mx_client_load(path = alice$path)
    expect_equal(
      expect_approval(mx_crypto_setup(alice, reset = reset))$url,
      url
    )
    expect_equal(own_identity(alice, machine_of(alice))[["master_key"]], old)
  }
  approve_at(url)
  new <- mx_crypto_setup(alice, reset = TRUE)$master_key
  expect_false(new == old)
  uploads <- posted(fake, signing_keys)
  expect_length(unique(uploads$bodies), 1)
  expect_equal(
    unname(uploads$bodies[[1]][["master_key"]][["keys"]]),
    list(new)
  )
  # It is over: the next one is asked for anew.
  again <- expect_approval(mx_crypto_setup(alice, reset = TRUE))$url
  expect_false(again == url)
  uploads <- posted(fake, signing_keys)
  expect_null(uploads$auth[[length(uploads$auth)]])
})

test_that("stages here and in a browser follow each other in one session", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  stages <- c("m.login.password", "m.login.sso", "m.login.dummy")
  fake$ask_approval(alice, "/delete_devices", stages)
  condition <- expect_approval(mx_device_delete(alice, "OTHER", "secret word"))
  expect_match(
    condition$url,
    "/_matrix/client/v3/auth/m.login.sso/fallback/web?session=session%2F",
    fixed = TRUE
  )
  expect_match(condition$url, "%26x%20y$")
  expect_equal(condition$stages, stages[-1])
  # Not yet: the same page, and no password is asked for again.
  withr::local_envvar(MXCRYPT_PASSWORD = NA)
  again <- expect_approval(mx_device_delete(alice, "OTHER"))
  expect_equal(again$url, condition$url)
  approve_at(condition$url)
  expect_null(mx_device_delete(alice, "OTHER"))
  auth <- posted(fake, "/delete_devices")$auth
  types <- lapply(auth, function(auth) auth[["type"]])
  expect_equal(types, list(NULL, stages[[1]], NULL, NULL, stages[[3]]))
  expect_length(unique(lapply(auth[-1], function(x) x[["session"]])), 1)
  # What was given is used up.
  again <- expect_approval(mx_device_delete(alice, "OTHER", "secret word"))
  expect_false(again$url == condition$url)
})

test_that("an approval counts for what was asked, and for nothing else", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  fake$ask_approval(alice, "/delete_devices", "m.login.sso")
  url <- expect_approval(mx_device_delete(alice, "ONE"))$url
  approve_at(url)
  other <- expect_approval(mx_device_delete(alice, "TWO"))
  expect_false(other$url == url)
  expect_null(posted(fake, "/delete_devices")$auth[[2]])
})

test_that("a session that the server forgot is replaced, once a call", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  for (unknown in c(401, 400, 403, 404)) {
    ask <- function() {
      fake$ask_approval(alice, "/delete_devices", "m.login.sso", unknown)
    }
    ask()
    before <- expect_approval(mx_device_delete(alice, "OTHER"))$url
    ask()
    after <- expect_approval(mx_device_delete(alice, "OTHER"))$url
    expect_false(after == before)
    approve_at(after)
    expect_null(mx_device_delete(alice, "OTHER"))
  }
  # A server that refuses whatever it is sent is not asked for ever.
  ask()
  expect_approval(mx_device_delete(alice, "OTHER"))
  fake$forget()
  refusal <- '{"errcode":"M_FORBIDDEN","error":"no"}'
  fake$fault("POST", "/delete_devices", 403, refusal, times = 50)
  expect_error(
    mx_device_delete(alice, "OTHER"),
    class = "mx_error_M_FORBIDDEN"
  )
  expect_length(fake$seen("POST", "/delete_devices"), 2)
})

test_that("a proxy's page does not end the session of an approval", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  fake$ask_approval(alice, "/delete_devices", "m.login.sso")
  approve_at(expect_approval(mx_device_delete(alice, "OTHER"))$url)
  fake$fault("POST", "/delete_devices", status = 403, body = "<html>")
  condition <- expect_error(
    mx_device_delete(alice, "OTHER"),
    class = "mx_error_http"
  )
  expect_identical(condition[["status"]], 403L)
  expect_null(mx_device_delete(alice, "OTHER"))
})

test_that("killed at any step of an approval, it is gone on with", {
  for (acted in c(FALSE, TRUE)) {
    for (at in 1:3) {
      fake <- fake_homeserver()
      alice <- fake_client(fake)
      fake$ask_approval(alice, signing_keys, c("m.oauth", "m.login.dummy"))
      count <- 0
      real <- http_once
      local({
        local_replaced("http_once", function(session, method, path, ...) {
          is_ours <- endsWith(path, signing_keys)
          count <<- count + is_ours
          dies <- is_ours && count == at
          answer <- if (!dies || acted) real(session, method, path, ...)
          if (dies) rlang::abort("killed", class = "killed") else answer
        })
        outcome <- function() {
          tryCatch(
            mx_crypto_setup(alice),
            mx_error_approval = function(condition) approve_at(condition$url)
          )
        }
        expect_error(
          for (i in 1:2) {
            outcome()
          },
          class = "killed"
        )
      })
      forget_open_stores()
      alice <- mx_client_load(path = alice$path)
      where <- sprintf("request %d, acted: %s", at, acted)
      if (at == 1) {
        approve_at(expect_approval(mx_crypto_setup(alice))$url)
      }
      setup <- mx_crypto_setup(alice)
      expect_equal(setup$device_id, alice$device_id, info = where)
      expect_length(unique(posted(fake, signing_keys)$bodies), 1)
      expect_length(mx_crypto_setup(alice)$steps, 0)
    }
  }
})

test_that("what makes no sense, or is not safe to open, is not followed", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  oauth <- function(params) {
    flows <- '{"session":"s","flows":[{"stages":["m.oauth"]}],"params":%s}'
    sprintf(flows, params)
  }
  page <- function(url) oauth(sprintf('{"m.oauth":{"url":%s}}', url))
  bodies <- c(
    '{"flows":[]}',
    '{"flows":[5],"session":"s"}',
    '{"flows":[{"stages":"m.login.sso"}],"session":"s"}',
    '{"flows":[{"stages":[["m.login.sso"]]}],"session":"s"}',
    '{"flows":[{"stages":["m.login.sso"]}]}',
    '{"flows":[{"stages":["m.login.sso"]}],"session":["s"]}',
    oauth("{}"),
    oauth("[]"),
    oauth('{"m.oauth":"https://example.org"}'),
    page("5"),
    page('["https://example.org"]'),
    page('"javascript:alert(1)"'),
    page('"file:///etc/passwd"'),
    page('"https://example.org/\\u001b[31m"'),
    page('"https://example.org/\\n"'),
    page('"https://homeserver@example.org/"')
  )
  for (body in bodies) {
    fake$fault("POST", "/delete_devices", status = 401, body = body)
    condition <- catch(mx_device_delete(alice, "OTHER", "x"))
    expect_s3_class(condition, "mx_error_uia")
    expect_false(inherits(condition, "mx_error_approval"), info = body)
    expect_null(condition$url)
    expect_no_match(conditionMessage(condition), "example|script|passwd")
  }
  # None of it was kept.
  expect_true(all(lengths(posted(fake, "/delete_devices")$auth) == 0))
  for (body in c("[]", '{"flows":{"a":1}}', '{"flows":5}', "\xff")) {
    fake$fault("POST", "/delete_devices", status = 401, body = charToRaw(body))
    expect_error(mx_device_delete(alice, "OTHER"), class = "mx_error_http")
  }
})

test_that("a server that asks for the same for ever is left", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  ask <- function(stage, times) {
    body <- '{"session":"s","flows":[{"stages":["m.login.%s"]}]}'
    body <- sprintf(body, stage)
    fake$fault("POST", "/delete_devices", 401, body, times = times)
  }
  ask("dummy", 50)
  expect_error(mx_device_delete(alice, "OTHER"), class = "mx_error_http")
  expect_length(fake$seen("POST", "/delete_devices"), 2)
  fake$forget()
  for (i in 1:10) {
    ask("dummy", 1)
    ask("password", 1)
  }
  expect_error(mx_device_delete(alice, "OTHER", "x"), class = "mx_error_http")
  expect_length(fake$seen("POST", "/delete_devices"), 3)
})

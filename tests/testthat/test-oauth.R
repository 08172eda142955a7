# Hostile and odd answers of an OAuth server. What a real one does is tested in
# tests/live/test-oauth.R.

approval <- function(code) {
  expect_error(code, class = "mx_error_approval")
}

oauth_client <- function(oauth, ..., env = parent.frame()) {
  configure <- oauth_caller(oauth, env = env)
  begin_oauth(oauth)
  approval(configure())
  grant_oauth(oauth, pending_of(configure), ...)
  configure()
}

expired_token <- '{"errcode":"M_UNKNOWN_TOKEN","error":"expired"}'

test_that("a script raises the address, and its next run goes on", {
  oauth <- fake_oauth()
  configure <- oauth_caller(oauth)
  path <- pending_of(configure)
  begin_oauth(oauth)
  condition <- approval(configure())
  expect_equal(condition$user_code, "ABCD-EFGH")
  expect_equal(condition$url, oauth$at("link?code=ABCD-EFGH"))
  expect_s3_class(condition$expires_at, "POSIXct")
  expect_match(conditionMessage(condition), "ABCD-EFGH")
  expect_no_match(conditionMessage(condition), "device-code-1")
  expect_false(file.exists(path))
  skip_on_os("windows")
  expect_equal(format(file.mode(paste0(path, ".pending"))), "600")
  # Nobody has approved it yet: the same code, and no second registration.
  oauth$says("token", list(error = "authorization_pending"), 400)
  expect_equal(approval(configure())$user_code, "ABCD-EFGH")
  oauth$says("token", list(error = "slow_down"), 400)
  oauth$says("token", list(error = "authorization_pending"), 400)
  expect_equal(approval(configure())$user_code, "ABCD-EFGH")
  expect_length(oauth$fake$seen("POST", "/oauth/register"), 1)
  login <- grant_oauth(oauth, path)
  client <- configure()
  expect_equal(client$user_id, login[["user_id"]])
  expect_equal(nchar(client$device_id), 12)
  expect_false(file.exists(paste0(path, ".pending")))
  config <- read_config(path)
  expect_equal(config[["method"]], "oauth")
  expect_equal(config[["refresh_token"]], "refresh-1")
  # It is there now: no person is asked again.
  again <- configure()
  expect_equal(again$device_id, client$device_id)
  expect_length(oauth$fake$seen("POST", "/oauth/device"), 1)
})

test_that("a person at the console is waited for, as slowly as the server likes", {
  oauth <- fake_oauth()
  withr::local_options(rlang_interactive = TRUE, browser = function(url) NULL)
  configure <- oauth_caller(oauth)
  begin_oauth(oauth)
  path <- pending_of(configure)
  oauth$says("token", list(error = "authorization_pending"), 400)
  oauth$says("token", list(error = "slow_down"), 400)
  shown <- character()
  began <- Sys.time()
  client <- withCallingHandlers(
    configure(),
    message = function(condition) {
      # The person reads it, and approves.
      if (length(shown) == 0L) {
        grant_oauth(oauth, path)
      }
      shown <<- c(shown, conditionMessage(condition))
      tryInvokeRestart("muffleMessage")
    }
  )
  expect_s3_class(client, "mx_client")
  expect_match(paste(shown, collapse = "\n"), "ABCD-EFGH")
  # RFC 8628: five seconds more from then on.
  expect_gte(as.numeric(Sys.time() - began, units = "secs"), 5)
})

test_that("each refusal has its class, and the next call begins anew", {
  oauth <- fake_oauth()
  configure <- oauth_caller(oauth)
  for (code in c("access_denied", "unauthorized_client", "server_error")) {
    begin_oauth(oauth)
    approval(configure())
    oauth$says(
      "token",
      list(error = code, error_description = "No\u001b[1m"),
      400
    )
    condition <- expect_error(
      configure(),
      class = paste0("mx_error_oauth_", code)
    )
    expect_s3_class(condition, "mx_error_oauth")
    expect_no_match(conditionMessage(condition), "\u001b")
    expect_false(file.exists(paste0(pending_of(configure), ".pending")))
  }
  for (code in c("expired_token", "invalid_grant")) {
    begin_oauth(oauth)
    approval(configure())
    oauth$says("token", list(error = code), 400)
    begin_oauth(oauth, user_code = "NEXT")
    expect_equal(approval(configure())$user_code, "NEXT")
    forget_grant(list(path = pending_of(configure)))
  }
})

test_that("a page of a proxy ends no sign-in", {
  oauth <- fake_oauth()
  configure <- oauth_caller(oauth)
  begin_oauth(oauth)
  approval(configure())
  for (status in c(400, 403, 502)) {
    oauth$says("token", "<html>Blocked</html>", status, times = 2)
    expect_error(configure(), class = "mx_error")
  }
  oauth$says("token", "<html>Welcome</html>", 200)
  expect_error(configure(), class = "mx_error_answer")
  expect_true(file.exists(paste0(pending_of(configure), ".pending")))
})

test_that("an answer that is no code, or leads somewhere else, is refused", {
  oauth <- fake_oauth()
  configure <- oauth_caller(oauth)
  odd <- list(
    list(device_code = ""),
    list(device_code = list("a")),
    list(user_code = "A\nB"),
    list(user_code = strrep("A", 100)),
    list(verification_uri = "file:///etc/passwd"),
    list(verification_uri = "javascript:alert(1)"),
    list(verification_uri = "https://matrix.org@evil.example/"),
    list(verification_uri = "https://evil.example/\u001b[1m"),
    list(expires_in = "soon"),
    list(expires_in = NULL),
    list(expires_in = -1)
  )
  for (changed in odd) {
    do.call(begin_oauth, c(list(oauth), changed))
    expect_error(configure(), class = "mx_error_answer")
    expect_false(file.exists(paste0(pending_of(configure), ".pending")))
  }
  # The other address is not needed.
  begin_oauth(oauth, verification_uri_complete = "javascript:alert(1)")
  expect_equal(approval(configure())$url, oauth$at("link"))
})

test_that("tokens that cannot be used, or are of another device, sign nobody in", {
  oauth <- fake_oauth()
  odd <- list(
    list(access_token = "a b"),
    list(access_token = "a\r\nHost: x"),
    list(token_type = "mac"),
    list(token_type = NULL)
  )
  for (changed in odd) {
    configure <- oauth_caller(oauth)
    begin_oauth(oauth)
    approval(configure())
    do.call(grant_oauth, c(list(oauth, pending_of(configure)), changed))
    expect_error(configure(), class = "mx_error_answer")
    expect_false(file.exists(pending_of(configure)))
  }
  configure <- oauth_caller(oauth)
  begin_oauth(oauth)
  approval(configure())
  grant_oauth(oauth, pending_of(configure), scope = "openid")
  expect_error(configure(), class = "mx_error_oauth_invalid_scope")
  configure <- oauth_caller(oauth)
  begin_oauth(oauth)
  approval(configure())
  other <- fake_login(oauth, "OTHERDEVICE")
  grant_oauth(oauth, pending_of(configure), access_token = other$access_token)
  oauth$says("revoke", "{}")
  expect_error(configure(), class = "mx_error_store_binding")
  expect_length(oauth$fake$seen("POST", "/oauth/revoke"), 1)
})

test_that("a code or tokens that cannot be used are not in the error", {
  oauth <- fake_oauth()
  configure <- oauth_caller(oauth)
  begin_oauth(oauth, verification_uri = "ftp://example.org")
  condition <- catch(configure())
  expect_s3_class(condition, "mx_error_answer")
  expect_nowhere("device-code-1", condition)
  begin_oauth(oauth)
  approval(configure())
  secret <- '{"access_token":"s3cret-token","refresh_token":"s3cret-refresh"'
  for (text in c(secret, paste0(secret, "}"))) {
    oauth$says("token", text)
    condition <- catch(configure())
    expect_s3_class(condition, "mx_error_answer")
    expect_match(conditionMessage(condition), "not shown")
    expect_nowhere("s3cret", condition)
  }
  session <- list(server = oauth$fake$url)
  oauth$fake$fault("POST", "/login$", body = secret)
  condition <- catch(log_in(session, "alice", "word", NULL, NULL))
  expect_s3_class(condition, "mx_error_answer")
  expect_nowhere("s3cret", condition)
})

test_that("who approves must be who was named", {
  oauth <- fake_oauth()
  configure <- oauth_caller(oauth)
  begin_oauth(oauth)
  approval(configure(user = "somebody"))
  grant_oauth(oauth, pending_of(configure))
  oauth$says("revoke", "{}")
  condition <- expect_error(
    configure(user = "somebody"),
    class = "mx_error_store_binding"
  )
  expect_match(conditionMessage(condition), "somebody")
  expect_length(oauth$fake$seen("POST", "/oauth/revoke"), 1)
  expect_false(file.exists(pending_of(configure)))
})

test_that("what was granted outlives a server that is not there just then", {
  oauth <- fake_oauth()
  configure <- oauth_caller(oauth)
  begin_oauth(oauth)
  approval(configure())
  login <- grant_oauth(oauth, pending_of(configure))
  oauth$fake$fault("GET", "/account/whoami", 503, "", times = 2)
  expect_error(configure(), class = "mx_error_http")
  expect_length(oauth$fake$seen("POST", "/oauth/revoke"), 0)
  polls <- length(oauth$fake$seen("POST", "/oauth/token"))
  client <- configure()
  expect_equal(client$user_id, login[["user_id"]])
  expect_length(oauth$fake$seen("POST", "/oauth/token"), polls)
})

test_that("a login that is about to expire is renewed before it is used", {
  oauth <- fake_oauth()
  configure <- oauth_caller(oauth)
  begin_oauth(oauth)
  approval(configure())
  login <- grant_oauth(oauth, pending_of(configure))
  next_login <- list(
    access_token = login[["access_token"]],
    refresh_token = "refresh-2",
    token_type = "bearer",
    expires_in = 300
  )
  client <- configure()
  config <- read_config(client$path)
  config[["expires_at"]] <- time_as_text(Sys.time() + 5)
  write_config(config, client$path)
  client <- mx_client_load(path = client$path)
  oauth$says("token", next_login)
  mx_rooms(client)
  asked <- oauth$fake$seen("POST", "/oauth/token")
  body <- asked[[length(asked)]]$body
  expect_match(body, "grant_type=refresh_token", fixed = TRUE)
  expect_match(body, "refresh_token=refresh-1", fixed = TRUE)
  expect_match(body, "client_id=client-1", fixed = TRUE)
  expect_equal(read_config(client$path)[["refresh_token"]], "refresh-2")
  # It is fresh: nothing is renewed for the next request.
  mx_rooms(client)
  expect_length(oauth$fake$seen("POST", "/oauth/token"), length(asked))
})

test_that("a renewal that gets no answer is made again, with the same token", {
  oauth <- fake_oauth()
  client <- oauth_client(oauth)
  login <- read_config(client$path)
  oauth$fake$fault("GET", "/joined_rooms", 401, expired_token)
  oauth$says("token", "", 503)
  oauth$says(
    "token",
    list(
      access_token = login[["token"]],
      refresh_token = "refresh-2",
      token_type = "Bearer"
    )
  )
  expect_equal(nrow(mx_rooms(client)), 0)
  asked <- oauth$fake$seen("POST", "/oauth/token")
  bodies <- vapply(asked, function(request) request$body, "")
  expect_equal(bodies[[length(bodies)]], bodies[[length(bodies) - 1L]])
  expect_equal(read_config(client$path)[["refresh_token"]], "refresh-2")
})

test_that("only a verdict ends an OAuth login", {
  oauth <- fake_oauth()
  client <- oauth_client(oauth)
  before <- readLines(client$path)
  for (answer in list(
    list("<html>", 403),
    list("{}", 200),
    list(list(error = "temporarily_unavailable"), 400)
  )) {
    oauth$fake$fault("GET", "/joined_rooms", 401, expired_token)
    oauth$says("token", answer[[1]], answer[[2]])
    expect_error(mx_rooms(client), class = "mx_error_renewal")
    expect_equal(readLines(client$path), before)
  }
  oauth$fake$fault("GET", "/joined_rooms", 401, expired_token)
  oauth$says("token", list(error = "invalid_grant"), 400)
  condition <- expect_error(
    mx_rooms(client),
    class = "mx_error_M_UNKNOWN_TOKEN"
  )
  expect_match(conditionMessage(condition), "mx_client_relogin")
})

test_that("tokens go to the server that made them, and to no other", {
  oauth <- fake_oauth()
  client <- oauth_client(oauth)
  oauth$fake$forget()
  other <- oauth$metadata
  other$issuer <- "https://evil.example/"
  text <- as.character(jsonlite::toJSON(other, auto_unbox = TRUE))
  oauth$fake$fault("GET", "/v1/auth_metadata", body = text, times = 9)
  oauth$fake$fault("GET", "/joined_rooms", 401, expired_token)
  expect_error(mx_rooms(client), class = "mx_error_renewal")
  expect_error(mx_logout(client, ask = FALSE), class = "mx_error_answer")
  expect_length(oauth$fake$seen("POST", "/oauth/"), 0)
})

test_that("addresses that are less safe than the homeserver's are refused", {
  safe <- "https://matrix.example.org"
  answer <- function(...) {
    metadata <- utils::modifyList(
      list(
        issuer = "https://account.example.org/",
        token_endpoint = "https://account.example.org/token"
      ),
      list(...)
    )
    list(
      status = 200L,
      body = charToRaw(jsonlite::toJSON(metadata, auto_unbox = TRUE))
    )
  }
  expect_equal(
    judge_metadata(answer(), safe, NULL)[["token_endpoint"]],
    "https://account.example.org/token"
  )
  addresses <- list(
    "http://account.example.org/token",
    "ftp://account.example.org/",
    "https://account.example.org@evil.example/",
    "https://account.example.org/#token",
    "https://account.example.org/ token",
    "https://",
    paste0("https://account.example.org/", strrep("a", 3000)),
    5,
    list()
  )
  names <- c("token_endpoint", "revocation_endpoint")
  for (address in addresses) {
    # No token goes to the page, and no login depends on it.
    odd_page <- judge_metadata(
      answer(account_management_uri = address),
      safe,
      NULL
    )
    expect_null(odd_page[["account_management_uri"]])
    for (name in names) {
      changed <- do.call(answer, stats::setNames(list(address), name))
      expect_error(
        judge_metadata(changed, safe, NULL),
        class = "mx_error_answer"
      )
    }
  }
})

test_that("signing out revokes the login, and signing in again needs a person", {
  oauth <- fake_oauth()
  client <- oauth_client(oauth)
  oauth$says("revoke", "", 503, times = 2)
  expect_error(mx_logout(client, ask = FALSE), class = "mx_error_http")
  expect_equal(read_config(client$path)[["refresh_token"]], "refresh-1")
  oauth$says("revoke", "")
  mx_logout(client, ask = FALSE)
  asked <- oauth$fake$seen("POST", "/oauth/revoke")
  expect_match(asked[[length(asked)]]$body, "token=refresh-1", fixed = TRUE)
  expect_error(mx_rooms(client), class = "mx_error_signed_out")
  begin_oauth(oauth)
  approval(mx_client_relogin(client, method = "oauth"))
  pending <- read_config(paste0(client$path, ".pending"))
  expect_equal(pending[["device_id"]], client$device_id)
  user <- sub("^@([^:]*):.*$", "\\1", client$user_id)
  grant_oauth(oauth, client$path, user = user)
  suppressMessages(mx_client_relogin(client, method = "oauth"))
  expect_equal(nrow(mx_rooms(client)), 0)
})

test_that("a device is signed out on the server's page, one after the other", {
  oauth <- fake_oauth()
  client <- oauth_client(oauth)
  user <- sub("^@([^:]*):.*$", "\\1", client$user_id)
  other <- fake_login(oauth, "OLD/1", user)
  condition <- approval(mx_device_delete(client, "OLD/1", ask = FALSE))
  expect_equal(
    condition$url,
    oauth$at("account?action=org.matrix.device_delete&device_id=OLD%2F1")
  )
  sign_out(list(server = oauth$fake$url, token = other[["access_token"]]))
  expect_null(mx_device_delete(client, "OLD/1", ask = FALSE))
  expect_equal(mx_account_url(client), oauth$at("account"))
  expect_equal(mx_account_url(client, "profile"), oauth$at("account"))
})

test_that("a server says what it offers where it cannot be signed in to", {
  oauth <- fake_oauth()
  fake <- oauth$fake
  fake$forget()
  flows <- '{"flows":[{"type":"m.login.sso"},{"type":5},{"type":"org.x"}]}'
  unknown <- '{"errcode":"M_UNKNOWN","error":"Unknown login type"}'
  configure <- oauth_caller(oauth)
  fake$fault("GET", "/login$", body = flows, times = 9)
  fake$fault("POST", "/login$", 400, unknown, times = 9)
  condition <- expect_error(
    configure(user = "alice", password = "secret"),
    class = "mx_error_sign_in"
  )
  expect_equal(condition$offers, c("m.login.sso", "org.x"))
  expect_match(conditionMessage(condition), "method = \"sso\"", fixed = TRUE)
  condition <- approval(configure())
  expect_match(condition$url, "/login/sso/redirect?redirectUrl=", fixed = TRUE)
  expect_error(configure(method = "oauth"), class = "mx_error_sign_in")
  fake$forget()
  fake$fault("GET", "/login$", body = '{"flows":[{"type":"org.x"}]}', times = 9)
  expect_error(configure(), class = "mx_error_sign_in")
})

test_that("the token of single sign-on is taken out of the address", {
  oauth <- fake_oauth()
  fake <- oauth$fake
  fake$forget()
  login <- fake_login(oauth, NULL)
  text <- as.character(jsonlite::toJSON(login, auto_unbox = TRUE))
  fake$fault("POST", "/login$", body = text)
  configure <- oauth_caller(oauth)
  client <- configure(
    login_token = "http://localhost/mxcrypt?loginToken=a%2Bb&x=1 "
  )
  expect_equal(client$user_id, login[["user_id"]])
  asked <- fake$seen("POST", "/login$")
  body <- json_decode(asked[[length(asked)]]$body)
  expect_equal(body[["type"]], "m.login.token")
  expect_equal(body[["token"]], "a+b")
})

test_that("text with a stray % is a token as it is", {
  expect_equal(decoded_token("a%2Bb"), "a+b")
  expect_equal(decoded_token("a%2"), "a%2")
  expect_equal(decoded_token("%d%00"), "%d%00")
})

test_that("single sign-on is not begun where a server says it has none", {
  oauth <- fake_oauth()
  configure <- oauth_caller(oauth)
  condition <- catch(configure(method = "sso"))
  expect_s3_class(condition, "mx_error_sign_in")
})

test_that("a device that is named for a new store needs a password", {
  oauth <- fake_oauth()
  configure <- oauth_caller(oauth)
  expect_error(configure(device_id = "MINE"), class = "mx_error_argument")
})

test_that("the demo homeserver takes passwords, and no OAuth", {
  methods <- mx_sign_in_methods(mx_demo_homeserver())
  expect_equal(methods$method, c("oauth", "password", "sso"))
  expect_false(methods$offered[[1]])
})

test_that("what was granted to a process that was killed is good when it expired", {
  oauth <- fake_oauth()
  configure <- oauth_caller(oauth)
  begin_oauth(oauth)
  approval(configure())
  login <- grant_oauth(oauth, pending_of(configure), expires_in = 0)
  oauth$fake$fault("GET", "/account/whoami", 503, "", times = 2)
  expect_error(configure(), class = "mx_error_http")
  oauth$says(
    "token",
    list(
      access_token = login[["access_token"]],
      refresh_token = "refresh-2",
      token_type = "bearer",
      expires_in = 300
    )
  )
  client <- configure()
  expect_equal(client$user_id, login[["user_id"]])
  expect_equal(read_config(client$path)[["refresh_token"]], "refresh-2")
  expect_length(oauth$fake$seen("POST", "/oauth/device"), 1)
  # One that the server has ended since needs a person.
  configure <- oauth_caller(oauth)
  begin_oauth(oauth)
  approval(configure())
  grant_oauth(oauth, pending_of(configure), expires_in = 0)
  oauth$fake$fault("GET", "/account/whoami", 503, "", times = 2)
  expect_error(configure(), class = "mx_error_http")
  oauth$says("token", list(error = "invalid_grant"), 400)
  begin_oauth(oauth, user_code = "NEXT")
  expect_equal(approval(configure())$user_code, "NEXT")
})

test_that("a damaged file of a sign-in is none", {
  oauth <- fake_oauth()
  configure <- oauth_caller(oauth)
  begin_oauth(oauth)
  approval(configure())
  file <- paste0(pending_of(configure), ".pending")
  good <- read_config(file)
  odd <- list(
    list(interval = "abc"),
    list(interval = "1e9"),
    list(interval = "-1"),
    list(expires_at = "soon"),
    list(token_endpoint = "ftp://example.org"),
    list(url = "javascript:alert(1)"),
    list(device_code = "a b"),
    list(user_code = "a\nb")
  )
  for (changed in odd) {
    write_config(utils::modifyList(good, changed), file)
    begin_oauth(oauth, user_code = "NEXT")
    expect_equal(approval(configure())$user_code, "NEXT")
  }
  for (text in c("", "{", "[]", "{}", "\"a\"")) {
    writeLines(text, file)
    begin_oauth(oauth, user_code = "NEXT")
    expect_equal(approval(configure())$user_code, "NEXT")
  }
})

test_that("a code that another process used up is not asked for again", {
  oauth <- fake_oauth()
  configure <- oauth_caller(oauth)
  begin_oauth(oauth)
  approval(configure())
  path <- pending_of(configure)
  account <- list(server = oauth$fake$url, path = path)
  grant <- pending_grant(account)
  saved <- c(grant, access_token = "theirs")
  write_config(saved, pending_path(account))
  oauth$says("token", list(error = "invalid_grant"), 400)
  expect_equal(poll_pending(grant, account, NULL)[["access_token"]], "theirs")
  expect_true(file.exists(pending_path(account)))
})

test_that("a person is waited for while the server is away for a moment", {
  oauth <- fake_oauth()
  withr::local_options(rlang_interactive = TRUE, browser = function(url) NULL)
  configure <- oauth_caller(oauth)
  begin_oauth(oauth)
  path <- pending_of(configure)
  oauth$says("token", "<html>", 503, times = 2)
  client <- withCallingHandlers(
    configure(),
    message = function(condition) {
      if (length(oauth$fake$seen("POST", "/oauth/token")) == 0L) {
        try(grant_oauth(oauth, path), silent = TRUE)
      }
      tryInvokeRestart("muffleMessage")
    }
  )
  expect_s3_class(client, "mx_client")
})

test_that("tokens that are no good are not taken up by the next relogin", {
  oauth <- fake_oauth()
  client <- oauth_client(oauth)
  begin_oauth(oauth)
  approval(mx_client_relogin(client, method = "oauth"))
  user <- sub("^@([^:]*):.*$", "\\1", client$user_id)
  grant_oauth(oauth, client$path, user = user, access_token = "void")
  expect_error(
    mx_client_relogin(client, method = "oauth"),
    class = "mx_error_M_UNKNOWN_TOKEN"
  )
  begin_oauth(oauth, user_code = "NEXT")
  condition <- approval(mx_client_relogin(client, method = "oauth"))
  expect_equal(condition$user_code, "NEXT")
})

test_that("a login of another kind keeps nothing of the one before", {
  oauth <- fake_oauth()
  client <- oauth_client(oauth)
  expect_equal(read_config(client$path)[["issuer"]], oauth$metadata$issuer)
  suppressMessages(mx_client_relogin(client, password = "secret word"))
  config <- read_config(client$path)
  expect_equal(config[["method"]], "password")
  expect_null(config[["issuer"]])
  expect_null(config[["client_id"]])
  expect_false(identical(config[["refresh_token"]], "refresh-1"))
})

test_that("a login that begins with no time left is not renewed for each request", {
  oauth <- fake_oauth()
  client <- oauth_client(oauth, expires_in = 0)
  oauth$fake$fault("GET", "/joined_rooms", 401, expired_token)
  oauth$says(
    "token",
    list(
      access_token = session_token(client),
      refresh_token = "refresh-2",
      token_type = "bearer",
      expires_in = 0
    )
  )
  before <- length(oauth$fake$seen("POST", "/oauth/token"))
  for (i in 1:4) {
    mx_rooms(client)
  }
  expect_length(oauth$fake$seen("POST", "/oauth/token"), before + 1)
})

test_that("a server that says each token has ended is asked a few times, not for ever", {
  oauth <- fake_oauth()
  client <- oauth_client(oauth)
  oauth$fake$forget()
  text <- as.character(jsonlite::toJSON(oauth$metadata, auto_unbox = TRUE))
  oauth$fake$fault("GET", "/v1/auth_metadata", body = text, times = 99)
  oauth$fake$fault("", "/_matrix/.*rooms", 401, expired_token, times = 99)
  tokens <- list(access_token = "new", token_type = "bearer", expires_in = 0)
  oauth$says("token", tokens, times = 99)
  expect_error(mx_rooms(client), class = "mx_error_M_UNKNOWN_TOKEN")
  expect_length(oauth$fake$seen("POST", "/oauth/token"), 1)
  # The refresh token stays where none comes with a renewal.
  expect_equal(read_config(client$path)[["refresh_token"]], "refresh-1")
})

test_that("the time of the code is not taken for that of the token", {
  oauth <- fake_oauth()
  for (odd in list("300", -1, list(300))) {
    client <- oauth_client(oauth, expires_in = odd)
    expect_null(read_config(client$path)[["expires_at"]])
  }
})

test_that("a device id that would end the scope is not asked for", {
  oauth <- fake_oauth()
  for (device_id in c("ABC DEF", "a/b", "a%20b")) {
    account <- list(
      server = oauth$fake$url,
      path = withr::local_tempfile(),
      device_id = device_id
    )
    expect_error(begin_grant(account, NULL), class = "mx_error_sign_in")
  }
  expect_length(oauth$fake$seen("POST", "/oauth/"), 0)
})

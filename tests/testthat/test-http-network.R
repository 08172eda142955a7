# Authorities, proxies and IPv6 against a real server and a real proxy: tests/live.

local_plain_network <- function(.local_envir = parent.frame()) {
  variables <- c(
    c("CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    c("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
    c("no_proxy", "NO_PROXY", "MXCRYPT_PROXY_USER", "MXCRYPT_PROXY_PASSWORD")
  )
  values <- stats::setNames(rep(NA_character_, length(variables)), variables)
  withr::local_envvar(values, .local_envir = .local_envir)
  withr::local_options(
    mxcrypt.ca_file = NULL,
    mxcrypt.proxy = NULL,
    .local_envir = .local_envir
  )
}

pem_file <- function(.local_envir = parent.frame()) {
  path <- withr::local_tempfile(fileext = ".pem", .local_envir = .local_envir)
  writeLines(c("-----BEGIN CERTIFICATE-----", "AAAA"), path)
  normalizePath(path)
}

test_that("the nearest word on authorities counts", {
  local_plain_network()
  session <- list(server = "https://example.org")
  used <- function(session) {
    network_options(session, "https://example.org")[["cainfo"]]
  }
  expect_null(used(session))
  files <- vapply(
    1:4,
    function(i) {
      path <- withr::local_tempfile(.local_envir = parent.frame(3))
      file.create(path)
      path
    },
    ""
  )
  withr::defer(unlink(files))
  withr::local_envvar(SSL_CERT_FILE = files[[1]])
  expect_equal(used(session), files[[1]])
  withr::local_envvar(CURL_CA_BUNDLE = files[[2]])
  expect_equal(used(session), files[[2]])
  withr::local_options(mxcrypt.ca_file = files[[3]])
  expect_equal(used(session), files[[3]])
  session[["ca_file"]] <- files[[4]]
  expect_equal(used(session), files[[4]])
  # A proxy that is reached over TLS has a certificate too.
  withr::local_envvar(https_proxy = "https://proxy.invalid")
  options <- network_options(session, "https://example.org")
  expect_equal(options[["proxy_cainfo"]], files[[4]])
  # Plain http has no certificates.
  expect_null(network_options(session, "http://example.org")[["cainfo"]])
})

test_that("a file of authorities that is not there is named, and who named it", {
  local_plain_network()
  withr::local_options(mxcrypt.max_tries = 3, mxcrypt.pause = 0.01)
  configure <- function() {
    mx_client_configure("https://homeserver.invalid", "alice", "secret")
  }
  withr::local_envvar(CURL_CA_BUNDLE = "/no/such/bundle")
  condition <- expect_error(configure(), class = "mx_error_certificate")
  expect_s3_class(condition, "mx_error_network")
  expect_match(conditionMessage(condition), "CURL_CA_BUNDLE", fixed = TRUE)
  expect_match(conditionMessage(condition), "/no/such/bundle", fixed = TRUE)
  withr::local_options(mxcrypt.ca_file = tempdir())
  condition <- expect_error(configure(), class = "mx_error_certificate")
  expect_match(conditionMessage(condition), "mxcrypt.ca_file", fixed = TRUE)
  withr::local_options(mxcrypt.ca_file = 7)
  expect_error(configure(), class = "mx_error_argument")
})

test_that("`ca_file` is a file of certificates, and is remembered", {
  homeserver <- mx_demo_homeserver(users = "alice")
  dir <- withr::local_tempdir()
  configure <- function(ca_file) {
    mx_client_configure(
      homeserver,
      "alice",
      "demo",
      path = file.path(dir, "matrix.json"),
      store_dir = file.path(dir, "crypto"),
      ca_file = ca_file
    )
  }
  binary <- withr::local_tempfile()
  writeBin(as.raw(c(0x30, 0x82, 0, 1)), binary)
  for (odd in list("/no/such/file", dir, binary, "", 1, NA)) {
    expect_error(configure(odd), class = "mx_error_argument")
  }
  expect_error(configure(binary), "PEM")
  path <- pem_file()
  client <- configure(path)
  expect_equal(client$ca_file, path)
  loaded <- mx_client_load(path = client$path)
  expect_equal(loaded$ca_file, path)
  expect_equal(mx_client_session(loaded)$ca_file, path)
  # The call is over, and with it what held for its requests.
  expect_null(the[["ca_file"]])
  # What is not given is not there.
  expect_false("ca_file" %in% names(unclass(configure(NULL))))
})

test_that("a proxy is found as curl finds it", {
  local_plain_network()
  proxy_for <- function(url) proxy_choice(url)[["url"]]
  https <- "https://example.org"
  http <- "http://example.org"
  expect_null(proxy_for(https))
  withr::local_envvar(ALL_PROXY = "all:1")
  expect_equal(proxy_for(https), "all:1")
  expect_equal(proxy_for(http), "all:1")
  withr::local_envvar(HTTPS_PROXY = "upper:1", http_proxy = "lower:1")
  expect_equal(proxy_for(https), "upper:1")
  expect_equal(proxy_for(http), "lower:1")
  withr::local_envvar(https_proxy = "lower:2")
  expect_equal(proxy_for(https), "lower:2")
  withr::local_options(mxcrypt.proxy = "option:1")
  expect_equal(proxy_for(https), "option:1")
  withr::local_options(mxcrypt.proxy = "")
  expect_null(proxy_for(https))
  expect_equal(proxy_options(https)[["proxy"]], "")
})

test_that("HTTP_PROXY, which a request could set, is not read", {
  skip_on_os("windows") # names of variables have no case there
  local_plain_network()
  withr::local_envvar(HTTP_PROXY = "http://evil.invalid:1")
  expect_null(proxy_choice("http://example.org"))
})

test_that("no_proxy excludes hosts, domains and networks", {
  excluded <- function(list, host) {
    withr::with_envvar(c(no_proxy = list), is_excluded(host))
  }
  local_plain_network()
  expect_false(is_excluded("example.org"))
  expect_true(excluded("*", "example.org"))
  expect_true(excluded("a.org, example.org", "example.org"))
  expect_true(excluded(".example.org", "matrix.example.org"))
  expect_true(excluded("example.org", "matrix.example.org"))
  expect_true(excluded("EXAMPLE.org", "matrix.example.org"))
  expect_false(excluded("example.org", "badexample.org"))
  expect_false(excluded("matrix.example.org", "example.org"))
  expect_false(excluded(",,", "example.org"))
  expect_true(excluded("10.0.0.0/8", "10.1.2.3"))
  expect_false(excluded("10.0.0.0/8", "11.1.2.3"))
  expect_true(excluded("192.168.4.0/22", "192.168.7.255"))
  expect_false(excluded("192.168.4.0/22", "192.168.8.0"))
  expect_false(excluded("10.0.0.0/99", "10.0.0.0"))
  expect_false(excluded("10.0.0.0/8", "10.evil.org"))
  expect_true(excluded("[fd00::1]", "fd00::1"))
})

test_that("addresses of this machine are told from others", {
  here <- c(
    "http://localhost",
    "http://localhost:8008/",
    "http://matrix.localhost",
    "http://127.0.0.1:80",
    "http://127.3.2.1",
    "http://[::1]:8008",
    "http://[0:0:0:0:0:0:0:1]"
  )
  for (url in here) {
    expect_true(is_loopback(host_of(url)), info = url)
  }
  there <- c(
    "http://localhost.example.org",
    "http://127.0.0.1.example.org",
    "http://127.example.org",
    "http://notlocalhost",
    "http://1",
    "http://[::2]",
    "http://[::11]",
    "http://[fd00::1]",
    "http://[2001:db8::1]",
    "http://localhost@example.org",
    "http://example.org/?a=localhost"
  )
  for (url in there) {
    expect_false(is_loopback(host_of(url)), info = url)
  }
})

test_that("over plain http, a proxy gets nothing, whoever named it", {
  local_plain_network()
  session <- list(server = "http://homeserver.invalid", token = "tok-1")
  withr::local_options(mxcrypt.max_tries = 3, mxcrypt.pause = 0.01)
  refused <- function() {
    condition <- expect_error(
      http_perform(session, "GET", "/x"),
      class = "mx_error_proxy"
    )
    text <- conditionMessage(condition)
    expect_no_match(text, "tok-1|clerk|s3cret")
    expect_match(text, "proxy.invalid", fixed = TRUE)
    expect_error(
      http_perform(session, "GET", "/x", file = withr::local_tempfile()),
      class = "mx_error_proxy"
    )
  }
  address <- "http://clerk:s3cret@proxy.invalid:3128"
  withr::with_envvar(c(http_proxy = address), refused())
  withr::with_envvar(c(all_proxy = sub("http", "socks5h", address)), refused())
  withr::with_options(list(mxcrypt.proxy = address), refused())
  # Excluded, it goes straight, whatever curl thinks of the exclusion.
  withr::local_envvar(http_proxy = address, no_proxy = "homeserver.invalid")
  expect_equal(network_options(session, session$server)[["proxy"]], "")
})

test_that("an option that is no proxy is refused, and not repeated", {
  local_plain_network()
  odd <- list(
    "http://clerk:s3/cret@proxy.invalid:1",
    "ftp://clerk:s3cret@proxy.invalid",
    "http://proxy.invalid:port",
    "http://",
    NA,
    7,
    c("a", "b")
  )
  for (proxy in odd) {
    withr::local_options(mxcrypt.proxy = proxy)
    condition <- expect_error(
      mx_client_configure("https://homeserver.invalid", "alice", "x"),
      class = "mx_error_argument"
    )
    expect_match(conditionMessage(condition), "mxcrypt.proxy", fixed = TRUE)
    expect_no_match(conditionMessage(condition), "s3|clerk")
  }
})

test_that("curl's words are understood, whatever hosts are called", {
  local_plain_network()
  url <- "https://proxy.certificate.example.org"
  class_of <- function(reason, at = url) class(no_answer(at, reason))[[1]]
  certificate <- c(
    "SSL certificate problem: unable to get local issuer certificate",
    "SSL peer certificate or SSH remote key was not OK: [h] SSL: no alternative certificate",
    "error setting certificate file: /x",
    "server certificate verification failed. CAfile: none CRLfile: none",
    "schannel: next InitializeSecurityContext failed: SEC_E_UNTRUSTED_ROOT (0x80090325)",
    "schannel: CertGetCertificateChain trust error CERT_TRUST_IS_UNTRUSTED_ROOT",
    "error:0A00010B:SSL routines::wrong version number"
  )
  for (reason in certificate) {
    expect_equal(class_of(reason), "mx_error_certificate", info = reason)
    expect_true(no_answer(url, reason)[["final"]], info = reason)
  }
  passing <- c(
    paste("Could not resolve host:", sub("https://", "", url)),
    "OpenSSL SSL_connect: SSL_ERROR_SYSCALL in connection to x:443",
    "OpenSSL SSL_connect: Connection reset by peer in connection to x:443",
    "Operation timed out after 1000 milliseconds with 0 bytes received",
    "Recv failure: Connection timed out",
    "Failed to connect to x port 443 after 0 ms: Couldn't connect to server"
  )
  for (reason in passing) {
    expect_equal(class_of(reason), "mx_error_network", info = reason)
    expect_false(no_answer(url, reason)[["final"]], info = reason)
  }
  unreached <- c(
    "Connection timed out after 10001 milliseconds",
    "Connection timeout after 10001 ms",
    "Timeout was reached: [x] Connection timed out after 10001 milliseconds",
    "Resolving timed out after 10000 milliseconds",
    "Failed to connect to x port 443 after 10000 ms: Timeout was reached"
  )
  for (reason in unreached) {
    expect_equal(class_of(reason), "mx_error_network", info = reason)
    expect_true(no_answer(url, reason)[["final"]], info = reason)
  }

  withr::local_envvar(https_proxy = "http://clerk:s3cret@company.invalid:1")
  final <- c(
    "Received HTTP code 407 from proxy after CONNECT",
    "CONNECT tunnel failed, response 407",
    "CONNECT tunnel failed, response 403",
    "Unsupported proxy syntax in 'http://clerk:s3cret@company.invalid:1': Bad"
  )
  passing <- c(
    "CONNECT tunnel failed, response 502",
    "Could not resolve proxy: clerk:s3cret@company.invalid",
    "Proxy CONNECT aborted",
    "Failed to connect to company.invalid port 1: Connection refused"
  )
  for (reason in c(final, passing)) {
    condition <- no_answer(url, reason)
    expect_equal(class(condition)[[1]], "mx_error_proxy", info = reason)
    expect_equal(condition[["final"]], reason %in% final, info = reason)
    expect_match(conditionMessage(condition), "http://company.invalid:1")
    expect_no_match(conditionMessage(condition), "clerk|s3cret")
  }
  # No proxy is between R and this machine.
  expect_equal(class_of(passing[[4]], "https://localhost"), "mx_error_network")
})

test_that("the time to connect is bounded, by itself and by that of a request", {
  local_plain_network()
  timeout <- function() {
    network_options(list(), "https://x")[["connecttimeout_ms"]]
  }
  expect_equal(timeout(), 10000)
  withr::local_options(mxcrypt.timeout = 2)
  expect_equal(timeout(), 2000)
  withr::local_options(mxcrypt.connect_timeout = 0.5)
  expect_equal(timeout(), 500)
  for (odd in list("x", -1, 0, NA)) {
    withr::local_options(mxcrypt.connect_timeout = odd)
    expect_error(timeout(), class = "mx_error_argument")
  }
})

# In place of httr2: a homeserver whose logins have ended, and its OAuth server.
local_https_oauth <- function(.local_envir = parent.frame()) {
  asked <- new.env()
  at <- function(name) paste0("https://account.example/", name)
  metadata <- list(
    issuer = at(""),
    token_endpoint = at("token"),
    registration_endpoint = at("register"),
    device_authorization_endpoint = at("device"),
    revocation_endpoint = at("revoke"),
    account_management_uri = at("account"),
    grant_types_supported = c("refresh_token", device_grant_type)
  )
  # httr2 wants this name.
  answer <- function(req) {
    url <- req$url
    asked[[url]] <- c(asked[[url]], req$options$cainfo %||% "system")
    body <- list(errcode = "M_UNKNOWN_TOKEN", error = "expired")
    status <- 401L
    if (grepl("auth_metadata$", url)) {
      body <- metadata
      status <- 200L
    } else if (startsWith(url, at(""))) {
      body <- list(error = "invalid_grant")
      status <- if (grepl("revoke", url)) 200L else 400L
    } else if (grepl("versions$", url)) {
      body <- list(versions = I("v1.11"))
      status <- 200L
    }
    text <- jsonlite::toJSON(body, auto_unbox = TRUE)
    headers <- list("content-type" = "application/json")
    httr2::response(status, url, "GET", headers, charToRaw(text))
  }
  withr::local_options(
    httr2_mock = answer,
    mxcrypt.max_tries = 1,
    mxcrypt.keyring = FALSE,
    rlang_interactive = FALSE,
    .local_envir = .local_envir
  )
  withr::local_envvar(MXCRYPT_PASSWORD = NA, .local_envir = .local_envir)
  asked
}

test_that("a client's authorities are also those for its OAuth server", {
  local_plain_network()
  asked <- local_https_oauth()
  ca_file <- pem_file()
  dir <- withr::local_tempdir()
  path <- file.path(dir, "matrix.json")
  config <- list(
    server = "https://matrix.example",
    user_id = "@alice:example",
    device_id = "DEVICE",
    token = "token",
    refresh_token = "refresh",
    client_id = "client",
    issuer = "https://account.example/",
    method = "oauth",
    store_dir = file.path(dir, "crypto"),
    ca_file = ca_file
  )
  calls <- list(
    revoke = function(client) mx_logout(client, ask = FALSE),
    token = function(client) mx_rooms(client),
    register = function(client) mx_client_relogin(client, method = "oauth"),
    auth_metadata = function(client) mx_account_url(client),
    login = function(client) mx_sign_in_methods(client$server, ca_file),
    versions = function(client) mx_doctor(client)
  )
  for (name in names(calls)) {
    write_config(config, path)
    rm(list = ls(asked), envir = asked)
    suppressWarnings(catch(calls[[name]](mx_client_load(path = path))))
    urls <- ls(asked)
    expect_true(any(endsWith(urls, paste0("/", name))), info = name)
    used <- unlist(mget(urls, envir = asked))
    expect_equal(unique(unname(used)), ca_file, info = name)
  }
  expect_null(the[["ca_file"]])
})

# Through the networks of companies: a proxy, and authorities of their own.

# A user of the homeserver behind the proxy.
network_client <- function(network, ..., .local_envir = parent.frame()) {
  live_client(
    live_user("r", network$server),
    server = network$server,
    url = network$url,
    ...,
    .local_envir = .local_envir
  )
}

token_of <- function(client) {
  jsonlite::fromJSON(client$path)[["token"]]
}

# Alice and Bob in a room, a message and a file from one to the other.
expect_conversation <- function(alice, bob) {
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  mx_sync(alice)
  mx_send_text(alice, room, "through all of it")
  wait_for_bodies(bob, "through all of it")
  dir <- withr::local_tempdir()
  bytes <- as.raw(seq_len(200003) %% 251)
  mx_send_file(alice, room, bytes, name = "numbers.bin")
  wait_for_bodies(bob, "numbers.bin")
  events <- mx_messages(bob, room, limit = 1)
  saved <- mx_media_download(bob, events, file.path(dir, "numbers.bin"))
  expect_identical(read_bytes(saved$path), bytes)
}

test_that("people talk through a proxy with a password, to a private authority", {
  local_plain_network()
  network <- live_network()
  proxy <- forward_proxy(network, login = "clerk:pass@/word")
  withr::local_options(
    mxcrypt.proxy = sub("//", "//clerk:pass%40%2Fword@", proxy$url)
  )
  alice <- network_client(network, ca_file = network$ca_file)
  bob <- network_client(network, ca_file = network$ca_file)
  expect_conversation(alice, bob)

  # Nothing but tunnels was asked of the proxy, with its own password and no token.
  seen <- proxy$seen()
  expect_gt(nrow(seen), 0)
  expect_setequal(seen$method, "CONNECT")
  expect_setequal(seen$host, "homeserver.test")
  expect_true(all(is.na(seen$authorization)))
  bytes <- proxy$bytes()
  expect_true(contains(bytes, "Proxy-Authorization: Basic "))
  expect_true(contains(bytes, "CONNECT homeserver.test"))
  expect_false(contains(bytes, token_of(alice)))
  expect_false(contains(bytes, token_of(bob)))
  expect_false(contains(bytes, "Bearer"))
  expect_false(contains(bytes, "_matrix"))

  # The client remembers its authority, also in another process.
  forget_open_stores()
  again <- mx_client_load(path = alice$path)
  expect_equal(nrow(mx_rooms(again)), 1)
  session <- mx_client_session(again)
  room <- mx_rooms(again)$room_id
  mx_set_state(session, room, "org.example.note", list(a = 1))
  mx_client_relogin(again, "password of nobody") |>
    expect_error(class = "mx_error_M_FORBIDDEN")
})

test_that("the environment names proxy, password and authority as well", {
  local_plain_network()
  network <- live_network()
  proxy <- forward_proxy(network, login = "clerk:secret-7")
  withr::local_envvar(
    https_proxy = proxy$url,
    MXCRYPT_PROXY_USER = "clerk",
    MXCRYPT_PROXY_PASSWORD = "secret-7"
  )
  for (variable in c("SSL_CERT_FILE", "CURL_CA_BUNDLE")) {
    withr::with_envvar(
      stats::setNames(network$ca_file, variable),
      {
        alice <- network_client(network)
        expect_equal(nrow(mx_rooms(alice)), 0)
      }
    )
  }
  expect_gt(sum(proxy$seen()$method == "CONNECT"), 0)
  # A directory, in which a link has the hash of the authority's name.
  dir <- withr::local_tempdir()
  hash <- processx::run(
    "openssl",
    c("x509", "-hash", "-noout", "-in", network$ca_file)
  )
  link <- paste0(trimws(hash$stdout), ".0")
  file.copy(network$ca_file, file.path(dir, link))
  withr::local_envvar(SSL_CERT_DIR = dir)
  expect_equal(nrow(mx_rooms(alice)), 0)
})

test_that("a wrong password of the proxy is said at once, and not shown", {
  local_plain_network()
  network <- live_network()
  proxy <- forward_proxy(network, login = "clerk:right")
  withr::local_options(mxcrypt.ca_file = network$ca_file)
  for (login in c("", "clerk:wr0ng@")) {
    proxy$clear()
    withr::local_options(
      mxcrypt.proxy = sub("//", paste0("//", login), proxy$url)
    )
    condition <- expect_error(
      network_client(network),
      class = "mx_error_proxy"
    )
    expect_s3_class(condition, "mx_error_network")
    expect_match(conditionMessage(condition), "407")
    expect_match(conditionMessage(condition), "MXCRYPT_PROXY_PASSWORD")
    expect_no_match(conditionMessage(condition), "clerk|wr0ng")
    # One try: a question, and the answer to it where there is a password.
    expect_lte(nrow(proxy$seen()), 2)
  }
})

test_that("a certificate that is not trusted is said after one try", {
  local_plain_network()
  network <- live_network()
  tee <- tee_start(network$port)
  url <- paste0("https://localhost:", tee$port)
  condition <- expect_error(
    mx_client_configure(url, "alice", "password"),
    class = "mx_error_certificate"
  )
  expect_s3_class(condition, "mx_error_network")
  expect_match(conditionMessage(condition), "certificate")
  expect_match(conditionMessage(condition), "ca_file")
  expect_equal(tee$connections(), 1)

  # So is one that a client meets later, by a request and by a download.
  alice <- live_client(
    live_user("r", network$server),
    url = url,
    ca_file = network$ca_file
  )
  alice$ca_file <- NULL
  content <- list(
    msgtype = "m.file",
    body = "x",
    url = "mxc://localhost/abcdef"
  )
  for (call in list(
    quote(mx_rooms(alice)),
    quote(mx_media_download(alice, content, tempfile()))
  )) {
    tee$clear()
    condition <- expect_error(eval(call), class = "mx_error_certificate")
    expect_no_match(conditionMessage(condition), token_of(alice), fixed = TRUE)
    expect_equal(tee$connections(), 1)
  }

  # The name in the certificate counts.
  withr::local_options(mxcrypt.ca_file = network$ca_file)
  tee$clear()
  expect_error(
    mx_client_configure(sub("localhost", "127.0.0.1", url), "alice", "x"),
    class = "mx_error_certificate"
  )
  expect_equal(tee$connections(), 1)
})

test_that("a proxy that opens TLS is trusted with its authority only", {
  local_plain_network()
  network <- live_network()
  proxy <- forward_proxy(network, login = "clerk:right", opens = TRUE)
  withr::local_options(
    mxcrypt.proxy = sub("//", "//clerk:right@", proxy$url)
  )
  condition <- expect_error(
    network_client(network, ca_file = network$ca_file),
    class = "mx_error_certificate"
  )
  seen <- proxy$seen()
  expect_setequal(seen$method, "CONNECT")

  alice <- network_client(network, ca_file = proxy$ca_file)
  expect_equal(nrow(mx_rooms(alice)), 0)
  seen <- proxy$seen()
  # What the homeserver gets has the token and nothing of the proxy's password; what
  # the proxy is asked, the other way round.
  inside <- seen[seen$method != "CONNECT", ]
  expect_true(paste("Bearer", token_of(alice)) %in% inside$authorization)
  expect_true(all(is.na(inside$proxy_authorization)))
  expect_true(all(is.na(seen$authorization[seen$method == "CONNECT"])))
  # A redirected download goes the same way, without the token.
  content <- list(
    msgtype = "m.file",
    body = "x",
    url = "mxc://localhost/redirected"
  )
  saved <- mx_media_download(alice, content, withr::local_tempfile())
  expect_equal(readLines(saved$path, warn = FALSE), "from elsewhere")
  seen <- proxy$seen()
  there <- seen[seen$host == "content.test", ]
  expect_setequal(there$method, c("CONNECT", "GET"))
  expect_true(all(is.na(there$authorization)))
  # It opened what it saw: the bytes on its own wire are TLS.
  expect_false(contains(proxy$bytes(), token_of(alice)))
})

test_that("over plain http, nothing is sent through a proxy", {
  local_plain_network()
  network <- live_network()
  proxy <- forward_proxy(network)
  user <- live_user("r", network$server)
  withr::local_envvar(http_proxy = proxy$url)
  condition <- expect_error(
    mx_client_configure("http://homeserver.test", "alice", "password"),
    class = "mx_error_proxy"
  )
  expect_match(conditionMessage(condition), "Nothing was sent", fixed = TRUE)
  # A homeserver on this machine is reached without it, so is one that is excluded.
  alice <- live_client(user, server = network$server)
  expect_equal(nrow(mx_rooms(alice)), 0)
  expect_length(proxy$bytes(), 0)
})

test_that("what the proxy refuses, or cannot reach, is told of the proxy", {
  local_plain_network()
  withr::local_options(mxcrypt.max_tries = 3)
  proxy <- forward_proxy(live_network())
  withr::local_envvar(https_proxy = proxy$url)
  # A rule stays what it is; a server that is away may come back.
  tries <- c(forbidden.test = 1, nowhere.invalid = 3)
  for (host in names(tries)) {
    proxy$clear()
    condition <- expect_error(
      mx_client_configure(paste0("https://", host, ":8448"), "alice", "x"),
      class = "mx_error_proxy"
    )
    expect_match(conditionMessage(condition), proxy$url, fixed = TRUE)
    expect_equal(nrow(proxy$seen()), tries[[host]])
  }
})

test_that("a homeserver is reached over IPv6", {
  local_plain_network()
  network <- live_network()
  skip_if_not(has_ipv6(), "This machine has no IPv6")
  tee <- tee_start(network$port, host = "::1")
  # Nor is a proxy asked for what is on this machine.
  withr::local_envvar(https_proxy = "http://nowhere.invalid:3128")
  alice <- live_client(
    live_user("r", network$server),
    url = paste0("https://[::1]:", tee$port),
    ca_file = network$ca_file
  )
  expect_equal(nrow(mx_rooms(alice)), 0)
  expect_gt(tee$connections(), 0)
})

test_that("a host that stays silent is given up after the time to connect", {
  local_plain_network()
  withr::local_options(mxcrypt.connect_timeout = 1)
  url <- paste0("https://127.0.0.1:", silent_port())
  condition <- expect_error(
    mx_client_configure(url, "alice", "x"),
    class = "mx_error_network"
  )
  expect_match(conditionMessage(condition), "time", ignore.case = TRUE)
  # curl has sent to it several times already.
  expect_true(condition[["final"]])
})

# What mx_doctor() finds, and that nothing of it is a secret or a change.

state_of <- function(x, what) x$state[x$what == what]
found_of <- function(x, what) x$found[x$what == what]

local_plain_machine <- function(.local_envir = parent.frame()) {
  variables <- vapply(secret_places, `[[`, "", "variable")
  names <- c(
    variables,
    paste0(variables, "_FILE"),
    proxy_variables,
    "no_proxy",
    "NO_PROXY",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR"
  )
  unset <- stats::setNames(rep(NA_character_, length(names)), names)
  withr::local_envvar(unset, .local_envir = .local_envir)
  withr::local_options(mxcrypt.keyring = FALSE, .local_envir = .local_envir)
  old <- the[["secret_sources"]]
  the[["secret_sources"]] <- NULL
  withr::defer(the[["secret_sources"]] <- old, envir = .local_envir)
}

test_that("a device that is set up has nothing to be done", {
  local_plain_machine()
  alice <- mx_demo_client(mx_demo_homeserver(), "alice")
  mx_sync(alice)
  checked <- mx_doctor(alice)
  expect_s3_class(checked, c("mx_doctor", "data.frame"))
  expect_named(checked, c("what", "state", "found", "remedy"))
  expect_false(anyNA(checked))
  bad <- checked[checked$state != "ok" & checked$what != "locale", ]
  expect_equal(paste(bad$what, bad$found), character())
  expect_true(all(nzchar(checked$found)))
  expect_false(any(nzchar(checked$remedy[checked$state == "ok"])))
  expect_match(found_of(checked, "sign-in offered"), "m.login.password")
  expect_match(found_of(checked, "store"), "crypto")
})

test_that("the print can be pasted", {
  # Windows has no line of modes.
  skip_on_os("windows")
  local_plain_machine()
  alice <- mx_demo_client(mx_demo_homeserver(), "alice")
  bob <- mx_demo_client(mx_demo_homeserver(), "bob", verified = FALSE)
  # What differs from machine to machine and from day to day.
  stable <- function(lines) {
    for (client in list(alice, bob)) {
      dir <- dirname(client$path)
      for (text in c(short_path(dir), dir)) {
        lines <- gsub(text, "<dir>", lines, fixed = TRUE)
      }
    }
    lines <- gsub("20[0-9]{2}-[0-9-]+ [0-9:]+ UTC", "<time>", lines)
    lines <- gsub("demo:[0-9]+", "<server>", lines)
    lines <- gsub("[0-9.,]+ (MB|bytes)", "<size>", lines)
    lines <- sub("(ok +(mxcrypt|R|libcurl) +).*$", "\\1<versions>", lines)
    lines <- sub("^.*( locale +).*$", "<state>\\1<locale>", lines)
    lines <- lines[!grepl("LC_ALL", lines)]
    lines <- sub("(schema +version ).*$", "\\1<schema>", lines)
    sub("^[0-9]+ failures?, [0-9]+ warnings?[.]$", "<counts>", lines)
  }
  expect_snapshot(mx_doctor(alice), transform = stable)
  expect_snapshot(mx_doctor(bob), transform = stable)
})

test_that("no secret is in it, however it is shown", {
  local_plain_machine()
  alice <- mx_demo_client(mx_demo_homeserver(), "alice", verified = FALSE)
  setup <- suppressMessages(mx_crypto_setup(alice))
  recovery_key <- format(setup$recovery_key, reveal = TRUE)
  config <- read_config(alice$path)
  store_key <- jsonlite::base64_enc(
    readBin(file.path(alice$store_dir, "pickle.key"), "raw", 64)
  )
  file <- withr::local_tempfile()
  writeLines("a password in a file", file)
  withr::local_envvar(
    MXCRYPT_RECOVERY_KEY = recovery_key,
    MXCRYPT_PASSWORD_FILE = file,
    MXCRYPT_STORE_KEY = store_key,
    https_proxy = "http://someone:proxy-pass@word@proxy.example:3128/path-s3cret"
  )
  withr::local_options(mxcrypt.access_token = "a-token-in-an-option")
  hidden <- c(
    config[["token"]],
    config[["refresh_token"]],
    recovery_key,
    gsub(" ", "", recovery_key),
    store_key,
    "a password in a file",
    "a-token-in-an-option",
    "someone",
    "proxy-pass",
    "word@",
    "s3cret"
  )
  expect_gt(length(hidden), 9)
  checked <- mx_doctor(alice)
  for (secret in hidden) {
    expect_nowhere(secret, checked)
  }
  expect_match(found_of(checked, "password"), file, fixed = TRUE)
  expect_match(found_of(checked, "recovery key"), "MXCRYPT_RECOVERY_KEY")
  expect_match(found_of(checked, "access token"), "mxcrypt.access_token")
  expect_match(found_of(checked, "proxy"), "<masked>@proxy.example:3128")
  # What a server repeats of a token is no exception.
  said <- paste0("the token ", config[["token"]], " is not\aknown")
  lines <- run_checks(
    list(clock = function(x) check_abort(said, "none")),
    new.env()
  )
  checked <- new_doctor(lines, known_secrets(alice))
  expect_nowhere(config[["token"]], checked)
  # Nor does it steer a terminal.
  expect_equal(checked$found, "the token <secret> is not known")
})

test_that("a secret is found wherever it stands, and whatever bytes it has", {
  local_plain_machine()
  secret <- "s3cret-of-the-server"
  line <- function(text) {
    lines <- list(clock = doctor_line("failure", text))
    new_doctor(lines, secret)$found
  }
  # Where the text is cut.
  expect_no_match(line(paste0(strrep("x", 990), secret)), "s3cret")
  secret <- "s3cret\tand more"
  expect_equal(line("the s3cret\tand more"), "the <secret>")
  withr::local_envvar(MXCRYPT_PASSWORD = "not UTF-8: \xff\xfe")
  expect_s3_class(mx_doctor(), "mx_doctor")
})

test_that("a proxy is shown without what lets somebody in", {
  expect_equal(masked_proxy("http://proxy:80"), "http://proxy:80")
  expect_equal(masked_proxy("proxy:80"), "proxy:80")
  expect_equal(masked_proxy("u:p@proxy:80"), "<masked>@proxy:80")
  expect_equal(
    masked_proxy("socks5h://u:a/b@c?d@proxy:80/x?y"),
    "socks5h://<masked>@proxy:80"
  )
})

test_that("no check changes anything or sends keys", {
  local_plain_machine()
  pair <- demo_pair()
  alice <- pair$alice
  mx_send_text(alice, pair$room, "hello")
  files <- function() {
    paths <- list.files(dirname(alice$path), recursive = TRUE, all.files = TRUE)
    # SQLite's index of its log is written by readers, too.
    paths <- paths[!grepl("-shm$", paths)]
    full <- file.path(dirname(alice$path), paths)
    stats::setNames(tools::md5sum(full), paths)
  }
  mx_doctor(alice)
  before <- files()
  asked <- requests_during(mx_doctor(alice))
  expect_equal(files(), before)
  expect_true(all(startsWith(asked, "GET ")))
  expect_setequal(
    sub("^GET /_matrix/client/(v[0-9]/)?", "", asked),
    c("versions", "login", "auth_metadata", "account/whoami")
  )
})

test_that("a login is neither renewed nor begun by a check", {
  local_plain_machine()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  withr::local_envvar(MXCRYPT_PASSWORD = "demo")
  expired <- '{"errcode":"M_UNKNOWN_TOKEN","error":"expired"}'
  fake$forget()
  fake$fault("GET", "/whoami", status = 401, body = expired)
  checked <- mx_doctor(alice)
  expect_length(fake$seen("POST"), 0)
  expect_equal(state_of(checked, "login at the server"), "warning")
  config <- read_config(alice$path)
  config[["refresh_token"]] <- NULL
  write_config(config, alice$path)
  fake$fault("GET", "/whoami", status = 401, body = expired)
  checked <- mx_doctor(alice)
  expect_equal(state_of(checked, "login at the server"), "failure")
  expect_match(
    checked$remedy[checked$what == "login at the server"],
    "mx_client_relogin"
  )
})

test_that("offline, the lines of the server are failures and the rest is there", {
  local_plain_machine()
  alice <- mx_demo_client(mx_demo_homeserver(), "alice")
  online <- mx_doctor(alice)
  config <- read_config(alice$path)
  config[["server"]] <- "http://127.0.0.1:1"
  write_config(config, alice$path)
  offline <- mx_doctor(mx_client_load(path = alice$path))
  expect_equal(offline$what, online$what)
  failed <- offline[offline$state == "failure", ]
  expect_setequal(
    failed$what,
    c("server", "sign-in offered", "clock", "login at the server")
  )
  expect_true(all(nzchar(failed$remedy)))
  expect_match(found_of(offline, "server"), "127.0.0.1:1")
})

test_that("a server that is none, or lies, is one line each", {
  local_plain_machine()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  fake$fault("GET", "/versions", body = "<html>\u001b[31mLog in</html>")
  checked <- mx_doctor(alice)
  expect_equal(state_of(checked, "server"), "failure")
  expect_false(any(grepl("\u001b", format(checked), fixed = TRUE)))
  bad <- list('{"versions":[1,{},"\\u001b[31m"]}', "[]", '{"versions":{"a":1}}')
  for (body in bad) {
    fake$fault("GET", "/versions", body = body)
    expect_equal(state_of(mx_doctor(alice), "server"), "failure")
  }
  for (body in c('{"flows":[1,"x",{"type":2},{}]}', "null", '{"flows":"x"}')) {
    fake$fault("GET", "v3/login", body = body)
    checked <- mx_doctor(alice)
    expect_equal(state_of(checked, "sign-in offered"), "warning")
    expect_equal(state_of(checked, "login at the server"), "ok")
  }
  fake$fault(
    "GET",
    "/auth_metadata",
    body = '{"issuer":"https://auth.example/"}'
  )
  offered <- found_of(mx_doctor(alice), "sign-in offered")
  expect_match(offered, "OAuth of https://auth.example/")
})

test_that("a clock that differs is a warning, and then a failure", {
  clock <- function(seconds, date = NULL) {
    now <- as.POSIXct("2026-02-03 04:05:06", tz = "UTC")
    x <- new.env()
    x[["reached"]] <- TRUE
    x[["client"]] <- list(server = "https://example.org")
    x[["asked_at"]] <- now + seconds
    x[["date"]] <- date %||% "Tue, 03 Feb 2026 04:05:06 GMT"
    check_clock(x)
  }
  states <- vapply(
    c(0, 59, 61, 299, 301, -61, -301, 1e8),
    function(s) clock(s)[["state"]],
    ""
  )
  expect_equal(
    states,
    rep(c("ok", "warning", "failure", "warning", "failure"), c(2, 2, 1, 1, 2))
  )
  expect_match(clock(61)[["found"]], "61 seconds ahead")
  expect_match(clock(-400)[["found"]], "400 seconds behind")
  for (date in c("", "soon", "Tue, 31 Feb 2026 04:05:06 GMT", "x\nGMT")) {
    expect_equal(clock(0, date)[["state"]], "warning")
  }
})

test_that("the date of a real response is read", {
  local_plain_machine()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  sent <- function(time) {
    date <- withr::with_locale(
      c(LC_TIME = "C"),
      format(time, "%a, %d %b %Y %H:%M:%S GMT", tz = "UTC")
    )
    fake$fault(
      "GET",
      "/versions",
      body = '{"versions":["v1.15"]}',
      headers = list(Date = date)
    )
    mx_doctor(alice)
  }
  expect_match(found_of(sent(Sys.time()), "clock"), "within a minute")
  expect_equal(state_of(sent(Sys.time() - 3600), "clock"), "failure")
})

test_that("kind of login and expiry are those of the configuration", {
  local_plain_machine()
  alice <- mx_demo_client(mx_demo_homeserver(), "alice")
  original <- read_config(alice$path)
  login <- function(...) {
    config <- utils::modifyList(original, list(...))
    write_config(config, alice$path)
    mx_doctor(mx_client_load(path = alice$path))
  }
  checked <- login(
    method = "access_token",
    issuer = "https://auth.example/",
    expires_at = "2999-01-02T03:04:05Z"
  )
  expect_match(
    found_of(checked, "login"),
    paste(
      "access token, issuer https://auth.example/, with a refresh token,",
      "expires 2999-01-02 03:04 UTC"
    ),
    fixed = TRUE
  )
  checked <- login(expires_at = "2001-01-02T03:04:05Z")
  expect_equal(state_of(checked, "login"), "ok")
  expect_match(found_of(checked, "login"), "expired 2001")
  checked <- login(expires_at = "2001-01-02T03:04:05Z", refresh_token = NULL)
  expect_equal(state_of(checked, "login"), "warning")
  checked <- login(expires_at = "soon")
  expect_match(found_of(checked, "login"), "expiry not known")
  checked <- login(signed_out_at = "2020-01-01 10:00 UTC", token = NULL)
  expect_equal(state_of(checked, "login"), "failure")
  expect_equal(state_of(checked, "login at the server"), "failure")
})

test_that("what is wrong with a store is said, and nothing is made in its place", {
  local_plain_machine()
  alice <- mx_demo_client(mx_demo_homeserver(), "alice")
  # Modes.
  if (.Platform$OS.type != "windows") {
    Sys.chmod(alice$store_dir, "0755")
    Sys.chmod(alice$path, "0644")
    checked <- mx_doctor(alice)
    expect_equal(state_of(checked, "file modes"), "warning")
    expect_match(checked$remedy[checked$what == "file modes"], "\"0700\"")
    expect_match(checked$remedy[checked$what == "file modes"], "\"0600\"")
    Sys.chmod(alice$store_dir, "0700")
    Sys.chmod(alice$path, "0600")
  }
  # Another key.
  forget_open_stores()
  withr::with_envvar(
    c(MXCRYPT_STORE_KEY = jsonlite::base64_enc(as.raw(1:32))),
    {
      checked <- mx_doctor(alice)
      expect_equal(state_of(checked, "key of the store"), "failure")
      expect_equal(state_of(checked, "device"), "failure")
      expect_equal(state_of(checked, "file locks"), "ok")
    }
  )
  # Another device's.
  other <- alice
  other[["device_id"]] <- "OTHER"
  checked <- mx_doctor(other)
  expect_match(found_of(checked, "key of the store"), "another user or device")
  # A store that no device has.
  empty <- alice
  empty[["store_dir"]] <- withr::local_tempfile()
  open_store(empty[["store_dir"]])
  checked <- mx_doctor(empty)
  expect_match(found_of(checked, "key of the store"), "holds no device")
  expect_no_match(checked$remedy, "app", fixed = TRUE)
  # None.
  other[["store_dir"]] <- tempfile()
  checked <- mx_doctor(other)
  expect_equal(state_of(checked, "store"), "failure")
  expect_false(file.exists(other[["store_dir"]]))
})

test_that("a store that cannot be opened is tried once", {
  local_plain_machine()
  alice <- mx_demo_client(mx_demo_homeserver(), "alice")
  forget_open_stores()
  asked <- 0
  withr::local_options(mxcrypt.store_key = function() {
    asked <<- asked + 1
    stop("the vault is away")
  })
  checked <- mx_doctor(alice)
  expect_equal(asked, 1)
  # One line says why, and the others refer to it.
  failed <- checked[grepl("The function in the option", checked$found), ]
  expect_equal(failed$what, "key of the store")
  expect_match(failed$remedy, "See the line store key,", fixed = TRUE)
  others <- checked[checked$remedy == "See the line key of the store.", ]
  expect_true(all(c("device", "identity", "not sent") %in% others$what))
  expect_equal(unique(others$state), "failure")
  expect_true(all(c("store key", "key of the store") %in% checked$what))
})

test_that("what waits and what was refused is counted", {
  local_plain_machine()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  withr::local_options(mxcrypt.max_tries = 1)
  fake$fault("PUT", "/send/", status = 502, times = 5)
  try(mx_send_text(alice, room, "hello"), silent = TRUE)
  checked <- mx_doctor(alice)
  expect_equal(state_of(checked, "not sent"), "warning")
  expect_match(found_of(checked, "not sent"), "1 message waits")
})

test_that("a check that fails stops no other, whatever it raises", {
  raises <- list(
    one = function(x) stop("one\nmore"),
    two = function(x) mx_abort(c("two", i = "a hint"), "mx_error_store"),
    three = function(x) fine("three"),
    four = function(x) NULL,
    five = function(x) list(six = fine("six"), seven = fine("seven"))
  )
  checked <- new_doctor(run_checks(raises, new.env()), character())
  expect_equal(checked$what, c("one", "two", "three", "six", "seven"))
  expect_equal(checked$state, c("failure", "failure", "ok", "ok", "ok"))
  expect_equal(checked$found[1:2], c("one more", "two"))
  expect_true(all(nzchar(checked$remedy[1:2])))
})

test_that("without a client it looks at the app's, or at the machine alone", {
  local_plain_machine()
  withr::local_envvar(MXCRYPT_MATRIX_CONFIG = tempfile())
  checked <- mx_doctor()
  expect_equal(state_of(checked, "configuration"), "warning")
  expect_false("server" %in% checked$what)
  alice <- mx_demo_client(mx_demo_homeserver(), "alice")
  withr::local_envvar(MXCRYPT_MATRIX_CONFIG = alice$path)
  expect_equal(mx_doctor()$what, mx_doctor(alice)$what)
  broken <- withr::local_tempfile(lines = "{")
  withr::local_envvar(MXCRYPT_MATRIX_CONFIG = broken)
  expect_equal(state_of(mx_doctor(), "configuration"), "failure")
  expect_error(mx_doctor("alice"), class = "mx_error_argument")
})

test_that("the environment of the machine is looked at", {
  local_plain_machine()
  withr::local_envvar(
    MXCRYPT_MATRIX_CONFIG = tempfile(),
    SSL_CERT_FILE = "/nowhere/ca.pem",
    MXCRYPT_PASSWORD_FILE = "/nowhere/password"
  )
  checked <- mx_doctor()
  expect_equal(state_of(checked, "certificates"), "failure")
  expect_equal(state_of(checked, "password"), "failure")
  expect_match(found_of(checked, "password"), "MXCRYPT_PASSWORD_FILE")
  withr::local_envvar(MXCRYPT_PASSWORD_FILE = tempdir())
  expect_equal(state_of(mx_doctor(), "password"), "failure")
  # A function is not called: it may ask somebody.
  withr::local_options(mxcrypt.recovery_key = function() stop("called"))
  expect_equal(state_of(mx_doctor(), "recovery key"), "ok")
})

test_that("a pipe is not read: it has its secret once", {
  skip_on_os("windows")
  local_plain_machine()
  pipe <- tempfile()
  close(fifo(pipe, "w+"))
  withr::defer(unlink(pipe))
  withr::local_envvar(
    MXCRYPT_MATRIX_CONFIG = tempfile(),
    MXCRYPT_PASSWORD_FILE = pipe
  )
  checked <- mx_doctor()
  expect_match(found_of(checked, "password"), "was not read")
})

test_that("a pipe that nobody writes to does not hold it up", {
  skip_on_os("windows")
  local_plain_machine()
  alice <- mx_demo_client(mx_demo_homeserver(), "alice")
  pipe <- withr::local_tempfile()
  close(fifo(pipe, "w+"))
  withr::local_envvar(MXCRYPT_STORE_KEY_FILE = pipe)
  forget_open_stores()
  # Would hang.
  checked <- mx_doctor(alice)
  expect_match(found_of(checked, "device"), "MXCRYPT_STORE_KEY_FILE")
  expect_match(found_of(checked, "device"), "not read")
  withr::with_envvar(c(MXCRYPT_STORE_KEY_FILE = NA), mx_sync(alice))
  checked <- mx_doctor(alice)
  expect_equal(state_of(checked, "device"), "ok")
})

test_that("an account that is gone is not told to sign in again", {
  local_plain_machine()
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  for (code in c("M_USER_DEACTIVATED", "M_USER_LOCKED")) {
    body <- paste0('{"errcode":"', code, '","error":"gone"}')
    fake$fault("GET", "/whoami", status = 401, body = body)
    checked <- mx_doctor(alice)
    row <- checked[checked$what == "login at the server", ]
    expect_equal(row$state, "failure")
    expect_match(row$found, code)
    expect_match(row$remedy, "whoever runs the server")
  }
})

test_that("it prints in the C locale and without colours", {
  shown <- in_other_r(
    function() {
      local_plain_machine <- NULL
      alice <- mx_demo_client(mx_demo_homeserver(), "alice")
      checked <- mx_doctor(alice)
      list(lines = utils::capture.output(print(checked)), rows = checked$what)
    },
    env = c(LC_ALL = "C", NO_COLOR = "1")
  )
  expect_gt(length(shown$lines), length(shown$rows))
  expect_false(any(grepl("[^ -~]", shown$lines)))
  expect_true("locale" %in% shown$rows)
})

test_that("some of its columns print as a data frame", {
  checked <- new_doctor(list(a = fine("b")), character())
  expect_output(print(checked[c("what", "found")]), "what found")
})

test_that("what a database refuses can be corrected", {
  refused <- errorCondition("x", class = "mx_error_store_refused")
  expect_match(store_remedy(refused), "password", fixed = TRUE)
})

test_that("a database that is away is waited for once, and said to be away", {
  x <- new.env(parent = emptyenv())
  x[["client"]] <- list(store_dir = "postgresql://db/matrix")
  asked <- 0
  local_replaced("has_store", function(...) {
    asked <<- asked + 1
    mx_abort(
      "The database of the store cannot be reached.",
      c("mx_error_store_unreachable", "mx_error_store")
    )
  })
  failed <- function(check) tryCatch(check(x), error = identity)
  first <- failed(check_store)
  expect_match(conditionMessage(first), "cannot be reached")
  expect_match(first$remedy, "Start the database", fixed = TRUE)
  expect_identical(failed(doctor_machine)$remedy, "See the line store.")
  expect_identical(asked, 1)
})

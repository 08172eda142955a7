secret <- "correct horse battery"

# A room, and a handler that posts to it, as httpuv calls it.
local_hook <- function(..., .local_envir = parent.frame()) {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  room <- mx_room_create(alice, name = "ops")
  hook <- mx_webhook_handler(alice, "ops", secret = secret, ...)
  list(
    call = hook,
    client = alice,
    room = room,
    bodies = function() mx_messages(alice, room, types = "m.room.message")$body,
    content = function() {
      events <- mx_messages(alice, room, types = "m.room.message")
      events$content[[nrow(events)]]
    }
  )
}

example_text <- function(name) {
  path <- test_path("webhooks", paste0(name, ".json"))
  rawToChar(readBin(path, "raw", 1e6))
}

request <- function(text, ..., type = "application/json") {
  body <- if (is.raw(text)) text else charToRaw(text)
  list2env(list(
    REQUEST_METHOD = "POST",
    CONTENT_TYPE = type,
    rook.input = list(read = function(l = -1L) {
      head(body, if (l < 0) Inf else l)
    }),
    ...
  ))
}

with_bearer <- function(text, ...) {
  request(text, HTTP_AUTHORIZATION = paste("Bearer", secret), ...)
}

from_github <- function(event, text, ..., key = secret) {
  mac <- hmac_sha256(charToRaw(key), charToRaw(text))
  request(
    text,
    HTTP_X_GITHUB_EVENT = event,
    HTTP_X_HUB_SIGNATURE_256 = paste0("sha256=", mac),
    ...
  )
}

# The message that a payload becomes.
posted <- function(request) {
  hook <- local_hook()
  answer <- hook$call(request)
  expect_equal(answer$status, 200L)
  hook$content()
}

test_that("alerts of Alertmanager are readable, what fires first", {
  content <- posted(with_bearer(example_text("alertmanager")))
  expect_equal(content$msgtype, "m.notice")
  expect_equal(
    content$body,
    paste(
      sep = "\n",
      "\U0001f525 JobLate (1 firing, 1 resolved)",
      "http://alertmanager.example.org:9093",
      "- \U0001f525 The report is late",
      "  job=report, severity=critical",
      "  http://prometheus.example.org:9090/graph?g0.expr=late",
      "  runbook: https://wiki.example.org/late",
      "- \u2705 The import is late",
      "  job=import, severity=critical",
      "  http://prometheus.example.org:9090/graph?g0.expr=late",
      "and 2 more"
    )
  )
  expect_match(
    content$formatted_body,
    "<a href=\"https://wiki.example.org/late\">runbook</a>",
    fixed = TRUE
  )
})

test_that("alerts of Grafana are readable", {
  content <- posted(with_bearer(example_text("grafana")))
  expect_equal(
    content$body,
    paste(
      sep = "\n",
      "\u2705 Disk is full (1 resolved)",
      "https://grafana.example.org/",
      "- \u2705 Less than 5 % are free on db-1",
      "  grafana_folder=Servers, host=db-1",
      "  https://grafana.example.org/d/disks?viewPanel=2",
      "  silence: https://grafana.example.org/alerting/silence/new?matcher=host%3Ddb-1"
    )
  )
})

test_that("events of GitHub are readable", {
  body <- function(event, name) {
    strsplit(posted(from_github(event, example_text(name)))$body, "\n")[[1]]
  }
  expect_equal(body("ping", "github-ping")[[1]], "octo/data: the webhook works")
  expect_equal(
    body("push", "github-push"),
    c(
      "octo/data: alice pushed 2 commits to main",
      "https://github.com/octo/data/compare/6113728f27ae...0d1a26e67d8f",
      "- 7d1a26e Read <dates> & times",
      "  https://github.com/octo/data/commit/7d1a26e67d8f",
      "- 0d1a26e Fix the import",
      "  https://github.com/octo/data/commit/0d1a26e67d8f"
    )
  )
  expect_equal(
    body("pull_request", "github-pull-request")[[1]],
    "octo/data: alice merged pull request #7: Faster import"
  )
  expect_equal(
    body("issues", "github-issues")[[1]],
    "octo/data: bob opened issue #8: It is slow"
  )
  expect_equal(
    body("workflow_run", "github-workflow-run"),
    c(
      "octo/data: \u274c R-CMD-check failure on main",
      "https://github.com/octo/data/actions/runs/30433642",
      "Fix the import"
    )
  )
  expect_equal(
    body("release", "github-release"),
    c(
      "octo/data: alice release published",
      "https://github.com/octo/data/releases/tag/v1.0.0"
    )
  )
})

test_that("what is no news of GitHub is not posted", {
  hook <- local_hook()
  text <- sub("opened", "labeled", example_text("github-issues"))
  expect_equal(hook$call(from_github("issues", text))$status, 200L)
  expect_length(hook$bodies(), 0)
})

test_that("other JSON is readable", {
  content <- posted(with_bearer(example_text("json")))
  expect_equal(
    content$body,
    paste(
      sep = "\n",
      "\u2705 Backup",
      "https://backup.example.org/run/12",
      "All databases are saved.",
      "It took 3 hours.",
      "- size: 1234567890",
      "- status: ok",
      "- verified: true"
    )
  )
  expect_equal(posted(with_bearer("{\"text\":\"hello\"}"))$body, "hello")
  expect_equal(posted(with_bearer("{}"))$body, "Webhook")
})

test_that("only who knows the secret can post, and others are told nothing", {
  hook <- local_hook()
  text <- "{\"text\":\"echo-7\"}"
  status <- function(...) {
    answer <- hook$call(request(text, ...))
    expect_no_match(answer$body, "echo-7")
    expect_no_match(answer$body, secret)
    answer$status
  }
  basic <- function(x) paste("Basic", jsonlite::base64_enc(charToRaw(x)))
  expect_equal(status(), 401L)
  expect_equal(status(HTTP_AUTHORIZATION = "Bearer"), 401L)
  expect_equal(status(HTTP_AUTHORIZATION = "Bearer correct horse"), 401L)
  expect_equal(
    status(HTTP_AUTHORIZATION = paste0("Bearer ", secret, "y")),
    401L
  )
  expect_equal(status(HTTP_AUTHORIZATION = basic("alice:wrong")), 401L)
  expect_equal(status(HTTP_AUTHORIZATION = "Basic =%="), 401L)
  expect_equal(status(HTTP_AUTHORIZATION = "Basic AAAA"), 401L)
  expect_equal(status(HTTP_X_WEBHOOK_SECRET = ""), 401L)
  expect_equal(status(HTTP_X_HUB_SIGNATURE_256 = "sha256="), 401L)
  # A wrong signature is not made good by a secret beside it.
  expect_equal(
    status(
      HTTP_X_HUB_SIGNATURE_256 = "sha256=00",
      HTTP_X_WEBHOOK_SECRET = secret
    ),
    401L
  )
  forged <- from_github("ping", text, key = "another secret, as long")
  expect_equal(hook$call(forged)$status, 401L)
  # Signed bytes are those of the body.
  signed <- from_github("ping", text)
  signed$rook.input$read <- function(l) charToRaw("{\"text\":\"other\"}")
  expect_equal(hook$call(signed)$status, 401L)
  expect_length(hook$bodies(), 0)

  expect_equal(status(HTTP_AUTHORIZATION = basic(paste0("x:", secret))), 200L)
  hook$call(request("{\"text\":\"b\"}", HTTP_X_WEBHOOK_SECRET = secret))
  hook$call(request(
    "{\"text\":\"c\"}",
    HTTP_AUTHORIZATION = paste("bearer", secret)
  ))
  expect_equal(hook$bodies(), c("echo-7", "b", "c"))
  # Nothing but the code of the handler is shown.
  expect_no_match(capture.output(print(hook$call), str(hook$call)), secret)
})

test_that("bad requests are refused before anything is done", {
  hook <- local_hook()
  status <- function(...) hook$call(with_bearer(...))$status
  expect_equal(status("not JSON"), 400L)
  expect_equal(status("[1]"), 400L)
  expect_equal(status("\"text\""), 400L)
  expect_equal(status("null"), 400L)
  expect_equal(status(""), 400L)
  expect_equal(status(as.raw(c(0x7b, 0x00, 0x7d))), 400L)
  expect_equal(status(as.raw(c(0x7b, 0xff, 0x7d))), 400L)
  expect_equal(status(strrep("{\"a\":", 20000)), 400L)
  expect_equal(
    status("payload=%7B%7D", type = "application/x-www-form-urlencoded"),
    415L
  )
  expect_equal(status(strrep(" ", 1e6 + 1)), 413L)
  expect_equal(status("{}", HTTP_CONTENT_LENGTH = "1000001"), 413L)
  get <- with_bearer("{}")
  get$REQUEST_METHOD <- "GET"
  expect_equal(hook$call(get)$status, 405L)
  expect_length(hook$bodies(), 0)
})

test_that("texts of strangers are text: escaped, bounded, no mention, no odd link", {
  alert <- jsonlite::fromJSON(example_text("grafana"), simplifyVector = FALSE)
  evil <- "<img src=x onerror=alert(1)> @room @alice:localhost \u001b[31m\u202eabc\r\nFORGED"
  alert$alerts[[1]]$labels <- list(alertname = evil, "<b>" = evil)
  alert$alerts[[1]]$annotations <- list(
    summary = paste(evil, "https://matrix.to/#/@alice:localhost"),
    runbook_url = "javascript:alert(1)"
  )
  alert$alerts[[1]]$panelURL <- "https://matrix.to/#/@alice:localhost"
  alert$alerts[[1]]$dashboardURL <- "https://a.example/\"onclick=\"x"
  alert$alerts[[1]]$generatorURL <- "https://x@MATRIX.to/#/@alice:localhost"
  alert$alerts[[1]]$silenceURL <- strrep("https://a.example/", 1000)
  alert$groupLabels <- list(alertname = evil)
  text <- jsonlite::toJSON(alert, auto_unbox = TRUE)
  content <- posted(with_bearer(enc2utf8(as.character(text))))
  html <- content$formatted_body
  expect_no_match(
    html,
    "<img|<b>=|matrix.to/#|javascript|onclick|\u202e|\u001b"
  )
  expect_match(html, "&lt;img src=x", fixed = TRUE)
  expect_no_match(content$body, "\u202e|\u001b|\nFORGED")
  expect_equal(content$m.mentions, stats::setNames(list(), character()))

  alert$alerts[[1]]$silenceURL <- NULL
  many <- alert
  many$alerts <- rep(list(alert$alerts[[1]]), 500)
  text <- as.character(jsonlite::toJSON(many, auto_unbox = TRUE))
  content <- posted(with_bearer(enc2utf8(text)))
  expect_match(content$body, "(500 resolved)", fixed = TRUE)
  expect_match(content$body, "and 490 more$")

  # As long as all bounds allow: it is cut until the server takes it.
  long <- strrep("\"<\U0001f525", 150)
  alert$alerts[[1]]$labels <- stats::setNames(
    rep(list(long), 300),
    paste0(seq_len(300), long)
  )
  alert$alerts[[1]]$annotations <- list(summary = long)
  alert$alerts <- rep(alert$alerts, 10)
  alert$alerts <- lapply(alert$alerts, function(x) {
    x$labels <- utils::head(x$labels, 15)
    x
  })
  text <- as.character(jsonlite::toJSON(alert, auto_unbox = TRUE))
  expect_lt(nchar(posted(with_bearer(enc2utf8(text)))$body, "bytes"), 46000)
})

test_that("payloads of any structure get an answer", {
  hook <- local_hook(per_minute = 1000)
  odd <- c("null", "1", "\"x\"", "[]", "{}", "[null]", "[{}]", "[[1]]", "true")
  members <- c(
    "alerts",
    "status",
    "groupLabels",
    "commits",
    "pull_request",
    "workflow_run",
    "repository",
    "sender",
    "text",
    "title",
    "action",
    "ref"
  )
  base <- list(
    alertmanager = example_text("alertmanager"),
    push = example_text("github-push"),
    pull_request = example_text("github-pull-request"),
    workflow_run = example_text("github-workflow-run"),
    json = example_text("json")
  )
  codes <- integer()
  for (name in names(base)) {
    for (member in intersect(members, names(json_decode(base[[name]])))) {
      payload <- json_decode(base[[name]])
      for (value in odd) {
        payload[[member]] <- structure(value, class = "json")
        text <- unclass(mxc_json(payload))
        request <- if (name %in% c("push", "pull_request", "workflow_run")) {
          from_github(name, text)
        } else {
          with_bearer(text)
        }
        codes <- c(codes, hook$call(request)$status)
      }
    }
  }
  expect_gt(length(codes), 150)
  expect_true(all(codes == 200L))
})

test_that("what is delivered again is not posted again", {
  hook <- local_hook()
  alert <- example_text("alertmanager")
  hook$call(with_bearer(alert))
  again <- hook$call(with_bearer(alert))
  expect_equal(again$status, 200L)
  expect_match(again$body, "posted before")
  # A clock that is set makes nothing new.
  local({
    set_clock <- local_clock()
    for (day in c(1, -1)) {
      set_clock(86400 * day)
      expect_match(hook$call(with_bearer(alert))$body, "posted before")
    }
  })
  # From the other Alertmanager of a cluster.
  hook$call(with_bearer(sub("alertmanager.example", "am2.example", alert)))
  expect_length(hook$bodies(), 1)
  # Another state of it is another message.
  hook$call(with_bearer(sub(
    "\"status\": \"firing\"",
    "\"status\": \"resolved\"",
    alert
  )))
  expect_length(hook$bodies(), 2)

  push <- example_text("github-push")
  hook$call(from_github("push", push, HTTP_X_GITHUB_DELIVERY = "72d3162e"))
  hook$call(from_github("push", push, HTTP_X_GITHUB_DELIVERY = "72d3162e"))
  expect_length(hook$bodies(), 3)
  hook$call(from_github("push", push, HTTP_X_GITHUB_DELIVERY = "83e4273f"))
  expect_length(hook$bodies(), 4)

  # Another process that was given it has posted it before.
  other <- mx_webhook_handler(hook$client, hook$room, secret = secret)
  other(from_github("push", push, HTTP_X_GITHUB_DELIVERY = "72d3162e"))
  expect_length(hook$bodies(), 4)
})

test_that("a flood is refused, and alerts come again later", {
  hook <- local_hook(per_minute = 2)
  status <- function(i) {
    answer <- hook$call(with_bearer(sprintf("{\"text\":\"%d\"}", i)))
    answer$status
  }
  expect_equal(vapply(1:4, status, 0L), c(200L, 200L, 429L, 429L))
  answer <- hook$call(with_bearer(example_text("alertmanager")))
  expect_equal(answer$status, 503L)
  expect_equal(answer$headers[["Retry-After"]], "60")
  expect_length(hook$bodies(), 2)
  # A clock that is set lifts no limit, and makes none longer.
  set_clock <- local_clock()
  for (day in c(1, -1)) {
    set_clock(86400 * day)
    expect_equal(status(5), 429L)
  }
  # A minute later.
  environment(hook$call)$hook[["posted_at"]] <- monotonic_time() - c(61, 61)
  expect_equal(
    hook$call(with_bearer(example_text("alertmanager")))$status,
    200L
  )
})

test_that("without the homeserver a webhook is accepted at once, and sent later", {
  hook <- local_hook()
  local_replaced("http_once", function(...) {
    stop(errorCondition("away", class = c("mx_error_network", "mx_error")))
  })
  first <- hook$call(with_bearer("{\"text\":\"first\"}"))
  expect_equal(first$status, 202L)
  # It is not tried again and again.
  time <- system.time(hook$call(with_bearer("{\"text\":\"second\"}")))
  expect_lt(time[["elapsed"]], 0.5)
  expect_equal(mx_outbox(hook$client)$body, c("first", "second"))
})

test_that("a webhook that waited is sent by the event loop", {
  skip_if_not_installed("later")
  hook <- local_hook()
  local({
    local_replaced("http_once", function(...) {
      stop(errorCondition("away", class = c("mx_error_network", "mx_error")))
    })
    local_replaced("first_relay_pause", 0.2)
    expect_equal(hook$call(with_bearer("{\"text\":\"late\"}"))$status, 202L)
  })
  end <- Sys.time() + 10
  while (nrow(mx_outbox(hook$client)) > 0L && Sys.time() < end) {
    later::run_now(0.1)
  }
  expect_equal(hook$bodies(), "late")
})

test_that("a message that the homeserver refuses is told to both sides", {
  hook <- local_hook()
  mx_room_leave(hook$client, hook$room)
  expect_warning(
    answer <- hook$call(with_bearer("{\"text\":\"x\"}")),
    class = "mx_warning_webhook"
  )
  expect_equal(answer$status, 502L)
})

test_that("what was refused is tried again when it is delivered again", {
  hook <- local_hook()
  request <- with_bearer(example_text("alertmanager"))
  answer <- NULL
  local({
    local_replaced("relay_send", function(...) "refused")
    expect_warning(answer <<- hook$call(request), class = "mx_warning_webhook")
  })
  expect_equal(answer$status, 502L)
  again <- hook$call(request)
  expect_equal(again$status, 200L)
  expect_match(again$body, "Posted.", fixed = TRUE)
  expect_match(hook$call(request)$body, "before", fixed = TRUE)
})

test_that("very many alerts are one message, and soon", {
  hook <- local_hook()
  alerts <- paste(rep("{}", 2e5), collapse = ",")
  text <- paste0("{\"status\":\"firing\",\"alerts\":[", alerts, "]}")
  took <- system.time(answer <- hook$call(with_bearer(text)))[["elapsed"]]
  expect_equal(answer$status, 200L)
  expect_lt(took, 20)
  expect_match(hook$bodies(), "199,990 more", fixed = TRUE)
  expect_match(hook$call(with_bearer(text))$body, "before", fixed = TRUE)
})

test_that("no character of a payload turns the direction of what follows", {
  hook <- local_hook()
  hook$call(with_bearer("{\"text\":\"a\\u061cb\\u202ec\\u2067d\"}"))
  expect_equal(hook$bodies(), "abcd")
})

test_that("the secret comes from where secrets are", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  room <- mx_room_create(alice)
  make <- function(...) mx_webhook_handler(alice, room, ...)
  withr::local_envvar(
    MXCRYPT_WEBHOOK_SECRET = NA,
    MXCRYPT_WEBHOOK_SECRET_FILE = NA
  )
  expect_error(make(), class = "mx_error_secret")
  expect_error(make("short"), class = "mx_error_secret")
  expect_error(make(""), class = "mx_error_argument")
  expect_error(make(42), class = "mx_error_argument")
  expect_error(make(secret, per_minute = 0), class = "mx_error_argument")
  expect_error(
    mx_webhook_handler(alice, "no such room", secret),
    class = "mx_error_room"
  )
  file <- withr::local_tempfile(lines = secret)
  withr::local_envvar(MXCRYPT_WEBHOOK_SECRET_FILE = file)
  answer <- make()(with_bearer("{\"text\":\"from a file\"}"))
  expect_equal(answer$status, 200L)
})

test_that("plumber serves it as a handler", {
  skip_if_not_installed("plumber")
  hook <- local_hook()
  router <- plumber::pr_post(
    plumber::pr(),
    "/hook",
    hook$call,
    parsers = "octet"
  )
  call <- function(text, path = "/hook", ...) {
    body <- charToRaw(text)
    request <- with_bearer(
      text,
      PATH_INFO = path,
      QUERY_STRING = "req=1&res=2",
      ...
    )
    request$rook.input <- list(
      read = function(l = -1L) body,
      rewind = function() NULL,
      read_lines = function() text
    )
    suppressMessages(router$call(request))
  }
  answer <- call("{\"text\":\"by plumber\",\"req\":1,\"res\":2}")
  expect_equal(answer$status, 200L)
  expect_equal(answer$headers[["Content-Type"]], "application/json")
  expect_equal(json_decode(answer$body), list(status = "Posted."))
  expect_equal(call("not JSON")$status, 400L)
  expect_match(hook$bodies(), "^by plumber")
})

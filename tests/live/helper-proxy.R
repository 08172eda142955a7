# A proxy between a client and the live homeserver, which does to requests what
# bad networks and bad servers do.
#
#   proxy <- live_proxy()
#   alice <- live_client(url = proxy$url)
#   proxy$block("keys/claim")
#   expect_error(mx_send_text(alice, room, "hello"))
#   expect_gt(nrow(proxy$seen("keys/claim")), 0)
#   proxy$clear()
#
# A pattern is a regular expression (Python's) for "METHOD /path?query", decoded.
# `times` is how many requests it does it to; without, to all until `clear()`.
# proxy/faults.py is the other side.

# The proxy of a run, without faults from before; they end with the test. Until then
# our clients do not wait long before they try again.
live_proxy <- function(.local_envir = parent.frame()) {
  if (is.null(live[["proxy"]])) {
    # Started first, so that it has its port when the proxy takes a free one.
    server <- live_synapse()
    live[["proxy"]] <- proxy_start(server[["url"]])
    withr::defer(proxy_stop(), envir = live_end())
  }
  proxy <- live[["proxy"]]
  proxy$clear()
  withr::defer(proxy$clear(), envir = .local_envir)
  withr::local_options(mxcrypt.pause = 0.01, .local_envir = .local_envir)
  proxy
}

proxy_start <- function(upstream) {
  mitmdump <- file.path(repo_root, ".tools/proxy/bin/mitmdump")
  if (!file.exists(mitmdump)) {
    stop("mitmproxy is missing. Run tools/setup.sh proxy.", call. = FALSE)
  }
  dir <- tempfile("proxy-")
  dir.create(dir)
  port <- free_port()
  log <- file.path(dir, "proxy.log")
  args <- c(
    "--quiet",
    c("--mode", paste0("reverse:", upstream)),
    c("--listen-host", "127.0.0.1", "--listen-port", port),
    c("--scripts", file.path(repo_root, "tests/live/proxy/faults.py")),
    # It answers the test also while the server is away.
    c("--set", "connection_strategy=lazy", "--set", paste0("confdir=", dir))
  )
  process <- processx::process$new(
    mitmdump,
    args,
    stdout = log,
    stderr = "2>&1",
    env = synapse_env(),
    cleanup = TRUE,
    supervise = TRUE
  )
  proxy <- proxy_of(paste0("http://127.0.0.1:", port))
  proxy$dir <- dir
  proxy$process <- process
  deadline <- Sys.time() + 30
  while (!answers(paste0(proxy$url, "/_proxy/seen"))) {
    if (!process$is_alive() || Sys.time() > deadline) {
      process$kill()
      stop("The proxy did not start.\n", readLines(log), call. = FALSE)
    }
    Sys.sleep(0.05)
  }
  proxy
}

proxy_stop <- function() {
  proxy <- live[["proxy"]]
  live[["proxy"]] <- NULL
  proxy$process$kill()
  unlink(proxy$dir, recursive = TRUE)
}

proxy_of <- function(url) {
  rule <- function(fault, pattern, times, ...) {
    # Not Inf, which JSON lacks.
    times <- min(times, 1e6)
    rule <- list(fault = fault, pattern = pattern, times = times, ...)
    proxy_call(url, "rules", rule)
  }
  seen <- function(pattern = "") {
    requests <- proxy_call(url, "seen")
    if (!is.data.frame(requests)) {
      requests <- data.frame(method = character(), path = character())
    }
    what <- paste(requests$method, requests$path)
    requests[grepl(pattern, what, perl = TRUE), , drop = FALSE]
  }
  list(
    url = url,
    # Answered in the server's place, which is not asked.
    answer = function(pattern, body, status = 200, times = Inf) {
      rule("answer", pattern, times, body = body, status = status)
    },
    block = function(pattern, times = Inf) {
      body <- "{\"errcode\": \"M_UNKNOWN\", \"error\": \"blocked\"}"
      rule("answer", pattern, times, body = body, status = 504)
    },
    # The server acts, and the connection ends.
    lose_answer = function(pattern, times = Inf) {
      rule("lose_answer", pattern, times)
    },
    # The server acts, and the answer comes later; or, with `before`, all of it.
    delay = function(pattern, seconds = 60, times = Inf, before = FALSE) {
      fault <- if (before) "delay_request" else "delay"
      rule(fault, pattern, times, seconds = seconds)
    },
    # Replaces in answers of JSON, whose members are sorted by name before.
    rewrite = function(pattern, from, to, times = Inf) {
      rule("rewrite", pattern, times, from = from, to = to)
    },
    # The requests that came: method, path, body, fault (what was done to it), held
    # (whether it is held up now), what the server said: status and answer; and when it
    # began and ended, in seconds.
    seen = seen,
    # Waits until such a request is held up, and says which.
    wait = function(pattern, seconds = 20) {
      end <- Sys.time() + seconds
      while (!any(seen(pattern)$held)) {
        if (Sys.time() > end) {
          stop("No request for ", pattern, " came.", call. = FALSE)
        }
        Sys.sleep(0.01)
      }
      requests <- seen(pattern)
      requests[requests$held, , drop = FALSE]
    },
    # What is delayed goes on.
    release = function() proxy_call(url, "release", list()),
    clear = function() proxy_call(url, "clear", list())
  )
}

proxy_call <- function(url, what, body = NULL) {
  handle <- curl::new_handle()
  if (!is.null(body)) {
    json <- jsonlite::toJSON(body, auto_unbox = TRUE, digits = NA)
    curl::handle_setopt(handle, copypostfields = json)
  }
  answer <- curl::curl_fetch_memory(paste0(url, "/_proxy/", what), handle)
  text <- rawToChar(answer[["content"]])
  if (answer[["status_code"]] != 200L) {
    stop("The proxy: ", text, call. = FALSE)
  }
  Encoding(text) <- "UTF-8"
  jsonlite::fromJSON(text)
}

# Starts a process, and kills it while a request of this pattern is under way. Says
# what was seen of that request.
kill_during <- function(proxy, start, pattern, before = FALSE) {
  proxy$delay(pattern, before = before)
  process <- start()
  withr::defer({
    process$kill()
    proxy$release()
  })
  seen <- proxy$wait(pattern)
  expect_equal(seen$status, if (before) NA_integer_ else 200L)
  seen
}

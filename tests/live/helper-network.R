# The network of a company: a homeserver with a certificate of an authority of its own,
# and a forward proxy in front of it.
#
#   network <- live_network()
#   network$server$tls_url              # https://localhost:..., Synapse itself
#   network$ca_file                     # its authority
#   proxy <- forward_proxy(network$port, login = "user:password")
#   options(mxcrypt.proxy = proxy$url)
#   proxy$seen()                        # requests that the proxy could read
#   proxy$bytes()                       # all bytes of its connections
#
# The proxy is mitmproxy, as a tunnel, or with `opens = TRUE` as one that opens TLS with
# an authority of its own, `proxy$ca_file`. It alone knows the name homeserver.test.

# One homeserver for all tests of the network.
live_network <- function() {
  if (is.null(live[["network"]])) {
    certificates <- synapse_certificates()
    server <- synapse_start(certificates = certificates)
    withr::defer(live_network_stop(), envir = live_end())
    port <- as.integer(sub("^.*:", "", server[["tls_url"]]))
    live[["network"]] <- list(
      server = server,
      port = port,
      # What only the proxy can resolve.
      url = paste0("https://homeserver.test:", port),
      certificates = certificates,
      ca_file = file.path(certificates, "ca.pem")
    )
  }
  live[["network"]]
}

live_network_stop <- function() {
  network <- live[["network"]]
  live[["network"]] <- NULL
  synapse_stop(network[["server"]])
  unlink(
    c(network[["server"]][["dir"]], network[["certificates"]]),
    recursive = TRUE
  )
}

# Nothing of the machine that the tests run on: no authorities, no proxies.
local_plain_network <- function(.local_envir = parent.frame()) {
  variables <- c(
    c("CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    c("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
    c("no_proxy", "NO_PROXY", "MXCRYPT_PROXY_USER", "MXCRYPT_PROXY_PASSWORD")
  )
  withr::local_envvar(
    stats::setNames(rep(NA, length(variables)), variables),
    .local_envir = .local_envir
  )
  withr::local_options(
    mxcrypt.ca_file = NULL,
    mxcrypt.proxy = NULL,
    mxcrypt.pause = 0.01,
    .local_envir = .local_envir
  )
}

# Passes connections to a port on, and keeps their bytes.
tee_start <- function(
  target,
  host = "127.0.0.1",
  .local_envir = parent.frame()
) {
  dir <- withr::local_tempdir(.local_envir = .local_envir)
  port <- free_port()
  process <- processx::process$new(
    file.path(repo_root, ".tools/proxy/bin/python"),
    c(file.path(repo_root, "tests/live/proxy/tee.py"), host, port, target, dir),
    env = synapse_env(),
    cleanup = TRUE,
    supervise = TRUE
  )
  withr::defer(process$kill(), envir = .local_envir)
  wait_for_port(port, process, host)
  # The first one was that of wait_for_port().
  files <- function() {
    names <- setdiff(list.files(dir), c("1.up", "1.down"))
    file.path(dir, names)
  }
  list(
    port = port,
    # How often somebody connected.
    connections = function() sum(grepl("[.]up$", files())),
    # All bytes in both directions.
    bytes = function() unlist(lapply(files(), read_bytes)),
    clear = function() unlink(files())
  )
}

read_bytes <- function(path) readBin(path, "raw", file.size(path))

contains <- function(bytes, text) {
  length(grepRaw(charToRaw(text), bytes, fixed = TRUE)) > 0L
}

wait_for_port <- function(
  port,
  process,
  host = "127.0.0.1",
  seconds = 60
) {
  end <- Sys.time() + seconds
  repeat {
    if (is_reached(host, port)) {
      break
    }
    if (!process$is_alive() || Sys.time() > end) {
      stop("Nothing listens at port ", port, ".", call. = FALSE)
    }
    Sys.sleep(0.05)
  }
}

# R's own sockets know no IPv6.
is_reached <- function(host, port) {
  handle <- curl::new_handle(connect_only = 1L, proxy = "")
  url <- if (grepl(":", host)) paste0("[", host, "]") else host
  fetch <- function() {
    curl::curl_fetch_memory(paste0("http://", url, ":", port), handle)
    TRUE
  }
  tryCatch(fetch(), error = function(condition) FALSE)
}

forward_proxy <- function(
  network,
  login = NULL,
  opens = FALSE,
  .local_envir = parent.frame()
) {
  mitmdump <- file.path(repo_root, ".tools/proxy/bin/mitmdump")
  if (!file.exists(mitmdump)) {
    stop("mitmproxy is missing. Run tools/setup.sh proxy.", call. = FALSE)
  }
  dir <- withr::local_tempdir(.local_envir = .local_envir)
  port <- free_port()
  seen <- file.path(dir, "seen.jsonl")
  file.create(seen)
  trusted <- paste0("ssl_verify_upstream_trusted_ca=", network[["ca_file"]])
  args <- c(
    "--quiet",
    c("--listen-host", "127.0.0.1", "--listen-port", port),
    c("--scripts", file.path(repo_root, "tests/live/proxy/forward.py")),
    c("--set", paste0("confdir=", dir)),
    if (opens) {
      # It answers for hosts that are not there.
      c("--set", trusted, "--set", "connection_strategy=lazy")
    } else {
      c("--ignore-hosts", ".*")
    },
    if (!is.null(login)) c("--proxyauth", login)
  )
  process <- processx::process$new(
    mitmdump,
    args,
    stdout = file.path(dir, "proxy.log"),
    stderr = "2>&1",
    env = c(
      synapse_env(),
      FORWARD_SEEN = seen,
      FORWARD_PORT = as.character(network[["port"]])
    ),
    cleanup = TRUE,
    supervise = TRUE
  )
  withr::defer(process$kill(), envir = .local_envir)
  wait_for_port(port, process)
  tee <- tee_start(port, .local_envir = .local_envir)
  list(
    port = tee$port,
    url = paste0("http://127.0.0.1:", tee$port),
    ca_file = file.path(dir, "mitmproxy-ca-cert.pem"),
    bytes = tee$bytes,
    seen = function() {
      jsonlite::stream_in(file(seen), verbose = FALSE)
    },
    clear = function() {
      file.create(seen)
      tee$clear()
    }
  )
}

has_ipv6 <- function() {
  python <- file.path(repo_root, ".tools/proxy/bin/python")
  code <- "import socket; socket.create_server(('::1', 0), family=socket.AF_INET6)"
  run <- processx::run(
    python,
    c("-c", code),
    env = synapse_env(),
    error_on_status = FALSE
  )
  run[["status"]] == 0L
}

# A port whose queue of connections is full: the system answers nobody who comes.
silent_port <- function(.local_envir = parent.frame()) {
  code <- c(
    "import socket, time",
    "server = socket.socket()",
    "server.bind(('127.0.0.1', 0))",
    "server.listen(0)",
    "waiting = [socket.socket() for _ in range(8)]",
    "for each in waiting:",
    "    each.setblocking(False)",
    "    each.connect_ex(server.getsockname())",
    "print(server.getsockname()[1], flush=True)",
    "time.sleep(600)"
  )
  process <- processx::process$new(
    file.path(repo_root, ".tools/proxy/bin/python"),
    c("-c", paste(code, collapse = "\n")),
    stdout = "|",
    env = synapse_env(),
    cleanup = TRUE,
    supervise = TRUE
  )
  withr::defer(process$kill(), envir = .local_envir)
  line <- character()
  while (length(line) == 0L && process$is_alive()) {
    process$poll_io(1000)
    line <- process$read_output_lines(1)
  }
  line
}

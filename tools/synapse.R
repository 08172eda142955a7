# A real homeserver on loopback, for the demo and for the live tests.
#
#   server <- synapse_start()
#   synapse_register(server, "alice", "secret")
#   synapse_sql(server, "select event_id, json from event_json")
#   server <- synapse_restart(server)   # same data, same port
#   synapse_stop(server)
#
# Two that speak with each other, over TLS with certificates of their own:
#
#   certificates <- synapse_certificates()
#   one <- synapse_start(certificates = certificates)
#   two <- synapse_start(certificates = certificates)
#
# Needs processx, jsonlite and curl, and `tools/setup.sh synapse`.

# The first directory, from the working directory upwards, of a repository.
project_root <- function(from = getwd()) {
  dir <- normalizePath(from)
  while (!any(file.exists(file.path(dir, c("DESCRIPTION", ".git"))))) {
    if (dirname(dir) == dir) {
      stop("No DESCRIPTION or .git in or above ", from, ".", call. = FALSE)
    }
    dir <- dirname(dir)
  }
  dir
}

# Taken when this file is read: a test may change its working directory later.
repo_root <- project_root()

# `extra` is merged into homeserver.yaml. With `certificates`, other servers reach
# it, and its name is the place where they do.
synapse_start <- function(
  dir = tempfile("synapse-"),
  name = "localhost",
  extra = list(),
  python_path = "",
  certificates = NULL
) {
  dir.create(dir, recursive = TRUE, showWarnings = FALSE, mode = "0700")
  dir <- normalizePath(dir)
  port <- free_port()
  federation_port <- free_port(port + 1L)
  if (!is.null(certificates)) {
    name <- paste0("localhost:", federation_port)
  }
  config <- synapse_config(dir, name, port)
  if (!is.null(certificates)) {
    config <- federate(config, federation_port, certificates)
  }
  config <- utils::modifyList(config, extra)
  # Synapse reads YAML, of which JSON is a part.
  write_json_file(config, file.path(dir, "homeserver.yaml"))
  write_json_file(synapse_log_config(dir), file.path(dir, "log.yaml"))
  writeLines(synapse_signing_key(), file.path(dir, "signing.key"))
  server <- list(
    url = paste0("http://127.0.0.1:", port),
    # With `certificates`, clients are served there too.
    tls_url = paste0("https://localhost:", federation_port),
    server_name = name,
    pid = NA_integer_,
    dir = dir,
    log = file.path(dir, "homeserver.log"),
    python_path = python_path,
    process = NULL
  )
  synapse_run(structure(server, class = "synapse"))
}

synapse_restart <- function(server) {
  synapse_stop(server)
  synapse_run(server)
}

synapse_stop <- function(server, grace = 5) {
  process <- server[["process"]]
  if (process$is_alive()) {
    process$signal(tools::SIGTERM)
    process$wait(grace * 1000)
    process$kill()
  }
  invisible(server)
}

synapse_register <- function(server, user, password) {
  body <- list(
    username = user,
    password = password,
    auth = list(type = "m.login.dummy"),
    # Without it every registration would leave a device behind.
    inhibit_login = TRUE
  )
  handle <- curl::new_handle(
    copypostfields = jsonlite::toJSON(body, auto_unbox = TRUE),
    httpheader = "Content-Type: application/json"
  )
  url <- paste0(server[["url"]], "/_matrix/client/v3/register")
  answer <- curl::curl_fetch_memory(url, handle)
  text <- rawToChar(answer[["content"]])
  if (answer[["status_code"]] != 200L) {
    stop("Cannot register ", user, ": ", text, call. = FALSE)
  }
  jsonlite::fromJSON(text)[["user_id"]]
}

# What the server knows: the answer of its database to a query.
synapse_sql <- function(server, query) {
  script <- c(
    "import json, sqlite3, sys",
    "db = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True, timeout=20)",
    "cursor = db.execute(sys.argv[2])",
    "names = [column[0] for column in cursor.description]",
    "rows = cursor.fetchall()",
    "columns = [[row[i] for row in rows] for i in range(len(names))]",
    "text = lambda blob: bytes(blob).decode('utf-8', 'replace')",
    "print(json.dumps({'names': names, 'columns': columns}, default=text))"
  )
  database <- file.path(server[["dir"]], "homeserver.db")
  run <- processx::run(
    synapse_python(),
    c("-c", paste(script, collapse = "\n"), database, query),
    error_on_status = FALSE,
    env = synapse_env()
  )
  if (run[["status"]] != 0L) {
    stop("The query failed: ", run[["stderr"]], call. = FALSE)
  }
  answer <- jsonlite::fromJSON(run[["stdout"]], simplifyMatrix = FALSE)
  columns <- lapply(answer[["columns"]], \(x) if (length(x)) x else logical())
  names(columns) <- answer[["names"]]
  data.frame(columns, check.names = FALSE)
}

format.synapse <- function(x, ...) {
  state <- if (x[["process"]]$is_alive()) "running" else "stopped"
  sprintf("<synapse> %s at %s, %s", x[["server_name"]], x[["url"]], state)
}

print.synapse <- function(x, ...) {
  cat(format(x), "\n", sep = "")
  invisible(x)
}

# --- behind them -------------------------------------------------------------

synapse_python <- function() {
  python <- file.path(repo_root, ".tools", "venv", "bin", "python")
  if (!file.exists(python)) {
    stop("Synapse is missing. Run tools/setup.sh synapse.", call. = FALSE)
  }
  python
}

# R puts its own libraries first, and a Python that is not the system's would
# load the system's libpython.
synapse_env <- function() {
  c("current", LD_LIBRARY_PATH = "")
}

synapse_run <- function(server) {
  # cleanup covers an end of R in good order, supervise one by a signal.
  server[["process"]] <- processx::process$new(
    synapse_python(),
    c("-m", "synapse.app.homeserver", "--config-path", "homeserver.yaml"),
    wd = server[["dir"]],
    stdout = file.path(server[["dir"]], "console.log"),
    stderr = "2>&1",
    env = c(synapse_env(), PYTHONPATH = server[["python_path"]]),
    cleanup = TRUE,
    supervise = TRUE
  )
  server[["pid"]] <- server[["process"]]$get_pid()
  synapse_wait(server)
  server
}

synapse_wait <- function(server, timeout = 60) {
  url <- paste0(server[["url"]], "/_matrix/client/versions")
  deadline <- Sys.time() + timeout
  repeat {
    if (!server[["process"]]$is_alive()) {
      stop(
        "Synapse ended while starting.\n",
        synapse_tail(server),
        call. = FALSE
      )
    }
    if (answers(url)) {
      return(invisible(server))
    }
    if (Sys.time() > deadline) {
      synapse_stop(server)
      stop(
        sprintf("Synapse did not answer within %g s.\n", timeout),
        synapse_tail(server),
        call. = FALSE
      )
    }
    Sys.sleep(0.1)
  }
}

answers <- function(url) {
  tryCatch(
    curl::curl_fetch_memory(url)[["status_code"]] == 200L,
    error = function(e) FALSE
  )
}

# R shows 1000 bytes of an error message, and the end of a log says most.
synapse_tail <- function(server, bytes = 800) {
  files <- c(file.path(server[["dir"]], "console.log"), server[["log"]])
  lines <- unlist(lapply(files[file.exists(files)], readLines, warn = FALSE))
  text <- paste(utils::tail(lines, 20), collapse = "\n")
  substring(text, nchar(text) - bytes)
}

# Below the range from which the system takes ports of outgoing connections, so
# that the port is still free at a restart. No random numbers: R's seed is the
# caller's.
free_port <- function(from = Sys.getpid() * 31L) {
  for (port in 20000L + (from + 0:9999) %% 10000L) {
    socket <- tryCatch(serverSocket(port), error = function(e) NULL)
    if (!is.null(socket)) {
      close(socket)
      return(port)
    }
  }
  stop("There is no free port between 20000 and 29999.", call. = FALSE)
}

random_text <- function(bytes = 32L) {
  con <- file("/dev/urandom", "rb", raw = TRUE)
  on.exit(close(con))
  sub("=+$", "", jsonlite::base64_enc(readBin(con, "raw", bytes)))
}

synapse_signing_key <- function() {
  paste("ed25519", "a_live", random_text())
}

synapse_config <- function(dir, name, port) {
  base <- list(
    server_name = name,
    public_baseurl = paste0("http://127.0.0.1:", port, "/"),
    pid_file = file.path(dir, "homeserver.pid"),
    log_config = file.path(dir, "log.yaml"),
    signing_key_path = file.path(dir, "signing.key"),
    media_store_path = file.path(dir, "media"),
    max_upload_size = "512M",
    macaroon_secret_key = random_text(),
    form_secret = random_text(),
    database = list(
      name = "sqlite3",
      args = list(database = file.path(dir, "homeserver.db"))
    ),
    listeners = list(list(
      port = port,
      type = "http",
      tls = FALSE,
      bind_addresses = list("127.0.0.1"),
      resources = list(list(names = list("client"), compress = FALSE))
    )),
    federation_domain_whitelist = list(),
    trusted_key_servers = list(),
    enable_registration = TRUE,
    enable_registration_without_verification = TRUE,
    bcrypt_rounds = 4,
    report_stats = FALSE,
    presence = list(enabled = FALSE),
    url_preview_enabled = FALSE,
    max_event_delay_duration = "7d",
    experimental_features = list(msc3814_enabled = TRUE)
  )
  c(base, synapse_rate_limits())
}

# A directory with an authority that both servers know, and a certificate of it.
synapse_certificates <- function() {
  dir <- tempfile("certificates-")
  dir.create(dir, mode = "0700")
  script <- file.path(repo_root, "tools", "certificates.py")
  processx::run(synapse_python(), c(script, dir), env = synapse_env())
  dir
}

federate <- function(config, port, certificates) {
  listener <- list(
    port = port,
    type = "http",
    tls = TRUE,
    bind_addresses = list("127.0.0.1"),
    resources = list(list(names = list("client", "federation")))
  )
  config[["listeners"]] <- c(config[["listeners"]], list(listener))
  # Other servers are on loopback too.
  config[["ip_range_blacklist"]] <- list()
  config[["federation_ip_range_blacklist"]] <- list()
  config[["federation_domain_whitelist"]] <- NULL
  config[["tls_certificate_path"]] <- file.path(certificates, "server.pem")
  config[["tls_private_key_path"]] <- file.path(certificates, "server.key")
  authority <- file.path(certificates, "ca.pem")
  config[["federation_custom_ca_list"]] <- list(authority)
  # A server that is away is asked again soon, and not after ten minutes.
  config[["federation"]] <- list(
    client_timeout = 5000,
    max_short_retries = 0,
    max_long_retries = 1,
    destination_min_retry_interval = 100,
    destination_max_retry_interval = 1000
  )
  config
}

# Tests hurry more than people do.
synapse_rate_limits <- function() {
  free <- list(per_second = 10000, burst_count = 10000)
  single <- c(
    "rc_message",
    "rc_registration",
    "rc_registration_token_validity",
    "rc_admin_redaction",
    "rc_joins_per_room",
    "rc_key_requests",
    "rc_3pid_validation",
    "rc_third_party_invite",
    "rc_media_create",
    "rc_delayed_event_mgmt",
    "rc_room_creation",
    "rc_reports",
    "rc_user_directory",
    "rc_profile"
  )
  nested <- list(
    rc_login = list(address = free, account = free, failed_attempts = free),
    rc_joins = list(local = free, remote = free),
    rc_invites = list(per_room = free, per_user = free, per_issuer = free),
    rc_presence = list(per_user = free)
  )
  c(stats::setNames(rep(list(free), length(single)), single), nested)
}

synapse_log_config <- function(dir) {
  list(
    version = 1,
    formatters = list(
      line = list(format = "%(asctime)s %(levelname)s %(name)s %(message)s")
    ),
    handlers = list(
      file = list(
        class = "logging.FileHandler",
        formatter = "line",
        filename = file.path(dir, "homeserver.log")
      )
    ),
    root = list(level = "INFO", handlers = list("file")),
    disable_existing_loggers = FALSE
  )
}

write_json_file <- function(x, path) {
  writeLines(jsonlite::toJSON(x, auto_unbox = TRUE, pretty = TRUE), path)
}

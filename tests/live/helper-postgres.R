# A PostgreSQL server of the tests' own, and stores in it.

live_postgres <- function() {
  if (is.null(live[["postgres"]])) {
    dir <- tempfile("postgres-", "/tmp")
    dir.create(dir)
    script <- find_upwards("tools/postgres.sh")
    out <- processx::run(script, c("start", dir), error_on_status = FALSE)
    settings <- regmatches(
      out[["stdout"]],
      gregexpr("[A-Z_]+=[^\n]+", out[["stdout"]])
    )[[1L]]
    if (out[["status"]] != 0L || length(settings) < 3L) {
      stop("PostgreSQL does not start: ", out[["stderr"]])
    }
    values <- sub("^[A-Z_]+=", "", settings)
    names(values) <- c("address", "passwords", "pooler")
    live[["postgres"]] <- c(as.list(values), dir = dir, script = script)
    withr::defer(
      {
        processx::run(script, c("stop", dir), error_on_status = FALSE)
        unlink(dir, recursive = TRUE)
        live[["postgres"]] <- NULL
      },
      live_end()
    )
  }
  live[["postgres"]]
}

# As after a crash of the server: all connections break.
restart_postgres <- function() {
  server <- live_postgres()
  processx::run(server[["script"]], c("restart", server[["dir"]]))
}

# Stops the server and all that it is at, which then take everything and say nothing, until
# the function that is returned is called.
silence_postgres <- function(.local_envir = parent.frame()) {
  file <- file.path(live_postgres()[["dir"]], "data", "postmaster.pid")
  first <- as.integer(readLines(file)[[1L]])
  children <- processx::run("pgrep", c("-P", first))[["stdout"]]
  pids <- c(first, as.integer(strsplit(children, "\n")[[1L]]))
  tools::pskill(pids, 19L)
  wake <- function() tools::pskill(pids, 18L)
  withr::defer(wake(), .local_envir)
  wake
}

# Another program that is in a transaction after `sql`, until the function that is returned
# is called.
hold_in_postgres <- function(sql, .local_envir = parent.frame()) {
  psql <- processx::process$new(
    "psql",
    live_postgres()[["address"]],
    stdin = "|"
  )
  withr::defer(psql$kill(), .local_envir)
  psql$write_input(sprintf("BEGIN; %s;\n", sql))
  function() psql$kill()
}

# Cuts connections at every `every`-th commit. `address` is that of the server behind it;
# `cuts()` ends it, and says how many there were.
cutting_proxy <- function(every, .local_envir = parent.frame()) {
  address <- live_postgres()[["address"]]
  port <- sub(".*:([0-9]+)/.*", "\\1", address)
  process <- processx::process$new(
    "python3",
    c(find_upwards("tests/live/postgres/proxy.py"), port, every),
    stdin = "|",
    stdout = "|",
    stderr = "2>&1",
    cleanup = TRUE
  )
  withr::defer(process$kill(), .local_envir)
  read <- function() {
    end <- Sys.time() + 20
    lines <- character()
    while (length(lines) == 0L && Sys.time() < end) {
      process$poll_io(1000)
      lines <- process$read_output_lines()
    }
    if (!grepl("^[0-9]+$", lines[1L])) {
      stop("the proxy says: ", paste(lines, collapse = "\n"))
    }
    lines[[1L]]
  }
  behind <- sub(port, read(), address, fixed = TRUE)
  list(
    address = paste0(behind, "?sslmode=disable"),
    kill = function() process$kill(),
    cuts = function() {
      close(process$get_input_connection())
      as.integer(read())
    }
  )
}

# A client whose store is in PostgreSQL, and what another process of it needs to know.
# `address` may be that of a proxy.
postgres_client <- function(
  user = live_user("pg"),
  address = live_postgres()[["address"]],
  isolation = "all",
  url = live_synapse()[["url"]],
  .local_envir = parent.frame()
) {
  dir <- withr::local_tempdir(.local_envir = .local_envir)
  key <- file.path(dir, "store.key")
  mx_store_key_write(key)
  withr::local_envvar(
    MXCRYPT_STORE_KEY_FILE = key,
    PGPASSFILE = live_postgres()[["passwords"]],
    .local_envir = .local_envir
  )
  store <- paste0("store=", user[["user"]])
  glue <- if (grepl("?", address, fixed = TRUE)) "&" else "?"
  client <- mx_client_configure(
    url,
    user[["user"]],
    password = user[["password"]],
    path = file.path(dir, "matrix.json"),
    store_dir = paste0(address, glue, store)
  )
  mx_isolation_mode(client, isolation)
  client
}

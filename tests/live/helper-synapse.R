# One Synapse for all live tests of a run, started when the first one asks.
# A server that does not start fails the test: a skipped live test proves
# nothing.

find_upwards <- function(path) {
  dir <- normalizePath(".")
  while (!file.exists(file.path(dir, path)) && dirname(dir) != dir) {
    dir <- dirname(dir)
  }
  file.path(dir, path)
}

source(find_upwards("tools/synapse.R"), local = TRUE)

live <- new.env()
live[["users"]] <- 0L

live_synapse <- function() {
  if (is.null(live[["server"]])) {
    live[["server"]] <- synapse_start()
    withr::defer(live_stop(), envir = live_end())
  }
  live[["server"]]
}

# The end of the test run, or of R where no tests are run.
live_end <- function() {
  tryCatch(testthat::teardown_env(), error = function(e) globalenv())
}

live_restart <- function() {
  live[["server"]] <- synapse_restart(live_synapse())
}

live_stop <- function() {
  server <- live[["server"]]
  live[["server"]] <- NULL
  if (!is.null(server)) {
    synapse_stop(server)
    unlink(server[["dir"]], recursive = TRUE)
  }
}

# Two servers that speak with each other, as `one` and `two`.
live_federation <- function() {
  if (is.null(live[["federation"]])) {
    certificates <- synapse_certificates()
    live[["federation"]] <- list()
    withr::defer(live_federation_stop(certificates), envir = live_end())
    for (name in c("one", "two")) {
      server <- synapse_start(certificates = certificates)
      live[["federation"]][[name]] <- server
    }
  }
  live[["federation"]]
}

live_federation_stop <- function(certificates) {
  for (server in live[["federation"]]) {
    synapse_stop(server)
    unlink(server[["dir"]], recursive = TRUE)
  }
  unlink(certificates, recursive = TRUE)
  live[["federation"]] <- NULL
}

# A user nobody has used before.
live_user <- function(prefix = "user", server = live_synapse()) {
  live[["users"]] <- live[["users"]] + 1L
  user <- paste0(prefix, live[["users"]])
  password <- paste0("password of ", user)
  user_id <- synapse_register(server, user, password)
  list(user = user, user_id = user_id, password = password)
}

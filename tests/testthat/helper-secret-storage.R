# What is in secret storage, and what a server may do to it.

stored_text <- function(client, type) {
  path <- account_data_path(client, type)
  rawToChar(http_perform(client, "GET", path)[["body"]])
}

set_account_data <- function(client, type, text) {
  put_account_data(client, type, text)
}

default_key_type <- function(client) {
  id <- secret_storage(client)[["default_key"]]
  paste0("m.secret_storage.key.", id)
}

changes_something <- function(method, path) {
  method == "PUT" ||
    grepl("/keys/.*upload|room_keys/version$", path) && method != "GET"
}

# The request number `at` of those that are `deadly` dies: before it reaches the
# server, or after that acted.
local_death <- function(
  at,
  acted,
  deadly = changes_something,
  .local_envir = parent.frame()
) {
  real <- http_once
  count <- 0
  dies <- function(session, method, path, ...) {
    counts <- deadly(method, path)
    count <<- count + counts
    now <- counts && count == at
    if (!now || acted) {
      answer <- real(session, method, path, ...)
    }
    if (now) {
      rlang::abort("killed", class = "killed")
    }
    answer
  }
  local_replaced("http_once", dies, .local_envir = .local_envir)
}

# A client whose identity is set up, and its recovery key as text.
with_recovery_key <- function(homeserver, user = "alice", ...) {
  client <- mx_demo_client(homeserver, user, verified = FALSE)
  key <- mx_crypto_setup(client, ...)$recovery_key
  text <- if (!is.null(key)) format(key, reveal = TRUE)
  if (!is.null(key)) {
    mx_recovery_key_forget(key)
  }
  list(client = client, key = text, homeserver = homeserver)
}

# A key that secrets are encrypted with beside the default one: that of a change
# that ended before it became the default key.
second_key <- function(client, key) {
  local({
    is_switch <- function(method, path) {
      method == "PUT" && grepl("default_key", path)
    }
    local_death(1, FALSE, deadly = is_switch)
    expect_error(mx_recovery_key_change(client, key), class = "killed")
  })
  core(machine_recovery_key(machine_of(client)))
}

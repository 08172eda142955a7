# What an OAuth server says, from the door of the fake homeserver: a stand-in for the
# answers that a well-kept server never gives. The real one is in tests/live.
#
#   oauth <- fake_oauth()
#   oauth$says("token", '{"error":"access_denied"}', status = 400)

fake_oauth <- function(..., env = parent.frame()) {
  withr::local_options(
    rlang_interactive = FALSE,
    mxcrypt.keyring = FALSE,
    mxcrypt.max_tries = 2,
    mxcrypt.pause = 0,
    .local_envir = env
  )
  withr::local_envvar(
    MXCRYPT_PASSWORD = NA,
    MXCRYPT_REFRESH_TOKEN = NA,
    .local_envir = env
  )
  fake <- fake_homeserver()
  at <- function(name) paste0(fake$url, "/oauth/", name)
  metadata <- list(
    issuer = paste0(fake$url, "/"),
    token_endpoint = at("token"),
    registration_endpoint = at("register"),
    device_authorization_endpoint = at("device"),
    revocation_endpoint = at("revoke"),
    account_management_uri = at("account"),
    account_management_actions_supported = I(c(
      "org.matrix.devices_list",
      "org.matrix.device_delete"
    )),
    grant_types_supported = I(c("refresh_token", device_grant_type))
  )
  metadata <- utils::modifyList(metadata, list(...))
  text <- function(x) as.character(jsonlite::toJSON(x, auto_unbox = TRUE))
  # The next `times` requests are answered so, after those that were told before.
  says <- function(name, body, status = 200, times = 1, ...) {
    body <- if (is.list(body)) text(body) else body
    path <- paste0("/oauth/", name, "$")
    fake$fault("POST", path, status, body, times = times, ...)
  }
  fake$fault("GET", "/v1/auth_metadata", body = text(metadata), times = 99)
  list(fake = fake, metadata = metadata, says = says, at = at)
}

# Has the OAuth server begin a sign-in.
begin_oauth <- function(oauth, expires_in = 600, ...) {
  oauth$says("register", list(client_id = "client-1"), status = 201)
  grant <- list(
    device_code = "device-code-1",
    user_code = "ABCD-EFGH",
    verification_uri = oauth$at("link"),
    verification_uri_complete = oauth$at("link?code=ABCD-EFGH"),
    expires_in = expires_in,
    interval = 0
  )
  grant <- utils::modifyList(grant, list(...))
  oauth$says("device", Filter(Negate(is.null), grant))
}

# The call that signs in, with places of its own.
oauth_caller <- function(oauth, env = parent.frame()) {
  dir <- withr::local_tempdir(.local_envir = env)
  path <- file.path(dir, "matrix.json")
  function(...) {
    mx_client_configure(
      oauth$fake$url,
      path = path,
      store_dir = file.path(dir, "crypto"),
      ...
    )
  }
}

# A login at the fake homeserver that the OAuth server can hand out.
fake_login <- function(oauth, device_id, user = NULL) {
  if (is.null(user)) {
    fakes[["users"]] <- (fakes[["users"]] %||% 0) + 1
    user <- paste0("oauth", fakes[["users"]])
    fake_register(oauth$fake, user)
  }
  log_in(list(server = oauth$fake$url), user, "secret word", device_id, NULL)
}

pending_of <- function(call) environment(call)$path

# Hands out tokens for the device that was asked for.
grant_oauth <- function(oauth, path, ..., user = NULL) {
  pending <- read_config(paste0(path, ".pending"))
  login <- fake_login(oauth, pending[["device_id"]], user)
  tokens <- list(
    access_token = login[["access_token"]],
    refresh_token = "refresh-1",
    token_type = "Bearer",
    expires_in = 300
  )
  tokens <- utils::modifyList(tokens, list(...))
  oauth$says("token", Filter(Negate(is.null), tokens))
  invisible(login)
}

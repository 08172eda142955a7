# Access tokens: in memory while R runs, in the configuration file (0600) or an
# environment variable beyond that. They are looked up when a request is made.

session_token <- function(session) {
  path <- session[["path"]]
  if (is.null(path)) {
    return(session[["token"]])
  }
  tokens <- the[["tokens"]][[path]]
  if (is.null(tokens)) {
    tokens <- read_config(path)[c("token", "refresh_token")]
    remember_tokens(path, tokens)
  }
  tokens[["token"]] %||% env_value("MXCRYPT_ACCESS_TOKEN")
}

remember_tokens <- function(path, tokens) {
  all <- the[["tokens"]]
  all[[path]] <- Filter(Negate(is.null), tokens)
  the[["tokens"]] <- all
}

forget_tokens <- function(path) {
  remember_tokens(path, list())
}

env_value <- function(name) {
  value <- Sys.getenv(name)
  if (nzchar(value)) value else NULL
}

# Gets a new token for a login that has run out, and says whether it did: by the
# refresh token, else by signing in with a password that can be had without
# asking. Asking in the middle of a pipeline would hang it.
renew_login <- function(session) {
  path <- session[["path"]]
  if (is.null(path) || !file.exists(path)) {
    return(FALSE)
  }
  client <- client_at(path)
  refresh_token(client) || relogin_quietly(client)
}

is_expired <- function(answer) {
  !is_no_answer(answer) &&
    answer[["status"]] == 401L &&
    identical(json_body(answer)[["errcode"]], "M_UNKNOWN_TOKEN")
}

refresh_token <- function(client) {
  config <- read_config(client[["path"]])
  token <- config[["refresh_token"]]
  if (is.null(token)) {
    return(FALSE)
  }
  # Another process may have refreshed it already; then its token is good.
  if (!identical(config[["token"]], session_token(client))) {
    remember_tokens(client[["path"]], config[c("token", "refresh_token")])
    return(TRUE)
  }
  bare <- list(server = client[["server"]])
  body <- mxc_json(list(refresh_token = token))
  answer <- http_perform(bare, "POST", api_path("refresh"), body)
  login <- json_body(answer)
  if (answer[["status"]] != 200L || !is_token(login[["access_token"]])) {
    return(FALSE)
  }
  keep_login(client[["path"]], config, login)
  TRUE
}

check_token <- function(access_token, call = caller_env()) {
  if (!is_token(access_token)) {
    argument_abort("access_token", "a token, in one string", call)
  }
  access_token
}

# What may stand in a header.
is_token <- function(x) {
  is_string(x) && grepl("^[!-~]+$", x)
}

relogin_quietly <- function(client) {
  password <- quiet_password(client[["user_id"]])
  if (is.null(password)) {
    return(FALSE)
  }
  relogin(client, password)
  TRUE
}

# Saves what a login or a refresh brought.
keep_login <- function(path, config, login) {
  config[["token"]] <- login[["access_token"]]
  if (is_token(login[["refresh_token"]])) {
    config[["refresh_token"]] <- login[["refresh_token"]]
  }
  write_config(config, path)
  remember_tokens(path, config[c("token", "refresh_token")])
  config
}

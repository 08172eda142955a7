# Secret storage: where it is, and what opens it. The core opens it.

account_data_path <- function(client, type) {
  api_path("user", client[["user_id"]], "account_data", type)
}

# Account data as JSON text; NULL where there is none.
account_data <- function(client, type, call = caller_env()) {
  path <- account_data_path(client, type)
  answer <- http_perform(client, "GET", path, call = call)
  if (answer[["status"]] == 404L) {
    return(NULL)
  }
  if (answer[["status"]] != 200L) {
    http_abort(answer, call = call)
  }
  text <- tryCatch(rawToChar(answer[["body"]]), error = function(e) "")
  checked_json(text)
}

# The default key of secret storage: its id, and its description as text.
secret_storage <- function(client, call = caller_env()) {
  text <- account_data(client, "m.secret_storage.default_key", call)
  content <- if (!is.null(text)) json_decode(text)
  key_id <- if (is.list(content)) content[["key"]]
  if (!is_string(key_id)) {
    return(NULL)
  }
  type <- paste0("m.secret_storage.key.", key_id)
  description <- account_data(client, type, call)
  if (is.null(description)) {
    mx_abort(
      "Secret storage names a default key and does not describe it.",
      "mx_error_secret_storage",
      call = call
    )
  }
  list(key_id = key_id, description = description)
}

# A recovery key or a passphrase: given, or found where a bot can leave it.
storage_secret <- function(client, given, call) {
  if (!is.null(given[["recovery_key"]]) || !is.null(given[["passphrase"]])) {
    return(given)
  }
  found <- env_value("MXCRYPT_RECOVERY_KEY") %||%
    recovery_key_file() %||%
    keyring_secret("mxcrypt-recovery-key", client[["user_id"]])
  if (is.null(found)) {
    mx_abort(
      c(
        paste0("The recovery key of ", client[["user_id"]], " is needed."),
        i = "Give it, or set MXCRYPT_RECOVERY_KEY or MXCRYPT_RECOVERY_KEY_FILE.",
        i = "If it is lost, `reset = TRUE` makes a new identity."
      ),
      "mx_error_recovery_key",
      call = call
    )
  }
  list(recovery_key = found)
}

recovery_key_file <- function(call = caller_env()) {
  path <- env_value("MXCRYPT_RECOVERY_KEY_FILE")
  if (is.null(path)) {
    return(NULL)
  }
  text <- tryCatch(
    suppressWarnings(readLines(path, warn = FALSE)),
    error = function(condition) NULL
  )
  if (is.null(text)) {
    mx_abort(
      paste0(
        "The file ",
        path,
        " of MXCRYPT_RECOVERY_KEY_FILE cannot be read."
      ),
      "mx_error_recovery_key",
      call = call
    )
  }
  paste(text, collapse = "")
}

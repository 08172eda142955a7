# Passwords: asked for, or found where a script can leave them. None is written.

# A password that can be had without asking: from the environment, or from the
# system keyring (service "mxcrypt", user name the user id).
quiet_password <- function(user_id) {
  env_value("MXCRYPT_PASSWORD") %||% keyring_secret("mxcrypt", user_id)
}

keyring_secret <- function(service, user_id) {
  if (!isTRUE(getOption("mxcrypt.keyring", interactive()))) {
    return(NULL)
  }
  if (!requireNamespace("keyring", quietly = TRUE)) {
    return(NULL)
  }
  tryCatch(
    keyring::key_get(service, username = user_id),
    error = function(condition) NULL
  )
}

# A secret that somebody types, if there is somebody.
ask_secret <- function(prompt) {
  if (interactive() && requireNamespace("askpass", quietly = TRUE)) {
    askpass::askpass(prompt)
  }
}

find_password <- function(user_id, call = caller_env()) {
  password <- quiet_password(user_id)
  if (!is.null(password)) {
    return(password)
  }
  password <- ask_secret(paste0("Matrix password of ", user_id, ": "))
  if (is.null(password)) {
    mx_abort(
      c(
        paste0("A password for ", user_id, " is needed."),
        i = "Set the environment variable MXCRYPT_PASSWORD; or store it with",
        " " = "keyring::key_set(\"mxcrypt\", username = \"<user id>\") and set",
        " " = "options(mxcrypt.keyring = TRUE)."
      ),
      "mx_error_password",
      call = call
    )
  }
  password
}

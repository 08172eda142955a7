# Passwords: asked for, or found where a script can leave them. None is written.

# A password that can be had without asking (see secret-sources.R).
quiet_password <- function(user_id, call = caller_env()) {
  find_secret("password", user_id, call)
}

# A secret that is typed in. NULL where nobody can type, such as in a job or on a page.
ask_secret <- function(prompt) {
  if (rlang::is_interactive() && requireNamespace("askpass", quietly = TRUE)) {
    askpass::askpass(prompt)
  }
}

find_password <- function(user_id, call = caller_env()) {
  password <- quiet_password(user_id, call)
  if (!is.null(password)) {
    return(password)
  }
  password <- ask_secret(paste0("Matrix password of ", user_id, ": "))
  if (is.null(password)) {
    mx_abort(
      c(
        paste0("A password for ", user_id, " is needed."),
        i = "Set the environment variable MXCRYPT_PASSWORD: see ?mxcrypt_secrets."
      ),
      "mx_error_password",
      call = call
    )
  }
  note_secret_source("password", "typed at the prompt")
  password
}

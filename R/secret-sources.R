# Where a script can leave its secrets, and which of these places was used. Nothing here
# keeps the value of a secret.

#' Passwords, tokens and keys for scripts, without a prompt
#'
#' In a bot, a scheduled job or a container nobody can type a password. Leave each secret
#' in one of the places below. An argument of a function comes first. Then the places
#' are read in the order of the columns, and the first one that has the secret
#' is used. [mx_doctor()] reports which one was used, and never what was in it.
#'
#' \tabular{lllll}{
#'   **secret** \tab **environment variable** \tab **file** \tab **option** \tab
#'     **keyring: service, user name** \cr
#'   password \tab `MXCRYPT_PASSWORD` \tab `MXCRYPT_PASSWORD_FILE` \tab
#'     `mxcrypt.password` \tab `mxcrypt`, the user id \cr
#'   recovery key \tab `MXCRYPT_RECOVERY_KEY` \tab `MXCRYPT_RECOVERY_KEY_FILE` \tab
#'     `mxcrypt.recovery_key` \tab `mxcrypt-recovery-key`, the user id \cr
#'   access token \tab `MXCRYPT_ACCESS_TOKEN` \tab `MXCRYPT_ACCESS_TOKEN_FILE` \tab
#'     `mxcrypt.access_token` \tab `mxcrypt-access-token`, the user id \cr
#'   store key \tab `MXCRYPT_STORE_KEY` \tab `MXCRYPT_STORE_KEY_FILE` \tab
#'     `mxcrypt.store_key` \tab `mxcrypt-store-key`, the store directory \cr
#'   webhook secret \tab `MXCRYPT_WEBHOOK_SECRET` \tab `MXCRYPT_WEBHOOK_SECRET_FILE` \tab
#'     `mxcrypt.webhook_secret` \tab `mxcrypt-webhook-secret`, the user id \cr
#' }
#'
#' * **File**: the variable holds the path of a file, such as a Docker or Kubernetes
#'   secret. The file is text of at most 64 KiB, in UTF-8, or in UTF-16 with a byte order
#'   mark. The mark, trailing line ends and one pair of quotes around the text are not
#'   part of the secret. If a variable and its file are both set, they must hold the same.
#' * **Option**: one string, or a function without arguments that returns one or
#'   `NULL`. The function is called each time the secret is needed, so that it can read
#'   a vault.
#' * **Keyring**: needs the package keyring. It is used in interactive sessions, or if
#'   `options(mxcrypt.keyring = TRUE)` is set.
#'
#' The access token is used if the configuration file has none: [mx_client_configure()]
#' signs in with it if there is nothing else to sign in with, and does not write it to the
#' file. It is sent to the server that is named there. A refresh token in the environment
#' variable `MXCRYPT_REFRESH_TOKEN` is used if the file has none; it has no other place.
#' The store key is 32 bytes in base64; [mx_store_key_write()] makes one. Its file can also be
#' the `pickle.key` of a store. Without one, a new
#' store writes its key to `pickle.key` in its directory. A store in a database has no other
#' place for it. A store keeps the key that it was made with; the
#' keyring is not read for it if the directory has a `pickle.key`.
#'
#' @section Errors:
#' `mx_error_secret`, when a place that you named cannot be used: a file that is
#' missing, unreadable, empty, too large or not text; a variable that differs from its
#' file; an option of another type, or whose function fails. The message names the
#' place. The condition also has the class of errors about that secret:
#' `mx_error_password`, `mx_error_recovery_key` or `mx_error_store_key_wrong`.
#' @family sign-in
#' @name mxcrypt_secrets
#' @aliases secrets
#' @examples
#' homeserver <- mx_demo_homeserver(users = "alice")
#' dir <- tempfile()
#' file <- tempfile()
#' writeLines("demo", file)
#' Sys.setenv(MXCRYPT_PASSWORD_FILE = file)
#' client <- mx_client_configure(
#'   homeserver,
#'   user = "alice",
#'   path = file.path(dir, "matrix.json"),
#'   store_dir = file.path(dir, "crypto")
#' )
#' Sys.unsetenv("MXCRYPT_PASSWORD_FILE")
#'
#' # A function is called each time the password is needed.
#' options(mxcrypt.password = function() "demo")
#' mx_client_relogin(client)
#' options(mxcrypt.password = NULL)
NULL

# `class` is that of an error about the secret, beside `mx_error_secret`.
secret_places <- list(
  password = list(
    label = "password",
    variable = "MXCRYPT_PASSWORD",
    option = "mxcrypt.password",
    service = "mxcrypt",
    class = "mx_error_password"
  ),
  recovery_key = list(
    label = "recovery key",
    variable = "MXCRYPT_RECOVERY_KEY",
    option = "mxcrypt.recovery_key",
    service = "mxcrypt-recovery-key",
    class = "mx_error_recovery_key"
  ),
  access_token = list(
    label = "access token",
    variable = "MXCRYPT_ACCESS_TOKEN",
    option = "mxcrypt.access_token",
    service = "mxcrypt-access-token",
    class = NULL
  ),
  store_key = list(
    label = "store key",
    variable = "MXCRYPT_STORE_KEY",
    option = "mxcrypt.store_key",
    service = "mxcrypt-store-key",
    class = c("mx_error_store_key_wrong", "mx_error_store")
  ),
  webhook_secret = list(
    label = "webhook secret",
    variable = "MXCRYPT_WEBHOOK_SECRET",
    option = "mxcrypt.webhook_secret",
    service = "mxcrypt-webhook-secret",
    class = NULL
  )
)

# In bytes. A recovery key has 60.
largest_secret_file <- 65536L

# A secret that can be had without asking, or NULL. `owner` is the keyring's user
# name; without one, the keyring is not asked.
find_secret <- function(name, owner = NULL, call = caller_env()) {
  place <- secret_places[[name]]
  found <- secret_in_environment(place, call) %||%
    secret_in_option(place, call) %||%
    secret_in_keyring(place, owner)
  if (name == "access_token" && !is.null(found)) {
    check_found_token(found, place, call)
  }
  note_secret_source(name, found[["source"]])
  found[["value"]]
}

# The place that a secret was found in, for mx_doctor(). NULL if it was not found, or not
# looked for.
secret_source <- function(name) {
  the[["secret_sources"]][[name]]
}

note_secret_source <- function(name, source) {
  all <- the[["secret_sources"]]
  all[[name]] <- source
  the[["secret_sources"]] <- all
}

secret_in_environment <- function(place, call) {
  variable <- place[["variable"]]
  value <- env_value(variable)
  in_file <- secret_in_file(place, call)
  if (is.null(value)) {
    return(in_file)
  }
  if (!is.null(in_file) && !is_same_secret(value, in_file[["value"]])) {
    secret_abort(
      place,
      c(
        paste0(
          variable,
          " and the file of ",
          variable,
          "_FILE hold different secrets."
        ),
        i = "Unset one of them."
      ),
      call
    )
  }
  list(value = value, source = paste("the environment variable", variable))
}

# A variable has the encoding of the locale, a file UTF-8.
is_same_secret <- function(one, other) {
  bytes <- charToRaw(other)
  identical(charToRaw(one), bytes) || identical(charToRaw(enc2utf8(one)), bytes)
}

secret_in_file <- function(place, call) {
  variable <- paste0(place[["variable"]], "_FILE")
  path <- env_value(variable)
  if (is.null(path)) {
    return(NULL)
  }
  read <- read_secret_file(path, identical(place[["label"]], "store key"))
  if (!is.null(read[["failure"]])) {
    secret_abort(
      place,
      c(
        paste0("The ", place[["label"]], " cannot be read from a file."),
        x = paste0(
          "The file ",
          shown_path(path),
          ", which ",
          variable,
          " names, ",
          read[["failure"]],
          "."
        ),
        i = "Put it right, or unset the variable: see ?mxcrypt_secrets."
      ),
      call
    )
  }
  list(
    value = read[["value"]],
    source = paste0("the file ", printable(path), " (", variable, ")")
  )
}

# A path to show. Somebody in a hurry sets MXCRYPT_PASSWORD_FILE to the password: what
# looks like no path and leads nowhere is not repeated.
shown_path <- function(path) {
  is_path <- grepl("^([/\\\\~.]|[A-Za-z]:)", path) ||
    (dirname(path) != "." && dir.exists(dirname(path)))
  if (is_path || file.exists(path)) {
    return(printable(path))
  }
  "<not shown: it may be the secret itself>"
}

# The secret as `value`, or why there is none as `failure`. What R says about the file
# is left out: it could quote what is in it. `is_key`: it may also be a key file such as
# stores have, which is the bytes of the key.
read_secret_file <- function(path, is_key = FALSE) {
  # R would fetch an address, and takes "stdin" and "clipboard" for what they say.
  if (!file.exists(path)) {
    return(list(failure = "is missing"))
  }
  # Not file.size() bytes: a pipe, such as a shell's <(...), has no size.
  bytes <- suppressWarnings(tryCatch(
    readBin(path, "raw", largest_secret_file + 1L),
    error = function(condition) NULL
  ))
  if (is.null(bytes)) {
    return(list(failure = "cannot be read"))
  }
  if (length(bytes) > largest_secret_file) {
    return(list(failure = "is larger than 64 KiB"))
  }
  if (is_key && length(bytes) == 32L) {
    return(list(value = jsonlite::base64_enc(bytes)))
  }
  text <- text_of_bytes(bytes)
  if (is.null(text)) {
    return(list(failure = "is not text in UTF-8"))
  }
  # A mark, line ends and quotes are left by editors and by `docker secret create`.
  text <- sub("^\ufeff", "", text)
  text <- sub("[\r\n]+$", "", text)
  text <- sub("^([\"'])(.*)\\1$", "\\2", text)
  if (nzchar(text)) list(value = text) else list(failure = "is empty")
}

# UTF-8, or UTF-16 with its mark, which Windows PowerShell writes; else NULL.
text_of_bytes <- function(bytes) {
  mark <- as.integer(utils::head(bytes, 2L))
  if (identical(sort(mark), c(0xfeL, 0xffL))) {
    # As bytes: what R says of a NUL quotes the secret.
    bytes <- iconv(list(bytes), "UTF-16", "UTF-8", toRaw = TRUE)[[1]]
  }
  if (is.null(bytes) || any(bytes == as.raw(0L))) {
    return(NULL)
  }
  text <- rawToChar(bytes)
  Encoding(text) <- "UTF-8"
  if (validUTF8(text)) text
}

secret_in_option <- function(place, call) {
  option <- place[["option"]]
  value <- getOption(option)
  source <- paste("the option", option)
  if (is.function(value)) {
    value <- ask_option(value, place, call)
    source <- paste("the function in the option", option)
  }
  if (is.null(value)) {
    return(NULL)
  }
  if (!is_string(value) || !nzchar(value)) {
    secret_abort(
      place,
      c(
        paste0(source, " does not give a ", place[["label"]], "."),
        i = "It must be one string that is not empty, or a function that returns one."
      ),
      call
    )
  }
  list(value = value, source = source)
}

# The message of a vault may hold what it was asked with: it is not repeated.
ask_option <- function(fun, place, call) {
  tryCatch(fun(), error = function(condition) {
    secret_abort(
      place,
      c(
        paste0("The function in the option ", place[["option"]], " failed."),
        x = paste0("Its error has the class ", class(condition)[[1]], "."),
        i = paste0(
          "Call getOption(\"",
          place[["option"]],
          "\")() to see why."
        )
      ),
      call
    )
  })
}

secret_in_keyring <- function(place, owner) {
  value <- if (!is.null(owner)) keyring_secret(place[["service"]], owner)
  if (!is.null(value)) {
    source <- paste0("the keyring (service ", place[["service"]], ")")
    list(value = value, source = source)
  }
}

is_keyring_asked <- function() {
  isTRUE(getOption("mxcrypt.keyring", interactive())) &&
    requireNamespace("keyring", quietly = TRUE)
}

keyring_secret <- function(service, user_id) {
  if (is_keyring_asked()) {
    tryCatch(
      keyring::key_get(service, username = user_id),
      error = function(condition) NULL
    )
  }
}

# The token becomes a header: a line end in it would begin another header.
check_found_token <- function(found, place, call) {
  if (!is_token(found[["value"]])) {
    secret_abort(
      place,
      c(
        paste0("What is in ", found[["source"]], " is no access token."),
        x = "It has spaces, line ends or other characters that no token has."
      ),
      call
    )
  }
}

secret_abort <- function(place, message, call) {
  message[[1]] <- sentence_case(message[[1]])
  mx_abort(message, c("mx_error_secret", place[["class"]]), call = call)
}

sentence_case <- function(text) {
  paste0(toupper(substr(text, 1L, 1L)), substr(text, 2L, nchar(text)))
}

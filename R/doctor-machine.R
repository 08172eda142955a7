# Checks of mx_doctor(): this machine and what is configured on it. Each reads, and none
# changes anything.

check_versions <- function(x) {
  inside <- core(core_versions())
  curl <- curl::curl_version()
  list(
    mxcrypt = fine(
      utils::packageVersion("mxcrypt"),
      ", core ",
      inside[["core"]],
      ", vodozemac ",
      inside[["vodozemac"]],
      ", SQLite ",
      inside[["sqlite"]]
    ),
    R = fine(
      getRversion(),
      ", ",
      R.version[["platform"]],
      ", httr2 ",
      utils::packageVersion("httr2"),
      ", curl ",
      utils::packageVersion("curl")
    ),
    libcurl = fine(curl[["version"]], ", ", curl[["ssl_version"]])
  )
}

check_locale <- function(x) {
  locale <- Sys.getlocale("LC_CTYPE")
  if (isTRUE(l10n_info()[["UTF-8"]])) {
    return(fine(locale))
  }
  doctor_line(
    "warning",
    paste0(locale, ", not UTF-8"),
    "Messages are right, but print badly: set LC_ALL=C.UTF-8 before R starts."
  )
}

proxy_variables <- c(
  "http_proxy",
  "https_proxy",
  "HTTPS_PROXY",
  "all_proxy",
  "ALL_PROXY"
)

check_proxy_settings <- function(x) {
  proxies <- Filter(nzchar, Sys.getenv(proxy_variables))
  if (length(proxies) == 0L) {
    return(fine("none in the environment"))
  }
  shown <- vapply(proxies, masked_proxy, "")
  excepted <- any(nzchar(Sys.getenv(c("no_proxy", "NO_PROXY"))))
  fine(
    paste0(names(shown), "=", shown, collapse = ", "),
    if (excepted) ", with exceptions"
  )
}

# The proxy's host. A user name, a password or a path may be a credential.
masked_proxy <- function(url) {
  scheme <- regmatches(url, regexpr("^[A-Za-z0-9+.-]+://", url))
  rest <- substr(url, sum(nchar(scheme)) + 1L, nchar(url))
  has_user <- grepl("@", rest, fixed = TRUE)
  host <- sub("[/?#].*$", "", sub("^.*@", "", rest))
  paste0(scheme, if (has_user) "<masked>@", host)
}

check_certificates <- function(x) {
  variables <- c("CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
  named <- Filter(nzchar, Sys.getenv(variables))
  if (length(named) == 0L) {
    return(fine("those of the system"))
  }
  found <- paste0(names(named), "=", named, collapse = ", ")
  # SSL_CERT_DIR may be several.
  is_there <- vapply(
    strsplit(named, .Platform[["path.sep"]], fixed = TRUE),
    function(paths) any(file.exists(paths)),
    NA
  )
  missing <- names(named)[!is_there]
  if (length(missing) == 0L) {
    return(fine(found))
  }
  doctor_line(
    "failure",
    paste0(found, ": not there"),
    paste0("Put right or unset ", toString(missing), ".")
  )
}

check_secrets <- function(x) {
  lines <- lapply(names(secret_places), function(name) {
    tryCatch(
      fine(secret_whereabouts(name, x[["client"]])),
      mx_error_secret = function(condition) {
        doctor_line(
          "failure",
          first_words(condition),
          "Put it right, or unset it: see ?mxcrypt_secrets."
        )
      }
    )
  })
  labels <- vapply(secret_places, `[[`, "", "label")
  stats::setNames(lines, labels)
}

# Where a secret was found, or would be. No function is called and no pipe is read: it may
# return the secret only once. The keyring is searched by name, without its secrets.
secret_whereabouts <- function(name, client) {
  used <- secret_source(name)
  if (!is.null(used)) {
    return(paste("used:", used))
  }
  place <- secret_places[[name]]
  there <- secret_in_variables(place)
  if (is.null(there) && !is.null(getOption(place[["option"]]))) {
    there <- paste("the option", place[["option"]])
  }
  owner <- if (name == "store_key") "store_dir" else "user_id"
  if (is.null(there) && is_in_keyring(place, client[[owner]])) {
    there <- paste0("the keyring (service ", place[["service"]], ")")
  }
  if (!is.null(there)) paste("in", there) else "not set"
}

secret_in_variables <- function(place) {
  variable <- paste0(place[["variable"]], "_FILE")
  path <- env_value(variable)
  if (!is_stream(path)) {
    return(secret_in_environment(place, caller_env())[["source"]])
  }
  paste0("what ", variable, " names, which is no plain file and was not read")
}

# A pipe or a device: reading may wait for ever, and what was read is gone.
is_stream <- function(path) {
  !is.null(path) &&
    file.exists(path) &&
    !dir.exists(path) &&
    !is_file(path.expand(path))
}

is_in_keyring <- function(place, owner) {
  if (is.null(owner) || !is_keyring_asked()) {
    return(FALSE)
  }
  tryCatch(
    owner %in% keyring::key_list(place[["service"]])[["username"]],
    error = function(condition) FALSE
  )
}

machine_checks <- list(
  versions = check_versions,
  locale = check_locale,
  proxy = check_proxy_settings,
  certificates = check_certificates
)

# Also finds the client of the app `mxcrypt` where none was given.
check_configuration <- function(x) {
  client <- x[["client"]]
  path <- if (is.null(client)) mx_client_config_path() else client[["path"]]
  if (!file.exists(path)) {
    state <- if (is.null(client)) "warning" else "failure"
    return(doctor_line(
      state,
      paste("none at", short_path(path)),
      "Sign in with mx_client_configure()."
    ))
  }
  config <- read_config(path)
  missing <- setdiff(c("server", "user_id", "device_id"), names(config))
  if (length(missing) > 0L) {
    return(doctor_line(
      "failure",
      paste0(short_path(path), " has no ", toString(missing)),
      "Sign in with mx_client_configure()."
    ))
  }
  if (is.null(client)) {
    x[["client"]] <- client_at(path)
  }
  fine(short_path(path))
}

configuration_checks <- list(
  configuration = check_configuration,
  secrets = check_secrets
)

# A path without the user's home directory, which has their name.
short_path <- function(path) {
  home <- normalizePath("~", winslash = "/", mustWork = FALSE)
  path <- gsub("\\", "/", path, fixed = TRUE)
  if (startsWith(path, paste0(home, "/"))) {
    path <- paste0("~", substr(path, nchar(home) + 1L, nchar(path)))
  }
  path
}

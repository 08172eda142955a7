# The checks of mx_doctor(). Each reads, and none changes anything.

# This machine ----------------------------------------------------------------

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

# The configuration -----------------------------------------------------------

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

# The server ------------------------------------------------------------------

check_server <- function(x) {
  server <- x[["client"]][["server"]]
  x[["reached"]] <- FALSE
  before <- Sys.time()
  answer <- tryCatch(
    http_perform(list(server = server), "GET", "/_matrix/client/versions"),
    mx_error = function(condition) {
      check_abort(
        first_words(condition),
        "Check the address, the network, and the lines proxy and certificates."
      )
    }
  )
  x[["date"]] <- answer[["date"]]
  x[["asked_at"]] <- mean(c(before, Sys.time()))
  versions <- Filter(is_string, json_body(answer)[["versions"]])
  versions <- grep("^[vr][0-9.]{1,20}$", unlist(versions), value = TRUE)
  if (answer[["status"]] != 200L || length(versions) == 0L) {
    check_abort(
      paste0(
        server,
        " is no Matrix homeserver: status ",
        answer[["status"]],
        ", ",
        body_excerpt(answer)
      ),
      "Check the address, and whether a proxy stands in between."
    )
  }
  x[["reached"]] <- TRUE
  fine(server, ", Matrix up to ", versions[[length(versions)]])
}

need_server <- function(x) {
  if (!isTRUE(x[["reached"]])) {
    check_abort(
      "not known: the server was not reached",
      "See the line server."
    )
  }
}

check_offers <- function(x) {
  need_server(x)
  bare <- list(server = x[["client"]][["server"]])
  flows <- http_perform(bare, "GET", api_path("login"))
  types <- lapply(json_body(flows)[["flows"]], json_at, "type")
  types <- unlist(Filter(is_string, types))
  types <- grep("^[A-Za-z0-9._-]{1,100}$", types, value = TRUE)
  path <- api_path("auth_metadata", version = "v1")
  # A server without it responds with 404, and a proxy in front of it with anything.
  metadata <- tryCatch(
    http_perform(bare, "GET", path),
    mx_error = function(condition) NULL
  )
  issuer <- if (!is.null(metadata)) json_body(metadata)[["issuer"]]
  has_issuer <- identical(metadata[["status"]], 200L) && is_string(issuer)
  offered <- c(types, if (has_issuer) paste("OAuth of", issuer))
  if (length(offered) > 0L) {
    return(doctor_line("ok", offered))
  }
  doctor_line(
    "warning",
    "the server names no way to sign in",
    "Ask whoever runs the server."
  )
}

# Specification: no limit is set. Times of events and of certificates go wrong first.
check_clock <- function(x) {
  need_server(x)
  if (!is.null(the[["homeservers"]][[x[["client"]][["server"]]]])) {
    return(fine("the homeserver is inside this R"))
  }
  theirs <- http_date(x[["date"]])
  if (is.null(theirs)) {
    return(doctor_line(
      "warning",
      "the server sends no date",
      "Compare your clock with another one."
    ))
  }
  seconds <- round(as.numeric(
    difftime(x[["asked_at"]], theirs, units = "secs")
  ))
  if (abs(seconds) <= 60) {
    return(fine("within a minute of the server's"))
  }
  doctor_line(
    if (abs(seconds) > 300) "failure" else "warning",
    paste0(
      plural(abs(seconds), "second"),
      if (seconds > 0) " ahead of" else " behind",
      " the server"
    ),
    "Set the clock of this machine, for instance by NTP."
  )
}

# Specification: RFC 9110, section 5.6.7. strptime() would take the names of months
# from the locale.
http_date <- function(text) {
  pattern <- "^[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9:]{8}) GMT$"
  if (!is_string(text) || !grepl(pattern, text)) {
    return(NULL)
  }
  part <- function(i) sub(pattern, paste0("\\", i), text)
  month <- match(part(2), month.abb)
  time <- as.POSIXct(
    paste0(part(3), "-", month, "-", part(1), " ", part(4)),
    format = "%Y-%m-%d %H:%M:%S",
    tz = "UTC"
  )
  if (!is.na(time)) time
}

# The login -------------------------------------------------------------------

check_login <- function(x) {
  config <- read_config(x[["client"]][["path"]])
  method <- config[["method"]] %||% "kind not noted"
  renewed <- !is.null(config[["refresh_token"]])
  found <- c(
    gsub("_", " ", method),
    if (!is.null(config[["issuer"]])) paste("issuer", config[["issuer"]]),
    if (renewed) "with a refresh token" else "without a refresh token",
    expiry_text(config[["expires_at"]])
  )
  if (!is.null(config[["signed_out_at"]])) {
    return(doctor_line(
      "failure",
      paste("signed out on", config[["signed_out_at"]]),
      "Sign in again with mx_client_relogin(client)."
    ))
  }
  expires_at <- iso_time(config[["expires_at"]])
  if (!renewed && !is.null(expires_at) && expires_at < Sys.time()) {
    return(doctor_line(
      "warning",
      found,
      "Sign in again with mx_client_relogin(client)."
    ))
  }
  doctor_line("ok", found)
}

expiry_text <- function(text) {
  time <- iso_time(text)
  if (is.null(time)) {
    return("expiry not known")
  }
  paste(
    if (time < Sys.time()) "expired" else "expires",
    format(time, "%Y-%m-%d %H:%M UTC", tz = "UTC")
  )
}

iso_time <- function(text) {
  if (!is_string(text)) {
    return(NULL)
  }
  text <- sub("T", " ", substr(text, 1L, 19L), fixed = TRUE)
  time <- as.POSIXct(text, format = "%Y-%m-%d %H:%M:%S", tz = "UTC")
  if (!is.na(time)) time
}

# Without renewal: a new token would be a change.
check_token_works <- function(x) {
  need_server(x)
  client <- x[["client"]]
  path <- api_path("account", "whoami")
  answer <- tryCatch(
    http_perform(as_session(client), "GET", path, renews = FALSE),
    mx_error_signed_out = function(condition) {
      check_abort(
        "there is no token",
        "Sign in again with mx_client_relogin(client)."
      )
    }
  )
  who <- json_body(answer)
  if (is_expired(answer)) {
    return(expired_line(client))
  }
  if (answer[["status"]] != 200L) {
    check_abort(
      paste0(
        "status ",
        answer[["status"]],
        ", ",
        errcode_of(who) %||% body_excerpt(answer)
      ),
      refused_account_remedy(errcode_of(who))
    )
  }
  ids <- c("user_id", "device_id")
  if (identical(who[ids], unclass(client)[ids])) {
    return(fine("token accepted"))
  }
  doctor_line(
    "failure",
    "the token belongs to another user or device",
    "Sign in again with mx_client_relogin(client)."
  )
}

# Nobody signs in to an account that is gone or locked.
refused_account_remedy <- function(code) {
  refused <- c("M_USER_DEACTIVATED", "M_USER_LOCKED", "M_USER_SUSPENDED")
  if (!is.null(code) && code %in% refused) {
    "Ask whoever runs the server what became of the account."
  } else {
    "Sign in again with mx_client_relogin(client)."
  }
}

expired_line <- function(client) {
  if (!is.null(read_config(client[["path"]])[["refresh_token"]])) {
    return(doctor_line(
      "warning",
      "the token has expired",
      "The next call renews it. If that fails: mx_client_relogin(client)."
    ))
  }
  doctor_line(
    "failure",
    "the token has ended",
    "Sign in again with mx_client_relogin(client)."
  )
}

# The device and its keys -----------------------------------------------------

# An existing store is opened; none is created, or bound to a login.
doctor_machine <- function(x) {
  client <- x[["client"]]
  if (!file.exists(file.path(client[["store_dir"]], "crypto.sqlite"))) {
    check_abort("not known: there is no store", "See the line store.")
  }
  if (!is_store_open(client[["store_dir"]])) {
    variable <- paste0(secret_places[["store_key"]][["variable"]], "_FILE")
    if (is_stream(env_value(variable))) {
      check_abort(
        paste(
          "not known: the key is in a pipe,",
          variable,
          "which was not read"
        ),
        "Use the store first, for instance by mx_sync(client)."
      )
    }
  }
  # Once: a store that another process has locked is waited for.
  if (!is.null(x[["store_failure"]])) {
    raise(x[["store_failure"]])
  }
  machine <- tryCatch(
    open_store(client[["store_dir"]]),
    mx_error = function(condition) {
      x[["store_failure"]] <- tryCatch(
        check_abort(first_words(condition), store_remedy(condition)),
        error = identity
      )
      raise(x[["store_failure"]])
    }
  )
  bound <- core(machine_binding(machine))
  ids <- c("user_id", "device_id")
  if (!identical(bound[ids], unclass(client)[ids])) {
    check_abort(
      "the store belongs to another user or device",
      "Give each login its own `app` or `store_dir`."
    )
  }
  machine
}

# What a wrong key has to do with it, only where it has.
store_remedy <- function(condition) {
  about_keys <- c(
    "mx_error_secret",
    "mx_error_store_key_wrong",
    "mx_error_store_key_missing"
  )
  if (inherits(condition, about_keys)) {
    "See the lines store key and key of the store, and ?mxcrypt_secrets."
  } else {
    "See the lines store and file locks."
  }
}

check_device <- function(x) {
  status <- core(machine_identity_status(doctor_machine(x)))
  found <- x[["client"]][["device_id"]]
  if (status[["device_signed"]]) {
    return(fine(found, ", signed by its owner"))
  }
  doctor_line(
    "warning",
    paste0(found, ", not signed: others may give it no keys"),
    "mx_crypto_setup(client)"
  )
}

check_identity <- function(x) {
  status <- core(machine_identity_status(doctor_machine(x)))
  user_id <- x[["client"]][["user_id"]]
  if (!is.null(status[["refused"]])) {
    return(doctor_line(
      "failure",
      c(user_id, status[["refused"]]),
      "See ?mx_cross_signing_reset."
    ))
  }
  if (status[["changed"]]) {
    return(doctor_line(
      "failure",
      paste0(user_id, ", the server shows another one than this device knows"),
      "mx_crypto_setup(client) with the recovery key of the new one."
    ))
  }
  if (is.null(status[["master_key"]])) {
    return(doctor_line(
      "warning",
      paste0(user_id, ", none that this device knows"),
      "mx_crypto_setup(client)"
    ))
  }
  found <- paste0(
    user_id,
    ", ",
    length(status[["held"]]),
    " of 3 private keys here"
  )
  if (status[["recovery_key"]]) {
    return(doctor_line(
      "warning",
      paste0(found, ", the recovery key is not saved yet"),
      "See ?mx_recovery_key_write."
    ))
  }
  fine(found)
}

check_isolation <- function(x) {
  mode <- core(machine_isolation(doctor_machine(x), NULL))
  fine("keys go to devices by the mode \"", mode, "\"")
}

check_key_backup <- function(x) {
  status <- core(machine_backup_status(doctor_machine(x)))
  found <- describe_backup(status)
  works <- is.null(status[["failure"]]) &&
    !is.null(status[["version"]]) &&
    status[["trusted"]] &&
    isTRUE(status[["enabled"]])
  if (works) {
    return(fine(found))
  }
  doctor_line(
    "warning",
    found,
    "mx_crypto_status(client) says what is wrong, mx_crypto_repair(client) repairs it."
  )
}

# The store -------------------------------------------------------------------

check_store <- function(x) {
  dir <- x[["client"]][["store_dir"]]
  if (!file.exists(file.path(dir, "crypto.sqlite"))) {
    return(doctor_line(
      "failure",
      paste("none in", short_path(dir)),
      "Put it back. If it is lost, sign in as a new device: mx_client_configure()."
    ))
  }
  files <- list.files(
    dir,
    all.files = TRUE,
    recursive = TRUE,
    full.names = TRUE
  )
  fine(short_path(dir), ", ", size_text(sum(file.size(files), na.rm = TRUE)))
}

check_schema <- function(x) {
  doctor_machine(x)
  inspected <- core(store_inspect(x[["client"]][["store_dir"]]))
  fine("version ", inspected[["schema"]])
}

check_store_key <- function(x) {
  doctor_machine(x)
  source <- secret_source(store_key_of(x[["client"]][["store_dir"]]))
  fine("opens the store, from ", source %||% "pickle.key beside it")
}

# What others of this machine may read. Windows keeps lists, and no modes.
check_modes <- function(x) {
  if (.Platform[["OS.type"]] == "windows") {
    return(NULL)
  }
  client <- x[["client"]]
  dir <- client[["store_dir"]]
  paths <- c(
    dir,
    file.path(dir, c("crypto.sqlite", "pickle.key")),
    client[["path"]]
  )
  paths <- paths[file.exists(paths)]
  modes <- file.info(paths)[["mode"]]
  open <- bitwAnd(as.integer(modes), strtoi("077", 8L)) != 0L
  if (!any(open)) {
    return(fine("for the owner alone"))
  }
  wanted <- ifelse(dir.exists(paths), "0700", "0600")
  doctor_line(
    "warning",
    paste0(short_paths(paths[open]), " has ", format(modes[open])),
    paste0(
      "Sys.chmod(\"",
      short_paths(paths[open]),
      "\", \"",
      wanted[open],
      "\")",
      collapse = "; "
    )
  )
}

short_paths <- function(paths) vapply(paths, short_path, "")

check_locks <- function(x) {
  dir <- x[["client"]][["store_dir"]]
  if (!dir.exists(dir)) {
    check_abort("not known: there is no store", "See the line store.")
  }
  inspected <- core(store_inspect(dir))
  if (!is.null(inspected[["lock_failure"]])) {
    return(doctor_line(
      "failure",
      inspected[["lock_failure"]],
      "Keep the store on a disk of this machine that you may write to."
    ))
  }
  if (!inspected[["local"]]) {
    return(doctor_line(
      "warning",
      "work, but the file system is not of this machine",
      "Keep the store on a disk of this machine: locks of network drives are not sure."
    ))
  }
  fine("work")
}

check_last_sync <- function(x) {
  at <- core(machine_last_sync(doctor_machine(x)))
  if (is.null(at)) {
    return(doctor_line("warning", "never", "mx_sync(client)"))
  }
  at <- as.POSIXct(at / 1000, origin = "1970-01-01", tz = "UTC")
  days <- as.numeric(difftime(Sys.time(), at, units = "days"))
  found <- format(at, "%Y-%m-%d %H:%M UTC")
  if (days > 30) {
    remedy <- "mx_sync(client): a device that is silent for long misses keys."
    return(doctor_line("warning", found, remedy))
  }
  fine(found)
}

check_outbox <- function(x) {
  states <- core(machine_unsent(doctor_machine(x)))[["state"]]
  if (length(states) == 0L) {
    return(fine("nothing"))
  }
  refused <- sum(states == "refused")
  waiting <- length(states) - refused
  doctor_line(
    "warning",
    c(
      if (waiting > 0L) plural(waiting, "message waits", "messages wait"),
      if (refused > 0L) {
        plural(refused, "message was refused", "messages were refused")
      }
    ),
    "mx_outbox(client) says why."
  )
}

client_checks <- list(
  server = check_server,
  "sign-in offered" = check_offers,
  clock = check_clock,
  login = check_login,
  "login at the server" = check_token_works,
  device = check_device,
  identity = check_identity,
  isolation = check_isolation,
  "key backup" = check_key_backup,
  store = check_store,
  "key of the store" = check_store_key,
  schema = check_schema,
  "file modes" = check_modes,
  "file locks" = check_locks,
  "last sync" = check_last_sync,
  "not sent" = check_outbox
)

# Stores: one open machine a place, shared by everything that refers to it. A place is a
# directory, or the address of a database.

#' Store directory of an app
#'
#' Returns the directory in which an app keeps its store: the keys of the device, and all
#' that it received and has to send.
#'
#' @inheritParams mx_client_config_path
#' @param path Another place, which is returned as an absolute path.
#' @return A path; nothing is created there.
#' @family the store
#' @examples
#' mx_crypto_store_dir("my-app")
#' @export
mx_crypto_store_dir <- function(app = "mxcrypt", path = NULL) {
  check_app(app)
  check_path(path, null = TRUE) %||%
    file.path(tools::R_user_dir(app, "data"), "crypto")
}

# Whether a store is in a database, and not in a directory.
is_address <- function(dir) {
  grepl("^postgres(ql)?://", dir, useBytes = TRUE)
}

check_store_dir <- function(
  x,
  name = rlang::caller_arg(x),
  null = FALSE,
  call = caller_env()
) {
  if (null && is.null(x)) {
    return(NULL)
  }
  if (is_string(x) && is_address(x)) {
    return(checked_text(x, name, call))
  }
  if (is_no_path(x)) {
    wanted <- "a directory, or an address that begins with postgresql://"
    argument_abort(name, wanted, call)
  }
  path <- check_path(x, name, call = call)
  if (file.exists(path) && !dir.exists(path)) {
    argument_abort(name, "a directory, and no file", call, path)
  }
  path
}

is_no_path <- function(x) {
  !is_string(x) || !nzchar(x) || has_scheme(x) || is_misspelled_address(x)
}

# A directory of such a name would be made, and a bot that is to share a database would be
# alone in it. What libpq connects to in its other form is none of ours.
is_misspelled_address <- function(x) {
  is_like <- "^(jdbc:)?postgres(ql)?(:|//)"
  is_other <- "(^|[[:space:]])(host|hostaddr|dbname|service|user|password)[[:space:]]*="
  grepl(is_like, x, ignore.case = TRUE, useBytes = TRUE) ||
    grepl(is_other, x, useBytes = TRUE)
}

# The one name of a place.
store_place <- function(dir) {
  if (is_address(dir)) {
    return(dir)
  }
  normalizePath(dir, winslash = "/", mustWork = FALSE)
}

# Whether there is a store, without beginning one.
has_store <- function(dir, call = caller_env()) {
  core(store_is_there(dir), call = call)
}

# Whether open_store() would begin no store. A database is asked once; of a store of
# mx.client, open_store() says what it is.
is_begun <- function(dir, call) {
  (is_address(dir) && is_store_open(dir)) ||
    has_store(dir, call) ||
    file.exists(file.path(dir, "account.pickle"))
}

# The directory for what is kept beside a store. That of a database has one on each
# machine, for what can be made or fetched again.
beside_store <- function(dir) {
  if (!is_address(dir)) {
    return(dir)
  }
  file.path(tools::R_user_dir("mxcrypt", "cache"), "stores", rlang::hash(dir))
}

# The machine of the store in `dir`, which is created if needed. Its key comes from
# outside (see secret-sources.R) or from the key file beside it.
open_store <- function(dir, call = caller_env()) {
  place <- store_place(dir)
  machine <- the[["stores"]][[place]]
  # A store that was deleted and created again in the same place is another store.
  stale <- !is.null(machine) && !is_address(place) && !has_store(place, call)
  if (is.null(machine) || stale) {
    key <- store_key(dir, call)
    machine <- core(machine_open(place, key), call = call)
    stores <- the[["stores"]]
    # A link to a directory can be followed only once that is there.
    dir <- store_place(dir)
    stores[[dir]] <- machine
    the[["stores"]] <- stores
    note_secret_source(store_key_of(dir), secret_source("store_key"))
  }
  machine
}

is_store_open <- function(dir) {
  !is.null(the[["stores"]][[store_place(dir)]])
}

# Closes a store of this session: what is at its place next is perhaps another.
release_store <- function(dir) {
  dir <- store_place(dir)
  stores <- the[["stores"]]
  if (!is.null(stores[[dir]])) {
    machine_close(stores[[dir]])
    stores[[dir]] <- NULL
    the[["stores"]] <- stores
  }
}

# A store with a key file has its key there: a keyring that must be unlocked is asked
# only where there is none.
store_key <- function(dir, call) {
  has_file <- file.exists(file.path(dir, "pickle.key"))
  find_secret("store_key", if (!has_file) dir, call)
}

# The name under which the source of the key of one store is noted: a session can have
# several stores open.
store_key_of <- function(dir) {
  paste("store_key", store_place(dir))
}

# The machine of a client, whose store must be that of the login.
machine_of <- function(client, session = client, call = caller_env()) {
  check_client(client, call = call)
  dir <- client[["store_dir"]]
  # Nothing is begun where a store is missing: a copy that is restored there needs the place.
  is_missing <- !is_begun(dir, call)
  if (is_missing) {
    check_is_new(client, waiting_client(session), call)
  }
  machine <- open_store(dir, call = call)
  bound <- core(machine_binding(machine), call = call)
  if (is.null(bound) && !is_missing) {
    check_is_new(client, waiting_client(session), call)
  }
  ids <- c("user_id", "device_id")
  if (!identical(bound[ids], unclass(client)[ids])) {
    bind <- machine_bind(machine, client[["user_id"]], client[["device_id"]])
    core(bind, call = call)
  }
  machine
}

# Before a store is bound to a login: the server must report this user and device, and
# that the device has no keys yet. If it has, they are in another store, which is lost
# or elsewhere; with new keys, users who know the device could not reach it.
check_is_new <- function(client, session, call) {
  who <- http_json(session, "GET", api_path("account", "whoami"), call = call)
  same <- identical(who[["user_id"]], client[["user_id"]]) &&
    identical(who[["device_id"]], client[["device_id"]])
  body <- ask_for_device(session, client[["user_id"]], call)
  has_keys <- core(
    judge_known_device(
      body,
      client[["user_id"]],
      client[["device_id"]]
    ),
    call = call
  )
  if (same && !has_keys) {
    return(invisible())
  }
  mx_abort(
    c(
      paste0(
        "There is no store of this device in ",
        client[["store_dir"]],
        "."
      ),
      x = if (same) {
        "The server has keys of it, which were made in another store."
      },
      x = if (!same) "The login is not the one the configuration names.",
      i = "Put the store back, or restore a copy: see ?mx_store_restore.",
      i = "If it is lost, sign in as a new device with mx_client_configure()."
    ),
    c("mx_error_store_missing", "mx_error_store"),
    call = call
  )
}

# The devices of a user as the server returns them, before there is a store.
ask_for_device <- function(session, user_id, call) {
  query <- list(device_keys = stats::setNames(list(list()), user_id))
  path <- api_path("keys", "query")
  answer <- http_perform(
    session,
    "POST",
    path,
    as_json_text(query),
    call = call
  )
  answer[["body"]]
}

# At the end of R, so that what was deleted is gone from the log too.
close_stores <- function(...) {
  for (machine in the[["stores"]]) {
    machine_close(machine)
  }
  the[["stores"]] <- list()
}

# What refers to a store without a client: accounts and session sets.
new_stored <- function(store_dir, class) {
  machine <- open_store(store_dir)
  structure(
    list(store_dir = store_dir, store_id = core(machine_store_id(machine))),
    class = c(class, "mx_stored")
  )
}

stored_machine <- function(x, call = caller_env()) {
  open_store(unclass(x)[["store_dir"]], call = call)
}

#' @export
print.mx_stored <- function(x, ...) {
  print_lines(format(x, ...))
  invisible(x)
}

#' @export
format.mx_stored <- function(x, ...) {
  c(
    paste0("<", class(x)[[1]], "> kept in a store"),
    paste0("store: ", unclass(x)[["store_dir"]])
  )
}

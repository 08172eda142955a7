#' Store in a PostgreSQL database
#'
#' A bot in a cluster has no disk that stays, and may have several processes at once.
#' Its store can be in a PostgreSQL database: give [mx_client_configure()] its address
#' where it takes a directory.
#'
#' ```r
#' # Once, on one machine. All that use the store need this file.
#' mx_store_key_write("store.key")
#'
#' # At each start, on any machine.
#' Sys.setenv(MXCRYPT_STORE_KEY_FILE = "store.key")
#' client <- mx_client_configure(
#'   "example.org",
#'   user = "bot",
#'   store_dir = "postgresql://bot@db.example.org/matrix?store=bot&sslmode=verify-full"
#' )
#' ```
#'
#' * **The address** is one of libpq, PostgreSQL's client library: all of its
#'   [parameters](https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS)
#'   are allowed, and its environment variables work, such as `PGHOST` and `PGSERVICE`.
#'   `store` is ours: the name of one of the stores of the database, `default` if it is left
#'   out; 200 characters at most. Each device has a store of its own.
#' * **The password** of the database is never in the address, which is printed and written to
#'   the configuration file. libpq looks for it in `PGPASSWORD`, in `~/.pgpass` and in
#'   service files.
#' * **The store key** comes from outside: see [mxcrypt_secrets]. [mx_store_key_write()]
#'   makes one. Whoever has the database but no key can read nothing of a store but the
#'   names of rooms, users and devices, and when something changed.
#' * **TLS**: without `sslmode=verify-full` in the address, whoever controls the network can be the
#'   database. They could not read a store, but return an old one: then messages are
#'   encrypted twice with the same key. `sslrootcert` in the address is the file of the certificate
#'   authority, if that is not in `~/.postgresql/root.crt`.
#' * **Rights**: the tables are in the schema `mxcrypt`, which the first store of a database
#'   makes. A user who may make no schemas needs one of their own:
#'   `CREATE SCHEMA mxcrypt AUTHORIZATION bot`.
#'
#' [mx_store_move()] moves a store to a database, and back. [mx_store_check()] and
#' [mx_store_vacuum()] take an address, too.
#'
#' @section Several processes:
#' Any number of processes on any number of machines can use one store. What they save is saved
#' one after the other, so that two never encrypt with the same key. If the connection
#' breaks, or the database is started again, a call waits up to 30 seconds for it and is
#' done again; if that happens while it saves, it finds out whether it was saved. An
#' outage that lasts longer is
#' an error of class `mx_error_store_unreachable`, which a listener survives. Ctrl-C ends
#' the wait. A database that refuses you, as for a wrong password, is asked once: the error is of
#' class `mx_error_store_refused`, and ends a listener.
#'
#' The login is not in the store, but in the configuration file of each machine. A machine
#' without a disk calls [mx_client_configure()] at each start, with the same address: it
#' signs in as the device of the store, with the password or token that it finds (see
#' [mxcrypt_secrets]). Synapse lets a device have several logins; the specification allows
#' a server to end the earlier ones. There, all machines need one that does not expire: an
#' access token, or `as_token`. Start one process alone where the store is new: others that
#' sign in at the same moment get an error of class `mx_error_store_binding`, and succeed
#' when they are started again.
#'
#' The listeners of a process share a connection beside that of its calls. PgBouncer
#' gives none: sending and [mx_sync()] work behind it, also in its mode "transaction"; listening is
#' refused with `mx_error_store_unsupported`.
#'
#' Files wait in the database until they are uploaded. Files of an archive are kept on each machine,
#' in the user's cache directory.
#'
#' Settings of your user or the database, such as `statement_timeout` or `search_path`, change
#' nothing for a store, except that `default_transaction_read_only` must be off.
#'
#' @section What the database must not do:
#' Go back in time. A copy that is restored, or a replica that is promoted before it has
#' all that the main server
#' confirmed, forgets which keys were used. Set `synchronous_commit` and replicas so that a
#' confirmed commit is never lost; after a restore, sign in as a new device. Deleted rows
#' stay in the files
#' and logs of PostgreSQL for some time, sealed with the store key.
#'
#' @section Installation:
#' Support for PostgreSQL is not built in unless it is asked for: with libpq installed (Debian:
#' `libpq-dev`), install the package from its source with the environment variable
#' `MXCRYPT_FEATURES=postgres`: `MXCRYPT_FEATURES=postgres R CMD INSTALL <source>`. Otherwise an
#' address is an error of class `mx_error_store_unsupported`. The tests run with PostgreSQL 15.
#' @family the store
#' @name mxcrypt_postgresql
#' @examples
#' file <- tempfile(fileext = ".key")
#' mx_store_key_write(file)
#' Sys.setenv(MXCRYPT_STORE_KEY_FILE = file)
#' Sys.unsetenv("MXCRYPT_STORE_KEY_FILE")
NULL

#' Key of a store
#'
#' Writes a new store key, or that of a client, to a file that only its owner may read. A store
#' that is opened for the first time while the environment variable
#' `MXCRYPT_STORE_KEY_FILE` names this file is sealed with this key, and cannot be opened
#' without it.
#'
#' A store in a directory needs none: it makes its own key. Keep the file where you keep
#' secrets. It is the same for all who use the store.
#'
#' @param path The file, which must not be there yet: its key may be in use.
#' @param client `NULL` for a new key; or a client, or the directory of a store, for the key
#'   that this has.
#' @return `path`, invisibly.
#' @section Errors:
#' `mx_error_argument` if there is such a file, `mx_error_store` if it cannot be written.
#' @family the store
#' @examples
#' mx_store_key_write(tempfile(fileext = ".key"))
#' @export
mx_store_key_write <- function(path, client = NULL) {
  path <- check_path(path)
  dir <- if (!is.null(client)) existing_store(client)
  if (file.exists(path)) {
    argument_abort("path", "a file that is not there yet", caller_env(), path)
  }
  key <- if (is.null(dir)) {
    store_key_generate()
  } else {
    store_key_of_place(dir, store_key(dir, caller_env()), beside_store(dir))
  }
  core(private_file_write(path, paste0(core(key), "\n")))
  invisible(path)
}

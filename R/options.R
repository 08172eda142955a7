# Rows of tables are long.
# nolint start: line_length_linter.
#' Options of mxcrypt
#'
#' Set them with [options()], for a session or in `.Rprofile`.
#'
#' | option | what it is | default |
#' |---|---|---|
#' | `mxcrypt.timeout` | seconds that a request may take, beside what the server was asked to wait; for files, seconds in which nothing moves | 60 |
#' | `mxcrypt.connect_timeout` | seconds that it may take to connect | 10 |
#' | `mxcrypt.max_tries` | how often a request is tried where another try can help | 5 |
#' | `mxcrypt.pause` | seconds before the second try; each later pause is twice as long | 0.5 |
#' | `mxcrypt.ca_file` | a file of certificate authorities: see [mxcrypt_network] | those of the system |
#' | `mxcrypt.proxy` | the address of a proxy, `""` for none: see [mxcrypt_network] | that of the environment |
#' | `mxcrypt.max_waiting` | bytes of files that may wait beside the store to be sent | 4e9 |
#' | `mxcrypt.keyring` | whether secrets are looked for in the system keyring | in interactive sessions |
#' | `mxcrypt.password`, `mxcrypt.recovery_key`, `mxcrypt.access_token`, `mxcrypt.store_key`, `mxcrypt.webhook_secret` | a secret, or a function that returns it: see [mxcrypt_secrets] | none |
#'
#' @section Errors:
#' An option with an invalid value is an error of class `mx_error_argument` in the first
#' call that needs it, one of a secret an `mx_error_secret`.
#' @name mxcrypt_options
#' @seealso [mxcrypt_network] and [mxcrypt_secrets] for environment variables.
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' # A script that would rather fail soon.
#' old <- options(mxcrypt.timeout = 10, mxcrypt.max_tries = 2)
#' mx_rooms(alice)
#' options(old)
NULL
# nolint end

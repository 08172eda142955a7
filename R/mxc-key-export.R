#' Encrypt and decrypt key export files
#'
#' Encrypts and decrypts the content of the file that Matrix clients export keys
#' to. [mx_keys_export()] and [mx_keys_import()] do so for a client.
#'
#' @param sessions What to encrypt, one string: a JSON array of
#'   `ExportedSessionData`.
#' @param passphrase The passphrase, one string; its UTF-8 counts.
#' @param rounds How often the passphrase is iterated, from 1 to 10 million. The
#'   specification asks for at least 100,000.
#' @param file The content of a file, one string.
#' @return `mxc_key_export_encrypt()`: the content of a file, one string.
#'   `mxc_key_export_decrypt()`: what was encrypted, one string. It holds session
#'   keys.
#' @section Errors:
#' Of class `mxc_error`: `mxc_error_key_export` (not such a file, cut off,
#' altered, of another passphrase, or of more rounds than can be meant),
#' `mxc_error_argument`.
#' @references Client-server API, "Key exports":
#'   <https://spec.matrix.org/v1.19/client-server-api/#key-exports>
#' @family cryptographic primitives
#' @examples
#' file <- mxc_key_export_encrypt("[]", "correct horse", rounds = 1000)
#' cat(file)
#' mxc_key_export_decrypt(file, "correct horse")
#' @export
mxc_key_export_encrypt <- function(sessions, passphrase, rounds = 500000) {
  primitive(key_export_encrypt(sessions, passphrase, rounds))
}

#' @rdname mxc_key_export_encrypt
#' @export
mxc_key_export_decrypt <- function(file, passphrase) {
  primitive(key_export_decrypt(file, passphrase))
}

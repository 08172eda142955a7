#' Encrypt and decrypt files
#'
#' Files of encrypted rooms are encrypted by themselves, each under a key of its own;
#' the key travels in an event. [mx_send_file()] and [mx_media_download()] do all of
#' it for a client.
#'
#' @param plaintext One or more strings, a raw vector, or a list of raw vectors.
#' @param ciphertext A raw vector, or a list of raw vectors.
#' @param file What opens each: JSON text as `mxc_attachment_encrypt()` gives it, or
#'   the `EncryptedFile` of an event, as text or as a list.
#' @return
#' * `mxc_attachment_encrypt()`: a list of `ciphertext`, a list of raw vectors, and
#'   `file`, an `EncryptedFile` as JSON text for each, without its `url`. It holds the
#'   key.
#' * `mxc_attachment_decrypt()`: of one ciphertext, a raw vector. Of several, a data
#'   frame with a row for each: `plaintext` (a list of raw vectors) and `error`, the
#'   reason why a row could not be read.
#' @section Security:
#' Nothing is decrypted before the hash in `file` holds for the ciphertext.
#' @section Errors:
#' Of class `mxc_error`: `mxc_error_attachment` (one file is refused),
#' `mxc_error_argument`.
#' @references Client-server API, "Sending encrypted attachments":
#'   <https://spec.matrix.org/v1.19/client-server-api/#sending-encrypted-attachments>
#' @family cryptographic primitives
#' @examples
#' sealed <- mxc_attachment_encrypt(c("speed,dist", "4,2"))
#' sealed[["file"]][[1]]
#' plain <- mxc_attachment_decrypt(sealed[["ciphertext"]], sealed[["file"]])
#' rawToChar(plain[["plaintext"]][[1]])
#' @export
mxc_attachment_encrypt <- function(plaintext) {
  primitive(attachment_encrypt(plaintext))
}

#' @rdname mxc_attachment_encrypt
#' @export
mxc_attachment_decrypt <- function(ciphertext, file) {
  if (is.list(file)) {
    several <- is.null(names(file))
    file <- if (several) lapply(file, file_text) else list(file_text(file))
    file <- as.character(unlist(file))
  }
  opened <- primitive(attachment_decrypt(ciphertext, file))
  if (!is.raw(ciphertext)) {
    rows <- data.frame(error = opened[["error"]])
    rows[["plaintext"]] <- opened[["plaintext"]]
    return(rows[c("plaintext", "error")])
  }
  if (!is.na(opened[["error"]])) {
    mx_abort(opened[["error"]], c("mxc_error_attachment", "mxc_error"))
  }
  opened[["plaintext"]][[1]]
}

# An `EncryptedFile` as JSON text.
file_text <- function(file) {
  if (is_string(file)) file else unclass(mxc_json(file))
}

#' Megolm sessions
#'
#' A Megolm session encrypts the messages of a room. The outbound side encrypts. Anybody
#' with its session key of some index can decrypt from that index on.
#'
#' @inheritParams mxc_account
#' @param gs An outbound session.
#' @param igs An inbound session.
#' @param plaintext One or more strings, a raw vector, or a list of raw vectors.
#'   Each takes the next index.
#' @param session_key The key of a session, as `mxc_megolm_session_key()` gives
#'   it, one string.
#' @param ciphertext_b64 One or more ciphertexts, base64, padded or not.
#' @param blob A pickled session, one string.
#' @return
#' * `mxc_megolm_outbound_new()`, `mxc_megolm_outbound_unpickle()`: an object of
#'   class `mxc_megolm_outbound`. `mxc_megolm_inbound_new()`,
#'   `mxc_megolm_inbound_unpickle()`: one of class `mxc_megolm_inbound`.
#' * `mxc_megolm_session_id()`, `mxc_megolm_session_key()`: one string;
#'   `mxc_megolm_message_index()`: the next index. Reading the key signs it;
#'   reading the id does not.
#' * `mxc_megolm_outbound_info()`: a list of `session_id`, `session_key` (at the
#'   current index: a secret) and `message_index`.
#' * `mxc_megolm_inbound_info()`: a list of `session_id` and
#'   `first_known_index`.
#' * `mxc_megolm_encrypt()`: a ciphertext, base64 without padding, for each
#'   plaintext.
#' * `mxc_megolm_decrypt()`: of one ciphertext, a list of `plaintext` (raw) and
#'   `message_index` (integer). Of several, a data frame with a row for each:
#'   `plaintext` (a list of raw vectors), `message_index` and `error`, the
#'   reason why a row could not be read.
#' * `mxc_megolm_outbound_pickle()`, `mxc_megolm_inbound_pickle()`: one string.
#' @section Security:
#' One index must stand for one message: remember which event an index came
#' with, and refuse it in any other. [mx_sync()] does that. A session that was
#' unpickled twice, or is used after a fork, encrypts two messages with one key.
#' @section Errors:
#' Of class `mxc_error`: `mxc_error_megolm` (one message is refused),
#' `mxc_error_handle`, `mxc_error_argument`, `mxc_error_pickle`.
#' @references Client-server API, "`m.megolm.v1.aes-sha2`":
#'   <https://spec.matrix.org/v1.19/client-server-api/#mmegolmv1aes-sha2>
#' @family cryptographic primitives
#' @examples
#' sender <- mxc_megolm_outbound_new()
#' receiver <- mxc_megolm_inbound_new(mxc_megolm_session_key(sender))
#'
#' ciphertexts <- mxc_megolm_encrypt(sender, c("first", "second"))
#' first <- mxc_megolm_decrypt(receiver, ciphertexts[[1]])
#' rawToChar(first[["plaintext"]])
#' mxc_megolm_decrypt(receiver, c(ciphertexts, "nonsense"))
#' @name mxc_megolm
NULL

#' @rdname mxc_megolm
#' @export
mxc_megolm_outbound_new <- function() {
  new_handle(primitive(megolm_outbound_new()), "mxc_megolm_outbound")
}

#' @rdname mxc_megolm
#' @export
mxc_megolm_outbound_info <- function(gs) {
  list(
    session_id = mxc_megolm_session_id(gs),
    session_key = mxc_megolm_session_key(gs),
    message_index = mxc_megolm_message_index(gs)
  )
}

#' @rdname mxc_megolm
#' @export
mxc_megolm_session_id <- function(gs) {
  primitive(megolm_outbound_session_id(pointer(gs, "mxc_megolm_outbound")))
}

#' @rdname mxc_megolm
#' @export
mxc_megolm_session_key <- function(gs) {
  primitive(megolm_outbound_session_key(pointer(gs, "mxc_megolm_outbound")))
}

#' @rdname mxc_megolm
#' @export
mxc_megolm_message_index <- function(gs) {
  index <- megolm_outbound_message_index(pointer(gs, "mxc_megolm_outbound"))
  as.integer(primitive(index))
}

#' @rdname mxc_megolm
#' @export
mxc_megolm_encrypt <- function(gs, plaintext) {
  primitive(megolm_encrypt(pointer(gs, "mxc_megolm_outbound"), plaintext))
}

#' @rdname mxc_megolm
#' @export
mxc_megolm_outbound_pickle <- function(gs, key) {
  primitive(megolm_outbound_pickle(pointer(gs, "mxc_megolm_outbound"), key))
}

#' @rdname mxc_megolm
#' @export
mxc_megolm_outbound_unpickle <- function(blob, key) {
  session <- primitive(megolm_outbound_unpickle(blob, key))
  new_handle(session, "mxc_megolm_outbound")
}

#' @rdname mxc_megolm
#' @export
mxc_megolm_inbound_new <- function(session_key) {
  new_handle(primitive(megolm_inbound_new(session_key)), "mxc_megolm_inbound")
}

#' @rdname mxc_megolm
#' @export
mxc_megolm_inbound_info <- function(igs) {
  info <- primitive(megolm_inbound_info(pointer(igs, "mxc_megolm_inbound")))
  info[["first_known_index"]] <- as.integer(info[["first_known_index"]])
  info
}

#' @rdname mxc_megolm
#' @export
mxc_megolm_decrypt <- function(igs, ciphertext_b64) {
  igs <- pointer(igs, "mxc_megolm_inbound")
  read <- primitive(megolm_decrypt(igs, ciphertext_b64))
  read[["message_index"]] <- as.integer(read[["message_index"]])
  if (length(read[["error"]]) != 1L) {
    rows <- data.frame(
      message_index = read[["message_index"]],
      error = read[["error"]]
    )
    rows[["plaintext"]] <- read[["plaintext"]]
    return(rows[c("plaintext", "message_index", "error")])
  }
  if (!is.na(read[["error"]])) {
    mx_abort(read[["error"]], c("mxc_error_megolm", "mxc_error"))
  }
  list(
    plaintext = read[["plaintext"]][[1]],
    message_index = read[["message_index"]]
  )
}

#' @rdname mxc_megolm
#' @export
mxc_megolm_inbound_pickle <- function(igs, key) {
  primitive(megolm_inbound_pickle(pointer(igs, "mxc_megolm_inbound"), key))
}

#' @rdname mxc_megolm
#' @export
mxc_megolm_inbound_unpickle <- function(blob, key) {
  session <- primitive(megolm_inbound_unpickle(blob, key))
  new_handle(session, "mxc_megolm_inbound")
}

#' @export
describe.mxc_megolm_outbound <- function(x) {
  c(
    paste("session id:", mxc_megolm_session_id(x)),
    paste("next index:", mxc_megolm_message_index(x))
  )
}

#' @export
describe.mxc_megolm_inbound <- function(x) {
  info <- mxc_megolm_inbound_info(x)
  c(
    paste("session id:", info[["session_id"]]),
    paste("first known index:", info[["first_known_index"]])
  )
}

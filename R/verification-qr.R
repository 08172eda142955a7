#' Verify with a QR code
#'
#' One device shows a QR code, and the other scans it, with a camera or from an image. The
#' code holds the keys of the device that shows it, and the keys that it knows of the other
#' side. The device that scans compares both with what it knows. Then the side that shows
#' the code confirms that it was the other that scanned it. The verification must have been
#' accepted before: see [mx_verification_request()].
#'
#' `mx_verification_qr()` returns the code to show, if the `methods` of the verification
#' have `"m.qr_code.show.v1"`. It may be shown again, also by another process, until a method
#' has begun. `mx_verification_wait()` then waits until the other side reports that it
#' scanned it (the state is `scanned`), and `mx_verification_confirm()` confirms that: ask
#' the person, not the server. Anybody who sees the code could scan it: show it to nobody
#' else.
#'
#' `mx_verification_scan()` reads the code of the other side, if `methods` have
#' `"m.qr_code.scan.v1"`. If the code is right, the state is `confirmed`, and `done` when the
#' other side has confirmed it, too. A code with other keys, or of another verification,
#' ends the verification.
#'
#' Only what the code proves is verified: the identity of another user; of your own devices
#' the one that did not know your identity yet, and your identity to that device.
#'
#' @param verification A verification in the state `ready`.
#' @param code What the other device shows: an image, as [mxc_qr_scan()] takes it (a
#'   PNG or JPEG file, or what `png::readPNG()` gives), or a raw vector of what the code
#'   holds.
#' @return `mx_verification_qr()`: a [symbol][mxc_qr_symbol()], which can be printed in a
#'   terminal, plotted, or written to a file by [mxc_qr_png()]. `mx_verification_scan()`:
#'   the verification, as it is then, invisibly.
#' @section Errors:
#' `mx_error_verification`: a step that is not possible now, or a code that does not fit; then
#' its `code` is `m.key_mismatch`, `m.user_mismatch` or `m.unknown_transaction`, and the
#' verification has ended. `mxc_error_qr_code`: there is no code in the image;
#' `mx_error_qr_code`: it is none of a verification. Both may be tried again.
#' @references Client-server API, "QR codes":
#'   <https://spec.matrix.org/v1.19/client-server-api/#qr-codes>
#' @family trust and verification
#' @examplesIf requireNamespace("png", quietly = TRUE)
#' homeserver <- mx_demo_homeserver()
#' phone <- mx_demo_client(homeserver, "alice")
#' laptop <- mx_demo_client(homeserver, "alice", verified = FALSE)
#' asked <- mx_verification_request(laptop, laptop$user_id)
#' mx_sync(phone)
#' received <- mx_verification_accept(mx_verifications(phone)[[1]])
#' asked <- mx_verification_wait(asked)
#'
#' # The phone shows it, and the laptop has a photograph.
#' symbol <- mx_verification_qr(received)
#' photograph <- mxc_qr_png(symbol, tempfile(fileext = ".png"))
#' mx_verification_scan(asked, photograph)
#' received <- mx_verification_wait(received)
#' received$state
#' mx_verification_confirm(received, same = TRUE)
#' mx_verification_wait(asked)$state
#' unlink(photograph)
#' @export
mx_verification_qr <- function(verification) {
  client <- client_of(verification)
  machine <- machine_of(client)
  mxc_qr_symbol(core(machine_show_code(machine, verification[["number"]])))
}

#' @rdname mx_verification_qr
#' @export
mx_verification_scan <- function(verification, code) {
  check_verification(verification)
  bytes <- if (is.raw(code)) code else code_in(mxc_qr_scan(code))
  invisible(verification_step(verification, machine_scan_code, bytes))
}

# Of several codes in an image, that of a verification.
code_in <- function(found) {
  is_one <- function(bytes) {
    identical(utils::head(bytes, 6L), charToRaw("MATRIX"))
  }
  c(Filter(is_one, found), found)[[1]]
}

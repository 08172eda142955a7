#' @useDynLib mxcrypt, .registration = TRUE
#' @keywords internal
"_PACKAGE"

#' Write JSON and canonical JSON for Matrix
#'
#' `mxc_json()` writes an R value as JSON text, by the table below.
#' `mxc_canonical_json()` brings JSON text into its canonical form, over which
#' signatures are made. What comes from a server is checked over its own text
#' and should never pass through R values on the way to a signature.
#'
#' | R | JSON |
#' |---|---|
#' | `NULL`, and `NA` of any type | `null` |
#' | a logical, number or string of length one | a scalar |
#' | a vector of another length, or any vector in [I()] | an array |
#' | a whole number up to 2^53 | an integer |
#' | another finite number | a float (canonical JSON has none) |
#' | a factor | its labels |
#' | `list()`, and other lists without names | an array |
#' | a list with names; `structure(list(), names = character())` | an object |
#' | text of class `json` | itself |
#'
#' Names of an atomic vector are dropped. `NaN`, infinite numbers, whole numbers
#' beyond 2^53, raw vectors, and values of other classes (dates, data frames)
#' are refused: say as what they should be written.
#'
#' @param x An R value.
#' @param json JSON text, one string.
#' @return One string, in UTF-8; `mxc_json()` gives it class `json`.
#' @section Errors:
#' Of class `mxc_error_json`, with what cannot be written or read. Two members
#' of one name, and integers beyond 2^53 - 1, are refused on reading.
#' @references Appendices, "Canonical JSON":
#'   <https://spec.matrix.org/v1.19/appendices/#canonical-json>
#' @family cryptographic primitives
#' @examples
#' mxc_json(list(body = "hello", ids = I("one"), empty = list()))
#' mxc_canonical_json('{"b": 2, "a": "\\u65E5"}')
#' @export
mxc_json <- function(x) {
  structure(primitive(json_encode(x)), class = "json")
}

#' @rdname mxc_json
#' @export
mxc_canonical_json <- function(json) {
  primitive(canonical_json(json))
}

# JSON text of what a caller gave as text or as an R value.
as_json_text <- function(x) {
  if (is_string(x)) unclass(x) else unclass(mxc_json(x))
}

# An empty list read from `{}` is an object.
as_object <- function(x) {
  if (length(x) == 0L) structure(list(), names = character()) else x
}

# Everything in which a secret could show: what R prints, deparses and saves.

expect_nowhere <- function(secret, x) {
  label <- class(x)[[1]]
  shown <- c(
    utils::capture.output(print(x)),
    utils::capture.output(str(x)),
    deparse(x),
    unlist(lapply(class(x), function(class) {
      method <- utils::getS3method("format", class, optional = TRUE)
      if (!is.null(method)) format(x)
    })),
    if (inherits(x, "condition")) {
      c(conditionMessage(x), deparse(conditionCall(x)), as.character(x))
    },
    if (is.list(x) && !is.null(x[["trace"]])) format(x[["trace"]])
  )
  expect_false(any(grepl(secret, shown, fixed = TRUE)), label = label)
  bytes <- serialize(x, NULL, ascii = FALSE)
  found <- grepRaw(charToRaw(secret), bytes, fixed = TRUE)
  expect_length(found, 0)
}

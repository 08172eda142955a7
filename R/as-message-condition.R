# How errors, warnings and messages of R become messages: without the arguments of
# calls, which may hold secrets.

#' @export
mx_as_message.condition <- function(x, ...) {
  lines <- condition_lines(x)
  trace <- trace_lines(x)
  shown <- text_html(lines)
  # The first line says what failed.
  shown[[1]] <- paste0("<strong>", shown[[1]], "</strong>")
  html <- paste0(
    "<p>",
    paste(shown, collapse = "<br>"),
    "</p>",
    if (length(trace) > 0L) code_block(trace)
  )
  text <- paste(c(lines, if (length(trace) > 0L) c("", trace)), collapse = "\n")
  text_or_file(text, html)
}

# What try() returns. Its text has the call with all arguments.
#' @export
`mx_as_message.try-error` <- function(x, ...) {
  condition <- attr(x, "condition")
  if (is.null(condition)) {
    refuse_object(x, "the result of try() without its error", "Use tryCatch().")
  }
  mx_as_message(condition)
}

# What happened, and why, down to the first cause.
condition_lines <- function(x) {
  parent <- if (is.list(x)) unclass(x)[["parent"]]
  text <- condition_text(x)
  c(
    condition_heading(x),
    if (nzchar(text)) text,
    if (inherits(parent, "condition")) {
      lines <- condition_lines(parent)
      c(paste("Caused by:", lines[[1]]), lines[-1])
    }
  )
}

condition_heading <- function(x) {
  kinds <- c(error = "Error", warning = "Warning", message = "Message")
  kind <- kinds[names(kinds) %in% class(x)]
  kind <- if (length(kind) > 0L) kind[[1]] else "Condition"
  name <- call_name(conditionCall(x))
  class <- class(x)[[1]]
  paste0(
    kind,
    if (!is.null(name)) paste0(" in ", name, "()"),
    if (!grepl("^(simple|rlang_)", class)) paste0(" (", class, ")")
  )
}

# Of this condition alone: rlang adds its causes, with their calls.
condition_text <- function(x) {
  is_of_rlang <- inherits(x, c("rlang_error", "rlang_warning", "rlang_message"))
  text <- if (is_of_rlang) {
    rlang::cnd_message(x, inherit = FALSE)
  } else {
    conditionMessage(x)
  }
  text <- checked_text(as.character(text), "x", NULL)
  cli::ansi_strip(sub("\n$", "", paste(text, collapse = "\n")))
}

most_trace_lines <- 40L

# The backtrace, without arguments.
trace_lines <- function(x) {
  trace <- if (is.list(x)) unclass(x)[["trace"]]
  if (!inherits(trace, "rlang_trace")) {
    return(character())
  }
  trace[["call"]] <- lapply(trace[["call"]], function(call) {
    name <- call_name(call)
    if (is.null(name)) quote(`<function>`()) else as.call(list(as.name(name)))
  })
  lines <- format(trace, simplify = "branch")
  lines <- cli::ansi_strip(enc2utf8(lines))
  cut <- length(lines) - most_trace_lines
  if (cut > 0L) {
    lines <- c(
      paste("\u2026", plural(cut, "line"), "before"),
      utils::tail(lines, most_trace_lines)
    )
  }
  lines
}

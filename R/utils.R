# Small things that belong to no topic.

`%||%` <- function(x, y) if (is.null(x)) y else x

string_or_na <- function(x) {
  if (is_string(x)) x else NA_character_
}

string_or_empty <- function(x) {
  if (is_string(x)) x else ""
}

# A number with the words that fit it.
plural <- function(n, one, more = paste0(one, "s"), ...) {
  paste(
    format(n, big.mark = ",", scientific = FALSE),
    if (n == 1) one else more,
    ...
  )
}

format_count <- function(n) {
  format(n, big.mark = ",", scientific = FALSE)
}

size_text <- function(bytes) {
  if (bytes < 1e6) {
    return(plural(bytes, "byte"))
  }
  paste(
    format(bytes / 1e6, digits = 3, big.mark = ",", scientific = FALSE),
    "MB"
  )
}

# Text of a server without what could steer a terminal: control characters, what begins a
# line, and what turns the direction of the text that follows, such as that of a line of
# another sender. Text from right to left needs none of them.
printable <- function(text) {
  text <- gsub("[[:cntrl:]\u0080-\u009f\u2028\u2029]", " ", text)
  gsub("[\u202a-\u202e\u2066-\u2069]", "", text)
}

# Text without the characters that change the direction of writing: what stands beside them
# would be shown in another order.
without_direction <- function(text) {
  gsub("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", "", text)
}

# Lower case of text of a stranger. R's functions of case fail at the two characters that
# Unicode has given to nobody, which JSON may contain.
lower_case <- function(text) {
  tolower(gsub("[\\x{fffe}\\x{ffff}]", "\ufffd", text, perl = TRUE))
}

# Text of a server as long as a person reads.
shortened <- function(text, most = 1000L, end = "...") {
  is_long <- !is.na(text) & nchar(text) > most
  text[is_long] <- paste0(substr(text[is_long], 1L, most), end)
  text
}

last_of <- function(x, most) x[seq_along(x) > length(x) - most]

bind_columns <- function(pages) {
  names <- names(pages[[1]])
  bound <- lapply(names, function(name) {
    do.call(c, lapply(unname(pages), function(page) page[[name]]))
  })
  names(bound) <- names
  bound
}

env_value <- function(name) {
  value <- Sys.getenv(name)
  if (nzchar(value)) value else NULL
}

confirm <- function(text) {
  message(rlang::format_error_bullets(text))
  answer <- readline("Type yes to go on: ")
  tolower(trimws(answer)) == "yes"
}

# HTML for the `formatted_body` of messages.

escape_html <- function(text) {
  text <- gsub("&", "&amp;", text, fixed = TRUE)
  text <- gsub("<", "&lt;", text, fixed = TRUE)
  text <- gsub(">", "&gt;", text, fixed = TRUE)
  gsub("\"", "&quot;", text, fixed = TRUE)
}

markdown_html <- function(text) {
  html <- commonmark::markdown_html(text, hardbreaks = TRUE, extensions = TRUE)
  html <- sub("\n$", "", html)
  # A single paragraph needs no frame.
  paragraphs <- gregexpr("<p>", html, fixed = TRUE)[[1]]
  if (length(paragraphs) == 1L && grepl("^<p>.*</p>$", html)) {
    html <- substr(html, 4L, nchar(html) - 4L)
  }
  html
}

# User ids that are mentioned become links, which clients show as pills. All are
# looked for at once, the longest first: `@bob:demo` begins `@bob:demo.org` too.
add_pills <- function(html, mentions) {
  if (length(mentions) == 0L) {
    return(html)
  }
  shown <- escape_html(unique(mentions))
  links <- sprintf(
    "<a href=\"https://matrix.to/#/%s\">%s</a>",
    vapply(unique(mentions), encode_segment, ""),
    shown
  )
  longest <- shown[order(-nchar(shown))]
  literal <- gsub("([^[:alnum:]])", "\\\\\\1", longest)
  found <- gregexpr(paste(literal, collapse = "|"), html, perl = TRUE)
  ids <- regmatches(html, found)[[1]]
  regmatches(html, found) <- list(links[match(ids, shown)])
  html
}

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

# User ids that are mentioned become links, which clients show as pills.
add_pills <- function(html, mentions) {
  for (user_id in mentions) {
    shown <- escape_html(user_id)
    href <- paste0("https://matrix.to/#/", encode_segment(user_id))
    link <- paste0("<a href=\"", href, "\">", shown, "</a>")
    html <- gsub(shown, link, html, fixed = TRUE)
  }
  html
}

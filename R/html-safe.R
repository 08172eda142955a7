# HTML of others, made safe: it is parsed, and only what is allowed is written again,
# by this file, with all text escaped. Nothing of the input is copied as markup.
#
# Specification: client-server API, "m.room.message msgtypes".

#' Make the HTML of messages safe
#'
#' Returns messages as HTML that can be shown in a Shiny app, a report or a web page.
#' What others send in `formatted_body` may hold scripts and forged layout. `mx_html()`
#' keeps only the tags and attributes that the specification lists, and escapes the
#' rest.
#'
#' What becomes of the HTML:
#' * Tags that are not listed are replaced by what is in them. Scripts, styles, SVG,
#'   MathML and the like are dropped, and so are quotes in `mx-reply`.
#' * Links keep their address if its scheme is `https`, `http`, `ftp`, `mailto` or
#'   `magnet`. They open in a new tab, with `rel="noopener noreferrer"`.
#' * A picture becomes its `alt` text or its title. Browsers cannot load `mxc://`
#'   addresses: see [mx_media_download()].
#' * `data-mx-color` and `data-mx-bg-color` become a `style`. `data-mx-spoiler` and
#'   `data-mx-maths` are kept for your own style sheet or script.
#' * Rows and cells outside of a table, and items outside of a list, are replaced by
#'   what is in them. They would end the table or list in which you show the message.
#' * Tags that are nested more than 100 deep are dropped. HTML that cannot be parsed is
#'   shown as text.
#'
#' Show a message inside an element such as `div`, `td` or `li`, and never inside a tag:
#' the result is no safe attribute, script or style.
#'
#' @param events Events as from [mx_messages()] or [mx_sync()], one event that a handler
#'   of [mx_listen()] got, or a character vector of HTML.
#' @return A character vector of HTML, one element per event or text, of class `html` as
#'   from `htmltools::HTML()`, so that Shiny does not escape it. `NA` for events without
#'   a text, such as those that could not be read. For messages without a
#'   `formatted_body`, the escaped `body`, with `<br>` for line breaks.
#' @section Errors:
#' `mx_error_package` if the package xml2 is not installed.
#' @references Client-server API, "m.room.message msgtypes":
#'   <https://spec.matrix.org/v1.19/client-server-api/#mroommessage-msgtypes>
#' @family receiving
#' @examplesIf requireNamespace("xml2", quietly = TRUE)
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#' mx_send_text(alice, room, c("**done**, see <log>", "1 < 2"), markdown = TRUE)
#' events <- mx_messages(alice, room, types = "m.room.message")
#' as.character(mx_html(events))
#'
#' as.character(mx_html("<b onclick='steal()'>bold</b><script>steal()</script>"))
#' @export
mx_html <- function(events) {
  if (is.character(events)) {
    events <- list(body = events, formatted_body = events)
  }
  html <- check_html_column(events, "formatted_body")
  text <- check_html_column(events, "body")
  check_package("xml2")
  safe <- rep(NA_character_, length(html))
  safe[!is.na(html)] <- vapply(html[!is.na(html)], safe_html, "")
  is_plain <- is.na(safe)
  safe[is_plain] <- text_html(text[is_plain])
  structure(safe, html = TRUE, class = c("html", "character"))
}

check_html_column <- function(events, name, call = caller_env()) {
  column <- if (is.list(events)) events[[name]]
  if (!is.character(column)) {
    wanted <- "events as from mx_messages(), or a character vector of HTML"
    argument_abort("events", wanted, call)
  }
  checked_text(column, "events", call)
}

# Text as HTML. `NA` stays.
text_html <- function(text) {
  html <- gsub("\r?\n", "<br>", escape_html(text))
  html[is.na(text)] <- NA
  html
}

# The safe HTML of one text, or NA if it cannot be parsed.
safe_html <- function(html) {
  document <- parse_html(html)
  if (is.null(document)) NA_character_ else write_html(html_nodes(document))
}

# The document, or NULL if it cannot be parsed. libxml2 refuses what is nested more than
# 256 deep, which bounds its time. The options keep it from the network, and never lift
# that bound.
parse_html <- function(html) {
  html <- tidy_markup(html)
  if (is_overfull(html)) {
    return(NULL)
  }
  options <- c("RECOVER", "NOERROR", "NOWARNING", "NONET")
  # As bytes: text without a tag would be taken for the path of a file.
  bytes <- charToRaw(paste0("<html><body>", html))
  tryCatch(
    xml2::read_html(bytes, encoding = "UTF-8", options = options),
    error = function(condition) NULL
  )
}

# Takes away what costs libxml2 much time and is not shown: each error that it reports
# goes through R, and comments make its search quadratic.
tidy_markup <- function(html) {
  html <- gsub("(?s)<!--.*?(-->|$)", "", html, perl = TRUE)
  html <- gsub("<[!?][^>]*(>|$)", "", html, perl = TRUE)
  reference <- paste(
    c(
      "[A-Za-z][A-Za-z0-9]{0,31}",
      "#0*[1-9][0-9]{1,6}",
      "#[xX][0-9A-Fa-f]{2,6}"
    ),
    collapse = "|"
  )
  gsub(paste0("&(?!(", reference, ");)"), "&amp;", html, perl = TRUE)
}

# Repeated attributes are such errors, too. Their names and what else stands in tags
# outside of quotes are short in HTML that people send.
is_overfull <- function(html) {
  tags <- regmatches(html, gregexpr("<[A-Za-z/][^<>]*", html))[[1]]
  unquoted <- gsub("^</?[A-Za-z0-9]+|\"[^\"]*\"|'[^']*'", "", tags)
  sum(nchar(unquoted)) > 20000L
}

# All nodes in the order of the document: the name of each (of text, none), its number
# of children, and what is written for it if it may stand where it is.
html_nodes <- function(document) {
  nodes <- xml2::xml_find_all(document, "/html//node()")
  type <- xml2::xml_type(nodes)
  is_element <- type == "element"
  is_text <- type == "text"
  name <- ifelse(is_element, xml2::xml_name(nodes), "")
  children <- integer(length(nodes))
  if (any(is_element)) {
    children[is_element] <- xml2::xml_length(nodes[is_element], FALSE)
  }
  written <- rep("", length(nodes))
  written[is_text] <- escape_html(xml2::xml_text(nodes[is_text]))
  for (tag in intersect(allowed_tags, name)) {
    is_tag <- name == tag
    written[is_tag] <- opening_tags(tag, nodes[is_tag])
  }
  list(name = name, children = children, written = written)
}

allowed_tags <- c(
  c(
    "del",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "blockquote",
    "p",
    "a",
    "ul",
    "ol"
  ),
  c(
    "sup",
    "sub",
    "li",
    "b",
    "i",
    "u",
    "strong",
    "em",
    "s",
    "code",
    "hr",
    "br",
    "div"
  ),
  c(
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "caption",
    "pre",
    "span",
    "img"
  ),
  c("details", "summary")
)

# They have no content, and no closing tag. A picture is written as its text.
void_tags <- c("hr", "br", "img")

# What is in them is no text to read, or is read by rules of its own.
dropped_tags <- c(
  c(
    "mx-reply",
    "script",
    "style",
    "title",
    "template",
    "svg",
    "math",
    "iframe"
  ),
  c("object", "embed", "applet", "noscript", "noembed", "noframes", "textarea"),
  c("select", "audio", "video", "canvas")
)

# Browsers end a table, a row, a cell or an item where a part of one stands in a wrong
# place, also one that surrounds the message.
table_and_list_parts <- list(
  table = c("caption", "thead", "tbody", "tr"),
  thead = "tr",
  tbody = "tr",
  tr = c("th", "td"),
  ul = "li",
  ol = "li"
)
all_parts <- unlist(table_and_list_parts)

may_stand_in <- function(name, parent) {
  parts <- if (nzchar(parent)) table_and_list_parts[[parent]]
  if (is.null(parts) || !nzchar(name)) {
    !name %in% all_parts
  } else {
    name %in% parts
  }
}

# The opening tag of each node, with what is allowed of its attributes.
opening_tags <- function(tag, nodes) {
  value <- function(name) xml2::xml_attr(nodes, name)
  switch(
    tag,
    a = link_tags(value("href")),
    img = picture_texts(value("alt"), value("title")),
    ol = paste0(
      "<ol",
      attributes_of(start = whole_number(value("start"))),
      ">"
    ),
    code = paste0(
      "<code",
      attributes_of(class = language(value("class"))),
      ">"
    ),
    div = paste0(
      "<div",
      attributes_of("data-mx-maths" = value("data-mx-maths")),
      ">"
    ),
    span = span_tags(value),
    rep(paste0("<", tag, ">"), length(nodes))
  )
}

# Attributes as text, those that are NA left out.
attributes_of <- function(...) {
  values <- list(...)
  texts <- Map(
    function(name, value) {
      text <- paste0(" ", name, "=\"", escape_html(value), "\"")
      ifelse(is.na(value), "", text)
    },
    names(values),
    values
  )
  do.call(paste0, unname(texts))
}

# A link that leads nowhere allowed is none. Browsers ignore control characters in an
# address, and take `https:path` as relative.
link_tags <- function(href) {
  href <- trimws(href)
  schemes <- "^((https?|ftp)://|mailto:|magnet:)[^[:cntrl:]]+$"
  is_allowed <- grepl(schemes, href, ignore.case = TRUE)
  new_tab <- " target=\"_blank\" rel=\"noopener noreferrer\""
  ifelse(is_allowed, paste0("<a", attributes_of(href = href), new_tab, ">"), "")
}

picture_texts <- function(alt, title) {
  text <- ifelse(is.na(alt) | !nzchar(alt), title, alt)
  ifelse(is.na(text), "", escape_html(text))
}

whole_number <- function(text) {
  ifelse(grepl("^-?[0-9]{1,9}$", text), text, NA)
}

# The first class that names a language.
language <- function(class) {
  pattern <- "^(.*\\s)?(language-\\S+)(\\s.*)?$"
  ifelse(grepl(pattern, class), sub(pattern, "\\2", class), NA)
}

span_tags <- function(value) {
  colour <- function(property, attribute) {
    colour <- value(attribute)
    is_colour <- grepl("^#[0-9A-Fa-f]{6}$", colour)
    ifelse(is_colour, paste0(property, ":", colour, ";"), "")
  }
  style <- paste0(
    colour("color", "data-mx-color"),
    colour("background-color", "data-mx-bg-color")
  )
  style[!nzchar(style)] <- NA
  kept <- attributes_of(
    style = style,
    "data-mx-spoiler" = value("data-mx-spoiler"),
    "data-mx-maths" = value("data-mx-maths")
  )
  paste0("<span", kept, ">")
}

# Writes the tree that `nodes` describe. It is not walked by recursion: R's stack is
# shorter than what others can nest.
write_html <- function(nodes) {
  parent <- parents_of(nodes[["children"]])
  is_shown <- shown_nodes(nodes[["name"]], nzchar(nodes[["written"]]), parent)
  opening <- ifelse(is_shown, nodes[["written"]], "")
  is_closed <- is_shown & !nodes[["name"]] %in% c("", void_tags)
  closing <- ifelse(is_closed, paste0("</", nodes[["name"]], ">"), "")
  # Closing tags stand behind the last node inside of their element, the innermost first.
  last <- last_inside(parent)
  closings <- character(length(last))
  for (i in rev(which(is_closed))) {
    closings[[last[[i]]]] <- paste0(closings[[last[[i]]]], closing[[i]])
  }
  paste0(opening, closings, collapse = "")
}

# The parent of each node, by the number of children of each; 0 for none.
parents_of <- function(children) {
  parent <- integer(length(children))
  current <- 0L
  for (i in seq_along(children)) {
    parent[[i]] <- current
    if (children[[i]] > 0L) {
      current <- i
    }
    while (current > 0L && children[[current]] == 0L) {
      current <- parent[[current]]
    }
    if (current > 0L) {
      children[[current]] <- children[[current]] - 1L
    }
  }
  parent
}

# The last node inside of each; itself where there is none.
last_inside <- function(parent) {
  last <- seq_along(parent)
  for (i in rev(last)) {
    if (parent[[i]] > 0L) {
      last[[parent[[i]]]] <- max(last[[parent[[i]]]], last[[i]])
    }
  }
  last
}

# Whether each node is written, which depends on what is written around it.
shown_nodes <- function(name, is_allowed, parent) {
  is_shown <- logical(length(name))
  is_hiding <- name %in% dropped_tags
  # The tag that the children of each node stand in, and how deep.
  inside <- character(length(name))
  depth <- integer(length(name))
  for (i in seq_along(name)) {
    above <- parent[[i]]
    if (above > 0L) {
      inside[[i]] <- inside[[above]]
      depth[[i]] <- depth[[above]]
      is_hiding[[i]] <- is_hiding[[i]] || is_hiding[[above]]
    }
    is_shown[[i]] <- is_allowed[[i]] &&
      !is_hiding[[i]] &&
      may_stand_in(name[[i]], inside[[i]])
    if (is_shown[[i]] && nzchar(name[[i]])) {
      inside[[i]] <- name[[i]]
      depth[[i]] <- depth[[i]] + 1L
      is_hiding[[i]] <- depth[[i]] > most_nested
      is_shown[[i]] <- !is_hiding[[i]]
    }
  }
  is_shown
}

most_nested <- 100L

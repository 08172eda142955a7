# A verification as a picture: the QR code to scan, the emoji to compare, or a sentence.

#' Draw a verification
#'
#' Draws what a person needs to see of a [verification][mx_verification_request()] as it is
#' now:
#'
#' * its QR code, while the other side may scan it. To draw it is to show it, as
#'   [mx_verification_qr()] does: show it to nobody else.
#' * what to compare: the seven emoji with their names, and the three numbers. The emoji
#'   themselves are drawn where the device has them, and else their names alone, which
#'   mean the same.
#' * in any other state, the state as a sentence.
#'
#' It sends no request.
#'
#' @param x A verification, from [mx_verification_request()] or [mx_verifications()].
#' @param language The language of the names, as for [mx_verification_emojis()]. They are in
#'   English on a device without the letters of that language.
#' @param ... Ignored.
#' @return `x`, invisibly.
#' @section Errors:
#' `mx_error_argument`.
#' @family trust and verification
#' @examples
#' homeserver <- mx_demo_homeserver()
#' phone <- mx_demo_client(homeserver, "alice")
#' laptop <- mx_demo_client(homeserver, "alice", verified = FALSE)
#' asked <- mx_verification_request(laptop, laptop$user_id)
#' mx_sync(phone)
#' received <- mx_verifications(phone)[[1]]
#' plot(received)
#' received <- mx_verification_accept(received)
#' plot(received)
#' @export
plot.mx_verification <- function(x, ..., language = NULL) {
  check_verification(x)
  language <- check_string(language, null = TRUE)
  now <- current_verification(x)
  # Before a page is begun: a store that cannot be read leaves none.
  code <- code_to_draw(now)
  old <- graphics::par(mar = rep(0, 4))
  on.exit(graphics::par(old))
  size <- new_drawing()
  if (!is.null(code)) {
    draw_code(code, now, size)
  } else if (now[["state"]] == "compare" && !is.null(now[["decimals"]])) {
    draw_comparison(now, language, size)
  } else {
    draw_state(now, size)
  }
  invisible(x)
}

# The symbol that the other side may scan now, or NULL.
code_to_draw <- function(x) {
  may_show <- x[["state"]] == "ready" &&
    (isTRUE(x[["shows_code"]]) || "m.qr_code.show.v1" %in% x[["methods"]])
  if (may_show) {
    # Its time may end meanwhile.
    tryCatch(mx_verification_qr(x), mx_error_verification = function(e) NULL)
  }
}

# Sizes of a page with a title and something large below.
page_with_title <- function(size) {
  pad <- 0.02 * min(size) + 0.03
  cex <- max(
    0.3,
    min(1.2, size[[1]] / 4, size[[2]] / (10 * line_height()))
  )
  list(
    pad = pad,
    cex = cex,
    line = line_height(cex),
    width = size[[1]] - 2 * pad,
    height = size[[2]] - 2 * pad
  )
}

# Draws lines in the middle, from `top` down, and returns where they end.
draw_lines <- function(lines, top, page, font = 1L, cex = page[["cex"]]) {
  line <- line_height(cex)
  y <- top - line * (seq_along(lines) - 0.5)
  x <- page[["pad"]] + page[["width"]] / 2
  draw_text(x, y, lines, cex, font = font, align = 0.5)
  top - line * length(lines)
}

draw_title <- function(title, page) {
  title <- fitted_text(drawable(title), page[["width"]], page[["cex"]], 2L)
  draw_lines(title, page[["pad"]] + page[["height"]], page, font = 2L)
}

draw_code <- function(code, x, size) {
  page <- page_with_title(size)
  hint <- wrapped_text(
    "Show it to nobody else.",
    page[["width"]],
    0.85 * page[["cex"]]
  )
  hint_height <- length(hint) * line_height(0.85 * page[["cex"]])
  title <- paste("For", other_side(x), "to scan")
  top <- page[["pad"]] + page[["height"]] - page[["line"]]
  side <- min(page[["width"]], top - page[["pad"]] - hint_height)
  # On a small device every bit of it is for the code.
  is_small <- side < 1.5
  if (is_small) {
    top <- size[[2]]
    side <- min(size)
  }
  # Modules of unequal width cannot be scanned where they are a few pixels wide.
  pixels <- graphics::par("cra")[[2]] / graphics::par("cin")[[2]]
  modules <- nrow(quiet_zone(code))
  each <- side * pixels / modules
  if (each < 4) {
    side <- max(1, floor(each)) * modules / pixels
  }
  draw_symbol(
    code,
    round((size[[1]] - side) / 2 * pixels) / pixels,
    round((top - side) * pixels) / pixels,
    side
  )
  if (!is_small) {
    draw_title(title, page)
    draw_lines(hint, top - side, page, cex = 0.85 * page[["cex"]])
  }
}

draw_comparison <- function(x, language, size) {
  page <- page_with_title(size)
  top <- draw_title(paste("Compare with", other_side(x)), page)
  numbers <- paste(x[["decimals"]], collapse = " - ")
  emojis <- emojis_to_draw(x, language)
  if (is.null(emojis)) {
    cex <- fitting_cex(numbers, page[["width"]], page[["cex"]] * 2, 2L)
    draw_lines(numbers, size[[2]] / 2, page, font = 2L, cex = cex)
    return(invisible())
  }
  bottom <- page[["pad"]] + 1.5 * page[["line"]]
  cex <- fitting_cex(numbers, page[["width"]], page[["cex"]])
  draw_lines(numbers, page[["pad"]] + page[["line"]], page, cex = cex)
  # Four above, three below, in the order of reading.
  wide <- page[["width"]] / 4
  high <- (top - bottom) / 2
  # Nothing that is compared is shortened.
  words <- unlist(strsplit(emojis[["name"]], " +"))
  page[["names"]] <- fitting_cex(words, 0.94 * wide, page[["cex"]], 2L)
  for (i in seq_len(nrow(emojis))) {
    row <- (i - 1L) %/% 4L
    column <- (i - 1L) %% 4L
    centre <- page[["pad"]] + wide * (column + 0.5 + row / 2)
    middle <- top - high * (row + 0.5)
    draw_emoji(emojis[i, ], i, centre, middle, 0.94 * wide, high, page)
  }
}

# The glyph over the name; where the device has no glyphs, the place over the name.
draw_emoji <- function(emoji, place, centre, middle, wide, high, page) {
  has_glyph <- !is.na(emoji[["emoji"]])
  upper <- if (has_glyph) emoji[["emoji"]] else paste0(place, ".")
  # As large as the cell allows.
  cex <- page[["cex"]] * if (has_glyph) 3 else 1
  cex <- min(
    cex,
    cex * 0.55 * high / line_height(cex),
    cex * wide / text_width(upper, cex)
  )
  line <- line_height(page[["names"]])
  name <- wrapped_text(emoji[["name"]], wide, page[["names"]], 2L)
  upper_high <- line_height(cex)
  top <- middle + (upper_high + line * length(name)) / 2
  draw_text(centre, top - upper_high / 2, upper, cex, align = 0.5)
  y <- top - upper_high - line * (seq_along(name) - 0.5)
  draw_text(centre, y, name, page[["names"]], font = 2L, align = 0.5)
}

# What there is to compare, with NA for emoji that the device lacks. All or none of them:
# a gap among them would look like a difference.
emojis_to_draw <- function(x, language) {
  emojis <- mx_verification_emojis(x, language)
  if (is.null(emojis)) {
    return(NULL)
  }
  letters <- unique(unlist(strsplit(emojis[["name"]], "")))
  if (!all(vapply(setdiff(letters, ascii_letters), has_glyph, NA))) {
    emojis[["name"]] <- mx_verification_emojis(x, language = "en")[["name"]]
  }
  if (!all(vapply(emojis[["emoji"]], has_glyph, NA))) {
    emojis[["emoji"]] <- NA_character_
  }
  emojis
}

ascii_letters <- c(" ", "-", "'", LETTERS, letters)

# Devices without Unicode warn of what they lack. The others do not tell: they draw another
# shape for it, which is as wide as that of a character that nobody has been given.
has_glyph <- function(letter) {
  code <- utf8ToInt(letter)[[1]]
  missing <- if (code > 0xffff) "\U0001fffd" else "\u0378"
  first <- intToUtf8(code)
  if (!device_has(first) || !device_has(missing)) {
    return(device_has(first))
  }
  !isTRUE(all.equal(text_width(first, 10), text_width(missing, 10)))
}

draw_state <- function(x, size) {
  page <- page_with_title(size)
  top <- draw_title(paste("Verification with", other_side(x)), page)
  sentence <- drawable(paste0(x[["state"]], ": ", state_sentence(x)))
  lines <- wrapped_text(sentence, page[["width"]], page[["cex"]])
  most <- max(1, floor((top - page[["pad"]]) / page[["line"]]))
  lines <- utils::head(lines, most)
  middle <- (top + page[["pad"]]) / 2
  draw_lines(lines, middle + page[["line"]] * length(lines) / 2, page)
}

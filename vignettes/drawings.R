# The drawings of the vignettes: boxes and arrows as SVG within the page. All lines and texts have
# the colour of the text around them, so that they read on light and on dark pages.

escaped <- function(text) {
  text <- gsub("&", "&amp;", text, fixed = TRUE)
  gsub("<", "&lt;", text, fixed = TRUE)
}

# `id` is unique in the page. `title` and `description` are what a screen reader reads.
drawing <- function(id, width, height, title, description, ...) {
  head <- sprintf(
    paste0(
      "<svg role=\"img\" aria-labelledby=\"%s-title %s-desc\" viewBox=\"0 0 %d %d\" ",
      "style=\"width:100%%;min-width:36em;max-width:%dpx;height:auto;font-family:inherit\" ",
      "xmlns=\"http://www.w3.org/2000/svg\">\n",
      "<title id=\"%s-title\">%s</title>\n<desc id=\"%s-desc\">%s</desc>\n",
      "<defs><marker id=\"%s-tip\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" ",
      "markerWidth=\"8\" markerHeight=\"8\" orient=\"auto-start-reverse\">",
      "<path d=\"M0 1 L9 5 L0 9 z\" fill=\"currentColor\"/></marker></defs>"
    ),
    id,
    id,
    width,
    height,
    width,
    id,
    escaped(title),
    id,
    escaped(description),
    id
  )
  parts <- gsub("TIP", paste0(id, "-tip"), c(...), fixed = TRUE)
  cat(
    "\n```{=html}\n<div tabindex=\"0\" style=\"overflow-x:auto\">",
    head,
    parts,
    "</svg></div>\n```\n",
    sep = "\n"
  )
}

# A box: its first line is its name. What is on the server has a dashed border.
box <- function(x, y, width, height, lines, server = FALSE) {
  middle <- x + width / 2
  first <- y + height / 2 - (length(lines) - 1) * 8.5 + 4.5
  c(
    sprintf(
      paste0(
        "<rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" rx=\"8\" fill=\"currentColor\" ",
        "fill-opacity=\"0.07\" stroke=\"currentColor\"%s/>"
      ),
      x,
      y,
      width,
      height,
      if (server) " stroke-dasharray=\"5 4\"" else ""
    ),
    words(
      middle,
      first + 17 * (seq_along(lines) - 1),
      lines,
      weight = rep(c("bold", "normal"), c(1, length(lines) - 1))
    )
  )
}

words <- function(x, y, text, anchor = "middle", weight = "normal") {
  sprintf(
    paste0(
      "<text x=\"%g\" y=\"%g\" text-anchor=\"%s\" font-size=\"13\" font-weight=\"%s\" ",
      "fill=\"currentColor\">%s</text>"
    ),
    x,
    y,
    anchor,
    weight,
    escaped(text)
  )
}

# An arrow along the points (x, y), with a number on it where there is one.
arrow <- function(x, y, number = NULL, at = c(mean(x), mean(y))) {
  c(
    sprintf(
      "<path d=\"%s\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.5\" %s/>",
      paste0(rep(c("M", "L"), c(1, length(x) - 1)), x, " ", y, collapse = " "),
      "marker-end=\"url(#TIP)\""
    ),
    if (!is.null(number)) {
      sprintf(
        paste0(
          "<circle cx=\"%g\" cy=\"%g\" r=\"11\" fill=\"#1f6fb2\"/>",
          "<text x=\"%g\" y=\"%g\" text-anchor=\"middle\" font-size=\"13\" ",
          "font-weight=\"bold\" fill=\"#ffffff\">%s</text>"
        ),
        at[[1]],
        at[[2]],
        at[[1]],
        at[[2]] + 4.5,
        number
      )
    }
  )
}

# What a new device needs, and where it comes from.
draw_recovery <- function() {
  drawing(
    "recovery",
    760,
    220,
    "What the recovery key opens",
    paste(
      "The recovery key opens secret storage on the server. Secret storage holds the private keys",
      "of your identity, which sign the new device, and the key of the key backup. The key backup",
      "on the server holds the room keys, which read the history."
    ),
    box(10, 80, 140, 60, c("Recovery key", "with you")),
    box(
      210,
      55,
      210,
      110,
      c(
        "Secret storage",
        "on the server, encrypted:",
        "private keys of your identity,",
        "key of the key backup"
      ),
      server = TRUE
    ),
    box(490, 15, 260, 55, c("Your identity", "signs the new device")),
    box(490, 140, 130, 60, c("Key backup", "room keys"), server = TRUE),
    box(650, 140, 100, 60, c("Messages", "history")),
    arrow(c(150, 210), c(110, 110)),
    arrow(c(420, 490), c(90, 45)),
    arrow(c(420, 490), c(130, 168)),
    arrow(c(620, 650), c(170, 170))
  )
}

draw_four_ways <- function() {
  drawing(
    "ways",
    780,
    390,
    "Four ways a room key travels",
    paste(
      "1: Alice's device made the session, and sends its key to Bob's phone, over Olm.",
      "2: Bob's laptop, which was signed in later, requests the key, and Bob's phone forwards it,",
      "over Olm. 3: Bob's phone puts the key into the key backup on the server, encrypted, and",
      "Bob's laptop takes it from there. 4: Carol is invited later: Alice's device gives her",
      "phone the keys of the history, in an encrypted file whose key goes over Olm."
    ),
    box(10, 20, 210, 60, c("Alice's device", "made the session")),
    box(560, 20, 210, 60, c("Bob's phone", "was there")),
    box(
      300,
      160,
      170,
      70,
      c("Key backup", "on the server,", "encrypted"),
      server = TRUE
    ),
    box(560, 310, 210, 60, c("Bob's laptop", "was signed in later")),
    box(10, 310, 210, 60, c("Carol's phone", "was invited later")),
    arrow(c(220, 560), c(50, 50), 1),
    words(390, 30, "m.room_key, over Olm"),
    arrow(c(730, 730), c(80, 310), 2),
    words(
      712,
      c(175, 192, 209, 226),
      c("on request:", "m.forwarded_", "room_key,", "over Olm"),
      anchor = "end"
    ),
    arrow(c(585, 470), c(80, 175), 3),
    arrow(c(470, 585), c(215, 310), 3),
    arrow(c(115, 115), c(80, 310), 4),
    words(
      135,
      c(175, 192, 209, 226),
      c(
        "with the invitation:",
        "an encrypted file,",
        "and its key",
        "over Olm"
      ),
      anchor = "start"
    )
  )
}

draw_chains_of_trust <- function() {
  drawing(
    "chains",
    780,
    430,
    "The chains of trust",
    paste(
      "1: Alice's laptop signs her master key. 2: Her master key signs her self-signing key and",
      "her user-signing key. 3: Her self-signing key signs her devices, laptop and phone.",
      "4: After she verified Bob, her user-signing key signs his master key. 5: Bob's master key",
      "signs his self-signing key, which signs his devices."
    ),
    box(150, 20, 170, 50, c("Alice's", "master key")),
    box(60, 140, 170, 50, c("Alice's", "self-signing key")),
    box(270, 140, 170, 50, c("Alice's", "user-signing key")),
    box(20, 270, 110, 50, c("Alice's", "laptop")),
    box(160, 270, 110, 50, c("Alice's", "phone")),
    box(590, 140, 170, 50, c("Bob's", "master key")),
    box(590, 250, 170, 50, c("Bob's", "self-signing key")),
    box(540, 370, 100, 50, c("Bob's", "phone")),
    box(670, 370, 100, 50, c("Bob's", "tablet")),
    arrow(c(35, 35, 150), c(270, 45, 45), 1, at = c(35, 165)),
    arrow(c(205, 150), c(70, 140), 2),
    arrow(c(265, 340), c(70, 140), 2),
    arrow(c(120, 80), c(190, 270), 3),
    arrow(c(170, 210), c(190, 270), 3),
    arrow(c(440, 590), c(165, 165), 4),
    words(515, 145, "verified"),
    arrow(c(675, 675), c(190, 250), 5),
    arrow(c(645, 595), c(300, 370), 5),
    arrow(c(700, 720), c(300, 370), 5)
  )
}

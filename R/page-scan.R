# Scanning QR codes on a page. inst/shiny/page-camera.js takes frames from the camera, or
# the picture of a file, and sends their greys: no picture is written to a disk, and those of
# all formats that a browser knows can be read.

scan_html <- function(verification) {
  tags <- shiny::tags
  tags[["div"]](
    class = "mx-way mx-scan",
    "data-number" = number_text(verification),
    tags[["h4"]]("Scan the other device\u2019s QR code"),
    tags[["p"]]("Have it shown there, and hold it before the camera."),
    tags[["div"]](class = "mx-camera"),
    tags[["button"]](
      type = "button",
      class = "mx-button mx-use-camera",
      "Use the camera"
    ),
    tags[["label"]](
      class = "mx-field",
      tags[["span"]]("Or choose a picture of it"),
      tags[["input"]](
        type = "file",
        class = "mx-picture",
        accept = "image/*"
      )
    ),
    tags[["div"]](class = "mx-outcome", role = "status")
  )
}

scan_server <- function(page) {
  session <- page[["session"]]
  shiny::observeEvent(page[["input"]][["verify_picture"]], {
    sent <- page[["input"]][["verify_picture"]]
    told <- with_told(scanned(page[["client"]], sent))
    outcome <- told[["outcome"]]
    again <- inherits(outcome, c("mxc_error_qr_code", "mx_error_qr_code"))
    # A camera sees nothing most of the time.
    is_silent <- inherits(outcome, "mxc_error_qr_code") && is_frame(sent)
    send <- session[["sendCustomMessage"]]
    send(
      "mx-scanned",
      list(
        number = form_number(sent),
        again = again,
        html = if (!is_silent) as.character(told_html(scan_told(told)))
      )
    )
  })
}

is_frame <- function(sent) is.list(sent) && isTRUE(sent[["frame"]])

# What a page sent may be anything.
scanned <- function(client, sent) {
  grey <- grey_sent(sent)
  verification <- verification_of(client, sent[["number"]])
  mx_verification_scan(verification, grey)
  "This is the code of the other device. Say there that it was scanned."
}

# The most pixels of a picture: the page makes larger ones smaller.
most_pixels <- 4e6

grey_sent <- function(sent, call = caller_env()) {
  sides <- if (is.list(sent)) sent[c("width", "height")]
  fits <- length(sides) == 2L &&
    all(vapply(sides, is_side, NA)) &&
    prod(unlist(sides)) <= most_pixels
  bytes <- if (fits) decoded_base64(sent[["grey"]])
  if (!fits || length(bytes) != prod(unlist(sides))) {
    mx_abort("This is no picture.", "mx_error_argument", call = call)
  }
  matrix(as.integer(bytes) / 255, nrow = sent[["height"]], byrow = TRUE)
}

# How many pixels wide or high something is.
is_side <- function(x) {
  is.numeric(x) && length(x) == 1L && isTRUE(x >= 1 && x == round(x))
}

# Nothing where it is none.
decoded_base64 <- function(text) {
  tryCatch(
    jsonlite::base64_dec(string_or_empty(text)),
    error = function(condition) raw()
  )
}

# The sentences for what can be tried again.
scan_told <- function(told) {
  outcome <- told[["outcome"]]
  sentence <- if (inherits(outcome, "mxc_error_qr_code")) {
    paste(
      "No QR code was found in this picture. Take it straight from the front,",
      "so that the code fills most of it."
    )
  } else if (inherits(outcome, "mx_error_qr_code")) {
    "This QR code is not one of a verification."
  }
  if (!is.null(sentence)) {
    told[["outcome"]] <- shiny::tags[["p"]](page_mark("warn", sentence))
    told[["ok"]] <- TRUE
  }
  told
}

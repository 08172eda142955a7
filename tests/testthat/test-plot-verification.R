# A verification that says what a test wants, as if the store did.
as_if <- function(x, ..., .local_envir = parent.frame()) {
  force(x)
  changes <- list(...)
  for (name in names(changes)) {
    x[name] <- changes[name]
  }
  local_replaced("current_verification", function(...) x, .local_envir)
  x
}

test_that("each state is drawn as a sentence, at every size", {
  pair <- demo_pair()
  both <- request_of(pair$alice, pair$bob)
  drawn <- function(x, size = c(7, 5)) {
    paste(texts_of(plot(x), size)$label, collapse = " ")
  }
  expect_match(
    drawn(both[[1]]),
    "@bob:demo requested: the other side must accept"
  )
  expect_match(drawn(both[[2]]), "requested: the other side waits for you")
  one <- both[[1]]
  for (state in c("started", "scanned", "confirmed", "done", "cancelled")) {
    one <- as_if(one, state = state, code = "m.user", cancelled_here = TRUE)
    sentence <- state_sentence(one)
    for (size in plot_sizes) {
      expect_apart(texts_of(plot(one), size), size)
    }
    expect_match(drawn(one), paste0(state, ": ", sentence), fixed = TRUE)
  }
  # Text of the other side, as long as it likes.
  one <- as_if(one, code = strrep("m.x\u202e\n", 1000))
  for (size in plot_sizes) {
    expect_apart(texts_of(plot(one), size), size)
  }
})

test_that("a code that may be scanned is drawn, and can be", {
  skip_if_not_installed("png")
  skip_if_not(capabilities("png"))
  pair <- demo_pair()
  both <- agreed(pair$alice, pair$bob)
  expect_equal(states(both), c("ready", "ready"))
  file <- withr::local_tempfile(fileext = ".png")
  for (size in list(c(480, 480), c(400, 300), c(180, 140), c(1200, 300))) {
    withr::with_png(
      file,
      width = size[[1]],
      height = size[[2]],
      type = if (capabilities("cairo")) "cairo" else getOption("bitmapType"),
      plot(both[[1]])
    )
    code <- mxc_qr_scan(file)[[1]]
    expect_identical(mxc_qr_symbol(code), mx_verification_qr(both[[1]]))
  }
  texts <- texts_of(plot(both[[1]]))$label
  expect_equal(texts, c("For @bob:demo to scan", "Show it to nobody else."))
  # What was drawn counts as shown: the other side scans it.
  mx_verification_scan(both[[2]], code)
  both <- exchange(both)
  expect_equal(states(both)[[1]], "scanned")
  expect_match(
    paste(texts_of(plot(both[[1]]))$label, collapse = " "),
    "scanned: does the other device say"
  )
})

test_that("a small code has modules of whole pixels, which can be scanned", {
  pair <- demo_pair()
  both <- agreed(pair$alice, pair$bob)
  sides <- NULL
  local_replaced("draw_symbol", function(symbol, left, bottom, side) {
    sides <<- c(sides, side * 72 / nrow(quiet_zone(symbol)))
  })
  for (size in c(1.2, 1.7, 2.1, 2.6, 6)) {
    texts_of(plot(both[[1]]), c(size, size))
  }
  few <- sides < 4
  expect_gt(sum(few), 1)
  expect_equal(sides[few], round(sides[few]))
  expect_gt(max(sides), 6)
})

test_that("a code whose time has ended meanwhile is none", {
  pair <- demo_pair()
  both <- agreed(pair$alice, pair$bob)
  mx_verification_cancel(both[[1]])
  one <- as_if(both[[1]], state = "ready")
  expect_match(texts_of(plot(one))$label, "^ready: ", all = FALSE)
})

test_that("without a code to show, both agreed is a sentence", {
  pair <- demo_pair()
  both <- agreed(pair$alice, pair$bob)
  one <- as_if(both[[1]], methods = "m.sas.v1")
  expect_match(
    paste(texts_of(plot(one))$label, collapse = " "),
    "ready: both sides agreed"
  )
  expect_false(mx_verifications(pair$alice)[[1]]$shows_code)
})

test_that("what is to be compared is drawn whole, at every size", {
  pair <- demo_pair()
  one <- as_if(comparing(pair$alice, pair$bob)[[1]])
  numbers <- paste(one$decimals, collapse = " - ")
  # All that the specification has, seven at a time.
  for (first in seq(0, 56, by = 7)) {
    one <- as_if(one, emoji = first + 0:6)
    names <- mx_verification_emojis(one, "en")$name
    for (size in plot_sizes) {
      texts <- texts_of(plot(one, language = "en"), size)
      expect_apart(texts, size)
      shown <- paste(texts$label, collapse = " ")
      expect_true(all(vapply(names, grepl, NA, shown, fixed = TRUE)))
      expect_true(numbers %in% texts$label)
    }
  }
  # By their places, where there are only names.
  expect_true(all(paste0(1:7, ".") %in% texts_of(plot(one))$label))
  one <- as_if(one, emoji = NULL)
  expect_true(numbers %in% texts_of(plot(one))$label)
})

test_that("emoji are drawn where the device has all of them", {
  pair <- demo_pair()
  one <- as_if(comparing(pair$alice, pair$bob)[[1]])
  emoji <- mx_verification_emojis(one)$emoji
  local_replaced("has_glyph", function(letter) TRUE)
  texts <- texts_of(plot(one), open = unicode_device)$label
  expect_true(all(emoji %in% texts))
  lacking <- emoji[[7]]
  local_replaced("has_glyph", function(letter) letter != lacking)
  texts <- texts_of(plot(one), open = unicode_device)$label
  expect_false(any(emoji %in% texts))
  expect_true(all(mx_verification_emojis(one)$name %in% texts))
})

test_that("the names are in a language that the device can write", {
  pair <- demo_pair()
  one <- as_if(comparing(pair$alice, pair$bob)[[1]], emoji = 0:6)
  german <- texts_of(plot(one, language = "de"))$label
  expect_true(all(c("Hund", "L\u00f6we") %in% german))
  for (language in c("ja", "ar", "ru")) {
    expect_true("Dog" %in% texts_of(plot(one, language = language))$label)
  }
  expect_error(plot(one, language = 1), class = "mx_error_argument")
})

test_that("it is drawn in the C locale, too", {
  is_utf8 <- in_other_r(
    function() {
      library(mxcrypt)
      pair <- demo_pair()
      both <- request_of(pair$alice, pair$bob)
      options(warn = 2)
      draw <- function() {
        grDevices::pdf(NULL)
        plot(both[[1]])
        plot(both[[1]], language = "ar")
        if (capabilities("cairo")) {
          grDevices::svg(tempfile())
          plot(both[[1]])
        }
        grDevices::graphics.off()
      }
      draw()
      both[[2]] <- mx_verification_accept(both[[2]])
      both <- exchange(both)
      draw()
      both[[1]] <- mx_verification_start(both[[1]])
      both <- exchange(both)
      draw()
      c(states(both), l10n_info()[["UTF-8"]])
    },
    env = c(LC_ALL = "C")
  )
  expect_equal(is_utf8, c("compare", "compare", "FALSE"))
})

test_that("what is no verification is an error, before a device is opened", {
  before <- grDevices::dev.list()
  odd <- structure(list(state = "done"), class = "mx_verification")
  expect_error(plot(odd), class = "mx_error_argument")
  expect_identical(grDevices::dev.list(), before)
})

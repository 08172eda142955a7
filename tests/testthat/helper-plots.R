# What pictures say, and what drawing leaves behind.

# Sizes of devices in inches: usual, small, large, tiny, high, wide.
plot_sizes <- list(
  c(7, 7),
  c(4, 3),
  c(12, 10),
  c(1.5, 1),
  c(0.8, 1.2),
  c(3, 8),
  c(12, 2)
)

# The texts that `code` draws on a device of this size, with the box of each in inches. No
# graphics device, no parameter of it, and no warning is left behind.
texts_of <- function(code, size = c(7, 5), open = null_device) {
  texts <- NULL
  real <- get("draw_text", asNamespace("mxcrypt"))
  spy <- function(x, y, label, cex = 1, font = 1L, align = 0, ...) {
    width <- graphics::strwidth(label, "inches", cex = cex, font = font)
    height <- graphics::strheight("M", "inches", cex = cex)
    texts <<- rbind(
      texts,
      data.frame(
        label = label,
        left = x - align * width,
        right = x + (1 - align) * width,
        bottom = y - height / 2,
        top = y + height / 2
      )
    )
    real(x, y, label, cex, font, align, ...)
  }
  local_replaced("draw_text", spy)
  before <- grDevices::dev.list()
  open(size)
  device <- grDevices::dev.cur()
  graphics::par(mar = c(1, 2, 3, 4), cex = 1)
  # What plot.new() itself decides is no concern.
  kept <- setdiff(
    names(graphics::par(no.readonly = TRUE)),
    c("usr", "xaxp", "yaxp", "plt", "pin", "fin", "fig", "mfg", "new")
  )
  parameters <- graphics::par(kept)
  expect_no_warning(drawn <- withVisible(code))
  expect_false(drawn$visible)
  expect_identical(graphics::par(kept), parameters)
  expect_identical(grDevices::dev.cur(), device)
  grDevices::dev.off()
  expect_identical(grDevices::dev.list(), before)
  if (is.null(texts)) {
    return(NULL)
  }
  texts[!is.na(texts$label) & nzchar(texts$label), ]
}

null_device <- function(size) {
  grDevices::pdf(NULL, size[[1]], size[[2]])
}

# A device that has the letters of all languages, or at least a box for each.
unicode_device <- function(size) {
  skip_if_not(capabilities("cairo"))
  grDevices::svg(withr::local_tempfile(.local_envir = parent.frame(2)))
}

# Each text within the page, and none on another.
expect_apart <- function(texts, size, slack = 0.02) {
  expect_gte(min(texts$left, texts$bottom), -slack)
  expect_lte(max(texts$right), size[[1]] + slack)
  expect_lte(max(texts$top), size[[2]] + slack)
  over <- outer(texts$left, texts$right - slack, "<") &
    outer(texts$bottom, texts$top - slack, "<")
  over <- which(over & t(over) & upper.tri(over), arr.ind = TRUE)
  expect_identical(
    paste(texts$label[over[, 1]], texts$label[over[, 2]], sep = " | "),
    character()
  )
}

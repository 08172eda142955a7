# The hooks and the working directory are as before afterwards.
local_knitr <- function(.local_envir = parent.frame()) {
  skip_if_not_installed("knitr")
  old <- knitr::knit_hooks$get()
  withr::defer(knitr::knit_hooks$restore(old), .local_envir)
  dir <- withr::local_tempdir(.local_envir = .local_envir)
  withr::local_dir(dir, .local_envir = .local_envir)
}

knit_text <- function(...) {
  knitr::knit(text = c(...), envir = new.env(), quiet = TRUE)
}

chunk_of <- function(options, ...) c(paste0("```{r ", options, "}"), ..., "```")

test_that("a chunk posts the figures that it draws, with their captions", {
  local_knitr()
  pair <- demo_pair()
  root <- mx_send_text(pair$alice, pair$room, "figures")
  mx_sync(pair$bob)
  expect_null(expect_invisible(mx_knit_post(pair$alice, pair$room, root)))
  # Twice is as once.
  mx_knit_post(pair$alice, pair$room, root)
  text <- knit_text(
    chunk_of("before", "plot(1)"),
    chunk_of("one, mx.post=TRUE, fig.cap='Cars'", "plot(cars)"),
    chunk_of("none, mx.post=TRUE", "1"),
    chunk_of("off, mx.post=FALSE", "plot(2)"),
    chunk_of("two, mx.post=TRUE, fig.cap=c('a', 'b')", "plot(3)", "plot(4)"),
    chunk_of("bare, mx.post=TRUE, dev=c('svg', 'png')", "plot(5)"),
    chunk_of("hidden, mx.post=TRUE, fig.show='hide'", "plot(6)"),
    chunk_of("other, mx.post=TRUE", "knitr::include_graphics('one-1.png')")
  )
  events <- messages(mx_sync(pair$bob))
  expect_equal(events$body, c("Cars", "a", "b", "bare-1.png", "hidden-1.png"))
  expect_equal(events$msgtype, rep("m.image", 5))
  expect_equal(events$thread, rep(as.vector(root), 5))
  names <- vapply(events$content, function(x) x[["filename"]], "")
  expect_equal(names[1:3], c("one-1.png", "two-1.png", "two-2.png"))
  # The document is as without.
  expect_match(text, "one-1.png", fixed = TRUE)
  expect_no_match(text, "Warning")
})

test_that("a figure of an earlier rendering is not posted", {
  skip_if_not_installed("png")
  local_knitr()
  pair <- demo_pair()
  mx_knit_post(pair$alice, pair$room)
  dir.create("figure")
  png::writePNG(matrix(0, 5, 5), "figure/x-1.png")
  Sys.setFileTime("figure/x-1.png", Sys.time() - 3600)
  png::writePNG(matrix(0, 5, 5), "given.png")
  knit_text(chunk_of("x, mx.post=TRUE", "knitr::include_graphics('given.png')"))
  expect_length(new_bodies(pair$bob), 0)
})

test_that("a chunk from the cache posts nothing", {
  local_knitr()
  pair <- demo_pair()
  mx_knit_post(pair$alice, pair$room)
  document <- chunk_of("kept, mx.post=TRUE, cache=TRUE", "plot(cars)")
  knit_text(document)
  expect_equal(new_bodies(pair$bob), "kept-1.png")
  knit_text(document)
  expect_length(new_bodies(pair$bob), 0)
})

test_that("what cannot be posted is a warning in the document, or its end", {
  local_knitr()
  pair <- demo_pair()
  other <- mx_room_create(pair$bob)
  document <- c(chunk_of("x, mx.post=TRUE", "plot(cars)"), "The end.")
  mx_knit_post(pair$alice, other)
  condition <- NULL
  text <- withCallingHandlers(
    knit_text(document),
    mx_warning_knit_post = function(warning) {
      condition <<- warning
      invokeRestart("muffleWarning")
    }
  )
  expect_s3_class(condition$cause, "mx_error")
  expect_match(text, "could not be posted.*The end[.]")
  mx_knit_post(pair$alice, other, on_error = "stop")
  expect_error(suppressMessages(knit_text(document)), class = "mx_error")
})

test_that("figures that clients do not show are left out, and named", {
  local_knitr()
  pair <- demo_pair()
  mx_knit_post(pair$alice, pair$room)
  expect_message(
    knit_text(chunk_of("x, mx.post=TRUE, dev='svg'", "plot(cars)")),
    "x-1.svg",
    class = "mx_message_report"
  )
  expect_length(new_bodies(pair$bob), 0)
})

test_that("arguments are checked when the option is added", {
  skip_if_not_installed("knitr")
  pair <- demo_pair()
  for (bad in list(
    list(room = 3),
    list(room = pair$room, thread = 3),
    list(room = pair$room, on_error = "no")
  )) {
    expect_error(
      do.call(mx_knit_post, c(list(pair$alice), bad)),
      class = "mx_error_argument"
    )
  }
  local_replaced("check_package", function(package, call = caller_env()) {
    mx_abort(package, "mx_error_package", call = call)
  })
  expect_error(
    mx_knit_post(pair$alice, pair$room),
    class = "mx_error_package"
  )
})

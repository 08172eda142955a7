# What becomes of an object is tested without a room; what is sent, with one.

text_of <- function(x) mx_as_message(x)[["text"]]

files_waiting <- function(client) list.files(files_dir(client))

# Posts to the room of a pair; what arrives.
posted <- function(pair, ...) {
  ids <- suppressMessages(mx_post(pair$alice, pair$room, ...))
  events <- messages(mx_sync(pair$bob))
  expect_identical(as.vector(events$event_id), as.vector(ids))
  events
}

# Nothing is sent, and the error says which object was the cause.
expect_not_posted <- function(
  pair,
  ...,
  message = "cannot be posted",
  class = "mx_error_argument"
) {
  asked <- requests_during({
    condition <- catch(mx_post(pair$alice, pair$room, ...))
  })
  expect_s3_class(condition, class)
  expect_s3_class(condition, "mx_error")
  expect_match(conditionMessage(condition), message)
  expect_identical(conditionCall(condition), quote(mx_post()))
  expect_length(asked, 0)
  invisible(condition)
}

test_that("values are the text that the console shows", {
  expect_equal(text_of(pi), "3.141593")
  expect_equal(text_of(1:3), "1 2 3")
  expect_equal(text_of(c(1, 2.5, NA)), "1.0 2.5 NA")
  expect_equal(text_of(c(TRUE, NA)), "TRUE NA")
  expect_equal(text_of(NULL), NULL)
  expect_equal(text_of(1i), "0+1i")
  expect_equal(text_of(factor(c("u", NA), levels = letters)), "u NA")
  expect_equal(text_of(as.Date("2026-11-20")), "2026-11-20")
  time <- as.POSIXct("2026-11-20 12:00:00", tz = "UTC")
  expect_equal(text_of(time), "2026-11-20 12:00:00 UTC")
  expect_equal(text_of(as.POSIXlt(time)), "2026-11-20 12:00:00 UTC")
  expect_equal(text_of(as.difftime(5, units = "mins")), "5 mins")
  expect_equal(text_of(numeric()), "numeric(0)")
  expect_equal(text_of(character()), "character(0)")
  expect_equal(text_of(c(a = 1, b = 2)), "a b \n1 2 ")
  expect_match(text_of(c(a = "x")), "a")
  expect_no_match(text_of(c(a = "x")), "\"")
  expect_match(text_of(1:5000), "1000 \u2026 and 4,000 more values$")
})

test_that("text is text, and its elements are lines", {
  expect_equal(text_of(c("a", NA, "")), "a\nNA\n")
  expect_equal(text_of("\033[31mred\033[39m"), "red")
  expect_null(mx_as_message("<b>")[["html"]])
  for (bad in list("", "\xff\xfe")) {
    Encoding(bad) <- "UTF-8"
    expect_error(mx_as_message(bad), class = "mx_error_argument")
  }
})

test_that("tables are tables, with row names that say something", {
  expect_match(text_of(head(mtcars, 2)), "Mazda RX4 Wag")
  expect_match(text_of(head(cars, 2)), "^speed  dist\n")
  expect_match(text_of(matrix(1:4, 2)), "^V1  V2\n")
  expect_match(text_of(matrix(list(1, "a"), 1)), "1 +a$")
  expect_match(text_of(data.frame()), "0 columns and 0 rows")
  expect_match(text_of(data.frame(x = 1:1e6)), "999,950 more rows")
  # What does not fit is a file.
  wide <- as.data.frame(matrix(strrep("y", 2000), 50, 40))
  file <- mx_as_message(wide)[["file"]]
  expect_equal(file[["name"]], "table.csv")
  expect_identical(file[["source"]], table_csv(wide, FALSE))
  expect_equal(text_of(table(c(1, 1, 2))), "\n1 2 \n2 1 ")
  expect_match(text_of(array(1:8, c(2, 2, 2))), ", , 2")
})

test_that("other objects are what print() shows", {
  message <- mx_as_message(lm(dist ~ speed, cars))
  expect_match(message[["text"]], "Coefficients:")
  expect_match(message[["html"]], "^<pre><code>.*</code></pre>$")
  expect_equal(text_of(quote(f(x))), "f(x)")
  expect_equal(text_of(y ~ x), "y ~ x")
  shown <- structure(list(), class = "shown_in_test")
  .S3method("print", "shown_in_test", function(x, ...) {
    cat("\033[1mwidth", getOption("width"), "\033[22m\n")
  })
  withr::local_options(width = 33)
  expect_equal(text_of(shown), "width 33 ")
  classed <- methods::setClass(
    "InTestOfPost",
    representation(x = "numeric"),
    where = environment()
  )
  expect_match(text_of(classed(x = 1)), "Slot \"x\"")
  expect_equal(
    mx_as_message(strrep("x", 1e5))[["file"]][["name"]],
    "output.txt"
  )
})

test_that("what has no content is refused", {
  objects <- list(
    mean,
    sum,
    new.env(),
    stdin(),
    as.raw(1),
    methods::new("externalptr"),
    structure(list(), class = "gt_tbl")
  )
  for (x in objects) {
    expect_error(mx_as_message(x), class = "mx_error_argument")
  }
  silent <- structure(1, class = "silent_in_test")
  .S3method("print", "silent_in_test", function(x, ...) invisible(x))
  expect_error(
    mx_as_message(silent),
    "mx_send_plot",
    class = "mx_error_argument"
  )
  broken <- structure(1, class = "broken_in_test")
  .S3method("print", "broken_in_test", function(x, ...) stop("no print"))
  expect_error(mx_as_message(broken), "no print", class = "mx_error_argument")
})

test_that("secrets of this package stay hidden", {
  alice <- mx_demo_client(mx_demo_homeserver(), "alice", verified = FALSE)
  key <- mx_crypto_setup(alice)$recovery_key
  text <- text_of(key)
  expect_match(text, "<mx_recovery_key>", fixed = TRUE)
  expect_false(grepl(
    substr(format(key, reveal = TRUE), 1, 4),
    text,
    fixed = TRUE
  ))
})

test_that("a plot is a picture", {
  grob <- mx_as_message(grid::circleGrob())
  expect_equal(grob[["file"]][["name"]], "plot.png")
  expect_identical(grob[["file"]][["source"]][2:4], charToRaw("PNG"))
  skip_if_not_installed("ggplot2")
  plot <- ggplot2::ggplot(cars, ggplot2::aes(speed, dist)) +
    ggplot2::geom_point()
  expect_equal(mx_as_message(plot)[["file"]][["name"]], "plot.png")
  skip_if_not_installed("lattice")
  plot <- lattice::xyplot(dist ~ speed, cars)
  expect_equal(mx_as_message(plot)[["file"]][["name"]], "plot.png")
  expect_null(grDevices::dev.list())
  expect_length(list.files(tempdir(), "^mxcrypt-plot-"), 0)
})

test_that("an error has its message, its class and its cause", {
  login <- function(password) stop("no <good>")
  inner <- tryCatch(login("hunter2"), error = identity)
  message <- mx_as_message(inner)
  expect_equal(message[["text"]], "Error in login()\nno <good>")
  expect_equal(
    message[["html"]],
    "<p><strong>Error in login()</strong><br>no &lt;good&gt;</p>"
  )
  outer <- rlang::catch_cnd(
    rlang::abort(c("bad", i = "help"), "my_error", parent = inner)
  )
  text <- text_of(outer)
  expect_match(text, "^Error.*\\(my_error\\)\nbad\n")
  expect_match(text, "\nCaused by: Error in login()\nno <good>", fixed = TRUE)
  expect_equal(
    text_of(simpleWarning("careful")),
    "Warning\ncareful"
  )
  odd <- structure(list(), class = c("odd", "condition"))
  expect_equal(text_of(odd), "Condition (odd)")
})

test_that("an error shows no arguments of calls", {
  fail <- function(password, ...) rlang::abort("failed")
  wrapped <- function(...) fail(...)
  conditions <- list(
    rlang::catch_cnd(wrapped("hunter2")),
    rlang::catch_cnd(wrapped(password = "hunter2")),
    rlang::catch_cnd(do.call(fail, list("hunter2"))),
    rlang::catch_cnd((function(p) rlang::abort("failed"))("hunter2")),
    tryCatch("hunter2" + 1, error = identity),
    tryCatch((function(p = "hunter2") stop("failed"))(), error = identity),
    simpleError("failed", quote(f("hunter2")(1))),
    rlang::error_cnd("x", parent = simpleError("y", quote("hunter2" + 1))),
    try(stop(simpleError("failed", quote(f("hunter2")))), silent = TRUE)
  )
  for (condition in conditions) {
    message <- mx_as_message(condition)
    expect_no_match(message[["text"]], "hunter2")
    expect_no_match(message[["html"]], "hunter2")
  }
  # The backtrace is there all the same.
  expect_match(text_of(conditions[[1]]), "wrapped\\(\\)\n.*fail\\(\\)")
  deep <- function(n) if (n > 0) deep(n - 1) else rlang::abort("end")
  lines <- strsplit(text_of(rlang::catch_cnd(deep(100))), "\n")[[1]]
  expect_lt(length(lines), 50)
})

test_that("objects are posted in order, with their names", {
  pair <- demo_pair()
  file <- withr::local_tempfile(lines = "x", fileext = ".txt")
  events <- posted(
    pair,
    "first",
    Answer = 42,
    NULL,
    Cars = head(cars, 1),
    list("x", Deep = list(1, b = 2)),
    Lines = c("a", "b"),
    mx_file(file, name = "f.txt"),
    File = mx_file(file, caption = "cap", name = "g.txt"),
    Raw = mx_file(charToRaw("x"), name = "h.bin"),
    mx_message("plain", "<b>html</b>", "m.notice")
  )
  expect_equal(
    events$body,
    c(
      "first",
      "Answer: 42",
      "Cars\nspeed  dist\n4      2",
      "x",
      "Deep: 1",
      "Deep: b: 2",
      "Lines\na\nb",
      "f.txt",
      "File\ncap",
      "Raw",
      "plain"
    )
  )
  expect_equal(
    events$msgtype,
    c(rep("m.text", 7), rep("m.file", 3), "m.notice")
  )
  contents <- events$content
  expect_match(contents[[3]][["formatted_body"]], "^<p>Cars</p><table>")
  expect_equal(contents[[8]][["filename"]], "f.txt")
  expect_equal(contents[[11]][["formatted_body"]], "<b>html</b>")
  expect_length(files_waiting(pair$alice), 0)
})

test_that("a plain room gets the same", {
  pair <- demo_pair(encrypted = FALSE)
  events <- posted(pair, "first", mx_file(charToRaw("x"), name = "x.txt"))
  expect_equal(events$body, c("first", "x.txt"))
  expect_match(events$content[[2]][["url"]], "^mxc://")
})

test_that("the name of a file is text and sends no file", {
  pair <- demo_pair()
  secret <- withr::local_tempfile(lines = "secret")
  events <- posted(pair, secret)
  expect_equal(events$body, secret)
  expect_equal(events$msgtype, "m.text")
  skip_if_not_installed("fs")
  events <- posted(pair, fs::path(secret))
  expect_equal(events$msgtype, "m.file")
  expect_equal(events$content[[1]][["filename"]], basename(secret))
})

test_that("a thread begins with the first message", {
  pair <- demo_pair()
  bob <- pair$bob$user_id
  relation <- function(content) content[["m.relates_to"]]
  root <- mx_send_text(pair$bob, pair$room, "root")
  mx_sync(pair$bob)
  picture <- mx_file(charToRaw("x"), name = "x.txt")
  events <- posted(
    pair,
    paste("for", bob),
    picture,
    "b",
    thread = TRUE,
    mentions = bob,
    reply_to = root
  )
  relations <- lapply(events$content, relation)
  expect_equal(relations[[1]], list("m.in_reply_to" = list(event_id = root)))
  expect_equal(events$thread, c(NA, rep(events$event_id[[1]], 2)))
  expect_equal(lengths(events$mentions), c(1, 0, 0))
  expect_match(events$content[[1]][["formatted_body"]], "matrix.to")
  # All go into a thread that is there.
  events <- posted(pair, "c", "d", thread = root, reply_to = root)
  expect_equal(events$thread, c(root, root))
  expect_false(relation(events$content[[1]])[["is_falling_back"]])
  expect_true(relation(events$content[[2]])[["is_falling_back"]])
  events <- posted(pair, "alone", thread = TRUE)
  expect_null(relation(events$content[[1]]))
  events <- posted(pair, "e", "f", thread = NULL)
  expect_equal(events$thread, c(NA_character_, NA))
})

test_that("one object that cannot be posted means that nothing is sent", {
  pair <- demo_pair()
  missing <- withr::local_tempfile(lines = "x")
  gone <- mx_file(missing)
  unlink(missing)
  expect_not_posted(pair, "a", mean, message = "Object 2 cannot")
  expect_not_posted(
    pair,
    "a",
    list(1, Bad = list(new.env())),
    message = "Object 2\\[\\[2\\]\\] \\(`Bad`\\)\\[\\[1\\]\\] cannot"
  )
  expect_not_posted(pair, "a", gone, message = "can be read")
  expect_not_posted(pair, "a", "", message = "not empty")
  bad <- "\xff\xfe"
  Encoding(bad) <- "UTF-8"
  expect_not_posted(pair, "a", bad)
  deep <- "deep"
  for (i in 1:3000) {
    deep <- list(deep)
  }
  expect_not_posted(pair, "a", deep, message = "nested")
  odd <- structure(1, class = "odd_in_test")
  .S3method("mx_as_message", "odd_in_test", function(x, ...) 3)
  expect_not_posted(pair, "a", odd, message = "class numeric")
  skip_if_not_installed("ggplot2")
  plot <- ggplot2::ggplot(cars, ggplot2::aes(no_such, dist)) +
    ggplot2::geom_point()
  condition <- expect_not_posted(
    pair,
    "a",
    Cars = plot,
    message = "no_such",
    class = "mx_error_plot"
  )
  expect_match(conditionMessage(condition), "Object 2 (`Cars`)", fixed = TRUE)
  expect_length(new_bodies(pair$bob), 0)
})

test_that("what is too large is told before anything is sent", {
  pair <- demo_pair()
  expect_not_posted(
    pair,
    "a",
    mx_message("x", strrep("y", 60000)),
    message = "Event 2 of 2 is too large",
    class = "mx_error_too_large"
  )
  caption <- strrep("y", 46500)
  expect_not_posted(
    pair,
    "a",
    mx_file(charToRaw("x"), caption, "x.txt"),
    message = "too large",
    class = "mx_error_too_large"
  )
})

test_that("arguments are checked before objects are made", {
  pair <- demo_pair()
  refused <- function(..., room = pair$room) {
    ran <- FALSE
    condition <- catch(mx_post(pair$alice, room, ran <- TRUE, ...))
    expect_s3_class(condition, "mx_error_argument")
    expect_false(ran)
  }
  refused(room = 3)
  refused(thread = NA)
  refused(thread = 3)
  refused(thread = "")
  refused(thread = c("a", "b"))
  refused(mentions = "bob")
  refused(reply_to = 3)
  refused(markdown = TRUE)
  refused(reply = "x")
  condition <- catch(mx_post(pair$alice, pair$room, r = 0.5))
  expect_match(conditionMessage(condition), "`r` is too short")
  expect_s3_class(condition, "mx_error_argument")
  # Errors of the caller's own code are the caller's.
  expect_error(mx_post(pair$alice, pair$room, stop("mine")), "^mine$")
})

test_that("nothing is posted where there is nothing, and it is said", {
  pair <- demo_pair()
  for (objects in list(list(), list(NULL), list(list(), NULL))) {
    asked <- requests_during(expect_message(
      ids <- do.call(mx_post, c(list(pair$alice, pair$room), objects)),
      class = "mx_message_nothing"
    ))
    expect_identical(ids, character())
    expect_length(asked, 0)
  }
})

test_that("a long list is posted, and told of", {
  pair <- demo_pair()
  expect_message(
    ids <- mx_post(pair$alice, pair$room, as.list(paste("n", 1:1000))),
    class = "mx_message_many"
  )
  expect_length(unique(ids), 1000)
})

test_that("without a network all waits, and is sent in order later", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "before")
  mx_sync(pair$bob)
  post <- function(...) {
    local_replaced("http_once", function(session, ...) {
      mx_abort("No response.", "mx_error_network")
    })
    catch(mx_post(pair$alice, pair$room, ...))
  }
  condition <- post("a", "b", mx_file(charToRaw("x"), name = "c"))
  expect_s3_class(condition, "mx_error_network")
  expect_equal(mx_outbox(pair$alice)$body, c("a", "b", "c"))
  mx_sync(pair$alice)
  expect_equal(new_bodies(pair$bob), c("a", "b", "c"))
  # A thread needs its beginning.
  file <- mx_file(charToRaw("x"), name = "f")
  condition <- post("d", "e", file, thread = TRUE)
  expect_s3_class(condition, "mx_error_network")
  expect_match(conditionMessage(condition), "2 other messages were")
  expect_equal(mx_outbox(pair$alice)$body, "d")
  mx_sync(pair$alice)
  expect_equal(new_bodies(pair$bob), "d")
  expect_length(files_waiting(pair$alice), 0)
})

test_that("a message shows what it is", {
  expect_output(print(mx_as_message(pi)), "8 characters of text\n3.141593")
  expect_output(print(mx_as_message(cars)), "with HTML")
  expect_output(print(mx_file(charToRaw("x"), name = "x.csv")), "x.csv")
  expect_error(mx_file(c("a", "b")), "lapply", class = "mx_error_argument")
  expect_error(mx_file(charToRaw("x")), "name", class = "mx_error_argument")
  expect_error(mx_file(cars), class = "mx_error_argument")
  expect_error(mx_message(""), class = "mx_error_argument")
  expect_error(mx_message("x", msgtype = "m.x"), class = "mx_error_argument")
})

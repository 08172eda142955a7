# The words of a line.
words <- function(line) unname(split_words(line)[["text"]])

test_that("a line is split as a shell splits it", {
  expect_equal(words("a  b\tc\nd"), c("a", "b", "c", "d"))
  expect_equal(words(""), character())
  expect_equal(words("  "), character())
  expect_equal(words("'a b' \"c d\""), c("a b", "c d"))
  expect_equal(words("n=\"two words\""), "n=two words")
  expect_equal(words("a\"b c\"d"), "ab cd")
  expect_equal(words("\"\" ''"), c("", ""))
  expect_equal(words("a\\ b \\\"c \\\\"), c("a b", "\"c", "\\"))
  expect_equal(words("\"a \\\" b \\n\""), "a \" b \\n")
  expect_equal(words("'a \\ b'"), "a \\ b")
  expect_equal(words("\\"), "\\")
  expect_equal(words("\"\"'a b'"), c("'a", "b'"))
})

test_that("quotes, spaces and apostrophes of phones are understood", {
  expect_equal(words("\u201ca b\u201d \u201ec d\u201c"), c("a b", "c d"))
  expect_equal(words("\u2018a b\u2019"), "a b")
  expect_equal(words("don't don\u2019t"), c("don't", "don\u2019t"))
  expect_equal(words("a\u00a0b\u2003c"), c("a", "b", "c"))
  expect_equal(
    words("\"it\u2019s \u201cgood\u201d\""),
    "it\u2019s \u201cgood\u201d"
  )
})

test_that("what cannot be split, or is too much, is a sentence", {
  for (line in c("\"a b", "'a", "\u201ca", "x \"")) {
    expect_error(words(line), "not closed", class = "mx_error_command")
  }
  expect_error(words(strrep("a", 5000)), "too long", class = "mx_error_command")
  expect_error(words(strrep("a ", 200)), "too many", class = "mx_error_command")
  # Letters, not bytes.
  expect_length(words(strrep("\u00e9", 4000)), 1)
})

# The arguments for a function, by a line.
bind <- function(fun, line, ...) {
  bind_words(mx_command(fun, ...), split_words(line))
}

refused <- function(fun, line, ...) {
  condition <- tryCatch(bind(fun, line, ...), mx_error_command = identity)
  expect_s3_class(condition, "mx_error_command")
  conditionMessage(condition)
}

test_that("arguments are given by position or by name, with the types of defaults", {
  f <- function(n = 10L, x = 0.5, all = FALSE, day = Sys.Date(), text = "a") {
    NULL
  }
  expect_equal(bind(f, ""), list())
  expect_identical(bind(f, "5"), list(n = 5L))
  expect_identical(
    bind(f, "5 1e3 yes 2026-02-28 'b c'"),
    list(
      n = 5L,
      x = 1000,
      all = TRUE,
      day = as.Date("2026-02-28"),
      text = "b c"
    )
  )
  same <- list(x = 2, n = 5L)
  expect_identical(bind(f, "x=2 5"), same)
  expect_identical(bind(f, "--x 2 5"), same)
  expect_identical(bind(f, "--x=2 --n 5"), same)
  expect_identical(bind(f, "\u2014x 2 5"), same)
  expect_identical(bind(f, "--all 5"), list(all = TRUE, n = 5L))
  expect_identical(bind(f, "--all=no"), list(all = FALSE))
  expect_identical(bind(f, "-3"), list(n = -3L))
  expect_identical(bind(f, "text=a=b"), list(text = "a=b"))
  expect_identical(bind(f, "--text --n"), list(text = "--n"))
})

test_that("a quoted word, and all behind --, is no name", {
  f <- function(a = "", b = "", n = 1L) NULL
  expect_equal(bind(f, "'n=5' \"--n\""), list(a = "n=5", b = "--n"))
  expect_equal(bind(f, "-- n=5 --n"), list(a = "n=5", b = "--n"))
  expect_equal(bind(f, "unknown=5"), list(a = "unknown=5"))
  expect_equal(bind(f, "n='5'"), list(n = 5L))
})

test_that("what does not fit is a sentence", {
  f <- function(n = 10L, x = 1, all = FALSE, day = Sys.Date()) NULL
  for (bad in c(
    "1.5",
    "a",
    "1e3",
    "99999999999",
    "NA",
    "0x10",
    "",
    "1L",
    " "
  )) {
    expect_match(refused(f, paste0("n='", bad, "'")), "whole number")
  }
  for (bad in c("Inf", "NaN", "1e999", "0x10", "1,5", "--1", "")) {
    expect_match(refused(f, paste0("x='", bad, "'")), "a number")
  }
  expect_match(refused(f, "all=maybe"), "yes or no")
  for (bad in c("tomorrow", "2026-02-30", "2026-13-01", "20260101")) {
    expect_match(refused(f, paste0("day=", bad)), "a date")
  }
  expect_match(refused(f, "--nope 5"), "no option `--nope`")
  expect_match(refused(f, "--n"), "no value")
  expect_match(refused(f, "--n 5 n=6"), "given twice")
  expect_match(refused(f, "1 2 yes 2026-01-01 5"), "at most 4")
  expect_match(refused(function() NULL, "5"), "No arguments")
  expect_match(refused(function(name) NULL, ""), "`name` is missing")
})

test_that("several strings are the values of an argument, and the first its default", {
  f <- function(table = c("cars", "iris")) NULL
  expect_equal(bind(f, ""), list(table = "cars"))
  expect_equal(bind(f, "IRIS"), list(table = "iris"))
  expect_match(refused(f, "mtcars"), "one of cars, iris")
})

test_that("types can be declared, also by a function", {
  f <- function(n, at = NULL) NULL
  expect_identical(bind(f, "5", types = list(n = "integer")), list(n = 5L))
  at <- function(text) if (text == "now") 1 else stop("No such time.")
  expect_equal(bind(f, "x now", types = list(at = at)), list(n = "x", at = 1))
  expect_match(refused(f, "x then", types = list(at = at)), "No such time")
  expect_error(
    mx_command(f, types = list(n = "POSIXct")),
    class = "mx_error_argument"
  )
  expect_error(
    mx_command(f, types = list(m = "integer")),
    class = "mx_error_argument"
  )
})

test_that("... takes the rest, and names that are shells' are R's", {
  f <- function(max_rows = 5L, ..., quiet = FALSE) NULL
  expect_equal(
    bind(f, "1 a --quiet b=c --other"),
    list(quiet = TRUE, max_rows = 1L, "a", "b=c", "--other")
  )
  expect_equal(bind(f, "--max-rows 3"), list(max_rows = 3L))
})

test_that("senders cannot set what the bot fills in", {
  f <- function(x = "", event, client, bot) NULL
  expect_match(refused(f, "--event 5"), "no option")
  expect_match(refused(f, "1 2"), "at most 1")
  expect_equal(bind(f, "event=5"), list(x = "event=5"))
  rest <- function(event, ...) NULL
  expect_equal(bind(rest, "event=5 --event"), list("event=5", "--event"))
})

test_that("nothing is evaluated", {
  f <- function(x = "", n = 1L) NULL
  evil <- "system('touch /tmp/x'); `rm`"
  line <- paste0("\"", evil, "\"")
  expect_identical(bind(f, line), list(x = evil))
  # Neither is the name of a function, nor a formula of a logger.
  expect_match(refused(f, "n=quit()"), "whole number")
  expect_equal(
    shown_text("a {stop()} \u202e b\nc\u2028d"),
    "a (stop())   b c d"
  )
})

test_that("the defaults of a command may need other arguments, or fail", {
  expect_equal(
    bind(function(a = 1L, b = a + 1) NULL, "5 x"),
    list(a = 5L, b = "x")
  )
  expect_equal(bind(function(a = stop("no")) NULL, "x"), list(a = "x"))
  expect_identical(bind(function(n = -1L) NULL, "2"), list(n = 2L))
  expect_identical(bind(sum, "2 3"), list("2", "3"))
})

test_that("characters that Unicode gave to nobody are as good as others", {
  odd <- c("\ufffe", "a\uffff")
  for (text in odd) {
    expect_equal(shown_text(text), text)
    expect_match(refused(function(l = FALSE) NULL, text), "yes or no")
    expect_match(refused(function(t = c("a", "b")) NULL, text), "one of a, b")
  }
})

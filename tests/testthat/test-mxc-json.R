# The table at ?mxc_json, row by row.

expect_json <- function(x, text) {
  expect_identical(as.character(mxc_json(x)), enc2utf8(text))
}

expect_refused <- function(x) {
  expect_error(mxc_json(x), class = "mxc_error")
}

test_that("the text is one string of class json, in UTF-8", {
  json <- mxc_json(list(a = "\u00e9"))
  expect_s3_class(json, "json", exact = TRUE)
  expect_length(json, 1)
  expect_equal(charToRaw(json), charToRaw("{\"a\":\"\u00e9\"}"))
})

test_that("NULL and NA of any type are null", {
  nothings <- list(NULL, NA, NA_integer_, NA_real_, NA_character_, factor(NA))
  for (x in nothings) {
    expect_json(x, "null")
  }
  expect_json(c(TRUE, NA), "[true,null]")
  expect_json(c(1L, NA), "[1,null]")
  expect_json(c(1.5, NA), "[1.5,null]")
  expect_json(c("a", NA), '["a",null]')
  expect_json(list(a = NULL, b = NA), '{"a":null,"b":null}')
})

test_that("an atomic vector of length one is a scalar, of another an array", {
  expect_json(TRUE, "true")
  expect_json(5L, "5")
  expect_json(-5, "-5")
  expect_json("a", '"a"')
  expect_json(c(TRUE, FALSE), "[true,false]")
  expect_json(1:3, "[1,2,3]")
  expect_json(c("a", "b"), '["a","b"]')
  expect_json(character(), "[]")
  expect_json(integer(), "[]")
  expect_json(logical(), "[]")
  expect_json(c(a = 1), "1")
  expect_json(c(a = 1, b = 2), "[1,2]")
})

test_that("what is in I() is an array", {
  expect_json(I("a"), '["a"]')
  expect_json(I(TRUE), "[true]")
  expect_json(I(1L), "[1]")
  expect_json(I(0.5), "[0.5]")
  expect_json(I(character()), "[]")
  expect_json(I(c("a", "b")), '["a","b"]')
  expect_json(I(NA), "[null]")
  expect_json(list(x = I("a")), '{"x":["a"]}')
})

test_that("numbers keep all their digits", {
  expect_json(0.1 + 0.2, "0.30000000000000004")
  expect_json(1 / 3, "0.3333333333333333")
  expect_json(123456.789, "123456.789")
  expect_json(-0.5, "-0.5")
  expect_json(1e-7, "1e-7")
  expect_json(1e5, "100000")
  expect_json(1e15, "1000000000000000")
  expect_json(2147483648, "2147483648")
  expect_json(.Machine$integer.max, "2147483647")
  expect_json(-0, "0")
  expect_json(2^53 - 1, "9007199254740991")
  expect_json(-(2^53 - 1), "-9007199254740991")
  small <- as.character(mxc_json(.Machine$double.xmin))
  expect_identical(as.numeric(small), .Machine$double.xmin)
})

test_that("numbers that JSON or Matrix do not know are refused", {
  for (x in list(NaN, Inf, -Inf, 2^53, -2^53, 2^60, 1e300, c(1, NaN))) {
    expect_refused(x)
    expect_refused(list(a = list(x)))
  }
})

test_that("text is escaped where it must be, and nowhere else", {
  expect_json("\"\\", '"\\"\\\\"')
  expect_json("\b\f\n\r\t", '"\\b\\f\\n\\r\\t"')
  expect_json("\u0001\u001f", '"\\u0001\\u001f"')
  expect_json("/\u007f'<>&%", "\"/\u007f'<>&%\"")
  expect_json("%s%s%n", '"%s%s%n"')
  expect_json("\u65e5\U0001f600e\u0301", "\"\u65e5\U0001f600e\u0301\"")
})

test_that("text comes in any encoding, and goes out in UTF-8", {
  latin1 <- iconv("caf\u00e9", "UTF-8", "latin1")
  expect_equal(Encoding(latin1), "latin1")
  expect_json(latin1, "\"caf\u00e9\"")
  named <- list(1)
  names(named) <- latin1
  expect_json(named, "{\"caf\u00e9\":1}")
  bytes <- "caf\xe9"
  Encoding(bytes) <- "bytes"
  expect_refused(bytes)
  invalid <- "\xff\xfe"
  Encoding(invalid) <- "UTF-8"
  expect_refused(invalid)
  expect_refused(structure(list(1), names = invalid))
})

test_that("a factor is its labels", {
  f <- factor(c("b", "a", NA), levels = c("a", "b"))
  expect_json(f, '["b","a",null]')
  expect_json(f[1], '"b"')
  expect_json(I(f[1]), '["b"]')
})

test_that("lists are arrays without names, and objects with them", {
  expect_json(list(), "[]")
  expect_json(list(1), "[1]")
  expect_json(list(1, "a", list()), '[1,"a",[]]')
  expect_json(structure(list(), names = character()), "{}")
  expect_json(list(a = 1, b = list(c = 2)), '{"a":1,"b":{"c":2}}')
  expect_json(list(a = list(), b = as_object(list())), '{"a":[],"b":{}}')
  expect_json(I(list(1)), "[1]")
  expect_json(list(list(a = 1), list(a = 2)), '[{"a":1},{"a":2}]')
})

test_that("an object has each name once, and all names", {
  expect_refused(list(a = 1, 2))
  expect_refused(list(a = 1, a = 2))
  expect_refused(structure(list(1, 2), names = c("a", NA)))
  # The same name, twice encoded.
  twice <- list(1, 2)
  names(twice) <- c("\u00e9", iconv("\u00e9", "UTF-8", "latin1"))
  expect_refused(twice)
})

test_that("JSON text passes through as the value it is", {
  json <- function(text) structure(text, class = "json")
  expect_json(json('{"a":[]}'), '{"a":[]}')
  expect_json(list(x = json('{"a":[]}')), '{"x":{"a":[]}}')
  expect_json(list(x = mxc_json(list())), '{"x":[]}')
  expect_json(json(" [ 1.5 ] "), "[1.5]")
  for (text in c("", "{", "nonsense", '{"a":1,"a":2}')) {
    expect_refused(json(text))
  }
  expect_refused(json(c("1", "2")))
  expect_refused(json(NA_character_))
})

test_that("an integer in JSON text is never changed in silence", {
  for (text in c("[9007199254740993]", '{"a":-12345678901234567890}')) {
    expect_refused(structure(text, class = "json"))
  }
})

test_that("values of other kinds are refused by name", {
  others <- list(
    Sys.Date(),
    Sys.time(),
    data.frame(a = 1),
    as.raw(1),
    1i,
    quote(x),
    y ~ x,
    function() 1,
    new.env(),
    structure(1, class = "integer64"),
    numeric_version("1.0"),
    expression(a)
  )
  for (x in others) {
    expect_refused(x)
    expect_refused(list(a = x))
  }
  condition <- expect_error(mxc_json(Sys.Date()), class = "mxc_error_json")
  expect_match(conditionMessage(condition), "Date")
})

test_that("a list without end is an error and not a dead R", {
  deep <- list()
  for (i in 1:5000) {
    deep <- list(deep)
  }
  expect_refused(deep)
  shallow <- 1
  for (i in 1:50) {
    shallow <- list(shallow)
  }
  expect_json(shallow, paste0(strrep("[", 50), 1, strrep("]", 50)))
})

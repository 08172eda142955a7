# Specification: appendices, "Canonical JSON". Pairs of a text and its canonical
# form, as `text = form`; NA where there is none.

expect_table <- function(...) {
  table <- c(...)
  for (i in seq(1, length(table), 2)) {
    text <- table[[i]]
    form <- table[[i + 1]]
    if (is.na(form)) {
      expect_error(mxc_canonical_json(text), class = "mxc_error", info = text)
    } else {
      found <- mxc_canonical_json(text)
      expect_identical(charToRaw(found), charToRaw(enc2utf8(form)), info = text)
    }
  }
}

test_that("examples of the specification hold", {
  long <- '{"auth": {"success": true, "mxid": "@john.doe:example.com",
    "profile": {"display_name": "John Doe", "three_pids": [
    {"medium": "email", "address": "john.doe@example.org"},
    {"medium": "msisdn", "address": "123456789"}]}}}'
  short <- paste0(
    '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":',
    '"John Doe","three_pids":[{"address":"john.doe@example.org","medium":',
    '"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}'
  )
  # nolint start
  expect_table(
    "{}",
    "{}",
    '{ "one": 1,\n "two": "Two" }',
    '{"one":1,"two":"Two"}',
    '{"b": "2", "a": "1"}',
    '{"a":"1","b":"2"}',
    '{"b":"2","a":"1"}',
    '{"a":"1","b":"2"}',
    long,
    short,
    "{\"a\": \"\u65e5\u672c\u8a9e\"}",
    "{\"a\":\"\u65e5\u672c\u8a9e\"}",
    "{\"\u672c\": 2, \"\u65e5\": 1}",
    "{\"\u65e5\":1,\"\u672c\":2}",
    '{"a": "\\u65E5"}',
    "{\"a\":\"\u65e5\"}",
    '{"a": null}',
    '{"a":null}',
    '{"a": -0, "b": 1e10}',
    '{"a":0,"b":10000000000}'
  )
  # nolint end
})

test_that("values of every kind have a form", {
  # fmt: skip
  expect_table(
    "null", "null", "true", "true", "false", "false", "[]", "[]", "0", "0",
    '""', '""', " [ ] ", "[]", "\t{\r\n}\n", "{}", "[1, 2,3 ]", "[1,2,3]",
    '[{}, [], "", 0, null]', '[{},[],"",0,null]',
    '{"a":{"b":{"c":[{"e":1,"d":2}]}}}', '{"a":{"b":{"c":[{"d":2,"e":1}]}}}'
  )
})

test_that("integers end at 2^53 - 1, and are written plainly", {
  # fmt: skip
  expect_table(
    "9007199254740991", "9007199254740991",
    "-9007199254740991", "-9007199254740991",
    "9007199254740992", NA, "-9007199254740992", NA,
    "9007199254740993", NA, "18446744073709551616", NA, "1e16", NA,
    "1e400", NA, "-1e400", NA,
    "1e3", "1000", "1E3", "1000", "1.0", "1", "10e-1", "1", "-0", "0",
    "-0.0", "0", "0e5", "0", "-1", "-1",
    "0.5", NA, "1.5", NA, "1e-1", NA, "-1.25e1", NA
  )
})

test_that("what is nearly JSON is refused", {
  # fmt: skip
  expect_table(
    "", NA, " ", NA, "{", NA, "}", NA, "[1,]", NA, '{"a":1,}', NA, "[1 2]", NA,
    "{'a':1}", NA, "{a:1}", NA, "nul", NA, "NaN", NA, "Infinity", NA,
    "01", NA, "+1", NA, ".5", NA, "1.", NA, "0x10", NA, "1e", NA, "--1", NA,
    "{} {}", NA, "{}x", NA, "// c\n{}", NA, "{}/**/", NA, "\ufeff{}", NA,
    '"a', NA, '"\\x41"', NA, '"\\u12"', NA, '"\t"', NA, '"\n"', NA,
    "%s%s%n", NA, "TRUE", NA
  )
})

test_that("escapes are undone where they can be, and the shortest where not", {
  # fmt: skip
  expect_table(
    '"\\/"', '"/"', '"/"', '"/"', '"\\u0041"', '"A"',
    '"\\u0022"', '"\\""', '"\\u005c"', '"\\\\"',
    '"\\b\\f\\n\\r\\t"', '"\\b\\f\\n\\r\\t"',
    '"\\u0008\\u000c\\u000a\\u000d\\u0009"', '"\\b\\f\\n\\r\\t"',
    '"\\u0000"', '"\\u0000"', '"\\u0001"', '"\\u0001"',
    '"\\u000B"', '"\\u000b"', '"\\u001F"', '"\\u001f"',
    '"\\u007f"', "\"\u007f\"", '"\\u0080"', "\"\u0080\"",
    '"\\u2028\\u2029"', "\"\u2028\u2029\"", '"<>&\'"', '"<>&\'"',
    '"\\ud83d\\ude00"', "\"\U0001f600\"", "\"\U0001f600\"", "\"\U0001f600\"",
    '"\\ud800"', NA, '"\\udc00\\ud800"', NA, '"\\ud83dx"', NA,
    '{"\\u0061":1}', '{"a":1}', '{"\\u0000":1}', '{"\\u0000":1}'
  )
})

test_that("text is left as it is: nothing is composed, decomposed or folded", {
  # fmt: skip
  expect_table(
    "\"e\u0301\"", "\"e\u0301\"", "\"\u00e9\"", "\"\u00e9\"",
    "{\"e\u0301\":1,\"\u00e9\":2}", "{\"e\u0301\":1,\"\u00e9\":2}",
    "{\"\u00e9\":1,\"e\u0301\":2}", "{\"e\u0301\":2,\"\u00e9\":1}",
    "\"\u202e\u200b\ufeff\"", "\"\u202e\u200b\ufeff\"",
    "\"\U0010ffff\ufffe\"", "\"\U0010ffff\ufffe\""
  )
})

test_that("names are sorted by code point, in no locale's order", {
  # fmt: skip
  expect_table(
    '{"b":1,"B":2,"a":3,"A":4,"_":5,"1":6}', '{"1":6,"A":4,"B":2,"_":5,"a":3,"b":1}',
    '{"aa":1,"a":2,"":3}', '{"":3,"a":2,"aa":1}',
    '{"10":1,"9":2}', '{"10":1,"9":2}',
    "{\"z\":1,\"\u00e4\":2,\"a\":3}", "{\"a\":3,\"z\":1,\"\u00e4\":2}",
    # UTF-16 would sort the second before the first: it is written D83D DE00.
    "{\"\U0001f600\":1,\"\uff61\":2}", "{\"\uff61\":2,\"\U0001f600\":1}",
    "{\"\U00010000\":1,\"\uf000\":2,\"\uffff\":3,\"\ud7ff\":4}",
    "{\"\ud7ff\":4,\"\uf000\":2,\"\uffff\":3,\"\U00010000\":1}"
  )
})

test_that("a name stands once in an object, however it is written", {
  # fmt: skip
  expect_table(
    '{"a":1,"a":1}', NA, '{"a":1,"b":2,"a":3}', NA, '{"a":1,"\\u0061":2}', NA,
    '[{"x":{"y":1,"y":2}}]', NA, "{\"\u00e9\":1,\"\\u00e9\":2}", NA,
    '{"a":{"a":{"a":1}}}', '{"a":{"a":{"a":1}}}'
  )
})

test_that("text in another encoding is read as what it says", {
  latin1 <- iconv("{\"\u00e9\": \"\u00fc\"}", "UTF-8", "latin1")
  form <- mxc_canonical_json(latin1)
  expect_equal(charToRaw(form), charToRaw("{\"\u00e9\":\"\u00fc\"}"))
  expect_equal(Encoding(form), "UTF-8")
  invalid <- "\"\xff\xfe\""
  Encoding(invalid) <- "UTF-8"
  expect_error(mxc_canonical_json(invalid), class = "mxc_error_argument")
})

test_that("deep nesting is an error and not a dead R", {
  deep <- strrep("[", 1e5)
  expect_error(mxc_canonical_json(deep), class = "mxc_error_json")
  expect_error(
    mxc_canonical_json(strrep('{"a":', 1e5)),
    class = "mxc_error_json"
  )
})

test_that("the form is the same in the C locale", {
  skip_if_not_installed("callr")
  text <- "{\"\u00e4\":1,\"Z\":2,\"a\":\"\\ud83d\\ude00\",\"B\":\"\u65e5\"}"
  form <- callr::r(
    function(text) {
      list(
        sort = sort(c("a", "B")),
        bytes = charToRaw(mxcrypt::mxc_canonical_json(text)),
        json = charToRaw(mxcrypt::mxc_json(list(x = enc2utf8("\u00e9"))))
      )
    },
    list(text),
    env = c(LC_ALL = "C")
  )
  expect_equal(form[["sort"]], c("B", "a"))
  expect_equal(form[["bytes"]], charToRaw(mxc_canonical_json(text)))
  expect_equal(form[["json"]], charToRaw("{\"x\":\"\u00e9\"}"))
})

test_that("a refusal of the server has its code, status and body", {
  pair <- demo_pair()
  condition <- expect_error(
    mx_room_join(pair$bob, "!nowhere:demo"),
    class = "mx_error_http"
  )
  expect_s3_class(condition, "mx_error_M_NOT_FOUND")
  expect_s3_class(condition, "mx_error")
  expect_equal(condition[["errcode"]], "M_NOT_FOUND")
  expect_identical(condition[["status"]], 404L)
  expect_equal(condition[["body"]][["errcode"]], "M_NOT_FOUND")
  expect_match(conditionMessage(condition), "^Matrix error \\[M_NOT_FOUND\\]: ")
})

test_that("text of a server is never a format, a template or a bullet", {
  for (text in c("100% %s%n%5000d", "{1 + 1} {.cls x}", "<b>", "i x * !")) {
    condition <- catch(matrix_abort("M_X", text, 400L))
    expect_match(conditionMessage(condition), text, fixed = TRUE)
    condition <- catch(mx_abort(text, "mx_error_x"))
    expect_match(conditionMessage(condition), text, fixed = TRUE)
    condition <- rlang::catch_cnd(mx_warn(text, "mx_warning_x"), "warning")
    expect_match(conditionMessage(condition), text, fixed = TRUE)
  }
})

test_that("text of a server steers no terminal", {
  answer <- list(
    status = 400L,
    body = charToRaw(
      '{"errcode":"M_X","error":"\\u001b[31m\\u009b2J\\r\\n\\u0000\\u0007"}'
    )
  )
  condition <- catch(http_abort(answer))
  expect_no_match(conditionMessage(condition), "[\u0001-\u001f\u007f-\u009f]")
})

test_that("an error code that is none does not become a class", {
  odd <- c(
    "\"M X\"",
    "\"M_X\\nmx_error_store\"",
    "\"\"",
    "\"%s\"",
    "\"rlang_error error\"",
    sprintf("\"%s\"", strrep("M", 1000)),
    "5",
    "null",
    "[\"M_X\"]",
    "{}"
  )
  for (code in odd) {
    body <- charToRaw(sprintf('{"errcode":%s,"error":"x"}', code))
    condition <- catch(http_abort(list(status = 400L, body = body)))
    expect_equal(
      class(condition)[1:3],
      c("mx_error_M_UNKNOWN", "mx_error_http", "mx_error"),
      info = substr(code, 1, 50)
    )
  }
})

test_that("a failure of the core has its group", {
  failure <- function(code) {
    structure(list(code = code, message = "x"), class = "mxcrypt_failure")
  }
  expect_s3_class(catch(core(failure("store_locked"))), "mx_error_store")
  expect_s3_class(catch(core(failure("json"))), "mx_error_json")
  expect_s3_class(catch(primitive(failure("json"))), "mxc_error_json")
  expect_s3_class(catch(primitive(failure("json"))), "mx_error")
  expect_equal(core(5), 5)
})

test_that("what the core stopped waiting for is an interrupt", {
  failure <- structure(
    list(code = "interrupted", message = "x"),
    class = "mxcrypt_failure"
  )
  ended <- tryCatch(
    core(failure),
    interrupt = function(condition) "interrupt",
    error = identity
  )
  expect_equal(ended, "interrupt")
})

test_that("a warning can have an error of the server as its cause", {
  cause <- catch(matrix_abort("M_X", "y", 500L, body = list(errcode = "M_X")))
  warning <- rlang::catch_cnd(
    mx_warn("x", "mx_warning_pump", cause = cause),
    "warning"
  )
  expect_match(conditionMessage(warning), "x")
  expect_s3_class(warning, "mx_warning_pump")
})

test_that("a call that is shown holds no secret, wherever that stands", {
  calls <- list(
    quote(f("password")),
    quote(f("password")(1)),
    quote((function(x) "password")(1)),
    quote(utils::f("password")),
    quote(list("password")[[1]]("password")),
    as.call(list(function(x) "password", "password"))
  )
  for (call in calls) {
    shown <- paste(deparse(bare(call)), collapse = "")
    expect_false(grepl("password", shown, fixed = TRUE), info = shown)
  }
  expect_identical(bare(quote(utils::f("password"))), quote(utils::f()))
  expect_null(bare("password"))
})

# Text that comes in as an argument, in locales of all kinds.

as_native <- function(bytes) rawToChar(as.raw(bytes))

test_that("bytes that are no text are an error, and never sent as <ff>", {
  alice <- mx_demo_client(mx_demo_homeserver(), "alice")
  room <- mx_room_create(alice)
  refuses <- function() {
    broken <- as_native(c(0x61, 0xff))
    for (argument in list(broken, c("a", broken))) {
      condition <- expect_error(
        check_strings(argument, "text"),
        class = "mx_error_argument"
      )
      expect_match(conditionMessage(condition), "valid text")
    }
    for (fun in list(mx_room_join, mx_room_knock, mx_room_follow)) {
      expect_error(fun(alice, broken), class = "mx_error_argument")
    }
    expect_error(mx_send_text(alice, room, broken), class = "mx_error")
  }
  if (l10n_info()[["UTF-8"]]) {
    refuses()
  }
  withr::with_locale(c(LC_CTYPE = "C"), refuses())
})

test_that("a script in the locale C sends the letters that it read", {
  withr::local_locale(c(LC_CTYPE = "C"))
  file <- withr::local_tempfile()
  writeBin(as.raw(c(0xc3, 0xa9, 0x0a)), file)
  text <- readLines(file)
  expect_equal(charToRaw(check_string(text)), as.raw(c(0xc3, 0xa9)))
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, text)
  expect_equal(charToRaw(new_bodies(pair$bob)), as.raw(c(0xc3, 0xa9)))
})

test_that("what says its encoding keeps its letters", {
  latin <- as_native(c(0x61, 0xe9))
  Encoding(latin) <- "latin1"
  for (locale in c(Sys.getlocale("LC_CTYPE"), "C")) {
    withr::local_locale(c(LC_CTYPE = locale))
    expect_equal(charToRaw(check_string(latin)), as.raw(c(0x61, 0xc3, 0xa9)))
  }
})

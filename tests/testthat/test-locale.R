# What is said survives a locale that cannot say it.

test_that("text goes out and comes in as UTF-8 in the C locale", {
  found <- in_other_r(
    function() {
      library(mxcrypt)
      homeserver <- mx_demo_homeserver()
      alice <- mx_demo_client(homeserver, "alice")
      bob <- mx_demo_client(homeserver, "bob")
      name <- "D\u00e9j\u00e0 \u65e5\u672c"
      room <- mx_room_create(alice, name = name, invite = bob$user_id)
      mx_room_join(bob, room)
      texts <- c("d\u00e9j\u00e0", "\U0001f600 e\u0301", "\u65e5\u672c\u8a9e")
      mx_send_text(alice, name, texts, markdown = TRUE)
      # As names in the source they would be symbols, which have a locale.
      named <- function(x) setNames(x, "\u00e9")
      mx_send_table(alice, room, named(data.frame("\u00fc")))
      mx_send(alice, room, named(list("\u00fc")), type = "org.x")
      mx_react(alice, room, "$x", "\U0001f44d")
      events <- mx_sync(bob)
      list(
        locale = l10n_info()[["UTF-8"]],
        bodies = lapply(
          events$body[events$type == "m.room.message"],
          charToRaw
        ),
        content = events$content[events$type == "org.x"][[1]],
        reaction = charToRaw(
          events$relates_to[events$type == "m.reaction"][[1]]$key
        ),
        name = charToRaw(mx_rooms(bob)$name),
        records = lapply(
          mx_extract_text_events(mx_sync_update(bob)$sync, bob$user_id),
          function(x) x$body
        ),
        config = readLines(bob$path, encoding = "UTF-8")
      )
    },
    env = c(LC_ALL = "C")
  )
  expect_false(found$locale)
  texts <- c("d\u00e9j\u00e0", "\U0001f600 e\u0301", "\u65e5\u672c\u8a9e")
  expect_identical(found$bodies[1:3], lapply(texts, charToRaw))
  expect_identical(found$bodies[[4]], charToRaw("\u00e9\n\u00fc"))
  expect_identical(charToRaw(found$content[[1]]), charToRaw("\u00fc"))
  expect_identical(charToRaw(names(found$content)), charToRaw("\u00e9"))
  expect_identical(found$reaction, charToRaw("\U0001f44d"))
  expect_identical(found$name, charToRaw("D\u00e9j\u00e0 \u65e5\u672c"))
})

# A locale of the encoding ISO-8859-1, as variables for another R. Few machines have one.
latin1_locale <- function(.local_envir = parent.frame()) {
  skip_on_os(c("windows", "mac"))
  skip_if(!nzchar(Sys.which("localedef")), "no localedef")
  dir <- withr::local_tempdir(.local_envir = .local_envir)
  name <- "en_US.ISO-8859-1"
  arguments <- c("-i", "en_US", "-f", "ISO-8859-1", file.path(dir, name))
  made <- suppressWarnings(
    system2("localedef", arguments, stdout = FALSE, stderr = FALSE)
  )
  skip_if(made != 0L, "no sources of locales")
  c(LOCPATH = dir, LC_ALL = name)
}

# What all objects print in another R, as UTF-8, with names and texts of many scripts, and
# what went wrong.
printed_with <- function(env) {
  in_other_r(
    function() {
      library(mxcrypt)
      options(width = 80)
      # Letters of Latin 1, emoji of several characters, text from right to left, and
      # characters that would turn the rest of a line.
      name <- "Zo\u00eb \U0001f469\u200d\U0001f680 \u05e9\u05dc\u05d5\u05dd"
      text <- "d\u00e9j\u00e0 \u65e5\u672c \u0645\u0631\u062d\u0628\u0627 \u202eevil\u202c"
      text <- paste(text, strrep("long ", 30))
      lines <- lapply(printed_objects(name, text), function(x) {
        utils::capture.output(print(x))
      })
      list(
        lines = lapply(lines, enc2utf8),
        locale = Sys.getlocale("LC_CTYPE"),
        latin1 = l10n_info()[["Latin-1"]]
      )
    },
    env = c(env, R_CLI_NUM_COLORS = NA),
    timeout = 300
  )
}

test_that("every object prints in every locale, and nothing is garbled", {
  skip_on_cran()
  skip_without_promises()
  locales <- list(
    utf8 = c(LC_ALL = "C.UTF-8"),
    c = c(LC_ALL = "C"),
    latin1 = latin1_locale()
  )
  for (name in names(locales)) {
    found <- printed_with(locales[[name]])
    expect_equal(found$latin1, name == "latin1", info = name)
    printed <- setdiff(unlist(found$lines), "")
    # Neither a code of a terminal, nor a sign of this package that the locale has not.
    expect_no_match(printed, "\u001b", info = name)
    expect_no_match(printed, "<U[+](2026|2022|2013)>", info = name)
    expect_no_match(printed, "[\u202a-\u202e\u2066-\u2069]", info = name)
    expect_no_match(printed, "<U[+]202[ae]>", info = name)
    shown <- unlist(found$lines[c("mx_events", "mx_search", "mx_message")])
    if (name != "c") {
      expect_match(shown, "d\u00e9j\u00e0", all = FALSE, info = name)
    }
    if (name == "utf8") {
      expect_match(shown, "\u65e5\u672c", all = FALSE)
      expect_match(shown, "\u0645\u0631\u062d\u0628\u0627 evil", all = FALSE)
      expect_match(shown, "\u2026$", all = FALSE)
    } else {
      expect_match(shown, "[.]{3}$", all = FALSE, info = name)
    }
  }
})

test_that("neither colours nor codes come where they are not wanted", {
  skip_on_cran()
  wanted_not <- list(
    c(NO_COLOR = "1"),
    c(R_CLI_NUM_COLORS = "1"),
    c(TERM = "dumb")
  )
  for (env in wanted_not) {
    found <- in_other_r(
      function() {
        library(mxcrypt)
        options(cli.default_handler = NULL)
        said <- character()
        alice <- mx_demo_client(mx_demo_homeserver(), "alice", verified = FALSE)
        withCallingHandlers(mx_crypto_setup(alice), message = function(x) {
          said <<- c(said, conditionMessage(x))
        })
        mx_room_create(alice)
        c(
          said,
          utils::capture.output(
            print(mx_doctor(alice)),
            print(mxc_qr_symbol(charToRaw("hello")))
          )
        )
      },
      env = env
    )
    expect_match(found, "Created an identity", all = FALSE)
    expect_no_match(found, "\u001b", info = names(env))
  }
})

test_that("a document that is knit shows the same, without codes of a terminal", {
  skip_on_cran()
  skip_if_not_installed("knitr")
  knit <- in_other_r(function() {
    options(cli.default_handler = NULL)
    source <- c(
      "```{r}",
      "library(mxcrypt)",
      "alice <- mx_demo_client(mx_demo_homeserver(), 'alice', verified = FALSE)",
      "mx_crypto_setup(alice)",
      "mx_crypto_status(alice)",
      "mx_doctor(alice)",
      "mxc_qr_symbol(charToRaw('hello'))",
      "```"
    )
    strsplit(knitr::knit(text = source, quiet = TRUE), "\n")[[1]]
  })
  expect_match(knit, "^## .*Created an identity[.]", all = FALSE)
  expect_match(knit, "^## <mx_crypto_status> @alice:demo", all = FALSE)
  expect_match(knit, "^## <mx_doctor>", all = FALSE)
  expect_no_match(knit, "\u001b")
})

test_that("text of others turns no line, and keeps its own direction", {
  # A name that would be shown before what stands before it.
  expect_equal(printable("a\u202eb\u2066c\u2069\u202c"), "abc")
  expect_equal(printable("a\u2028b\u2029c\u009bd\u001be"), "a b c d e")
  kept <- c(
    "\u05e9\u05dc\u05d5\u05dd",
    "\u0645\u0631\u062d\u0628\u0627\u200f",
    "\U0001f469\u200d\U0001f680",
    NA
  )
  expect_equal(printable(kept), kept)
})

# Whatever stands for an argument: a result, or a condition of this package. It is
# tried in another R, so that a dead one is a failure and not the end of all tests.

test_that("every exported function is tried, with every argument", {
  calls <- good_calls()
  expect_setequal(names(calls), getNamespaceExports("mxcrypt"))
  for (name in names(calls)) {
    formals <- names(formals(getExportedValue("mxcrypt", name)))
    expect_identical(names(calls[[name]]), formals, info = name)
  }
})

test_that("calls with good arguments succeed", {
  skip_on_cran()
  calls <- good_calls()
  if (!requireNamespace("png", quietly = TRUE)) {
    calls[["mxc_qr_png"]] <- NULL
  }
  if (!requireNamespace("rmarkdown", quietly = TRUE)) {
    calls[["mx_send_report"]] <- NULL
  }
  if (!requireNamespace("promises", quietly = TRUE)) {
    calls[grep("_async$|_start$|^mx_bot_", names(calls))] <- NULL
  }
  if (!requireNamespace("shiny", quietly = TRUE)) {
    calls[c("mx_reactive_events", "mx_room_ui", "mx_room_server")] <- NULL
  }
  # It needs a person.
  calls[["mx_verify"]] <- NULL
  # The demo homeserver has no such page.
  calls[["mx_account_url"]] <- NULL
  withr::defer(end_listeners())
  for (name in names(calls)) {
    expect_error(
      suppressWarnings(do.call(name, as_call(calls[[name]])), "mx_warning"),
      NA
    )
  }
})

test_that("a missing argument is a classed error that names it", {
  calls <- good_calls()
  for (name in names(calls)) {
    defaults <- formals(getExportedValue("mxcrypt", name))
    required <- names(defaults)[vapply(defaults, rlang::is_missing, NA)]
    for (argument in setdiff(required, "...")) {
      call <- calls[[name]]
      # What stands for `...` would take its place.
      call[c(argument, "...")] <- NULL
      where <- sprintf("%s() without %s", name, argument)
      condition <- catch(do.call(name, as_call(call), quote = TRUE))
      expect_s3_class(condition, "mx_error_argument")
      expect_match(
        conditionMessage(condition),
        paste0("`", argument, "`"),
        fixed = TRUE,
        info = where
      )
      expect_identical(
        conditionCall(condition),
        as.call(list(as.name(name))),
        info = where
      )
    }
  }
  # Also where the caller's own argument is the missing one.
  theirs <- function(client) mx_rooms(client)
  expect_error(theirs(), class = "mx_error_argument")
})

test_that("an odd argument is an error of this package, and never a dead R", {
  skip_on_cran()
  complaints <- in_other_r(
    function() {
      # What an odd path may leave behind.
      setwd(tempdir())
      options(mxcrypt.max_tries = 1, mxcrypt.timeout = 1)
      Sys.setenv(R_USER_DATA_DIR = tempdir(), R_USER_CONFIG_DIR = tempdir())
      complaint <- function(call, name) {
        said <- function(condition) {
          said <- paste(class(condition)[[1]], conditionMessage(condition))
          # It may repeat text that is none.
          substr(iconv(said, "UTF-8", "UTF-8", sub = "byte"), 1, 99)
        }
        tryCatch(
          {
            suppressWarnings(
              do.call(name, as_call(call), quote = TRUE),
              "mx_warning"
            )
            NULL
          },
          mx_error = function(condition) {
            # Names of functions that nobody can call say nothing to a user.
            made <- deparse(conditionCall(condition)[[1]])
            if (!made %in% exported) paste("is of a call of", made)
          },
          error = said,
          warning = said
        )
      }
      exported <- getNamespaceExports("mxcrypt")
      odd <- odd_arguments()
      calls <- good_calls()
      complaints <- character()
      for (name in names(calls)) {
        for (argument in names(calls[[name]])) {
          # To listen for so long is allowed.
          for (what in setdiff(
            names(odd),
            if (argument == "seconds") "1e300"
          )) {
            call <- calls[[name]]
            call[argument] <- list(odd[[what]])
            found <- complaint(call, name)
            where <- sprintf("%s(%s = %s):", name, argument, what)
            complaints <- c(
              complaints,
              if (!is.null(found)) paste(where, found)
            )
          }
        }
      }
      complaints
    },
    timeout = 3000
  )
  # A handler's own error is its caller's.
  of_callers <- "^mx_listen\\((handler|on_verification)"
  complaints <- complaints[!grepl(of_callers, complaints)]
  expect_identical(complaints, character())
})

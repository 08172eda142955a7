# Reports are rendered, and arrive as one file; nothing of them stays here.

skip_without_rmarkdown <- function() {
  skip_if_not_installed("rmarkdown")
  skip_if_not(rmarkdown::pandoc_available("1.12.3"))
}

# Without Bootstrap and MathJax, which pandoc takes a second to embed.
plain_html <- c(
  "output:",
  "  html_document:",
  "    theme: null",
  "    highlight: null",
  "    mathjax: null"
)

# A document in a directory of its own.
a_report <- function(
  ...,
  header = "title: Sales",
  name = "report.Rmd",
  .local_envir = parent.frame()
) {
  dir <- withr::local_tempdir(.local_envir = .local_envir)
  path <- file.path(dir, name)
  if (!any(grepl("^output:", header))) {
    header <- c(header, plain_html)
  }
  writeLines(c("---", header, "---", "", ...), path)
  path
}

chunk <- function(..., options = "") {
  c(paste0("```{r ", options, "}"), ..., "```", "")
}

# Sends a report, and returns what arrived: the events, and the text of the file.
# Checks what holds for every report.
arrived <- function(pair, input, ...) {
  before <- beside(input)
  temporary <- left_behind()
  dir <- getwd()
  ids <- expect_invisible(mx_send_report(pair$alice, pair$room, input, ...))
  expect_identical(getwd(), dir)
  expect_identical(left_behind(), temporary)
  expect_identical(beside(input), before)
  events <- messages(mx_sync(pair$bob))
  events <- events[match(ids, events$event_id), ]
  got <- mx_media_download(pair$bob, events[1, ], tempfile("got-"))
  withr::defer(unlink(dirname(got$path), recursive = TRUE))
  # Of a Word document, the part up to the first zero.
  text <- suppressWarnings(
    readChar(got$path, file.size(got$path), useBytes = TRUE)
  )
  list(ids = ids, events = events, content = events$content[[1]], text = text)
}

beside <- function(input) {
  list.files(dirname(input), all.files = TRUE, recursive = TRUE)
}

left_behind <- function() {
  list.files(
    tempdir(),
    "^(mxcrypt-|rmarkdown|report|script|pandoc|file.*[.](html|md))"
  )
}

expect_no_report <- function(
  pair,
  input,
  message,
  ...,
  class = "mx_error_report"
) {
  before <- if (is_string(input)) beside(input)
  temporary <- left_behind()
  dir <- getwd()
  asked <- requests_during({
    condition <- catch(mx_send_report(pair$alice, pair$room, input, ...))
  })
  expect_s3_class(condition, class)
  expect_match(conditionMessage(condition), message)
  expect_identical(conditionCall(condition), quote(mx_send_report()))
  expect_length(asked, 0)
  expect_identical(getwd(), dir)
  expect_identical(left_behind(), temporary)
  if (is_string(input)) {
    expect_identical(beside(input), before)
  }
  invisible(condition)
}

test_that("a report arrives as one HTML file, and the server learns nothing of it", {
  skip_without_rmarkdown()
  pair <- demo_pair()
  input <- a_report(
    "The confidential text.",
    chunk("6 * 7"),
    chunk("plot(cars)"),
    header = c("title: Sales", "output: html_document")
  )
  got <- arrived(
    pair,
    input,
    summary = "All is *well*",
    mentions = pair$bob$user_id
  )
  content <- got$content
  expect_equal(content[["msgtype"]], "m.file")
  expect_equal(content[["filename"]], "report.html")
  expect_equal(content[["info"]][["mimetype"]], "text/html")
  expect_equal(content[["body"]], "**Sales**\n\nAll is *well*")
  expect_match(content[["formatted_body"]], "<strong>Sales</strong>")
  expect_match(content[["formatted_body"]], "<em>well</em>")
  expect_equal(
    content[["m.mentions"]][["user_ids"]],
    list(pair$bob$user_id)
  )
  expect_length(got$ids, 1)
  expect_match(got$text, "The confidential text.", fixed = TRUE)
  expect_match(got$text, "[1] 42", fixed = TRUE)
  expect_match(got$text, "src=\"data:image/png;base64", fixed = TRUE)
  for (secret in c("confidential", "report.html", "Sales", "well")) {
    expect_false(server_has_seen(pair$homeserver, secret), info = secret)
  }
})

test_that("the title is that of the header with its code run, or the one given", {
  skip_without_rmarkdown()
  pair <- demo_pair()
  body <- function(input, ...) arrived(pair, input, ...)$content[["body"]]
  input <- a_report(
    "x",
    header = c("title: \"Sales of `r params$year`\"", "params:", "  year: 1")
  )
  expect_equal(body(input, params = list(year = 2024)), "**Sales of 2024**")
  expect_equal(body(input, title = "Mine"), "**Mine**")
  expect_equal(body(input, title = "", summary = "words"), "words")
  expect_equal(body(input, title = ""), "report.html")
  expect_equal(body(a_report("x", header = "author: A")), "report.html")
  expect_equal(body(a_report("x", header = "title: [a, b]")), "report.html")
  expect_equal(body(a_report("x", header = "title: 2024")), "**2024**")
})

test_that("parameters are given to the document", {
  skip_without_rmarkdown()
  pair <- demo_pair()
  input <- a_report(
    "The year is `r params$year`.",
    header = c("params:", "  year: 1999")
  )
  expect_match(arrived(pair, input)$text, "The year is 1999")
  got <- arrived(pair, input, params = list(year = 2024))
  expect_match(got$text, "The year is 2024")
  expect_no_report(pair, input, "month", params = list(month = 3))
})

test_that("figures follow as pictures in a thread, in their order", {
  skip_without_rmarkdown()
  skip_if_not_installed("png")
  pair <- demo_pair()
  figure <- withr::local_tempfile(fileext = ".png")
  png::writePNG(matrix(0, 5, 5), figure)
  input <- a_report(
    chunk("plot(cars)", "plot(1)", options = "zebra"),
    chunk("plot(2)", options = "hidden, fig.show = 'hide'"),
    chunk(sprintf("knitr::include_graphics(\"%s\")", figure)),
    chunk("plot(3)", options = "ant")
  )
  got <- arrived(pair, input, figures = TRUE, transaction_id = "monday")
  expect_equal(
    got$events$body[-1],
    c("zebra-1.png", "zebra-2.png", basename(figure), "ant-1.png")
  )
  for (content in got$events$content[-1]) {
    expect_equal(content[["msgtype"]], "m.image")
    expect_equal(content[["m.relates_to"]][["rel_type"]], "m.thread")
    expect_equal(content[["m.relates_to"]][["event_id"]], got$ids[[1]])
  }
  expect_null(got$content[["m.relates_to"]])
  expect_equal(got$events$content[[4]][["info"]][["w"]], 5)
  # Sent again under its id, nothing is sent twice.
  again <- mx_send_report(
    pair$alice,
    pair$room,
    input,
    figures = TRUE,
    transaction_id = "monday"
  )
  expect_identical(again, got$ids)
  expect_length(arrived(pair, a_report("x"), figures = TRUE)$ids, 1)
})

test_that("figures of a report in a thread stay in that thread", {
  skip_without_rmarkdown()
  pair <- demo_pair()
  root <- mx_send_text(pair$alice, pair$room, "a thread")
  input <- a_report(chunk("plot(cars)"))
  got <- arrived(pair, input, figures = TRUE, thread = root, reply_to = root)
  for (content in got$events$content) {
    expect_equal(content[["m.relates_to"]][["event_id"]], root)
  }
})

test_that("figures are pictures whatever the device of the format", {
  skip_without_rmarkdown()
  pair <- demo_pair()
  input <- a_report(
    chunk("plot(cars)", options = "cars"),
    header = c("output:", "  html_document:", "    dev: svg")
  )
  got <- arrived(pair, input, figures = TRUE)
  expect_equal(got$events$body[-1], "cars-1.png")
  expect_match(got$text, "data:image/svg+xml", fixed = TRUE)
  own <- a_report(chunk("plot(cars)", options = "own, dev = 'svg'"))
  expect_message(
    got <- arrived(pair, own, figures = TRUE),
    "own-1.svg",
    class = "mx_message_report"
  )
  expect_length(got$ids, 1)
  word <- arrived(
    pair,
    a_report(chunk("plot(cars)")),
    output_format = "word_document",
    figures = TRUE,
    name = "Words"
  )
  expect_equal(word$content[["filename"]], "Words.docx")
  expect_length(word$ids, 2)
})

test_that("an R script is a report", {
  skip_without_rmarkdown()
  pair <- demo_pair()
  dir <- withr::local_tempdir()
  script <- file.path(dir, "analysis.R")
  writeLines(
    c(
      "#' ---",
      "#' title: Analysis",
      "#' output:",
      "#'   html_document:",
      "#'     self_contained: false",
      "#' ---",
      "#' Some *words*",
      "x <- 6 * 7",
      "x",
      "plot(cars)"
    ),
    script
  )
  expect_message(
    got <- arrived(pair, script, figures = TRUE),
    class = "mx_message_report"
  )
  expect_equal(got$content[["filename"]], "analysis.html")
  expect_equal(got$content[["body"]], "**Analysis**")
  expect_match(got$text, "[1] 42", fixed = TRUE)
  expect_length(got$ids, 2)
  expect_false(exists("x", globalenv(), inherits = FALSE))
})

test_that("HTML is made self-contained, however its format is given", {
  skip_without_rmarkdown()
  pair <- demo_pair()
  apart <- c("output:", "  html_document:", "    self_contained: false")
  input <- a_report(chunk("plot(cars)"), header = c(apart, "    keep_md: true"))
  common <- a_report(chunk("plot(cars)"), header = "output: html_document")
  writeLines(
    c("html_document:", "  self_contained: false"),
    file.path(dirname(common), "_output.yml")
  )
  object <- rmarkdown::html_document(self_contained = FALSE)
  calls <- list(
    function() arrived(pair, input),
    function() arrived(pair, common),
    function() arrived(pair, input, output_format = "html_document"),
    function() {
      arrived(pair, a_report(chunk("plot(cars)")), output_format = object)
    }
  )
  for (call in calls) {
    expect_message(got <- call(), class = "mx_message_report")
    expect_match(got$text, "src=\"data:image/png;base64", fixed = TRUE)
    expect_no_match(got$text, "_files/", fixed = TRUE)
  }
  expect_no_message(arrived(pair, input, output_format = "slidy_presentation"))
})

test_that("a format of several files is an error", {
  skip_without_rmarkdown()
  pair <- demo_pair()
  input <- a_report(chunk("plot(cars)"))
  expect_no_report(pair, input, "not one file", output_format = "md_document")
  expect_no_report(pair, input, "no_such", output_format = "no_such")
  shiny <- a_report("x", header = "runtime: shiny")
  expect_no_report(pair, shiny, "Shiny")
  # Without figures it is one.
  got <- arrived(pair, a_report("words"), output_format = "md_document")
  expect_equal(got$content[["filename"]], "report.md")
})

test_that("a rendered file is sent as it is", {
  skip_if_not_installed("png")
  pair <- demo_pair()
  dir <- withr::local_tempdir()
  pdf <- file.path(dir, "report.pdf")
  writeBin(charToRaw("%PDF-1.4 not really"), pdf)
  got <- arrived(pair, pdf, summary = "x")
  expect_equal(got$content[["filename"]], "report.pdf")
  expect_equal(got$content[["body"]], "x")
  expect_equal(got$text, "%PDF-1.4 not really")
  figure <- file.path(dir, "figure.png")
  png::writePNG(matrix(0, 5, 7), figure)
  data <- jsonlite::base64_enc(readBin(figure, "raw", 1e5))
  html <- file.path(dir, "page.html")
  source <- function(type) sprintf("data:image/%s;base64,%s", type, data)
  writeLines(
    c(
      "<html><head><title>Q&amp;A *2*\n caf\u00e9</title>",
      sprintf("<style>a { background: url('%s') }</style>", source("png")),
      sprintf("<img src=\"%s\">", source("svg+xml")),
      sprintf("<img alt='x' src='%s'>text", source("png")),
      sprintf("<code>%s</code>", source("png")),
      sprintf("<img src = \"%s\"/></html>", source("png"))
    ),
    html,
    useBytes = TRUE
  )
  got <- arrived(pair, html, figures = TRUE, name = "mine")
  expect_equal(got$content[["filename"]], "mine.html")
  expect_match(
    got$content[["formatted_body"]],
    "<strong>Q&amp;A *2* caf\u00e9</strong>",
    fixed = TRUE
  )
  expect_equal(got$events$body[-1], c("figure-1.png", "figure-2.png"))
  expect_equal(got$events$content[[3]][["info"]][["w"]], 7)
  expect_length(arrived(pair, pdf, figures = TRUE)$ids, 1)
  # One that needs files which are not sent.
  dir.create(file.path(dir, "page_files"))
  file.copy(figure, file.path(dir, "page_files"))
  cat("<img src='page_files/figure.png'>", file = html, append = TRUE)
  expect_no_report(pair, html, "page_files/figure.png")
})

test_that("a report that fails is its error, with chunk and lines", {
  skip_without_rmarkdown()
  pair <- demo_pair()
  input <- a_report(
    chunk("plot(cars)", "secret <- 'the plain text'"),
    chunk("tryCatch(stop('handled'), error = identity)"),
    chunk(
      "options(mxcrypt.test = 3)",
      "stop('{no} such %s data')",
      options = "bad"
    )
  )
  condition <- expect_no_report(pair, input, "\\{no\\} such %s data")
  expect_match(conditionMessage(condition), "bad", fixed = TRUE)
  # Older versions of knitr count the lines of the chunk without its first.
  expect_match(conditionMessage(condition), "(lines 20|[.]Rmd:19)-22")
  expect_identical(conditionMessage(condition$parent), "{no} such %s data")
  expect_null(getOption("mxcrypt.test"))
  expect_null(grDevices::dev.list())
  broken <- a_report(chunk("1 +"))
  expect_no_report(pair, broken, "could not be rendered")
  expect_no_report(pair, a_report("x", header = "title: [a"), "could not be")
  lost <- a_report("x", header = "bibliography: no-such.bib")
  suppressWarnings(expect_no_report(pair, lost, "could not be rendered"))
  expect_length(new_bodies(pair$bob), 0)
})

test_that("a report may do what it likes to its session", {
  # The cache of knitr needs it.
  skip_if_not_installed("codetools")
  skip_without_rmarkdown()
  pair <- demo_pair()
  home <- getwd()
  other <- withr::local_tempdir()
  old <- options()
  input <- a_report(
    chunk(sprintf("setwd(\"%s\")", other)),
    chunk(
      "options(digits = 3, mxcrypt.test = 3)",
      "knitr::opts_knit$set(root.dir = tempdir())",
      "grDevices::pdf(NULL)",
      "x <- 3",
      "sink(tempfile())"
    ),
    chunk("pi", options = "cache = TRUE"),
    "The end."
  )
  # knitr warns of setwd().
  suppressWarnings(got <- arrived(pair, input))
  expect_match(got$text, "The end.", fixed = TRUE)
  expect_identical(getwd(), home)
  expect_identical(options()[names(old)], old)
  expect_null(getOption("mxcrypt.test"))
  expect_equal(sink.number(), 0)
  expect_null(grDevices::dev.list())
})

test_that("the code runs where it was told to", {
  skip_without_rmarkdown()
  pair <- demo_pair()
  visible_here <- "seen"
  input <- a_report(chunk("visible_here", "made_there <- 3"))
  expect_no_report(pair, input, "visible_here")
  got <- arrived(pair, input, envir = environment())
  expect_match(got$text, "seen", fixed = TRUE)
  expect_equal(made_there, 3)
  # Files beside the document are found.
  data <- a_report(chunk("readLines('data.txt')"))
  writeLines("the data", file.path(dirname(data), "data.txt"))
  expect_match(arrived(pair, data)$text, "the data", fixed = TRUE)
})

test_that("a report may send messages itself", {
  skip_without_rmarkdown()
  pair <- demo_pair()
  input <- a_report(chunk(
    "invisible(mx_send_text(alice, room, 'from within'))"
  ))
  here <- list2env(pair[c("alice", "room")], parent = asNamespace("mxcrypt"))
  mx_send_report(pair$alice, pair$room, input, envir = here)
  expect_equal(new_bodies(pair$bob), c("from within", "**Sales**"))
  wrong <- a_report(chunk("mx_send_text(alice, 'no such room', 'x')"))
  condition <- catch(
    mx_send_report(pair$alice, pair$room, wrong, envir = here)
  )
  expect_s3_class(condition, "mx_error_report")
  expect_s3_class(condition$parent, "mx_error_room")
  nested <- a_report(
    chunk(sprintf(
      "id <- mx_send_report(alice, room, \"%s\")",
      a_report("inner")
    ))
  )
  mx_send_report(pair$alice, pair$room, nested, envir = here, title = "outer")
  expect_equal(new_bodies(pair$bob), c("**Sales**", "**outer**"))
})

test_that("a report that deletes its own result is an error", {
  skip_without_rmarkdown()
  pair <- demo_pair()
  input <- a_report(
    chunk(
      "report <- dirname(dirname(knitr::opts_chunk$get('fig.path')))",
      "unlink(dirname(report), TRUE)"
    )
  )
  expect_no_report(pair, input, "could not be rendered")
  format <- rmarkdown::html_document()
  format$post_processor <- function(metadata, input, output, ...) {
    unlink(output)
    output
  }
  expect_no_report(pair, a_report("x"), "not exist", output_format = format)
  ended <- a_report(chunk("knitr::knit_exit()"), "never shown")
  expect_no_match(arrived(pair, ended)$text, "never shown", fixed = TRUE)
})

test_that("names of files may be unusual", {
  skip_without_utf8()
  skip_without_rmarkdown()
  pair <- demo_pair()
  input <- a_report(
    chunk("plot(cars)"),
    name = "my report (1) & 'caf\u00e9'.Rmd"
  )
  got <- arrived(pair, input, figures = TRUE)
  expect_equal(
    got$content[["filename"]],
    "my report (1) & 'caf\u00e9'.html"
  )
  withr::local_dir(dirname(input))
  expect_length(arrived(pair, basename(input), name = "x.HTML")$ids, 1)
})

test_that("everything is checked before any code runs", {
  skip_without_rmarkdown()
  pair <- demo_pair()
  mark <- withr::local_tempfile()
  input <- a_report(chunk(sprintf("file.create(\"%s\")", mark)))
  refused <- function(..., class = "mx_error_argument", path = input) {
    expect_no_report(pair, path, ".", ..., class = class)
    expect_false(file.exists(mark))
  }
  refused(path = 3)
  refused(path = tempfile(fileext = ".Rmd"))
  refused(path = tempdir())
  refused(path = c(input, input))
  refused(path = cars)
  refused(title = 3)
  refused(summary = "")
  refused(summary = c("a", "b"))
  refused(params = "ask")
  refused(params = list(3))
  refused(output_format = "all")
  refused(output_format = c("html_document", "pdf_document"))
  refused(output_format = 3)
  refused(figures = NA)
  refused(quiet = "no")
  refused(name = "a/b")
  refused(name = "")
  refused(mentions = "bob")
  refused(reply_to = 3)
  refused(thread = "")
  refused(envir = 3)
  refused(transaction_id = 3)
  refused(summary = strrep("x", 1e5), class = "mx_error_too_large")
  rendered <- withr::local_tempfile(fileext = ".html", lines = "x")
  refused(path = rendered, params = list(a = 1))
  refused(path = rendered, output_format = "html_document")
  sweave <- withr::local_tempfile(fileext = ".Rnw", lines = "x")
  refused(path = sweave)
  expect_error(
    mx_send_report(pair$alice, "no such room", input),
    class = "mx_error_room"
  )
  expect_error(
    mx_send_report(pair$alice, 3, input),
    class = "mx_error_argument"
  )
  expect_false(file.exists(mark))
})

test_that("without pandoc the error says how to get it", {
  skip_without_rmarkdown()
  pair <- demo_pair()
  local_replaced("has_pandoc", function() FALSE)
  expect_no_report(pair, a_report("x"), "pandoc.org/installing")
})

test_that("a Quarto document needs quarto", {
  skip_if(requireNamespace("quarto", quietly = TRUE))
  pair <- demo_pair()
  input <- a_report("x", name = "report.qmd")
  expect_no_report(pair, input, "quarto", class = "mx_error_package")
})

test_that("a Quarto document is rendered as a copy", {
  pair <- demo_pair()
  local_replaced("check_engine", function(engine, call) NULL)
  output <- function(...) c("<title>T</title>", ...)
  quarto <- function(copy, job) {
    expect_equal(job$params, list(a = 1))
    expect_false(dirname(copy) == dirname(job$input))
    dir.create(file.path(dirname(copy), "report_files"))
    writeLines(output(readLines(copy)), sub("qmd$", "html", copy))
  }
  local_replaced("run_quarto", quarto)
  input <- a_report("the words", name = "report.qmd")
  got <- arrived(pair, input, params = list(a = 1))
  expect_equal(got$content[["filename"]], "report.html")
  expect_equal(got$content[["body"]], "**T**")
  expect_match(got$text, "the words", fixed = TRUE)
  local_replaced("run_quarto", function(copy, job) NULL)
  expect_no_report(pair, input, "no file")
  local_replaced("run_quarto", function(copy, job) {
    file.create(sub("qmd$", "html", copy), sub("qmd$", "pdf", copy))
  })
  expect_no_report(pair, input, "2 files")
  local_replaced("run_quarto", function(copy, job) stop("no {kernel}"))
  expect_no_report(pair, input, "no \\{kernel\\}")
})

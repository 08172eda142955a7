# The help pages: from the sources where they are, else as installed.
help_pages <- function() {
  man <- test_path("..", "..", "man")
  pages <- if (dir.exists(man)) {
    lapply(list.files(man, "[.]Rd$", full.names = TRUE), tools::parse_Rd)
  } else {
    tools::Rd_db("mxcrypt")
  }
  skip_if(length(pages) == 0, "installed without help")
  pages
}

parts <- function(page, tag) {
  Filter(function(part) identical(attr(part, "Rd_tag"), tag), page)
}

aliases_of <- function(page) {
  trimws(vapply(
    parts(page, "\\alias"),
    function(x) paste(x, collapse = ""),
    ""
  ))
}

# The tags that keep code of an example from being run, wherever they stand in it.
not_run <- function(part) {
  inner <- if (is.list(part)) unlist(lapply(part, not_run)) else character()
  c(intersect(attr(part, "Rd_tag"), c("\\dontrun", "\\donttest")), inner)
}

# Examples that nobody can run as they are, and why.
needs <- c(
  mx_verify = "a person at the console, and another one at another device",
  mx_store_import = "a store that mx.client made"
)

test_that("what is not run in an example is found", {
  page <- function(example) {
    text <- "\\name{x}\\title{x}\\description{x}\\examples{\nmx()\n%s\n}"
    tools::parse_Rd(textConnection(sprintf(text, example)))
  }
  found <- function(example) not_run(parts(page(example), "\\examples"))
  expect_equal(found("\\dontrun{\nmx()\n}"), "\\dontrun")
  expect_equal(found("\\dontshow{\n\\donttest{mx()}\n}"), "\\donttest")
  expect_length(found("# dontrun"), 0)
})

test_that("every example runs, but those that need what nobody has", {
  pages <- help_pages()
  examples <- lapply(pages, function(page) not_run(parts(page, "\\examples")))
  found <- unlist(lapply(pages[lengths(examples) > 0], aliases_of))
  expect_setequal(found, names(needs))
})

test_that("every exported name has a page with an example and a value", {
  pages <- help_pages()
  aliases <- lapply(pages, aliases_of)
  for (name in getNamespaceExports("mxcrypt")) {
    page <- which(vapply(aliases, function(x) name %in% x, NA))
    expect_length(page, 1)
    if (length(page) == 1) {
      page <- pages[[page]]
      for (part in c("\\examples", "\\value", "\\description", "\\usage")) {
        expect_length(parts(page, part), 1)
      }
      example <- paste(unlist(parts(page, "\\examples")), collapse = "")
      expect_match(example, "mx", label = name)
    }
  }
})

test_that("every argument is described on its page", {
  pages <- help_pages()
  for (page in pages) {
    exported <- intersect(aliases_of(page), getNamespaceExports("mxcrypt"))
    described <- unlist(lapply(parts(page, "\\arguments"), function(x) {
      items <- Filter(function(y) identical(attr(y, "Rd_tag"), "\\item"), x)
      unlist(lapply(items, function(item) {
        strsplit(paste(unlist(item[[1]]), collapse = ""), "[, ]+")[[1]]
      }))
    }))
    for (name in exported) {
      formals <- names(formals(getExportedValue("mxcrypt", name)))
      expect_true(all(formals %in% described), label = name)
    }
  }
})

test_that("the page about events has every column", {
  pages <- help_pages()
  page <- Find(function(x) "mx_events" %in% aliases_of(x), pages)
  text <- unlist(page)
  alice <- mx_demo_client(mx_demo_homeserver(), "alice")
  mx_room_create(alice)
  expect_equal(setdiff(names(mx_sync(alice)), text), character())
})

# What stands in the code of all functions of the package.
strings_of <- function(x) {
  if (is.character(x)) {
    return(x)
  }
  if (is.function(x)) {
    return(c(strings_of(formals(x)), strings_of(body(x))))
  }
  if (is.call(x) || is.pairlist(x) || is.expression(x)) {
    return(c(names(x), unlist(lapply(as.list(x), strings_of))))
  }
  character()
}

# The classes of conditions that functions of the package raise, and those that its
# core does, by the names of kinds of errors there.
raised <- function() {
  namespace <- asNamespace("mxcrypt")
  functions <- Filter(
    is.function,
    mget(ls(namespace, all.names = TRUE), namespace)
  )
  classes <- unlist(lapply(functions, strings_of))
  pattern <- "^(mx_error|mxc_error|mx_warning|mx_message)_[a-z_]*[a-z]$"
  classes <- grep(pattern, classes, value = TRUE)
  rust <- test_path("..", "..", "src", "rust", "core", "src", "error.rs")
  if (file.exists(rust)) {
    codes <- regmatches(
      lines <- readLines(rust),
      regexpr("=> \"[a-z_]+\"", lines)
    )
    classes <- c(classes, paste0("mx_error_", gsub("=> |\"", "", codes)))
  }
  sort(unique(classes))
}

# Those are classes of primitives alone.
primitive_kinds <- c(
  "signature",
  "olm",
  "megolm",
  "attachment",
  "pickle",
  "handle"
)

test_that("every class of a condition is on the page about conditions", {
  pages <- help_pages()
  page <- Find(function(x) "mxcrypt_conditions" %in% aliases_of(x), pages)
  text <- paste(unlist(page), collapse = " ")
  known <- setdiff(raised(), paste0("mx_error_", primitive_kinds))
  expect_gt(length(known), 50)
  expect_true("mx_warning_pump" %in% known)
  on_page <- vapply(known, grepl, NA, x = text, fixed = TRUE)
  expect_equal(known[!on_page], character())
})

test_that("no page tells of a class that nothing raises", {
  rust <- test_path("..", "..", "src", "rust", "core", "src", "error.rs")
  skip_if_not(file.exists(rust), "the sources of the core")
  known <- raised()
  known <- c(known, sub("^mx_", "mxc_", known))
  for (page in help_pages()) {
    text <- paste(unlist(page), collapse = " ")
    found <- gregexpr("\\bmxc?_(error|warning)_[a-z_]*[a-z]\\b", text)
    told <- unique(regmatches(text, found)[[1]])
    expect_equal(
      setdiff(told, known),
      character(),
      label = aliases_of(page)[[1]]
    )
  }
})

test_that("every page belongs to a family, and the reference index has each once", {
  index <- test_path("..", "..", "_pkgdown.yml")
  skip_if_not(file.exists(index), "the sources")
  listed <- sub("^  - ", "", grep("^  - ", readLines(index), value = TRUE))
  pages <- Filter(
    function(page) !"mxcrypt-package" %in% aliases_of(page),
    help_pages()
  )
  expect_length(listed, length(pages))
  for (page in pages) {
    aliases <- aliases_of(page)
    expect_length(intersect(aliases, listed), 1)
    expect_length(parts(page, "\\seealso"), 1)
  }
})

# The vignettes, from the sources.
vignettes <- function() {
  files <- list.files(
    test_path("..", "..", "vignettes"),
    "[.]Rmd$",
    full.names = TRUE
  )
  skip_if(length(files) == 0, "the sources")
  files
}

test_that("every vignette is an article of the site, under its title", {
  files <- vignettes()
  index <- test_path("..", "..", "_pkgdown.yml")
  skip_if_not(file.exists(index), "the sources")
  contents <- grep("^  contents: \\[", readLines(index), value = TRUE)
  listed <- strsplit(gsub(".*\\[|\\].*", "", contents), ", ", fixed = TRUE)
  # That of the package is "Get started".
  articles <- setdiff(sub("[.]Rmd$", "", basename(files)), "mxcrypt")
  expect_setequal(unlist(listed), articles)
  for (file in files) {
    lines <- readLines(file, encoding = "UTF-8")
    title <- sub(
      "title: \"(.*)\"",
      "\\1",
      grep("^title: ", lines, value = TRUE)
    )
    entry <- sprintf("  %%\\VignetteIndexEntry{%s}", title)
    expect_true(entry %in% lines, label = basename(file))
  }
})

# Functions of mx.client, in a table of what replaces them.
of_mx_client <- c(
  "mx_accept_invites",
  "mx_crypto_cross_signing_bootstrap",
  "mx_crypto_send_key_requests",
  "mx_crypto_verify_user",
  "mx_extract_media_events",
  "mx_extract_reactions",
  "mx_verify_console",
  "mx_with_relogin"
)

test_that("the vignettes name only functions and vignettes that are there", {
  files <- vignettes()
  exports <- getNamespaceExports("mxcrypt")
  names <- sub("[.]Rmd$", "", basename(files))
  for (file in files) {
    text <- paste(readLines(file, encoding = "UTF-8"), collapse = "\n")
    found <- function(pattern) {
      unique(regmatches(text, gregexpr(pattern, text, perl = TRUE))[[1]])
    }
    functions <- found("\\b(with_)?mxc?_[a-z0-9_]+(?=\\()")
    if (basename(file) == "moving-from-mx-client.Rmd") {
      functions <- setdiff(functions, of_mx_client)
    }
    expect_equal(
      setdiff(functions, exports),
      character(),
      label = basename(file)
    )
    linked <- found("(?<=vignette\\(\")[a-z-]+")
    expect_equal(setdiff(linked, names), character(), label = basename(file))
  }
})

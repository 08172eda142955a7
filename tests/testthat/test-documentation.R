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
      expect_no_match(example, "dontrun|donttest", label = name)
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

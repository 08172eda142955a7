# The site of the package in .tools/site, without a network: tools/site.sh.
#
#   Rscript tools/site.R build   runs vignettes and examples with the package that is installed
#   Rscript tools/site.R check   every link within the site leads to something

site <- file.path(getwd(), ".tools", "site")
html_files <- function() list.files(site, "[.]html$", recursive = TRUE)
is_file <- function(path) file.exists(file.path(site, path))
is_relative <- function(link) {
  nzchar(link) & !grepl("^([a-z][a-z0-9+.-]*:|//)", link)
}

build <- function() {
  options(pkgdown.internet = FALSE, cli.num_colors = 1L, cli.dynamic = FALSE)
  # Links to functions of other packages would be looked up at CRAN and on their sites.
  no_packages <- data.frame(Package = character(), URL = character())
  utils::assignInNamespace("CRAN_urls", function() no_packages, "downlit")
  utils::assignInNamespace("remote_metadata", function(package) NULL, "downlit")
  unlink(site, recursive = TRUE)
  pkgdown::build_site(
    ".",
    override = list(destination = ".tools/site"),
    preview = FALSE,
    install = FALSE,
    new_process = FALSE
  )
  for (page in html_files()) {
    repair_page(page)
  }
}

# Debian's pandoc points to a script on this machine. And pkgdown takes every Markdown file for a
# page of the site: others of the repository are put beside it as they are.
repair_page <- function(page) {
  path <- file.path(site, page)
  text <- paste(
    readLines(path, encoding = "UTF-8", warn = FALSE),
    collapse = "\n"
  )
  repaired <- gsub("<script src=\"file:///[^>]*></script>", "", text)
  if (dirname(page) == ".") {
    repaired <- gsub("href=\"NEWS.html\"", "href=\"news/index.html\"", repaired)
    found <- regmatches(
      repaired,
      gregexpr("href=\"[^\"#:]+[.]html", repaired)
    )[[1]]
    for (link in unique(sub("^href=\"", "", found))) {
      file <- sub("[.]html$", ".md", link)
      if (!is_file(link) && file.exists(file)) {
        dir.create(dirname(file.path(site, file)), FALSE, recursive = TRUE)
        file.copy(file, file.path(site, file), overwrite = TRUE)
        repaired <- gsub(link, file, repaired, fixed = TRUE)
      }
    }
  }
  if (!identical(repaired, text)) {
    writeLines(enc2utf8(repaired), path, useBytes = TRUE)
  }
}

# "a/../b.html" is "b.html".
plain_path <- function(path) {
  parts <- strsplit(path, "/", fixed = TRUE)[[1]]
  kept <- character()
  for (part in parts[!parts %in% c("", ".")]) {
    kept <- if (part == "..") utils::head(kept, -1L) else c(kept, part)
  }
  paste(kept, collapse = "/")
}

# Which file and which place in it a link on a page leads to.
target_of <- function(page, link) {
  link <- utils::URLdecode(link)
  file <- sub("[?#].*", "", link)
  folder <- if (dirname(page) == ".") "" else dirname(page)
  target <- if (nzchar(file)) plain_path(file.path(folder, file)) else page
  if (dir.exists(file.path(site, target))) {
    target <- plain_path(file.path(target, "index.html"))
  }
  list(
    file = target,
    anchor = if (grepl("#", link, fixed = TRUE)) sub(".*#", "", link) else ""
  )
}

# What the pages have: where they lead to, where others can lead to, and examples that failed,
# which are no error of pkgdown.
read_page <- function(page) {
  document <- xml2::read_html(file.path(site, page))
  texts <- function(xpath) xml2::xml_text(xml2::xml_find_all(document, xpath))
  links <- unique(texts("//@href | //@src"))
  failed <- if (startsWith(page, "reference/")) {
    texts("//*[contains(@class, 'r-err')]")
  }
  list(
    links = links[is_relative(links)],
    ids = texts("//@id | //a/@name"),
    failed = failed
  )
}

problem_of <- function(target, pages) {
  if (!is_file(target[["file"]])) {
    return("no such file")
  }
  ids <- c("", pages[[target[["file"]]]][["ids"]])
  if (endsWith(target[["file"]], ".html") && !target[["anchor"]] %in% ids) {
    return("no such anchor")
  }
  NULL
}

check <- function() {
  # The page for what is missing has the addresses of a server, which nobody knows here.
  names <- setdiff(html_files(), "404.html")
  pages <- lapply(names, read_page)
  names(pages) <- names
  wrong <- character()
  for (name in names) {
    page <- pages[[name]]
    for (link in page[["links"]]) {
      problem <- problem_of(target_of(name, link), pages)
      if (!is.null(problem)) {
        wrong <- c(wrong, paste0(name, ": ", link, ": ", problem))
      }
    }
    if (length(page[["failed"]]) > 0L) {
      wrong <- c(wrong, paste0(name, ": an example fails"))
    }
  }
  writeLines(wrong)
  links <- sum(lengths(lapply(pages, `[[`, "links")))
  text <- "%d pages in .tools/site, %d links, %d broken\n"
  cat(sprintf(text, length(pages), links, length(wrong)))
  quit(status = as.integer(length(wrong) > 0L || length(pages) == 0L))
}

switch(commandArgs(TRUE), build = build(), check = check())

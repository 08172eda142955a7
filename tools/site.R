# Builds the site of the package in .tools/site, and checks its links: `make site`. The vignettes
# and the examples are run with the package that is installed. No page of the network is read.

options(pkgdown.internet = FALSE, cli.num_colors = 1L, cli.dynamic = FALSE)

# Links to functions of other packages would be looked up at CRAN and on their sites.
no_packages <- data.frame(Package = character(), URL = character())
utils::assignInNamespace("CRAN_urls", function() no_packages, "downlit")
utils::assignInNamespace("remote_metadata", function(package) NULL, "downlit")

site <- file.path(getwd(), ".tools", "site")
unlink(site, recursive = TRUE)
pkgdown::build_site(
  ".",
  override = list(destination = ".tools/site"),
  preview = FALSE,
  install = FALSE,
  new_process = FALSE
)

# Every link within the site leads to a file that is there, and every anchor to an id.
pages <- list.files(site, "[.]html$", recursive = TRUE)
document_of <- local({
  read <- list()
  function(page) {
    if (is.null(read[[page]])) {
      read[[page]] <<- xml2::read_html(file.path(site, page))
    }
    read[[page]]
  }
})
ids_of <- function(page) {
  document <- document_of(page)
  xml2::xml_text(xml2::xml_find_all(document, "//@id | //a/@name"))
}
# "a/../b.html" is "b.html".
plain <- function(path) {
  parts <- Filter(nzchar, strsplit(path, "/", fixed = TRUE)[[1]])
  kept <- character()
  for (part in parts[parts != "."]) {
    kept <- if (part == "..") head(kept, -1) else c(kept, part)
  }
  paste(kept, collapse = "/")
}

problem_of <- function(page, link) {
  link <- utils::URLdecode(link)
  file <- sub("[?#].*", "", link)
  anchor <- if (grepl("#", link, fixed = TRUE)) sub(".*?#", "", link) else ""
  folder <- if (dirname(page) == ".") "" else dirname(page)
  target <- if (nzchar(file)) plain(file.path(folder, file)) else page
  if (dir.exists(file.path(site, target))) {
    target <- plain(file.path(target, "index.html"))
  }
  if (!file.exists(file.path(site, target))) {
    return("no such file")
  }
  if (nzchar(anchor) && target %in% pages && !anchor %in% ids_of(target)) {
    return("no such anchor")
  }
  NULL
}

broken <- character()
number <- 0
# The page that a server shows for a missing one has the addresses of the server.
for (page in setdiff(pages, "404.html")) {
  links <- xml2::xml_find_all(document_of(page), "//@href | //@src")
  links <- unique(xml2::xml_text(links))
  links <- links[nzchar(links) & !grepl("^([a-z][a-z0-9+.-]*:|//)", links)]
  number <- number + length(links)
  for (link in links) {
    problem <- problem_of(page, link)
    if (!is.null(problem)) {
      broken <- c(broken, paste0(page, ": ", link, ": ", problem))
    }
  }
}
# An example or a chunk that fails is part of the page, and not an error of pkgdown.
failed <- Filter(
  function(page) {
    found <- xml2::xml_find_all(
      document_of(page),
      "//*[contains(concat(' ', @class, ' '), ' error ')]"
    )
    startsWith(page, "reference/") && length(found) > 0L
  },
  pages
)

cat(broken, sep = "\n")
cat(length(pages), " pages in .tools/site, ", number, " links, ", sep = "")
cat(length(broken), "of them broken\n")
if (length(failed) > 0L) {
  cat("Pages with errors:", failed, sep = "\n  ")
}
quit(status = as.integer(length(broken) > 0L))

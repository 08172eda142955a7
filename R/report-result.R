# The result of rendering: that it is one file, its title, and the pictures in it.

report_dir <- function() {
  dir <- tempfile("mxcrypt-report-")
  dir.create(dir, mode = "0700")
  # Of Windows and macOS the long name, since knitr compares paths.
  normalizePath(dir, "/")
}

# Renders, and returns the `path` of the report, its `title`, and `figures`.
make_report <- function(job, dir) {
  call <- job[["call"]]
  report <- switch(
    job[["engine"]],
    none = list(path = job[["input"]]),
    rmarkdown = render_rmarkdown(job, dir),
    quarto = render_quarto(job, dir)
  )
  path <- report[["path"]]
  if (length(path) != 1L || !file.exists(path) || dir.exists(path)) {
    found <- if (length(path) > 1L) paste(length(path), "files") else "no file"
    report_abort(
      c(
        paste0("The report was rendered to ", found, ". Nothing was sent."),
        i = "A report is one file: see `output_format`."
      ),
      call
    )
  }
  check_is_one_file(path, job)
  if (job[["engine"]] != "rmarkdown" && is_html(path)) {
    html <- read_bytes(path)
    report[["title"]] <- html_title(html) %||% report[["title"]]
    if (job[["figures"]]) {
      report[["figures"]] <- embedded_pictures(html, dir)
    }
  }
  report
}

is_html <- function(path) grepl("[.]html?$", path, ignore.case = TRUE)

read_bytes <- function(path) {
  readChar(path, file.size(path), useBytes = TRUE)
}

# A report that shows files which stay behind would arrive broken.
check_is_one_file <- function(path, job) {
  if (!grepl("[.](html?|md|tex|rst)$", path, ignore.case = TRUE)) {
    return(invisible())
  }
  beside <- if (job[["engine"]] == "none") {
    # Of rmarkdown and quarto, for files that others rendered.
    paste0(name_parts(basename(path))[[1]], "_files")
  } else {
    list.dirs(dirname(path), full.names = FALSE, recursive = FALSE)
  }
  files <- list.files(
    file.path(dirname(path), beside),
    recursive = TRUE,
    full.names = TRUE
  )
  files <- substring(files, nchar(dirname(path)) + 2L)
  text <- read_bytes(path)
  needed <- Filter(
    function(file) grepl(file, text, fixed = TRUE, useBytes = TRUE),
    files
  )
  if (length(needed) > 0L) {
    report_abort(
      c(
        "The report is not one file: it shows others. Nothing was sent.",
        x = paste("For example", printable(needed[[1]])),
        i = "Render it with `self_contained: true` (rmarkdown),",
        i = "or `embed-resources: true` (quarto), or as \"html_document\"."
      ),
      job[["call"]]
    )
  }
}

html_title <- function(html) {
  found <- regmatches(
    html,
    regexpr(
      "<title[^>]*>[^<]*</title>",
      html,
      ignore.case = TRUE,
      useBytes = TRUE
    )
  )
  if (length(found) == 0L) {
    return(NULL)
  }
  Encoding(found) <- "UTF-8"
  if (!validUTF8(found)) {
    return(NULL)
  }
  # Of Markdown the entities are those of HTML. Its marks are none here.
  text <- gsub("<[^>]*>", "", found)
  plain_title(gsub("([\\\\`*_\\[\\]~])", "\\\\\\1", text, perl = TRUE))
}

# One line, whatever stands in the header. Other values are no titles.
plain_title <- function(title) {
  if (!is.atomic(title) || length(title) != 1L || is.na(title)) {
    return(NULL)
  }
  title <- substr(
    trimws(gsub("\\s+", " ", enc2utf8(as.character(title)))),
    1L,
    500L
  )
  if (nzchar(title)) title
}

# Pictures that an HTML file holds, in its order, as files. It may have many
# megabytes: it is cut at fixed texts, since regular expressions would need a stack.
embedded_pictures <- function(html, dir) {
  pieces <- strsplit(html, "data:image/", fixed = TRUE, useBytes = TRUE)[[1]]
  paths <- character()
  for (i in seq_along(pieces)[-1]) {
    if (
      grepl("src\\s*=\\s*[\"']$", last_bytes(pieces[[i - 1L]]), useBytes = TRUE)
    ) {
      end <- regexpr("[\"']", pieces[[i]], useBytes = TRUE) - 1L
      picture <- substr_bytes(pieces[[i]], end)
      type <- sub(
        ";base64,.*$",
        "",
        substr_bytes(picture, 20L),
        useBytes = TRUE
      )
      if (paste0("image/", type) %in% shown_pictures) {
        path <- file.path(
          dir,
          sprintf("figure-%d.%s", length(paths) + 1L, type)
        )
        data <- sub("^[^,]*,", "", picture, useBytes = TRUE)
        writeBin(jsonlite::base64_dec(data), path)
        paths <- c(paths, path)
      }
    }
  }
  structure(paths, names = basename(paths))
}

substr_bytes <- function(text, n) {
  Encoding(text) <- "bytes"
  substr(text, 1L, n)
}

last_bytes <- function(text, n = 10L) {
  Encoding(text) <- "bytes"
  substr(text, max(1L, nchar(text, "bytes") - n), nchar(text, "bytes"))
}

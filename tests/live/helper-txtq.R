# A stand-in for package txtq, which logger::appender_async() keeps its lines in: the few
# methods it calls, over a file for each line. The real one is not on all mirrors.

txtq_code <- '
txtq <- function(path, use_lock_file = TRUE) {
  dir.create(path, showWarnings = FALSE)
  self <- new.env()
  self$waiting <- function() sort(list.files(path, "^m", full.names = TRUE))
  self$empty <- function() length(self$waiting()) == 0L
  self$push <- function(title, message) {
    name <- sprintf("%020.0f", as.numeric(Sys.time()) * 1e9)
    file <- tempfile(paste0("t", name), path)
    saveRDS(as.character(message), file)
    file.rename(file, sub("/t([^/]*)$", "/m\\\\1", file))
  }
  self$pop <- function(n = 1) {
    files <- utils::head(self$waiting(), n)
    message <- vapply(files, readRDS, "", USE.NAMES = FALSE)
    unlink(files)
    data.frame(title = rep("", length(files)), message = message)
  }
  self$clean <- function() NULL
  self
}
'

# A library with it, or none where txtq itself is installed.
txtq_library <- function(.local_envir = parent.frame()) {
  if (requireNamespace("txtq", quietly = TRUE)) {
    return(character())
  }
  dir <- withr::local_tempdir(.local_envir = .local_envir)
  package <- file.path(dir, "txtq")
  dir.create(file.path(package, "R"), recursive = TRUE)
  writeLines(
    c("Package: txtq", "Version: 0.0.1"),
    file.path(package, "DESCRIPTION")
  )
  writeLines("export(txtq)", file.path(package, "NAMESPACE"))
  writeLines(txtq_code, file.path(package, "R", "txtq.R"))
  library <- file.path(dir, "library")
  dir.create(library)
  callr::rcmd(
    "INSTALL",
    c("--no-test-load", "-l", library, package),
    fail_on_status = TRUE
  )
  library
}

# Renders documents with rmarkdown and quarto, in a private directory. The session of
# the user is as before afterwards.

render_rmarkdown <- function(job, dir) {
  call <- job[["call"]]
  notes <- new.env()
  path <- running_code(notes, call, {
    restoring_session({
      format <- report_format(job, dir)
      format <- one_file_format(format, job)
      format <- with_resource_path(format, job, dir)
      format <- noting_format(format, job, dir, notes)
      rmarkdown::render(
        job[["input"]],
        output_format = format,
        output_dir = file.path(dir, "report"),
        intermediates_dir = file.path(dir, "work"),
        params = job[["params"]],
        envir = job[["envir"]],
        quiet = job[["quiet"]]
      )
    })
  })
  list(
    path = as.vector(path),
    title = notes[["title"]],
    figures = shown_figures(notes[["figures"]])
  )
}

# The format as an object, as rmarkdown makes it of the header and of _output.yml.
report_format <- function(job, dir) {
  format <- job[["format"]]
  if (!is.null(format) && !is.character(format)) {
    return(format)
  }
  document <- job[["input"]]
  if (grepl("[.]r$", document, ignore.case = TRUE)) {
    # The header of a script stands in its comments.
    copy <- file.path(dir, "script.R")
    file.copy(document, copy)
    document <- knitr::spin(copy, knit = FALSE, format = "Rmd")
  }
  refuse_shiny(rmarkdown::yaml_front_matter(document), job)
  # _output.yml is looked for in the working directory.
  setwd(dirname(job[["input"]]))
  resolve <- function(...) {
    rmarkdown::resolve_output_format(document, format, ...)
  }
  resolved <- resolve()
  if (!is_html_format(resolved) || is_self_contained(resolved)) {
    return(resolved)
  }
  tell_self_contained()
  resolve(output_options = list(self_contained = TRUE))
}

refuse_shiny <- function(header, job) {
  runtime <- c(header[["runtime"]], unlist(header[["server"]]))
  if (any(grepl("^shiny", runtime))) {
    report_abort(
      "A Shiny document needs a server, and cannot be sent. Nothing was sent.",
      job[["call"]]
    )
  }
}

is_html_format <- function(format) {
  to <- sub("[-+].*$", "", format[["pandoc"]][["to"]] %||% "")
  to %in%
    c(
      "html",
      "html4",
      "html5",
      "revealjs",
      "slidy",
      "slideous",
      "s5",
      "dzslides"
    )
}

is_self_contained <- function(format) {
  any(
    c("--self-contained", "--embed-resources") %in% format[["pandoc"]][["args"]]
  )
}

tell_self_contained <- function() {
  inform(
    "The format of this report is not self-contained. It is made so to be one file.",
    class = "mx_message_report"
  )
}

# For formats that take no option for it.
one_file_format <- function(format, job) {
  if (is_html_format(format) && !is_self_contained(format)) {
    if (!is.character(job[["format"]]) && !is.null(job[["format"]])) {
      tell_self_contained()
    }
    is_new <- rmarkdown::pandoc_available("2.19")
    option <- if (is_new) {
      c("--embed-resources", "--standalone")
    } else {
      "--self-contained"
    }
    format[["pandoc"]][["args"]] <- c(format[["pandoc"]][["args"]], option)
  }
  format
}

# pandoc runs in the directory of the intermediates. Pictures that the document names
# are beside it; scripts of a format that is not self-contained are beside the result.
with_resource_path <- function(format, job, dir) {
  dirs <- c(".", dirname(job[["input"]]), file.path(dir, "report"))
  dirs <- paste(dirs, collapse = .Platform[["path.sep"]])
  args <- c(format[["pandoc"]][["args"]], paste0("--resource-path=", dirs))
  format[["pandoc"]][["args"]] <- args
  format
}

# The format with hooks that note the title and the figures.
noting_format <- function(format, job, dir, notes) {
  post_knit <- format[["post_knit"]]
  format[["post_knit"]] <- function(metadata, ...) {
    # After knitting: R code in the header has its value now.
    notes[["title"]] <- plain_title(metadata[["title"]])
    if (!is.null(post_knit)) post_knit(metadata, ...)
  }
  knitr <- format[["knitr"]] %||% list()
  # By default beside the input.
  knitr[["opts_chunk"]][["cache.path"]] <- file.path(dir, "cache/")
  if (job[["figures"]]) {
    device <- (knitr[["opts_chunk"]][["dev"]] %||% "png")[[1]]
    if (device %in% c("pdf", "cairo_pdf", "svg")) {
      knitr[["opts_chunk"]][["dev"]] <- c(device, "png")
    }
    plot <- knitr[["knit_hooks"]][["plot"]] %||% knitr::hook_plot_md
    knitr[["knit_hooks"]][["plot"]] <- function(x, options) {
      notes[["figures"]] <- c(notes[["figures"]], keep_figure(x, dir, notes))
      plot(x, options)
    }
  }
  format[["knitr"]] <- knitr
  format
}

# A copy: code that follows may replace the file.
keep_figure <- function(x, dir, notes) {
  png <- sub("[.](pdf|svg)$", ".png", x)
  x <- if (file.exists(png)) png else x
  copy <- file.path(
    dir,
    "figures",
    length(notes[["figures"]]) + 1L,
    basename(x)
  )
  dir.create(dirname(copy), recursive = TRUE)
  if (file.copy(x, copy)) copy else basename(x)
}

# Of figures in other formats clients show nothing.
shown_figures <- function(paths) {
  paths <- paths %||% character()
  shown <- grepl("[.](png|jpe?g|gif|webp)$", paths, ignore.case = TRUE) &
    file.exists(paths)
  if (any(!shown)) {
    left <- paste(printable(unique(basename(paths[!shown]))), collapse = ", ")
    inform(
      c(
        "Some figures are not sent: they are no pictures that clients show.",
        x = left,
        i = "Use the chunk option `dev = \"png\"`."
      ),
      class = "mx_message_report"
    )
  }
  structure(paths[shown], names = basename(paths[shown]))
}

# Runs code that renders, and says where it failed.
running_code <- function(notes, call, code) {
  tryCatch(
    withCallingHandlers(
      code,
      error = function(condition) {
        notes[["chunk"]] <- knitr::opts_current[["get"]]("label")
      },
      message = function(condition) {
        # This is how knitr tells the lines.
        if (grepl("^\\s*Quitting from", conditionMessage(condition))) {
          notes[["lines"]] <- trimws(conditionMessage(condition))
          invokeRestart("muffleMessage")
        }
      }
    ),
    error = function(condition) {
      if (inherits(condition, "mx_error_report")) {
        raise(condition)
      }
      chunk <- if (is_string(notes[["chunk"]])) {
        paste0("Chunk: ", notes[["chunk"]])
      }
      report_abort(
        c(
          "The report could not be rendered. Nothing was sent.",
          x = if (!is.null(notes[["lines"]])) chunk,
          x = notes[["lines"]]
        ),
        call,
        parent = condition
      )
    }
  )
}

# Runs code of a user that may change the session, and puts back what it changed.
restoring_session <- function(code) {
  dir <- getwd()
  old <- options()
  loaded <- loadedNamespaces()
  sinks <- sink.number()
  devices <- grDevices::dev.list()
  current <- grDevices::dev.cur()
  on.exit({
    while (sink.number() > sinks) {
      sink()
    }
    for (device in setdiff(grDevices::dev.list(), devices)) {
      grDevices::dev.off(device)
    }
    if (current %in% grDevices::dev.list()) {
      grDevices::dev.set(current)
    }
    options(old)
    added <- setdiff(names(options()), names(old))
    packages <- setdiff(loadedNamespaces(), loaded)
    added <- added[!is_option_of(added, packages)]
    options(structure(vector("list", length(added)), names = added))
    setwd(dir)
  })
  force(code)
}

# Packages that were loaded stay, and need the options that they set: as data.table
# does `datatable.verbose`.
is_option_of <- function(options, packages) {
  plain <- function(x) tolower(gsub("[._]", "", x))
  owned <- function(option) any(startsWith(plain(option), plain(packages)))
  vapply(options, owned, NA)
}

# Quarto writes beside its input: it gets a copy.
render_quarto <- function(job, dir) {
  copy <- file.path(dir, basename(job[["input"]]))
  file.copy(job[["input"]], copy)
  title <- quarto_title(copy)
  before <- list.files(dir)
  running_code(new.env(), job[["call"]], run_quarto(copy, job))
  made <- setdiff(list.files(dir), c(before, list.dirs(dir, FALSE, FALSE)))
  list(path = file.path(dir, made), title = title)
}

run_quarto <- function(copy, job) {
  quarto::quarto_render(
    copy,
    output_format = job[["format"]],
    execute_params = job[["params"]],
    execute_dir = dirname(job[["input"]]),
    metadata = list("embed-resources" = TRUE),
    quiet = job[["quiet"]]
  )
}

# The header as it stands: what is code in it is no title.
quarto_title <- function(document) {
  if (requireNamespace("rmarkdown", quietly = TRUE)) {
    header <- rmarkdown::yaml_front_matter(document)
    plain_title(header[["title"]])
  }
}

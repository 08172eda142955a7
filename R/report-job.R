# What a report is made of: all arguments of mx_send_report() are checked here, before
# any code of the report runs.

# What is to be rendered, and how. Everything is checked here, and nothing has run.
report_job <- function(
  input,
  params,
  output_format,
  envir,
  figures,
  quiet,
  call = caller_env()
) {
  check_string(input, call = call)
  input <- as_paths(input, "input", call)[[1]]
  engine <- report_engine(input, call)
  check_params(params, call)
  check_output_format(output_format, engine, call)
  if (!is.environment(envir)) {
    argument_abort("envir", "an environment", call)
  }
  if (engine == "none") {
    given <- c(
      params = !is.null(params),
      output_format = !is.null(output_format)
    )
    for (name in names(given)[given]) {
      wanted <- "left out: `input` is rendered already"
      argument_abort(name, wanted, call, basename(input))
    }
  }
  check_engine(engine, call)
  list(
    input = normalizePath(input, "/"),
    engine = engine,
    params = params,
    format = output_format,
    envir = envir,
    figures = figures,
    quiet = quiet,
    call = call
  )
}

report_engine <- function(input, call) {
  extension <- tolower(sub("^.*[.]", "", basename(input)))
  if (extension %in% c("rnw", "rhtml", "rtex", "rrst", "ipynb")) {
    wanted <- "an .Rmd, .qmd or .R file, or a rendered file. Render this one first"
    argument_abort("input", wanted, call, input)
  }
  switch(
    extension,
    r = ,
    rmd = ,
    rmarkdown = "rmarkdown",
    qmd = "quarto",
    "none"
  )
}

check_params <- function(params, call) {
  named <- length(params) == 0L || rlang::is_named(params)
  if (!is.null(params) && !(is.list(params) && named)) {
    argument_abort("params", "a named list, like `list(year = 2024)`", call)
  }
}

check_output_format <- function(format, engine, call) {
  if (is.null(format)) {
    return(invisible())
  }
  if (inherits(format, "rmarkdown_output_format") && engine != "quarto") {
    return(invisible())
  }
  if (!is_string(format) || format %in% c("", "all")) {
    wanted <- "one format, like \"html_document\": one report is one file"
    argument_abort("output_format", wanted, call)
  }
  checked_text(format, "output_format", call)
}

check_engine <- function(engine, call) {
  if (engine == "none") {
    return(invisible())
  }
  check_package(engine, call = call)
  if (engine == "quarto" && is.null(quarto::quarto_path())) {
    mx_abort(
      c(
        "The program Quarto is needed to render a .qmd file.",
        i = "Install it from <https://quarto.org/docs/get-started/>."
      ),
      "mx_error_package",
      call = call
    )
  }
  if (engine == "rmarkdown" && !has_pandoc()) {
    report_abort(
      c(
        "The program pandoc is needed to render a report. Nothing was sent.",
        i = "Install it from <https://pandoc.org/installing.html>.",
        i = "RStudio has one: Sys.setenv(RSTUDIO_PANDOC = \"directory\") uses it."
      ),
      call
    )
  }
}

# What rmarkdown::render() asks for.
has_pandoc <- function() rmarkdown::pandoc_available("1.12.3")

report_abort <- function(message, call, ...) {
  mx_abort(message, "mx_error_report", ..., call = call)
}

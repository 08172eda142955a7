# Reports as files: the document is rendered in a private directory, its result is
# sent (send-file.R), and nothing of it stays on the disk.

#' Send a report
#'
#' Renders an R Markdown document, a Quarto document or an R script, and sends the
#' result as one file, with its title and a summary. A file that is rendered already
#' is sent as it is. In an encrypted room the file, its name and the summary are
#' encrypted before they leave the device.
#'
#' What happens to `input` depends on its extension:
#' * `.Rmd`, `.Rmarkdown`: [rmarkdown::render()] renders it, in this R session.
#' * `.R`: the same, as a script with comments that [knitr::spin()] understands.
#' * `.qmd`: the package quarto renders a copy of it, in another R session. Its code
#'   runs in the directory of `input`. Files that it includes must be given by their
#'   absolute path.
#' * All others, such as `.html`, `.pdf` and `.docx`, are sent as they are.
#'
#' The report is rendered in a private temporary directory, which is deleted
#' afterwards, also after an error. Nothing is written beside `input`. Cached
#' chunks run again. The working directory, [options()], sinks and graphics devices
#' are restored. Packages that the report attaches stay attached, as with
#' [rmarkdown::render()].
#'
#' A report in HTML is always made self-contained, so that it is one file. A message
#' of class `mx_message_report` says so if its format asks for something else.
#'
#' @inheritParams mx_send
#' @param input The path of the document, script or rendered file.
#' @param title A title to show above the summary, as Markdown. `NULL` is the title
#'   of the report: that of its YAML header, or of a rendered HTML file. `""` is none.
#' @param summary Text to show with the file, as Markdown, or `NULL`.
#' @param params A named list of parameters for a document that declares `params`.
#' @param output_format The format to render: a name such as `"pdf_document"`, or the
#'   value of a function such as [rmarkdown::html_document()]. `NULL` is the first
#'   one in the YAML header, else HTML.
#' @param figures Whether to send the figures as pictures too, in a thread below the
#'   report. They are the figures of the chunks, in their order; of a Quarto document
#'   or a rendered file, the pictures embedded in the HTML.
#' @param name What to call the file. The extension is added if it is missing. `NULL`
#'   is the name of `input`.
#' @param envir The environment in which the code of the report runs. By default a new
#'   one: the report does not see your variables. Not used for Quarto.
#' @param quiet Whether to hide the progress of knitr and pandoc.
#' @param transaction_id Your own id for the report. Sending again under the same id
#'   gives the same event. Figures get this id with `-1`, `-2` and so on.
#' @return The event id of the report, followed by those of its figures, invisibly.
#' @section Errors:
#' `mx_error_report` when there is no report to send: its code failed (`parent` is
#' the original error, the message names the chunk or line), pandoc is missing, or
#' the result is not exactly one file. `mx_error_package` when rmarkdown, quarto or
#' the program Quarto is missing. `mx_error_argument` and `mx_error_room` come before
#' any code of the report runs. Nothing was sent in any of these cases. For errors of
#' sending see [mx_send_file()]. If the report has to wait in the outbox, its figures
#' are not sent.
#' @family sending
#' @examplesIf requireNamespace("rmarkdown", quietly = TRUE) && rmarkdown::pandoc_available()
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, name = "Pipeline")
#'
#' report <- tempfile("cars-", fileext = ".Rmd")
#' writeLines(
#'   c(
#'     "---",
#'     "title: Stopping distances",
#'     "params:",
#'     "  fastest: 25",
#'     "---",
#'     "```{r}",
#'     "plot(cars[cars$speed <= params$fastest, ])",
#'     "```"
#'   ),
#'   report
#' )
#' mx_send_report(
#'   alice,
#'   "Pipeline",
#'   report,
#'   summary = "Up to *20* miles per hour",
#'   params = list(fastest = 20),
#'   figures = TRUE
#' )
#' @export
mx_send_report <- function(
  client,
  room,
  input,
  title = NULL,
  summary = NULL,
  params = NULL,
  output_format = NULL,
  figures = FALSE,
  name = NULL,
  mentions = character(),
  reply_to = NULL,
  thread = NULL,
  envir = new.env(parent = globalenv()),
  quiet = TRUE,
  transaction_id = NULL
) {
  check_client(client)
  check_room(client, room)
  check_flag(figures)
  check_flag(quiet)
  check_user_ids(mentions)
  check_string(reply_to, null = TRUE)
  check_string(thread, null = TRUE)
  check_string(transaction_id, null = TRUE)
  job <- report_job(input, params, output_format, envir, figures, quiet)
  name <- report_name(name, job)
  words <- report_caption(
    check_title(title),
    check_string(summary, null = TRUE)
  )
  # A mistake in the room costs no rendering. Neither does a summary that is too long.
  room <- resolve_room(client, room)
  content <- caption_content(name, words, TRUE, mentions, NULL)
  check_sizes(client, room, "m.room.message", as_json_text(content))

  dir <- report_dir()
  on.exit(unlink(dir, recursive = TRUE, force = TRUE))
  report <- make_report(job, dir)
  words <- report_caption(title %||% report[["title"]], summary)
  id <- mx_send_file(
    client,
    room,
    report[["path"]],
    name = with_extension(name, report[["path"]]),
    caption = words,
    markdown = !is.null(words),
    mentions = mentions,
    reply_to = reply_to,
    thread = thread,
    transaction_id = transaction_id
  )
  pictures <- report[["figures"]]
  if (length(pictures) == 0L) {
    return(invisible(id))
  }
  ids <- mx_send_image(
    client,
    room,
    pictures,
    name = names(pictures),
    # Specification: "Threading". A thread cannot begin within a thread.
    thread = thread %||% id,
    transaction_id = if (!is.null(transaction_id)) {
      paste0(transaction_id, "-", seq_along(pictures))
    }
  )
  invisible(c(id, ids))
}

check_title <- function(title, call = caller_env()) {
  if (identical(title, "")) {
    title
  } else {
    check_string(title, null = TRUE, call = call)
  }
}

report_caption <- function(title, summary) {
  title <- trimws(title %||% "")
  parts <- c(if (nzchar(title)) paste0("**", title, "**"), summary)
  if (length(parts) > 0L) paste(parts, collapse = "\n\n")
}

# Without an extension: the format may be known only after rendering.
report_name <- function(name, job, call = caller_env()) {
  if (is.null(name)) {
    input <- checked_text(basename(job[["input"]]), "input", call)
    return(if (job[["engine"]] == "none") input else name_parts(input)[[1]])
  }
  check_string(name, call = call)
  if (grepl("[/\\\\]", name) || nchar(name) > 200L) {
    wanted <- "the name of a file, without directories, of at most 200 characters"
    argument_abort("name", wanted, call)
  }
  name
}

with_extension <- function(name, path) {
  extension <- name_parts(basename(path))[[2]]
  if (endsWith(tolower(name), tolower(extension))) {
    name
  } else {
    paste0(name, extension)
  }
}

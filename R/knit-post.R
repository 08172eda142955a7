# Figures of single chunks as messages: a hook of knitr posts them when the chunk has run.
# It is no hook of knitr's own, such as that for plots: where one of these was replaced,
# knit() does not set up its format.

#' Post the figures of a knitr chunk
#'
#' `mx_knit_post()` adds the chunk option `mx.post` to the document that is being
#' rendered. A chunk with `mx.post = TRUE` posts the figures that it draws, as pictures,
#' as soon as it has run. Call it in the first chunk of an R Markdown or Quarto document,
#' or before [knitr::knit()]. For the whole document, see [mx_send_report()].
#'
#' The captions are those of the chunk option `fig.cap`. The figures of a chunk are
#' posted together, all or none, also those that the document hides. Pictures of
#' [knitr::include_graphics()] are no figures of the chunk. A chunk that is taken from
#' the cache of knitr does not run, and posts nothing. Figures that clients do not show,
#' such as PDF files, are left out with a message of class `mx_message_report`: use
#' `dev = "png"`.
#'
#' @inheritParams mx_send
#' @param thread The id of the event that begins the thread of the figures, or `NULL`.
#' @param on_error What happens when a figure cannot be posted. `"warn"` shows a warning
#'   in the document and in the R session, and the document is rendered. `"stop"` is an
#'   error, which ends the rendering.
#' @return `NULL`, invisibly.
#' @section Errors:
#' `mx_error_package` when knitr is missing. With `on_error = "stop"` a chunk raises the
#' errors of [mx_post()], and otherwise a warning of class `mx_warning_knit_post`. Its
#' `cause` is the error. A figure that only found no network waits in the outbox (see
#' [mx_outbox()]).
#' @family sending
#' @examplesIf requireNamespace("knitr", quietly = TRUE)
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice)
#'
#' old <- knitr::knit_hooks$get()
#' mx_knit_post(alice, room)
#' document <- c(
#'   "```{r, mx.post = TRUE, fig.cap = 'Stopping distances'}",
#'   "plot(cars)",
#'   "```"
#' )
#' dir <- tempfile()
#' knitr::opts_chunk$set(fig.path = file.path(dir, "figure-"))
#' text <- knitr::knit(text = document, quiet = TRUE)
#' mx_messages(alice, room)$body
#'
#' # rmarkdown does this after rendering.
#' knitr::knit_hooks$restore(old)
#' knitr::opts_chunk$restore()
#' unlink(dir, recursive = TRUE)
#' @export
mx_knit_post <- function(
  client,
  room,
  thread = NULL,
  on_error = c("warn", "stop")
) {
  check_client(client)
  check_room(client, room)
  check_string(thread, null = TRUE)
  on_error <- check_choice(on_error, c("warn", "stop"))
  check_package("knitr")
  started <- list()
  knitr::knit_hooks[["set"]](mx.post = function(before, options, envir) {
    chunk <- options[["label"]]
    if (before) {
      started[[chunk]] <<- Sys.time()
    } else if (isTRUE(options[["mx.post"]])) {
      figures <- figures_of_chunk(options, started[[chunk]])
      post <- function() post_figures(client, room, figures, thread)
      if (on_error == "warn") warning_of_posting(post, options) else post()
    }
  })
  invisible()
}

# The figures that a chunk has drawn. A file that was there before it ran is that of an
# earlier rendering.
figures_of_chunk <- function(options, started) {
  extensions <- options[["fig.ext"]]
  shown <- intersect(extensions, c("png", "jpeg", "jpg", "gif", "webp"))
  extension <- utils::head(c(shown, extensions), 1)
  n <- options[["fig.num"]] %||% 0
  paths <- vapply(seq_len(n), FUN.VALUE = "", function(i) {
    knitr::fig_path(paste0(".", extension), options, i)
  })
  captions <- rep_len(as.character(options[["fig.cap"]] %||% ""), n)
  # A file system may keep whole seconds.
  is_new <- file.exists(paths) & file.mtime(paths) >= started - 2
  Map(
    function(path, caption) list(path = path, caption = caption),
    paths[is_new],
    captions[is_new]
  )
}

post_figures <- function(client, room, figures, thread) {
  paths <- vapply(figures, function(figure) figure[["path"]], "")
  shown <- figures[paths %in% shown_figures(paths)]
  files <- lapply(shown, function(figure) {
    caption <- figure[["caption"]]
    mx_file(figure[["path"]], if (!is.na(caption) && nzchar(caption)) caption)
  })
  if (length(files) > 0L) {
    mx_post(client, room, unname(files), thread = thread)
  }
  NULL
}

# What the document shows for a failure, in its own format, or nothing.
warning_of_posting <- function(post, options) {
  tryCatch(
    post(),
    error = function(condition) {
      text <- paste0(
        "The figures of this chunk could not be posted.\n",
        conditionMessage(condition)
      )
      mx_warn(text, "mx_warning_knit_post", cause = condition)
      show <- knitr::knit_hooks[["get"]]("warning")
      show(paste0(text, "\n"), options)
    }
  )
}

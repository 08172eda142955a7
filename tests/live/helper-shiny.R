# A Shiny app in a process of its own: tests use it as tabs do, or in Chromium.

# An app that shows a room as the client at `path`.
room_app <- function(path, room, .local_envir = parent.frame()) {
  port <- free_port()
  run <- function(path, room, port) {
    client <- mxcrypt::mx_client_load(path = path)
    server <- function(input, output, session) {
      mxcrypt::mx_room_server("room", client, room)
    }
    page <- shiny::fluidPage(
      title = "Room",
      lang = "en",
      shiny::tags$main(mxcrypt::mx_room_ui("room"))
    )
    shiny::runApp(
      shiny::shinyApp(page, server),
      port = port,
      launch.browser = FALSE
    )
  }
  environment(run) <- globalenv()
  log <- withr::local_tempfile(.local_envir = .local_envir)
  process <- callr::r_bg(
    run,
    list(path, room, port),
    stdout = log,
    stderr = "2>&1",
    cleanup = TRUE,
    supervise = TRUE
  )
  withr::defer(process$kill(), envir = .local_envir)
  url <- paste0("http://127.0.0.1:", port)
  end <- Sys.time() + 30
  while (!answers(url)) {
    if (!process$is_alive() || Sys.time() > end) {
      stop("The app did not start.\n", paste(readLines(log), collapse = "\n"))
    }
    Sys.sleep(0.1)
  }
  list(url = url, process = process, log = log)
}

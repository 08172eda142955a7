# The page of mx_security_page(), or of a room, in a process of its own, as a person runs it.

# `client` is signed in; the app loads it from its path. Stopped when `.local_envir` ends.
security_app <- function(client, .local_envir = parent.frame(), room = NULL) {
  # The homeserver may take a port.
  force(client)
  port <- free_port()
  run <- function(path, room, port) {
    client <- mxcrypt::mx_client_load(path = path)
    app <- if (is.null(room)) {
      mxcrypt::mx_security_page(client)
    } else {
      mxcrypt::mx_room_page(client, room)
    }
    cat("token:", attr(app, "token"), "\n")
    shiny::runApp(app, port = port, launch.browser = FALSE)
  }
  environment(run) <- globalenv()
  log <- withr::local_tempfile(.local_envir = .local_envir)
  process <- callr::r_bg(
    run,
    list(client$path, room, port),
    stdout = log,
    stderr = "2>&1",
    cleanup = TRUE,
    supervise = TRUE
  )
  withr::defer(process$kill(), envir = .local_envir)
  url <- paste0("http://127.0.0.1:", port)
  end <- Sys.time() + 30
  while (!any(grepl("^Listening", readLines(log, warn = FALSE)))) {
    if (!process$is_alive() || Sys.time() > end) {
      stop("The app did not start.\n", paste(readLines(log), collapse = "\n"))
    }
    Sys.sleep(0.1)
  }
  said <- grep("^token:", readLines(log, warn = FALSE), value = TRUE)
  token <- trimws(sub("token:", "", said))
  list(
    # The address of a view.
    view = function(view = "status") {
      paste0(url, "/?token=", token, "#", view)
    },
    url = url,
    process = process,
    log = log
  )
}

# A state of a page: no fault of accessibility, nothing to scroll sideways for, and a
# picture of it.
look_at <- function(page, name) {
  page$expect_accessible()
  page$expect_fits()
  page$screenshot(name)
}

# What the browser complained of. Shiny tries to evaluate text, which the policy of the
# page forbids.
expect_no_faults <- function(page) {
  faults <- page$faults()
  expected <- grepl("unsafe-eval", faults$text, fixed = TRUE)
  expect_equal(faults$text[!expected], character())
}

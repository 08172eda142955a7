# A Shiny app in a process of its own, two tabs of it, and a foreign client in the room.

# A tab of the app: `shown()` is its log as text, `send()` what its form does.
tab_of <- function(app, .local_envir = parent.frame()) {
  process <- processx::process$new(
    file.path(repo_root, ".tools/node/bin/node"),
    c(
      file.path(repo_root, "tests/live/shiny/viewer.mjs"),
      paste0(sub("^http", "ws", app$url), "/websocket/")
    ),
    stdin = "|",
    stdout = "|",
    encoding = "UTF-8",
    cleanup = TRUE
  )
  withr::defer(process$kill(), envir = .local_envir)
  values <- list()
  receive <- function() {
    process$poll_io(100)
    for (line in process$read_output_lines()) {
      message <- jsonlite::fromJSON(line, simplifyVector = FALSE)
      news <- message[["values"]]
      values[names(news)] <<- news
    }
  }
  tell <- function(...) {
    json <- jsonlite::toJSON(list(...), auto_unbox = TRUE)
    process$write_input(paste0(json, "\n"))
  }
  tell(method = "init", data = list(.clientdata_pixelratio = 1))
  tab <- list(
    process = process,
    outcome = function() values[["room-form"]],
    shown = function() {
      html <- unlist(values[["room-log"]][["html"]])
      if (length(html) == 0L) {
        return(character())
      }
      bodies <- xml2::xml_find_all(
        xml2::read_html(paste(html, collapse = "")),
        "//div[@class='mx-body']"
      )
      xml2::xml_text(bodies)
    },
    html = function() {
      paste(unlist(values[["room-log"]][["html"]]), collapse = "")
    },
    send = function(text, number) {
      value <- list(text = text, number = number)
      tell(method = "update", data = list("room-send" = value))
    },
    wait = function(is_there, seconds = 20) {
      end <- Sys.time() + seconds
      while (!is_there()) {
        if (Sys.time() > end) {
          stop(
            "It did not come. The app said:\n",
            paste(readLines(app$log), collapse = "\n")
          )
        }
        receive()
      }
    }
  )
  tab$wait(function() !is.null(values[["room-log"]]))
  tab
}

# Without its time limit, a listener that another process has ended may be taken over.
listener_is_free <- function(client) {
  tryCatch(
    {
      listener <- mx_listen_start(client, identity, consumer = "mx_shiny")
      listener$stop()
      TRUE
    },
    mx_error_listening = function(condition) FALSE
  )
}

test_that("two tabs read and write a room while the app answers", {
  alice <- live_client()
  phone <- live_stranger()
  room <- room_of(alice, phone)
  phone$call("sendText", roomId = room, body = "before")
  wait_for_bodies(alice, "before")
  app <- room_app(alice$path, room)
  one <- tab_of(app)
  two <- tab_of(app)
  both <- list(one, two)
  for (tab in both) {
    tab$wait(function() "before" %in% tab$shown())
  }
  texts <- paste("to both", 1:5, "<b>")
  for (text in texts) {
    phone$call("sendText", roomId = room, body = text)
  }
  for (tab in both) {
    tab$wait(function() utils::tail(texts, 1) %in% tab$shown())
    expect_equal(tab$shown(), c("before", texts))
    expect_match(tab$html(), phone$user_id, fixed = TRUE)
    expect_match(
      tab$html(),
      "a device that its owner has not signed",
      fixed = TRUE
    )
  }
  # The long poll waits for something new.
  took <- vapply(
    1:15,
    function(i) system.time(stopifnot(answers(app$url)))[["elapsed"]],
    0
  )
  expect_lt(stats::median(took), 0.2)
  one$send("typed <here>", 1)
  one$wait(function() !is.null(one$outcome()))
  expect_true(one$outcome()$done)
  expect_equal(one$outcome()$sentence, "")
  reads(phone, room, "typed <here>")
  for (tab in both) {
    tab$wait(function() "typed <here>" %in% tab$shown())
  }
  for (tab in both) {
    tab$process$kill()
  }
  end <- Sys.time() + 20
  while (!listener_is_free(alice)) {
    stopifnot(Sys.time() < end)
    Sys.sleep(0.2)
  }
  # What comes while nobody looks is there when somebody does again.
  phone$call("sendText", roomId = room, body = "meanwhile")
  three <- tab_of(app)
  three$wait(function() "meanwhile" %in% three$shown())
  expect_equal(three$shown(), c("before", texts, "typed <here>", "meanwhile"))
  expect_true(app$process$is_alive())
})

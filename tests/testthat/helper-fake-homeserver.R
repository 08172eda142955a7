# A homeserver over HTTP on loopback, in a process of its own: the demo
# homeserver, behind a door that can be told to misbehave.
#
#   fake <- fake_homeserver()
#   alice <- fake_client(fake, "alice")
#   fake$fault("PUT", "/send/", status = 502, acts = TRUE)
#   fake$seen("PUT", "/send/")
#   fake$ask_approval(alice, "/delete_devices", "m.login.sso")

fake_homeserver <- function() {
  skip_if_not_installed("webfakes")
  skip_if_not_installed("callr")
  if (is.null(fakes[["process"]])) {
    # One for all tests: each has its own users and rooms.
    # Threads, because a response that is delayed must not delay the others.
    opts <- webfakes::server_opts(
      remote = TRUE,
      error_log_file = FALSE,
      num_threads = 16
    )
    process <- webfakes::new_app_process(fake_app(), opts = opts)
    withr::defer(process$stop(), envir = teardown_env())
    fakes[["process"]] <- process
  }
  fake_door(fakes[["process"]]$url("/"))
}

fakes <- new.env()

# What a test can say to the door, and what it can ask.
fake_door <- function(url) {
  url <- sub("/$", "", url)
  tell <- function(path, data = NULL) {
    handle <- curl::new_handle()
    text <- as.character(jsonlite::toJSON(data, auto_unbox = TRUE, digits = NA))
    curl::handle_setopt(handle, postfields = text)
    answer <- curl::curl_fetch_memory(paste0(url, path), handle)
    text <- rawToChar(answer[["content"]])
    jsonlite::fromJSON(text, simplifyVector = FALSE)
  }
  # The next `times` requests that match are answered so. With `acts`, the
  # homeserver does what was asked, and its answer is lost. With `delay`, the
  # answer comes so many seconds later.
  fault <- function(
    method,
    path,
    status = 200,
    body = "{}",
    headers = list(),
    times = 1,
    acts = FALSE,
    delay = 0,
    chunked = FALSE
  ) {
    body <- if (is.raw(body)) body else charToRaw(enc2utf8(body))
    tell(
      "/_fake/fault",
      list(
        method = method,
        path = path,
        status = status,
        body = jsonlite::base64_enc(body),
        headers = headers,
        times = times,
        acts = acts,
        delay = delay,
        chunked = chunked
      )
    )
    invisible()
  }
  # The requests since the last `forget()`, oldest first.
  seen <- function(method = "", path = "") {
    all <- tell("/_fake/seen")
    Filter(
      function(request) {
        grepl(method, request[["method"]], ignore.case = TRUE) &&
          grepl(path, request[["path"]])
      },
      all
    )
  }
  forget <- function() invisible(tell("/_fake/forget"))
  # From now on `POST path` goes through once all `stages` were done. Synapse
  # alone asks neither for m.oauth nor for single sign-on: both take a second
  # server. So this door is a stand-in for what the specification says of them.
  # What was asked before is forgotten, and answered with `unknown`.
  ask_approval <- function(client, path, stages, unknown = 401) {
    told <- list(
      user_id = client[["user_id"]],
      path = path,
      stages = as.list(stages),
      unknown = unknown,
      url = url
    )
    invisible(tell("/_fake/approval", told))
  }
  forget()
  list(
    url = url,
    fault = fault,
    seen = seen,
    forget = forget,
    ask_approval = ask_approval
  )
}

# What a user does who is told to open a page and approves there.
approve_at <- function(url) {
  answer <- curl::curl_fetch_memory(url)
  expect_equal(answer[["status_code"]], 200)
}

fake_app <- function() {
  app <- webfakes::new_app()
  handler <- fake_handler
  environment(handler) <- globalenv()
  app$use(handler)
  app
}

# Runs in the process of the fake; nothing of this file is there.
fake_handler <- function(req, res) {
  state <- getOption("fake_state")
  if (is.null(state)) {
    state <- new.env()
    state[["homeserver"]] <- mxcrypt:::demo_new("fake")
    state[["faults"]] <- list()
    state[["seen"]] <- list()
    options(fake_state = state)
  }
  finish <- function(answer) {
    for (name in names(answer[["headers"]])) {
      res$set_header(name, answer[["headers"]][[name]])
    }
    res$set_status(answer[["status"]])
    res$set_type("application/json")
    if (isTRUE(answer[["chunked"]])) {
      return(res$send_chunk(answer[["body"]]))
    }
    res$send(answer[["body"]])
  }
  if (!is.null(res$locals$delayed)) {
    return(finish(res$locals$delayed))
  }
  bytes <- if (is.raw(req$.body)) req$.body else raw()
  method <- toupper(req$method)
  say <- function(x) {
    res$set_type("application/json")
    res$send(as.character(jsonlite::toJSON(x, auto_unbox = TRUE, digits = NA)))
  }
  if (startsWith(req$path, "/_fake/")) {
    told <- jsonlite::fromJSON(rawToChar(bytes), simplifyVector = FALSE)
    answer <- list()
    if (req$path == "/_fake/fault") {
      state[["faults"]] <- c(state[["faults"]], list(told))
    } else if (req$path == "/_fake/forget") {
      state[["faults"]] <- list()
      state[["seen"]] <- list()
      state[["approval"]] <- NULL
    } else if (req$path == "/_fake/approval") {
      state[["approval"]] <- told
      state[["sessions"]] <- list()
    } else {
      answer <- state[["seen"]]
    }
    return(say(answer))
  }

  # A page is opened, and what it asks for is allowed.
  if (method == "GET" && grepl("/fallback/web$|^/approve$", req$path)) {
    page <- c("m.oauth", setdiff(strsplit(req$path, "/")[[1]], ""))
    session <- req$query$session
    known <- session %in% names(state[["sessions"]])
    if (known) {
      state[["sessions"]][[session]] <- c(state[["sessions"]][[session]], page)
    }
    res$set_status(if (known) 200L else 404L)
    return(res$send("Done. Go back to your program."))
  }

  # The path arrives decoded. No id here holds a slash, so it can be put back.
  encode <- function(text) utils::URLencode(text, reserved = TRUE)
  segments <- strsplit(sub("^/", "", req$path), "/", fixed = TRUE)[[1]]
  path <- paste0("/", vapply(segments, encode, ""), collapse = "")
  if (nzchar(req$query_string)) {
    path <- paste0(path, "?", req$query_string)
  }
  authorization <- req$get_header("Authorization")
  token <- if (!is.null(authorization)) sub("^Bearer ", "", authorization)
  is_media <- startsWith(req$path, "/_matrix/media/")
  request <- list(
    method = method,
    path = path,
    token = if (is.null(token)) "" else token,
    body = if (is_media) length(bytes) else rawToChar(bytes),
    time = as.numeric(Sys.time())
  )
  state[["seen"]] <- c(state[["seen"]], list(request))

  # The homeserver behind the door knows no downloads without a token.
  old_download <- "^/_matrix/media/v3/download/"
  ask <- function() {
    if (grepl(old_download, path)) {
      uri <- sub("[?].*$", "", sub(old_download, "mxc://", path))
      file <- state[["media"]][[uri]]
      gone <- charToRaw("{\"errcode\":\"M_NOT_FOUND\",\"error\":\"Gone\"}")
      found <- !is.null(file)
      return(list(
        status = if (found) 200L else 404L,
        body = if (found) file else gone
      ))
    }
    answer <- mxcrypt:::demo_handle(
      state[["homeserver"]],
      method,
      path,
      token,
      bytes
    )
    if (is_media && answer[["status"]] == 200) {
      uri <- jsonlite::fromJSON(rawToChar(answer[["body"]]))[["content_uri"]]
      state[["media"]][[uri]] <- bytes
    }
    answer
  }
  # Whether a request is allowed, or what is asked before it is.
  ask_first <- function(asked) {
    body <- jsonlite::fromJSON(rawToChar(bytes), simplifyVector = FALSE)
    auth <- body[["auth"]]
    session <- auth[["session"]]
    known <- !is.null(session) && session %in% names(state[["sessions"]])
    if (!is.null(session) && !known && asked[["unknown"]] != 401) {
      lost <- charToRaw(
        "{\"errcode\":\"M_UNKNOWN\",\"error\":\"What session?\"}"
      )
      return(list(status = asked[["unknown"]], body = lost))
    }
    if (!known) {
      state[["made"]] <- c(state[["made"]], 1)
      session <- paste0("session/", length(state[["made"]]), "&x y")
      state[["sessions"]][[session]] <- character()
    } else if (!is.null(auth[["type"]])) {
      done <- c(state[["sessions"]][[session]], auth[["type"]])
      state[["sessions"]][[session]] <- done
    }
    completed <- state[["sessions"]][[session]]
    if (all(unlist(asked[["stages"]]) %in% completed)) {
      # The homeserver behind the door knows passwords only.
      user <- list(type = "m.id.user", user = asked[["user_id"]])
      body[["auth"]] <- list(
        type = "m.login.password",
        identifier = user,
        password = "secret word"
      )
      bytes <<- charToRaw(jsonlite::toJSON(body, auto_unbox = TRUE))
      return(ask())
    }
    query <- curl::curl_escape(session)
    url <- paste0(asked[["url"]], "/approve?session=", query)
    demand <- list(
      session = session,
      flows = list(list(stages = asked[["stages"]])),
      completed = as.list(intersect(asked[["stages"]], completed)),
      params = list(m.oauth = list(url = url))
    )
    text <- jsonlite::toJSON(demand, auto_unbox = TRUE)
    list(status = 401L, body = charToRaw(text))
  }
  matches <- function(fault) {
    grepl(fault[["method"]], method) && grepl(fault[["path"]], path)
  }
  hit <- which(vapply(state[["faults"]], matches, NA))
  approval <- state[["approval"]]
  if (length(hit) == 0L) {
    guarded <- !is.null(approval) &&
      method == "POST" &&
      endsWith(path, approval[["path"]])
    answer <- if (guarded) ask_first(approval) else ask()
  } else {
    fault <- state[["faults"]][[hit[[1]]]]
    left <- fault[["times"]] - 1
    if (left > 0) {
      state[["faults"]][[hit[[1]]]][["times"]] <- left
    } else {
      state[["faults"]][[hit[[1]]]] <- NULL
    }
    if (fault[["acts"]]) {
      ask()
    }
    answer <- list(
      status = fault[["status"]],
      body = jsonlite::base64_dec(fault[["body"]]),
      headers = fault[["headers"]],
      chunked = fault[["chunked"]]
    )
    if (fault[["delay"]] > 0) {
      res$locals$delayed <- answer
      return(res$delay(as.numeric(fault[["delay"]])))
    }
  }
  finish(answer)
}

# A client of a fresh user of the fake homeserver, or another device of the user of
# `of`.
fake_client <- function(
  fake,
  name = "user",
  ...,
  of = NULL,
  .local_envir = parent.frame()
) {
  if (is.null(of)) {
    fakes[["users"]] <- (fakes[["users"]] %||% 0) + 1
    user <- paste0(name, fakes[["users"]])
    fake_register(fake, user)
  } else {
    user <- of[["user_id"]]
  }
  dir <- withr::local_tempdir(.local_envir = .local_envir)
  client <- mx_client_configure(
    fake[["url"]],
    user,
    password = "secret word",
    path = file.path(dir, "matrix.json"),
    store_dir = file.path(dir, "crypto"),
    ...
  )
  # Identities have tests of their own.
  mx_isolation_mode(client, "all")
  client
}

fake_register <- function(fake, user) {
  body <- list(
    username = user,
    password = "secret word",
    inhibit_login = TRUE,
    auth = list(type = "m.login.dummy")
  )
  session <- list(server = fake[["url"]])
  http_json(session, "POST", api_path("register"), body)
}

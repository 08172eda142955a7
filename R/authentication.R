# User-interactive authentication: what a server asks for before it lets a user do
# something that a stolen token should not be enough for.
# Specification: client-server API, "User-Interactive Authentication API".

# Posts `body(auth)`: without authentication first, and with it where the server
# asks.
with_authentication <- function(client, path, password, call, body) {
  auth <- NULL
  # As many stages as a flow may have, and no more.
  for (i in 1:5) {
    answer <- http_perform(client, "POST", path, body(auth), call = call)
    if (answer[["status"]] < 400L) {
      return(invisible(json_body(answer)))
    }
    asked <- json_body(answer)
    if (answer[["status"]] != 401L || !is.list(asked[["flows"]])) {
      http_abort(answer, call = call)
    }
    # A stage that was tried and is asked for again was refused.
    if (!is.null(auth) && is_string(asked[["errcode"]])) {
      http_abort(answer, call = call)
    }
    auth <- unclass(mxc_json(next_stage(client, asked, password, call)))
  }
  http_abort(answer, call = call)
}

next_stage <- function(client, asked, password, call) {
  texts <- function(x) Filter(is_string, unlist(x, use.names = FALSE))
  done <- texts(asked[["completed"]])
  flows <- lapply(asked[["flows"]], function(flow) {
    setdiff(texts(json_at(flow, "stages")), done)
  })
  session <- json_at(asked, "session")
  known <- c("m.login.dummy", "m.login.password")
  possible <- Filter(function(stages) all(stages %in% known), flows)
  if (length(possible) == 0L) {
    approval_abort(client, asked, unlist(flows), call)
  }
  stages <- possible[[1]]
  stage <- if (length(stages) > 0L) stages[[1]]
  auth <- list(type = stage, session = session)
  if (identical(stage, "m.login.password")) {
    auth[["identifier"]] <- list(type = "m.id.user", user = client[["user_id"]])
    auth[["password"]] <- password %||% find_password(client[["user_id"]], call)
  }
  auth[!vapply(auth, is.null, NA)]
}

approval_abort <- function(client, asked, stages, call) {
  url <- json_at(asked, "params", "m.oauth", "url")
  if (!is_string(url)) {
    stage <- if (length(stages) > 0L) stages[[1]] else "unknown"
    session <- json_at(asked, "session")
    query <- list(session = if (is_string(session)) session)
    page <- api_path("auth", stage, "fallback", "web", query = query)
    url <- paste0(client[["server"]], page)
  }
  mx_abort(
    c(
      "The server asks for your approval on its web page.",
      i = paste0("Open ", printable(url)),
      i = "Then do this again."
    ),
    "mx_error_approval",
    url = url,
    stages = stages,
    call = call
  )
}

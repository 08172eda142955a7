# User-interactive authentication: a server requires it for actions that a stolen token
# must not be enough for.
# Specification: client-server API, "User-Interactive Authentication API".

# The stages that are done here; others are done in a browser. (Tokens had a
# stage until v1.1 of the specification; the one that is left is of registration.)
own_stages <- c("m.login.dummy", "m.login.password")

# Posts `body(auth)`: without authentication first, and with it if the server
# requires it. An approval that this same request waits for is used.
with_authentication <- function(client, path, password, call, body) {
  machine <- machine_of(client)
  request <- body(NULL)
  post <- function(auth) {
    text <- if (is.null(auth)) request else body(unclass(mxc_json(auth)))
    http_perform(client, "POST", path, text, call = call)
  }
  note <- function(session) {
    noted <- machine_note_approval(machine, path, request, session)
    core(noted, call = call)
  }
  session <- core(machine_pending_approval(machine, path, request), call = call)
  answer <- post(if (!is.null(session)) list(session = session))
  if (!is.null(session) && is_refused(answer)) {
    # The server knows nothing of the session any more.
    answer <- post(NULL)
  }
  tried <- character()
  while (answer[["status"]] != 200L) {
    asked <- challenge_of(answer)
    stage <- if (!is.null(asked)) stage_here(client, asked, note, call)
    # A stage that is required again after it was tried was refused. There are only two
    # stages here, so that no server can keep this loop going.
    if (is.null(stage) || stage %in% tried) {
      http_abort(answer, call = call)
    }
    tried <- c(tried, stage)
    answer <- post(stage_auth(
      client,
      stage,
      asked[["session"]],
      password,
      call
    ))
  }
  # The response of a proxy, even with status 200, means that nothing was done.
  if (!is_json_object(answer)) {
    answer_abort("The response", answer, call)
  }
  note(NULL)
  invisible(json_body(answer))
}

# The authentication that a response requires, or NULL.
challenge_of <- function(answer) {
  if (answer[["status"]] == 401L) {
    core(judge_challenge(answer[["body"]], own_stages))
  }
}

# A proxy's page does not end the authentication session: it is kept for the next try.
is_refused <- function(answer) {
  answer[["status"]] >= 400L &&
    is_verdict(answer) &&
    is.null(challenge_of(answer))
}

# The next stage, if it can be done here.
stage_here <- function(client, asked, note, call) {
  stages <- asked[["stages"]]
  if (length(stages) == 0L) {
    uia_abort("offers no way to do so", stages, call)
  }
  if (stages[[1]] %in% own_stages) {
    return(stages[[1]])
  }
  url <- approval_url(client, asked, call)
  # Saved before it is shown: an approval then counts in any later process.
  note(asked[["session"]])
  mx_abort(
    c(
      "The server asks for your approval on its web page.",
      i = paste0("Open ", url, " in a browser and approve it there."),
      i = "Then make this call again, as it was: it goes on from here."
    ),
    c("mx_error_approval", "mx_error_uia"),
    url = url,
    stages = stages,
    call = call
  )
}

approval_url <- function(client, asked, call) {
  if (asked[["refused"]]) {
    why <- "names no page for it that is safe to open (an http or https URL)"
    uia_abort(why, asked[["stages"]], call)
  }
  if (!is.null(asked[["url"]])) {
    return(asked[["url"]])
  }
  if (is.null(asked[["session"]])) {
    uia_abort("opens no session for it", asked[["stages"]], call)
  }
  page <- api_path(
    c("auth", asked[["stages"]][[1]], "fallback", "web"),
    query = list(session = asked[["session"]])
  )
  paste0(client[["server"]], page)
}

uia_abort <- function(why, stages, call) {
  mx_abort(
    c(
      paste0("The server asks for authentication and ", why, "."),
      i = "It was not done. Ask whoever runs the server."
    ),
    "mx_error_uia",
    stages = stages,
    call = call
  )
}

stage_auth <- function(client, stage, session, password, call) {
  auth <- list(type = stage)
  auth[["session"]] <- session
  if (stage == "m.login.password") {
    auth[["identifier"]] <- list(type = "m.id.user", user = client[["user_id"]])
    auth[["password"]] <- password %||% find_password(client[["user_id"]], call)
  }
  auth
}

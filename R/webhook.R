# Receives webhooks: who may post, how often, and what is told to the sender. What the
# messages look like is in webhook-formats.R.
#
# Everything but the secret is text of strangers: of those who name alerts, branches and
# issues.

#' Receive webhooks of Grafana, Alertmanager, GitHub and others
#'
#' `mx_webhook_handler()` returns a function that posts webhooks to a room. Use it as a
#' handler of plumber, or as the application of httpuv. Senders need a shared secret, such
#' as that of the environment variable `MXCRYPT_WEBHOOK_SECRET`.
#'
#' ```r
#' # plumber; parsers = "octet" leaves the body to the handler
#' plumber::pr() |>
#'   plumber::pr_post("/hook", mx_webhook_handler(client, "ops"), parsers = "octet") |>
#'   plumber::pr_run(port = 8080)
#'
#' # httpuv, on every path
#' httpuv::runServer("127.0.0.1", 8080, list(call = mx_webhook_handler(client, "ops")))
#' ```
#'
#' The format is recognised:
#'
#' * **Grafana, Alertmanager**: firing and resolved alerts of a group in one message, with
#'   their summary, labels and links. The first ten are listed.
#' * **GitHub**: pushes; pull requests and issues that are opened, closed and reopened;
#'   workflows that are completed. Choose "application/json". Other events are a line.
#' * **Other JSON**: an object with a `text`, `message` or `title`; the rest is listed.
#'
#' Texts of the payload are shortened, and neither HTML nor mentions are made of them.
#'
#' Anyone who knows the secret can post to the room. Serve this over HTTPS, from behind a
#' reverse proxy or on `127.0.0.1`.
#'
#' @inheritParams mx_send
#' @param secret The shared secret, of at least 16 characters, or `NULL` to find it as
#'   [mxcrypt_secrets] describes: in `MXCRYPT_WEBHOOK_SECRET`, or in the file that
#'   `MXCRYPT_WEBHOOK_SECRET_FILE` names. The sender proves that it knows it:
#'   * GitHub: "Secret". It signs the body with it (`X-Hub-Signature-256`).
#'   * Grafana, Alertmanager: the credentials of an "Authorization header" of scheme
#'     Bearer, or the password of basic authentication, with any user name.
#'   * Others: also the header `X-Webhook-Secret`.
#' @param per_minute How many messages are posted in a minute at most.
#' @return A function of `req` and `res`. It answers with a status and a line of JSON:
#'
#'   | status | meaning |
#'   |---|---|
#'   | 200 | Posted; or an event that is not posted, or was posted before |
#'   | 202 | Saved in the outbox (see [mx_outbox()]), and sent when the server is reached |
#'   | 400, 405, 415 | Not a JSON object; not POST; not of type JSON |
#'   | 401 | Without the secret |
#'   | 413 | Larger than 1 MB |
#'   | 429 | Too many in a minute; 503 for Alertmanager and Grafana, which then try again |
#'   | 500 | It could not be processed |
#'   | 502, 503 | The homeserver refused the message; the outbox cannot be written |
#'
#'   An event that is delivered again is not posted again: a delivery of GitHub, the same
#'   alerts in the same state within an hour, another payload within a minute.
#' @section Errors:
#' When the handler is made: `mx_error_secret` when there is no secret or it is too
#' short, `mx_error_room` when there is no such room, and errors of the store (see
#' [mxcrypt_conditions]). The handler raises none. What it answers with 500, 502, or 503
#' because of the outbox is also a warning of class `mx_warning_webhook`.
#' @references GitHub: "Validating webhook deliveries",
#'   <https://docs.github.com/webhooks>. Prometheus: "`webhook_config`",
#'   <https://prometheus.io/docs/alerting/latest/configuration/>. Grafana: "Webhook
#'   notifier", <https://grafana.com/docs/grafana/latest/alerting/>.
#' @family sending
#' @examples
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, name = "ops")
#' hook <- mx_webhook_handler(alice, "ops", secret = "correct horse battery")
#'
#' # What httpuv would call it with.
#' body <- charToRaw('{"text": "Backup done", "host": "db-1"}')
#' hook(list(
#'   REQUEST_METHOD = "POST",
#'   HTTP_AUTHORIZATION = "Bearer correct horse battery",
#'   bodyRaw = body
#' ))
#' cat(mx_messages(alice, room)$body)
#' @export
mx_webhook_handler <- function(client, room, secret = NULL, per_minute = 60) {
  call <- environment()
  check_client(client)
  check_room(client, room)
  secret <- webhook_secret(client, secret, call)
  per_minute <- check_number(per_minute, least = 1)
  hook <- new_webhook(client, resolve_room(client, room), secret, per_minute)
  machine_of(client)
  # plumber gives a function of other arguments what stands in the body under their names.
  function(req, res = NULL) {
    failed <- function(condition) {
      warn_webhook("A webhook could not be processed.", condition)
      new_answer(500L, error = "This could not be processed.")
    }
    answered <- tryCatch(
      on_failure(webhook_answer(hook, req), failed, "error"),
      webhook_answer = identity
    )
    and_then(answered, function(answer) write_answer(answer, res))
  }
}

new_webhook <- function(client, room_id, secret, per_minute) {
  hook <- new.env(parent = emptyenv())
  hook[["secret"]] <- charToRaw(secret)
  hook[["relay"]] <- new_relay(client, room_id)
  hook[["per_minute"]] <- per_minute
  hook[["posted_at"]] <- numeric()
  hook[["seen"]] <- list()
  hook
}

shortest_webhook_secret <- 16L

webhook_secret <- function(client, secret, call) {
  secret <- check_string(secret, "secret", null = TRUE, call = call) %||%
    find_secret("webhook_secret", client[["user_id"]], call)
  if (is.null(secret)) {
    secret_abort(
      list(),
      c(
        "A webhook needs a secret, and there is none.",
        i = "Set MXCRYPT_WEBHOOK_SECRET, or see ?mxcrypt_secrets."
      ),
      call
    )
  }
  if (nchar(secret) < shortest_webhook_secret) {
    secret_abort(
      list(),
      c(
        "The secret of a webhook must have at least 16 characters.",
        i = "It is all that keeps strangers from posting to the room."
      ),
      call
    )
  }
  enc2utf8(secret)
}

largest_webhook <- 1e6

# What is answered to a request, or a promise of it.
webhook_answer <- function(hook, req) {
  if (!identical(req[["REQUEST_METHOD"]], "POST")) {
    refuse_webhook(405L, "Only POST is possible.")
  }
  body <- request_bytes(req)
  if (!is_authorised(req, body, hook[["secret"]])) {
    refuse_webhook(401L, "The secret is missing or wrong.")
  }
  payload <- request_payload(req, body)
  event <- webhook_event(req, payload)
  if (is.null(event[["note"]])) {
    return(new_answer(200L, status = "This event is not posted."))
  }
  key <- delivery_key(hook, event, body)
  if (is_delivered(hook, key, event)) {
    return(new_answer(200L, status = "This was posted before."))
  }
  check_webhook_rate(hook, event)
  number <- tryCatch(
    relay_stage(
      hook[["relay"]],
      note_content(event[["note"]]),
      delivery_transaction(key, event)
    ),
    mx_error = function(condition) {
      warn_webhook("A webhook could not be saved in the outbox.", condition)
      refuse_webhook(503L, "The message could not be saved.")
    }
  )
  now <- monotonic_time()
  hook[["posted_at"]] <- last_of(
    c(hook[["posted_at"]], now),
    hook[["per_minute"]]
  )
  hook[["seen"]] <- last_of(
    c(hook[["seen"]], list(list(key = key, at = now))),
    most_deliveries
  )
  # httpuv and plumber answer other requests until a promise is resolved.
  is_served <- !is.null(req[["httpuv.version"]]) && has_promises()
  sent <- relay_send(hook[["relay"]], number, async = is_served)
  and_then(sent, function(outcome) {
    # It was not posted: when it is delivered again, it is tried again.
    if (outcome == "refused") {
      forget_delivery(hook, key)
    }
    sent_answer(outcome)
  })
}

sent_answer <- function(outcome) {
  switch(
    outcome,
    sent = new_answer(200L, status = "Posted."),
    waiting = new_answer(202L, status = "Saved, and sent later."),
    {
      warn_webhook("The homeserver refused the message of a webhook.", NULL)
      new_answer(502L, error = "The homeserver refused the message.")
    }
  )
}

new_answer <- function(code, ...) {
  structure(
    class = c("webhook_answer", "condition"),
    list(code = code, body = as_json_text(list(...)))
  )
}

refuse_webhook <- function(status, error) {
  raise(new_answer(status, error = error))
}

# plumber takes its response object, httpuv a list.
write_answer <- function(answer, res) {
  status <- answer[["code"]]
  headers <- list("Content-Type" = "application/json")
  if (status == 401L) {
    headers[["WWW-Authenticate"]] <- "Bearer"
  }
  if (status %in% c(429L, 503L)) {
    headers[["Retry-After"]] <- "60"
  }
  if (is.null(res)) {
    return(list(status = status, headers = headers, body = answer[["body"]]))
  }
  for (name in names(headers)) {
    res[["setHeader"]](name, headers[[name]])
  }
  res[["status"]] <- status
  res[["body"]] <- answer[["body"]]
  res
}

warn_webhook <- function(text, condition) {
  mx_warn(
    c(text, x = if (!is.null(condition)) conditionMessage(condition)),
    "mx_warning_webhook",
    cause = condition
  )
}

header_of <- function(req, name) {
  string_or_empty(req[[name]])
}

# The body as it was sent: the signature is over these bytes. httpuv has it in a stream,
# which plumber has read already.
request_bytes <- function(req) {
  length <- as_valid(header_of(req, "HTTP_CONTENT_LENGTH"))
  announced <- suppressWarnings(as.numeric(length))
  if (isTRUE(announced > largest_webhook)) {
    refuse_webhook(413L, "This is larger than 1 MB.")
  }
  body <- req[["bodyRaw"]]
  if (is.null(body)) {
    body <- req[["rook.input"]][["read"]](largest_webhook + 1)
  }
  if (length(body) > largest_webhook) {
    refuse_webhook(413L, "This is larger than 1 MB.")
  }
  as.raw(body)
}

# A signature is the stronger proof: where there is one it must be right.
is_authorised <- function(req, body, secret) {
  signature <- header_of(req, "HTTP_X_HUB_SIGNATURE_256")
  if (nzchar(signature)) {
    right <- paste0("sha256=", core(hmac_sha256(secret, body)))
    return(is_equal_secret(signature, charToRaw(right)))
  }
  is_equal_secret(presented_secret(req), secret)
}

is_equal_secret <- function(presented, secret) {
  core(equal_in_constant_time(charToRaw(presented), secret))
}

presented_secret <- function(req) {
  authorization <- header_of(req, "HTTP_AUTHORIZATION")
  value <- sub("^[A-Za-z]+ +", "", authorization)
  if (grepl("^bearer ", authorization, ignore.case = TRUE)) {
    value
  } else if (grepl("^basic ", authorization, ignore.case = TRUE)) {
    basic_password(value)
  } else {
    header_of(req, "HTTP_X_WEBHOOK_SECRET")
  }
}

# A NUL cannot be in text.
basic_password <- function(value) {
  bytes <- tryCatch(
    jsonlite::base64_dec(value),
    error = function(condition) raw()
  )
  if (any(bytes == as.raw(0L))) {
    return("")
  }
  sub("^[^:]*:", "", rawToChar(bytes), useBytes = TRUE)
}

request_payload <- function(req, body) {
  type <- paste0(
    header_of(req, "HTTP_CONTENT_TYPE"),
    header_of(req, "CONTENT_TYPE")
  )
  if (nzchar(type) && !grepl("json", type, ignore.case = TRUE)) {
    refuse_webhook(415L, "The content type must be application/json.")
  }
  text <- text_of_bytes(body)
  payload <- if (!is.null(text)) json_decode(text)
  is_object <- is.list(payload) &&
    !is.null(names(payload)) &&
    !inherits(payload, "mxcrypt_failure")
  if (!is_object) {
    refuse_webhook(400L, "This is not a JSON object.")
  }
  payload
}

# Deliveries that are remembered by the process.
most_deliveries <- 1000L

# What two deliveries of an event have in common, as a hash that only the holder of the
# secret could choose.
delivery_key <- function(hook, event, body) {
  id <- event[["id"]]
  same <- if (is.null(id)) body else charToRaw(as_json_text(id))
  room <- charToRaw(hook[["relay"]][["room_id"]])
  core(hmac_sha256(hook[["secret"]], c(room, same)))
}

is_delivered <- function(hook, key, event) {
  now <- monotonic_time()
  same <- function(x) {
    x[["key"]] == key && now - x[["at"]] < event[["window"]]
  }
  any(vapply(hook[["seen"]], same, NA))
}

forget_delivery <- function(hook, key) {
  is_other <- function(x) x[["key"]] != key
  hook[["seen"]] <- Filter(is_other, hook[["seen"]])
}

# For a delivery that comes again after this process was started again: the homeserver
# takes one event for an id. Later the same state is posted again, as a reminder. The
# period is one of the system clock: no other lasts longer than a process.
delivery_transaction <- function(key, event) {
  window <- event[["window"]]
  period <- if (is.finite(window)) floor(as.numeric(Sys.time()) / window) else 0
  paste0("hook.", substr(key, 1L, 40L), ".", format(period, scientific = FALSE))
}

# Alertmanager tries again after 5xx only, and else loses the alert.
check_webhook_rate <- function(hook, event) {
  ago <- monotonic_time() - hook[["posted_at"]]
  if (sum(ago < 60) >= hook[["per_minute"]]) {
    code <- if (event[["retries_5xx"]]) 503L else 429L
    refuse_webhook(code, "Too many messages. Try again in a minute.")
  }
}

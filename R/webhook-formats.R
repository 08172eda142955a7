# What webhooks say, as messages to read. A payload becomes a note: a `title` with a `url`,
# a `text` of several lines, and `items`, of which each has a text, a url and details.
#
# All texts are cut and cleaned when they are read, and escaped when they become HTML.

# What came: its `note`, or none if it is not worth a message; an `id` that is the same
# when it is delivered again, or none; for how many seconds it then counts as the same; and
# whether its sender tries again after 5xx only.
webhook_event <- function(req, payload) {
  github <- header_of(req, "HTTP_X_GITHUB_EVENT")
  if (nzchar(github)) {
    delivery <- header_of(req, "HTTP_X_GITHUB_DELIVERY")
    id <- if (nzchar(delivery)) list("github", shortened(delivery))
    note <- github_note(clean_line(github, 50L), payload)
    return(list(note = note, id = id, window = Inf, retries_5xx = FALSE))
  }
  if (is_alert_group(payload)) {
    # Many alerts would take long to read: then the same is what has the same bytes.
    is_short <- length(payload[["alerts"]]) <= most_compared_alerts
    id <- if (is_short) alert_group_id(payload)
    note <- alert_note(payload)
    return(list(note = note, id = id, window = 3600, retries_5xx = TRUE))
  }
  list(note = json_note(payload), id = NULL, window = 60, retries_5xx = FALSE)
}

most_items <- 10L
most_compared_alerts <- 200L

# Text of a payload -----------------------------------------------------------------

# One line. An address that clients show as a mention is broken.
clean_line <- function(text, most) {
  text <- gsub("[[:cntrl:]]+", " ", clean_text(text, most))
  trimws(gsub("(?i)matrix\\.to/#", "matrix.to/ #", text, perl = TRUE))
}

# The text at a path of the payload, "" where there is none.
text_at <- function(x, ..., most = 200L) {
  value <- json_at(x, ...)
  is_one <- length(value) == 1L && is.atomic(value) && !is.na(value)
  if (!is_one) {
    return("")
  }
  text <- if (is.logical(value)) tolower(value) else format_scalar(value)
  clean_line(text, most)
}

format_scalar <- function(value) {
  if (is.numeric(value)) format(value, digits = 10L) else value
}

# The first of these members that has a text.
first_text_at <- function(x, names, most = 200L) {
  texts <- vapply(names, function(name) text_at(x, name, most = most), "")
  c(texts[nzchar(texts)], "")[[1]]
}

# An address to open in a browser, or NULL. Others could be a mention, or run code.
url_at <- function(x, ...) {
  url <- json_at(x, ...)
  is_link <- is_string(url) &&
    nchar(url, "bytes") <= 1000L &&
    grepl("^https?://[^[:space:][:cntrl:]<>\"]+$", url) &&
    !grepl("^https?://([^/]*@)?matrix\\.to", url, ignore.case = TRUE)
  if (is_link) url
}

first_url <- function(...) {
  Find(Negate(is.null), list(...))
}

# Several lines of text.
lines_at <- function(x, name, most = 2000L) {
  value <- json_at(x, name)
  if (!is_string(value)) {
    return(character())
  }
  lines <- strsplit(clean_text(value, most), "\n", fixed = TRUE)[[1]]
  utils::head(clean_line(lines, most), 30L)
}

# Members that are texts, numbers or flags, as "name: value".
pairs_of <- function(x, most, separator = "=", without = character()) {
  names <- setdiff(unique(names(x)), without)
  # Of a payload with very many members only so many are looked at.
  names <- utils::head(names, 200L)
  values <- vapply(names, function(name) text_at(x, name), "")
  names <- names[nzchar(values)]
  values <- values[nzchar(values)]
  shown <- utils::head(seq_along(names), most)
  pairs <- paste0(
    clean_line(names[shown], 60L),
    separator,
    values[shown],
    recycle0 = TRUE
  )
  c(pairs, if (length(names) > most) paste(length(names) - most, "more"))
}

# A note as a message ---------------------------------------------------------------

new_note <- function(
  title,
  url = NULL,
  text = character(),
  items = list(),
  more = 0
) {
  list(title = title, url = url, text = text, items = items, more = more)
}

new_item <- function(
  text,
  url = NULL,
  details = character(),
  links = list()
) {
  links <- Filter(Negate(is.null), links)
  list(text = text, url = url, details = details, links = links)
}

note_content <- function(note) {
  message <- new_message(note_body(note), note_html(note), "m.notice")
  message_content(message, mentions = character(), relation = NULL)
}

more_text <- function(note) {
  if (note[["more"]] > 0) paste("and", format_count(note[["more"]]), "more")
}

note_body <- function(note) {
  item <- function(item) {
    links <- item[["links"]]
    more <- c(
      if (length(item[["details"]]) > 0L) comma(item[["details"]]),
      item[["url"]],
      paste0(names(links), ": ", unlist(links), recycle0 = TRUE)
    )
    c(paste("-", item[["text"]]), paste0("  ", more, recycle0 = TRUE))
  }
  lines <- c(
    note[["title"]],
    note[["url"]],
    note[["text"]],
    unlist(lapply(note[["items"]], item)),
    more_text(note)
  )
  paste(lines[nzchar(lines)], collapse = "\n")
}

note_html <- function(note) {
  item <- function(item) {
    details <- escape_html(comma(item[["details"]]))
    links <- Map(html_link, names(item[["links"]]), item[["links"]])
    parts <- c(
      html_link(item[["text"]], item[["url"]]),
      if (nzchar(details)) paste0("<code>", details, "</code>"),
      paste(unlist(links), collapse = " ")
    )
    paste0("<li>", paste(parts[nzchar(parts)], collapse = "<br>"), "</li>")
  }
  items <- vapply(note[["items"]], item, "")
  paste0(
    "<b>",
    html_link(note[["title"]], note[["url"]]),
    "</b>",
    paste0("<br>", escape_html(note[["text"]]), recycle0 = TRUE, collapse = ""),
    if (length(items) > 0L) {
      paste0("<ul>", paste(items, collapse = ""), "</ul>")
    },
    more_text(note)
  )
}

html_link <- function(text, url) {
  if (is.null(url)) {
    return(escape_html(text))
  }
  paste0("<a href=\"", escape_html(url), "\">", escape_html(text), "</a>")
}

comma <- function(texts) paste(texts, collapse = ", ")

# Grafana and Alertmanager ----------------------------------------------------------

# Prometheus: "`webhook_config`". Grafana sends the same, with more members.
is_alert_group <- function(payload) {
  alerts <- payload[["alerts"]]
  is.list(alerts) &&
    is.null(names(alerts)) &&
    all(vapply(alerts, is.list, NA)) &&
    is_string(payload[["status"]])
}

# Two Alertmanagers of a cluster may both send it.
alert_group_id <- function(payload) {
  alert <- function(alert) {
    parts <- c("fingerprint", "status", "startsAt", "endsAt")
    parts <- vapply(parts, function(name) text_at(alert, name), "")
    list(unname(parts), pairs_of(alert[["labels"]], 50L))
  }
  list(
    text_at(payload, "groupKey", most = 1000L),
    text_at(payload, "receiver"),
    text_at(payload, "status"),
    lapply(payload[["alerts"]], alert)
  )
}

alert_note <- function(payload) {
  alerts <- payload[["alerts"]]
  is_firing <- vapply(alerts, is_alert_firing, NA)
  # What goes on stands first.
  alerts <- c(alerts[is_firing], alerts[!is_firing])
  counts <- c(
    if (any(is_firing)) paste(sum(is_firing), "firing"),
    if (any(!is_firing)) paste(sum(!is_firing), "resolved")
  )
  name <- alert_group_name(payload)
  goes_on <- any(is_firing) || !identical(payload[["status"]], "resolved")
  cut <- suppressWarnings(as.numeric(text_at(payload, "truncatedAlerts")))
  cut <- if (is.na(cut) || cut < 0) 0 else min(cut, 1e6)
  new_note(
    paste0(
      if (goes_on) "\U0001f525 " else "\u2705 ",
      name,
      if (length(counts) > 0L) paste0(" (", comma(counts), ")")
    ),
    url_at(payload, "externalURL"),
    items = lapply(utils::head(alerts, most_items), alert_item, name),
    more = max(0, length(alerts) - most_items) + cut
  )
}

is_alert_firing <- function(alert) {
  !identical(json_at(alert, "status"), "resolved")
}

alert_group_name <- function(payload) {
  names <- c(
    text_at(payload, "groupLabels", "alertname"),
    text_at(payload, "commonLabels", "alertname"),
    if (length(payload[["alerts"]]) == 1L) {
      text_at(payload[["alerts"]][[1]], "labels", "alertname")
    },
    comma(pairs_of(json_at(payload, "groupLabels"), 3L)),
    "Alerts"
  )
  names[nzchar(names)][[1]]
}

alert_item <- function(alert, group_name) {
  name <- text_at(alert, "labels", "alertname")
  words <- first_text_at(
    json_at(alert, "annotations"),
    c("summary", "description", "message"),
    most = 400L
  )
  is_named <- nzchar(name) && name != group_name
  text <- c(if (is_named || !nzchar(words)) name, words)
  text <- paste(text[nzchar(text)], collapse = ": ")
  mark <- if (is_alert_firing(alert)) "\U0001f525" else "\u2705"
  new_item(
    paste(mark, text),
    first_url(
      url_at(alert, "panelURL"),
      url_at(alert, "dashboardURL"),
      url_at(alert, "generatorURL")
    ),
    pairs_of(json_at(alert, "labels"), 10L, without = "alertname"),
    list(
      runbook = url_at(alert, "annotations", "runbook_url"),
      silence = url_at(alert, "silenceURL")
    )
  )
}

# GitHub ----------------------------------------------------------------------------

# GitHub: "Webhook events and payloads". NULL for what would only be noise.
github_note <- function(event, payload) {
  repository <- c(
    text_at(payload, "repository", "full_name"),
    text_at(payload, "organization", "login"),
    "GitHub"
  )
  repository <- repository[nzchar(repository)][[1]]
  sender <- text_at(payload, "sender", "login", most = 50L)
  note <- switch(
    event,
    ping = github_ping(payload),
    push = github_push(payload, sender),
    pull_request = github_numbered(payload, "pull_request", sender),
    issues = github_numbered(payload, "issue", sender),
    workflow_run = github_workflow(payload),
    github_other(event, payload, sender)
  )
  if (!is.null(note)) {
    note[["title"]] <- paste0(repository, ": ", note[["title"]])
  }
  note
}

github_ping <- function(payload) {
  new_note(
    "the webhook works",
    url_at(payload, "repository", "html_url"),
    text_at(payload, "zen")
  )
}

github_push <- function(payload, sender) {
  ref <- text_at(payload, "ref")
  kind <- if (startsWith(ref, "refs/tags/")) "tag" else "branch"
  branch <- sub("^refs/(heads|tags)/", "", ref)
  commits <- Filter(is.list, as.list(json_at(payload, "commits")))
  n <- length(commits)
  flag <- function(name) isTRUE(json_at(payload, name))
  done <- if (flag("deleted")) {
    paste("deleted the", kind, branch)
  } else if (n == 0L) {
    paste("created the", kind, branch)
  } else {
    verb <- if (flag("forced")) "force-pushed" else "pushed"
    paste(verb, plural(n, "commit"), "to", branch)
  }
  item <- function(commit) {
    message <- utils::head(lines_at(commit, "message", 200L), 1L)
    id <- substr(text_at(commit, "id"), 1L, 7L)
    new_item(paste(c(id, message), collapse = " "), url_at(commit, "url"))
  }
  new_note(
    paste(sender, done),
    url_at(payload, "compare"),
    items = lapply(utils::head(commits, most_items), item),
    more = max(0L, n - most_items)
  )
}

# A pull request or an issue. Labels, assignments and pushes to it are no news.
github_numbered <- function(payload, name, sender) {
  action <- text_at(payload, "action")
  if (!action %in% c("opened", "closed", "reopened", "ready_for_review")) {
    return(NULL)
  }
  if (action == "closed" && isTRUE(json_at(payload, name, "merged"))) {
    action <- "merged"
  }
  what <- if (name == "issue") "issue" else "pull request"
  number <- paste0("#", text_at(payload, name, "number"))
  action <- gsub("_", " ", action, fixed = TRUE)
  action <- sub("^ready", "marked as ready", action)
  title <- text_at(payload, name, "title")
  new_note(
    paste0(paste(sender, action, what, number), ": ", title),
    url_at(payload, name, "html_url")
  )
}

github_workflow <- function(payload) {
  run <- json_at(payload, "workflow_run")
  if (text_at(payload, "action") != "completed") {
    return(NULL)
  }
  conclusion <- text_at(run, "conclusion")
  mark <- switch(
    conclusion,
    success = "\u2705",
    failure = ,
    timed_out = ,
    startup_failure = "\u274c",
    "\u26aa"
  )
  title <- paste(mark, text_at(run, "name"), gsub("_", " ", conclusion))
  branch <- text_at(run, "head_branch")
  new_note(
    if (nzchar(branch)) paste(title, "on", branch) else title,
    url_at(run, "html_url"),
    text_at(run, "display_title")
  )
}

github_other <- function(event, payload, sender) {
  action <- text_at(payload, "action")
  words <- gsub("_", " ", paste(sender, event, action), fixed = TRUE)
  new_note(
    trimws(words),
    first_url(
      url_at(payload, event, "html_url"),
      url_at(payload, "comment", "html_url"),
      url_at(payload, "repository", "html_url")
    )
  )
}

# Other JSON ------------------------------------------------------------------------

title_members <- c("title", "subject", "summary")
text_members <- c("text", "message", "body", "description")
url_members <- c("url", "link")
state_members <- c("status", "state", "level", "severity")

json_note <- function(payload) {
  title <- first_text_at(payload, title_members)
  texts <- lapply(text_members, function(name) lines_at(payload, name))
  text <- c(Filter(length, texts), list(character()))[[1]]
  if (!nzchar(title) && length(text) > 0L) {
    title <- text[[1]]
    text <- text[-1]
  }
  state <- first_text_at(payload, state_members)
  known <- c(title_members, text_members, url_members)
  pairs <- pairs_of(payload, 20L, separator = ": ", without = known)
  new_note(
    paste0(state_mark(state), if (nzchar(title)) title else "Webhook"),
    do.call(
      first_url,
      lapply(url_members, function(name) url_at(payload, name))
    ),
    text,
    lapply(pairs, new_item)
  )
}

state_mark <- function(state) {
  bad <- "^(firing|alerting|critical|error|fatal|fail(ed|ure)?|down)$"
  good <- "^(resolved|ok|success(ful)?|succeeded|passed|up)$"
  if (grepl(bad, state, ignore.case = TRUE)) {
    "\U0001f525 "
  } else if (grepl(good, state, ignore.case = TRUE)) {
    "\u2705 "
  } else {
    ""
  }
}

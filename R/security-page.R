# The page of one's encryption: its views, and what they share. Each view is in the file
# page-<view>.R, as a function for what is on it and one that makes it work.

#' A page for your encryption
#'
#' `mx_security_page()` is a Shiny app for what other clients have under "Security" or
#' "Encryption" in their settings: whether everything is in order and what to do if not,
#' key backup and recovery, your devices, verification by emoji and QR code, export and
#' import of keys, the members of your rooms, and why messages cannot be read.
#'
#' Print the app, or give it to [shiny::runApp()]. It then opens in the browser, and runs
#' until it is ended.
#'
#' @section Verification, devices and people:
#' * "Verify": asks another device of yours, all of them, or a person, and announces who
#'   asks you, whatever view is open. You compare seven emoji or three numbers, show a QR
#'   code, or scan one with the camera or from a picture, which needs no file on a disk.
#'   Each step is in the store: a page that is loaded again, or another tab, goes on there.
#' * "Devices": name, trust, when last seen, and fingerprint. A device is renamed, verified,
#'   signed after you compared its fingerprint, blocked, or signed out, several at once. The
#'   page says before what is lost.
#' * "Rooms and people": the members of a room, those who need attention first, with the
#'   trust in each and in their devices. A changed identity is accepted, or verified again.
#'
#' Browsers give pages the camera only on this machine or over HTTPS.
#'
#' @section Status, keys and recovery:
#' * "Status": what is out of sync, a repair, and a link to the view that helps.
#' * "Key backup": its version, where its key is, its signatures and whether it is trusted.
#'   It is filled, restored, switched off and on, or deleted.
#' * "Recovery": encryption is set up with a recovery key or a passphrase, this device is
#'   verified with it, it is changed, and the identity is reset. What that costs is said
#'   before.
#' * "Export and import": key files, as Element has them.
#' * "Unreadable messages": how many there are in which room, why, and what helps.
#'
#' Long work, such as the restoring of many keys, goes on between what you do on the page.
#' If the page is closed, the rest is done when you press the button again.
#'
#' The page holds no secret that was not asked for. A new recovery key is shown when you
#' ask for it, until you say that it is saved. An exported file is deleted from this machine
#' when the page is closed.
#'
#' @section Who may open it:
#' Whoever opens the page can do all that you can do with the client. It is served to this
#' machine only, and its address has a random token without which nothing is shown. To
#' serve it to other machines, give their name for this one in `hosts`, start the app with
#' `shiny::runApp(host = "0.0.0.0")`, and put HTTPS before it.
#'
#' @inheritParams mx_client_session
#' @param hosts Names, without a port, under which the page may be reached from elsewhere.
#'   A page that is opened under another name than these, `localhost` or `127.0.0.1` is
#'   refused.
#' @return A Shiny app. It has the attribute `token`.
#' @section Errors:
#' `mx_error_package` where shiny, later or promises is not installed. All others are
#' sentences on the page, and the R session goes on.
#' @family trust and verification
#' @seealso [mx_room_page()] for a room; [mx_crypto_status()] for the status in R.
#' @examplesIf rlang::is_installed(c("shiny", "later", "promises"))
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' app <- mx_security_page(alice)
#' if (interactive()) app
#' @export
mx_security_page <- function(client, hosts = character()) {
  check_shiny()
  check_client(client)
  machine_of(client)
  check_strings(hosts)
  views <- security_views()
  token <- new_token()
  server <- function(input, output, session) {
    page <- new_page(client, input, output, session)
    follow_client(page)
    for (view in views) {
      view[["server"]](page)
    }
  }
  title <- paste("Encryption of", client[["user_id"]])
  app <- page_app(title, security_body(client, views), server, hosts, token)
  structure(app, token = token)
}

# The views, in the order of the menu.
security_views <- function() {
  list(
    status = list(title = "Status", body = status_view, server = status_server),
    verify = list(title = "Verify", body = verify_view, server = verify_server),
    devices = list(
      title = "Devices",
      body = devices_view,
      server = devices_server
    ),
    people = list(
      title = "Rooms and people",
      body = people_view,
      server = people_server
    ),
    backup = list(
      title = "Key backup",
      body = backup_view,
      server = backup_server
    ),
    recovery = list(
      title = "Recovery",
      body = recovery_view,
      server = recovery_server
    ),
    keys = list(
      title = "Export and import",
      body = keys_view,
      server = keys_server
    ),
    unreadable = list(
      title = "Unreadable messages",
      body = unreadable_view,
      server = unreadable_server
    )
  )
}

security_body <- function(client, views) {
  tags <- shiny::tags
  titles <- vapply(views, function(view) view[["title"]], "")
  shiny::tagList(
    tags[["header"]](
      class = "mx-header",
      tags[["h1"]]("Encryption"),
      tags[["p"]](
        tags[["bdi"]](client[["user_id"]], .noWS = "after"),
        ", device ",
        tags[["code"]](client[["device_id"]])
      ),
      page_menu(titles)
    ),
    page_main(
      verify_banner(),
      lapply(views, function(view) view[["body"]]())
    )
  )
}

# What the views of a page share: the client, the inputs and outputs of the session,
# `status()` of the encryption as the server returns it, `refresh()` after a change,
# `changed()` to be told of one, and `verifications()` and `own()` (our identity and
# devices), which follow the store.
new_page <- function(client, input, output, session) {
  changed <- shiny::reactiveVal(0)
  page <- rlang::env(
    client = client,
    input = input,
    output = output,
    session = session,
    changed = changed,
    refresh = function() changed(shiny::isolate(changed()) + 1)
  )
  page[["status"]] <- shiny::reactive({
    changed()
    # Nobody is at the console who could be asked for a key.
    rlang::with_interactive(mx_crypto_status(client), value = FALSE)
  })
  page[["verifications"]] <- followed(page, 500, function() {
    mx_verifications(client)
  })
  page[["own"]] <- followed(page, 1000, function() own_known(client))
  page
}

# What the store has, whoever changes it. A store that cannot be read is an error of what
# shows it: the session goes on.
followed <- function(page, milliseconds, read) {
  look <- function() tryCatch(rlang::hash(read()), error = conditionMessage)
  shiny::reactivePoll(milliseconds, page[["session"]], look, read)
}

# Our identity and our devices as the store knows them, without a request.
own_known <- function(client) {
  machine <- machine_of(client)
  list(
    identity = core(machine_identity_status(machine)),
    devices = data.frame(core(machine_devices(machine, client[["user_id"]])))
  )
}

# The listener brings what the server has, so that verifications go on by themselves.
follow_client <- function(page) {
  consumer <- "mx_security_page"
  events <- mx_reactive_events(
    page[["client"]],
    last = 1,
    consumer = consumer,
    session = page[["session"]]
  )
  feed <- feed_of(page[["client"]], consumer)
  page[["output"]][["connection"]] <- shiny::renderText({
    shiny::invalidateLater(15000, page[["session"]])
    listening_sentence(events, feed[["listener"]])
  })
}

# An output of a page: what `render` returns, or the sentence of its error.
page_output <- function(page, id, render) {
  page[["output"]][[id]] <- shiny::renderUI({
    told <- with_told(render())
    if (told[["ok"]]) told[["outcome"]] else failure_html(told[["outcome"]])
  })
}

# A place for it, which is read aloud when it changes.
page_place <- function(id) {
  shiny::tags[["div"]](
    id = id,
    class = "mx-place shiny-html-output",
    "aria-live" = "polite"
  )
}

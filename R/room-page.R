# The page of a room: the module of shiny-room.R in the frame of page.R.

#' A page for a room
#'
#' `mx_room_page()` is a Shiny app in which one person reads and writes a room: the
#' messages with a mark for the trust in each, and a field to write. Print the app, or
#' give it to [shiny::runApp()]. It then opens in the browser, and runs until it is ended.
#' For a room in an app of your own, see [mx_room_ui()].
#'
#' @inheritSection mx_security_page Who may open it
#' @inheritParams mx_room_ui
#' @inheritParams mx_security_page
#' @return A Shiny app. It has the attribute `token`.
#' @section Errors:
#' `mx_error_package` where shiny, later or promises is not installed; `mx_error_room`
#' where there is no such room. All others are sentences on the page.
#' @family receiving
#' @seealso [mx_security_page()] for your encryption.
#' @examplesIf rlang::is_installed(c("shiny", "later", "promises"))
#' homeserver <- mx_demo_homeserver()
#' alice <- mx_demo_client(homeserver, "alice")
#' room <- mx_room_create(alice, name = "Pipeline")
#' app <- mx_room_page(alice, "Pipeline")
#' if (interactive()) app
#' @export
mx_room_page <- function(
  client,
  room = NULL,
  last = 100,
  history = 50,
  hosts = character()
) {
  check_shiny()
  check_client(client)
  check_number(last, least = 1)
  room_id <- resolve_room(client, room)
  check_history(history, room_id)
  check_strings(hosts)
  token <- new_token()
  server <- function(input, output, session) {
    mx_room_server(
      "room",
      client,
      room_id,
      last = last,
      history = history,
      consumer = "mx_room_page",
      session = session
    )
  }
  name <- room_title(client, room_id)
  app <- page_app(name, room_body(client, name), server, hosts, token)
  structure(app, token = token)
}

# A room that was created just now gets its name with a sync.
room_title <- function(client, room_id) {
  name <- known_room_name(client, room_id)
  if (is.na(name)) {
    tryCatch(sync_once(client, timeout = 0), mx_error = identity)
    name <- known_room_name(client, room_id)
  }
  if (is.na(name) || !nzchar(name)) plain_line(room_id) else name
}

known_room_name <- function(client, room_id) {
  rooms <- joined_rooms(client, caller_env())
  plain_line(rooms[["name"]][match(room_id, rooms[["room_id"]])])
}

room_body <- function(client, name) {
  tags <- shiny::tags
  shiny::tagList(
    tags[["header"]](
      class = "mx-header",
      tags[["h1"]](tags[["bdi"]](name)),
      tags[["p"]](
        "You are ",
        tags[["bdi"]](client[["user_id"]], .noWS = "after"),
        "."
      )
    ),
    tags[["main"]](class = "mx-main", mx_room_ui("room", height = "65vh"))
  )
}

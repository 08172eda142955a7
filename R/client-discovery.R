# The address of a homeserver, from what a user typed.
discover_server <- function(server, call = caller_env()) {
  if (inherits(server, "mx_demo_homeserver")) {
    return(demo_address(server))
  }
  check_string(server, call = call)
  server <- sub("/+$", "", server)
  if (!is.null(the[["homeservers"]][[server]])) {
    return(server)
  }
  typed <- if (grepl("^[a-z]+://", server)) {
    server
  } else {
    paste0("https://", server)
  }
  check_address(typed, call)
  address <- if (typed == server) server else well_known(typed, call)
  path <- "/_matrix/client/versions"
  answer <- http_perform(list(server = address), "GET", path, call = call)
  if (length(json_body(answer)[["versions"]]) == 0L) {
    message <- c(
      paste0("There is no Matrix homeserver at ", address, "."),
      x = paste0(
        "It answers ",
        path,
        " with status ",
        answer[["status"]],
        ": ",
        body_excerpt(answer)
      ),
      i = "Check the address, and whether a proxy stands in between."
    )
    abort_with_answer(message, "mx_error_discovery", answer, call)
  }
  address
}

# Specification: client-server API, "Well-known URI". A server without one is
# its own homeserver.
well_known <- function(address, call) {
  path <- "/.well-known/matrix/client"
  answer <- http_perform(list(server = address), "GET", path, call = call)
  found <- json_body(answer)[["m.homeserver"]]
  base_url <- if (is.list(found)) found[["base_url"]]
  if (answer[["status"]] != 200L || !is_string(base_url)) {
    return(address)
  }
  check_address(sub("/+$", "", base_url), call)
}

# An address of the web and nothing else: what a lookup answers could name a file,
# or say who one is.
check_address <- function(address, call) {
  host <- "([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]+)?"
  pattern <- paste0("^https?://", host, "(/[A-Za-z0-9._~%/-]*)?$")
  if (!grepl(pattern, address)) {
    mx_abort(
      paste0(printable(address), " is not the address of a homeserver."),
      "mx_error_discovery",
      call = call
    )
  }
  address
}

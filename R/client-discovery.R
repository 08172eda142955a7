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
  address <- if (grepl("^https?://", server)) server else well_known(server)
  answers <- function(address) {
    path <- "/_matrix/client/versions"
    answer <- http_perform(list(server = address), "GET", path)
    length(json_body(answer)[["versions"]]) > 0L
  }
  if (!answers(address)) {
    mx_abort(
      paste0("There is no Matrix homeserver at ", address, "."),
      "mx_error_discovery",
      call = call
    )
  }
  address
}

# Specification: client-server API, "Well-known URI". A server without one is
# its own homeserver.
well_known <- function(name) {
  address <- paste0("https://", name)
  path <- "/.well-known/matrix/client"
  answer <- http_perform(list(server = address), "GET", path)
  found <- json_body(answer)[["m.homeserver"]]
  base_url <- if (is.list(found)) found[["base_url"]]
  if (answer[["status"]] == 200L && is_string(base_url)) {
    sub("/+$", "", base_url)
  } else {
    address
  }
}

# Bare names are looked up over https: here, in place of httr2, a table from URL
# to answer.
local_web <- function(..., .local_envir = parent.frame()) {
  table <- list(...)
  asked <- new.env()
  asked[["urls"]] <- character()
  # httr2 wants this name.
  answer <- function(req) {
    asked[["urls"]] <- c(asked[["urls"]], req$url)
    found <- table[[req$url]]
    if (is.null(found)) {
      stop("Could not resolve host")
    }
    status <- if (is.numeric(found)) found else 200
    body <- if (is.numeric(found)) "<html>" else found
    httr2::response(status, url = req$url, body = charToRaw(body))
  }
  withr::local_options(
    httr2_mock = answer,
    mxcrypt.max_tries = 1,
    .local_envir = .local_envir
  )
  asked
}

versions <- '{"versions":["v1.11"]}'
known_at <- function(server) {
  sprintf("https://%s/.well-known/matrix/client", server)
}
asked_at <- function(server) {
  sprintf("%s/_matrix/client/versions", server)
}
named <- function(...) {
  x <- list(...)
  stats::setNames(x[c(FALSE, TRUE)], unlist(x[c(TRUE, FALSE)]))
}

test_that("a server name is looked up, and its homeserver asked", {
  web <- do.call(
    local_web,
    named(
      known_at("example.org"),
      '{"m.homeserver":{"base_url":"https://matrix.example.org/"}}',
      asked_at("https://matrix.example.org"),
      versions
    )
  )
  expect_equal(discover_server("example.org"), "https://matrix.example.org")
  expect_match(web[["urls"]], "^https://")
})

test_that("a server without a lookup is its own homeserver", {
  address <- "https://example.org:8448"
  answers <- function(body) {
    named(known_at("example.org:8448"), body, asked_at(address), versions)
  }
  do.call(local_web, answers(404))
  expect_equal(discover_server("example.org:8448"), address)
  # A lookup that went wrong leads nowhere else.
  for (body in list(500, "<html>", "[]", "{}", '{"m.homeserver":"x"}', "5")) {
    do.call(local_web, answers(body))
    found <- tryCatch(
      discover_server("example.org:8448"),
      mx_error = function(condition) address
    )
    expect_equal(found, address)
  }
})

test_that("an address is taken as it is, without its last slash", {
  address <- "http://localhost:8008"
  web <- do.call(local_web, named(asked_at(address), versions))
  expect_equal(discover_server("http://localhost:8008//"), address)
  expect_length(web[["urls"]], 1)
})

test_that("an address at which there is no homeserver is refused", {
  for (body in list(404, "<html>", "[]", "{}", '{"versions":[]}', "null")) {
    do.call(local_web, named(asked_at("https://example.org"), body))
    condition <- expect_error(
      discover_server("https://example.org"),
      class = "mx_error_discovery"
    )
    expect_match(
      conditionMessage(condition),
      "https://example.org",
      fixed = TRUE
    )
  }
  local_web()
  expect_error(
    discover_server("https://example.org"),
    class = "mx_error_network"
  )
})

test_that("a lookup leads to no other place than a web address", {
  bad <- c(
    "file:///etc/passwd",
    "ftp://example.org",
    "javascript:alert(1)",
    "",
    "//example.org",
    "https://user:password@example.org",
    "https://exa mple.org",
    "https://example.org\\nHost: x"
  )
  for (base_url in bad) {
    body <- sprintf('{"m.homeserver":{"base_url":"%s"}}', base_url)
    asked <- asked_at(sub("/+$", "", base_url))
    web <- do.call(
      local_web,
      named(known_at("example.org"), body, asked, versions)
    )
    found <- try(discover_server("example.org"), silent = TRUE)
    expect_false(identical(found, sub("/+$", "", base_url)), info = base_url)
  }
})

test_that("a name that is no server is an error", {
  local_web()
  for (name in c("", "exa mple", "a/b", "a?b", "a#b", "a@b", "%s%n", "a\nb")) {
    expect_error(discover_server(name), class = "mx_error", info = name)
  }
})

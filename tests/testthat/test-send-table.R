table_of <- function(x, ...) {
  table_content(as.data.frame(x), NULL, 50, FALSE)
}

html_of <- function(x) {
  table_of(x)[["formatted_body"]]
}

test_that("a data frame is a table in HTML, and columns of text", {
  pair <- demo_pair()
  x <- data.frame(
    name = c("a", "b & c"),
    n = c(1.5, 10),
    stringsAsFactors = FALSE
  )
  id <- expect_invisible(
    mx_send_table(pair$alice, pair$room, x, title = "Counts < today")
  )
  event <- mx_sync(pair$bob)
  event <- event[event$event_id == id, ]
  expect_equal(
    event$body,
    "Counts < today\nname   n\na      1.5\nb & c  10.0"
  )
  expect_equal(
    event$content[[1]][["formatted_body"]],
    paste0(
      "<p>Counts &lt; today</p><table><thead><tr><th>name</th><th>n</th></tr>",
      "</thead><tbody><tr><td>a</td><td>1.5</td></tr>",
      "<tr><td>b &amp; c</td><td>10.0</td></tr></tbody></table>"
    )
  )
})

test_that("rows beyond the limit are counted and not sent", {
  pair <- demo_pair()
  mx_send_table(pair$alice, pair$room, data.frame(x = 1:60), max_rows = 3)
  body <- new_bodies(pair$bob)
  expect_match(body, "57 more rows")
  expect_length(strsplit(body, "\n")[[1]], 5)
})

test_that("row names are sent when asked for", {
  pair <- demo_pair()
  mx_send_table(pair$alice, pair$room, head(mtcars, 2), row_names = TRUE)
  body <- new_bodies(pair$bob)
  expect_match(body, "Mazda RX4 Wag  21 ")
})

test_that("cells of every kind have a text", {
  x <- data.frame(
    f = factor(c("u", NA)),
    l = c(TRUE, NA),
    d = as.Date(c("2026-11-20", NA)),
    n = c(NA, 0.1 + 0.2),
    s = c("<script>", NA),
    stringsAsFactors = FALSE
  )
  x[["list"]] <- list(1:3, NULL)
  x[["t"]] <- as.POSIXct(c("2026-11-20 12:00:00", NA), tz = "UTC")
  html <- html_of(x)
  expect_match(html, "<td>u</td><td>TRUE</td><td>2026-11-20</td>", fixed = TRUE)
  expect_match(html, "<td>&lt;script&gt;</td>", fixed = TRUE)
  expect_match(html, "1, 2, 3", fixed = TRUE)
  expect_no_match(html, "NA|NULL")
  expect_match(html, "<td>0.3</td>", fixed = TRUE)
})

test_that("tables of odd shapes are tables", {
  pair <- demo_pair()
  shapes <- list(
    data.frame(x = 1),
    data.frame(x = integer()),
    data.frame(x = integer(), y = character()),
    data.frame(),
    data.frame(row.names = c("a", "b")),
    matrix(1:4, 2),
    matrix(1:4, 2, dimnames = list(NULL, c("a", "b"))),
    matrix("x"),
    matrix(numeric(), 0, 3),
    data.frame(a = 1, a = 2, check.names = FALSE),
    data.frame(m = I(matrix(1:4, 2))),
    stats::setNames(data.frame(1), ""),
    data.frame("\u00e9 <b>" = "\u65e5", check.names = FALSE)
  )
  for (x in shapes) {
    expect_error(mx_send_table(pair$alice, pair$room, x), NA)
    expect_error(mx_send_table(pair$alice, pair$room, x, row_names = TRUE), NA)
  }
  events <- messages(mx_sync(pair$bob))
  expect_equal(nrow(events), 2 * length(shapes))
  html <- vapply(events$content, function(x) x[["formatted_body"]], "")
  expect_match(html, "^<table>.*</table>$")
  # As many cells in each row as in the head.
  count <- function(text, tag) lengths(regmatches(text, gregexpr(tag, text)))
  rows <- count(html, "<tr>") - 1
  expect_equal(count(html, "<td>"), rows * count(html, "<th>"))
})

test_that("columns stand under each other also in other scripts", {
  body <- table_of(data.frame(a = c("\u00e9\u00e9", "x"), b = 1:2))[["body"]]
  lines <- strsplit(body, "\n")[[1]]
  expect_equal(lines, c("a   b", "\u00e9\u00e9  1", "x   2"))
})

test_that("what is no table is refused", {
  pair <- demo_pair()
  for (x in list(1:3, list(a = 1), "x", NULL, NA, array(1:8, c(2, 2, 2)))) {
    expect_error(
      mx_send_table(pair$alice, pair$room, x),
      class = "mx_error_argument"
    )
  }
})

table_of <- function(x, ...) {
  table_text_message(as.data.frame(x), 50, FALSE)
}

html_of <- function(x) {
  table_of(x)[["html"]]
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
  body <- table_of(data.frame(a = c("\u00e9\u00e9", "x"), b = 1:2))[["text"]]
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

test_that("how a table is sent is one of four", {
  pair <- demo_pair()
  for (as in list("picture", "HTML", "", NA, NULL, 1, c("html", "code"))) {
    condition <- catch(mx_send_table(pair$alice, pair$room, cars, as = as))
    expect_s3_class(condition, "mx_error_argument")
    expect_match(
      conditionMessage(condition),
      "`as` must be \"html\", \"code\", \"image\" or \"file\".",
      fixed = TRUE
    )
  }
})

test_that("a table as code is aligned text that phones show", {
  pair <- demo_pair()
  x <- data.frame(name = c("a", "b & c", "\u65e5"), n = 1:3)
  id <- mx_send_table(pair$alice, pair$room, x, title = "<Day>", as = "code")
  event <- messages(mx_sync(pair$bob))
  lines <- "name   n\na      1\nb & c  2\n\u65e5     3"
  expect_equal(event$event_id, as.vector(id))
  expect_equal(event$body, paste0("<Day>\n", lines))
  expect_equal(
    event$content[[1]][["formatted_body"]],
    paste0(
      "<p>&lt;Day&gt;</p><pre><code>",
      sub("&", "&amp;", lines),
      "\n</code></pre>"
    )
  )
  mx_send_table(pair$alice, pair$room, cars, max_rows = 2, as = "code")
  html <- messages(mx_sync(pair$bob))$content[[1]][["formatted_body"]]
  expect_match(html, "</pre><p>\u2026 and 48 more rows</p>$")
  # Fifty rows where no limit is given.
  mx_send_table(pair$alice, pair$room, data.frame(x = 1:60), as = "code")
  body <- new_bodies(pair$bob)
  expect_match(body, "10 more rows")
})

test_that("a table mentions, replies and belongs to a thread", {
  pair <- demo_pair()
  bob <- pair$bob$user_id
  root <- mx_send_text(pair$alice, pair$room, "figures")
  for (as in c("html", "code")) {
    mx_send_table(
      pair$alice,
      pair$room,
      cars,
      title = paste("for", bob),
      as = as,
      mentions = bob,
      thread = root
    )
  }
  mx_send_table(pair$alice, pair$room, cars, reply_to = root)
  contents <- messages(mx_sync(pair$bob))$content[-1]
  for (content in contents[1:2]) {
    expect_equal(unlist(content[["m.mentions"]][["user_ids"]]), bob)
    expect_equal(content[["m.relates_to"]][["rel_type"]], "m.thread")
    expect_equal(content[["m.relates_to"]][["event_id"]], as.vector(root))
    expect_match(content[["formatted_body"]], "^<p>for <a href=.*</a></p>")
  }
  # Old clients do not search the text of the last one for mentions.
  expect_length(contents[[3]][["m.mentions"]], 0)
  expect_true("m.mentions" %in% names(contents[[3]]))
  expect_equal(
    contents[[3]][["m.relates_to"]][["m.in_reply_to"]][["event_id"]],
    as.vector(root)
  )
  for (bad in list(
    list(mentions = "bob"),
    list(reply_to = 1),
    list(thread = "")
  )) {
    expect_error(
      do.call(mx_send_table, c(list(pair$alice, pair$room, cars), bad)),
      class = "mx_error_argument"
    )
  }
})

csv_of <- function(x, row_names = FALSE) {
  text <- rawToChar(table_csv(as.data.frame(x), row_names))
  Encoding(text) <- "UTF-8"
  text
}

test_that("a table as CSV is read back as it was", {
  x <- data.frame(
    name = c("a,b", "say \"no\"", " space ", "two\nlines", NA, "\u00fc"),
    number = c(0.1 + 0.2, 100000, 1e-5, 123456789.123, NA, -0),
    whole = c(100000L, NA, 3:6),
    yes = c(TRUE, FALSE, NA, TRUE, TRUE, TRUE),
    day = as.Date("2026-11-20") + c(0:4, NA),
    stringsAsFactors = FALSE
  )
  expect_equal(
    csv_of(x),
    paste0(
      "name,number,whole,yes,day\n",
      "\"a,b\",0.3,100000,TRUE,2026-11-20\n",
      "\"say \"\"no\"\"\",100000,,FALSE,2026-11-21\n",
      "\" space \",1e-05,3,,2026-11-22\n",
      "\"two\nlines\",123456789.123,4,TRUE,2026-11-23\n",
      ",,5,TRUE,2026-11-24\n",
      "\u00fc,0,6,TRUE,\n"
    )
  )
  file <- withr::local_tempfile()
  writeBin(table_csv(x, FALSE), file)
  read <- utils::read.csv(file, encoding = "UTF-8", na.strings = "")
  read$day <- as.Date(read$day)
  expect_equal(read, x)
})

test_that("a CSV does not depend on the options of R", {
  x <- data.frame(a = 1234567.5, b = 100000L)
  withr::local_options(OutDec = ",", scipen = -10, digits = 3)
  expect_equal(csv_of(x), "a,b\n1234567.5,100000\n")
})

test_that("tables of odd shapes are CSV", {
  expect_equal(csv_of(data.frame()), "\n")
  expect_equal(csv_of(data.frame(x = integer(), y = character())), "x,y\n")
  expect_equal(csv_of(data.frame(x = c(1, NA))), "x\n1\n\"\"\n")
  expect_equal(csv_of(matrix(1:4, 2)), "V1,V2\n1,3\n2,4\n")
  expect_equal(csv_of(data.frame(a = 1, row.names = "r"), TRUE), ",a\nr,1\n")
  expect_equal(
    csv_of(stats::setNames(data.frame(1, 2), c("a", " a"))),
    "a,\" a\"\n1,2\n"
  )
  x <- data.frame(
    f = factor("u"),
    t = as.POSIXct("2026-11-20 12:00:01", tz = "UTC")
  )
  x[["list"]] <- list(1:3)
  x[["matrix"]] <- matrix(1:2, 1)
  expect_equal(
    csv_of(x),
    "f,t,list,matrix\nu,2026-11-20 12:00:01,\"1, 2, 3\",\"1, 2\"\n"
  )
  expect_equal(csv_of(data.frame(n = c(NaN, Inf, NA))), "n\nNaN\nInf\n\"\"\n")
})

test_that("a CSV is UTF-8 in the C locale", {
  skip_on_cran()
  found <- in_other_r(
    function() table_csv(data.frame(x = c("\u00fc", "\u65e5,")), FALSE),
    env = c(LC_ALL = "C")
  )
  expect_identical(found, charToRaw("x\n\u00fc\n\"\u65e5,\"\n"))
})

test_that("a table as a file arrives whole", {
  pair <- demo_pair()
  x <- data.frame(x = 1:60, y = "\u00fc")
  id <- expect_invisible(mx_send_table(
    pair$alice,
    pair$room,
    x,
    title = "Figures",
    as = "file"
  ))
  event <- messages(mx_sync(pair$bob))
  content <- event$content[[1]]
  expect_equal(event$event_id, as.vector(id))
  expect_equal(content[["msgtype"]], "m.file")
  expect_equal(content[["filename"]], "table.csv")
  expect_equal(content[["body"]], "Figures")
  got <- mx_media_download(pair$bob, event, withr::local_tempdir())
  bytes <- readBin(got$path, "raw", file.size(got$path))
  expect_identical(bytes, table_csv(x, FALSE))
  # Of fewer rows the caption says so.
  mx_send_table(pair$alice, pair$room, x, "Figures", max_rows = 5, as = "file")
  event <- messages(mx_sync(pair$bob))
  expect_equal(event$body, "Figures\n\u2026 and 55 more rows")
  got <- mx_media_download(pair$bob, event, withr::local_tempdir())
  expect_length(readLines(got$path), 6)
})

# The bytes of a picture of a table, and its size in pixels.
table_bytes <- function(x, more = NULL) {
  cells <- table_cells(x, FALSE)
  is_number <- vapply(x, is_number_column, NA)
  table_picture(cells, is_number, more, environment())
}

pixels_of <- function(bytes) {
  expect_identical(bytes[2:4], charToRaw("PNG"))
  big_endian <- function(x) sum(as.integer(x) * 256^(3:0))
  c(big_endian(bytes[17:20]), big_endian(bytes[21:24]))
}

test_that("a picture of a table is as large as its content", {
  one <- pixels_of(table_bytes(data.frame(x = 1)))
  expect_equal(
    pixels_of(table_bytes(data.frame(x = c(1, 2))))[[2]] - one[[2]],
    39
  )
  wide <- pixels_of(table_bytes(data.frame(x = strrep("m", 40))))
  expect_gt(wide[[1]], 3 * one[[1]])
  # Wide letters are measured, also bold ones of the header.
  expect_gt(
    pixels_of(table_bytes(data.frame(x = "WWWW")))[[1]],
    pixels_of(table_bytes(data.frame(x = "iiii")))[[1]]
  )
  header <- stats::setNames(data.frame("x"), "a long header")
  expect_gt(pixels_of(table_bytes(header))[[1]], one[[1]])
  expect_gt(
    pixels_of(table_bytes(data.frame(x = 1), "\u2026 and more"))[[2]],
    one[[2]]
  )
  # No cell makes the picture wider than any screen.
  cut <- table_bytes(data.frame(x = strrep("m\n", 1e4)))
  expect_lt(pixels_of(cut)[[1]], 1500)
  expect_null(grDevices::dev.list())
})

test_that("tables of odd shapes are pictures", {
  shapes <- list(
    data.frame(x = integer()),
    data.frame(x = NA),
    data.frame(x = c("", "%d", "\u65e5\u672c")),
    as.data.frame(matrix(1:4, 2)),
    data.frame(a = 1, a = 2, check.names = FALSE),
    data.frame(m = I(matrix(1:4, 2))),
    stats::setNames(data.frame(1), "")
  )
  for (x in shapes) {
    expect_error(table_bytes(x), NA)
  }
})

test_that("a table as a picture arrives with its text", {
  pair <- demo_pair()
  root <- mx_send_text(pair$alice, pair$room, "figures")
  mx_sync(pair$bob)
  id <- expect_invisible(mx_send_table(
    pair$alice,
    pair$room,
    data.frame(n = c(1.234, 10)),
    title = "Figures",
    max_rows = 1,
    as = "image",
    digits = 2,
    mentions = pair$bob$user_id,
    thread = root
  ))
  event <- messages(mx_sync(pair$bob))
  content <- event$content[[1]]
  expect_equal(event$event_id, as.vector(id))
  expect_equal(content[["msgtype"]], "m.image")
  expect_equal(content[["filename"]], "table.png")
  expect_equal(content[["body"]], "Figures\nn\n1.2\n\u2026 and 1 more row")
  expect_match(content[["formatted_body"]], "^<p>Figures</p><pre><code>n\n1.2")
  expect_equal(event$thread, as.vector(root))
  expect_equal(unlist(event$mentions), pair$bob$user_id)
  got <- mx_media_download(pair$bob, event, withr::local_tempdir())
  bytes <- readBin(got$path, "raw", file.size(got$path))
  info <- content[["info"]]
  expect_equal(pixels_of(bytes), c(info[["w"]], info[["h"]]))
})

test_that("a picture of a large table is cut, and its text fits in an event", {
  pair <- demo_pair()
  x <- data.frame(x = strrep("<&\u65e5", 200), y = 1:500)
  mx_send_table(pair$alice, pair$room, x, max_rows = 1000, as = "image")
  event <- messages(mx_sync(pair$bob))
  expect_match(event$body, "\n\u2026 and 300 more rows$|\n\u2026$")
  expect_lt(event$content[[1]][["info"]][["h"]], 9000)
})

test_that("what cannot be a picture is refused", {
  pair <- demo_pair()
  wide <- as.data.frame(matrix(strrep("m", 30), 1, 30))
  asked <- requests_during({
    condition <- catch(mx_send_table(pair$alice, pair$room, wide, as = "image"))
    expect_s3_class(condition, "mx_error_argument")
    expect_match(conditionMessage(condition), "30 columns")
    expect_identical(conditionCall(condition), quote(mx_send_table()))
    expect_error(
      mx_send_table(pair$alice, pair$room, data.frame(), as = "image"),
      class = "mx_error_argument"
    )
  })
  expect_length(asked, 0)
  expect_no_warning({
    condition <- catch(mx_send_table(
      pair$alice,
      pair$room,
      cars,
      as = "image",
      transaction_id = "../x"
    ))
  })
  expect_s3_class(condition, "mx_error_argument")
  expect_length(list.files(files_dir(pair$alice)), 0)
})

test_that("digits are those of print()", {
  x <- data.frame(n = c(pi, 100))
  text <- function(digits) {
    message <- table_text_message(x, 50, FALSE, digits = digits)
    strsplit(message[["text"]], "\n")[[1]][[2]]
  }
  expect_equal(text(NULL), trimws(format(x$n))[[1]])
  expect_equal(text(3), "3.14")
  expect_equal(trimws(format(x, digits = 3)$n)[[1]], text(3))
  x[["t"]] <- as.POSIXct("2026-11-20 12:00:00", tz = "UTC")
  x[["l"]] <- list(pi, 1)
  expect_equal(text(3), "3.14    2026-11-20 12:00:00  3.14")
  pair <- demo_pair()
  for (digits in list(0, 23, NA, "3", c(1, 2), Inf)) {
    expect_error(
      mx_send_table(pair$alice, pair$room, x, digits = digits),
      class = "mx_error_argument"
    )
  }
})

test_that("times as POSIXlt, and lists with a class, are columns", {
  x <- data.frame(a = 1:2)
  x$time <- as.POSIXlt(c("2026-11-28 07:00", "2026-11-29 00:00"), tz = "UTC")
  x$list <- structure(list(1, c("a", "b")), class = "list_of")
  x$own <- I(list(as.POSIXlt("2026-11-28", tz = "UTC"), NULL))
  cells <- lapply(x, format_cells)
  expect_equal(cells$time, c("2026-11-28 07:00:00", "2026-11-29 00:00:00"))
  expect_equal(cells$list, c("1", "a, b"))
  expect_equal(cells$own, c("2026-11-28", ""))
  # As many as a time has parts.
  n <- length(unclass(x$time))
  times <- as.POSIXlt(rep("2026-11-28 07:00", n), tz = "UTC")
  expect_equal(format_cells(times), rep("2026-11-28 07:00:00", n))
})

test_that("a CSV file follows the table, with all rows, in one thread", {
  pair <- demo_pair()
  root <- mx_send_text(pair$alice, pair$room, "figures")
  mx_sync(pair$bob)
  x <- data.frame(x = 1:60, y = "\u00fc")
  for (as in c("html", "code", "image")) {
    ids <- expect_invisible(mx_send_table(
      pair$alice,
      pair$room,
      x,
      title = "Figures",
      max_rows = 3,
      as = as,
      mentions = pair$bob$user_id,
      thread = root,
      transaction_id = as,
      csv = TRUE
    ))
    events <- messages(mx_sync(pair$bob))
    expect_equal(events$event_id, as.vector(ids))
    expect_equal(events$thread, rep(as.vector(root), 2))
    expect_match(
      events$body[[1]],
      "^Figures\nx .*\n\u2026 and 57 more rows: see table.csv$"
    )
    expect_match(
      events$content[[1]][["formatted_body"]],
      "57 more rows: see table.csv",
      fixed = TRUE
    )
    content <- events$content[[2]]
    expect_equal(content[["msgtype"]], "m.file")
    expect_equal(content[["filename"]], "table.csv")
    expect_equal(content[["body"]], "table.csv")
    # A second notification would say nothing new.
    expect_equal(lengths(events$mentions), c(1, 0))
    bytes <- opened(pair$bob, content)
    expect_identical(bytes, table_csv(x, FALSE))
    # Under its id it is the same.
    again <- mx_send_table(
      pair$alice,
      pair$room,
      x,
      as = as,
      transaction_id = as,
      csv = TRUE
    )
    expect_identical(again, ids)
  }
  # A file is one file.
  mx_send_table(pair$alice, pair$room, x, as = "file", csv = TRUE)
  expect_equal(new_bodies(pair$bob), "table.csv")
  # Where no row was left out, nothing is said of the file.
  mx_send_table(pair$alice, pair$room, cars, csv = TRUE, reply_to = root)
  events <- messages(mx_sync(pair$bob))
  expect_no_match(events$body[[1]], "see")
  expect_equal(events$body[[2]], "table.csv")
  expect_error(
    mx_send_table(pair$alice, pair$room, cars, csv = NA),
    class = "mx_error_argument"
  )
})

test_that("where the table is cut for its size, the picture's text names the file", {
  words <- table_words(cbind(x = rep(strrep("y", 500), 100)), NULL, "table.csv")
  expect_match(words[["text"]], "\n\u2026: see table.csv$")
})

test_that("a table and its CSV file are both sent, or none of them", {
  pair <- demo_pair()
  send <- function(x) {
    mx_send_table(pair$alice, pair$room, x, max_rows = 1, csv = TRUE)
  }
  x <- data.frame(x = strrep("y", 50000))
  asked <- requests_during({
    expect_error(send(x), class = "mx_error_too_large")
  })
  expect_length(asked, 0)
  withr::local_options(mxcrypt.max_waiting = 3)
  expect_error(send(cars), class = "mx_error_too_large")
  expect_equal(nrow(mx_outbox(pair$alice)), 0)
  expect_length(new_bodies(pair$bob), 0)
  expect_length(waiting_files(pair$alice), 0)
  withr::local_options(mxcrypt.max_waiting = 4e9)
  condition <- local({
    local_replaced("http_once", function(session, ...) {
      mx_abort("No response.", "mx_error_network")
    })
    catch(send(cars))
  })
  expect_s3_class(condition, "mx_error_network")
  expect_equal(nrow(mx_outbox(pair$alice)), 2)
  mx_sync(pair$alice)
  expect_length(new_bodies(pair$bob), 2)
})

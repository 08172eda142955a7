# What another client reads, and what its server saw.
sent <- function(pair, ...) {
  mx_send_text(pair$alice, pair$room, ...)
  events <- messages(mx_sync(pair$bob))
  events[nrow(events), ]
}

test_that("text is text, whatever is in it", {
  pair <- demo_pair()
  texts <- c(
    "hello",
    "100% %s%n %d",
    "a\nb\tc",
    "d\u00e9j\u00e0 vu \u65e5\u672c \U0001f600 e\u0301",
    "<b>&amp;</b> \"'\\",
    " ",
    "\u0001\u001b[31m"
  )
  ids <- mx_send_text(pair$alice, pair$room, texts)
  expect_length(unique(ids), length(texts))
  events <- messages(mx_sync(pair$bob))
  expect_identical(lapply(events$body, charToRaw), lapply(texts, charToRaw))
  expect_true(all(Encoding(events$body[[4]]) == "UTF-8"))
  expect_equal(unique(events$msgtype), "m.text")
  latin1 <- iconv("caf\u00e9", "UTF-8", "latin1")
  expect_identical(charToRaw(sent(pair, latin1)$body), charToRaw("caf\u00e9"))
  expect_equal(mx_send_text(pair$alice, pair$room, character()), character())
})

test_that("text that a class is on top of is sent as text", {
  pair <- demo_pair()
  glue <- structure("the answer is 42", class = c("glue", "character"))
  expect_equal(sent(pair, glue)$body, "the answer is 42")
})

test_that("plain text has no HTML, and says that nobody is mentioned", {
  event <- sent(demo_pair(), "<b>")
  expect_equal(event$content[[1]][["m.mentions"]], as_object(list()))
  expect_null(event$content[[1]][["formatted_body"]])
  expect_equal(event$mentions[[1]], character())
  expect_null(event$relates_to[[1]])
})

test_that("Markdown is sent as HTML beside its source", {
  pair <- demo_pair()
  event <- sent(pair, "the **eagle** lands", markdown = TRUE)
  content <- event$content[[1]]
  expect_equal(content[["body"]], "the **eagle** lands")
  expect_equal(content[["format"]], "org.matrix.custom.html")
  expect_equal(
    content[["formatted_body"]],
    "the <strong>eagle</strong> lands"
  )
  html <- function(text) {
    sent(pair, text, markdown = TRUE)$content[[1]][["formatted_body"]]
  }
  expect_match(html("# Title"), "<h1>Title</h1>")
  expect_match(html("- a\n- b"), "<ul>\\s*<li>a</li>\\s*<li>b</li>\\s*</ul>")
  expect_match(html("1. a\n2. b"), "<ol>")
  expect_match(
    html("```r\nx <- 1\n```"),
    "<pre><code[^>]*>x &lt;- 1\n</code></pre>"
  )
  expect_match(html("`a<b`"), "<code>a&lt;b</code>", fixed = TRUE)
  expect_match(html("|a|b|\n|-|-|\n|1|2|"), "<table>")
  expect_match(html("one\n\ntwo"), "<p>one</p>\\s*<p>two</p>")
})

test_that("who is mentioned is named in the content and linked in the HTML", {
  pair <- demo_pair()
  bob <- pair$bob$user_id
  event <- sent(pair, paste("ask", bob, "<now>"), mentions = bob)
  expect_equal(event$mentions[[1]], bob)
  content <- event$content[[1]]
  expect_equal(content[["m.mentions"]], list(user_ids = list(bob)))
  expect_equal(content[["body"]], paste("ask", bob, "<now>"))
  link <- "<a href=\"https://matrix.to/#/%40bob%3Ademo\">@bob:demo</a>"
  expect_equal(
    content[["formatted_body"]],
    paste("ask", link, "&lt;now&gt;")
  )
  both <- sent(pair, "hello", mentions = c(bob, "@x:y"))
  expect_equal(both$mentions[[1]], c(bob, "@x:y"))
})

test_that("a user id that begins with another's is linked as itself", {
  event <- sent(
    demo_pair(),
    "@bob:demo.org and @bob:demo",
    mentions = c("@bob:demo", "@bob:demo.org")
  )
  html <- event$content[[1]][["formatted_body"]]
  links <- regmatches(html, gregexpr("<a href=\"[^\"]*\">[^<]*</a>", html))[[1]]
  expect_length(links, 2)
  expect_equal(gsub("<[^>]*>", "", html), "@bob:demo.org and @bob:demo")
  expect_match(html, ">@bob:demo.org</a> and ", fixed = TRUE)
})

test_that("replies and threads relate outside of the ciphertext", {
  pair <- demo_pair()
  id <- mx_send_text(pair$alice, pair$room, "first")
  reply <- sent(pair, "an answer", reply_to = id)
  expect_equal(
    reply$relates_to[[1]],
    list("m.in_reply_to" = list(event_id = id))
  )
  thread <- sent(pair, "in a thread", thread = id)$relates_to[[1]]
  expect_equal(thread[["rel_type"]], "m.thread")
  expect_equal(thread[["event_id"]], id)
  expect_true(thread[["is_falling_back"]])
  expect_equal(thread[["m.in_reply_to"]][["event_id"]], id)
  both <- sent(pair, "both", thread = id, reply_to = "$other")$relates_to[[1]]
  expect_false(both[["is_falling_back"]])
  expect_equal(both[["m.in_reply_to"]][["event_id"]], "$other")

  wires <- grep("ciphertext", mx_demo_requests(pair$homeserver), value = TRUE)
  wire <- json_decode(wires[[length(wires)]])
  expect_equal(wire[["m.relates_to"]][["rel_type"]], "m.thread")
})

test_that("bots send notices", {
  expect_equal(
    sent(demo_pair(), "beep", msgtype = "m.notice")$msgtype,
    "m.notice"
  )
})

test_that("what is no text to send is refused before anything is asked", {
  pair <- demo_pair()
  refused <- function(...) {
    asked <- requests_during(condition <- catch(mx_send_text(...)))
    expect_length(asked, 0)
    expect_s3_class(condition, "mx_error_argument")
    conditionMessage(condition)
  }
  send <- function(text, ...) refused(pair$alice, pair$room, text, ...)
  expect_match(send(""), "`text` must be text that is not empty", fixed = TRUE)
  expect_match(send(c("a", "", "b")), "element 2 of 3", fixed = TRUE)
  expect_match(send(character(), collapse = "\n"), "not empty", fixed = TRUE)
  expect_match(send(cars), "mx_send_table()", fixed = TRUE)
  expect_match(send(matrix("a")), "mx_send_table()", fixed = TRUE)
  expect_match(send(NA_character_), "missing values", fixed = TRUE)
  expect_match(send("a", collapse = NA), "`collapse`", fixed = TRUE)
  expect_match(send("a", msgtype = "m.txt"), "not \"m.txt\"", fixed = TRUE)
  expect_match(send("a", msgtype = "m.image"), "mx_send()", fixed = TRUE)
  expect_match(send("a", msgtype = NULL), "`msgtype`", fixed = TRUE)
  # Also where nothing would be sent.
  expect_match(send(character(), msgtype = "x"), "`msgtype`", fixed = TRUE)
  # An edit has the same checks.
  id <- mx_send_text(pair$alice, pair$room, "first")
  edit <- function(text, ...) mx_edit(pair$alice, pair$room, id, text, ...)
  expect_error(edit(""), "not empty", class = "mx_error_argument")
  expect_error(edit("a", msgtype = "x"), class = "mx_error_argument")
})

test_that("a vector is sent as several messages, which is said where it is many", {
  pair <- demo_pair()
  expect_no_message(mx_send_text(pair$alice, pair$room, letters[1:5]))
  expect_message(
    ids <- mx_send_text(pair$alice, pair$room, letters[1:6]),
    "6 messages.*collapse",
    class = "mx_message_many"
  )
  expect_length(unique(ids), 6)
  expect_no_message(
    id <- mx_send_text(pair$alice, pair$room, letters, collapse = "\n")
  )
  expect_length(id, 1)
  bodies <- new_bodies(pair$bob)
  expect_equal(
    bodies,
    c(letters[1:5], letters[1:6], paste(letters, collapse = "\n"))
  )
  html <- sent(pair, c("- a", "- b"), markdown = TRUE, collapse = "\n")
  expect_match(html$content[[1]][["formatted_body"]], "<ul>.*<li>b</li>")
})

test_that("a long vector has a progress bar", {
  pair <- demo_pair()
  withr::local_options(
    cli.progress_handlers_only = "logger",
    cli.progress_show_after = 0
  )
  # Sent in batches of 100.
  texts <- sprintf("line %d", 1:250)
  logged <- capture.output(suppressMessages(
    mx_send_text(pair$alice, pair$room, texts)
  ))
  counts <- sub(
    ".* ([0-9]+)/250 .*",
    "\\1",
    grep("/250 ", logged, value = TRUE)
  )
  expect_true(all(c("0", "100", "200", "250") %in% counts))
  expect_match(logged, "terminated", all = FALSE)
  expect_silent(mx_send_text(pair$alice, pair$room, "one"))
})

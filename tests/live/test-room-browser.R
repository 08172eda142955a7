# The module of R/shiny-room.R in Chromium, with a foreign client in the room.

# A room of Alice, who has it in an app, and somebody else.
room_in_app <- function(.local_envir = parent.frame()) {
  alice <- live_client(.local_envir = .local_envir)
  phone <- live_stranger()
  room <- room_of(alice, phone)
  app <- room_app(alice$path, room, .local_envir = .local_envir)
  list(alice = alice, phone = phone, room = room, url = app$url, app = app)
}

shows <- function(page, text) {
  page$expect_text(text, css = ".mx-room-log")
}

say_html <- function(phone, room, html) {
  phone$call(
    "sendEvent",
    roomId = room,
    type = "m.room.message",
    content = list(
      msgtype = "m.text",
      body = "as text",
      format = "org.matrix.custom.html",
      formatted_body = html
    )
  )
}

# What a page does without a fault, and without a request to anybody else.
expect_quiet <- function(page, url) {
  expect_equal(page$faults(), page$faults()[0, ])
  elsewhere <- !startsWith(page$requests(), url)
  expect_equal(page$requests()[elsewhere], character())
}

test_that("a person reads and writes with the keyboard alone", {
  here <- room_in_app()
  page <- live_browser()$open(here$url)
  say(here$phone, here$room, "from the phone")
  shows(page, "from the phone")
  shows(page, "Sent from a device that its owner has not signed.")
  expect_equal(page$tab()[["name"]], "Messages")
  focus <- page$tab()
  expect_equal(focus[["role"]], "textbox")
  expect_equal(focus[["name"]], "Message")
  page$type("one line")
  page$press("Shift+Enter")
  page$type("<b>and another</b>")
  page$press("Enter")
  reads(here$phone, here$room, "one line\n<b>and another</b>")
  shows(page, "one line <b>and another</b>")
  # The text is gone, and the focus is where it was.
  expect_equal(page$value(label = "Message"), "")
  expect_equal(page$focused()[["name"]], "Message")
  # The other way.
  page$type("with the button")
  expect_equal(page$tab()[["name"]], "Send")
  page$press("Enter")
  reads(here$phone, here$room, "with the button")
  shows(page, "with the button")
  expect_quiet(page, here$url)
})

test_that("it has its place on each screen, and axe finds nothing", {
  here <- room_in_app()
  phone <- here$phone
  say(phone, here$room, "A message, as people write them.")
  html <- paste0(
    "<h1>Report</h1><p>With <a href='https://example.org/'>a link</a>, ",
    "<code>code</code>,</p><ul><li>a list</li></ul>",
    "<table><tr><th>n</th><td>1</td></tr></table>",
    "<pre><code>",
    strrep("x <- long(); ", 20),
    "</code></pre>",
    "<blockquote>a quotation</blockquote>",
    "<p><span data-mx-spoiler>the end of the film</span></p>"
  )
  say_html(phone, here$room, html)
  gone <- say(phone, here$room, "soon deleted")
  phone$call("redact", roomId = here$room, eventId = gone)
  say(phone, here$room, strrep("wide", 200))
  say(phone, here$room, "\u05e9\u05dc\u05d5\u05dd \U1F436 \U1F44B")
  mx_send_text(here$alice, here$room, "An answer from here.")
  browser <- live_browser()
  for (view in c("desktop", "phone")) {
    for (dark in c(FALSE, TRUE)) {
      page <- browser$open(here$url, view = view, dark = dark)
      shows(page, "An answer from here.")
      shows(page, "a quotation")
      page$expect_fits()
      page$expect_accessible()
      expect_quiet(page, here$url)
      name <- paste(c("room", view, if (dark) "dark"), collapse = "-")
      page$screenshot(name)
      page$evaluate("document.querySelector('.mx-room-log').scrollTop = 0")
      page$screenshot(paste0(name, "-start"))
    }
  }
})

test_that("what is long or hidden is read with the keyboard, too", {
  here <- room_in_app()
  page <- live_browser()$open(here$url, view = "phone")
  say(here$phone, here$room, strrep("many words ", 300))
  spoiler <- "the <span data-mx-spoiler>end</span>"
  say_html(here$phone, here$room, spoiler)
  shows(page, "the end")
  ground <- function() {
    page$evaluate(
      "getComputedStyle(document.querySelector('[data-mx-spoiler]')).backgroundColor"
    )
  }
  hidden <- ground()
  expect_equal(page$tab()[["name"]], "Messages")
  expect_equal(page$tab()[["name"]], "A long message")
  page$press("End")
  wait_until(function() {
    page$evaluate("document.activeElement.scrollTop") > 0
  })
  page$tab()
  expect_equal(page$evaluate("document.activeElement.textContent"), "end")
  expect_false(ground() == hidden)
  expect_equal(page$tab()[["name"]], "Message")
  expect_equal(ground(), hidden)
})

# Texts that were made to break a page.
hostile_texts <- function() {
  c(
    "<script>document.title = 'taken'</script>",
    "<img src=x onerror=\"document.title = 'taken'\">",
    "</div></article></section><h1>Outside</h1>",
    "\u202egnorw daer si siht",
    "\u2067\u2066\u202d\u200f isolates that never end",
    paste0("Z", strrep("\u0301\u0300\u0336", 1500), "algo"),
    strrep("\n", 3000),
    "javascript:document.title='taken'"
  )
}

hostile_html <- function() {
  c(
    "<script>document.title = 'taken'</script>",
    "<img src='x' onerror=\"document.title = 'taken'\">",
    "<img src='mxc://localhost/abc' onload=\"document.title = 'taken'\">",
    "<a href='javascript:document.title = 1'>javascript</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>data</a>",
    "<svg onload=\"document.title = 'taken'\"><script>alert(1)</script></svg>",
    "<iframe src='http://127.0.0.1:1/'></iframe>",
    "<p style='position:fixed;top:0;left:0;width:100vw;height:100vh'>cover</p>",
    "<font color='red' data-mx-bg-color='url(http://127.0.0.1:1/)'>font</font>",
    "<div class='mx-room-form' data-input='room-send'><textarea></textarea>",
    "<form action='http://127.0.0.1:1/'><button>Send</button></form>",
    "</div></article><h1 id='room-log'>Outside</h1><!--",
    "<template><article class='mx-message'></article></template>",
    strrep("<blockquote>", 500),
    strrep("<table><tr><td>", 200),
    paste0("<p>", strrep("\u202e<b>x", 1000))
  )
}

test_that("what others write runs nothing, loads nothing and stays in its place", {
  here <- room_in_app()
  browser <- live_browser()
  page <- browser$open(here$url, view = "phone")
  for (text in hostile_texts()) {
    say(here$phone, here$room, text)
  }
  # The largest that a server takes, in one word and in many.
  say(here$phone, here$room, strrep("w", 40000))
  say(here$phone, here$room, strrep("many words ", 3500))
  for (html in hostile_html()) {
    say_html(here$phone, here$room, html)
  }
  say(here$phone, here$room, "the last")
  pages <- list(
    "while they came" = page,
    afterwards = browser$open(here$url, view = "phone", dark = TRUE)
  )
  sent <- length(hostile_texts()) + 2L + length(hostile_html()) + 1L
  for (name in names(pages)) {
    page <- pages[[name]]
    shows(page, "the last")
    shows(page, hostile_texts()[[1]])
    # All are there, each in its box, and in the order in which they were sent.
    expect_equal(page$count(css = ".mx-room-log > article.mx-message"), sent)
    expect_equal(page$count(css = ".mx-message"), sent)
    expect_equal(page$count(css = ".mx-body"), sent)
    expect_equal(page$count(css = "h1:not(.mx-body h1)"), 0)
    expect_equal(page$evaluate("document.title"), "Room")
    expect_equal(page$count(css = ".mx-body :is(script, iframe, svg, form)"), 0)
    expect_equal(page$count(css = ".mx-body [id], .mx-body [style]"), 0)
    expect_equal(page$count(css = ".mx-body a[href^=javascript]"), 0)
    expect_quiet(page, here$url)
    page$expect_fits()
    # A message that covers the page would take this click.
    page$click(label = "Message")
    page$type(name)
    page$press("Enter")
    reads(here$phone, here$room, name)
    shows(pages[["while they came"]], name)
    shows(pages[["afterwards"]], name)
    sent <- sent + 1L
  }
  page$expect_accessible()
  page$screenshot("room-hostile")
})

# What is allowed, written down here once more: a mistake in the package must not be
# one of the tests.
allowed <- list(
  a = c("href", "target", "rel"),
  ol = "start",
  code = "class",
  div = "data-mx-maths",
  span = c("style", "data-mx-spoiler", "data-mx-maths")
)
plain <- c(
  c(
    "del",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "blockquote",
    "p",
    "ul",
    "sup",
    "sub"
  ),
  c(
    "li",
    "b",
    "i",
    "u",
    "strong",
    "em",
    "s",
    "hr",
    "br",
    "table",
    "thead",
    "tbody"
  ),
  c("tr", "th", "td", "caption", "pre", "details", "summary")
)

# Parses the result again, and says what of it is not allowed.
unsafe <- function(html) {
  document <- xml2::read_html(charToRaw(paste0("<html><body><div>", html)))
  nodes <- xml2::xml_find_all(document, "//body//*")
  found <- unlist(lapply(nodes, function(node) {
    tag <- xml2::xml_name(node)
    attributes <- names(xml2::xml_attrs(node))
    c(
      if (!tag %in% c(plain, names(allowed))) tag,
      setdiff(attributes, allowed[[tag]])
    )
  }))
  href <- xml2::xml_attr(xml2::xml_find_all(document, "//@href/.."), "href")
  schemes <- "^(https?://|ftp://|mailto:|magnet:)"
  style <- xml2::xml_text(xml2::xml_find_all(document, "//@style"))
  colours <- "^((background-)?color:#[0-9a-fA-F]{6};){1,2}$"
  others <- xml2::xml_find_all(
    document,
    "//comment()|//processing-instruction()"
  )
  as.character(c(
    found,
    grep(schemes, href, value = TRUE, invert = TRUE, ignore.case = TRUE),
    grep(colours, style, value = TRUE, invert = TRUE),
    xml2::xml_name(others)
  ))
}

safe <- function(html) as.character(mx_html(html))

test_that("what the specification lists is kept", {
  skip_if_not_installed("xml2")
  kept <- c(
    "plain <b>bold</b> <em>x</em><br>two<hr>",
    "<ul><li>one</li><li>two<ol start=\"3\"><li>x</li></ol></li></ul>",
    paste0(
      "<table><caption>c</caption><thead><tr><th>a</th></tr></thead>",
      "<tbody><tr><td>1</td></tr></tbody></table>"
    ),
    "<pre><code class=\"language-r\">x &lt;- 1\n</code></pre>",
    "<span data-mx-spoiler=\"why\">x</span><span data-mx-spoiler=\"\">y</span>",
    "<div data-mx-maths=\"x&lt;y\">x</div>",
    "<details><summary>s</summary><h1>x</h1></details>",
    "\u00e9 \U0001f600 &lt;b&gt; &amp;amp;"
  )
  expect_equal(safe(kept), kept)
  expect_equal(
    safe("<a href='https://x.org/?a=1&b=\"2'>x</a>"),
    paste0(
      "<a href=\"https://x.org/?a=1&amp;b=&quot;2\" target=\"_blank\" ",
      "rel=\"noopener noreferrer\">x</a>"
    )
  )
  expect_equal(
    safe("<span data-mx-color='#ff0000' data-mx-bg-color='#00FF00'>x</span>"),
    "<span style=\"color:#ff0000;background-color:#00FF00;\">x</span>"
  )
  expect_equal(
    safe("<code class='a language-r b'>x</code>"),
    "<code class=\"language-r\">x</code>"
  )
})

test_that("what is not listed is replaced by what is in it, or dropped", {
  skip_if_not_installed("xml2")
  expect_equal(safe("<font color=red>a</font><blink>b</blink>"), "ab")
  expect_equal(safe("a<script>b</script><style>c</style><svg>d</svg>e"), "ae")
  expect_equal(
    safe("<mx-reply><blockquote>quote</blockquote></mx-reply>reply"),
    "reply"
  )
  expect_equal(safe("a<!-- b -->c<!-- d"), "ac")
  expect_equal(safe("a<!-- > b -->c"), "ac")
  expect_equal(safe("<a href='https://a\tb'>x</a>"), "x")
  expect_equal(
    safe("<img src='mxc://a/b' alt='a<b' title='t'><img title='t'><img src=x>"),
    "a&lt;bt"
  )
  expect_equal(safe("<a name='x' href='#top'>x</a>"), "x")
  expect_equal(safe("<ol start='1e9'><li>x</li></ol>"), "<ol><li>x</li></ol>")
  expect_equal(safe("<code class='evil'>x</code>"), "<code>x</code>")
})

test_that("no attack leaves anything that is not allowed", {
  skip_if_not_installed("xml2")
  addresses <- c(
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " javascript:alert(1)",
    "java\tscript:alert(1)",
    "java\nscript:alert(1)",
    "java&#9;script:alert(1)",
    "java&Tab;script:alert(1)",
    "&#106;avascript:alert(1)",
    "&#x6A&#x61vascript:alert(1)",
    "\u0001javascript:alert(1)",
    "&#1;javascript:alert(1)",
    "javascript&colon;alert(1)",
    "vbscript:x",
    "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD4=",
    "//evil.example",
    "/\\evil.example",
    "https:evil",
    "https:\n//evil",
    "https://a\tb",
    "file:///etc/passwd",
    "mxc://a/b",
    "x\" onclick=\"alert(1)",
    "https://x\" onclick=\"alert(1)"
  )
  quoted <- c(
    sprintf("<a href=\"%s\">x</a>", addresses),
    sprintf("<a href='%s'>x</a>", addresses),
    sprintf("<a href=%s>x</a>", addresses),
    sprintf("<a xlink:href=\"%s\">x</a>", addresses),
    sprintf("<img src=\"%s\">", addresses),
    sprintf("<span data-mx-color=\"%s\">x</span>", addresses)
  )
  attacks <- c(
    "<b onclick=alert(1) onmouseover='x' style='position:fixed'>x</b>",
    "<b/onclick=alert(1)>x",
    "<b\fonclick=alert(1)>x</b>",
    "<B ONCLICK=alert(1)>x</B>",
    "<img src=x onerror=alert(1)>",
    "<img alt='\" onerror=\"alert(1)' title='<script>'>",
    "<script>alert(1)</script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<script/src=//evil></script>",
    "<<script>alert(1)//<</script>",
    "<svg onload=alert(1)><script>x</script></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<svg></p><style><a id=\"</style><img src=1 onerror=alert(1)>\">",
    "<math><mtext><table><mglyph><style><img src onerror=alert(1)></style>",
    "<math><mi><style><!--</style><img title=\"--&gt;&lt;img src onerror=x&gt;\">",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<template><script>alert(1)</script></template>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=x>",
    "<form><form><input name=action></form>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<!-- --!><img src=x onerror=alert(1)> -->",
    "<!--<img src=\"--><img src=x onerror=alert(1)//\">",
    "<![CDATA[<img src=x onerror=alert(1)>]]>",
    "<!DOCTYPE x [<!ENTITY e '<script>x</script>'>]>&e;",
    "<?xml version='1.0'?><?php x ?><b>x</b>",
    "<plaintext><img src=x onerror=alert(1)>",
    "<xmp><img src=x onerror=alert(1)></xmp>",
    "<listing>&lt;img src=x onerror=alert(1)&gt;</listing>",
    "<textarea></textarea><img src=x onerror=alert(1)></textarea>",
    "<title></title><img src=x onerror=alert(1)></title>",
    "<iframe srcdoc='<script>x</script>'></iframe>",
    "<object data=x><embed src=x><param></object>",
    "<base href=//evil><link rel=stylesheet href=//evil><meta http-equiv=refresh>",
    "<meta charset=utf-7>+ADw-script+AD4-",
    "<style>@import '//evil'</style><b style=\"x:expression(alert(1))\">x</b>",
    "<span style='color:red' data-mx-color='#ff00zz'>x</span>",
    "<span data-mx-color='#ff0000;background:url(//evil)'>x</span>",
    "<span data-mx-color=\"#ff0000\n\">x</span>",
    "<span data-mx-spoiler='\"><script>x</script>'>x</span>",
    "<div data-mx-maths='\"><img src=x onerror=alert(1)>'>x</div>",
    "<code class='language-\"><script>x</script>'>x</code>",
    "<ol start='1\" onclick=\"x'><li>x</li></ol>",
    "<video><source onerror=alert(1)></video><audio src=x>",
    "<body onload=alert(1)><html onclick=x>x",
    "<frameset onload=alert(1)><frame src=x></frameset>",
    "<x:script xmlns:x='http://www.w3.org/1999/xhtml'>alert(1)</x:script>",
    "<button form=x formaction='javascript:x'>x</button><input autofocus>",
    "<details ontoggle=alert(1) open>x</details>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62; &#x3cscript &ltscript> &bogus; &#0; &#xD800; &#1114112;",
    "<",
    "</",
    "<b",
    "<b ",
    "<a href=",
    "<a href='",
    "<!",
    "<!-",
    "&",
    "&#",
    "",
    "\u202e\ufeff\u2028<b>x</b>\u0001\u007f"
  )
  for (attack in c(quoted, attacks)) {
    html <- safe(attack)
    expect_identical(unsafe(html), character(), info = attack)
    # It is safe HTML, which stays what it is.
    expect_equal(safe(html), html, info = attack)
  }
})

test_that("a message cannot end the table or list in which it is shown", {
  skip_if_not_installed("xml2")
  expect_equal(safe("<tr><td>@boss:x</td><td>pay</td></tr>"), "@boss:xpay")
  expect_equal(safe("a<li>b</li>"), "ab")
  expect_equal(safe("</td></tr><tr><td>x"), "x")
  expect_equal(safe("<table><table></table></table>x"), "<table></table>x")
  expect_equal(
    safe("<table><tr><td><b><td>x"),
    "<table><tr><td><b></b></td><td>x</td></tr></table>"
  )
  expect_equal(safe("<ul><b><li>x</li></b></ul>"), "<ul><li>x</li></ul>")
  expect_equal(
    safe("<table><tr><div><td>x</td></div></tr></table>"),
    "<table><tr><td>x</td></tr></table>"
  )
})

test_that("hostile HTML takes no time and no stack", {
  skip_if_not_installed("xml2")
  size <- 65536
  flood <- function(text) strrep(text, size %/% nchar(text))
  deep <- paste0(strrep("<b>", 150), "x")
  floods <- c(
    vapply(
      c(
        "<b>",
        "<div>",
        "<hr>",
        "a<p>",
        "<p><b>",
        "</a>",
        "</p>",
        "<!---->",
        "<!--"
      ),
      flood,
      ""
    ),
    vapply(
      c(
        "<",
        "&",
        "&foo",
        "&#1;",
        "<?",
        "<!",
        "</",
        "<table><tr><td>",
        "<a b='",
        "<li>"
      ),
      flood,
      ""
    ),
    paste0("<a ", flood("b "), ">"),
    flood("<a b b b b b b b b>"),
    paste0("<script>", flood("<"))
  )
  for (html in floods) {
    took <- system.time(result <- safe(html))
    # Quadratic work would take minutes.
    expect_lt(took[["user.self"]] + took[["sys.self"]], 20)
    expect_identical(unsafe(substr(result, 1, 500)), character())
  }
  tags <- function(html) lengths(regmatches(html, gregexpr("<b>", html)))
  expect_equal(tags(safe(strrep("<b>", 150))), 100)
  expect_no_match(safe(deep), "x")
  expect_match(safe(sub("x", "", paste0(strrep("<b>", 99), "y"))), "y")
  full <- paste0("<a ", flood("b "), ">")
  expect_equal(safe(full), escape_html(full))
  # Deeper than libxml2 reads: text.
  expect_equal(safe(strrep("<b>", 300)), strrep("&lt;b&gt;", 300))
})

test_that("events have their HTML, also the newest of an edited one", {
  skip_if_not_installed("xml2")
  for (encrypted in c(TRUE, FALSE)) {
    pair <- demo_pair(encrypted = encrypted)
    id <- mx_send_text(pair$alice, pair$room, "**one**", markdown = TRUE)
    Sys.sleep(0.01)
    mx_edit(pair$alice, pair$room, id, "**two**", markdown = TRUE)
    mx_send_text(pair$alice, pair$room, "1 < 2\n3")
    mx_send(
      pair$alice,
      pair$room,
      list(
        list(
          msgtype = "m.text",
          body = "odd",
          format = "x",
          formatted_body = "<b>"
        ),
        list(msgtype = "m.text", body = "none", formatted_body = "<b>"),
        list(
          msgtype = "m.text",
          body = "five",
          format = "org.matrix.custom.html",
          formatted_body = 5
        )
      )
    )
    events <- messages(mx_messages(pair$bob, pair$room))
    expect_equal(
      events$formatted_body,
      c("<strong>two</strong>", "* <strong>two</strong>", rep(NA, 4))
    )
    html <- mx_html(events)
    expect_s3_class(html, c("html", "character"), exact = TRUE)
    expect_equal(
      as.character(html),
      c(events$formatted_body[1:2], "1 &lt; 2<br>3", "odd", "none", "five")
    )
    first <- messages(mx_messages(pair$bob, pair$room, edits = FALSE))
    expect_equal(first$formatted_body[[1]], "<strong>one</strong>")
  }
  empty <- mx_sync(pair$alice)[0, ]
  expect_identical(empty$formatted_body, character())
  expect_length(mx_html(empty), 0)
})

test_that("events without a text have no HTML, and one of a listener has", {
  skip_if_not_installed("xml2")
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "*x*", markdown = TRUE)
  later <- mx_demo_client(pair$homeserver, "bob", verified = FALSE)
  events <- mx_messages(later, pair$room)
  expect_true(all(is.na(mx_html(events))))
  heard <- NULL
  mx_listen(
    pair$bob,
    function(event) heard <<- mx_html(event),
    types = "m.room.message",
    seconds = 0
  )
  expect_equal(as.character(heard), "<em>x</em>")
  # HTML that is an attack is shown as its text.
  odd <- list(body = "text", formatted_body = strrep("<b>", 300))
  expect_equal(as.character(mx_html(odd)), "text")
})

test_that("Shiny takes the HTML as it is", {
  skip_if_not_installed("xml2")
  skip_if_not_installed("htmltools")
  html <- mx_html("<b>x</b>")
  expect_equal(as.character(htmltools::div(html)), "<div><b>x</b></div>")
})

test_that("no path is read, and nothing is fetched", {
  skip_if_not_installed("xml2")
  file <- withr::local_tempfile(lines = "<b>secret</b>", fileext = ".html")
  expect_equal(safe(file), escape_html(file))
  expect_equal(safe("https://localhost:1/"), "https://localhost:1/")
})

test_that("what holds no HTML is refused", {
  for (odd in list(NULL, 5, list(), list(body = "x"), data.frame(body = "x"))) {
    expect_error(mx_html(odd), class = "mx_error_argument")
  }
  local_replaced("check_package", function(package, call = caller_env()) {
    mx_abort(package, "mx_error_package", call = call)
  })
  expect_error(mx_html("x"), "xml2", class = "mx_error_package")
})

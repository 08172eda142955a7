withr::local_options(mxcrypt.pause = 0.001, .local_envir = teardown_env())

# Sends a file as another client would, encrypted or not; its content.
send_attachment <- function(
  client,
  room,
  bytes,
  name = "table.csv",
  ...,
  encrypted = TRUE
) {
  content <- list(
    msgtype = "m.file",
    body = name,
    info = list(mimetype = "text/csv", size = length(bytes)),
    ...
  )
  if (encrypted) {
    to <- withr::local_tempfile()
    made <- core(attachment_encrypt_file(bytes, to))
    file <- json_decode(made$file)
    file$url <- stored_media(client, bytes_at(to))
    content$file <- file
  } else {
    content$url <- stored_media(client, bytes)
  }
  mx_send(client, room, content)
  content
}

# Puts bytes into the content repository; their address.
stored_media <- function(client, bytes) {
  path <- "/_matrix/media/v3/upload"
  body <- list(bytes = bytes, type = "application/octet-stream")
  http_json(client, "POST", path, content = body)[["content_uri"]]
}

bytes_at <- function(path) {
  readBin(path, "raw", file.size(path))
}

# All that is in a directory, hidden or not.
all_in <- function(dir) {
  list.files(dir, all.files = TRUE, recursive = TRUE, include.dirs = TRUE)
}

mode_of <- function(path) {
  format(file.info(path)$mode)
}

csv <- charToRaw("a,b\n1,2\n")

test_that("attachments of a sync are saved, decrypted, for their owner only", {
  pair <- demo_pair()
  dir <- withr::local_tempdir()
  mx_send_text(pair$alice, pair$room, "look")
  send_attachment(pair$alice, pair$room, csv)
  send_attachment(pair$alice, pair$room, raw(0), "empty.bin")
  events <- mx_sync(pair$bob)
  saved <- mx_media_download(pair$bob, events, dir)
  expect_equal(saved$name, c("table.csv", "empty.bin"))
  expect_equal(saved$path, file.path(dir, saved$name))
  expect_equal(saved$status, c("saved", "saved"))
  expect_equal(saved$reason, c(NA_character_, NA_character_))
  expect_equal(saved$size, c(8, 0))
  expect_equal(saved$mimetype, c("text/csv", "text/csv"))
  expect_equal(saved$encrypted, c(TRUE, TRUE))
  expect_equal(saved$room_id, rep(pair$room, 2))
  expect_equal(saved$event_id, events$event_id[events$msgtype %in% "m.file"])
  expect_identical(bytes_at(saved$path[[1]]), csv)
  expect_setequal(all_in(dir), saved$name)
  expect_false(server_has_seen(pair$homeserver, "a,b\n1,2"))
  skip_on_os("windows")
  expect_equal(mode_of(saved$path), c("600", "600"))
})

test_that("an event, a content and a row are taken too", {
  pair <- demo_pair()
  content <- send_attachment(pair$alice, pair$room, csv)
  events <- mx_sync(pair$bob)
  events <- events[events$msgtype %in% "m.file", ]
  heard <- as.list(as.data.frame(events))
  heard$content <- heard$content[[1]]
  for (event in list(events, heard, content, content["file"])) {
    saved <- mx_media_download(pair$bob, event)
    expect_equal(nrow(saved), 1)
    expect_identical(bytes_at(saved$path), csv)
    # A new directory each time, which goes with R.
    expect_true(startsWith(saved$path, tempdir()))
  }
  expect_equal(basename(saved$path), "file")
  expect_equal(saved$event_id, NA_character_)
})

test_that("a handler of mx_listen() saves what it hears", {
  pair <- demo_pair()
  dir <- file.path(withr::local_tempdir(), "new", "directory")
  send_attachment(pair$alice, pair$room, csv)
  saved <- NULL
  hear <- function(event, client) {
    if (event$msgtype %in% "m.file") {
      saved <<- mx_media_download(client, event, dir)
    }
  }
  mx_listen(pair$bob, hear, seconds = 0)
  expect_identical(bytes_at(saved$path), csv)
  expect_equal(saved$room_id, pair$room)
})

test_that("rows without an attachment, and edits, are left out", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "no file")
  events <- mx_sync(pair$bob)
  saved <- mx_media_download(pair$bob, events)
  expect_equal(nrow(saved), 0)
  expect_type(saved$path, "character")

  content <- send_attachment(pair$alice, pair$room, csv)
  event <- function(..., type = "m.room.message") {
    list(type = type, content = utils::modifyList(content, list(...)))
  }
  expect_true(shows_attachment(event()))
  expect_true(shows_attachment(event(type = "m.sticker", msgtype = NULL)))
  expect_true(shows_attachment(event(msgtype = "org.example.scan")))
  expect_false(shows_attachment(event(type = "m.room.avatar")))
  expect_false(shows_attachment(event(msgtype = "m.text")))
  edit <- c(event(), list(relates_to = list(rel_type = "m.replace")))
  expect_false(shows_attachment(edit))
  # By itself an edit can be asked for.
  edit$content <- list(body = "* x", `m.new_content` = content)
  expect_equal(nrow(mx_media_download(pair$bob, edit)), 1)
})

test_that("what is no event is named", {
  pair <- demo_pair()
  odd <- list(
    NULL,
    1,
    "mxc://demo/file1",
    list(),
    list(1),
    list(content = list(body = "x")),
    list(url = 5),
    data.frame(x = 1),
    data.frame(content = "{}")
  )
  for (event in odd) {
    condition <- expect_error(
      mx_media_download(pair$bob, event),
      class = "mx_error_argument"
    )
    expect_match(conditionMessage(condition), "`event`", fixed = TRUE)
  }
  content <- list(url = "mxc://demo/file1")
  for (call in list(
    quote(mx_media_download(pair$bob, content, path = 5)),
    quote(mx_media_download(pair$bob, content, max_size = "all")),
    quote(mx_media_download(pair$bob, content, overwrite = NA)),
    quote(mx_media_download(
      pair$bob,
      content,
      withr::local_tempfile(lines = "")
    ))
  )) {
    expect_error(eval(call), class = "mx_error_argument")
  }
})

test_that("a file that is not encrypted is saved, and the row says so", {
  pair <- demo_pair()
  dir <- withr::local_tempdir()
  send_attachment(pair$alice, pair$room, csv, encrypted = FALSE)
  saved <- mx_media_download(pair$bob, mx_sync(pair$bob), dir)
  expect_false(saved$encrypted)
  expect_identical(bytes_at(saved$path), csv)
  skip_on_os("windows")
  expect_equal(mode_of(saved$path), "600")
})

test_that("an altered file leaves nothing behind, and `url` does not replace it", {
  pair <- demo_pair()
  dir <- withr::local_tempdir()
  content <- send_attachment(pair$alice, pair$room, csv)
  other <- stored_media(pair$alice, charToRaw("1,2\na,b\n"))
  file <- function(name, value) {
    content$file[[name]] <- value
    content
  }
  broken <- list(
    file("url", other),
    file("v", "v1"),
    file("v", NULL),
    file("hashes", NULL),
    file("hashes", list(sha256 = "AAAA")),
    file("iv", "AAAA"),
    file("key", list(k = "AAAA")),
    file("url", NULL),
    file("url", "https://example.org/x"),
    file("url", "mxc://demo/../../x"),
    file("url", list("mxc://demo/file1")),
    utils::modifyList(content, list(file = "x", url = other)),
    utils::modifyList(content, list(file = list(), url = other))
  )
  # modifyList() merges an empty list, which changes nothing.
  broken[[13]]$file <- list()
  for (one in broken) {
    condition <- catch(mx_media_download(pair$bob, one, dir))
    expect_s3_class(condition, "mx_error_attachment")
    expect_length(all_in(dir), 0)
  }
})

test_that("of several, each row says what became of it", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  good <- send_attachment(alice, room, csv)
  large <- send_attachment(alice, room, raw(2000), "large.bin")
  altered <- send_attachment(alice, room, csv, "altered.csv")
  altered$file$url <- large$file$url
  gone <- edit(good, "url", "mxc://fake/file999")
  gone$file <- NULL
  events <- data.frame(event_id = paste0("$", 1:5))
  events$content <- list(large, good, altered, gone, good)
  dir <- withr::local_tempdir()
  expect_warning(
    saved <- mx_media_download(alice, events, dir, max_size = 2000 - 1),
    class = "mx_warning_attachment"
  )
  expect_equal(
    saved$status,
    c("refused", "saved", "refused", "failed", "saved")
  )
  expect_equal(is.na(saved$reason), saved$status == "saved")
  expect_equal(is.na(saved$path), saved$status != "saved")
  expect_match(saved$reason[[1]], "larger than 1,999 bytes", fixed = TRUE)
  expect_no_match(saved$reason, "\n")
  expect_setequal(all_in(dir), c("table.csv", "table (2).csv"))

  # Several events may have one attachment.
  two <- events[c(1, 1), ]
  two$content[[2]] <- list(msgtype = "m.text", body = "x")
  expect_warning(
    saved <- mx_media_download(alice, two, dir, max_size = 1999),
    class = "mx_warning_attachment"
  )
  expect_equal(saved$status, "refused")
  # A single one raises what its row would say.
  single <- function(i, ...) mx_media_download(alice, events[i, ], dir, ...)
  condition <- expect_error(
    single(1, max_size = 1999),
    class = "mx_error_too_large"
  )
  expect_equal(condition$size, 2000)
  expect_equal(condition$largest, 1999)
  expect_equal(single(1, max_size = 2000)$status, "saved")
  expect_equal(single(1, max_size = Inf)$status, "saved")
  expect_error(single(4), class = "mx_error_http")
})

test_that("a login that ended ends the call", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  events <- data.frame(event_id = c("$1", "$2"))
  events$content <- list(
    send_attachment(alice, room, csv),
    send_attachment(alice, room, csv)
  )
  fake$forget()
  ended <- '{"errcode":"M_MISSING_TOKEN","error":"no"}'
  fake$fault("GET", "/download/", status = 401, body = ended, times = 9)
  dir <- withr::local_tempdir()
  expect_error(
    mx_media_download(alice, events, dir),
    class = "mx_error_M_MISSING_TOKEN"
  )
  expect_length(fake$seen("GET", "/download/"), 1)
  expect_length(all_in(dir), 0)
})

test_that("what stands there is not replaced, unless it is asked for", {
  pair <- demo_pair()
  dir <- withr::local_tempdir()
  content <- send_attachment(pair$alice, pair$room, csv)
  get <- function(...) mx_media_download(pair$bob, content, dir, ...)$path
  mine <- file.path(dir, "table.csv")
  writeLines("mine", mine)
  expect_equal(basename(get()), "table (2).csv")
  expect_equal(basename(get()), "table (3).csv")
  expect_identical(readLines(mine), "mine")
  expect_equal(get(overwrite = TRUE), mine)
  expect_identical(bytes_at(mine), csv)

  # Two of one call are two, even then.
  events <- data.frame(event_id = c("$1", "$2"))
  events$content <- list(content, edit(content, "body", "TABLE.csv"))
  saved <- mx_media_download(pair$bob, events, dir, overwrite = TRUE)
  expect_equal(basename(saved$path), c("table.csv", "TABLE (2).csv"))
})

test_that("a link that somebody planted is not followed", {
  skip_on_os("windows")
  pair <- demo_pair()
  dir <- withr::local_tempdir()
  outside <- withr::local_tempdir()
  content <- send_attachment(pair$alice, pair$room, csv)
  get <- function(...) mx_media_download(pair$bob, content, dir, ...)$path
  target <- file.path(outside, "target")
  link <- file.path(dir, "table.csv")
  # It leads nowhere yet.
  file.symlink(target, link)
  expect_equal(basename(get()), "table (2).csv")
  writeLines("mine", target)
  expect_equal(basename(get()), "table (3).csv")
  expect_equal(get(overwrite = TRUE), link)
  expect_identical(readLines(target), "mine")
  expect_equal(Sys.readlink(link), "")
  expect_identical(bytes_at(link), csv)
  # One that appears after the look is not replaced.
  from <- withr::local_tempfile(lines = "new")
  local_replaced("is_there", function(path) FALSE)
  expect_false(suppressWarnings(file.link(from, link)))
})

test_that("a directory of the name is left alone", {
  pair <- demo_pair()
  dir <- withr::local_tempdir()
  content <- send_attachment(pair$alice, pair$room, csv)
  dir.create(file.path(dir, "table.csv"))
  for (overwrite in c(FALSE, TRUE)) {
    saved <- mx_media_download(pair$bob, content, dir, overwrite = overwrite)
    expect_equal(basename(saved$path), "table (2).csv")
    unlink(saved$path)
  }
})

test_that("a file system without links is written to", {
  pair <- demo_pair()
  dir <- withr::local_tempdir()
  from <- file.path(dir, "from")
  to <- file.path(dir, "to")
  writeLines("x", from)
  real <- moved_new
  environment(real) <- list2env(
    list(file.link = function(...) FALSE),
    parent = environment(moved_new)
  )
  expect_true(real(from, to))
  expect_false(file.exists(from))
  writeLines("y", from)
  expect_false(real(from, to))
  expect_identical(readLines(to), "x")
})

test_that("no name leads out of the directory, or deceives", {
  skip_without_utf8()
  safe <- c(
    "report.csv" = "report.csv",
    "../../etc/passwd" = "_.._etc_passwd",
    "/etc/passwd" = "_etc_passwd",
    "C:\\Windows\\x.dll" = "C__Windows_x.dll",
    ".." = "file",
    "." = "file",
    "..." = "file",
    " . . " = "file",
    "/" = "_",
    ".Rprofile" = "Rprofile",
    "-rf" = "rf",
    "--.-x" = "x",
    "a\nb\tc.txt" = "a b c.txt",
    "a\u202egpj.exe" = "agpj.exe",
    "a\u2066b\u200fc\ufeff.txt" = "abc.txt",
    "a\u0085b\u2028c.txt" = "a b c.txt",
    "x.txt::$DATA" = "x.txt__$DATA",
    "a*b?c\"d<e>f|g" = "a_b_c_d_e_f_g",
    "name. . ." = "name",
    "name\u00a0" = "name",
    "CON" = "_CON",
    "con.txt" = "_con.txt",
    "nul.tar.gz" = "_nul.tar.gz",
    "COM1" = "_COM1",
    "lpt\u00b2.csv" = "_lpt\u00b2.csv",
    "aux .txt" = "_aux.txt",
    "conout$" = "_conout$",
    "console.txt" = "console.txt",
    "com10" = "com10",
    "\u00dcbersicht \u65e5\u672c.csv" = "\u00dcbersicht \u65e5\u672c.csv"
  )
  got <- vapply(names(safe), safe_file_name, "", USE.NAMES = FALSE)
  expect_identical(got, unname(safe))
  # Again, it is what it was.
  expect_identical(vapply(got, safe_file_name, "", USE.NAMES = FALSE), got)
})

test_that("a long name keeps its extension, and fits", {
  long <- safe_file_name(paste0(strrep("a", 400), ".tar.gz"))
  expect_equal(nchar(long), 100)
  expect_match(long, "a[.]tar[.]gz$")
  wide <- safe_file_name(paste0(strrep("\u65e5", 400), ".csv"))
  expect_lte(nchar(wide, "bytes"), 200)
  expect_true(validUTF8(wide))
  expect_match(wide, "[.]csv$")
  expect_equal(nchar(safe_file_name(strrep("x.", 300))), 99)
  expect_equal(numbered_name("a.tar.gz", 2L), "a (2).tar.gz")
  expect_equal(numbered_name("a", 12L), "a (12)")
})

test_that("a file without a name gets one", {
  expect_equal(safe_file_name(NA), "file")
  expect_equal(safe_file_name("", "image/png"), "file.png")
  expect_equal(safe_file_name(NA, "x/y", "$Ab-c_9/x:y"), "file-Abc9xy")
  expect_equal(
    safe_file_name("\u202e..", "text/csv", "$0123456789abcdef"),
    "file-0123456789ab.csv"
  )
  names <- function(...) attachment_name(list(...))
  expect_equal(names(filename = "a.csv", body = "caption"), "a.csv")
  expect_equal(names(filename = " \n", body = "b.csv"), "b.csv")
  expect_equal(names(filename = list("x"), body = 5), NA_character_)
  expect_equal(names(), NA_character_)
  expect_lte(nchar(names(body = strrep("x", 1e6))), 1000)
})

test_that("names are plain where the locale knows no others", {
  names <- in_other_r(
    function() safe_file_name("\u00dcber \u65e5.csv"),
    env = c(LC_ALL = "C", LANG = "C")
  )
  expect_match(names, "^[ -~]+[.]csv$")
})

test_that("a server before authenticated media is read, without a token", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  content <- send_attachment(alice, room, csv)
  get <- function() bytes_at(mx_media_download(alice, content)$path)
  forget_versions <- function() the[["media_versions"]] <- NULL
  withr::defer(forget_versions())
  unknown <- '{"errcode":"M_UNRECOGNIZED","error":"?"}'
  for (status in c(404, 405)) {
    forget_versions()
    fake$forget()
    body <- if (status == 404) unknown else "<html>"
    fake$fault("GET", "/client/v1/media/", status = status, body = body)
    expect_identical(get(), csv)
    seen <- fake$seen("GET", "/media/")
    paths <- vapply(seen, function(x) x$path, "")
    expect_match(paths[[1]], "^/_matrix/client/v1/media/download/fake/file")
    expect_match(
      paths[[2]],
      "^/_matrix/media/v3/download/fake/file[0-9]+[?]allow_redirect=true$"
    )
    expect_identical(
      nzchar(vapply(seen, function(x) x$token, "")),
      c(TRUE, FALSE)
    )
    # From then on the old path comes first.
    fake$forget()
    expect_identical(get(), csv)
    expect_length(fake$seen("GET", "/media/"), 1)
    # Until it has no more: the server knows the new one by now.
    fake$fault("GET", "/media/v3/", status = 404)
    expect_identical(get(), csv)
    fake$forget()
    expect_identical(get(), csv)
    expect_length(fake$seen("GET", "/media/v3/"), 0)
  }
  # What is only gone is not looked for elsewhere.
  fake$forget()
  gone <- '{"errcode":"M_NOT_FOUND","error":"gone"}'
  fake$fault("GET", "/client/v1/media/", status = 404, body = gone)
  expect_error(get(), class = "mx_error_M_NOT_FOUND")
  expect_length(fake$seen("GET", "/media/"), 1)
  # What neither knows is an error of the server.
  fake$fault("GET", "/media/", status = 404, body = unknown, times = 2)
  expect_error(get(), class = "mx_error_M_UNRECOGNIZED")
})

test_that("a download is redirected, and another try begins from the start", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  room <- mx_room_create(alice)
  dir <- withr::local_tempdir()
  for (encrypted in c(TRUE, FALSE)) {
    content <- send_attachment(alice, room, csv, encrypted = encrypted)
    fake$forget()
    fake$fault("GET", "/download/", status = 502, body = "<html>")
    cut <- list("Content-Length" = "100")
    fake$fault("GET", "/download/", body = "a,b", headers = cut)
    saved <- mx_media_download(alice, content, dir)
    expect_identical(bytes_at(saved$path), csv)
    if (.Platform$OS.type != "windows") {
      expect_equal(mode_of(saved$path), "600")
    }
  }
  fake$forget()
  to <- list(Location = "/cdn/1")
  fake$fault("GET", "/download/", status = 307, headers = to)
  fake$fault("GET", "/cdn/1", body = "from the network")
  saved <- mx_media_download(alice, content, dir)
  expect_identical(readLines(saved$path, warn = FALSE), "from the network")
  expect_identical(fake$seen("GET", "/cdn/")[[1]]$token, "")
  # A page that is no file.
  fake$fault("GET", "/download/", status = 204)
  expect_error(
    mx_media_download(alice, content, dir),
    class = "mx_error_answer"
  )
})

test_that("a directory that cannot be written to is named", {
  skip_on_os("windows")
  skip_if(Sys.info()[["user"]] == "root")
  pair <- demo_pair()
  dir <- withr::local_tempdir()
  Sys.chmod(dir, "500")
  condition <- expect_error(
    mx_media_download(pair$bob, list(url = "mxc://demo/file1"), dir),
    class = "mx_error_file"
  )
  expect_match(conditionMessage(condition), dir, fixed = TRUE)
})

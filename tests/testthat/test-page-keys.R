# The view of key files.

keys_of <- function() {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  rooms <- vapply(
    c("One", "Two"),
    function(name) {
      room <- mx_room_create(alice, name = name)
      mx_send_text(alice, room, "hello")
      room
    },
    ""
  )
  # A sync tells the names of rooms.
  mx_sync(alice)
  list(
    alice = alice,
    rooms = rooms,
    late = mx_demo_client(homeserver, "alice")
  )
}

# What page.js sends of a file, in one piece.
piece_of <- function(path, number) {
  bytes <- readBin(path, "raw", file.size(path))
  list(
    number = number,
    size = length(bytes),
    at = 0,
    data = jsonlite::base64_enc(bytes)
  )
}

test_that("keys are exported, of all rooms or of those that were chosen", {
  own <- keys_of()
  words <- "correct horse battery"
  in_view(own$alice, "keys", {
    expect_match(shown("keys_rooms"), "One")
    export <- function(...) {
      send("keys_export", new_passphrase = words, again = words, ...)
    }
    expect_match(send("keys_export", which = "all")$html, "Choose a passphrase")
    differ <- send("keys_export", new_passphrase = words, again = "x")
    expect_match(differ$html, "differ")
    expect_match(export(which = "some")$html, "at least one room")
    expect_equal(shown("keys_file"), "")
    one <- stats::setNames(list(TRUE, FALSE), paste0("room:", own$rooms))
    told <- rlang::exec(export, which = "some", !!!one)
    expect_match(told$html, "1 key exported")
    expect_match(export(which = "all")$html, "2 keys exported")
    expect_no_match(export(which = "all")$html, "short")
    expect_no_match(export(which = "all")$html, words, fixed = TRUE)
    expect_match(
      shown("keys_file"),
      "mxcrypt-megolm-export-@alice_demo-[0-9-]+[.]txt"
    )
    weak <- send(
      "keys_export",
      which = "all",
      new_passphrase = "a",
      again = "a"
    )
    expect_match(weak$html, "passphrase is short")
  })
})

test_that("a file of keys is imported, and what cannot be is a sentence", {
  own <- keys_of()
  dir <- withr::local_tempdir()
  file <- mx_keys_export(own$alice, file.path(dir, "keys.txt"), "correct horse")
  in_view(own$late, "keys", {
    number <- 0
    import <- function(path, passphrase = "correct horse") {
      number <<- number + 1
      set(keys_upload_piece = piece_of(path, number))
      send("keys_import", keys_upload = number, passphrase = passphrase)
    }
    none <- send("keys_import", passphrase = "x")
    expect_match(none$html, "Choose a file")
    expect_match(import(file, "")$html, "Enter the passphrase")
    wrong <- import(file, "wrong horse")
    expect_false(wrong$ok)
    expect_match(wrong$html, "passphrase is wrong")
    empty <- file.path(dir, "empty.txt")
    file.create(empty)
    expect_match(import(empty)$html, "no key export")
    cut <- file.path(dir, "cut.txt")
    writeLines(head(readLines(file), 3), cut)
    expect_match(import(cut)$html, "cut off")
    writeLines("<script>", cut)
    expect_false(import(cut)$ok)
    # Another file was chosen, which is not here yet.
    set(keys_upload_piece = piece_of(cut, 70))
    late <- send("keys_import", keys_upload = 71, passphrase = "x")
    expect_match(late$html, "wait until it is here")
    expect_match(import(file)$html, "2 keys imported")
    expect_match(import(file)$html, "2 keys were known already")
  })
})

test_that("an import counts what came, what was known and what was refused", {
  sessions <- data.frame(
    status = c("imported", "known", "refused", "refused"),
    reason = c(NA, NA, "<b>odd</b>", "<b>odd</b>")
  )
  html <- as.character(imported_html(sessions))
  expect_match(html, "1 key imported")
  expect_match(html, "1 key was known already")
  expect_match(html, "2 keys refused")
  expect_match(html, "2: &lt;b&gt;odd&lt;/b&gt;", fixed = TRUE)
  expect_match(as.character(imported_html(sessions[0, ])), "holds no key")
})

test_that("names of rooms that others chose cannot deceive", {
  ids <- c("!a:x", "!b:x", "!c:x", "!d:x")
  names <- c("Twin", "Twin", NA, "<b>\u202egpj")
  titles <- room_titles(names, ids)
  expect_equal(
    titles,
    c("Twin (!a:x)", "Twin (!b:x)", "!c:x", "<b>gpj")
  )
  html <- as.character(room_boxes(stats::setNames(titles, ids)))
  expect_no_match(html, "<b>", fixed = TRUE)
  expect_lt(nchar(room_titles(strrep("x", 10000), "!a:x")), 200)
})

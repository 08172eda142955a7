# R forks itself for parallel::mclapply(). A child has the memory of its parent,
# and must not go on with its ratchets. Each parent here is an R of its own: in
# this one, callr looks after the children.

skip_on_os("windows")
skip_on_cran()

test_that("a ratchet of the parent is refused in a child, and goes on outside", {
  found <- in_other_r(function() {
    held <- handles()
    child <- forked(function(i) {
      list(
        account = class(catch(mxc_account_sign(held$mxc_account, "x"))),
        olm = class(catch(mxc_olm_encrypt(held$mxc_olm_session, "x"))),
        megolm = class(catch(mxc_megolm_encrypt(
          held$mxc_megolm_outbound,
          "x"
        ))),
        pickle = class(catch(
          mxc_megolm_outbound_pickle(held$mxc_megolm_outbound, pickle_key)
        )),
        reads = is.list(mxc_megolm_inbound_info(held$mxc_megolm_inbound)),
        own = mxc_account_identity_keys(mxc_account_new())$ed25519
      )
    })[[1]]
    index <- mxc_megolm_message_index(held$mxc_megolm_outbound)
    ciphertext <- mxc_megolm_encrypt(held$mxc_megolm_outbound, "x")
    list(child = child, index = index, ciphertext = ciphertext)
  })
  for (name in c("account", "olm", "megolm", "pickle")) {
    expect_true("mxc_error_handle" %in% found$child[[name]], label = name)
  }
  expect_true(found$child$reads)
  expect_match(found$child$own, "^[A-Za-z0-9+/]{43}$")
  expect_equal(found$index, 0L)
  expect_match(found$ciphertext, "^Aw")
})

test_that("children make other keys than each other and their parent", {
  keys <- in_other_r(function() {
    make <- function(...) {
      account <- mxc_account_new()
      mxc_account_generate_one_time_keys(account, 1)
      c(
        unlist(mxc_account_identity_keys(account)),
        mxc_account_one_time_keys(account)[[1]],
        mxc_account_fallback_key(account)$curve25519,
        mxc_megolm_session_id(mxc_megolm_outbound_new())
      )
    }
    make()
    c(forked(make, 3), list(make()))
  })
  expect_length(unlist(keys), 20)
  expect_equal(anyDuplicated(unlist(keys)), 0)
})

# A server that answers each request with the number of the connection that it came
# by, as long as its process lives.
number_connections <- function(ready) {
  listening <- NULL
  while (is.null(listening)) {
    port <- sample(20000:40000, 1)
    listening <- tryCatch(serverSocket(port), error = function(e) NULL)
  }
  writeLines(as.character(port), paste0(ready, ".part"))
  file.rename(paste0(ready, ".part"), ready)
  connections <- list()
  open <- integer()
  repeat {
    heard <- socketSelect(c(list(listening), connections[open]))
    for (i in open[heard[-1L]]) {
      line <- readLines(connections[[i]], 1)
      if (length(line) == 0) {
        # Closed. Its number is not given again.
        open <- setdiff(open, i)
      } else if (line == "") {
        text <- sprintf("{\"n\": %d}", i)
        head <- paste0(
          "HTTP/1.1 200 OK\r\nContent-Length: ",
          nchar(text),
          "\r\n\r\n"
        )
        writeBin(charToRaw(paste0(head, text)), connections[[i]])
      }
    }
    if (heard[[1L]]) {
      accepted <- socketAccept(listening, blocking = TRUE, open = "r+b")
      connections <- c(connections, list(accepted))
      open <- c(open, length(connections))
    }
  }
}

test_that("no connection is shared with a parent or another child", {
  ready <- withr::local_tempfile()
  server <- callr::r_bg(number_connections, list(ready))
  withr::defer(server$kill())
  wait_for(function() file.exists(ready))
  numbers <- in_other_r(
    function(server) {
      number <- function(...) {
        json_body(http_perform(list(server = server), "GET", "/"))[["n"]]
      }
      list(
        before = c(number(), number()),
        children = forked(function(i) c(number(), number()), 2),
        after = number()
      )
    },
    list(paste0("http://127.0.0.1:", readLines(ready)))
  )
  # The parent itself goes on with one connection.
  expect_equal(unique(c(numbers$before, numbers$after)), 1)
  of_children <- unlist(numbers$children)
  expect_length(of_children, 4)
  expect_equal(anyDuplicated(c(1, of_children)), 0)
})

test_that("two children that begin sessions begin different ones", {
  fake <- fake_homeserver()
  clients <- list(fake_client(fake), fake_client(fake))
  rooms <- lapply(clients, mx_room_create)
  fake$forget()
  in_other_r(
    function(clients, rooms) {
      forked(function(i) mx_send_text(clients[[i]], rooms[[i]], "x"), 2)
    },
    list(clients, rooms)
  )
  bodies <- lapply(fake$seen("PUT", "/send/"), function(x) json_decode(x$body))
  ids <- vapply(bodies, function(x) x[["session_id"]], "")
  expect_length(ids, 2)
  expect_equal(anyDuplicated(ids), 0)
  # Nor are two requests given one transaction id.
  paths <- vapply(fake$seen("PUT"), function(x) sub(".*/", "", x$path), "")
  expect_equal(anyDuplicated(paths), 0)
})

test_that("two children that send at once never share an index", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake)
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  fake$forget()
  ids <- in_other_r(
    function(alice, room) {
      mx_send_text(alice, room, "parent")
      ids <- forked(
        function(i) {
          vapply(1:8, function(j) mx_send_text(alice, room, paste(i, j)), "")
        },
        2
      )
      mx_send_text(alice, room, "parent again")
      ids
    },
    list(alice, room)
  )
  expect_length(unique(unlist(ids)), 16)

  events <- messages(mx_sync(bob))
  expect_true(all(events$decrypted))
  expect_setequal(
    events$body,
    c("parent", "parent again", paste(1, 1:8), paste(2, 1:8))
  )
  # A request whose response was lost is made again as it was.
  sent <- unique(lapply(fake$seen("PUT", "/send/"), `[`, c("path", "body")))
  # The index stands behind the version, as a varint: 03 08 <index>.
  bodies <- lapply(sent, function(x) json_decode(x$body))
  index <- vapply(
    bodies,
    function(x) {
      bytes <- jsonlite::base64_dec(padded(x[["ciphertext"]]))
      stopifnot(bytes[[1]] == 3, bytes[[2]] == 8)
      as.integer(bytes[[3]])
    },
    0L
  )
  expect_setequal(index, 0:17)
  expect_equal(anyDuplicated(index), 0)
  session <- vapply(bodies, function(x) x[["session_id"]], "")
  expect_length(unique(session), 1)
})

test_that("a child receives for its parent", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  bob <- fake_client(fake)
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  mx_send_text(alice, room, "one")
  bodies <- in_other_r(
    function(alice, bob, room) {
      first <- forked(function(i) new_bodies(bob))[[1]]
      mx_send_text(alice, room, "two")
      list(first, new_bodies(bob))
    },
    list(alice, bob, room)
  )
  expect_equal(bodies, list("one", "two"))
})

test_that("batches that use threads work in a child", {
  verified <- in_other_r(function() {
    account <- mxc_account_new()
    key <- mxc_account_identity_keys(account)[["ed25519"]]
    messages <- lapply(1:200, function(i) as.raw(i %% 256))
    signatures <- mxc_account_sign(account, messages)
    verify <- function(i) all(mxc_ed25519_verify(key, messages, signatures))
    list(verify(), forked(verify, 2))
  })
  expect_true(all(unlist(verified)))
})

# Whatever a server answers, to whatever it is asked: a result, or a classed
# condition. Each endpoint gets each body, once as success and once as refusal.

hostile_bodies <- function() {
  refusal <- function(code, text) {
    sprintf('{"errcode":"%s","error":"%s"}', code, text)
  }
  list(
    empty = "",
    spaces = " \n ",
    html = "<html><body>502 %s%n</body></html>",
    formats = refusal("M_%s%s%n", "%s%s%s%n%x 100% {oops} \\u0025"),
    nul = refusal("M_A\\u0000B", "a\\u0000b"),
    controls = refusal("M_X", "\\u001b[31mred\\u0007\\u009b2J\\r\\n"),
    newlines = refusal("M_X\\nmx_error", "line\\nline"),
    long_code = refusal(strrep("M", 1e5), "x"),
    odd_types = '{"errcode":["M_X"],"error":{"a":1},"retry_after_ms":"x"}',
    twice = '{"errcode":"M_A","errcode":"M_B","next_batch":1,"next_batch":2}',
    raw_nul = as.raw(c(0x7b, 0x00, 0x7d)),
    not_utf8 = c(
      charToRaw('{"error":"'),
      as.raw(c(0xff, 0xfe)),
      charToRaw('"}')
    ),
    array = "[]",
    number = "5",
    null = "null",
    string = '"%s"',
    object = "{}",
    deep = strrep("[", 1e4),
    cut = '{"errcode":"M_FORB',
    large = sprintf('{"error":"%s"}', strrep("x", 1e6))
  )
}

# An object in which every member that is read anywhere is of another type.
twisted <- function(value) {
  names <- c(
    "user_id",
    "device_id",
    "access_token",
    "refresh_token",
    "versions",
    "joined_rooms",
    "room_id",
    "event_id",
    "chunk",
    "end",
    "next_batch",
    "one_time_key_counts",
    "device_keys",
    "one_time_keys",
    "failures",
    "content_uri",
    "algorithm",
    "name",
    "rooms",
    "to_device",
    "device_lists",
    "device_one_time_keys_count",
    "history_visibility",
    "m.homeserver"
  )
  paste0("{", paste0("\"", names, "\":", value, collapse = ","), "}")
}

# What is asked of a server, and by which call.
endpoints <- function(fake, alice, bob, room, plain, dir) {
  configure <- function(...) {
    mx_client_configure(
      fake$url,
      user = alice$user_id,
      path = file.path(dir, "m.json"),
      store_dir = alice$store_dir,
      ...
    )
  }
  list(
    "GET /versions" = function() configure(password = "secret word"),
    "POST /login" = function() mx_client_relogin(alice, "secret word"),
    "GET /whoami" = function() configure(access_token = session_token(alice)),
    "POST /keys/upload" = function() fake_client(fake),
    "POST /keys/query" = function() mx_crypto_known_devices(alice, bob$user_id),
    "POST /keys/claim" = function() {
      keys <- mxc_account_identity_keys(mxc_account_new())
      device <- c(list(user_id = bob$user_id, device_id = "X"), keys)
      mx_crypto_claim_otks(alice, list(device))
    },
    "PUT /sendToDevice/" = function() {
      # The key of a new room.
      room <- mx_room_create(alice, invite = bob$user_id)
      mx_send_text(alice, room, "x")
    },
    "PUT /send/" = function() mx_send_text(alice, room, "x"),
    "PUT /redact/" = function() mx_redact(alice, room, "$1"),
    "PUT /state/" = function() {
      mx_set_state(alice, plain, "m.room.topic", list(topic = "x"))
    },
    "GET /state/m.room.encryption" = function() {
      room <- mx_room_create(alice, encrypted = FALSE)
      mx_send_text(alice, room, "x")
    },
    "GET /members" = function() mx_room_members(alice, room),
    "GET /joined_rooms" = function() mx_rooms(alice),
    "GET /directory/" = function() mx_send_text(alice, "#x:fake", "x"),
    "POST /join/" = function() mx_room_join(alice, room),
    "POST /leave" = function() mx_room_leave(alice, "!nowhere:fake"),
    "POST /invite" = function() mx_room_invite(alice, room, bob$user_id),
    "POST /createRoom" = function() mx_room_create(alice),
    "GET /messages" = function() mx_messages(alice, room),
    "GET /sync" = function() mx_sync(alice),
    "POST /upload" = function() mx_send_media(alice, plain, alice$path)
  )
}

# What is wrong with how a call ends: the classes and texts of its conditions.
complaints_of <- function(call) {
  found <- character()
  complain <- function(...) found <<- c(found, substr(paste(...), 1, 90))
  judge <- function(condition, kind) {
    if (!inherits(condition, kind)) {
      return(complain("not", kind, "but", class(condition)[[1]]))
    }
    usual <- c("rlang_error", "rlang_warning", "error", "warning", "condition")
    for (class in setdiff(class(condition), usual)) {
      if (!grepl("^mxc?_[A-Za-z0-9_.]{1,80}$", class)) {
        complain("class", class)
      }
    }
    text <- tryCatch(conditionMessage(condition), error = conditionMessage)
    if (grepl("too long", text)) {
      complain(text)
    }
    if (grepl("[\u0001-\u0009\u000b-\u001f\u007f-\u009f]", text)) {
      complain("control characters in the text")
    }
  }
  tryCatch(
    withCallingHandlers(call(), warning = function(condition) {
      judge(condition, "mx_warning")
      tryInvokeRestart("muffleWarning")
    }),
    error = function(condition) judge(condition, "mx_error")
  )
  found
}

test_that("every hostile answer is a result or a classed condition", {
  skip_on_cran()
  withr::local_options(mxcrypt.max_tries = 1, mxcrypt.pause = 0.001)
  fake <- fake_homeserver()
  bodies <- c(
    hostile_bodies(),
    lapply(
      c(
        number = "5",
        list = "[1]",
        object = '{"a":{}}',
        text = '"%s"',
        null = "null"
      ),
      twisted
    )
  )
  bob <- fake_client(fake)
  for (i in seq_along(endpoints())) {
    # A scene of its own: some of what is answered is remembered.
    fake$forget()
    alice <- fake_client(fake)
    room <- mx_room_create(alice, invite = bob$user_id)
    mx_room_join(bob, room)
    plain <- mx_room_create(alice, encrypted = FALSE)
    dir <- withr::local_tempdir()
    calls <- endpoints(fake, alice, bob, room, plain, dir)
    where <- strsplit(names(calls)[[i]], " ", fixed = TRUE)[[1]]
    complaints <- character()
    met <- 0
    for (name in names(bodies)) {
      for (status in c(200, 403)) {
        fake$forget()
        fake$fault(where[[1]], where[[2]], status, bodies[[name]])
        found <- complaints_of(calls[[i]])
        complaints <- c(complaints, sprintf("%s %d: %s", name, status, found))
        met <- met + length(fake$seen(where[[1]], where[[2]]))
        # What is left in the outbox goes now.
        fake$forget()
        try(suppressWarnings(pump(alice)), silent = TRUE)
      }
    }
    expect_identical(complaints, character(), info = names(calls)[[i]])
    expect_gte(met, 2 * length(bodies), label = names(calls)[[i]])
  }
})

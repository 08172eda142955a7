# No token, password or key shows in what R prints, deparses or saves.

withr::local_options(mxcrypt.pause = 0.001, .local_envir = teardown_env())

token_of <- function(client) {
  session_token(client)
}

# Put together, so that it does not stand in the source of this file, which
# conditions refer to.
secret_word <- function() {
  paste("correct", "horse", "battery")
}

test_that("client, session and what refers to the store hold no token or key", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  token <- token_of(alice)
  expect_match(token, "^fake_token_")
  refresh <- read_config(alice$path)[["refresh_token"]]
  key <- readBin(file.path(alice$store_dir, "pickle.key"), "raw", 32)
  account <- mx_crypto_account(alice$store_dir)
  held <- list(
    alice,
    mx_client_session(alice),
    mx_client_load(path = alice$path),
    account,
    mx_crypto_sessions_load(alice$store_dir),
    mx_sync_update(alice),
    mx_sync(alice)
  )
  for (x in held) {
    expect_nowhere(token, x)
    expect_nowhere(refresh, x)
    expect_nowhere("secret word", x)
    expect_length(grepRaw(key, serialize(x, NULL), fixed = TRUE), 0)
  }
})

test_that("no error holds the token", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  token <- token_of(alice)
  forbidden <- '{"errcode":"M_FORBIDDEN","error":"no"}'
  fake$fault("GET", "/joined_rooms", status = 403, body = forbidden)
  refused <- catch(mx_rooms(alice))
  expect_s3_class(refused, "mx_error_M_FORBIDDEN")
  fake$fault("GET", "/joined_rooms", delay = 5)
  withr::with_options(
    list(mxcrypt.timeout = 1),
    late <- catch(mx_rooms(alice))
  )
  expect_s3_class(late, "mx_error_network")
  gone <- alice
  gone$server <- "http://127.0.0.1:9"
  unreachable <- catch(mx_sync(gone))
  expect_s3_class(unreachable, "mx_error_network")
  pumped <- catch(mx_send_text(gone, "!a:b", "hello"))
  for (condition in list(refused, late, unreachable, pumped)) {
    expect_nowhere(token, condition)
  }
})

test_that("no error of a login holds the password", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  word <- secret_word()
  refused <- catch(mx_client_relogin(alice, password = word))
  expect_s3_class(refused, "mx_error_M_FORBIDDEN")
  gone <- alice
  gone$server <- "http://127.0.0.1:9"
  unreachable <- catch(mx_client_relogin(gone, password = word))
  expect_s3_class(unreachable, "mx_error_network")
  for (condition in list(refused, unreachable)) {
    expect_nowhere(word, condition)
  }
})

test_that("a password or token that was typed into a call is not repeated", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  dir <- withr::local_tempdir()
  path <- file.path(dir, "m.json")
  store <- file.path(dir, "crypto")
  word <- secret_word()
  gone <- "http://127.0.0.1:9"
  mine <- alice$store_dir
  conditions <- rlang::inject(list(
    catch(mx_client_relogin(alice, password = !!word)),
    catch(mx_client_configure(gone, "a", !!word)),
    catch(mx_client_configure(
      fake$url,
      "a",
      !!word,
      path = path,
      store_dir = store
    )),
    catch(mx_client_configure(
      fake$url,
      access_token = !!word,
      path = path,
      store_dir = store
    )),
    catch(mx_client_configure(
      fake$url,
      "m",
      !!word,
      path = path,
      store_dir = mine
    )),
    catch(mx_client_configure(fake$url, "a", !!word, app = NA))
  ))
  for (condition in conditions) {
    expect_s3_class(condition, "mx_error")
    expect_nowhere(word, condition)
  }
})

test_that("a script that fails prints no secret in its log", {
  fake <- fake_homeserver()
  script <- withr::local_tempfile(fileext = ".R")
  writeLines(
    sprintf(
      "mxcrypt::mx_client_configure(\"%s\", \"nobody\", \"typed secret\",
         path = tempfile(), store_dir = tempfile())",
      fake$url
    ),
    script
  )
  ran <- callr::rscript(script, show = FALSE, fail_on_status = FALSE)
  expect_false(ran$status == 0)
  log <- paste(ran$stdout, ran$stderr)
  expect_match(log, "M_FORBIDDEN")
  expect_no_match(log, "typed secret")
})

test_that("a failed pump warns without the token", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  token <- token_of(alice)
  bob <- fake_client(fake)
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  mx_send_text(bob, room, "x")
  withr::local_options(mxcrypt.max_tries = 1)
  fake$fault("POST", "/keys/query", status = 500, body = "<html>")
  warning <- rlang::catch_cnd(mx_sync(alice), "warning")
  expect_s3_class(warning, "mx_warning_pump")
  expect_nowhere(token, warning)
  expect_equal(new_bodies(alice), "x")
})

test_that("the configuration holds the tokens and no password, for its owner", {
  skip_on_os("windows")
  fake <- fake_homeserver()
  old <- Sys.umask("000")
  withr::defer(Sys.umask(old))
  alice <- fake_client(fake)
  mx_client_relogin(alice, "secret word")
  config <- json_decode(paste(readLines(alice$path), collapse = "\n"))
  expect_equal(config[["token"]], token_of(alice))
  expect_false("password" %in% names(config))
  expect_no_match(readLines(alice$path), "secret word")
  mode <- function(path) format(file.mode(path))
  expect_equal(mode(alice$path), "600")
  files <- list.files(alice$store_dir, full.names = TRUE)
  expect_true(all(c("pickle.key", "crypto.sqlite") %in% basename(files)))
  expect_equal(unique(mode(files)), "600")
  expect_equal(mode(alice$store_dir), "700")

  # A directory that is there already is left as it is; a new one is private.
  path <- file.path(withr::local_tempdir(), "new", "matrix.json")
  write_config(list(server = "x"), path)
  expect_equal(mode(path), "600")
  expect_equal(mode(dirname(path)), "700")
})

test_that("a password that another package wrote down is not written again", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  config <- json_decode(paste(readLines(alice$path), collapse = "\n"))
  config[["password"]] <- "secret word"
  writeLines(mxc_json(config), alice$path)
  alice <- mx_client_load(path = alice$path)
  mx_client_relogin(alice, "secret word")
  expect_no_match(readLines(alice$path), "secret word")
})

test_that("what the store holds cannot be read from its files", {
  pair <- demo_pair()
  mx_send_text(pair$alice, pair$room, "the eagle lands at noon")
  new_bodies(pair$bob)
  for (client in pair[c("alice", "bob")]) {
    token <- session_token(client)
    for (file in list.files(client$store_dir, full.names = TRUE)) {
      bytes <- readBin(file, "raw", file.size(file))
      for (secret in c("the eagle lands", token)) {
        expect_length(grepRaw(charToRaw(secret), bytes, fixed = TRUE), 0)
      }
    }
  }
})

test_that("store keys come from the operating system and not from R's seed", {
  keys <- lapply(1:2, function(i) {
    dir <- withr::local_tempdir()
    set.seed(42)
    mx_crypto_account(file.path(dir, "crypto"))
    readBin(file.path(dir, "crypto", "pickle.key"), "raw", 64)
  })
  expect_length(keys[[1]], 32)
  expect_false(identical(keys[[1]], keys[[2]]))
})

test_that("R's seed is neither used nor disturbed", {
  withr::local_preserve_seed()
  set.seed(1)
  before <- .Random.seed
  pair <- demo_pair()
  ids <- lapply(1:2, function(i) {
    set.seed(1)
    mx_send_text(pair$alice, pair$room, c("one", "two"))
  })
  expect_equal(new_bodies(pair$bob), c("one", "two", "one", "two"))
  mxc_account_generate_one_time_keys(mxc_account_new(), 3)
  mxc_megolm_encrypt(mxc_megolm_outbound_new(), "x")
  expect_true(identical(.Random.seed, before))
  rm(".Random.seed", envir = globalenv())
  mx_send_text(pair$alice, pair$room, "three")
  expect_false(exists(".Random.seed", globalenv()))
})

test_that("each key opens its own, and what is missing names the key it needs", {
  own <- with_recovery_key(mx_demo_homeserver())
  alice <- own$client
  other <- second_key(alice, own$key)
  keys <- mx_secret_storage_keys(alice)
  default <- keys$key_id[keys$default]
  second <- keys$key_id[!keys$default]
  only_under <- function(name, key_id) {
    content <- json_decode(stored_text(alice, name))
    copies <- content$encrypted
    content$encrypted <- copies[names(copies) == key_id]
    set_account_data(alice, name, as_json_text(content))
  }
  only_under(secret_names[["user_signing"]], second)
  only_under(secret_names[["backup"]], second)
  only_under(secret_names[["self_signing"]], default)
  fetch <- function(name, key) mx_secret_fetch(alice, secret_names[[name]], key)
  expect_s3_class(fetch("user_signing", other), "mx_secret")
  expect_s3_class(fetch("self_signing", own$key), "mx_secret")
  for (case in list(
    list("user_signing", own$key, second),
    list("self_signing", other, default)
  )) {
    condition <- expect_error(
      fetch(case[[1]], case[[2]]),
      class = "mx_error_secret_storage"
    )
    expect_match(conditionMessage(condition), case[[3]], fixed = TRUE)
  }
  # A device takes what the default key opens, and is told what it lacks.
  bot <- mx_demo_client(own$homeserver, "alice", verified = FALSE)
  warned <- expect_warning(
    mx_crypto_setup(bot, recovery_key = own$key),
    class = "mx_warning_key_backup"
  )
  expect_match(conditionMessage(warned), second, fixed = TRUE)
  expect_equal(identity_of(bot)$held, c("master", "self_signing"))
  rows <- mx_crypto_status(bot)$out_of_sync
  row <- rows[rows$problem == "private_keys_under_other_key", ]
  expect_match(row$message, "user_signing, backup", fixed = TRUE)
  expect_match(row$repair, second, fixed = TRUE)
  # The rest comes with the other key.
  suppressMessages(mx_crypto_repair(bot, other))
  expect_length(identity_of(bot)$held, 3)
  expect_true(mx_backup_status(bot)$key_held)
})

test_that("two users verify each other", {
  pair <- demo_pair()
  both <- comparing(pair$alice, pair$bob)
  expect_equal(states(both), c("compare", "compare"))
  expect_identical(both[[1]]$emoji, both[[2]]$emoji)
  expect_identical(both[[1]]$decimals, both[[2]]$decimals)
  expect_equal(
    mx_verification_confirm(both[[1]], same = TRUE)$state,
    "confirmed"
  )
  expect_false(mx_user_trust(pair$alice, pair$bob$user_id)$verified)
  mx_verification_confirm(both[[2]], same = TRUE)
  both <- exchange(both)
  expect_equal(states(both), c("done", "done"))
  expect_true(both[[1]]$identity_proven)
  expect_true(mx_user_trust(pair$alice, pair$bob$user_id)$verified)
  expect_true(mx_user_trust(pair$bob, pair$alice$user_id)$verified)
})

test_that("a new device is verified and given its identity", {
  pair <- own_devices()
  both <- comparing(pair$laptop, pair$phone, starts = 2)
  mx_verification_confirm(both[[1]], same = TRUE)
  mx_verification_confirm(both[[2]], same = TRUE)
  both <- exchange(both)
  expect_equal(states(both), c("done", "done"))
  for (turn in 1:2) {
    mx_sync(pair$phone)
    mx_sync(pair$laptop)
  }
  expect_true(mx_cross_signing_ready(pair$laptop))
  trust <- mx_devices(pair$phone, pair$phone$user_id)$trust
  expect_true(all(trust == "verified"))
})

test_that("what differs verifies nobody, and says what may be", {
  pair <- demo_pair()
  both <- comparing(pair$alice, pair$bob)
  ended <- mx_verification_confirm(both[[1]], same = FALSE)
  expect_equal(ended$code, "m.mismatched_sas")
  expect_true(ended$cancelled_here)
  condition <- expect_error(
    mx_verification_wait(both[[2]], seconds = 0),
    class = "mx_error_verification"
  )
  expect_equal(condition$code, "m.mismatched_sas")
  expect_match(conditionMessage(condition), "stand between you")
  expect_false(mx_user_trust(pair$alice, pair$bob$user_id)$verified)
})

test_that("steps out of turn are errors, and change nothing", {
  pair <- demo_pair()
  both <- request_of(pair$alice, pair$bob)
  refused <- "mx_error_verification"
  expect_error(mx_verification_accept(both[[1]]), class = refused)
  expect_error(mx_verification_start(both[[2]]), class = refused)
  expect_error(mx_verification_confirm(both[[2]], TRUE), class = refused)
  expect_equal(states(exchange(both)), c("requested", "requested"))
  mx_verification_cancel(both[[2]])
  expect_error(mx_verification_cancel(both[[2]]), class = refused)
})

test_that("a user is asked where the two are alone, and nowhere else", {
  pair <- demo_pair()
  carol <- mx_demo_client(pair$homeserver, "carol")
  mx_room_invite(pair$alice, pair$room, carol$user_id)
  mx_room_join(carol, pair$room)
  expect_error(
    mx_verification_request(pair$alice, pair$bob$user_id),
    class = "mx_error_room"
  )
  room <- mx_room_create(pair$alice, invite = pair$bob$user_id)
  mx_room_join(pair$bob, room)
  asked <- mx_verification_request(pair$alice, pair$bob$user_id)
  expect_equal(asked$room_id, room)
})

test_that("who cannot sign does not verify others", {
  pair <- demo_pair(verified = FALSE)
  expect_error(
    mx_verification_request(pair$alice, pair$bob$user_id),
    class = "mx_error_identity"
  )
})

test_that("a verification prints what is to be done", {
  pair <- demo_pair()
  both <- request_of(pair$alice, pair$bob)
  expect_match(format(both[[2]]), "mx_verification_accept", all = FALSE)
  both[[2]] <- mx_verification_accept(both[[2]])
  both <- exchange(both)
  mx_verification_start(both[[1]])
  both <- exchange(both)
  withr::local_options(cli.unicode = FALSE)
  plain <- format(both[[1]])
  expect_true(all(validEnc(plain)))
  expect_false(any(grepl("[^ -~]", plain)))
  names <- mx_verification_emojis(both[[1]], language = "en")$name
  expect_true(all(paste0("  ", names) %in% plain))
  expect_true(
    paste0("  ", paste(both[[1]]$decimals, collapse = " - ")) %in% plain
  )
})

test_that("emoji are named in the language of the session, or in English", {
  pair <- demo_pair()
  one <- comparing(pair$alice, pair$bob)[[1]]
  one$emoji <- 0:6
  name <- function(language) mx_verification_emojis(one, language)$name[[1]]
  expect_equal(name("de"), "Hund")
  expect_equal(name("de_AT"), "Hund")
  expect_equal(name("pt_BR"), "Cachorro")
  expect_equal(name("szl"), "Dog")
  expect_equal(name("xx"), "Dog")
  withr::local_envvar(LANGUAGE = "de_DE.UTF-8:en")
  expect_equal(name(NULL), "Hund")
  withr::local_envvar(
    LANGUAGE = "",
    LC_ALL = "C",
    LC_MESSAGES = "C",
    LANG = "C"
  )
  expect_equal(name(NULL), "Dog")
})

test_that("a listener asks its callback, and agrees to nothing by itself", {
  pair <- demo_pair()
  nothing <- function(event, client) NULL
  both <- request_of(pair$alice, pair$bob)
  mx_listen(pair$bob, nothing, seconds = 0)
  expect_equal(states(exchange(both)), c("requested", "requested"))
  seen <- NULL
  decide <- function(verification) {
    seen <<- c(seen, verification$state)
    TRUE
  }
  listen <- function(client, decide) {
    mx_listen(client, nothing, seconds = 0, on_verification = decide)
  }
  later <- function(verification) NULL
  listen(pair$bob, later)
  expect_equal(states(exchange(both)), c("requested", "requested"))
  for (turn in 1:5) {
    listen(pair$bob, decide)
    listen(pair$alice, decide)
  }
  expect_equal(states(exchange(both)), c("done", "done"))
  expect_equal(sort(unique(seen)), c("compare", "requested"))
  expect_true(mx_user_trust(pair$bob, pair$alice$user_id)$verified)
})

test_that("a callback that says no ends a verification", {
  pair <- demo_pair()
  nothing <- function(event, client) NULL
  request_of(pair$alice, pair$bob)
  mx_listen(
    pair$bob,
    nothing,
    seconds = 0,
    on_verification = function(verification) FALSE
  )
  expect_equal(newest(pair$alice)$code, "m.user")
  both <- comparing(pair$alice, pair$bob)
  mx_listen(
    pair$bob,
    nothing,
    seconds = 0,
    on_verification = function(verification) FALSE
  )
  expect_equal(newest(pair$alice)$code, "m.mismatched_sas")
})

# The status of an account in order, with other devices and a verified user.
status_scene <- function() {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  bob <- mx_demo_client(homeserver, "bob")
  others <- lapply(1:2, function(i) {
    mx_demo_client(homeserver, "alice", verified = FALSE)
  })
  mx_device_block(alice, alice$user_id, others[[2]]$device_id)
  list(
    alice = alice,
    bob = bob,
    others = others,
    status = mx_crypto_status(alice)
  )
}

some_users <- function(n, verified = FALSE, changed = FALSE) {
  data.frame(
    user_id = sprintf("@user%03d:%s.example.org", seq_len(n), strrep("x", 60)),
    master_key = rep("key", n),
    verified = rep_len(verified, n),
    was_verified = rep_len(changed, n),
    needs_approval = rep_len(changed, n)
  )
}

# Statuses that the demo homeserver does not bring about.
statuses <- function(status) {
  without_backup <- status
  without_backup$key_backup$version <- NULL
  broken <- status
  broken$key_backup$failure <- "x"
  old <- status
  old[c("devices", "users")] <- NULL
  list(
    as_is = status,
    refused = edit(status, "identity_refused", "not signed"),
    changed = edit(status, "identity_changed", TRUE),
    none = edit(status, "master_key", NULL),
    unsigned = edit(status, "device_signed", FALSE),
    without_backup = without_backup,
    broken = broken,
    old = old
  )
}

some_problems <- function(status) {
  status$out_of_sync <- data.frame(
    problem = c("a", "b"),
    message = "x",
    repair = "y",
    mendable = TRUE
  )
  status
}

test_that("the status knows own devices, and users with verifications", {
  scene <- status_scene()
  devices <- scene$status$devices
  expect_setequal(
    devices$device_id,
    c(scene$alice$device_id, vapply(scene$others, `[[`, "", "device_id"))
  )
  expect_equal(sum(devices$signed_by_owner), 1)
  expect_equal(sum(devices$blocked), 1)
  expect_equal(nrow(scene$status$users), 0)
  room <- mx_room_create(scene$alice, invite = scene$bob$user_id)
  mx_room_join(scene$bob, room)
  both <- comparing(scene$alice, scene$bob)
  expect_equal(mx_crypto_status(scene$alice)$users$user_id, "@bob:demo")
  expect_match(
    texts_of(plot(mx_crypto_status(scene$alice)))$label,
    "^not verified$",
    all = FALSE
  )
  mx_verification_confirm(both[[1]], same = TRUE)
  mx_verification_confirm(both[[2]], same = TRUE)
  exchange(both)
  status <- mx_crypto_status(scene$alice)
  expect_true(status$users$verified)
  texts <- texts_of(plot(status))$label
  expect_true(all(c("@bob:demo", "verified") %in% texts))
})

test_that("every status is drawn at every size, without text on text", {
  scene <- status_scene()
  for (status in statuses(scene$status)) {
    for (size in plot_sizes) {
      for (n in c(0, 1, 30)) {
        users <- some_users(n, c(TRUE, FALSE), c(FALSE, FALSE, TRUE))
        texts <- texts_of(plot(status, users = users), size)
        expect_apart(texts, size)
      }
    }
  }
})

test_that("words say what lines and colours do", {
  scene <- status_scene()
  drawn <- function(status, ...) {
    paste(texts_of(plot(status, ...), c(20, 8))$label, collapse = "\n")
  }
  text <- drawn(scene$status)
  id <- scene$alice$device_id
  expect_match(text, paste0("\n", id, " \\(this\\)\n"))
  expect_match(text, scene$status$master_key, fixed = TRUE)
  for (word in c("In order", "blocked", "not signed", "recovery set up")) {
    expect_match(text, word)
  }
  all <- statuses(scene$status)
  expect_match(drawn(all$refused), "REFUSED")
  expect_match(drawn(all$changed), "CHANGED")
  expect_match(drawn(all$none), "no identity yet")
  expect_match(drawn(all$broken), "BROKEN")
  expect_match(drawn(all$without_backup), "Key backup\nnone")
  expect_match(drawn(some_problems(scene$status)), "Out of sync: 2 problems")
  marks <- lapply(c("good", "bad", "alarm", "none"), mark_look)
  expect_length(unique(vapply(marks, `[[`, 1L, "pch")), 4)
})

test_that("a device that another identity signed is not shown as signed", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  other <- mx_demo_client(homeserver, "alice", verified = FALSE)
  mx_crypto_setup(other, reset = TRUE, password = "demo")
  status <- mx_crypto_status(alice)
  expect_true(any(status$devices$signed_by_owner))
  texts <- texts_of(plot(status), c(20, 8))$label
  expect_true("not trusted" %in% texts)
  expect_false("signed" %in% texts)
})

test_that("of many users eight are named, those that changed first", {
  scene <- status_scene()
  users <- some_users(20, c(TRUE, FALSE))
  users$needs_approval[[20]] <- TRUE
  users$verified[[20]] <- FALSE
  users <- users[rev(seq_len(20)), ]
  texts <- texts_of(plot(scene$status, users = users), c(20, 10))$label
  named <- grep("^@user", texts, value = TRUE)
  expect_equal(substr(named, 1, 8), sprintf("@user%03d", c(20, 1:7)))
  expect_true(all(c("and 12 more", "6 verified", "CHANGED") %in% texts))
  eight <- texts_of(plot(scene$status, users = users[1:8, ]), c(20, 10))$label
  expect_false(any(grepl("more", eight)))
  expect_length(grep("^@user", eight), 8)
})

test_that("of many own devices a few are named, blocked ones first", {
  scene <- status_scene()
  status <- scene$status
  more <- status$devices[rep(1, 30), ]
  more$device_id <- sprintf("D%02d", 1:30)
  more$blocked[[30]] <- TRUE
  status$devices <- rbind(status$devices, more)
  texts <- texts_of(plot(status), c(20, 10))$label
  expect_true("D30" %in% texts)
  expect_match(texts, "^and [0-9]+ more$", all = FALSE)
  expect_true(paste(scene$alice$device_id, "(this)") %in% texts)
})

test_that("names of others neither break the picture nor turn it round", {
  scene <- status_scene()
  name <- "\u05e9\u05dc\u05d5\u05dd\u202e \u65e5\u672c\n\u001b[31m \U0001f600"
  status <- scene$status
  status$devices$display_name <- name
  users <- some_users(2)
  users$user_id <- c(
    "@\u0645\u0631\u062d\u0628\u0627:x.org",
    "@\xff:latin1.org"
  )
  texts <- texts_of(plot(status, users = users), open = unicode_device)$label
  expect_match(texts, "\u05e9\u05dc\u05d5\u05dd", all = FALSE)
  expect_false(any(grepl("[\u202e[:cntrl:]]", texts)))
  # A device that lacks the letters has a sign for each.
  texts <- texts_of(plot(status, users = users))$label
  expect_match(texts, "[?]{4}", all = FALSE)
  expect_true("@?:latin1.org" %in% texts)
})

test_that("it is drawn in the C locale, too", {
  problems <- in_other_r(
    function() {
      library(mxcrypt)
      alice <- mx_demo_client(mx_demo_homeserver(), "alice")
      status <- mx_crypto_status(alice)
      status$devices$display_name <- "D\u00e9j\u00e0 \u65e5\u672c"
      status$devices$device_id <- "OTHER"
      users <- data.frame(
        user_id = "@\u0645\u0631:x.org",
        verified = TRUE,
        needs_approval = FALSE
      )
      options(warn = 2)
      grDevices::pdf(NULL)
      plot(status, users = users)
      if (capabilities("cairo")) {
        grDevices::svg(tempfile())
        plot(status, users = users)
      }
      l10n_info()[["UTF-8"]]
    },
    env = c(LC_ALL = "C")
  )
  expect_false(problems)
})

test_that("it takes a part of a page, and sends no request", {
  scene <- status_scene()
  expect_identical(
    requests_during({
      grDevices::pdf(NULL)
      plot(scene$status)
      grDevices::dev.off()
    }),
    character()
  )
  grDevices::pdf(NULL)
  withr::defer(grDevices::dev.off())
  graphics::par(mfrow = c(2, 2))
  for (i in 1:3) {
    plot(scene$status)
  }
  expect_equal(graphics::par("mfrow"), c(2, 2))
  expect_equal(graphics::par("mfg")[1:2], c(2, 1))
})

test_that("users that are none are an error, before a device is opened", {
  scene <- status_scene()
  before <- grDevices::dev.list()
  for (users in list("@bob:demo", 1, data.frame(user_id = "@bob:demo"), NA)) {
    expect_error(
      plot(scene$status, users = users),
      class = "mx_error_argument"
    )
  }
  expect_identical(grDevices::dev.list(), before)
  expect_match(
    texts_of(plot(scene$status, users = NULL))$label,
    "none to show",
    all = FALSE
  )
})

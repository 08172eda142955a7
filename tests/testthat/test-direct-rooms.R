# The account data m.direct, which other clients read and write.

m_direct <- function(client) {
  tryCatch(
    http_json(client, "GET", account_data_path(client, "m.direct")),
    mx_error_M_NOT_FOUND = function(condition) NULL
  )
}

test_that("a direct room is listed by those who create and who join it", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  bob <- mx_demo_client(homeserver, "bob")
  mx_room_create(alice, invite = bob$user_id)
  expect_null(m_direct(alice))
  room <- mx_room_create(alice, "Us", invite = bob$user_id, direct = TRUE)
  expect_equal(m_direct(alice), list("@bob:demo" = list(room)))
  expect_equal(m_direct(bob), NULL)
  mx_room_join(bob, "Us")
  expect_equal(m_direct(bob), list("@alice:demo" = list(room)))
  rooms <- mx_rooms(bob)
  expect_equal(rooms$direct[rooms$membership == "join"], TRUE)
  # Once more changes nothing.
  mx_room_join(bob, room)
  expect_equal(m_direct(bob), list("@alice:demo" = list(room)))
})

test_that("a direct room of several is listed for each, one of nobody for none", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  mx_room_create(alice, direct = TRUE)
  expect_null(m_direct(alice))
  room <- mx_room_create(alice, invite = c("@b:demo", "@c:demo"), direct = TRUE)
  expect_equal(
    m_direct(alice),
    list("@b:demo" = list(room), "@c:demo" = list(room))
  )
})

test_that("what other clients wrote stays, as it is", {
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  before <- paste0(
    '{"@b:fake":["!1",5,{"x":[]}],"@c:fake":"!2","@d:fake":{"y":1.50},',
    '"mailto:e":[],"n":9007199254740993}'
  )
  fake$forget()
  fake$fault("GET", "/m.direct", body = before)
  room <- mx_room_create(alice, invite = "@b:fake", direct = TRUE)
  sent <- fake$seen("PUT", "/m.direct")
  expect_length(sent, 1)
  expect_equal(
    sent[[1]]$body,
    paste0(
      sprintf('{"@b:fake":["!1",5,{"x":[]},"%s"],', room),
      substring(before, nchar('{"@b:fake":["!1",5,{"x":[]}],') + 1)
    )
  )
})

test_that("a list that cannot be read or written is left alone, with a warning", {
  withr::local_options(mxcrypt.max_tries = 1)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  forbidden <- '{"errcode":"M_FORBIDDEN","error":"no"}'
  faults <- list(
    list("GET", "/m.direct", 200, "[]"),
    list("GET", "/m.direct", 200, "null"),
    list("GET", "/m.direct", 404, "<html>"),
    list("GET", "/m.direct", 502, ""),
    list("PUT", "/m.direct", 403, forbidden)
  )
  for (fault in faults) {
    fake$forget()
    do.call(fake$fault, fault)
    expect_warning(
      room <- mx_room_create(alice, invite = "@b:fake", direct = TRUE),
      class = "mx_warning_direct_room"
    )
    expect_match(room, "^!")
    if (fault[[1]] == "GET") {
      expect_length(fake$seen("PUT", "/m.direct"), 0)
    }
  }
})

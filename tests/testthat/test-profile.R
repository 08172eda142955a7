test_that("name and avatar are set, and removed", {
  homeserver <- mx_demo_homeserver()
  alice <- mx_demo_client(homeserver, "alice")
  bob <- mx_demo_client(homeserver, "bob")
  room <- mx_room_create(alice, invite = bob$user_id)
  mx_room_join(bob, room)
  picture <- withr::local_tempfile(fileext = ".png")
  grDevices::png(picture, 400, 400)
  graphics::plot.new()
  grDevices::dev.off()
  set <- mx_profile_set(alice, name = "Nightly \U0001f319", avatar = picture)
  expect_equal(set$display_name, "Nightly \U0001f319")
  expect_match(set$avatar_url, "^mxc://")
  expect_equal(mx_profile(bob, alice$user_id), set)
  expect_true("Nightly \U0001f319" %in% mx_room_members(bob, room)$display_name)
  # What is not given stays.
  expect_equal(mx_profile_set(alice)$avatar_url, set$avatar_url)
  named <- mx_profile_set(alice, name = "Other")
  expect_equal(named$avatar_url, set$avatar_url)
  copied <- mx_profile_set(bob, avatar = set$avatar_url)
  expect_equal(copied$avatar_url, set$avatar_url)
  none <- mx_profile_set(alice, name = NA, avatar = NA)
  expect_equal(none$display_name, NA_character_)
  expect_equal(none$avatar_url, NA_character_)
})

test_that("nothing is set if the avatar is none", {
  alice <- mx_demo_client(mx_demo_homeserver(), "alice")
  before <- mx_profile(alice)
  text <- withr::local_tempfile(lines = "x", fileext = ".txt")
  for (avatar in c(text, tempfile(), tempdir(), "mxc://", "mxc://a/../b")) {
    expect_error(
      mx_profile_set(alice, name = "x", avatar = avatar),
      class = "mx_error"
    )
  }
  expect_equal(mx_profile(alice), before)
  expect_equal(mx_profile(alice, "@nobody:demo")$display_name, NA_character_)
  fake <- fake_homeserver()
  alice <- fake_client(fake)
  odd <- '{"displayname":7,"avatar_url":["x"]}'
  fake$fault("GET", "/profile/", body = odd)
  expect_equal(mx_profile(alice)$display_name, NA_character_)
})
